//! One record: no text panics, and what is read does not depend on white space or on how a string is
//! escaped.

#![no_main]

use libfuzzer_sys::fuzz_target;
use secretrail_fuzz::{scan, scan_record};
use serde_json::Value;

/// The value as JSON with every letter of its strings escaped.
fn escaped(value: &Value, out: &mut String) {
    match value {
        Value::String(text) => string(text, out),
        Value::Array(items) => {
            out.push('[');
            for (index, item) in items.iter().enumerate() {
                out.push_str(if index == 0 { "" } else { " ,\n " });
                escaped(item, out);
            }
            out.push(']');
        }
        Value::Object(fields) => {
            out.push('{');
            for (index, (key, field)) in fields.iter().enumerate() {
                out.push_str(if index == 0 { "" } else { ", " });
                // Keys as they are: the prefilter searches for some of them.
                out.push_str(&Value::from(key.as_str()).to_string());
                out.push_str(" : ");
                escaped(field, out);
            }
            out.push('}');
        }
        other => out.push_str(&other.to_string()),
    }
}

fn string(text: &str, out: &mut String) {
    out.push('"');
    for unit in text.encode_utf16() {
        out.push_str(&format!("\\u{unit:04x}"));
    }
    out.push('"');
}

fuzz_target!(|text: &str| {
    let _ = scan_record(text);
    let Ok(value @ Value::Object(_)) = serde_json::from_str::<Value>(text) else {
        return;
    };
    // Without an id, a digest of the text identifies the record.
    if !value["eventID"].is_string() || value["eventID"] == "" {
        return;
    }
    // Keys that come twice are one in a value.
    let once = scan_record(&value.to_string());
    let mut other = String::new();
    escaped(&value, &mut other);
    assert_eq!(scan_record(&other).observations, once.observations);
    // An odd character in its service or call makes a record unreadable in a log file.
    let is_plain = |key: &str| {
        let text = value[key].as_str().unwrap_or_default();
        text.bytes().all(|byte| byte.is_ascii_graphic())
    };
    if !is_plain("eventSource") || !is_plain("eventName") {
        return;
    }
    // A record that is read alone is found in a log file as well.
    let log = format!("{{\"Records\":[{value}]}}");
    let scanned = scan(log.as_bytes());
    assert!(once.found().is_subset(&scanned.found()));
});
