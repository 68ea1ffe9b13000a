//! Writes blocks.

use ahash::HashMap;
use secretrail_engine::{
    evidence::Evidence,
    fact::{Fact, WindowKey},
    ids::{SecretRef, SecretStore, SharedStr},
    observation::{CallOutcome, CallSource, EventHeader, Observation, ReadRequest},
    principal::{Principal, PrincipalKind},
};

use super::{
    BlockError, StoredBlock, StoredEntry, StoredEvidence, StoredFact, StoredHeader,
    StoredObservation, StoredPrincipal, StoredRequest, StoredSecret, StoredSource, TextNumber,
};
use crate::input::runs::entry::{RunEntry, TimedEntry};

/// Writes a block of entries.
///
/// # Errors
///
/// A raw field is not JSON: never, for it was read from JSON.
pub(crate) fn encode(entries: &[TimedEntry]) -> Result<Vec<u8>, BlockError> {
    let mut writer = BlockWriter::default();
    for entry in entries {
        let entry = writer.entry(&entry.entry)?;
        writer.block.entries.push(entry);
    }
    Ok(postcard::to_stdvec(&writer.block)?)
}

/// Fills the tables of a block. Values are known by where they are: the scanner of each thread
/// shares equal ones, and comparing their content would cost more than writing some of them twice.
#[derive(Default)]
struct BlockWriter<'b> {
    block: StoredBlock<'b>,
    texts: HashMap<*const u8, TextNumber>,
    principals: HashMap<*const Principal, u32>,
    sources: HashMap<*const CallSource, u32>,
}

/// The number that the next entry of a table gets: a block has far fewer than 2³² entries.
fn next<T>(table: &[T]) -> u32 {
    u32::try_from(table.len()).unwrap_or(u32::MAX)
}

/// The index of a value among all values of its type.
fn index<T: PartialEq>(all: &[T], value: &T) -> u8 {
    let index = all.iter().position(|known| known == value);
    index
        .and_then(|index| u8::try_from(index).ok())
        .unwrap_or(u8::MAX)
}

impl<'b> BlockWriter<'b> {
    fn text(&mut self, text: &'b SharedStr) -> TextNumber {
        *self.texts.entry(text.as_ptr()).or_insert_with(|| {
            self.block.texts.push(text);
            next(&self.block.texts) - 1
        })
    }

    fn some_text(&mut self, text: Option<&'b SharedStr>) -> Option<TextNumber> {
        text.map(|text| self.text(text))
    }

    fn principal(&mut self, principal: &'b Principal) -> u32 {
        if let Some(known) = self.principals.get(&std::ptr::from_ref(principal)) {
            return *known;
        }
        let stored = StoredPrincipal {
            id: self.some_text(principal.id.as_ref()),
            actor: self.some_text(principal.actor.as_ref()),
            identity_type: self.some_text(principal.identity_type.as_ref()),
            kind: index(&PrincipalKind::ALL, &principal.kind),
            account: self.some_text(principal.account.as_ref()),
            name: self.some_text(principal.name.as_ref()),
            session: self.some_text(principal.session.as_ref()),
            via: self.some_text(principal.via.as_ref()),
            console: principal.console,
            principal_id: self.some_text(principal.principal_id.as_ref()),
        };
        let number = next(&self.block.principals);
        self.block.principals.push(stored);
        self.principals.insert(principal, number);
        number
    }

    fn source(&mut self, source: &'b CallSource) -> u32 {
        if let Some(known) = self.sources.get(&std::ptr::from_ref(source)) {
            return *known;
        }
        // Its kind follows from the address.
        let stored = StoredSource {
            ip: self.some_text(source.ip.as_ref()),
            user_agent: self.some_text(source.user_agent.as_ref()),
            vpc_endpoint: self.some_text(source.vpc_endpoint.as_ref()),
            country: self.some_text(source.geo.country.as_ref()),
            asn: source.geo.asn,
            as_org: self.some_text(source.geo.as_org.as_ref()),
        };
        let number = next(&self.block.sources);
        self.block.sources.push(stored);
        self.sources.insert(source, number);
        number
    }

    fn secret(&mut self, secret: &'b SecretRef) -> StoredSecret {
        StoredSecret {
            store: index(&SecretStore::ALL, &secret.store),
            partition: self.text(&secret.partition),
            account: self.text(&secret.account),
            region: self.text(&secret.region),
            name: self.some_text(secret.name.as_ref()),
            arn: self.some_text(secret.arn.as_ref()),
            partial_name: self.some_text(secret.partial_name.as_ref()),
            version_id: self.some_text(secret.version_id.as_ref()),
            version_stage: self.some_text(secret.version_stage.as_ref()),
        }
    }

