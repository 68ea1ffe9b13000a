//! OCSF events that Security Lake and others make of CloudTrail records: API Activity, and the
//! classes that some calls go to. Versions 1.0.0-rc.2, 1.1.0 and 1.5.0 are recognised by the fields
//! that are there.

use serde_json::{Map, Value};

use super::{RowRecord, columns::put};
use crate::{record_shape::RecordShape, repair};

/// Fields of a record, and the paths under which OCSF has them, the first that is there.
const FIELDS: [(&[&str], &[&str]); 24] = [
    (&["eventVersion"], &["metadata.product.version"]),
    (&["eventID"], &["metadata.uid"]),
    (&["eventSource"], &["api.service.name"]),
    (&["eventName"], &["api.operation"]),
    (&["apiVersion"], &["api.version"]),
    (&["requestID"], &["api.request.uid"]),
    (&["requestParameters"], &["api.request.data"]),
    (&["responseElements"], &["api.response.data"]),
    (&["errorCode"], &["api.response.error"]),
    (
        &["errorMessage"],
        &["api.response.message", "api.response.error_message"],
    ),
    (&["awsRegion"], &["cloud.region", "region"]),
    (
        &["sourceIPAddress"],
        &["src_endpoint.ip", "src_endpoint.domain"],
    ),
    (&["vpcEndpointId"], &["src_endpoint.uid"]),
    (&["userAgent"], &["http_request.user_agent"]),
    (
        &["eventType"],
        &["metadata.event_code", "metadata.log_name"],
    ),
    (&["eventCategory"], &["metadata.product.feature.name"]),
    (&["userIdentity", "type"], &["actor.user.type"]),
    (&["userIdentity", "userName"], &["actor.user.name"]),
    (
        &["userIdentity", "accessKeyId"],
        &["actor.user.credential_uid"],
    ),
    (
        &["userIdentity", "accountId"],
        &["actor.user.account.uid", "actor.user.account_uid"],
    ),
    (&["userIdentity", "invokedBy"], &["actor.invoked_by"]),
    (&["userIdentity", "identityProvider"], &["actor.idp.name"]),
    (
        &["userIdentity", "sessionContext", "sessionIssuer", "arn"],
        &["actor.session.issuer"],
    ),
    (
        &["recipientAccountId"],
        &["cloud.account.uid", "cloud.account_uid", "accountid"],
    ),
];

/// The record that an OCSF event tells of; `None` if CloudTrail is not its source.
pub(super) fn record(event: &[u8]) -> Option<RowRecord> {
    let (event, repaired) = sound(event)?;
    let product = at(&event, "metadata.product.name")?.as_str()?;
    if !product.eq_ignore_ascii_case("CloudTrail") {
        return None;
    }
    let mut record = Map::new();
    for (path, sources) in FIELDS {
        // Objects and texts that are empty stand for what is absent.
        let value = sources
            .iter()
            .find_map(|source| stated(at(&event, source)?));
        if let Some(value) = value {
            let is_text = path.first().is_some_and(|name| AS_TEXT.contains(name));
            put(
                &mut record,
                path,
                if is_text { parsed(value) } else { value },
            );
        }
    }
    let time = at(&event, "time").or_else(|| at(&event, "time_dt"))?;
    record.insert("eventTime".to_owned(), time.clone());
    identity(&event, &mut record);
    session(&event, &mut record);
    if let Some(resources) = resources(&event) {
        record.insert("resources".to_owned(), resources);
    }
    unmapped(&event, &mut record);
    let says_what = ["eventSource", "eventName"];
    let is_record = says_what
        .iter()
        .all(|name| record.get(*name).is_some_and(Value::is_string));
    is_record.then(|| RowRecord {
        bytes: Value::Object(record).to_string().into_bytes(),
        shape: RecordShape::Ocsf,
        repaired,
    })
}

/// An event, and whether text of it was lost where it had to be repaired.
fn sound(event: &[u8]) -> Option<(Value, Option<bool>)> {
    match serde_json::from_slice(event) {
        Ok(value) => Some((value, None)),
        Err(_) => {
            let value = serde_json::from_str(&repair::repaired(event)).ok()?;
            Some((value, Some(repair::loses_text(event))))
        }
    }
}

fn at<'v>(value: &'v Value, path: &str) -> Option<&'v Value> {
    path.split('.')
        .try_fold(value, |value, name| value.get(name))
}

