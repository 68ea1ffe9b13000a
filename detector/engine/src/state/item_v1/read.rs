//! Converts the stored format to the types of the engine.

use std::{mem::take, sync::Arc};

use super::{
    ItemError, StoredAccessV1, StoredActorV1, StoredAlertEventV1, StoredAlertV1, StoredFactV1,
    StoredGroup, StoredHeaderV1, StoredPackV1, StoredPendingEventV1, StoredPrincipalV1,
    StoredRequestV1, StoredRuleV1, StoredSecretV1, StoredSourceV1, StoredValueV1, StoredVersionV1,
    StoredWindowMatchV1, VERSION,
    common::{common, former_place},
    unsqueezed,
};
use crate::{
    access::{Access, AccessDecrypt, AccessMethod, DecryptStatus},
    actor::{Actor, ActorKind, Origin},
    alert::{Alert, AlertEvent, AlertId, AlertTraits, WindowMatch},
    evidence::Evidence,
    fact::Fact,
    ids::{SecretRef, SecretStore, SharedStr},
    observation::{
        CallOutcome, CallSource, EventHeader, KeptFields, KmsDecrypt, Observation, ReadRequest,
        SecretChange, SecretRead, SourceKind,
    },
    parse_enum::parse_enum,
    principal::{Principal, PrincipalKind},
    revealed::{Certainty, RevealedVersion, RevealedVersions},
    rule_meta::{RuleLevel, RuleMeta},
    time::EventTime,
};

/// The tables of an item, with their types.
pub(super) struct ItemReader {
    pub(super) pack: StoredPackV1,
    secrets: Vec<SecretRef>,
    heads: Vec<Arc<EventHeader>>,
    accesses: Vec<Arc<Access>>,
}

impl ItemReader {
    /// Reads the tables, in the order in which they refer to each other.
    pub(super) fn new(bytes: &[u8]) -> Result<Self, ItemError> {
        let mut pack = unpack(bytes)?;
        let principals = each(take(&mut pack.principals), principal)?;
        let sources = each(take(&mut pack.sources), source)?;
        let secrets = each(take(&mut pack.secrets), secret)?;
        let heads = each(take(&mut pack.heads), |h| head(h, &principals, &sources))?;
        let accesses = take(&mut pack.accesses);
        let mut reader = Self {
            pack,
            secrets,
            heads,
            accesses: Vec::new(),
        };
        reader.accesses = each(accesses, |access| reader.access(access))?;
        Ok(reader)
    }

    fn secret(&self, index: usize) -> Result<SecretRef, ItemError> {
        at(&self.secrets, index)
    }

    fn some_secret(&self, index: Option<usize>) -> Result<Option<SecretRef>, ItemError> {
        index.map(|index| self.secret(index)).transpose()
    }

    fn head(&self, index: usize) -> Result<Arc<EventHeader>, ItemError> {
        at(&self.heads, index)
    }

    fn access(&self, access: StoredAccessV1) -> Result<Arc<Access>, ItemError> {
        Ok(Arc::new(Access {
            head: self.head(access.head)?,
            method: known(&AccessMethod::ALL, AccessMethod::as_str, &access.method)?,
            secret: self.secret(access.secret)?,
            asked: self.secret(access.asked)?.key(),
            asked_version: access.asked_version,
            decrypt: AccessDecrypt {
                status: known(&DecryptStatus::ALL, DecryptStatus::as_str, &access.status)?,
                event_id: access.decrypt,
                key_arn: access.key_arn,
                delta_secs: access.delta_secs,
            },
        }))
    }

