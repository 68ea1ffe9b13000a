//! CloudTrail JSON as AWS writes it, borrowed from the bytes. Every field may be missing, null or
//! of another type: what cannot be read as text is `None`, and unknown fields are passed over.
//!
//! Source: AWS CloudTrail user guide, "CloudTrail record contents" and "CloudTrail userIdentity
//! element".

use std::borrow::Cow;
use std::fmt;
use std::marker::PhantomData;

use serde::de::value::MapAccessDeserializer;
use serde::de::{Deserialize, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};

/// A scalar as text: strings as they are, numbers and booleans as written. Null, arrays and objects
/// are `None`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Scalar<'a>(pub Option<Cow<'a, str>>);

impl Scalar<'_> {
    /// The text, where there is any. An empty string counts as none.
    #[must_use]
    pub fn get(&self) -> Option<&str> {
        // AWS leaves out what it does not know, or writes `""`, as it does for `accessKeyId`.
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
        deserializer.deserialize_any(ScalarVisitor)
    }
}

struct ScalarVisitor;

impl<'de> Visitor<'de> for ScalarVisitor {
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
        Ok(Scalar(Some(Cow::Borrowed(if value {
            "true"
        } else {
            "false"
        }))))
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

    fn visit_seq<A: SeqAccess<'de>>(self, seq: A) -> Result<Self::Value, A::Error> {
        pass_over_items(seq)?;
        Ok(Scalar(None))
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Self::Value, A::Error> {
        pass_over_entries(map)?;
        Ok(Scalar(None))
    }
}

/// Reads an array that nobody asked for to its end, as a deserializer wants it.
fn pass_over_items<'de, A: SeqAccess<'de>>(mut seq: A) -> Result<(), A::Error> {
    while seq.next_element::<IgnoredAny>()?.is_some() {}
    Ok(())
}

/// Reads an object that nobody asked for to its end, as a deserializer wants it.
fn pass_over_entries<'de, A: MapAccess<'de>>(mut map: A) -> Result<(), A::Error> {
    while map.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
    Ok(())
}

/// A list; anything else is an empty one.
#[derive(Debug, Clone)]
pub struct List<T>(pub Vec<T>);

impl<T> Default for List<T> {
    fn default() -> Self {
        Self(Vec::new())
    }
}

impl List<Scalar<'_>> {
    /// The texts that are there.
    pub fn texts(&self) -> impl Iterator<Item = &str> {
        self.0.iter().filter_map(Scalar::get)
    }
}

/// An object; anything else is an empty one.
#[derive(Debug, Clone, Default)]
pub struct Object<T>(pub T);

impl<T> std::ops::Deref for Object<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.0
    }
}

/// Reads what may be of another type than documented, without reading it twice. An untagged enum
/// would copy every value before it looks at it.
struct Lenient<T>(PhantomData<T>);

// A macro, because a trait of serde's cannot be given other defaults: its own refuse the value, and
// with it the whole record for the sake of one field.
macro_rules! other_types_are_empty {
    () => {
        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("any value")
        }
        fn visit_str<E>(self, _: &str) -> Result<Self::Value, E> {
            Ok(Self::Value::default())
        }
        fn visit_bool<E>(self, _: bool) -> Result<Self::Value, E> {
            Ok(Self::Value::default())
        }
        fn visit_i64<E>(self, _: i64) -> Result<Self::Value, E> {
            Ok(Self::Value::default())
        }
        fn visit_u64<E>(self, _: u64) -> Result<Self::Value, E> {
            Ok(Self::Value::default())
        }
        fn visit_f64<E>(self, _: f64) -> Result<Self::Value, E> {
            Ok(Self::Value::default())
        }
        fn visit_unit<E>(self) -> Result<Self::Value, E> {
            Ok(Self::Value::default())
        }
    };
}

impl<'de, T: Deserialize<'de> + Default> Visitor<'de> for Lenient<Object<T>> {
    type Value = Object<T>;
    other_types_are_empty!();
    fn visit_seq<A: SeqAccess<'de>>(self, seq: A) -> Result<Self::Value, A::Error> {
        pass_over_items(seq)?;
        Ok(Object::default())
    }
    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Self::Value, A::Error> {
        T::deserialize(MapAccessDeserializer::new(map)).map(Object)
    }
}