/// A value, unless it stands for nothing: empty objects and texts do.
fn stated(value: &Value) -> Option<Value> {
    match value {
        Value::Null => None,
        Value::Object(fields) if fields.is_empty() => None,
        Value::String(text) if text.is_empty() || text == "null" => None,
        value => Some(value.clone()),
    }
}

/// What JSON text holds; other values as they are.
fn parsed(value: Value) -> Value {
    match &value {
        Value::String(text) if text.starts_with(['{', '[']) => {
            serde_json::from_str(text).unwrap_or(value)
        }
        _ => value,
    }
}

/// Fields that some versions hold as JSON text. The text of others is the caller's.
const AS_TEXT: [&str; 2] = ["requestParameters", "responseElements"];

/// ARN and principal id of the caller. Versions differ in which of two fields has which; an ARN
/// says what it is.
fn identity(event: &Value, record: &mut Map<String, Value>) {
    let names = ["uid", "uuid", "uid_alt"];
    let texts = names.iter().filter_map(|name| {
        let text = at(event, "actor.user")?.get(name)?.as_str()?;
        (!text.is_empty()).then_some(text)
    });
    let (arns, others): (Vec<&str>, Vec<&str>) = texts.partition(|text| text.starts_with("arn:"));
    for (name, texts) in [("arn", arns), ("principalId", others)] {
        if let Some(text) = texts.first() {
            put(record, &["userIdentity", name], Value::from(*text));
        }
    }
}

fn session(event: &Value, record: &mut Map<String, Value>) {
    let mfa = at(event, "actor.session.is_mfa").or_else(|| at(event, "actor.session.mfa"));
    if let Some(mfa) = mfa.and_then(Value::as_bool) {
        let path = [
            "userIdentity",
            "sessionContext",
            "attributes",
            "mfaAuthenticated",
        ];
        put(record, &path, Value::from(mfa.to_string()));
    }
}

fn resources(event: &Value) -> Option<Value> {
    let resources = at(event, "resources")?.as_array()?;
    let resources = resources.iter().map(|resource| {
        let mut written = Map::new();
        let sources: [(&str, &[&str]); 3] = [
            ("ARN", &["uid"]),
            (
                "accountId",
                &["owner.account.uid", "account.uid", "account_uid"],
            ),
            ("type", &["type"]),
        ];
        for (name, sources) in sources {
            let value = sources
                .iter()
                .find_map(|source| stated(at(resource, source)?));
            if let Some(value) = value {
                written.insert(name.to_owned(), value);
            }
        }
        Value::Object(written)
    });
    Some(Value::Array(resources.collect()))
}

/// Names within each other in the name of an unmapped field.
const DEEPEST: usize = 16;

/// Fields of a record whose parts may be among the unmapped ones.
const UNMAPPED: [&str; 13] = [
    "eventVersion",
    "userIdentity",
    "requestParameters",
    "errorMessage",
    "errorCode",
    "eventType",
    "recipientAccountId",
    "sharedEventID",
    "vpcEndpointId",
    "readOnly",
    "managementEvent",
    "addendum",
    "sessionCredentialFromConsole",
];

/// Adds what OCSF has no place for: by names with dots, as objects, or as JSON text.
fn unmapped(event: &Value, record: &mut Map<String, Value>) {
    let Some(Value::Object(unmapped)) = event.get("unmapped") else {
        return;
    };
    for (name, value) in unmapped {
        let Some(value) = stated(value) else { continue };
        let mut steps: Vec<&str> = name.split('.').collect();
        let Some(first) = steps.first_mut() else {
            continue;
        };
        let known = UNMAPPED
            .iter()
            .find(|known| known.eq_ignore_ascii_case(first));
        if let Some(known) = known {
            *first = known;
            // Nothing in a record is nested deeper.
            if steps.len() <= DEEPEST {
                let is_whole = steps.len() == 1;
                graft(record, &steps, if is_whole { parsed(value) } else { value });
            }
        }
    }
}

