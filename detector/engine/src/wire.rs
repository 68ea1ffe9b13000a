//! CloudTrail JSON as AWS writes it, borrowed from the bytes. Every field may be missing, null or
//! of another type: a field that cannot be read as text is `None`. Unknown fields are ignored.
//!
//! Source: AWS CloudTrail user guide, "CloudTrail record contents" and "CloudTrail userIdentity
//! element".

mod odd;

use std::{borrow::Cow, fmt, marker::PhantomData};

use serde::de::{
    Deserialize, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor,
    value::MapAccessDeserializer,
};

use crate::{ids::is_account, repair::is_placeholder};

/// A scalar as text: strings as they are, numbers and booleans as written. Null is `None`; arrays
/// and objects are empty text.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
pub struct LenientScalar<'a>(pub Option<Cow<'a, str>>);

impl LenientScalar<'_> {
    /// The text, if any. An empty string counts as absent.
    #[must_use]
    pub fn get(&self) -> Option<&str> {
        // AWS omits values that it does not know, or writes `""`, as in `accessKeyId`.
        self.0.as_deref().filter(|s| !s.is_empty())
    }

    /// Whether the value is empty text, or an array or object.
    fn is_empty(&self) -> bool {
        self.0.as_deref() == Some("")
    }

    /// Whether the value is `true` or `"true"`; AWS writes booleans in both ways, and tables and
    /// scripts as `True`, `TRUE` or `1`.
    #[must_use]
    pub fn is_true(&self) -> bool {
        self.get()
            .is_some_and(|text| text.eq_ignore_ascii_case("true") || text == "1")
    }

    /// Whether the value is a word that stands for no value.
    fn is_placeholder(&self) -> bool {
        self.get().is_some_and(is_placeholder)
    }

    /// Whether the value may be an account id that was written as a number: its zeros at the
    /// beginning are lost, or all but its first digits.
    fn is_number_of_account(&self) -> bool {
        self.get()
            .is_some_and(|text| text.starts_with(|c: char| c.is_ascii_digit()) && !is_account(text))
    }
}

impl<'de: 'a, 'a> Deserialize<'de> for LenientScalar<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(ScalarVisitor)
    }
}

struct ScalarVisitor;

impl<'de> Visitor<'de> for ScalarVisitor {
    type Value = LenientScalar<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("any value")
    }

    fn visit_borrowed_str<E>(self, text: &'de str) -> Result<Self::Value, E> {
        Ok(LenientScalar(Some(Cow::Borrowed(text))))
    }

    fn visit_str<E>(self, text: &str) -> Result<Self::Value, E> {
        Ok(LenientScalar(Some(Cow::Owned(text.to_owned()))))
    }

    fn visit_bool<E>(self, value: bool) -> Result<Self::Value, E> {
        Ok(LenientScalar(Some(Cow::Borrowed(if value {
            "true"
        } else {
            "false"
        }))))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Self::Value, E> {
        Ok(LenientScalar(Some(Cow::Owned(value.to_string()))))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Self::Value, E> {
        Ok(LenientScalar(Some(Cow::Owned(value.to_string()))))
    }

    fn visit_f64<E>(self, value: f64) -> Result<Self::Value, E> {
        Ok(LenientScalar(Some(Cow::Owned(value.to_string()))))
    }

    fn visit_unit<E>(self) -> Result<Self::Value, E> {
        Ok(LenientScalar(None))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, seq: A) -> Result<Self::Value, A::Error> {
        pass_over_items(seq)?;
        Ok(LenientScalar(Some(Cow::Borrowed(""))))
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Self::Value, A::Error> {
        pass_over_entries(map)?;
        Ok(LenientScalar(Some(Cow::Borrowed(""))))
    }
}

/// Reads an array to its end and discards it, as serde requires.
fn pass_over_items<'de, A: SeqAccess<'de>>(mut seq: A) -> Result<(), A::Error> {
    while seq.next_element::<IgnoredAny>()?.is_some() {}
    Ok(())
}

/// Reads an object to its end and discards it, as serde requires.
fn pass_over_entries<'de, A: MapAccess<'de>>(mut map: A) -> Result<(), A::Error> {
    while map.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
    Ok(())
}

/// A list, and whether the value has another type; such a value becomes an empty list.
#[derive(Debug, Clone, Hash)]
pub struct LenientList<T>(pub Vec<T>, bool);

impl<T> Default for LenientList<T> {
    fn default() -> Self {
        Self(Vec::new(), false)
    }
}

impl LenientList<LenientScalar<'_>> {
    /// The elements that have text.
    pub fn texts(&self) -> impl Iterator<Item = &str> {
        self.0.iter().filter_map(LenientScalar::get)
    }
}

/// An object, and whether the value has another type; such a value becomes an empty object.
#[derive(Debug, Clone, Default, Hash)]
pub struct LenientObject<T>(pub T, bool);

impl<T> std::ops::Deref for LenientObject<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.0
    }
}

