//! A record to an observation: one table of services and APIs, and what each of them calls its secret.
//!
//! Sources: AWS Secrets Manager and Systems Manager API references; KMS developer guide, "Logging AWS KMS API calls";
//! IAM user guide, "Troubleshoot access denied error messages".

use std::collections::BTreeSet;
use std::sync::Arc;

use crate::digest::digest;
use crate::document::Document;
use crate::ids::{Arn, Home, SecretRef, Store, Text};
use crate::object::Origin;
use crate::observation::{
    Ask, Head, Interner, Kept, KeyUse, Observation, Outcome, SecretChange, SecretRead, SourceKind,
};
use crate::time::EventTime;
use crate::wire::{Record, Scalar};

/// `SecretVersionId` of the Decrypt by which Secrets Manager checks that a caller may use a key. Not a read.
const KEY_VALIDATION: &str = "RequestToValidateKeyAccess";

/// Why a record that looked like ours gives no observation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum NotOurs {
    /// Another API, or a key use for something else.
    Other,
    /// A key use that only checks access to the key.
    KeyValidation,
    /// `eventTime` is missing or is not a time.
    NoTime,
}

/// Raw fields that the loaded rules ask for beside the typed ones.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Wanted {
    /// Of reads and key uses.
    pub of_accesses: RawFields,
    /// Of changes.
    pub of_changes: RawFields,
}

/// Raw fields of one kind of record.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RawFields {
    /// Their names.
    pub names: BTreeSet<Text>,
    /// Whether the whole record is searched.
    pub whole: bool,
}

/// Makes the observation of a record. The document is the record's own, for raw fields.
///
/// # Errors
///
/// [`NotOurs`] when there is none, and why.
pub fn extract(
    record: &Record<'_>,
    document: &Document<'_>,
    origin: &Origin,
    wanted: &Wanted,
    interner: &mut Interner,
) -> Result<Observation, NotOurs> {
    let source = record.event_source.get().unwrap_or_default();
    let api = record.event_name.get().unwrap_or_default();
    let role = role(source, api).ok_or(NotOurs::Other)?;
    if record
        .event_type
        .get()
        .is_some_and(|t| t.starts_with("AwsVpce"))
    {
        return Err(NotOurs::Other);
    }
    let mut facts = Facts { record, interner };
    // The cheap tests come before the head is built: most Decrypts are for something else.
    if role == Role::KeyUse {
        facts.is_key_use()?;
    }
    let wanted = match role {
        Role::Read(_) | Role::KeyUse => &wanted.of_accesses,
        Role::Change { .. } => &wanted.of_changes,
    };
    let head = self::head(record, document, origin, wanted, facts.interner)?;
    Ok(match role {
        Role::Read(store) => Observation::Read(Arc::new(facts.read(Arc::new(head), store, api))),
        Role::KeyUse => Observation::KeyUse(Arc::new(facts.key_use(head))),
        Role::Change { decrypts } => {
            Observation::Change(Arc::new(facts.change(Arc::new(head), source, decrypts)))
        }
    })
}

/// What kind of observation a call may be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// A read from this store.
    Read(Store),
    /// A KMS `Decrypt`.
    KeyUse,
    /// A change.
    Change {
        /// Whether the call decrypts the secret itself.
        decrypts: bool,
    },
}

