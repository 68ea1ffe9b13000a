//! Makes observations of records: which field of each API names the secret.
//!
//! Sources: AWS Secrets Manager and Systems Manager API references; KMS developer guide, "Logging
//! AWS KMS API calls".

mod denial;
mod head;
mod raw_fields;
pub(crate) mod role;
mod version_steps;

use std::{collections::HashSet, sync::Arc};

use self::{
    denial::{KMS_KEY, denied_key, denied_target, is_key},
    head::home,
    role::store,
    version_steps::{created, deleted, service_target, version_steps},
};
pub use self::{
    head::head,
    raw_fields::{RawFields, WantedFields},
    role::{CallRole, role},
};
use crate::{
    document::LazyDocument,
    ids::{RecordHome, SecretRef, SecretStore, SharedStr},
    object::RecordOrigin,
    observation::{
        CallOutcome, EventHeader, Interner, KmsDecrypt, Observation, ReadRequest, SecretChange,
        SecretRead, SourceKind,
    },
    principal::PrincipalKind,
    wire::CloudTrailRecord,
};

/// `SecretVersionId` of the Decrypt by which Secrets Manager checks that a caller may use a key.
/// Not a read.
const KEY_VALIDATION: &str = "RequestToValidateKeyAccess";

/// Why a record gives no observation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum NotRelevant {
    /// Another API, or a Decrypt that is not for a secret.
    Other,
    /// A key-validation Decrypt.
    KeyValidation,
    /// `eventTime` is missing or is not a time.
    NoTime,
}

/// Makes the observation of a record. `document` is the same record, for raw fields.
///
/// # Errors
///
/// [`NotRelevant`] says why there is none.
pub fn extract(
    record: &CloudTrailRecord<'_>,
    document: &LazyDocument<'_>,
    origin: &RecordOrigin,
    wanted: &WantedFields,
    interner: &mut Interner,
) -> Result<Observation, NotRelevant> {
    let role = role_of(record)?;
    let wanted = match role {
        CallRole::Read(_) | CallRole::KmsDecrypt => &wanted.of_accesses,
        CallRole::Change { .. } => &wanted.of_changes,
    };
    let head = head(record, document, origin, wanted, interner).ok_or(NotRelevant::NoTime)?;
    let mut facts = RelevantRecord {
        record,
        home: home(record),
        interner,
    };
    Ok(match role {
        CallRole::Read(store) => Observation::Read(Arc::new(facts.read(head, store))),
        CallRole::KmsDecrypt => Observation::KmsDecrypt(Arc::new(facts.kms_decrypt(head))),
        CallRole::Change { decrypts } => {
            Observation::Change(Arc::new(facts.change(head, decrypts, document)))
        }
    })
}

/// The role of a record, or why it has none. Only cheap tests: most Decrypts are not for secrets.
fn role_of(record: &CloudTrailRecord<'_>) -> Result<CallRole, NotRelevant> {
    let source = record.event_source.get().unwrap_or_default();
    let api = record.event_name.get().unwrap_or_default();
    let role = role(source, api).ok_or(NotRelevant::Other)?;
    // The record of the owner of a VPC endpoint (`AwsVpceEvent`): the service logs the call too, so
    // that it would count twice.
    let event_type = record.event_type.get().unwrap_or_default();
    if event_type.starts_with("AwsVpce") {
        return Err(NotRelevant::Other);
    }
    if role == CallRole::KmsDecrypt {
        is_kms_decrypt(record)?;
    }
    Ok(role)
}

/// Checks that a `Decrypt` is for a secret; the error says why not.
fn is_kms_decrypt(record: &CloudTrailRecord<'_>) -> Result<(), NotRelevant> {
    let context = &record.request_parameters.encryption_context;
    // Key validation names the secret like a read does; only this version id distinguishes it.
    if context.secret_version_id.get() == Some(KEY_VALIDATION) {
        return Err(NotRelevant::KeyValidation);
    }
    let names_secret = context.secret_arn.get().is_some() || context.parameter_arn.get().is_some();
    // A dry run that would have been allowed ends with this error, and decrypts nothing.
    let is_dry_run = record.error_code.get() == Some("DryRunOperationException");
    if !is_dry_run && (names_secret || failed_for_a_store(record)) {
        Ok(())
    } else {
        Err(NotRelevant::Other)
    }
}