    pub(super) fn observation(&self, end: StoredPendingEventV1) -> Result<Observation, ItemError> {
        Ok(match end {
            StoredPendingEventV1::Read {
                head,
                request,
                decrypts,
                denied_by_kms,
                denied_key,
            } => Observation::Read(Arc::new(SecretRead {
                head: self.head(head)?,
                request: self.request(request)?,
                decrypts,
                denied_by_kms,
                denied_key,
            })),
            StoredPendingEventV1::KmsDecrypt {
                head,
                secret,
                version_id,
                key_arn,
                direct,
            } => Observation::KmsDecrypt(Arc::new(KmsDecrypt {
                head: self.head(head)?,
                secret: self.some_secret(secret)?,
                version_id,
                key_arn,
                direct,
            })),
            StoredPendingEventV1::Change {
                head,
                secret,
                decrypts,
            } => Observation::Change(Arc::new(SecretChange {
                head: self.head(head)?,
                secret: self.some_secret(secret)?,
                others: Vec::new(),
                decrypts,
                // Only the pairing of KMS Decrypts needs stored changes.
                steps: Vec::new(),
            })),
        })
    }

    fn request(&self, request: StoredRequestV1) -> Result<ReadRequest, ItemError> {
        Ok(match request {
            StoredRequestV1::Named(secrets) => {
                ReadRequest::Named(each(secrets, |index| self.secret(index))?)
            }
            StoredRequestV1::Batch(secrets) => {
                ReadRequest::Batch(each(secrets, |index| self.secret(index))?)
            }
            StoredRequestV1::BatchFilters => ReadRequest::BatchFilters,
            StoredRequestV1::Path { path, recursive } => ReadRequest::Path {
                path: self.secret(path)?,
                recursive,
            },
            StoredRequestV1::History(secret) => ReadRequest::History(self.secret(secret)?),
        })
    }

    pub(super) fn fact(&self, fact: StoredFactV1) -> Result<(StoredGroup, Fact), ItemError> {
        let access = fact.access.map(|index| at(&self.accesses, index));
        let evidence = Evidence {
            head: self.head(fact.head)?,
            secret: self.some_secret(fact.secret)?,
            access: access.transpose()?,
        };
        let group = at(&self.pack.groups, fact.group)?;
        Ok((
            group,
            Fact {
                slot: fact.slot,
                key: fact.key,
                time: EventTime(fact.time),
                value: fact.value,
                least: fact.least,
                evidence,
            },
        ))
    }

    fn version(&self, version: &StoredVersionV1) -> Result<RevealedVersion, ItemError> {
        Ok(RevealedVersion {
            first: EventTime(version.first),
            secret: self.secret(version.secret)?,
            asked_version: version.asked,
            method: known(&AccessMethod::ALL, AccessMethod::as_str, &version.method)?,
            certainty: known(&Certainty::ALL, Certainty::as_str, &version.certainty)?,
            is_home: version.home,
        })
    }

    pub(super) fn alert(&self, alert: StoredAlertV1) -> Result<Alert, ItemError> {
        let time = EventTime(alert.time);
        let events = alert.events.into_iter();
        let actor = match alert.actor {
            Some(stored) => actor(stored)?,
            None => Actor::by_names(
                alert.principal.as_deref(),
                alert.account.as_deref(),
                alert.region.as_deref(),
            ),
        };
        Ok(Alert {
            id: AlertId(alert.id),
            rule: Arc::new(rule_meta(alert.rule)?),
            time,
            began: alert.began.map_or(time, EventTime),
            window_match: alert.window_match.map(window_match),
            summary: alert.summary,
            account: alert.account,
            region: alert.region,
            principal: alert.principal,
            secrets: alert.secrets,
            secrets_total: alert.secrets_total,
            accesses: each(alert.accesses, |index| at(&self.accesses, index))?,
            accesses_total: alert.accesses_total,
            events: events.map(|event| alert_event(event, time)).collect(),
            actor,
            origin: Origin {
                addresses: alert.addresses,
                networks: alert.networks,
            },
            traits: AlertTraits {
                revealed: alert.revealed,
                versions: RevealedVersions {
                    first: each(alert.versions, |version| self.version(&version))?,
                    are_more: alert.more_versions,
                },
                sources: alert.sources,
                regions: alert.regions,
                sessions: alert.sessions,
                access_keys: alert.access_keys,
                clients: alert.clients,
            },
            common: alert.common.map(common),
            former: each(alert.former, former_place)?,
            incident: None,
            withdrawn: alert.withdrawn,
        })
    }
}

