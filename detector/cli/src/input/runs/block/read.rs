//! Reads blocks.

use std::sync::Arc;

use secretrail_engine::{
    document::JsonNode,
    evidence::Evidence,
    fact::{Fact, WindowKey},
    geo::SourceGeo,
    ids::{SecretRef, SecretStore, SharedStr},
    observation::{
        CallOutcome, CallSource, EventHeader, Interner, KeptFields, KmsDecrypt, Observation,
        ReadRequest, SecretChange, SecretRead,
    },
    pending_event::PendingEvent,
    principal::{Principal, PrincipalKind},
    time::EventTime,
};

use super::{
    BlockError, StoredBlock, StoredEntry, StoredEvidence, StoredFact, StoredHeader,
    StoredObservation, StoredPrincipal, StoredRequest, StoredSecret, StoredSource, TextNumber,
};
use crate::input::runs::entry::{RunEntry, TimedEntry};

/// Reads the entries of a block. Values that other blocks have too are shared by the interner.
///
/// # Errors
///
/// The bytes are not those of a block.
pub(crate) fn decode(bytes: &[u8], interner: &mut Interner) -> Result<Vec<TimedEntry>, BlockError> {
    let StoredBlock {
        texts,
        principals,
        sources,
        entries,
    } = postcard::from_bytes(bytes)?;
    // In this order: callers and sources name texts, and entries name all three.
    let texts = texts.into_iter().map(|text| interner.text(text)).collect();
    let mut tables = BlockTables {
        texts,
        principals: Vec::with_capacity(principals.len()),
        sources: Vec::with_capacity(sources.len()),
    };
    for principal in principals {
        let principal = interner.stored_principal(tables.principal(&principal)?);
        tables.principals.push(principal);
    }
    for source in sources {
        let source = tables.source(&source, interner)?;
        tables.sources.push(source);
    }
    entries
        .into_iter()
        .map(|entry| tables.entry(entry))
        .collect()
}

/// The tables of a block.
struct BlockTables {
    texts: Vec<SharedStr>,
    principals: Vec<Arc<Principal>>,
    sources: Vec<Arc<CallSource>>,
}

/// An entry of a table.
fn at<T: Clone>(table: &[T], number: u32) -> Result<T, BlockError> {
    // A number beyond the table is damage of the temporary file, and no bug to panic at.
    let index = number as usize;
    table.get(index).cloned().ok_or(BlockError::Entry(index))
}

/// The value with this index among all values of its type.
fn of<T: Copy>(all: &[T], index: u8) -> Result<T, BlockError> {
    at(all, index.into())
}

impl BlockTables {
    fn text(&self, number: TextNumber) -> Result<SharedStr, BlockError> {
        at(&self.texts, number)
    }

    fn some_text(&self, number: Option<TextNumber>) -> Result<Option<SharedStr>, BlockError> {
        number.map(|number| self.text(number)).transpose()
    }

    fn principal(&self, stored: &StoredPrincipal) -> Result<Principal, BlockError> {
        Ok(Principal {
            id: self.some_text(stored.id)?,
            actor: self.some_text(stored.actor)?,
            identity_type: self.some_text(stored.identity_type)?,
            kind: of(&PrincipalKind::ALL, stored.kind)?,
            account: self.some_text(stored.account)?,
            name: self.some_text(stored.name)?,
            session: self.some_text(stored.session)?,
            via: self.some_text(stored.via)?,
            console: stored.console,
            principal_id: self.some_text(stored.principal_id)?,
        })
    }

    fn source(
        &self,
        stored: &StoredSource,
        interner: &mut Interner,
    ) -> Result<Arc<CallSource>, BlockError> {
        let texts = [stored.ip, stored.user_agent, stored.vpc_endpoint];
        let [ip, user_agent, vpc_endpoint] = texts.map(|number| self.some_text(number));
        let geo = SourceGeo {
            country: self.some_text(stored.country)?,
            asn: stored.asn,
            as_org: self.some_text(stored.as_org)?,
        };
        let (ip, user_agent, vpc_endpoint) = (ip?, user_agent?, vpc_endpoint?);
        Ok(interner.stored_source(
            ip.as_deref(),
            user_agent.as_deref(),
            vpc_endpoint.as_deref(),
            geo,
        ))
    }

    fn secret(&self, stored: &StoredSecret) -> Result<SecretRef, BlockError> {
        Ok(SecretRef {
            store: of(&SecretStore::ALL, stored.store)?,
            partition: self.text(stored.partition)?,
            account: self.text(stored.account)?,
            region: self.text(stored.region)?,
            name: self.some_text(stored.name)?,
            arn: self.some_text(stored.arn)?,
            partial_name: self.some_text(stored.partial_name)?,
            version_id: self.some_text(stored.version_id)?,
            version_stage: self.some_text(stored.version_stage)?,
        })
    }

    fn some_secret(&self, stored: Option<&StoredSecret>) -> Result<Option<SecretRef>, BlockError> {
        stored.map(|stored| self.secret(stored)).transpose()
    }