/// Whether Secrets Manager or Parameter Store made a `Decrypt` for the caller that failed or was
/// denied. A denied one has no encryption context, so that nothing else shows that it is for a
/// secret.
fn failed_for_a_store(record: &CloudTrailRecord<'_>) -> bool {
    let via = record.user_identity.invoked_by.get();
    let via = via.or(record.source_ip_address.get());
    // Parameter Store calls itself `AWS Internal`.
    let by_store = via.is_some_and(|via| {
        via.starts_with("secretsmanager.") || via.starts_with("ssm.") || via == "AWS Internal"
    });
    by_store && record.error_code.get().is_some()
}

/// A relevant record, and what its bare names are relative to.
struct RelevantRecord<'r, 'a> {
    record: &'r CloudTrailRecord<'a>,
    home: RecordHome<'r>,
    interner: &'r mut Interner,
}

impl RelevantRecord<'_, '_> {
    fn read(&mut self, head: EventHeader, store: SecretStore) -> SecretRead {
        let succeeded = head.outcome == CallOutcome::Success;
        let request = if succeeded {
            self.request(store, &head.api)
        } else {
            ReadRequest::Named(self.attempted(store))
        };
        // Secrets are always encrypted. Parameters are decrypted only on request, and the request
        // does not prove that they are encrypted.
        let decrypts = store == SecretStore::SecretsManager
            || self.record.request_parameters.with_decryption.is_true();
        SecretRead {
            request,
            decrypts: succeeded && decrypts,
            denied_by_kms: head.denied_by.as_deref() == Some(KMS_KEY),
            denied_key: self.denied_key(),
            head: Arc::new(head),
        }
    }

    /// What a successful read requested.
    fn request(&mut self, store: SecretStore, api: &str) -> ReadRequest {
        let params = &self.record.request_parameters;
        if api == "GetParametersByPath" {
            return ReadRequest::Path {
                path: SecretRef::path(params.path.get().unwrap_or("/"), self.home),
                recursive: params.recursive.is_true(),
            };
        }
        let named = self.targets(store);
        match api {
            // A batch has either a list of secrets or filters.
            "BatchGetSecretValue" if named.is_empty() => ReadRequest::BatchFilters,
            "BatchGetSecretValue" => ReadRequest::Batch(named),
            _ if named.is_empty() => ReadRequest::Named(vec![SecretRef::unnamed(store, self.home)]),
            "GetParameterHistory" => match <[SecretRef; 1]>::try_from(named) {
                Ok([one]) => ReadRequest::History(one),
                Err(many) => ReadRequest::Named(many),
            },
            _ => ReadRequest::Named(named),
        }
    }

    /// What an unsuccessful read requested, as far as the record shows: at least one secret, which
    /// may have no name.
    fn attempted(&mut self, store: SecretStore) -> Vec<SecretRef> {
        let typed = self.targets(store);
        if !typed.is_empty() {
            return typed;
        }
        let denied = denied_target(self.record.error_message.get(), store, self.home);
        // Parameters of a denied call are seldom logged; where they are, the path says what was
        // asked.
        match self.record.request_parameters.path.get() {
            Some(path) if denied.name.is_none() && store == SecretStore::Ssm => {
                vec![SecretRef::path(path, self.home)]
            }
            _ => vec![denied],
        }
    }

    /// The key that the caller of a denied read may not use, if the message names it.
    fn denied_key(&mut self) -> Option<SharedStr> {
        let key = denied_key(self.record.error_message.get()?)?;
        Some(self.interner.text(key))
    }

    /// The secrets that the request names, as the caller typed them, without duplicates.
    fn targets(&mut self, store: SecretStore) -> Vec<SecretRef> {
        let mut targets = match store {
            SecretStore::SecretsManager => self.secret_ids(),
            SecretStore::Ssm => self.parameter_names(),
        };
        // Nearly all reads name one secret, and need no set.
        if targets.len() > 1 {
            let mut seen = HashSet::new();
            targets
                .retain(|t| seen.insert((t.key(), t.version_id.clone(), t.version_stage.clone())));
        }
        targets
    }

