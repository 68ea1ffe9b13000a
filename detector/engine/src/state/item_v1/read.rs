//! From the stored form back to the domain.

use std::sync::Arc;

use super::{
    AccessV1, AlertV1, AskV1, EndV1, FactV1, Group, HeadV1, ItemError, PackV1, PrincipalV1,
    SecretV1, SourceV1, VERSION, unsqueezed,
};
use crate::access::{Access, Decrypt, DecryptStatus, Method};
use crate::alert::{Alert, AlertId, Firing};
use crate::evidence::Evidence;
use crate::fact::Fact;
use crate::ids::{SecretRef, Store};
use crate::named::named;
use crate::observation::{
    Ask, Head, Kept, KeyUse, Observation, Outcome, SecretChange, SecretRead, Source, SourceKind,
};
use crate::principal::{Principal, PrincipalKind};
use crate::rule_meta::{Level, RuleMeta};
use crate::time::EventTime;

/// Gives the tables of an item their types back.
pub(super) struct Reader {
    pub(super) pack: PackV1,
    secrets: Vec<SecretRef>,
    heads: Vec<Arc<Head>>,
    accesses: Vec<Arc<Access>>,
}

impl Reader {
    pub(super) fn new(bytes: &[u8]) -> Result<Self, ItemError> {
        let mut pack: PackV1 = serde_json::from_slice(&unsqueezed(bytes)?)
            .map_err(|error| ItemError(error.to_string()))?;
        if pack.v != VERSION {
            return Err(ItemError(format!(
                "it is of version {}, this is version {VERSION}",
                pack.v
            )));
        }
        let principals: Vec<Arc<Principal>> = std::mem::take(&mut pack.principals)
            .into_iter()
            .map(principal)
            .collect::<Result<_, _>>()?;
        let sources: Vec<Arc<Source>> = std::mem::take(&mut pack.sources)
            .into_iter()
            .map(source)
            .collect::<Result<_, _>>()?;
        let secrets = std::mem::take(&mut pack.secrets)
            .into_iter()
            .map(secret)
            .collect::<Result<_, _>>()?;
        let heads = std::mem::take(&mut pack.heads);
        let heads = heads
            .into_iter()
            .map(|h| head(h, &principals, &sources))
            .collect::<Result<_, _>>()?;
        let mut reader = Self {
            pack,
            secrets,
            heads,
            accesses: Vec::new(),
        };
        let accesses = std::mem::take(&mut reader.pack.accesses);
        reader.accesses = accesses
            .into_iter()
            .map(|access| reader.access(access))
            .collect::<Result<_, _>>()?;
        Ok(reader)
    }

    fn secret(&self, index: usize) -> Result<SecretRef, ItemError> {
        at(&self.secrets, index)
    }

    fn some_secret(&self, index: Option<usize>) -> Result<Option<SecretRef>, ItemError> {
        index.map(|index| self.secret(index)).transpose()
    }

    fn head(&self, index: usize) -> Result<Arc<Head>, ItemError> {
        at(&self.heads, index)
    }

    fn access(&self, access: AccessV1) -> Result<Arc<Access>, ItemError> {
        Ok(Arc::new(Access {
            head: self.head(access.head)?,
            method: known(&Method::ALL, Method::as_str, &access.method)?,
            secret: self.secret(access.secret)?,
            asked: self.secret(access.asked)?.key(),
            decrypt: Decrypt {
                status: known(&DecryptStatus::ALL, DecryptStatus::as_str, &access.status)?,
                event_id: access.decrypt,
                key_arn: access.key_arn,
                delta_secs: access.delta_secs,
            },
        }))
    }

    pub(super) fn observation(&self, end: &EndV1) -> Result<Observation, ItemError> {
        Ok(match end {
            EndV1::Read {
                head,
                ask,
                decrypts,
                denied_by_kms,
            } => Observation::Read(Arc::new(SecretRead {
                head: self.head(*head)?,
                ask: self.ask(ask)?,
                decrypts: *decrypts,
                denied_by_kms: *denied_by_kms,
            })),
            EndV1::KeyUse {
                head,
                secret,
                version_id,
                key_arn,
                direct,
            } => Observation::KeyUse(Arc::new(KeyUse {
                head: self.head(*head)?,
                secret: self.some_secret(*secret)?,
                version_id: version_id.clone(),
                key_arn: key_arn.clone(),
                direct: *direct,
            })),
            EndV1::Change {
                head,
                secret,
                decrypts,
            } => Observation::Change(Arc::new(SecretChange {
                head: self.head(*head)?,
                secret: self.some_secret(*secret)?,
                decrypts: *decrypts,
            })),
        })
    }