impl<'de, T: Deserialize<'de>> Visitor<'de> for Lenient<List<T>> {
    type Value = List<T>;
    other_types_are_empty!();
    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Self::Value, A::Error> {
        let mut items = Vec::new();
        while let Some(item) = seq.next_element()? {
            items.push(item);
        }
        Ok(List(items))
    }
    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Self::Value, A::Error> {
        pass_over_entries(map)?;
        Ok(List::default())
    }
}

impl<'de, T: Deserialize<'de> + Default> Deserialize<'de> for Object<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(Lenient::<Self>(PhantomData))
    }
}

impl<'de, T: Deserialize<'de>> Deserialize<'de> for List<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(Lenient::<Self>(PhantomData))
    }
}

// Elements whose fields are all scalars.
macro_rules! wire {
    ($(#[$doc:meta])* $name:ident { $($(#[$field_doc:meta])* $field:ident: $key:literal,)* }) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Default, serde::Deserialize)]
        pub struct $name<'a> {
            $($(#[$field_doc])* #[serde(borrow, default, rename = $key)] pub $field: Scalar<'a>,)*
        }
    };
}

/// One CloudTrail record.
#[derive(Debug, Default, serde::Deserialize)]
pub struct Record<'a> {
    /// `eventVersion`.
    #[serde(borrow, default, rename = "eventVersion")]
    pub event_version: Scalar<'a>,
    /// `userIdentity`.
    #[serde(borrow, default, rename = "userIdentity")]
    pub user_identity: Object<UserIdentity<'a>>,
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
    /// `requestParameters`, as far as reads, key uses and secret changes need them.
    #[serde(borrow, default, rename = "requestParameters")]
    pub request_parameters: Object<RequestParameters<'a>>,
    /// `resources[]`.
    #[serde(borrow, default)]
    pub resources: List<Object<Resource<'a>>>,
    /// `addendum`: set when the record replaces or delays an earlier one.
    #[serde(borrow, default)]
    pub addendum: Object<Addendum<'a>>,
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
    /// `sessionContext`.
    #[serde(borrow, default, rename = "sessionContext")]
    pub session_context: Object<SessionContext<'a>>,
    /// `onBehalfOf`: the person behind an IAM Identity Center call.
    #[serde(borrow, default, rename = "onBehalfOf")]
    pub on_behalf_of: Object<OnBehalfOf<'a>>,
}

impl<'a> UserIdentity<'a> {
    /// `sessionContext.sessionIssuer`: the role behind a session; often an empty object.
    #[must_use]
    pub fn session_issuer(&self) -> &SessionIssuer<'a> {
        &self.session_context.session_issuer
    }
}

/// `userIdentity.sessionContext`.
#[derive(Debug, Clone, Default, serde::Deserialize)]
pub struct SessionContext<'a> {
    /// `sessionIssuer`.
    #[serde(borrow, default, rename = "sessionIssuer")]
    pub session_issuer: Object<SessionIssuer<'a>>,
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

/// `requestParameters` of the calls that concern us, all in one: no two of them give one name two
/// meanings.
#[derive(Debug, Clone, Default, serde::Deserialize)]
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
    /// `secretIdList` of `BatchGetSecretValue`.
    #[serde(borrow, default, rename = "secretIdList")]
    pub secret_id_list: List<Scalar<'a>>,
    /// `name` of a parameter, or of a secret to create, or of a trail.
    #[serde(borrow, default)]
    pub name: Scalar<'a>,
    /// `names` of `GetParameters`.
    #[serde(borrow, default)]
    pub names: List<Scalar<'a>>,
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
    /// `encryptionContext` of a KMS call.
    #[serde(borrow, default, rename = "encryptionContext")]
    pub encryption_context: Object<EncryptionContext<'a>>,
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

#[cfg(test)]
mod tests {
    use super::*;

