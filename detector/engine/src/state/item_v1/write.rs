//! Converts the types of the engine to the stored format.

use std::sync::Arc;

use ahash::HashMap;

use super::{
    StoredAccessV1, StoredActorV1, StoredAlertEventV1, StoredAlertV1, StoredFactV1, StoredGroup,
    StoredHeaderV1, StoredPackV1, StoredPendingEventV1, StoredPrincipalV1, StoredRequestV1,
    StoredRuleV1, StoredSecretV1, StoredSourceV1, StoredValueV1, StoredVersionV1,
    StoredWindowMatchV1,
    common::{common_v1, place_v1},
};
use crate::{
    access::Access,
    actor::Actor,
    alert::{Alert, AlertEvent, WindowMatch},
    evidence::Evidence,
    fact::Fact,
    geo::SourceGeo,
    ids::{SecretRef, SharedStr},
    observation::{CallSource, EventHeader, KeptFields, Observation, ReadRequest},
    principal::Principal,
    revealed::RevealedVersion,
    rule_meta::RuleMeta,
};

/// Fills the tables of an item.
#[derive(Default)]
pub(super) struct ItemWriter {
    pub(super) pack: StoredPackV1,
    keep_fields: bool,
    principals: HashMap<Arc<Principal>, usize>,
    sources: HashMap<Arc<CallSource>, usize>,
    secrets: HashMap<SecretRef, usize>,
    heads: HashMap<SharedStr, Vec<(Arc<EventHeader>, usize)>>,
    accesses: Vec<Arc<Access>>,
}

impl ItemWriter {
    /// Empty tables. `keep_fields` says whether raw fields of records are stored.
    pub(super) fn new(keep_fields: bool) -> Self {
        Self {
            keep_fields,
            ..Self::default()
        }
    }

    fn principal(&mut self, principal: &Arc<Principal>) -> usize {
        // Compared by value, not by pointer: two objects have the same principal.
        *self.principals.entry(principal.clone()).or_insert_with(|| {
            let p = &**principal;
            self.pack.principals.push(StoredPrincipalV1 {
                id: p.id.clone(),
                actor: p.actor.clone(),
                identity_type: p.identity_type.clone(),
                kind: p.kind.as_str().into(),
                account: p.account.clone(),
                name: p.name.clone(),
                session: p.session.clone(),
                via: p.via.clone(),
                console: p.console,
                principal_id: p.principal_id.clone(),
            });
            self.pack.principals.len() - 1
        })
    }

    fn source(&mut self, source: &Arc<CallSource>) -> usize {
        *self.sources.entry(source.clone()).or_insert_with(|| {
            self.pack.sources.push(StoredSourceV1 {
                ip: source.ip.clone(),
                kind: source.kind.as_str().into(),
                user_agent: source.user_agent.clone(),
                vpc_endpoint: source.vpc_endpoint.clone(),
                geo: (source.geo != SourceGeo::default()).then(|| source.geo.clone()),
            });
            self.pack.sources.len() - 1
        })
    }

    fn secret(&mut self, secret: &SecretRef) -> usize {
        // Looked up first: `entry` needs a clone of the key, which here is eight strings.
        if let Some(known) = self.secrets.get(secret) {
            return *known;
        }
        self.pack.secrets.push(StoredSecretV1 {
            store: secret.store.as_str().into(),
            partition: secret.partition.clone(),
            account: secret.account.clone(),
            region: secret.region.clone(),
            name: secret.name.clone(),
            arn: secret.arn.clone(),
            partial_name: secret.partial_name.clone(),
            version_id: secret.version_id.clone(),
            version_stage: secret.version_stage.clone(),
        });
        let index = self.pack.secrets.len() - 1;
        self.secrets.insert(secret.clone(), index);
        index
    }