/// Puts a value at a path. `name[]` is a list whose elements are joined by commas; the fields of
/// `name[].field` are those of its elements.
fn graft(record: &mut Map<String, Value>, path: &[&str], value: Value) {
    let list = path.iter().position(|step| step.ends_with("[]"));
    let Some(list) = list else {
        match (path, value) {
            // An object beside single parts of it: both tell.
            ([name], Value::Object(fields)) => {
                for (field, value) in fields {
                    graft(record, &[name, field.as_str()], value);
                }
            }
            (path, value) => put(record, path, value),
        }
        return;
    };
    let (before, after) = path.split_at(list);
    let (Some((name, inner)), Some(text)) = (after.split_first(), value.as_str()) else {
        return;
    };
    let mut place = before.to_vec();
    place.push(name.trim_end_matches("[]"));
    let inner: Vec<&str> = inner
        .iter()
        .map(|name| name.trim_end_matches("[]"))
        .collect();
    let items: Vec<Value> = text
        .split(',')
        .map(|item| {
            let mut element = Map::new();
            if inner.is_empty() {
                return Value::from(item);
            }
            put(&mut element, &inner, Value::from(item));
            Value::Object(element)
        })
        .collect();
    match known_list(record, &place) {
        Some(known) => merge(known, items),
        None => put(record, &place, Value::Array(items)),
    }
}

fn known_list<'r>(
    record: &'r mut Map<String, Value>,
    place: &[&str],
) -> Option<&'r mut Vec<Value>> {
    let (first, rest) = place.split_first()?;
    let first = record.get_mut(*first)?;
    let list = rest
        .iter()
        .try_fold(first, |value, name| value.get_mut(*name))?;
    list.as_array_mut()
}