    fn secrets(&self, stored: &[StoredSecret]) -> Result<Vec<SecretRef>, BlockError> {
        stored.iter().map(|stored| self.secret(stored)).collect()
    }

    fn head(&self, stored: StoredHeader<'_>) -> Result<Arc<EventHeader>, BlockError> {
        let mut fields = Vec::with_capacity(stored.fields.len());
        for (name, value) in &stored.fields {
            // Values keep their own bytes: rules compare numbers as they were written.
            fields.push((self.text(*name)?, JsonNode::parse(value)?.into_owned()));
        }
        let whole = stored.whole.as_deref().map(JsonNode::parse).transpose()?;
        Ok(Arc::new(EventHeader {
            event_id: stored.event_id.into(),
            event: stored.event,
            unshared_event: stored.unshared_event,
            content: stored.content,
            shared_id: stored.shared_id.map(SharedStr::from),
            updated: stored.updated,
            time: EventTime(stored.time),
            api: self.text(stored.api)?,
            account: self.text(stored.account)?,
            region: self.text(stored.region)?,
            principal: at(&self.principals, stored.principal)?,
            access_key_id: self.some_text(stored.access_key_id)?,
            source: at(&self.sources, stored.source)?,
            outcome: of(&CallOutcome::ALL, stored.outcome)?,
            denied_by: self.some_text(stored.denied_by)?,
            error_code: self.some_text(stored.error_code)?,
            object: self.text(stored.object)?,
            delivered: EventTime(stored.delivered),
            kept: KeptFields {
                fields,
                whole: whole.map(|node| Box::new(node.into_owned())),
            },
        }))
    }

    fn request(&self, stored: &StoredRequest) -> Result<ReadRequest, BlockError> {
        Ok(match stored {
            StoredRequest::Named(secrets) => ReadRequest::Named(self.secrets(secrets)?),
            StoredRequest::Batch(secrets) => ReadRequest::Batch(self.secrets(secrets)?),
            StoredRequest::BatchFilters => ReadRequest::BatchFilters,
            StoredRequest::Path { path, recursive } => ReadRequest::Path {
                path: self.secret(path)?,
                recursive: *recursive,
            },
            StoredRequest::History(secret) => ReadRequest::History(self.secret(secret)?),
        })
    }

    fn evidence(&self, stored: StoredEvidence<'_>) -> Result<Evidence, BlockError> {
        let secret = self.some_secret(stored.secret.as_ref())?;
        Ok(Evidence::event(self.head(stored.head)?, secret))
    }

    fn entry(&self, stored: StoredEntry<'_>) -> Result<TimedEntry, BlockError> {
        Ok(match stored {
            StoredEntry::Observation(stored) => {
                // What it derives from its observation is not in the file.
                let event = Arc::new(PendingEvent::new(self.observation(stored)?));
                TimedEntry {
                    time: event.time,
                    entry: RunEntry::Observation(event),
                }
            }
            StoredEntry::Single(rule, evidence) => {
                let evidence = self.evidence(evidence)?;
                TimedEntry {
                    time: evidence.head.time,
                    entry: RunEntry::Single(Box::new((rule, evidence))),
                }
            }
            StoredEntry::Fact(stored) => TimedEntry {
                time: EventTime(stored.time),
                entry: RunEntry::Fact(Box::new(self.fact(stored)?)),
            },
        })
    }

    fn observation(&self, stored: StoredObservation<'_>) -> Result<Observation, BlockError> {
        Ok(match stored {
            StoredObservation::Read {
                head,
                request,
                decrypts,
                denied_by_kms,
                denied_key,
            } => Observation::Read(Arc::new(SecretRead {
                head: self.head(head)?,
                request: self.request(&request)?,
                decrypts,
                denied_by_kms,
                denied_key: self.some_text(denied_key)?,
            })),
            StoredObservation::KmsDecrypt {
                head,
                secret,
                version_id,
                key_arn,
                direct,
            } => Observation::KmsDecrypt(Arc::new(KmsDecrypt {
                head: self.head(head)?,
                secret: self.some_secret(secret.as_ref())?,
                version_id: self.some_text(version_id)?,
                key_arn: self.some_text(key_arn)?,
                direct,
            })),
            StoredObservation::Change {
                head,
                secret,
                others,
                decrypts,
                steps,
            } => Observation::Change(Arc::new(SecretChange {
                head: self.head(head)?,
                secret: self.some_secret(secret.as_ref())?,
                others: self.secrets(&others)?,
                decrypts,
                steps,
            })),
        })
    }

    fn fact(&self, stored: StoredFact<'_>) -> Result<(usize, WindowKey, Fact), BlockError> {
        let mut group = Vec::with_capacity(stored.group.len());
        for (field, value) in stored.group {
            group.push((self.text(field)?, self.text(value)?));
        }
        let key = WindowKey {
            rule: self.text(stored.rule)?,
            group,
        };
        let fact = Fact {
            slot: stored.slot,
            key: stored.key.into(),
            time: EventTime(stored.time),
            value: self.some_text(stored.value)?,
            least: stored.least,
            evidence: self.evidence(stored.evidence)?,
        };
        Ok((stored.window, key, fact))
    }
}