    fn head(&mut self, head: &Arc<EventHeader>) -> usize {
        if let Some(index) = self.known_head(head) {
            return index;
        }
        let (principal, source) = (self.principal(&head.principal), self.source(&head.source));
        let kept = if self.keep_fields {
            head.kept.clone()
        } else {
            KeptFields::default()
        };
        self.pack.heads.push(head_v1(head, principal, source, kept));
        let index = self.pack.heads.len() - 1;
        let same_id = self.heads.entry(head.event_id.clone()).or_default();
        same_id.push((head.clone(), index));
        index
    }

    /// Looked up by event id first: a header has no hash, and copies of an event are few. Copies
    /// that differ, as those of two accounts do, are all kept.
    fn known_head(&self, head: &Arc<EventHeader>) -> Option<usize> {
        let same_id = self.heads.get(&head.event_id)?;
        let (_, index) = same_id.iter().find(|(known, _)| known == head)?;
        Some(*index)
    }

    fn access(&mut self, access: &Arc<Access>) -> usize {
        // Repetitions of an access follow each other.
        if self.accesses.last() == Some(access) {
            return self.accesses.len() - 1;
        }
        let asked = access.asked.to_ref(&access.secret.partition);
        let written = StoredAccessV1 {
            head: self.head(&access.head),
            method: access.method.as_str().into(),
            secret: self.secret(&access.secret),
            asked: self.secret(&asked),
            status: access.decrypt.status.as_str().into(),
            decrypt: access.decrypt.event_id.clone(),
            key_arn: access.decrypt.key_arn.clone(),
            delta_secs: access.decrypt.delta_secs,
            asked_version: access.asked_version,
        };
        self.pack.accesses.push(written);
        self.accesses.push(access.clone());
        self.accesses.len() - 1
    }

    pub(super) fn end(&mut self, observation: &Observation) -> StoredPendingEventV1 {
        match observation {
            Observation::Read(read) => StoredPendingEventV1::Read {
                head: self.head(&read.head),
                request: self.request(&read.request),
                decrypts: read.decrypts,
                denied_by_kms: read.denied_by_kms,
                denied_key: read.denied_key.clone(),
            },
            Observation::KmsDecrypt(kms_decrypt) => StoredPendingEventV1::KmsDecrypt {
                head: self.head(&kms_decrypt.head),
                secret: kms_decrypt
                    .secret
                    .as_ref()
                    .map(|secret| self.secret(secret)),
                version_id: kms_decrypt.version_id.clone(),
                key_arn: kms_decrypt.key_arn.clone(),
                direct: kms_decrypt.direct,
            },
            Observation::Change(change) => StoredPendingEventV1::Change {
                head: self.head(&change.head),
                secret: change.secret.as_ref().map(|secret| self.secret(secret)),
                decrypts: change.decrypts,
            },
        }
    }

    fn request(&mut self, request: &ReadRequest) -> StoredRequestV1 {
        match request {
            ReadRequest::Named(secrets) => StoredRequestV1::Named(self.secrets(secrets)),
            ReadRequest::Batch(secrets) => StoredRequestV1::Batch(self.secrets(secrets)),
            ReadRequest::BatchFilters => StoredRequestV1::BatchFilters,
            ReadRequest::Path { path, recursive } => StoredRequestV1::Path {
                path: self.secret(path),
                recursive: *recursive,
            },
            ReadRequest::History(secret) => StoredRequestV1::History(self.secret(secret)),
        }
    }

    fn secrets(&mut self, secrets: &[SecretRef]) -> Vec<usize> {
        secrets.iter().map(|secret| self.secret(secret)).collect()
    }

    pub(super) fn fact(&mut self, group: &StoredGroup, fact: &Fact) -> StoredFactV1 {
        let Evidence {
            head,
            secret,
            access,
        } = &fact.evidence;
        // Facts are sorted by group.
        if self.pack.groups.last() != Some(group) {
            self.pack.groups.push(group.clone());
        }
        StoredFactV1 {
            group: self.pack.groups.len() - 1,
            slot: fact.slot,
            key: fact.key.clone(),
            time: fact.time.0,
            value: fact.value.clone(),
            least: fact.least,
            head: self.head(head),
            secret: secret.as_ref().map(|secret| self.secret(secret)),
            access: access.as_ref().map(|access| self.access(access)),
        }
    }

