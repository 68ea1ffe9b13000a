//! The example logs, and their records as lakes hold them.

use std::path::{Path, PathBuf};

use secretrail_engine::{scan::records, time::EventTime};
use serde_json::{Map, Value, json};

const LOGS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../examples/logs");

/// All records of the example logs.
///
/// # Panics
///
/// They cannot be read.
#[must_use]
pub fn examples() -> Vec<Value> {
    fn files(folder: &Path, found: &mut Vec<PathBuf>) {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                files(&path, found);
            } else if !path.to_string_lossy().contains("Digest") {
                found.push(path);
            }
        }
    }
    let mut found = Vec::new();
    files(Path::new(LOGS), &mut found);
    found.sort();
    let texts = found
        .iter()
        .flat_map(|path| records(&std::fs::read(path).unwrap()).unwrap());
    texts
        .map(|text| serde_json::from_str(&text).unwrap())
        .collect()
}

/// Names with dots and values of everything in a value.
fn flattened(name: &str, value: &Value, flat: &mut Map<String, Value>) {
    match value {
        Value::Null => {}
        Value::Object(fields) => {
            for (field, value) in fields {
                flattened(&format!("{name}.{field}"), value, flat);
            }
        }
        Value::Array(items) => {
            for item in items {
                let mut inner = Map::new();
                flattened(&format!("{name}[]"), item, &mut inner);
                for (name, value) in inner {
                    let text = value.as_str().unwrap().to_owned();
                    match flat.get_mut(&name) {
                        Some(Value::String(known)) => *known = format!("{known},{text}"),
                        _ => drop(flat.insert(name, json!(text))),
                    }
                }
            }
        }
        Value::String(text) => drop(flat.insert(name.to_owned(), json!(text))),
        other => drop(flat.insert(name.to_owned(), json!(other.to_string()))),
    }
}

/// A record as Security Lake writes it in this version of OCSF.
///
/// # Panics
///
/// It has no time.
#[must_use]
pub fn ocsf(record: &Value, version: &str) -> Value {
    let identity = &record["userIdentity"];
    let issuer = &identity["sessionContext"]["sessionIssuer"];
    let is_first = version == "1.0.0-rc.2";
    let (arn, id) = if is_first {
        ("uuid", "uid")
    } else {
        ("uid", "uid_alt")
    };
    let address = record["sourceIPAddress"].as_str().unwrap_or_default();
    let is_address = address.parse::<std::net::IpAddr>().is_ok();
    let mut user = json!({"type": identity["type"], "name": identity["userName"],
        "credential_uid": identity["accessKeyId"]});
    user[arn] = identity["arn"].clone();
    user[id] = identity["principalId"].clone();
    if is_first {
        user["account_uid"] = identity["accountId"].clone();
    } else {
        user["account"] = json!({"uid": identity["accountId"]});
    }
    let mut event = json!({
        "class_uid": if is_first { 3005 } else { 6003 },
        "metadata": {"version": version, "uid": record["eventID"], "product": {
            "name": "CloudTrail", "vendor_name": "AWS", "version": record["eventVersion"],
            "feature": {"name": record["eventCategory"]}}},
        "time": EventTime::parse(record["eventTime"].as_str().unwrap()).unwrap().0 * 1_000,
        "cloud": {"region": record["awsRegion"], "provider": "AWS"},
        "api": {"operation": record["eventName"], "service": {"name": record["eventSource"]},
            "request": {"uid": record["requestID"]},
            "response": {"error": record["errorCode"], "message": record["errorMessage"]}},
        "actor": {"user": user, "session": {"issuer": issuer["arn"]}, "idp": {},
            "invoked_by": identity["invokedBy"]},
        "src_endpoint": {"uid": record["vpcEndpointId"],
            (if is_address { "ip" } else { "domain" }): address},
        "http_request": {"user_agent": record["userAgent"]},
    });
    let resources = record["resources"].as_array().cloned().unwrap_or_default();
    event["resources"] = resources
        .iter()
        .map(|resource| {
            json!({"uid": resource["ARN"], "type": resource["type"],
                "account_uid": resource["accountId"]})
        })
        .collect();
    let mut unmapped = Map::new();
    let mut rest = vec!["sharedEventID", "readOnly", "managementEvent", "addendum"];
    if is_first {
        rest.extend(["recipientAccountId", "eventType", "requestParameters"]);
    } else {
        event["metadata"]["event_code"] = record["eventType"].clone();
        let data = record["requestParameters"].to_string();
        event["api"]["request"]["data"] = json!(data);
        if version == "1.5.0" {
            event["cloud"]["account"] = json!({"uid": record["recipientAccountId"]});
        } else {
            rest.push("recipientAccountId");
        }
    }
    for name in rest {
        flattened(name, &record[name], &mut unmapped);
    }
    let context = &identity["sessionContext"];
    flattened("userIdentity.sessionContext", context, &mut unmapped);
    event["unmapped"] = Value::Object(unmapped);
    event
}
