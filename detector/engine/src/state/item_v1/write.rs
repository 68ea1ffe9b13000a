//! From the domain to the stored form.

use std::sync::Arc;

use ahash::HashMap;

use super::{
    AccessV1, AlertV1, AskV1, EndV1, FactV1, FiringV1, Group, HeadV1, PackV1, PrincipalV1, RuleV1,
    SecretV1, SourceV1, ValueV1,
};
use crate::access::Access;
use crate::alert::Alert;
use crate::evidence::Evidence;
use crate::fact::Fact;
use crate::ids::{SecretRef, Text};
use crate::observation::{Ask, Head, Kept, Observation, Source};
use crate::principal::Principal;

/// Fills the tables of an item.
#[derive(Default)]
pub(super) struct Writer {
    pub(super) pack: PackV1,
    keep_fields: bool,
    principals: HashMap<Arc<Principal>, usize>,
    sources: HashMap<Arc<Source>, usize>,
    secrets: HashMap<SecretRef, usize>,
    heads: HashMap<Text, Vec<(Arc<Head>, usize)>>,
    accesses: Vec<Arc<Access>>,
}

impl Writer {
    /// Empty tables; says whether raw fields of records are kept.
    pub(super) fn new(keep_fields: bool) -> Self {
        Self {
            keep_fields,
            ..Self::default()
        }
    }

    fn principal(&mut self, principal: &Arc<Principal>) -> usize {
        *self.principals.entry(principal.clone()).or_insert_with(|| {
            let p = &**principal;
            self.pack.principals.push(PrincipalV1 {
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

    fn source(&mut self, source: &Arc<Source>) -> usize {
        *self.sources.entry(source.clone()).or_insert_with(|| {
            self.pack.sources.push(SourceV1 {
                ip: source.ip.clone(),
                kind: source.kind.as_str().into(),
                user_agent: source.user_agent.clone(),
                vpc_endpoint: source.vpc_endpoint.clone(),
            });
            self.pack.sources.len() - 1
        })
    }

    fn secret(&mut self, secret: &SecretRef) -> usize {
        if let Some(known) = self.secrets.get(secret) {
            return *known;
        }
        self.pack.secrets.push(SecretV1 {
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

    fn head(&mut self, head: &Arc<Head>) -> usize {
        let known = self.heads.get(&head.event_id).into_iter().flatten();
        if let Some((_, index)) = known.into_iter().find(|(known, _)| known == head) {
            return *index;
        }
        let (principal, source) = (self.principal(&head.principal), self.source(&head.source));
        let kept = if self.keep_fields {
            head.kept.clone()
        } else {
            Kept::default()
        };
        self.pack.heads.push(HeadV1 {
            event_id: head.event_id.clone(),
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
            fields: kept
                .fields
                .into_iter()
                .map(|(name, value)| (name, ValueV1(value)))
                .collect(),
            whole: kept.whole.map(|node| ValueV1(*node)),
        });
        let index = self.pack.heads.len() - 1;
        self.heads
            .entry(head.event_id.clone())
            .or_default()
            .push((head.clone(), index));
        index
    }

    fn access(&mut self, access: &Arc<Access>) -> usize {
        // The same access comes in a row, if it comes again.
        if let Some(index) = self
            .accesses
            .len()
            .checked_sub(1)
            .filter(|_| self.accesses.last() == Some(access))
        {
            return index;
        }
        let asked = access.asked.to_ref(&access.secret.partition);
        let written = AccessV1 {
            head: self.head(&access.head),
            method: access.method.as_str().into(),
            secret: self.secret(&access.secret),
            asked: self.secret(&asked),
            status: access.decrypt.status.as_str().into(),
            decrypt: access.decrypt.event_id.clone(),
            key_arn: access.decrypt.key_arn.clone(),
            delta_secs: access.decrypt.delta_secs,
        };
        self.pack.accesses.push(written);
        self.accesses.push(access.clone());
        self.accesses.len() - 1
    }

    pub(super) fn end(&mut self, observation: &Observation) -> EndV1 {
        match observation {
            Observation::Read(read) => EndV1::Read {
                head: self.head(&read.head),
                ask: self.ask(&read.ask),
                decrypts: read.decrypts,
                denied_by_kms: read.denied_by_kms,
            },
            Observation::KeyUse(key_use) => EndV1::KeyUse {
                head: self.head(&key_use.head),
                secret: key_use.secret.as_ref().map(|secret| self.secret(secret)),
                version_id: key_use.version_id.clone(),
                key_arn: key_use.key_arn.clone(),
                direct: key_use.direct,
            },
            Observation::Change(change) => EndV1::Change {
                head: self.head(&change.head),
                secret: change.secret.as_ref().map(|secret| self.secret(secret)),
                decrypts: change.decrypts,
            },
        }
    }

    fn ask(&mut self, ask: &Ask) -> AskV1 {
        match ask {
            Ask::Named(secrets) => {
                AskV1::Named(secrets.iter().map(|secret| self.secret(secret)).collect())
            }
            Ask::Batch(secrets) => {
                AskV1::Batch(secrets.iter().map(|secret| self.secret(secret)).collect())
            }
            Ask::BatchFilters => AskV1::BatchFilters,
            Ask::Path { path, recursive } => AskV1::Path {
                path: self.secret(path),
                recursive: *recursive,
            },
            Ask::History(secret) => AskV1::History(self.secret(secret)),
        }
    }

    pub(super) fn fact(&mut self, group: &Group, fact: &Fact) -> FactV1 {
        let Evidence {
            head,
            secret,
            access,
        } = &fact.evidence;
        // They come sorted by group.
        if self.pack.groups.last() != Some(group) {
            self.pack.groups.push(group.clone());
        }
        FactV1 {
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

    pub(super) fn alert(&mut self, alert: &Alert) -> AlertV1 {
        let rule = &*alert.rule;
        AlertV1 {
            id: alert.id.0.clone(),
            rule: RuleV1 {
                id: rule.id.clone(),
                title: rule.title.clone(),
                level: rule.level.as_str().into(),
                tags: rule.tags.clone(),
                false_positives: rule.false_positives.clone(),
                references: rule.references.clone(),
                file: rule.file.clone(),
            },
            time: alert.time.0,
            firing: alert.firing.as_ref().map(|firing| FiringV1 {
                group: firing.group.clone(),
                bucket: firing.bucket,
                start: firing.start.0,
                end: firing.end.0,
                count: firing.count,
            }),
            summary: alert.summary.clone(),
            account: alert.account.clone(),
            region: alert.region.clone(),
            principal: alert.principal.clone(),
            secrets: alert.secrets.clone(),
            secrets_total: alert.secrets_total,
            accesses: alert
                .accesses
                .iter()
                .map(|access| self.access(access))
                .collect(),
            accesses_total: alert.accesses_total,
            events: alert.events.clone(),
        }
    }
}