/// Adds the fields of elements to those of a list that is known.
fn merge(known: &mut [Value], items: Vec<Value>) {
    for (known, item) in known.iter_mut().zip(items) {
        if let (Value::Object(known), Value::Object(item)) = (known, item) {
            for (name, value) in item {
                known.entry(name).or_insert(value);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn record_of(event: &Value) -> Option<Value> {
        let found = record(event.to_string().as_bytes())?;
        assert_eq!(found.shape, RecordShape::Ocsf);
        Some(serde_json::from_slice(&found.bytes).unwrap())
    }

    fn expected() -> Value {
        json!({"eventVersion": "1.11", "eventID": "e1", "eventTime": 1_772_445_600_000_i64,
            "eventSource": "kms.amazonaws.com", "eventName": "Decrypt", "awsRegion": "eu-west-1",
            "sourceIPAddress": "secretsmanager.amazonaws.com",
            "userAgent": "secretsmanager.amazonaws.com", "eventType": "AwsApiCall",
            "recipientAccountId": "111122223333",
            "requestParameters": {"encryptionContext": {"SecretARN": "s", "SecretVersionId": "v"}},
            "userIdentity": {"type": "AssumedRole", "arn": "arn:aws:sts::1:assumed-role/app/s",
                "principalId": "AROA:s", "accountId": "111122223333", "accessKeyId": "ASIA1",
                "invokedBy": "secretsmanager.amazonaws.com", "sessionContext": {"sessionIssuer":
                {"arn": "arn:aws:iam::1:role/app", "userName": "app"}}},
            "resources": [{"ARN": "k", "accountId": "111122223333", "type": "AWS::KMS::Key"}]})
    }

    #[test]
    fn the_release_candidate_has_much_of_it_unmapped() {
        let event = json!({"class_uid": 3005, "time": 1_772_445_600_000_i64,
            "metadata": {"version": "1.0.0-rc.2", "uid": "e1",
                "product": {"name": "CloudTrail", "version": "1.11"}},
            "api": {"operation": "Decrypt", "service": {"name": "kms.amazonaws.com"},
                "response": {}},
            "cloud": {"region": "eu-west-1"},
            "actor": {"user": {"type": "AssumedRole", "uuid": "arn:aws:sts::1:assumed-role/app/s",
                "uid": "AROA:s", "account_uid": "111122223333", "credential_uid": "ASIA1"},
                "session": {"issuer": "arn:aws:iam::1:role/app"}, "idp": {},
                "invoked_by": "secretsmanager.amazonaws.com"},
            "src_endpoint": {"domain": "secretsmanager.amazonaws.com"},
            "http_request": {"user_agent": "secretsmanager.amazonaws.com"},
            "resources": [{"uid": "k", "account_uid": "111122223333", "type": "AWS::KMS::Key"}],
            "unmapped": {"eventType": "AwsApiCall", "recipientAccountId": "111122223333",
                "requestParameters.encryptionContext.SecretARN": "s",
                "requestParameters.encryptionContext.SecretVersionId": "v",
                "userIdentity.sessionContext.sessionIssuer.userName": "app", "other": "x"}});
        assert_eq!(record_of(&event), Some(expected()));
    }

    #[test]
    fn one_odd_byte_loses_no_event() {
        let event = json!({"class_uid": 6003, "time": 1_772_445_600_000_i64,
            "metadata": {"product": {"name": "CloudTrail"}},
            "api": {"operation": "GetSecretValue",
                "service": {"name": "secretsmanager.amazonaws.com"}},
            "http_request": {"user_agent": "curl@"}})
        .to_string();
        assert_eq!(record(event.as_bytes()).unwrap().repaired, None);
        // Which of them cannot be read any more, whatever a reader does.
        for (odd, loses) in [(r"\ud800", true), ("\u{1}", false), (r"\q", false)] {
            let odd = event.replace('@', odd);
            let found = record(odd.as_bytes()).unwrap();
            assert_eq!(found.repaired, Some(loses), "{odd}");
            let record: Value = serde_json::from_slice(&found.bytes).unwrap();
            assert_eq!(record["eventName"], "GetSecretValue");
            assert!(record["userAgent"].as_str().unwrap().starts_with("curl"));
        }
        let number = event.replace("\"curl@\"", "1e999");
        assert_eq!(record(number.as_bytes()).unwrap().repaired, Some(false));
        assert!(
            record(b"{\"class_uid\": 6003, ").is_none(),
            "what is cut is not known"
        );
    }

    #[test]
    fn later_versions_have_parameters_as_text_and_the_account_in_the_cloud() {
        let data = r#"{"encryptionContext":{"SecretARN":"s","SecretVersionId":"v"}}"#;
        let event = json!({"class_uid": 6003, "time": 1_772_445_600_000_i64,
            "metadata": {"version": "1.5.0", "uid": "e1", "event_code": "AwsApiCall",
                "product": {"name": "CloudTrail", "version": "1.11"}},
            "api": {"operation": "Decrypt", "service": {"name": "kms.amazonaws.com"},
                "request": {"data": data}, "response": {"data": ""}},
            "cloud": {"region": "eu-west-1", "account": {"uid": "111122223333"}},
            "actor": {"user": {"type": "AssumedRole", "uid": "arn:aws:sts::1:assumed-role/app/s",
                "uid_alt": "AROA:s", "account": {"uid": "111122223333"}, "credential_uid": "ASIA1"},
                "session": {"issuer": "arn:aws:iam::1:role/app"},
                "invoked_by": "secretsmanager.amazonaws.com"},
            "src_endpoint": {"domain": "secretsmanager.amazonaws.com", "uid": ""},
            "http_request": {"user_agent": "secretsmanager.amazonaws.com"},
            "resources": [{"uid": "k", "owner": {"account": {"uid": "111122223333"}},
                "type": "AWS::KMS::Key"}],
            "unmapped": {"sharedEventID": "", "resources": "",
                "userIdentity.sessionContext.sessionIssuer.userName": "app"}});
        assert_eq!(record_of(&event), Some(expected()));
    }

    #[test]
    fn lists_objects_and_texts_are_grafted() {
        let event = |unmapped: Value| {
            let event = json!({"class_uid": 6003, "time": 1, "metadata":
                {"product": {"name": "CloudTrail"}}, "api": {"operation": "GetParameters",
                "service": {"name": "ssm.amazonaws.com"}}, "unmapped": unmapped});
            record_of(&event).unwrap()["requestParameters"].clone()
        };
        let names = json!({"names": ["/a", "/b"], "withDecryption": "true"});
        for unmapped in [
            json!({"requestParameters.names[]": "/a,/b", "requestParameters.withDecryption": "true"}),
            json!({"requestParameters": {"names": ["/a", "/b"], "withDecryption": "true"}}),
            json!({"requestparameters": r#"{"names":["/a","/b"],"withDecryption":"true"}"#}),
        ] {
            assert_eq!(event(unmapped), names);
        }
        let filters = event(json!({"requestParameters.filters[].key": "name,all"}));
        assert_eq!(
            filters,
            json!({"filters": [{"key": "name"}, {"key": "all"}]})
        );
    }

    #[test]
    fn other_products_are_no_records() {
        for other in [
            json!({"class_uid": 4001, "metadata": {"product": {"name": "Amazon VPC"}}}),
            json!({"class_uid": 6003, "time": 1, "metadata": {"product": {"name": "CloudTrail"}}}),
            json!({"class_uid": 6003}),
        ] {
            assert_eq!(record_of(&other), None);
        }
    }
}