    fn secret_ids(&mut self) -> Vec<SecretRef> {
        let Self {
            record,
            home,
            interner,
        } = self;
        let params = &record.request_parameters;
        let version_id = params.version_id.get().map(|id| interner.text(id));
        let version_stage = params.version_stage.get().map(|stage| interner.text(stage));
        let ids = params.secret_id.get().into_iter();
        ids.chain(params.secret_id_list.texts())
            .map(|id| SecretRef {
                version_id: version_id.clone(),
                version_stage: version_stage.clone(),
                ..interner.secret(SecretStore::SecretsManager, id, *home)
            })
            .collect()
    }

    fn parameter_names(&mut self) -> Vec<SecretRef> {
        let Self {
            record,
            home,
            interner,
        } = self;
        let params = &record.request_parameters;
        let typed = params.name.get().into_iter().chain(params.names.texts());
        let named: Vec<SecretRef> = typed
            .map(|name| interner.secret(SecretStore::Ssm, name, *home))
            .collect();
        if !named.is_empty() {
            return named;
        }
        // `resources` has the full ARNs of the parameters, but lacks the versions that the caller
        // typed.
        let arns = record.resources.0.iter().filter_map(|r| r.arn.get());
        arns.map(|arn| interner.secret(SecretStore::Ssm, arn, *home))
            .collect()
    }

    fn kms_decrypt(&mut self, head: EventHeader) -> KmsDecrypt {
        let record = self.record;
        let version_id = record
            .request_parameters
            .encryption_context
            .secret_version_id
            .get();
        KmsDecrypt {
            secret: self.secret_of_context(),
            version_id: version_id.map(|id| self.interner.text(id)),
            key_arn: key_arn(record).map(|arn| self.interner.text(arn)),
            direct: is_direct(&head),
            head: Arc::new(head),
        }
    }

    /// The secret that the encryption context of a Decrypt names. The context may have other
    /// entries.
    fn secret_of_context(&mut self) -> Option<SecretRef> {
        let context = &self.record.request_parameters.encryption_context;
        let (store, arn) = match context.secret_arn.get() {
            Some(arn) => (SecretStore::SecretsManager, arn),
            None => (SecretStore::Ssm, context.parameter_arn.get()?),
        };
        Some(self.interner.secret(store, arn, self.home))
    }

    fn change(
        &mut self,
        head: EventHeader,
        decrypts: bool,
        document: &LazyDocument<'_>,
    ) -> SecretChange {
        // Changes to keys and trails are not about a secret.
        let Some(store) = self.record.event_source.get().and_then(store) else {
            return SecretChange {
                head: Arc::new(head),
                secret: None,
                others: Vec::new(),
                decrypts,
                steps: Vec::new(),
            };
        };
        let record = document.node();
        let mut secrets = Vec::new();
        if &*head.api == "DeleteParameters" && head.outcome == CallOutcome::Success {
            let names = deleted(record).into_iter();
            secrets.extend(names.map(|name| self.interner.secret(store, name, self.home)));
        }
        if &*head.api == "CreateSecret" && head.outcome == CallOutcome::Success {
            let made = created(record).map(|arn| self.interner.secret(store, arn, self.home));
            secrets.extend(made.filter(|made| made.arn.is_some()));
        }
        let mut secrets = secrets.into_iter();
        SecretChange {
            secret: secrets.next().or_else(|| self.changed(store)).or_else(|| {
                Some(
                    self.interner
                        .secret(store, service_target(record)?, self.home),
                )
            }),
            others: secrets.collect(),
            decrypts,
            steps: version_steps(&head, record),
            head: Arc::new(head),
        }
    }