/// The table of what concerns us, by `eventSource` and `eventName`. `decrypts` marks changes that decrypt the secret themselves
/// (Secrets Manager user guide, "Secret encryption and decryption").
#[must_use]
pub fn role(source: &str, api: &str) -> Option<Role> {
    let change = |decrypts| Some(Role::Change { decrypts });
    match (source.split('.').next().unwrap_or_default(), api) {
        ("secretsmanager", "GetSecretValue" | "BatchGetSecretValue") => {
            Some(Role::Read(Store::SecretsManager))
        }
        (
            "ssm",
            "GetParameter" | "GetParameters" | "GetParametersByPath" | "GetParameterHistory",
        ) => Some(Role::Read(Store::Ssm)),
        ("kms", "Decrypt") => Some(Role::KeyUse),
        (
            "secretsmanager",
            "PutSecretValue" | "UpdateSecret" | "ReplicateSecretToRegions" | "CreateSecret",
        ) => change(true),
        (
            "secretsmanager",
            "PutResourcePolicy"
            | "DeleteResourcePolicy"
            | "UpdateSecretVersionStage"
            | "RemoveRegionsFromReplication"
            | "StopReplicationToReplica"
            | "RotateSecret"
            | "CancelRotateSecret"
            | "DeleteSecret"
            | "RestoreSecret"
            | "TagResource"
            | "UntagResource",
        )
        | (
            "ssm",
            "PutParameter"
            | "DeleteParameter"
            | "DeleteParameters"
            | "LabelParameterVersion"
            | "PutResourcePolicy"
            | "DeleteResourcePolicy",
        )
        | ("kms", "PutKeyPolicy" | "DisableKey" | "ScheduleKeyDeletion")
        | (
            "cloudtrail",
            "PutEventSelectors"
            | "StopLogging"
            | "DeleteTrail"
            | "UpdateTrail"
            | "StopEventDataStoreIngestion"
            | "DeleteEventDataStore",
        ) => change(false),
        _ => None,
    }
}

struct Facts<'r, 'a> {
    record: &'r Record<'a>,
    interner: &'r mut Interner,
}

impl Facts<'_, '_> {
    fn read(&mut self, head: Arc<Head>, store: Store, api: &str) -> SecretRead {
        let home = home(self.record);
        let message = self.record.error_message.get();
        let ask = if head.outcome == Outcome::Success {
            self.ask(store, api, home)
        } else {
            let typed = self.targets(store, home);
            Ask::Named(if typed.is_empty() {
                vec![denied_target(message, store, home)]
            } else {
                typed
            })
        };
        let decrypts = head.outcome == Outcome::Success
            && (store == Store::SecretsManager
                || self.record.request_parameters.with_decryption.is_true());
        let denied_by_kms = head.denied_by.as_deref() == Some(KMS_KEY);
        SecretRead {
            head,
            ask,
            decrypts,
            denied_by_kms,
        }
    }

    fn ask(&mut self, store: Store, api: &str, home: Home<'_>) -> Ask {
        let named = self.targets(store, home);
        match api {
            "BatchGetSecretValue" if named.is_empty() => Ask::BatchFilters,
            "BatchGetSecretValue" => Ask::Batch(named),
            "GetParametersByPath" => Ask::Path {
                path: SecretRef::path(
                    self.record.request_parameters.path.get().unwrap_or("/"),
                    home,
                ),
                recursive: self.record.request_parameters.recursive.is_true(),
            },
            _ => match (api, <[SecretRef; 1]>::try_from(named)) {
                ("GetParameterHistory", Ok([one])) => Ask::History(one),
                (_, Ok(one)) => Ask::Named(one.into()),
                (_, Err(many)) if many.is_empty() => {
                    Ask::Named(vec![SecretRef::unnamed(store, home)])
                }
                (_, Err(many)) => Ask::Named(many),
            },
        }
    }

    /// The secrets that the request names, as the caller typed them, without repetitions.
    fn targets(&mut self, store: Store, home: Home<'_>) -> Vec<SecretRef> {
        let Self { record, interner } = self;
        let params = &record.request_parameters;
        let mut targets: Vec<SecretRef> = match store {
            Store::SecretsManager => {
                let ids = params
                    .secret_id
                    .get()
                    .into_iter()
                    .chain(params.secret_id_list.texts());
                let stage = params.version_stage.get().map(|stage| interner.text(stage));
                let version = params
                    .version_id
                    .get()
                    .map(|version| interner.text(version));
                let versioned = |s| SecretRef {
                    version_id: version.clone(),
                    version_stage: stage.clone(),
                    ..s
                };
                ids.map(|id| versioned(interner.secret(store, id, home)))
                    .collect()
            }
            Store::Ssm => {
                let names = params.name.get().into_iter().chain(params.names.texts());
                names
                    .map(|name| interner.secret(store, name, home))
                    .collect()
            }
        };
        if targets.is_empty() && store == Store::Ssm {
            let arns = record.resources.0.iter().filter_map(|r| r.arn.get());
            targets = arns.map(|arn| interner.secret(store, arn, home)).collect();
        }
        if targets.len() > 1 {
            let mut seen = std::collections::HashSet::new();
            targets
                .retain(|t| seen.insert((t.key(), t.version_id.clone(), t.version_stage.clone())));
        }
        targets
    }