fn unpack(bytes: &[u8]) -> Result<StoredPackV1, ItemError> {
    let pack: StoredPackV1 = serde_json::from_slice(&unsqueezed(bytes)?)?;
    // All fields but the version are optional, so that a later version could be read as this one,
    // with data missing.
    if pack.v != VERSION {
        return Err(ItemError::Version(pack.v));
    }
    Ok(pack)
}

/// Reads the entries of a table.
pub(super) fn each<A, B>(
    entries: Vec<A>,
    read: impl Fn(A) -> Result<B, ItemError>,
) -> Result<Vec<B>, ItemError> {
    entries.into_iter().map(read).collect()
}

fn at<T: Clone>(table: &[T], index: usize) -> Result<T, ItemError> {
    // Stored data is not trusted: an index out of range is an error, not a panic.
    table.get(index).cloned().ok_or(ItemError::Entry {
        index,
        entries: table.len(),
    })
}

/// Parses the name of an enum value.
pub(super) fn known<T: Copy>(
    all: &[T],
    name: impl Fn(T) -> &'static str,
    text: &str,
) -> Result<T, ItemError> {
    parse_enum(all, name, text).ok_or_else(|| ItemError::Word(text.into()))
}

fn principal(p: StoredPrincipalV1) -> Result<Arc<Principal>, ItemError> {
    Ok(Arc::new(Principal {
        kind: known(&PrincipalKind::ALL, PrincipalKind::as_str, &p.kind)?,
        id: p.id,
        actor: p.actor,
        identity_type: p.identity_type,
        account: p.account,
        name: p.name,
        session: p.session,
        via: p.via,
        console: p.console,
        principal_id: p.principal_id,
    }))
}

fn source(s: StoredSourceV1) -> Result<Arc<CallSource>, ItemError> {
    let kind = known(&SourceKind::ALL, SourceKind::as_str, &s.kind)?;
    Ok(Arc::new(CallSource {
        ip: s.ip,
        kind,
        user_agent: s.user_agent,
        vpc_endpoint: s.vpc_endpoint,
        geo: s.geo.unwrap_or_default(),
    }))
}

fn secret(s: StoredSecretV1) -> Result<SecretRef, ItemError> {
    Ok(SecretRef {
        store: known(&SecretStore::ALL, SecretStore::as_str, &s.store)?,
        partition: s.partition,
        account: s.account,
        region: s.region,
        name: s.name,
        arn: s.arn,
        partial_name: s.partial_name,
        version_id: s.version_id,
        version_stage: s.version_stage,
    })
}

fn head(
    h: StoredHeaderV1,
    principals: &[Arc<Principal>],
    sources: &[Arc<CallSource>],
) -> Result<Arc<EventHeader>, ItemError> {
    Ok(Arc::new(EventHeader {
        event_id: h.event_id,
        event: h.event,
        unshared_event: h.unshared_event,
        content: h.content,
        shared_id: h.shared_id,
        updated: h.updated,
        time: EventTime(h.time),
        api: h.api,
        account: h.account,
        region: h.region,
        principal: at(principals, h.principal)?,
        access_key_id: h.access_key_id,
        source: at(sources, h.source)?,
        outcome: known(&CallOutcome::ALL, CallOutcome::as_str, &h.outcome)?,
        denied_by: h.denied_by,
        error_code: h.error_code,
        object: h.object,
        delivered: EventTime(h.delivered),
        kept: kept(h.fields, h.whole),
    }))
}