    pub(super) fn alert(&mut self, alert: &Alert) -> StoredAlertV1 {
        let accesses = alert.accesses.iter();
        let versions = alert.traits.versions.first.iter();
        StoredAlertV1 {
            id: alert.id.0.clone(),
            rule: rule_v1(&alert.rule),
            time: alert.time.0,
            window_match: alert.window_match.as_ref().map(window_match_v1),
            summary: alert.summary.clone(),
            account: alert.account.clone(),
            region: alert.region.clone(),
            principal: alert.principal.clone(),
            secrets: alert.secrets.clone(),
            secrets_total: alert.secrets_total,
            accesses: accesses.map(|access| self.access(access)).collect(),
            accesses_total: alert.accesses_total,
            events: alert.events.iter().map(event_v1).collect(),
            withdrawn: alert.withdrawn,
            began: Some(alert.began.0),
            actor: Some(actor_v1(&alert.actor)),
            addresses: alert.origin.addresses.clone(),
            networks: alert.origin.networks.clone(),
            revealed: alert.traits.revealed.clone(),
            sources: alert.traits.sources.clone(),
            regions: alert.traits.regions.clone(),
            sessions: alert.traits.sessions.clone(),
            access_keys: alert.traits.access_keys.clone(),
            clients: alert.traits.clients.clone(),
            common: alert.common.as_ref().map(common_v1),
            former: alert.former.iter().map(place_v1).collect(),
            versions: versions.map(|version| self.version(version)).collect(),
            more_versions: alert.traits.versions.are_more,
        }
    }

    fn version(&mut self, version: &RevealedVersion) -> StoredVersionV1 {
        StoredVersionV1 {
            secret: self.secret(&version.secret),
            method: version.method.as_str().into(),
            certainty: version.certainty.as_str().into(),
            asked: version.asked_version,
            home: version.is_home,
            first: version.first.0,
        }
    }
}

fn event_v1(event: &AlertEvent) -> StoredAlertEventV1 {
    StoredAlertEventV1::Event(event.id.clone(), event.time.0, event.object.clone())
}

pub(super) fn actor_v1(actor: &Actor) -> StoredActorV1 {
    StoredActorV1 {
        kind: actor.kind.as_str().into(),
        key: actor.key.clone(),
        name: actor.name.clone(),
    }
}

fn head_v1(
    head: &EventHeader,
    principal: usize,
    source: usize,
    kept: KeptFields,
) -> StoredHeaderV1 {
    let fields = kept.fields.into_iter();
    StoredHeaderV1 {
        event_id: head.event_id.clone(),
        event: head.event,
        unshared_event: head.unshared_event,
        content: head.content,
        shared_id: head.shared_id.clone(),
        updated: head.updated,
        time: head.time.0,
        api: head.api.clone(),
        account: head.account.clone(),
        region: head.region.clone(),
        principal,
        access_key_id: head.access_key_id.clone(),
        source,
        outcome: head.outcome.as_str().into(),
        denied_by: head.denied_by.clone(),
        error_code: head.error_code.clone(),
        object: head.object.clone(),
        delivered: head.delivered.0,
        fields: fields
            .map(|(name, value)| (name, StoredValueV1(value)))
            .collect(),
        whole: kept.whole.map(|node| StoredValueV1(*node)),
    }
}

fn rule_v1(rule: &RuleMeta) -> StoredRuleV1 {
    StoredRuleV1 {
        id: rule.id.clone(),
        title: rule.title.clone(),
        level: rule.level.as_str().into(),
        tags: rule.tags.clone(),
        description: rule.description.clone(),
        next_steps: rule.next_steps.clone(),
        asks_for_seen: rule.asks_for_seen,
        false_positives: rule.false_positives.clone(),
        references: rule.references.clone(),
        file: rule.file.clone(),
    }
}

