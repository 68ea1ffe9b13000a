//! Synthetic events for unit tests: one actor, one region, and neutral values for everything that a
//! test does not set itself.

use std::sync::Arc;

use crate::{
    geo::SourceGeo,
    ids::{RecordHome, SecretRef},
    observation::{
        CallOutcome, CallSource, EventHeader, KeptFields, KmsDecrypt, Observation, ReadRequest,
        SecretChange, SecretRead, SourceKind,
    },
    pending_event::PendingEvent,
    principal::{Principal, PrincipalKind},
    time::EventTime,
};

const ACCOUNT: &str = "111122223333";
const REGION: &str = "eu-west-1";
const ACTOR: &str = "arn:aws:sts::111122223333:assumed-role/app/s";

/// Partition, account and region of all events.
pub(crate) const HOME: RecordHome<'_> = RecordHome {
    partition: "aws",
    account: ACCOUNT,
    region: REGION,
};

/// A successful call.
pub(crate) fn head(event_id: &str, api: &str, secs: i64) -> EventHeader {
    let principal = Principal {
        id: Some("arn:aws:iam::111122223333:role/app".into()),
        actor: Some(ACTOR.into()),
        identity_type: Some("AssumedRole".into()),
        kind: PrincipalKind::Workload,
        account: Some(ACCOUNT.into()),
        name: Some("app".into()),
        session: Some("s".into()),
        via: None,
        console: false,
        principal_id: Some("AROAAPP:s".into()),
    };
    let source = CallSource {
        ip: None,
        kind: SourceKind::Unknown,
        user_agent: None,
        vpc_endpoint: None,
        geo: SourceGeo::default(),
    };
    EventHeader {
        event_id: event_id.into(),
        event: 0,
        unshared_event: None,
        content: 0,
        shared_id: None,
        updated: false,
        time: EventTime(secs),
        api: api.into(),
        account: ACCOUNT.into(),
        region: REGION.into(),
        principal: Arc::new(principal),
        access_key_id: None,
        source: Arc::new(source),
        outcome: CallOutcome::Success,
        denied_by: None,
        error_code: None,
        object: "object".into(),
        delivered: EventTime(secs),
        kept: KeptFields::default(),
    }
}

/// A read that expects a KMS Decrypt.
pub(crate) fn read(event_id: &str, api: &str, secs: i64, request: ReadRequest) -> SecretRead {
    SecretRead {
        head: Arc::new(head(event_id, api, secs)),
        request,
        decrypts: true,
        denied_by_kms: false,
        denied_key: None,
    }
}

/// A `GetSecretValue` with this `secretId`.
pub(crate) fn get_secret(event_id: &str, secs: i64, secret_id: &str) -> SecretRead {
    let request = ReadRequest::Named(vec![SecretRef::secret(secret_id, HOME)]);
    read(event_id, "GetSecretValue", secs, request)
}

/// The KMS Decrypt of a secret.
pub(crate) fn decrypt_secret(event_id: &str, secs: i64, name: &str) -> KmsDecrypt {
    decrypt(event_id, secs, full_secret(name))
}

/// The KMS Decrypt of a parameter.
pub(crate) fn decrypt_parameter(event_id: &str, secs: i64, name: &str) -> KmsDecrypt {
    decrypt(event_id, secs, SecretRef::parameter(name, HOME))
}

fn decrypt(event_id: &str, secs: i64, secret: SecretRef) -> KmsDecrypt {
    KmsDecrypt {
        head: Arc::new(head(event_id, "Decrypt", secs)),
        secret: Some(secret),
        version_id: None,
        key_arn: None,
        direct: false,
    }
}

/// A read that waits for its KMS Decrypt.
pub(crate) fn pending_read(read: SecretRead) -> Arc<PendingEvent> {
    Arc::new(PendingEvent::new(Observation::Read(Arc::new(read))))
}

/// A KMS Decrypt that waits for its read.
pub(crate) fn pending_decrypt(kms_decrypt: KmsDecrypt) -> Arc<PendingEvent> {
    let observation = Observation::KmsDecrypt(Arc::new(kms_decrypt));
    Arc::new(PendingEvent::new(observation))
}

/// A `PutSecretValue`, which decrypts the secret itself.
pub(crate) fn put_secret(event_id: &str, secs: i64, name: &str) -> SecretChange {
    SecretChange {
        head: Arc::new(head(event_id, "PutSecretValue", secs)),
        secret: Some(SecretRef::secret(name, HOME)),
        others: Vec::new(),
        decrypts: true,
        steps: Vec::new(),
    }
}

/// A reference with a full ARN, as in encryption contexts.
pub(crate) fn full_secret(name: &str) -> SecretRef {
    let arn = format!("arn:aws:secretsmanager:{REGION}:{ACCOUNT}:secret:{name}-AbC123");
    SecretRef::secret(&arn, HOME)
}
