//! Rows whose columns are the fields of a record: results of Athena and CloudTrail Lake, the
//! console's event history, tables of Sentinel.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

use super::{RowRecord, structs};
use crate::{record_shape::RecordShape, shallow::text_of};

/// A column name in one spelling: lower-case letters and digits. `TimeGenerated [UTC]` is
/// `timegenerated`.
pub(crate) fn column_key(name: &str) -> String {
    let name = name.split_once('[').map_or(name, |(name, _)| name);
    let letters = name.chars().filter(char::is_ascii_alphanumeric);
    letters.map(|letter| letter.to_ascii_lowercase()).collect()
}

/// Columns by their names in one spelling, and the fields that they hold.
const COLUMNS: [(&str, &[&str]); 63] = [
    ("eventversion", &["eventVersion"]),
    ("useridentity", &["userIdentity"]),
    ("eventtime", &["eventTime"]),
    ("eventsource", &["eventSource"]),
    ("eventname", &["eventName"]),
    ("awsregion", &["awsRegion"]),
    ("sourceipaddress", &["sourceIPAddress"]),
    ("useragent", &["userAgent"]),
    ("errorcode", &["errorCode"]),
    ("errormessage", &["errorMessage"]),
    ("requestparameters", &["requestParameters"]),
    ("responseelements", &["responseElements"]),
    ("additionaleventdata", &["additionalEventData"]),
    ("requestid", &["requestID"]),
    ("eventid", &["eventID"]),
    ("resources", &["resources"]),
    ("eventtype", &["eventType"]),
    ("apiversion", &["apiVersion"]),
    ("readonly", &["readOnly"]),
    ("managementevent", &["managementEvent"]),
    ("recipientaccountid", &["recipientAccountId"]),
    ("serviceeventdetails", &["serviceEventDetails"]),
    ("sharedeventid", &["sharedEventID"]),
    ("vpcendpointid", &["vpcEndpointId"]),
    ("vpcendpointaccountid", &["vpcEndpointAccountId"]),
    ("eventcategory", &["eventCategory"]),
    ("addendum", &["addendum"]),
    (
        "sessioncredentialfromconsole",
        &["sessionCredentialFromConsole"],
    ),
    ("edgedevicedetails", &["edgeDeviceDetails"]),
    ("tlsdetails", &["tlsDetails"]),
    // The console's event history.
    ("awsaccesskey", &["userIdentity", "accessKeyId"]),
    ("username", &["userIdentity", "userName"]),
    // Sentinel.
    ("awseventid", &["eventID"]),
    ("timegenerated", &["eventTime"]),
    ("awsrequestid", &["requestID"]),
    ("eventtypename", &["eventType"]),
    ("category", &["eventCategory"]),
    ("useridentitytype", &["userIdentity", "type"]),
    ("useridentityprincipalid", &["userIdentity", "principalId"]),
    ("useridentityarn", &["userIdentity", "arn"]),
    ("useridentityaccountid", &["userIdentity", "accountId"]),
    ("useridentityinvokedby", &["userIdentity", "invokedBy"]),
    ("useridentityaccesskeyid", &["userIdentity", "accessKeyId"]),
    ("useridentityusername", &["userIdentity", "userName"]),
    (
        "useridentityuserid",
        &["userIdentity", "onBehalfOf", "userId"],
    ),
    (
        "useridentitystorearn",
        &["userIdentity", "onBehalfOf", "identityStoreArn"],
    ),
    (
        "sessionmfaauthenticated",
        &[
            "userIdentity",
            "sessionContext",
            "attributes",
            "mfaAuthenticated",
        ],
    ),
    (
        "sessioncreationdate",
        &[
            "userIdentity",
            "sessionContext",
            "attributes",
            "creationDate",
        ],
    ),
    (
        "sessionissuertype",
        &["userIdentity", "sessionContext", "sessionIssuer", "type"],
    ),
    (
        "sessionissuerprincipalid",
        &[
            "userIdentity",
            "sessionContext",
            "sessionIssuer",
            "principalId",
        ],
    ),
    (
        "sessionissuerarn",
        &["userIdentity", "sessionContext", "sessionIssuer", "arn"],
    ),
    (
        "sessionissueraccountid",
        &[
            "userIdentity",
            "sessionContext",
            "sessionIssuer",
            "accountId",
        ],
    ),
    (
        "sessionissuerusername",
        &[
            "userIdentity",
            "sessionContext",
            "sessionIssuer",
            "userName",
        ],
    ),
    (
        "ec2roledelivery",
        &["userIdentity", "sessionContext", "ec2RoleDelivery"],
    ),
    ("tlsversion", &["tlsDetails", "tlsVersion"]),
    ("ciphersuite", &["tlsDetails", "cipherSuite"]),
    (
        "clientprovidedhostheader",
        &["tlsDetails", "clientProvidedHostHeader"],
    ),
    // Parts of the caller, as a query names them that selects `useridentity.arn`.
    ("arn", &["userIdentity", "arn"]),
    ("principalid", &["userIdentity", "principalId"]),
    ("accesskeyid", &["userIdentity", "accessKeyId"]),
    ("invokedby", &["userIdentity", "invokedBy"]),
    // Partitions.
    ("accountid", &["recipientAccountId"]),
    ("region", &["awsRegion"]),
];