/// Reads a value that may have another type than documented, in one pass. An untagged enum would
/// copy every value first.
struct Lenient<T>(PhantomData<T>);

// A macro, because serde's trait does not allow other defaults: its own reject the value, and with
// it the whole record because of one field.
impl<T: Default> LenientObject<T> {
    fn odd() -> Self {
        Self(T::default(), true)
    }
}

impl<T> LenientList<T> {
    fn odd() -> Self {
        Self(Vec::new(), true)
    }
}

macro_rules! other_types_are_empty {
    () => {
        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("any value")
        }
        fn visit_str<E>(self, _: &str) -> Result<Self::Value, E> {
            Ok(Self::Value::odd())
        }
        fn visit_bool<E>(self, _: bool) -> Result<Self::Value, E> {
            Ok(Self::Value::odd())
        }
        fn visit_i64<E>(self, _: i64) -> Result<Self::Value, E> {
            Ok(Self::Value::odd())
        }
        fn visit_u64<E>(self, _: u64) -> Result<Self::Value, E> {
            Ok(Self::Value::odd())
        }
        fn visit_f64<E>(self, _: f64) -> Result<Self::Value, E> {
            Ok(Self::Value::odd())
        }
        fn visit_unit<E>(self) -> Result<Self::Value, E> {
            Ok(Self::Value::default())
        }
    };
}

impl<'de, T: Deserialize<'de> + Default> Visitor<'de> for Lenient<LenientObject<T>> {
    type Value = LenientObject<T>;
    other_types_are_empty!();
    fn visit_seq<A: SeqAccess<'de>>(self, seq: A) -> Result<Self::Value, A::Error> {
        pass_over_items(seq)?;
        Ok(LenientObject::odd())
    }
    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Self::Value, A::Error> {
        T::deserialize(MapAccessDeserializer::new(map)).map(|object| LenientObject(object, false))
    }
}

impl<'de, T: Deserialize<'de>> Visitor<'de> for Lenient<LenientList<T>> {
    type Value = LenientList<T>;
    other_types_are_empty!();
    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Self::Value, A::Error> {
        let mut items = Vec::new();
        while let Some(item) = seq.next_element()? {
            items.push(item);
        }
        Ok(LenientList(items, false))
    }
    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Self::Value, A::Error> {
        pass_over_entries(map)?;
        Ok(LenientList::odd())
    }
}

impl<'de, T: Deserialize<'de> + Default> Deserialize<'de> for LenientObject<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(Lenient::<Self>(PhantomData))
    }
}

impl<'de, T: Deserialize<'de>> Deserialize<'de> for LenientList<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(Lenient::<Self>(PhantomData))
    }
}

