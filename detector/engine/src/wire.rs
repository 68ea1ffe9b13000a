//! CloudTrail JSON as AWS writes it, borrowed from the bytes. Every field may be missing, null or of another type: what
//! cannot be read as text is `None`, and unknown fields are passed over.
//!
//! Source: AWS CloudTrail user guide, "CloudTrail record contents" and "CloudTrail userIdentity element".

use std::borrow::Cow;
use std::fmt;

use serde::de::{Deserialize, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::value::RawValue;

/// A scalar as text: strings as they are, numbers and booleans as written. Null, arrays and objects are `None`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Scalar<'a>(pub Option<Cow<'a, str>>);

impl Scalar<'_> {
    /// The text, where there is any. An empty string counts as none.
    #[must_use]
    pub fn get(&self) -> Option<&str> {
        self.0.as_deref().filter(|s| !s.is_empty())
    }

    /// Whether the value is `true` or `"true"`; AWS writes booleans in both ways.
    #[must_use]
    pub fn is_true(&self) -> bool {
        self.get() == Some("true")
    }
}

impl<'de: 'a, 'a> Deserialize<'de> for Scalar<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Any;
        impl<'de> Visitor<'de> for Any {
            type Value = Scalar<'de>;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("any value")
            }
            fn visit_borrowed_str<E>(self, text: &'de str) -> Result<Self::Value, E> {
                Ok(Scalar(Some(Cow::Borrowed(text))))
            }
            fn visit_str<E>(self, text: &str) -> Result<Self::Value, E> {
                Ok(Scalar(Some(Cow::Owned(text.to_owned()))))
            }
            fn visit_bool<E>(self, value: bool) -> Result<Self::Value, E> {
                Ok(Scalar(Some(Cow::Borrowed(if value { "true" } else { "false" }))))
            }
            fn visit_i64<E>(self, value: i64) -> Result<Self::Value, E> {
                Ok(Scalar(Some(Cow::Owned(value.to_string()))))
            }
            fn visit_u64<E>(self, value: u64) -> Result<Self::Value, E> {
                Ok(Scalar(Some(Cow::Owned(value.to_string()))))
            }
            fn visit_f64<E>(self, value: f64) -> Result<Self::Value, E> {
                Ok(Scalar(Some(Cow::Owned(value.to_string()))))
            }
            fn visit_unit<E>(self) -> Result<Self::Value, E> {
                Ok(Scalar(None))
            }
            fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Self::Value, A::Error> {
                while seq.next_element::<IgnoredAny>()?.is_some() {}
                Ok(Scalar(None))
            }
            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                while map.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
                Ok(Scalar(None))
            }
        }
        deserializer.deserialize_any(Any)
    }
}

/// A list of texts; a single scalar counts as a list of one, everything else as an empty one.
#[derive(Debug, Clone, Default)]
pub struct Scalars<'a>(pub Vec<Scalar<'a>>);

impl<'a> Scalars<'a> {
    /// The texts that are there.
    pub fn iter(&self) -> impl Iterator<Item = &str> {
        self.0.iter().filter_map(Scalar::get)
    }
}

/// Reads a value that may be of another type than documented: then it is as if it were missing.
fn lenient<'a, T: Deserialize<'a> + Default>(raw: Option<&'a RawValue>) -> T {
    raw.and_then(|raw| serde_json::from_str(raw.get()).ok()).unwrap_or_default()
}