/// Names inside the structs of a record, which tables write in lower case.
const INNER: [&str; 24] = [
    "type",
    "principalId",
    "arn",
    "accountId",
    "invokedBy",
    "accessKeyId",
    "userName",
    "identityProvider",
    "credentialId",
    "sessionContext",
    "attributes",
    "mfaAuthenticated",
    "creationDate",
    "sessionIssuer",
    "sourceIdentity",
    "ec2RoleDelivery",
    "webIdFederationData",
    "onBehalfOf",
    "userId",
    "identityStoreArn",
    "inScopeOf",
    "reason",
    "originalEventID",
    "updatedFields",
];

/// Fields whose structs have names of CloudTrail, not of a caller.
const STRUCTS: [&str; 3] = ["userIdentity", "resources", "addendum"];

/// The record that columns tell of; `None` if they do not say what happened.
pub(super) fn record<'c>(columns: impl Iterator<Item = (&'c str, &'c [u8])>) -> Option<RowRecord> {
    // Of two columns with one name the first that has a value counts.
    let mut by_key: BTreeMap<String, &[u8]> = BTreeMap::new();
    for (name, value) in columns {
        let known = by_key.entry(column_key(name)).or_insert(value);
        if is_empty(known) {
            *known = value;
        }
    }
    let columns = by_key;
    let has = |name: &str| columns.contains_key(name);
    if !has("eventname") || !(has("eventtime") || has("timegenerated")) {
        return None;
    }
    let shape = shape(&has)?;
    let mut record = Map::new();
    for (column, path) in COLUMNS {
        // Beside the caller as a whole it is a partition, else a part of the caller.
        if column == "accountid" && !has("useridentity") && !has("arn") {
            continue;
        }
        if let Some(value) = columns.get(column).and_then(|value| value_of(value, path)) {
            put(&mut record, path, value);
        }
    }
    // A number or a list is no name of a call.
    record.get("eventName").and_then(Value::as_str)?;
    time(&mut record);
    if !record.contains_key("requestParameters") {
        requested(&mut record, &columns);
    }
    // The source of notifications of S3 and others begins with `aws:`.
    let source = record.get("eventSource").and_then(Value::as_str)?;
    if source.starts_with("aws:") {
        return None;
    }
    Some(RowRecord {
        repaired: None,
        bytes: Value::Object(record).to_string().into_bytes(),
        shape,
    })
}

/// Whether a column with this name holds a field of a record, or a whole one.
pub(crate) fn is_column(key: &str) -> bool {
    COLUMNS.iter().any(|(column, _)| *column == key)
        || WHOLE.contains(&key)
        || RESOURCE.contains(&key)
}

/// Columns of the console's event history that name a resource, beside `Resources`.
const RESOURCE: [&str; 2] = ["resourcetype", "resourcename"];

/// The name of the secret, from the resources of a row that does not tell what was requested.
fn requested(record: &mut Map<String, Value>, columns: &BTreeMap<String, &[u8]>) {
    let named = named_resources(record, columns);
    let of = |kind: &str| {
        let mut names = named
            .iter()
            .filter(|(k, name)| k == kind && !name.is_empty());
        names.next().map(|(_, name)| name.as_str())
    };
    let api = record.get("eventName").and_then(Value::as_str);
    let parameters = match api {
        Some("GetSecretValue") => {
            of("AWS::SecretsManager::Secret").map(|name| json!({"secretId": name}))
        }
        // Whether the value was asked for in plain text is unknown: a Decrypt may be missing, and
        // proves nothing.
        Some("GetParameter" | "GetParameters") => {
            of("AWS::SSM::Parameter").map(|name| json!({"name": name, "withDecryption": true}))
        }
        _ => None,
    };
    record.extend(parameters.map(|parameters| ("requestParameters".to_owned(), parameters)));
}