    /// The secret that a call to its store changes; `None` when it is about no secret.
    fn changed(&mut self, store: SecretStore) -> Option<SecretRef> {
        if let Some(typed) = self.targets(store).into_iter().next() {
            return Some(typed);
        }
        let params = &self.record.request_parameters;
        let named = params
            .old_arn
            .get()
            .or(params.resource_arn.get())
            .or(params.name.get());
        if let Some(id) = named {
            return Some(self.interner.secret(store, id, self.home));
        }
        let denied = denied_target(self.record.error_message.get(), store, self.home);
        // Unlike a read, a change need not be about a secret.
        denied.name.is_some().then_some(denied)
    }
}

/// ARN of the key of a Decrypt: in `resources`, or in `errorMessage` if it was denied.
fn key_arn<'r>(record: &'r CloudTrailRecord<'_>) -> Option<&'r str> {
    let mut arns = record.resources.0.iter().filter_map(|r| r.arn.get());
    arns.find(|arn| is_key(arn))
        .or_else(|| denied_key(record.error_message.get()?))
}

/// Whether the caller called KMS directly, without a service in between.
fn is_direct(head: &EventHeader) -> bool {
    // `invokedBy` may be missing: a source that is a service, or a service as principal, shows as
    // much.
    let is_known = head.principal.actor.is_some() || head.source.ip.is_some();
    // A query may leave out the caller: then nothing says that there was no service.
    is_known
        && head.principal.via.is_none()
        && !matches!(head.source.kind, SourceKind::Service | SourceKind::Internal)
        && head.principal.kind != PrincipalKind::Service
}

#[cfg(test)]
mod tests {
    use super::*;