macro_rules! wire {
    ($(#[$doc:meta])* $name:ident { $($(#[$field_doc:meta])* $field:ident: $key:literal,)* }) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Default, serde::Deserialize)]
        pub struct $name<'a> {
            $($(#[$field_doc])* #[serde(borrow, default, rename = $key)] pub $field: Scalar<'a>,)*
        }
    };
}

/// One CloudTrail record, with the parts that no one may need left unread.
#[derive(Debug, serde::Deserialize)]
pub struct Record<'a> {
    /// `eventVersion`.
    #[serde(borrow, default, rename = "eventVersion")]
    pub event_version: Scalar<'a>,
    /// `userIdentity`.
    #[serde(borrow, default, rename = "userIdentity")]
    user_identity: Option<&'a RawValue>,
    /// `eventTime`: RFC 3339, UTC, when the request completed.
    #[serde(borrow, default, rename = "eventTime")]
    pub event_time: Scalar<'a>,
    /// `eventSource`: the service, as in `kms.amazonaws.com`.
    #[serde(borrow, default, rename = "eventSource")]
    pub event_source: Scalar<'a>,
    /// `eventName`: the API.
    #[serde(borrow, default, rename = "eventName")]
    pub event_name: Scalar<'a>,
    /// `awsRegion`: where the call was made.
    #[serde(borrow, default, rename = "awsRegion")]
    pub aws_region: Scalar<'a>,
    /// `sourceIPAddress`: an address, a service name, or `AWS Internal`.
    #[serde(borrow, default, rename = "sourceIPAddress")]
    pub source_ip_address: Scalar<'a>,
    /// `userAgent`.
    #[serde(borrow, default, rename = "userAgent")]
    pub user_agent: Scalar<'a>,
    /// `errorCode`; missing on success.
    #[serde(borrow, default, rename = "errorCode")]
    pub error_code: Scalar<'a>,
    /// `errorMessage`; cut at 1 KB.
    #[serde(borrow, default, rename = "errorMessage")]
    pub error_message: Scalar<'a>,
    #[serde(borrow, default, rename = "requestParameters")]
    request_parameters: Option<&'a RawValue>,
    #[serde(borrow, default, rename = "additionalEventData")]
    additional_event_data: Option<&'a RawValue>,
    #[serde(borrow, default)]
    resources: Option<&'a RawValue>,
    #[serde(borrow, default)]
    addendum: Option<&'a RawValue>,
    /// `eventID`: a UUID; the same in redeliveries.
    #[serde(borrow, default, rename = "eventID")]
    pub event_id: Scalar<'a>,
    /// `sharedEventID`: the same in the copies that several accounts get of one event.
    #[serde(borrow, default, rename = "sharedEventID")]
    pub shared_event_id: Scalar<'a>,
    /// `recipientAccountId`: whose trail this copy is for.
    #[serde(borrow, default, rename = "recipientAccountId")]
    pub recipient_account_id: Scalar<'a>,
    /// `vpcEndpointId`.
    #[serde(borrow, default, rename = "vpcEndpointId")]
    pub vpc_endpoint_id: Scalar<'a>,
    /// `eventType`, as in `AwsApiCall` or `AwsVpceEvent`.
    #[serde(borrow, default, rename = "eventType")]
    pub event_type: Scalar<'a>,
    /// `sessionCredentialFromConsole`: the string `true` for calls made in the console.
    #[serde(borrow, default, rename = "sessionCredentialFromConsole")]
    pub session_credential_from_console: Scalar<'a>,
}

impl<'a> Record<'a> {
    /// `userIdentity`.
    #[must_use]
    pub fn user_identity(&self) -> UserIdentity<'a> {
        lenient(self.user_identity)
    }

    /// `requestParameters`, as far as reads, key uses and secret changes need them.
    #[must_use]
    pub fn request_parameters(&self) -> RequestParameters<'a> {
        lenient(self.request_parameters)
    }

    /// `additionalEventData`.
    #[must_use]
    pub fn additional_event_data(&self) -> AdditionalEventData<'a> {
        lenient(self.additional_event_data)
    }

    /// `resources[]`.
    #[must_use]
    pub fn resources(&self) -> Vec<Resource<'a>> {
        lenient(self.resources)
    }

    /// `addendum`: set when the record replaces or delays an earlier one.
    #[must_use]
    pub fn addendum(&self) -> Addendum<'a> {
        lenient(self.addendum)
    }
}