fn kept(fields: Vec<(SharedStr, StoredValueV1)>, whole: Option<StoredValueV1>) -> KeptFields {
    let fields = fields.into_iter().map(|(name, value)| (name, value.0));
    KeptFields {
        fields: fields.collect(),
        whole: whole.map(|value| Box::new(value.0)),
    }
}

pub(super) fn actor(actor: StoredActorV1) -> Result<Actor, ItemError> {
    Ok(Actor {
        kind: known(&ActorKind::ALL, ActorKind::as_str, &actor.kind)?,
        key: actor.key,
        name: actor.name,
    })
}

/// An event of an alert; of one whose time was not stored, the time of the alert.
fn alert_event(event: StoredAlertEventV1, time: EventTime) -> AlertEvent {
    let (id, time, object) = match event {
        StoredAlertEventV1::Id(id) => (id, time, "".into()),
        StoredAlertEventV1::Event(id, secs, object) => (id, EventTime(secs), object),
    };
    AlertEvent { id, time, object }
}

fn rule_meta(rule: StoredRuleV1) -> Result<RuleMeta, ItemError> {
    Ok(RuleMeta {
        level: known(&RuleLevel::ALL, RuleLevel::as_str, &rule.level)?,
        id: rule.id,
        title: rule.title,
        tags: rule.tags,
        description: rule.description,
        next_steps: rule.next_steps,
        asks_for_seen: rule.asks_for_seen,
        false_positives: rule.false_positives,
        references: rule.references,
        file: rule.file,
    })
}

fn window_match(window_match: StoredWindowMatchV1) -> WindowMatch {
    WindowMatch {
        group: window_match.group,
        bucket: window_match.bucket,
        start: EventTime(window_match.start),
        end: EventTime(window_match.end),
        count: window_match.count,
    }
}

#[cfg(test)]
mod tests {
    use super::super::{pack_alert, squeezed, unpack_alert, unpack_facts, unpack_pending};
    use super::*;
    use crate::state::contract::alert;

    fn refused(text: &str) -> ItemError {
        unpack_pending(&squeezed(text.as_bytes())).unwrap_err()
    }

    #[test]
    fn other_versions_are_refused() {
        let later = refused(r#"{"v":2}"#);
        assert!(matches!(later, ItemError::Version(2)));
        assert_eq!(
            later.to_string(),
            "a stored item is not readable: it has version 2, expected 1; it was written \
             by another version of Secretrail, or by another program"
        );
        assert!(matches!(refused("{}"), ItemError::Json(_)));
        let more = r#"{"v":1,"pending":[{"change":{"head":0,"decrypts":true,"new":1}}]}"#;
        assert!(
            matches!(refused(more), ItemError::Json(_)),
            "what it adds would be lost"
        );
    }

    #[test]
    fn other_bytes_are_refused() {
        let item = pack_alert(&alert("e1")).bytes;
        let cut = &item[..item.len() / 2];
        for bytes in [b"not zlib", cut] {
            assert!(matches!(unpack_facts(bytes), Err(ItemError::Bytes(_))));
        }
    }

    #[test]
    fn references_and_words_must_be_known() {
        let end = r#"{"v":1,"pending":[{"change":{"head":7,"secret":null,"decrypts":true}}]}"#;
        assert!(matches!(
            refused(end),
            ItemError::Entry {
                index: 7,
                entries: 0
            }
        ));
        let source = r#"{"v":1,"sources":[{"kind":"ship"}]}"#;
        assert!(matches!(refused(source), ItemError::Word(word) if &*word == "ship"));
    }

    #[test]
    fn an_item_without_an_alert_is_none() {
        let item = pack_alert(&alert("e1")).bytes;
        assert_eq!(unpack_alert(&item).unwrap(), alert("e1"));
        assert!(unpack_pending(&item).unwrap().is_empty());
        let empty = unpack_alert(&squeezed(br#"{"v":1}"#));
        assert!(matches!(empty, Err(ItemError::NoAlert)));
    }
}