    fn is_key_use(&self) -> Result<(), NotOurs> {
        let context = &self.record.request_parameters.encryption_context;
        let names_secret =
            context.secret_arn.get().is_some() || context.parameter_arn.get().is_some();
        if context.secret_version_id.get() == Some(KEY_VALIDATION) {
            return Err(NotOurs::KeyValidation);
        }
        // A denied Decrypt has no context; it is ours when a store of secrets made it for the caller.
        let for_store = || {
            let via = &self.record.user_identity.invoked_by;
            let store = via.get().is_some_and(|v| {
                v.starts_with("secretsmanager.") || v.starts_with("ssm.") || v == "AWS Internal"
            });
            store && outcome(&self.record.error_code).0 != Outcome::Success
        };
        let dry_run = self.record.error_code.get() == Some("DryRunOperationException");
        if !dry_run && (names_secret || for_store()) {
            Ok(())
        } else {
            Err(NotOurs::Other)
        }
    }

    fn key_use(&mut self, head: Head) -> KeyUse {
        let home = home(self.record);
        let context = &self.record.request_parameters.encryption_context;
        let named = context
            .secret_arn
            .get()
            .map(|arn| (Store::SecretsManager, arn));
        let named = named.or_else(|| Some((Store::Ssm, context.parameter_arn.get()?)));
        let secret = named.map(|(store, arn)| self.interner.secret(store, arn, home));
        let resources = &self.record.resources.0;
        let is_key = |arn: &&str| Arn::parse(arn).is_some_and(|a| a.service == "kms");
        let key_arn = resources.iter().filter_map(|r| r.arn.get()).find(is_key);
        let denied = denial(self.record.error_message.get()).and_then(|d| d.resource);
        let direct = head.principal.via.is_none()
            && !matches!(head.source.kind, SourceKind::Service | SourceKind::Internal)
            && head.principal.kind != crate::principal::PrincipalKind::Service;
        KeyUse {
            secret,
            version_id: context
                .secret_version_id
                .get()
                .map(|v| self.interner.text(v)),
            key_arn: key_arn
                .or(denied.filter(is_key))
                .map(|arn| self.interner.text(arn)),
            direct,
            head: Arc::new(head),
        }
    }

    fn change(&mut self, head: Arc<Head>, source: &str, decrypts: bool) -> SecretChange {
        let home = home(self.record);
        let store = match source.split('.').next() {
            Some("secretsmanager") => Some(Store::SecretsManager),
            Some("ssm") => Some(Store::Ssm),
            _ => None,
        };
        let secret = store.and_then(|store| {
            let typed = self.targets(store, home).into_iter().next();
            let by_arn = self.record.request_parameters.old_arn.get().or(self
                .record
                .request_parameters
                .resource_arn
                .get());
            let named = by_arn.or(self.record.request_parameters.name.get());
            let other = named.map(|id| self.interner.secret(store, id, home));
            let denied = || {
                Some(denied_target(self.record.error_message.get(), store, home))
                    .filter(|s| s.name.is_some())
            };
            typed.or(other).or_else(denied)
        });
        SecretChange {
            head,
            secret,
            decrypts,
        }
    }
}