    fn record(text: &str) -> Record<'_> {
        serde_json::from_str(text).unwrap()
    }

    #[test]
    fn a_scalar_is_text_whatever_its_type() {
        for (json, text) in [
            (r#""GetSecretValue""#, Some("GetSecretValue")),
            (r#""a\u0062c\n""#, Some("abc\n")),
            ("true", Some("true")),
            ("false", Some("false")),
            ("-7", Some("-7")),
            ("18446744073709551615", Some("18446744073709551615")),
            ("1.5", Some("1.5")),
            (r#""""#, None),
            ("null", None),
            (r#"[1,{"a":[]}]"#, None),
            (r#"{"a":[{}],"b":null}"#, None),
        ] {
            let scalar: Scalar<'_> = serde_json::from_str(json).unwrap();
            assert_eq!(scalar.get(), text, "{json}");
        }
    }

    #[test]
    fn a_scalar_is_copied_only_for_its_escapes() {
        let plain: Scalar<'_> = serde_json::from_str(r#""plain""#).unwrap();
        assert!(matches!(plain.0, Some(Cow::Borrowed("plain"))));
        let escaped: Scalar<'_> = serde_json::from_str(r#""a\/b""#).unwrap();
        assert!(matches!(escaped.0, Some(Cow::Owned(text)) if text == "a/b"));
    }

    #[test]
    fn true_is_true_in_both_spellings() {
        for (json, expected) in [
            ("true", true),
            (r#""true""#, true),
            ("false", false),
            (r#""True""#, false),
            ("1", false),
            ("null", false),
        ] {
            let scalar: Scalar<'_> = serde_json::from_str(json).unwrap();
            assert_eq!(scalar.is_true(), expected, "{json}");
        }
    }

    #[test]
    fn a_field_of_another_type_costs_nothing_but_itself() {
        for other in [
            "null",
            "true",
            "-1",
            "7",
            "0.5",
            r#""text""#,
            r#"[1,[2]]"#,
            "{}",
        ] {
            let text = format!(
                r#"{{"userIdentity":{other},"resources":{other},"eventName":{{"a":1}},
                     "requestParameters":{{"secretIdList":{other},"encryptionContext":{other}}},
                     "addendum":{other},"unknown":{other},"eventID":"id"}}"#
            );
            let record = record(&text);
            assert_eq!(record.event_id.get(), Some("id"), "{other}");
            assert_eq!(record.event_name.get(), None, "{other}");
            assert_eq!(record.user_identity.arn.get(), None, "{other}");
            assert_eq!(record.addendum.reason.get(), None, "{other}");
            let context = &record.request_parameters.encryption_context;
            assert_eq!(context.secret_arn.get(), None, "{other}");
        }
    }

    #[test]
    fn an_element_of_another_type_keeps_its_place_in_the_list() {
        let record = record(r#"{"resources":[null,{"ARN":"a"},"text",{"ARN":7}]}"#);
        let arns: Vec<_> = record.resources.0.iter().map(|r| r.arn.get()).collect();
        assert_eq!(arns, [None, Some("a"), None, Some("7")]);
    }

    #[test]
    fn the_texts_of_a_list_are_those_that_are_there() {
        let record = record(r#"{"requestParameters":{"names":["/a",null,"",{},"/b"]}}"#);
        let names: Vec<_> = record.request_parameters.names.texts().collect();
        assert_eq!(names, ["/a", "/b"]);
    }

    #[test]
    fn an_empty_session_issuer_is_no_issuer() {
        // All KMS records of the real set have it so.
        let record = record(
            r#"{"userIdentity":{"type":"IAMUser","sessionContext":{"sessionIssuer":{}},
                "invokedBy":"AWS Internal"}}"#,
        );
        assert_eq!(record.user_identity.session_issuer().arn.get(), None);
        assert_eq!(record.user_identity.invoked_by.get(), Some("AWS Internal"));
    }

    #[test]
    fn a_record_that_is_no_object_is_an_error() {
        for text in ["null", "7", r#"{"eventID":}"#, r#"{"eventID":"a""#, "{} {}"] {
            assert!(serde_json::from_str::<Record<'_>>(text).is_err(), "{text}");
        }
    }
}