// Structs whose fields are all scalars.
macro_rules! wire {
    ($(#[$doc:meta])* $name:ident { $($(#[$field_doc:meta])* $field:ident: $key:literal,)* }) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Default, Hash, serde::Deserialize)]
        pub struct $name<'a> {
            $($(#[$field_doc])* #[serde(borrow, default, rename = $key)]
            pub $field: LenientScalar<'a>,)*
        }
    };
}

/// One CloudTrail record, limited to the fields that the engine needs.
#[derive(Debug, Default, Hash, serde::Deserialize)]
pub struct CloudTrailRecord<'a> {
    /// `eventVersion`, e.g. `1.08`.
    #[serde(borrow, default, rename = "eventVersion")]
    pub event_version: LenientScalar<'a>,
    /// `userIdentity`: the caller.
    #[serde(borrow, default, rename = "userIdentity")]
    pub user_identity: LenientObject<UserIdentity<'a>>,
    /// `eventTime`: RFC 3339, UTC, when the request completed.
    #[serde(borrow, default, rename = "eventTime")]
    pub event_time: LenientScalar<'a>,
    /// `eventSource`: the service, e.g. `kms.amazonaws.com`.
    #[serde(borrow, default, rename = "eventSource")]
    pub event_source: LenientScalar<'a>,
    /// `eventName`: the API.
    #[serde(borrow, default, rename = "eventName")]
    pub event_name: LenientScalar<'a>,
    /// `awsRegion`: where the call was made.
    #[serde(borrow, default, rename = "awsRegion")]
    pub aws_region: LenientScalar<'a>,
    /// `sourceIPAddress`: an address, a service name, or `AWS Internal`.
    #[serde(borrow, default, rename = "sourceIPAddress")]
    pub source_ip_address: LenientScalar<'a>,
    /// `userAgent`: the client, a service name, or `AWS Internal`.
    #[serde(borrow, default, rename = "userAgent")]
    pub user_agent: LenientScalar<'a>,
    /// `errorCode`; missing on success.
    #[serde(borrow, default, rename = "errorCode")]
    pub error_code: LenientScalar<'a>,
    /// `errorMessage`; AWS truncates it at 1 KB.
    #[serde(borrow, default, rename = "errorMessage")]
    pub error_message: LenientScalar<'a>,
    /// `requestParameters`, limited to the fields that reads, KMS Decrypts and secret changes need.
    #[serde(borrow, default, rename = "requestParameters")]
    pub request_parameters: LenientObject<RequestParameters<'a>>,
    /// `resources[]`; missing on Secrets Manager events.
    #[serde(borrow, default)]
    pub resources: LenientList<LenientObject<Resource<'a>>>,
    /// `addendum`: present when the record replaces an earlier one or was delivered late.
    #[serde(borrow, default)]
    pub addendum: LenientObject<Addendum<'a>>,
    /// `eventID`: a UUID; the same in redeliveries.
    #[serde(borrow, default, rename = "eventID")]
    pub event_id: LenientScalar<'a>,
    /// `sharedEventID`: the same in the copies of one event in several accounts.
    #[serde(borrow, default, rename = "sharedEventID")]
    pub shared_event_id: LenientScalar<'a>,
    /// `recipientAccountId`: the account whose trail this copy is for.
    #[serde(borrow, default, rename = "recipientAccountId")]
    pub recipient_account_id: LenientScalar<'a>,
    /// `vpcEndpointId`; on KMS events the endpoint is AWS's own.
    #[serde(borrow, default, rename = "vpcEndpointId")]
    pub vpc_endpoint_id: LenientScalar<'a>,
    /// `eventType`, e.g. `AwsApiCall` or `AwsVpceEvent`.
    #[serde(borrow, default, rename = "eventType")]
    pub event_type: LenientScalar<'a>,
    /// `sessionCredentialFromConsole`: the string `true` for calls made in the console.
    #[serde(borrow, default, rename = "sessionCredentialFromConsole")]
    pub session_credential_from_console: LenientScalar<'a>,
}

/// `userIdentity`: the caller.
#[derive(Debug, Clone, Default, Hash, serde::Deserialize)]
pub struct UserIdentity<'a> {
    /// `type`; missing on service events.
    #[serde(borrow, default, rename = "type")]
    pub kind: LenientScalar<'a>,
    /// `principalId`: `AIDA…` for users, `AROA…:session` for role sessions.
    #[serde(borrow, default, rename = "principalId")]
    pub principal_id: LenientScalar<'a>,
    /// `arn` of the caller; for role sessions it names the session and lacks the role's path.
    #[serde(borrow, default)]
    pub arn: LenientScalar<'a>,
    /// `accountId` of the caller.
    #[serde(borrow, default, rename = "accountId")]
    pub account_id: LenientScalar<'a>,
    /// `accessKeyId`; may be missing or empty.
    #[serde(borrow, default, rename = "accessKeyId")]
    pub access_key_id: LenientScalar<'a>,
    /// `userName`: friendly name of the caller.
    #[serde(borrow, default, rename = "userName")]
    pub user_name: LenientScalar<'a>,
    /// `invokedBy`: the service that called on behalf of the caller.
    #[serde(borrow, default, rename = "invokedBy")]
    pub invoked_by: LenientScalar<'a>,
    /// `identityProvider` of web identity users.
    #[serde(borrow, default, rename = "identityProvider")]
    pub identity_provider: LenientScalar<'a>,
    /// `sessionContext` of temporary credentials.
    #[serde(borrow, default, rename = "sessionContext")]
    pub session_context: LenientObject<SessionContext<'a>>,
    /// `onBehalfOf`: the person behind an IAM Identity Center call.
    #[serde(borrow, default, rename = "onBehalfOf")]
    pub on_behalf_of: LenientObject<OnBehalfOf<'a>>,
}