/// Builds what every observation has.
///
/// # Errors
///
/// [`NotOurs::NoTime`] when `eventTime` cannot be read.
pub fn head(
    record: &Record<'_>,
    document: &Document<'_>,
    origin: &Origin,
    wanted: &RawFields,
    interner: &mut Interner,
) -> Result<Head, NotOurs> {
    let time = record
        .event_time
        .get()
        .and_then(EventTime::parse)
        .ok_or(NotOurs::NoTime)?;
    let addendum = &record.addendum;
    let original = addendum
        .original_event_id
        .get()
        .filter(|_| addendum.reason.get() == Some("UPDATED_DATA"));
    let event_id = original
        .or(record.event_id.get())
        .map_or_else(|| Text::from(digest(&[document.text()])), Text::from);
    let (outcome, denied) = outcome(&record.error_code);
    let denied_by = denied
        .then(|| denied_by(record.error_message.get()))
        .flatten();
    let shared =
        |scalar: &Scalar<'_>, interner: &mut Interner| scalar.get().map(|t| interner.text(t));
    // The endpoint on a Decrypt is AWS's own, never the caller's.
    let of_caller = record.event_name.get() != Some("Decrypt");
    let endpoint = record.vpc_endpoint_id.get().filter(|_| of_caller);
    let home = home(record);
    Ok(Head {
        event_id,
        shared_id: record.shared_event_id.get().map(Text::from),
        updated: original.is_some(),
        time,
        api: interner.text(record.event_name.get().unwrap_or_default()),
        account: interner.text(home.account),
        region: interner.text(home.region),
        principal: interner.principal(record),
        access_key_id: record.user_identity.access_key_id.get().map(Text::from),
        source: interner.source(
            record.source_ip_address.get(),
            record.user_agent.get(),
            endpoint,
        ),
        outcome,
        denied_by: denied_by.map(|d| interner.text(&d)),
        error_code: shared(&record.error_code, interner),
        object: origin.object.clone(),
        delivered: origin.delivered.unwrap_or(time),
        kept: kept(document, wanted),
    })
}

/// The raw fields that rules ask for. A record without the last key of a name is not parsed for it.
fn kept(document: &Document<'_>, wanted: &RawFields) -> Kept {
    if wanted.names.is_empty() && !wanted.whole {
        return Kept::default();
    }
    let text = document.text();
    let is_escaped = text.contains('\\');
    let may_have = |name: &Text| {
        let key = name
            .rsplit('.')
            .next()
            .and_then(|last| last.split('[').next())
            .unwrap_or(name);
        is_escaped || text.contains(key)
    };
    let value = |name: &Text| {
        Some((
            name.clone(),
            document.node().field(name)?.into_owned().into_owned(),
        ))
    };
    let fields = wanted
        .names
        .iter()
        .filter(|name| may_have(name))
        .filter_map(value)
        .collect();
    Kept {
        fields,
        whole: wanted
            .whole
            .then(|| Box::new(document.node().clone().into_owned())),
    }
}

/// What bare names are relative to: the account whose trail it is (the caller's where it is missing), and the region.
fn home<'a>(record: &'a Record<'_>) -> Home<'a> {
    let identity = &record.user_identity;
    let region = record.aws_region.get().unwrap_or_default();
    // The caller and the secret are in one partition; the names of regions only hint at it.
    let by_region = || match region.split_once('-') {
        Some(("cn", _)) => "aws-cn",
        Some(("us", rest)) if rest.starts_with("gov-") => "aws-us-gov",
        _ => "aws",
    };
    let partition = identity
        .arn
        .get()
        .and_then(Arn::parse)
        .map_or_else(by_region, |arn| arn.partition);
    let account = record
        .recipient_account_id
        .get()
        .or(identity.account_id.get())
        .unwrap_or_default();
    Home {
        partition,
        account,
        region,
    }
}

/// The outcome by `errorCode`, and whether it is a denial.
fn outcome(error_code: &Scalar<'_>) -> (Outcome, bool) {
    match error_code.get() {
        None => (Outcome::Success, false),
        Some(code)
            if code.contains("AccessDenied")
                || code.ends_with("UnauthorizedOperation")
                || code.ends_with("NotAuthorized") =>
        {
            (Outcome::Denied, true)
        }
        Some(_) => (Outcome::Failed, false),
    }
}

const KMS_KEY: &str = "kms_key";