/// Types and names of the resources of a row.
fn named_resources(
    record: &Map<String, Value>,
    columns: &BTreeMap<String, &[u8]>,
) -> Vec<(String, String)> {
    let listed = record.get("resources").and_then(Value::as_array);
    let listed = listed.into_iter().flatten().map(|resource| {
        let kind = first_text(resource, ["resourceType", "ResourceType"]);
        (kind, first_text(resource, ["resourceName", "ResourceName"]))
    });
    let [kind, name] = RESOURCE.map(|name| columns.get(name).and_then(|value| text_of(value)));
    let alone = name.map(|name| (kind.unwrap_or_default().into_owned(), name.into_owned()));
    listed.chain(alone).collect()
}

/// The first of these fields that is a text.
fn first_text(object: &Value, names: [&str; 2]) -> String {
    let found = names.iter().find_map(|name| object.get(*name)?.as_str());
    found.unwrap_or_default().to_owned()
}

/// Columns that hold a whole record.
pub(crate) const WHOLE: [&str; 4] = ["eventjson", "cloudtrailevent", "message", "raw"];

fn is_empty(value: &[u8]) -> bool {
    [&b""[..], b"null", b"\"\"", b"\"null\""].contains(&value)
}

/// The form of a row with these columns; `None` for records by themselves.
fn shape(has: &dyn Fn(&str) -> bool) -> Option<RecordShape> {
    if !has("eventsource") {
        return None;
    }
    Some(if has("useridentitytype") || has("awseventid") {
        RecordShape::Sentinel
    } else if has("username") && !has("useridentity") {
        RecordShape::EventHistory
    } else {
        RecordShape::QueryResult
    })
}

/// The value of a column; `None` where it is empty.
fn value_of(value: &[u8], path: &[&str]) -> Option<Value> {
    let name = path.first().copied().unwrap_or_default();
    let is_nested = path.len() == 1
        && (STRUCTS.contains(&name)
            || ["requestParameters", "responseElements", "tlsDetails"].contains(&name));
    let mut value = match text_of(value).as_deref() {
        Some("" | "null") => return None,
        Some(text) if is_nested => structs::parsed(text),
        Some(text) => Value::from(text),
        // A struct of Parquet, whose names a table has in lower case, too.
        None => serde_json::from_slice(value).ok()?,
    };
    if value.is_null() {
        return None;
    }
    if STRUCTS.contains(&name) {
        spell(&mut value, name == "resources");
    }
    Some(value)
}

/// Writes the names in structs as CloudTrail does.
fn spell(value: &mut Value, is_resource: bool) {
    match value {
        Value::Array(items) => items.iter_mut().for_each(|item| spell(item, is_resource)),
        Value::Object(fields) => {
            let spelled = std::mem::take(fields).into_iter().map(|(name, mut value)| {
                spell(&mut value, is_resource);
                let known = INNER.iter().find(|known| known.eq_ignore_ascii_case(&name));
                let name = match known {
                    Some(&"arn") if is_resource => "ARN".to_owned(),
                    Some(known) => (*known).to_owned(),
                    None => name,
                };
                (name, value)
            });
            *fields = spelled.filter(|(_, value)| !value.is_null()).collect();
        }
        _ => {}
    }
}

/// Puts a value at a path. What is there already stays: the first column of several counts.
pub(super) fn put(record: &mut Map<String, Value>, path: &[&str], value: Value) {
    let [name, rest @ ..] = path else {
        return;
    };
    if rest.is_empty() {
        record.entry(*name).or_insert(value);
        return;
    }
    let inner = record
        .entry(*name)
        .or_insert_with(|| Value::Object(Map::new()));
    if let Value::Object(inner) = inner {
        put(inner, rest, value);
    }
}

/// Writes times that spreadsheets have rewritten as CloudTrail does.
fn time(record: &mut Map<String, Value>) {
    let written = record.get("eventTime").and_then(Value::as_str);
    if let Some(time) = written.and_then(of_spreadsheet) {
        record.insert("eventTime".to_owned(), Value::from(time));
    }
}