fn window_match_v1(window_match: &WindowMatch) -> StoredWindowMatchV1 {
    StoredWindowMatchV1 {
        group: window_match.group.clone(),
        bucket: window_match.bucket,
        start: window_match.start.0,
        end: window_match.end.0,
        count: window_match.count,
    }
}

#[cfg(test)]
mod tests {
    use super::super::{PackedItem, pack_facts, pack_pending, unsqueezed};
    use super::*;
    use crate::{
        access::{AccessDecrypt, AccessMethod, DecryptStatus},
        pending_event::PendingEvent,
        state::contract::{end, fact},
    };

    fn tables(packed: &[PackedItem]) -> StoredPackV1 {
        let [one] = packed else { panic!("one item") };
        serde_json::from_slice(&unsqueezed(&one.bytes).unwrap()).unwrap()
    }

    fn an_access(end: &PendingEvent) -> Arc<Access> {
        let Observation::Read(read) = &end.observation else {
            panic!("a read")
        };
        let ReadRequest::Named(secrets) = &read.request else {
            panic!("by name")
        };
        let secret = secrets[0].clone();
        Arc::new(Access {
            head: read.head.clone(),
            method: AccessMethod::Api,
            asked: secret.key(),
            asked_version: false,
            secret,
            decrypt: AccessDecrypt::only(DecryptStatus::Pending),
        })
    }

    #[test]
    fn what_pending_events_have_in_common_is_written_once() {
        let pending = [
            end("e1", 1, "ann"),
            end("e2", 2, "ann"),
            end("e3", 3, "bob"),
        ];
        let pack = tables(&pack_pending(&pending));
        assert_eq!((pack.pending.len(), pack.heads.len()), (3, 3));
        assert_eq!((pack.principals.len(), pack.sources.len()), (2, 1));
        assert_eq!(pack.secrets.len(), 1);
    }

    #[test]
    fn copies_that_differ_are_both_kept() {
        let one = end("e1", 1, "ann");
        let mut copy = (*one).clone();
        let Observation::Read(read) = &mut copy.observation else {
            panic!("a read")
        };
        Arc::make_mut(&mut Arc::make_mut(read).head).object = "another object".into();
        let pending = [one.clone(), one, Arc::new(copy)];
        assert_eq!(tables(&pack_pending(&pending)).heads.len(), 2);
    }

    #[test]
    fn a_group_is_written_once_for_all_its_facts() {
        let group = |name: &str| vec![("principal.arn".into(), name.into())];
        let facts = vec![
            (group("ann"), fact("e1", 1, "x")),
            (group("bob"), fact("e2", 1, "x")),
            (group("ann"), fact("e3", 2, "x")),
        ];
        let pack = tables(&pack_facts(facts));
        assert_eq!(pack.groups, [group("ann"), group("bob")]);
        let of_groups: Vec<usize> = pack.facts.iter().map(|fact| fact.group).collect();
        assert_eq!(of_groups, [0, 0, 1]);
    }

    #[test]
    fn facts_of_one_access_share_it() {
        let (one, other) = (
            an_access(&end("e1", 1, "ann")),
            an_access(&end("e2", 2, "ann")),
        );
        let of = |access: &Arc<Access>, slot| Fact {
            slot,
            evidence: Evidence::access(access.clone()),
            ..fact(&access.head.event_id, access.head.time.0, "x")
        };
        let facts = [of(&one, 0), of(&one, 1), of(&other, 0)];
        let pack = tables(&pack_facts(facts.map(|fact| (Vec::new(), fact)).into()));
        assert_eq!(pack.accesses.len(), 2);
        let of_accesses: Vec<_> = pack.facts.iter().map(|fact| fact.access).collect();
        assert_eq!(of_accesses, [Some(0), Some(0), Some(1)]);
    }
}