    fn extracted(service: &str, api: &str, fields: &str) -> Result<Observation, NotRelevant> {
        let text = format!(
            r#"{{"eventTime":"2026-03-02T10:00:00Z","eventSource":"{service}.amazonaws.com",
            "eventName":"{api}","awsRegion":"eu-west-1","recipientAccountId":"111122223333",
            {fields}}}"#
        );
        extract(
            &serde_json::from_str(&text).unwrap(),
            &LazyDocument::new(&text),
            &crate::object::origin("a.json"),
            &WantedFields::default(),
            &mut Interner::default(),
        )
    }

    #[test]
    fn a_failed_decrypt_without_a_context_counts_if_a_store_made_it() {
        let by = |service: &str, code: &str| {
            let identity = format!(r#""userIdentity":{{"invokedBy":"{service}"}}"#);
            let fields = format!(r#"{identity},"errorCode":{code},"requestParameters":null"#);
            extracted("kms", "Decrypt", &fields).err()
        };
        let denied = r#""AccessDenied""#;
        for store in [
            "secretsmanager.amazonaws.com",
            "ssm.amazonaws.com",
            "AWS Internal",
        ] {
            assert_eq!(by(store, denied), None, "{store}");
            assert_eq!(
                by(store, "null"),
                Some(NotRelevant::Other),
                "{store}: for something else"
            );
        }
        assert_eq!(by("config.amazonaws.com", denied), Some(NotRelevant::Other));
        let address =
            r#""sourceIPAddress":"secretsmanager.amazonaws.com","errorCode":"AccessDenied""#;
        assert_eq!(extracted("kms", "Decrypt", address).err(), None);
        let direct = r#""sourceIPAddress":"198.51.100.7","errorCode":"AccessDenied""#;
        let direct = extracted("kms", "Decrypt", direct).err();
        assert_eq!(direct, Some(NotRelevant::Other), "it names no secret");
    }

    #[test]
    fn who_is_not_known_did_not_call_kms_directly() {
        let arn = "arn:aws:secretsmanager:eu-west-1:111122223333:secret:x-AbC123";
        let context = format!(r#""encryptionContext":{{"SecretARN":"{arn}"}}"#);
        let direct = |more: &str| {
            let fields = format!(r#""requestParameters":{{{context}}}{more}"#);
            match extracted("kms", "Decrypt", &fields) {
                Ok(Observation::KmsDecrypt(kms_decrypt)) => kms_decrypt.direct,
                other => panic!("{other:?}"),
            }
        };
        assert!(direct(r#","sourceIPAddress":"198.51.100.7""#));
        assert!(!direct(""));
    }

    #[test]
    fn one_secret_typed_twice_is_one_and_two_versions_are_two() {
        let params = r#""requestParameters":{"names":["x","/x","x:3","x:3","y"]}"#;
        let Ok(Observation::Read(read)) = extracted("ssm", "GetParameters", params) else {
            panic!("a read")
        };
        let ReadRequest::Named(secrets) = &read.request else {
            panic!("{:?}", read.request)
        };
        let reported: Vec<_> = secrets
            .iter()
            .map(|s| (s.name.as_deref().unwrap(), s.version_id.as_deref()))
            .collect();
        assert_eq!(reported, [("x", None), ("x", Some("3")), ("y", None)]);
    }

    #[test]
    fn a_read_expects_a_kms_decrypt_only_if_it_got_the_value() {
        let decrypts = |service: &str, api: &str, fields: &str| {
            let Ok(Observation::Read(read)) = extracted(service, api, fields) else {
                panic!("a read")
            };
            read.decrypts
        };
        let secret = r#""requestParameters":{"secretId":"x"}"#;
        assert!(decrypts("secretsmanager", "GetSecretValue", secret));
        let failed = r#""errorCode":"ResourceNotFoundException""#;
        assert!(!decrypts("secretsmanager", "GetSecretValue", failed));
        let plain = r#""requestParameters":{"name":"x","withDecryption":false}"#;
        assert!(!decrypts("ssm", "GetParameter", plain));
        let asked = r#""requestParameters":{"name":"x","withDecryption":true}"#;
        assert!(decrypts("ssm", "GetParameter", asked));
    }

    #[test]
    fn a_secret_that_was_made_is_its_arn() {
        let secret = |response: &str| {
            let fields =
                format!(r#""requestParameters":{{"name":"db"}},"responseElements":{response}"#);
            let Ok(Observation::Change(change)) =
                extracted("secretsmanager", "CreateSecret", &fields)
            else {
                panic!("a change")
            };
            assert!(change.others.is_empty());
            let secret = change.secret.clone().unwrap();
            assert_eq!(secret.name.as_deref(), Some("db"));
            secret.arn
        };
        let arn = "arn:aws:secretsmanager:eu-west-1:111122223333:secret:db-AbC123";
        for key in ["arn", "aRN"] {
            let found = secret(&format!(r#"{{"{key}":"{arn}","versionId":"v1"}}"#));
            assert_eq!(found.as_deref(), Some(arn));
        }
        for response in [
            "null",
            r#"{"versionId":"v1"}"#,
            r#"{"arn":7}"#,
            r#"{"arn":"db"}"#,
        ] {
            assert_eq!(secret(response), None, "{response}");
        }
    }

    #[test]
    fn a_change_is_about_the_secret_that_any_of_its_fields_names() {
        let changed = |service: &str, api: &str, params: &str| {
            let params = format!(r#""requestParameters":{params}"#);
            let Ok(Observation::Change(change)) = extracted(service, api, &params) else {
                panic!("a change")
            };
            change
                .secret
                .as_ref()
                .and_then(|secret| secret.name.clone())
        };
        let arn = "arn:aws:secretsmanager:eu-west-1:111122223333:secret:db-AbC123";
        let cases = [
            (
                "secretsmanager",
                "CreateSecret",
                r#"{"name":"db"}"#.to_owned(),
                Some("db"),
            ),
            (
                "secretsmanager",
                "DeleteSecret",
                format!(r#"{{"aRN":"{arn}"}}"#),
                Some("db"),
            ),
            (
                "ssm",
                "DeleteParameters",
                r#"{"names":["x","y"]}"#.to_owned(),
                Some("x"),
            ),
            ("secretsmanager", "DeleteSecret", "null".to_owned(), None),
            // Trails have names as well.
            (
                "cloudtrail",
                "DeleteTrail",
                r#"{"name":"main"}"#.to_owned(),
                None,
            ),
        ];
        for (service, api, params, name) in cases {
            assert_eq!(
                changed(service, api, &params).as_deref(),
                name,
                "{api} {params}"
            );
        }
    }
}