/// `21/04/2025, 09:45:54.000`, where the order of day and month shows, and `4/21/2025, 9:45:54.000
/// AM`, in which the month is first; other texts are `None`.
fn of_spreadsheet(text: &str) -> Option<String> {
    let (date, clock) = text.split_once([',', ' '])?;
    let mut parts = date.split('/').map(str::parse::<u32>);
    let (Some(Ok(first)), Some(Ok(second)), Some(Ok(year)), None) =
        (parts.next(), parts.next(), parts.next(), parts.next())
    else {
        return None;
    };
    let clock = clock.trim_matches([' ', ',']);
    let half = [("AM", 0), ("PM", 12)]
        .into_iter()
        .find_map(|(half, hours)| {
            let (at, end) = clock.split_at_checked(clock.len().checked_sub(2)?)?;
            end.eq_ignore_ascii_case(half)
                .then_some((at.trim_end(), hours))
        });
    let (day, month) = match (first, second) {
        (day @ 13.., month) => (day, month),
        (month, day @ 13..) => (day, month),
        (day, month) if day == month => (day, month),
        // Only English of the United States writes such clocks.
        (month, day) if half.is_some() => (day, month),
        // The 4th of May or the 5th of April: a guess would move the record by months.
        _ => return None,
    };
    let clock = match half {
        Some((at, hours)) => {
            let (hour, rest) = at.split_once(':')?;
            let hour = hour
                .parse::<u32>()
                .ok()
                .filter(|hour| (1..=12).contains(hour))?;
            format!("{:02}:{rest}", hour % 12 + hours)
        }
        None => clock.to_owned(),
    };
    // The normal form of a record reads the clock, and refuses what is none.
    Some(format!("{year:04}-{month:02}-{day:02} {clock} UTC"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::shallow::TopLevel;

    fn record_of(row: &Value) -> Option<(Value, RecordShape)> {
        let row = row.to_string();
        let found = record(TopLevel::of(row.as_bytes()).iter())?;
        Some((serde_json::from_slice(&found.bytes).unwrap(), found.shape))
    }

    #[test]
    fn a_row_of_athena_is_the_record() {
        let row = json!({"eventversion": "1.11", "useridentity": "{type=AssumedRole, \
            principalid=AROA:s, arn=arn:aws:sts::111122223333:assumed-role/app/s, \
            accountid=111122223333, invokedby=null, accesskeyid=ASIA1, username=null, \
            sessioncontext={attributes={mfaauthenticated=false}, sessionissuer={type=Role, \
            arn=arn:aws:iam::111122223333:role/app}}}", "eventtime": "2026-03-02T10:00:00Z",
            "eventsource": "ssm.amazonaws.com", "eventname": "GetParameter",
            "errorcode": "", "errormessage": "null",
            "requestparameters": "{\"name\":\"/a\"}",
            "resources": "[{arn=arn:x, accountid=1, type=null}]", "region": "eu-west-1",
            "recipientaccountid": "111122223333", "eventid": "e"});
        let expected = json!({"eventVersion": "1.11", "userIdentity": {"type": "AssumedRole",
            "principalId": "AROA:s", "arn": "arn:aws:sts::111122223333:assumed-role/app/s",
            "accountId": "111122223333", "accessKeyId": "ASIA1", "sessionContext":
            {"attributes": {"mfaAuthenticated": "false"}, "sessionIssuer": {"type": "Role",
            "arn": "arn:aws:iam::111122223333:role/app"}}}, "eventTime": "2026-03-02T10:00:00Z",
            "eventSource": "ssm.amazonaws.com", "eventName": "GetParameter",
            "requestParameters": {"name": "/a"}, "resources": [{"ARN": "arn:x",
            "accountId": "1"}], "awsRegion": "eu-west-1", "recipientAccountId": "111122223333",
            "eventID": "e"});
        let expected = Some((expected, RecordShape::QueryResult));
        assert_eq!(record_of(&row), expected);
        // As Parquet has it: structs, with the names of the table.
        let mut native = row.clone();
        native["useridentity"] = json!({"type": "AssumedRole", "principalid": "AROA:s",
            "arn": "arn:aws:sts::111122223333:assumed-role/app/s", "accountid": "111122223333",
            "invokedby": null, "accesskeyid": "ASIA1", "sessioncontext": {
            "attributes": {"mfaauthenticated": "false"}, "sessionissuer": {"type": "Role",
            "arn": "arn:aws:iam::111122223333:role/app"}}});
        native["resources"] = json!([{"arn": "arn:x", "accountid": "1", "type": null}]);
        assert_eq!(record_of(&native), expected);
    }

    #[test]
    fn a_row_of_sentinel_and_one_of_the_event_history_are_records() {
        let sentinel = json!({"TimeGenerated [UTC]": "21/04/2026, 09:45:54.000", "AwsEventId": "e",
            "EventSource": "kms.amazonaws.com", "EventName": "Decrypt", "AWSRegion": "eu-west-1",
            "UserIdentityType": "Root", "UserIdentityArn": "a", "SessionIssuerArn": "r",
            "RequestParameters": "{\"encryptionContext\":{\"SecretARN\":\"s\"}}"});
        let (record, shape) = record_of(&sentinel).unwrap();
        assert_eq!(shape, RecordShape::Sentinel);
        assert_eq!(record["eventTime"], "2026-04-21 09:45:54.000 UTC");
        assert_eq!(
            record["userIdentity"]["sessionContext"]["sessionIssuer"]["arn"],
            "r"
        );
        assert_eq!(
            record["requestParameters"]["encryptionContext"]["SecretARN"],
            "s"
        );
        let history = json!({"User name": "u", "AWS access key": "k",
            "Event time": "2026-03-02T10:00:00Z", "Event source": "ssm.amazonaws.com",
            "Event name": "GetParameter", "Event ID": "e", "Resources": "[]"});
        let (record, shape) = record_of(&history).unwrap();
        assert_eq!(shape, RecordShape::EventHistory);
        assert_eq!(
            record["userIdentity"],
            json!({"userName": "u", "accessKeyId": "k"})
        );
    }

    #[test]
    fn the_event_history_names_the_secret_among_its_resources() {
        let row = |api: &str, more: Value| {
            let mut row = json!({"User name": "u", "Event time": "2026-03-02T10:00:00Z",
                "Event source": "x.amazonaws.com", "Event name": api, "Event ID": "e"});
            row.as_object_mut()
                .unwrap()
                .extend(more.as_object().unwrap().clone());
            record_of(&row).unwrap().0["requestParameters"].clone()
        };
        let listed = json!({"Resources": "[{\"resourceType\":\"AWS::KMS::Key\",\
            \"resourceName\":\"k\"},{\"resourceType\":\"AWS::SecretsManager::Secret\",\
            \"resourceName\":\"prod/db\"}]"});
        assert_eq!(
            row("GetSecretValue", listed.clone()),
            json!({"secretId": "prod/db"})
        );
        let columns = json!({"Resource type": "AWS::SSM::Parameter", "Resource name": "/a"});
        assert_eq!(
            row("GetParameter", columns),
            json!({"name": "/a", "withDecryption": true})
        );
        assert_eq!(row("PutSecretValue", listed), Value::Null);
    }

    #[test]
    fn a_column_may_be_a_part_of_the_caller() {
        let row = json!({"eventtime": "2026-03-02T10:00:00Z", "eventname": "Decrypt",
            "eventsource": "kms.amazonaws.com", "arn": "a", "accountid": "1", "principalid": "p",
            "invokedby": "s"});
        let expected = json!({"arn": "a", "principalId": "p", "invokedBy": "s"});
        let (record, _) = record_of(&row).unwrap();
        assert_eq!(record["userIdentity"], expected);
        assert_eq!(record["recipientAccountId"], "1");
    }

    #[test]
    fn what_does_not_say_what_happened_is_no_row() {
        for other in [
            json!({"eventname": "x", "eventsource": "y"}),
            json!({"eventname": "x", "eventtime": "y"}),
            json!({"a": 1}),
        ] {
            assert_eq!(record_of(&other), None, "{other}");
        }
    }

    #[test]
    fn a_date_of_a_spreadsheet_is_read_where_its_order_shows() {
        for (text, expected) in [
            ("21/04/2026, 09:45:54", Some("2026-04-21 09:45:54 UTC")),
            ("4/21/2026, 9:45:54", Some("2026-04-21 9:45:54 UTC")),
            ("5/5/2026 09:45:54", Some("2026-05-05 09:45:54 UTC")),
            ("4/5/2026, 09:45:54", None),
            (
                "4/5/2026, 9:45:54.000 AM",
                Some("2026-04-05 09:45:54.000 UTC"),
            ),
            ("3/2/2026, 12:00:01 am", Some("2026-03-02 00:00:01 UTC")),
            ("3/2/2026, 12:00:01 PM", Some("2026-03-02 12:00:01 UTC")),
            ("3/2/2026, 13:00:01 PM", None),
            ("2026-04-05T09:45:54Z", None),
            ("1/2/3/4, 5", None),
        ] {
            assert_eq!(of_spreadsheet(text).as_deref(), expected, "{text}");
        }
    }
}