/// The few fields by which a KMS record proves that KMS events are logged at a place and time.
#[derive(Debug, Default, serde::Deserialize)]
pub struct Presence<'a> {
    /// `eventTime`.
    #[serde(borrow, default, rename = "eventTime")]
    pub event_time: Scalar<'a>,
    /// `eventSource`.
    #[serde(borrow, default, rename = "eventSource")]
    pub event_source: Scalar<'a>,
    /// `awsRegion`.
    #[serde(borrow, default, rename = "awsRegion")]
    pub aws_region: Scalar<'a>,
    /// `recipientAccountId`.
    #[serde(borrow, default, rename = "recipientAccountId")]
    pub recipient_account_id: Scalar<'a>,
}

/// `userIdentity`.
#[derive(Debug, Clone, Default, serde::Deserialize)]
pub struct UserIdentity<'a> {
    /// `type`; missing on service events.
    #[serde(borrow, default, rename = "type")]
    pub kind: Scalar<'a>,
    /// `principalId`: `AIDA…` for users, `AROA…:session` for role sessions.
    #[serde(borrow, default, rename = "principalId")]
    pub principal_id: Scalar<'a>,
    /// `arn` of the caller; for role sessions it names the session and lacks the role's path.
    #[serde(borrow, default)]
    pub arn: Scalar<'a>,
    /// `accountId` of the caller.
    #[serde(borrow, default, rename = "accountId")]
    pub account_id: Scalar<'a>,
    /// `accessKeyId`.
    #[serde(borrow, default, rename = "accessKeyId")]
    pub access_key_id: Scalar<'a>,
    /// `userName`.
    #[serde(borrow, default, rename = "userName")]
    pub user_name: Scalar<'a>,
    /// `invokedBy`: the service that called on the caller's behalf.
    #[serde(borrow, default, rename = "invokedBy")]
    pub invoked_by: Scalar<'a>,
    /// `identityProvider` of web identity users.
    #[serde(borrow, default, rename = "identityProvider")]
    pub identity_provider: Scalar<'a>,
    #[serde(borrow, default, rename = "sessionContext")]
    session_context: Option<&'a RawValue>,
    #[serde(borrow, default, rename = "onBehalfOf")]
    on_behalf_of: Option<&'a RawValue>,
}

impl<'a> UserIdentity<'a> {
    /// `sessionContext.sessionIssuer`: the role behind a session; often an empty object.
    #[must_use]
    pub fn session_issuer(&self) -> SessionIssuer<'a> {
        lenient(lenient::<SessionContext<'a>>(self.session_context).session_issuer)
    }

    /// `onBehalfOf`: the person behind an IAM Identity Center call.
    #[must_use]
    pub fn on_behalf_of(&self) -> OnBehalfOf<'a> {
        lenient(self.on_behalf_of)
    }
}

#[derive(Debug, Default, serde::Deserialize)]
struct SessionContext<'a> {
    #[serde(borrow, default, rename = "sessionIssuer")]
    session_issuer: Option<&'a RawValue>,
}

wire! {
    /// `userIdentity.sessionContext.sessionIssuer`.
    SessionIssuer {
        /// `type`: `Role`, `IAMUser` or `Root`.
        kind: "type",
        /// `arn` with its path.
        arn: "arn",
        /// `accountId`.
        account_id: "accountId",
        /// `userName`: the role's name.
        user_name: "userName",
    }
}

wire! {
    /// `userIdentity.onBehalfOf`.
    OnBehalfOf {
        /// `userId` in the identity store.
        user_id: "userId",
        /// `identityStoreArn`.
        identity_store_arn: "identityStoreArn",
    }
}

wire! {
    /// An element of `resources`.
    Resource {
        /// `ARN`.
        arn: "ARN",
        /// `accountId`.
        account_id: "accountId",
        /// `type`, as in `AWS::KMS::Key`; missing on Parameter Store events.
        kind: "type",
    }
}