/// Which gate an access-denied message names.
fn denied_by(message: Option<&str>) -> Option<String> {
    let message = message?;
    if message.contains("Access to KMS is not allowed") {
        return Some(KMS_KEY.to_owned());
    }
    let gate = denial(Some(message))?.gate?;
    let known = [
        ("identity-based policy", "identity_policy"),
        ("resource-based policy", "resource_policy"),
        ("service control policy", "service_control_policy"),
        ("permissions boundary", "permissions_boundary"),
        ("session policy", "session_policy"),
        ("VPC endpoint policy", "vpc_endpoint_policy"),
    ];
    let name = known
        .iter()
        .find(|(words, _)| gate.contains(words))
        .map(|(_, name)| (*name).to_owned());
    Some(name.unwrap_or_else(|| gate.replace([' ', '-'], "_").to_lowercase()))
}

struct Denial<'a> {
    resource: Option<&'a str>,
    gate: Option<&'a str>,
}

/// Reads `… is not authorized to perform: ACTION on resource: RESOURCE because no GATE allows …` and
/// `… with an explicit deny in a GATE`.
fn denial(message: Option<&str>) -> Option<Denial<'_>> {
    let (_, rest) = message?.split_once("is not authorized to perform: ")?;
    let resource = rest
        .split_once(" on resource: ")
        .map(|(_, r)| r.split_ascii_whitespace().next().unwrap_or_default());
    let missing = || Some(rest.split_once("because no ")?.1.split_once(" allows")?.0);
    let explicit = || {
        let gate = rest.split_once("with an explicit deny in ")?.1;
        Some(
            gate.strip_prefix("an ")
                .or(gate.strip_prefix("a "))
                .unwrap_or(gate)
                .trim_end_matches('.'),
        )
    };
    let resource = resource
        .map(|r| r.trim_matches(['"', '\'', '.', ',']))
        .filter(|r| !r.is_empty());
    Some(Denial {
        resource,
        gate: missing().or_else(explicit),
    })
}

/// The secret that an access-denied message names. Wildcards (`…:*`) name none.
fn denied_target(message: Option<&str>, store: Store, home: Home<'_>) -> SecretRef {
    let resource = denial(message)
        .and_then(|d| d.resource)
        .filter(|r| !r.ends_with('*'));
    let Some(resource) = resource else {
        return SecretRef::unnamed(store, home);
    };
    match (store, Arn::parse(resource)) {
        (Store::SecretsManager, None) => SecretRef::secret(resource, home),
        (Store::SecretsManager, Some(arn)) if arn.service == "secretsmanager" => {
            SecretRef::secret(resource, home)
        }
        (Store::Ssm, None) => SecretRef::parameter(resource, home),
        (Store::Ssm, Some(arn)) if arn.resource.starts_with("parameter") => {
            SecretRef::parameter(resource, home)
        }
        _ => SecretRef::unnamed(store, home),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_kept_is_what_the_record_has() {
        let texts = [
            r#"{"a":{"b":[{"c":1},{"c":"two"}],"d/e":3},"f":null}"#,
            r#"{"\u0061":{"b":[{"\u0063":1}]},"x":"c"}"#,
            r#"{"a":{"d\/e":4}}"#,
            r#"{"x":"a.b.c"}"#,
            "{}",
            "no JSON with a, b and c",
        ];
        let names = ["a.b.c", "a.b[1].c", "a.b[0]", "a.d/e", "f", "g", "a"];
        let wanted = RawFields {
            names: names.into_iter().map(Text::from).collect(),
            whole: false,
        };
        let mut found = 0;
        for text in texts {
            let document = Document::new(text);
            let kept = kept(&document, &wanted);
            for name in names {
                let value = document
                    .node()
                    .field(name)
                    .map(|node| node.into_owned().into_owned());
                found += usize::from(value.is_some());
                assert_eq!(
                    kept.fields
                        .iter()
                        .find(|(n, _)| &**n == name)
                        .map(|(_, v)| v),
                    value.as_ref(),
                    "{name}"
                );
            }
        }
        assert!(found > 8, "{found}");
    }
}