    fn some_secret(&mut self, secret: Option<&'b SecretRef>) -> Option<StoredSecret> {
        secret.map(|secret| self.secret(secret))
    }

    fn secrets(&mut self, secrets: &'b [SecretRef]) -> Vec<StoredSecret> {
        secrets.iter().map(|secret| self.secret(secret)).collect()
    }

    fn head(&mut self, head: &'b EventHeader) -> Result<StoredHeader<'b>, BlockError> {
        let mut fields = Vec::with_capacity(head.kept.fields.len());
        for (name, value) in &head.kept.fields {
            fields.push((self.text(name), serde_json::to_string(value)?));
        }
        let whole = head.kept.whole.as_deref();
        Ok(StoredHeader {
            event_id: &head.event_id,
            event: head.event,
            unshared_event: head.unshared_event,
            content: head.content,
            shared_id: head.shared_id.as_deref(),
            updated: head.updated,
            time: head.time.0,
            api: self.text(&head.api),
            account: self.text(&head.account),
            region: self.text(&head.region),
            principal: self.principal(&head.principal),
            access_key_id: self.some_text(head.access_key_id.as_ref()),
            source: self.source(&head.source),
            outcome: index(&CallOutcome::ALL, &head.outcome),
            denied_by: self.some_text(head.denied_by.as_ref()),
            error_code: self.some_text(head.error_code.as_ref()),
            object: self.text(&head.object),
            delivered: head.delivered.0,
            fields,
            whole: whole.map(serde_json::to_string).transpose()?,
        })
    }

    fn request(&mut self, request: &'b ReadRequest) -> StoredRequest {
        match request {
            ReadRequest::Named(secrets) => StoredRequest::Named(self.secrets(secrets)),
            ReadRequest::Batch(secrets) => StoredRequest::Batch(self.secrets(secrets)),
            ReadRequest::BatchFilters => StoredRequest::BatchFilters,
            ReadRequest::Path { path, recursive } => StoredRequest::Path {
                path: self.secret(path),
                recursive: *recursive,
            },
            ReadRequest::History(secret) => StoredRequest::History(self.secret(secret)),
        }
    }

    fn entry(&mut self, entry: &'b RunEntry) -> Result<StoredEntry<'b>, BlockError> {
        Ok(match entry {
            RunEntry::Observation(event) => {
                StoredEntry::Observation(self.observation(&event.observation)?)
            }
            RunEntry::Single(single) => StoredEntry::Single(single.0, self.evidence(&single.1)?),
            RunEntry::Fact(fact) => {
                let (window, key, fact) = &**fact;
                StoredEntry::Fact(self.fact(*window, key, fact)?)
            }
        })
    }

    fn observation(
        &mut self,
        observation: &'b Observation,
    ) -> Result<StoredObservation<'b>, BlockError> {
        Ok(match observation {
            Observation::Read(read) => StoredObservation::Read {
                head: self.head(&read.head)?,
                request: self.request(&read.request),
                decrypts: read.decrypts,
                denied_by_kms: read.denied_by_kms,
                denied_key: self.some_text(read.denied_key.as_ref()),
            },
            Observation::KmsDecrypt(kms_decrypt) => StoredObservation::KmsDecrypt {
                head: self.head(&kms_decrypt.head)?,
                secret: self.some_secret(kms_decrypt.secret.as_ref()),
                version_id: self.some_text(kms_decrypt.version_id.as_ref()),
                key_arn: self.some_text(kms_decrypt.key_arn.as_ref()),
                direct: kms_decrypt.direct,
            },
            Observation::Change(change) => StoredObservation::Change {
                head: self.head(&change.head)?,
                secret: self.some_secret(change.secret.as_ref()),
                others: self.secrets(&change.others),
                decrypts: change.decrypts,
                steps: change.steps.clone(),
            },
        })
    }

    fn evidence(&mut self, evidence: &'b Evidence) -> Result<StoredEvidence<'b>, BlockError> {
        Ok(StoredEvidence {
            head: self.head(&evidence.head)?,
            secret: self.some_secret(evidence.secret.as_ref()),
        })
    }

    fn fact(
        &mut self,
        window: usize,
        key: &'b WindowKey,
        fact: &'b Fact,
    ) -> Result<StoredFact<'b>, BlockError> {
        let mut group = Vec::with_capacity(key.group.len());
        for (field, value) in &key.group {
            group.push((self.text(field), self.text(value)));
        }
        Ok(StoredFact {
            window,
            rule: self.text(&key.rule),
            group,
            slot: fact.slot,
            key: &fact.key,
            time: fact.time.0,
            value: self.some_text(fact.value.as_ref()),
            least: fact.least,
            evidence: self.evidence(&fact.evidence)?,
        })
    }
}