impl<'a> UserIdentity<'a> {
    /// `sessionContext.sessionIssuer`: the role or user behind a session; often an empty object.
    #[must_use]
    pub fn session_issuer(&self) -> &SessionIssuer<'a> {
        &self.session_context.session_issuer
    }
}

/// `userIdentity.sessionContext`.
#[derive(Debug, Clone, Default, Hash, serde::Deserialize)]
pub struct SessionContext<'a> {
    /// `sessionIssuer`: the role or user that the session belongs to; often an empty object.
    #[serde(borrow, default, rename = "sessionIssuer")]
    pub session_issuer: LenientObject<SessionIssuer<'a>>,
    /// `sourceIdentity`: who stands behind a chain of sessions, set when the first was assumed.
    #[serde(borrow, default, rename = "sourceIdentity")]
    pub source_identity: LenientScalar<'a>,
}

wire! {
    /// `userIdentity.sessionContext.sessionIssuer`.
    SessionIssuer {
        /// `type`: `Role`, `IAMUser` or `Root`.
        kind: "type",
        /// `arn` of the role or user, with its path.
        arn: "arn",
        /// `accountId` of the role or user.
        account_id: "accountId",
        /// `userName`: the name of the role or user.
        user_name: "userName",
    }
}

wire! {
    /// `userIdentity.onBehalfOf`: the person behind an IAM Identity Center call.
    OnBehalfOf {
        /// `userId`: the person, in the identity store.
        user_id: "userId",
        /// `identityStoreArn`: the identity store of `userId`.
        identity_store_arn: "identityStoreArn",
    }
}

wire! {
    /// An element of `resources`: a resource of the call.
    Resource {
        /// `ARN` of the resource.
        arn: "ARN",
        /// `accountId` of the resource, or `AWS Internal`.
        account_id: "accountId",
        /// `type`, e.g. `AWS::KMS::Key`; missing on Parameter Store events.
        kind: "type",
    }
}

wire! {
    /// `addendum`: why the record was delayed or replaced.
    Addendum {
        /// `reason`: `DELIVERY_DELAY`, `UPDATED_DATA` or `SERVICE_OUTAGE`.
        reason: "reason",
        /// `originalEventID`: the event that this record updates.
        original_event_id: "originalEventID",
    }
}