wire! {
    /// `addendum`.
    Addendum {
        /// `reason`: `DELIVERY_DELAY`, `UPDATED_DATA` or `SERVICE_OUTAGE`.
        reason: "reason",
        /// `originalEventID`.
        original_event_id: "originalEventID",
    }
}

wire! {
    /// `additionalEventData` of service events, which have no request parameters.
    AdditionalEventData {
        /// `ARN` of the secret.
        arn: "ARN",
        /// `SecretId`.
        secret_id: "SecretId",
    }
}

/// `requestParameters` of the calls that concern us, all in one: no two of them give one name two meanings.
#[derive(Debug, Default, serde::Deserialize)]
pub struct RequestParameters<'a> {
    /// `secretId`: name, ARN, or ARN without its suffix, as the caller typed it.
    #[serde(borrow, default, rename = "secretId")]
    pub secret_id: Scalar<'a>,
    /// `aRN`, the spelling of some calls before February 2024.
    #[serde(borrow, default, rename = "aRN")]
    pub old_arn: Scalar<'a>,
    /// `versionId`.
    #[serde(borrow, default, rename = "versionId")]
    pub version_id: Scalar<'a>,
    /// `versionStage`.
    #[serde(borrow, default, rename = "versionStage")]
    pub version_stage: Scalar<'a>,
    #[serde(borrow, default, rename = "secretIdList")]
    secret_id_list: Option<&'a RawValue>,
    /// `filters` of `BatchGetSecretValue`.
    #[serde(borrow, default)]
    pub filters: Option<&'a RawValue>,
    /// `name` of a parameter, or of a secret to create, or of a trail.
    #[serde(borrow, default)]
    pub name: Scalar<'a>,
    #[serde(borrow, default)]
    names: Option<&'a RawValue>,
    /// `path` of `GetParametersByPath`.
    #[serde(borrow, default)]
    pub path: Scalar<'a>,
    /// `recursive`.
    #[serde(borrow, default)]
    pub recursive: Scalar<'a>,
    /// `withDecryption`.
    #[serde(borrow, default, rename = "withDecryption")]
    pub with_decryption: Scalar<'a>,
    /// `resourceArn` of policies on parameters.
    #[serde(borrow, default, rename = "resourceArn")]
    pub resource_arn: Scalar<'a>,
    #[serde(borrow, default, rename = "encryptionContext")]
    encryption_context: Option<&'a RawValue>,
}

impl<'a> RequestParameters<'a> {
    /// `secretIdList` of `BatchGetSecretValue`.
    #[must_use]
    pub fn secret_id_list(&self) -> Scalars<'a> {
        Scalars(lenient(self.secret_id_list))
    }

    /// `names` of `GetParameters`.
    #[must_use]
    pub fn names(&self) -> Scalars<'a> {
        Scalars(lenient(self.names))
    }

    /// `encryptionContext` of a KMS call.
    #[must_use]
    pub fn encryption_context(&self) -> EncryptionContext<'a> {
        lenient(self.encryption_context)
    }
}

wire! {
    /// The pairs of a KMS encryption context that name a secret; others may stand beside them.
    EncryptionContext {
        /// `SecretARN`: always full, with its suffix.
        secret_arn: "SecretARN",
        /// `SecretVersionId`.
        secret_version_id: "SecretVersionId",
        /// `PARAMETER_ARN`.
        parameter_arn: "PARAMETER_ARN",
    }
}

/// An element of `aws cloudtrail lookup-events`: the record is JSON in a string.
#[derive(Debug, serde::Deserialize)]
pub struct LookupEvent<'a> {
    /// `CloudTrailEvent`.
    #[serde(borrow, default, rename = "CloudTrailEvent")]
    pub cloud_trail_event: Scalar<'a>,
}