    fn ask(&self, ask: &AskV1) -> Result<Ask, ItemError> {
        let all = |indices: &[usize]| {
            indices
                .iter()
                .map(|index| self.secret(*index))
                .collect::<Result<_, _>>()
        };
        Ok(match ask {
            AskV1::Named(secrets) => Ask::Named(all(secrets)?),
            AskV1::Batch(secrets) => Ask::Batch(all(secrets)?),
            AskV1::BatchFilters => Ask::BatchFilters,
            AskV1::Path { path, recursive } => Ask::Path {
                path: self.secret(*path)?,
                recursive: *recursive,
            },
            AskV1::History(secret) => Ask::History(self.secret(*secret)?),
        })
    }

    pub(super) fn fact(&self, fact: &FactV1) -> Result<(Group, Fact), ItemError> {
        let access = fact
            .access
            .map(|index| at(&self.accesses, index))
            .transpose()?;
        let evidence = Evidence {
            head: self.head(fact.head)?,
            secret: self.some_secret(fact.secret)?,
            access,
        };
        let (key, value, time) = (fact.key.clone(), fact.value.clone(), EventTime(fact.time));
        let fact_of = Fact {
            slot: fact.slot,
            key,
            time,
            value,
            least: fact.least,
            evidence,
        };
        Ok((at(&self.pack.groups, fact.group)?, fact_of))
    }

    pub(super) fn alert(&self, alert: &AlertV1) -> Result<Alert, ItemError> {
        let rule = &alert.rule;
        Ok(Alert {
            id: AlertId(alert.id.clone()),
            rule: Arc::new(RuleMeta {
                id: rule.id.clone(),
                title: rule.title.clone(),
                level: known(&Level::ALL, Level::as_str, &rule.level)?,
                tags: rule.tags.clone(),
                false_positives: rule.false_positives.clone(),
                references: rule.references.clone(),
                file: rule.file.clone(),
            }),
            time: EventTime(alert.time),
            firing: alert.firing.as_ref().map(|firing| Firing {
                group: firing.group.clone(),
                bucket: firing.bucket,
                start: EventTime(firing.start),
                end: EventTime(firing.end),
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
                .map(|index| at(&self.accesses, *index))
                .collect::<Result<_, _>>()?,
            accesses_total: alert.accesses_total,
            events: alert.events.clone(),
        })
    }
}

fn at<T: Clone>(table: &[T], index: usize) -> Result<T, ItemError> {
    table
        .get(index)
        .cloned()
        .ok_or_else(|| ItemError(format!("it refers to entry {index} of {}", table.len())))
}

/// The value of a closed set by its name.
fn known<T: Copy>(all: &[T], name: impl Fn(T) -> &'static str, text: &str) -> Result<T, ItemError> {
    named(all, name, text).ok_or_else(|| ItemError(format!("`{text}` is not known")))
}

fn principal(p: PrincipalV1) -> Result<Arc<Principal>, ItemError> {
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

fn source(s: SourceV1) -> Result<Arc<Source>, ItemError> {
    let kind = known(&SourceKind::ALL, SourceKind::as_str, &s.kind)?;
    Ok(Arc::new(Source {
        ip: s.ip,
        kind,
        user_agent: s.user_agent,
        vpc_endpoint: s.vpc_endpoint,
    }))
}

fn secret(s: SecretV1) -> Result<SecretRef, ItemError> {
    Ok(SecretRef {
        store: known(&Store::ALL, Store::as_str, &s.store)?,
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
    h: HeadV1,
    principals: &[Arc<Principal>],
    sources: &[Arc<Source>],
) -> Result<Arc<Head>, ItemError> {
    Ok(Arc::new(Head {
        event_id: h.event_id,
        shared_id: h.shared_id,
        updated: h.updated,
        time: EventTime(h.time),
        api: h.api,
        account: h.account,
        region: h.region,
        principal: at(principals, h.principal)?,
        access_key_id: h.access_key_id,
        source: at(sources, h.source)?,
        outcome: known(&Outcome::ALL, Outcome::as_str, &h.outcome)?,
        denied_by: h.denied_by,
        error_code: h.error_code,
        object: h.object,
        delivered: EventTime(h.delivered),
        kept: Kept {
            fields: h
                .fields
                .into_iter()
                .map(|(name, value)| (name, value.0))
                .collect(),
            whole: h.whole.map(|value| Box::new(value.0)),
        },
    }))
}