/// `requestParameters` of all relevant calls in one struct: no two calls use one name with
/// different meanings.
#[derive(Debug, Clone, Default, Hash, serde::Deserialize)]
pub struct RequestParameters<'a> {
    /// `secretId`: name, ARN, or ARN without its suffix, as the caller typed it.
    #[serde(borrow, default, rename = "secretId")]
    pub secret_id: LenientScalar<'a>,
    /// `aRN`, the spelling in some calls before February 2024.
    #[serde(borrow, default, rename = "aRN")]
    pub old_arn: LenientScalar<'a>,
    /// `versionId`: the requested version.
    #[serde(borrow, default, rename = "versionId")]
    pub version_id: LenientScalar<'a>,
    /// `versionStage`: the requested staging label, e.g. `AWSPREVIOUS`.
    #[serde(borrow, default, rename = "versionStage")]
    pub version_stage: LenientScalar<'a>,
    /// `secretIdList` of `BatchGetSecretValue`: names or ARNs.
    #[serde(borrow, default, rename = "secretIdList")]
    pub secret_id_list: LenientList<LenientScalar<'a>>,
    /// `name` of a parameter, of a secret to create, or of a trail.
    #[serde(borrow, default)]
    pub name: LenientScalar<'a>,
    /// `names` of `GetParameters`.
    #[serde(borrow, default)]
    pub names: LenientList<LenientScalar<'a>>,
    /// `path` of `GetParametersByPath`.
    #[serde(borrow, default)]
    pub path: LenientScalar<'a>,
    /// `recursive` of `GetParametersByPath`.
    #[serde(borrow, default)]
    pub recursive: LenientScalar<'a>,
    /// `withDecryption` of Parameter Store reads; AWS ignores it for plain String parameters.
    #[serde(borrow, default, rename = "withDecryption")]
    pub with_decryption: LenientScalar<'a>,
    /// `resourceArn`: the parameter, in calls that change its resource policy.
    #[serde(borrow, default, rename = "resourceArn")]
    pub resource_arn: LenientScalar<'a>,
    /// `encryptionContext` of a KMS call.
    #[serde(borrow, default, rename = "encryptionContext")]
    pub encryption_context: LenientObject<EncryptionContext<'a>>,
}

wire! {
    /// The pairs of a KMS encryption context that identify a secret; it may contain others.
    EncryptionContext {
        /// `SecretARN`: always a full ARN, with its suffix.
        secret_arn: "SecretARN",
        /// `SecretVersionId`: the version, or `RequestToValidateKeyAccess`.
        secret_version_id: "SecretVersionId",
        /// `PARAMETER_ARN`: the ARN of the parameter.
        parameter_arn: "PARAMETER_ARN",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(text: &str) -> CloudTrailRecord<'_> {
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
            let scalar: LenientScalar<'_> = serde_json::from_str(json).unwrap();
            assert_eq!(scalar.get(), text, "{json}");
        }
    }

    #[test]
    fn a_scalar_is_copied_only_for_its_escapes() {
        let plain: LenientScalar<'_> = serde_json::from_str(r#""plain""#).unwrap();
        assert!(matches!(plain.0, Some(Cow::Borrowed("plain"))));
        let escaped: LenientScalar<'_> = serde_json::from_str(r#""a\/b""#).unwrap();
        assert!(matches!(escaped.0, Some(Cow::Owned(text)) if text == "a/b"));
    }

    #[test]
    fn true_is_true_in_every_spelling() {
        for (json, expected) in [
            ("true", true),
            (r#""true""#, true),
            ("false", false),
            (r#""True""#, true),
            (r#""TRUE""#, true),
            ("1", true),
            (r#""1""#, true),
            ("0", false),
            (r#""yes""#, false),
            ("null", false),
        ] {
            let scalar: LenientScalar<'_> = serde_json::from_str(json).unwrap();
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
        // In the real data set, all KMS records look like this.
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
            assert!(
                serde_json::from_str::<CloudTrailRecord<'_>>(text).is_err(),
                "{text}"
            );
        }
    }
}
