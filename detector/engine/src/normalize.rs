//! Brings the JSON of one record into the form that CloudTrail documents: the one tolerant parse
//! behind typed fields and raw fields alike.
//!
//! Shippers and tables write objects as JSON text, times in their own form, and keys twice. What is
//! changed here is changed for every reader of the record.

use std::borrow::Cow;

use chrono::{DateTime, NaiveDateTime};

use crate::{
    document::JsonNode, ids::account_of_digits, repair::is_placeholder, shallow::text_of,
    time::EventTime,
};

/// A record in the documented form.
pub(crate) struct NormalRecord<'t> {
    /// The JSON text.
    pub(crate) text: Cow<'t, str>,
    /// Whether the JSON had to be repaired: see [`crate::repair`].
    pub(crate) is_repaired: bool,
    /// Number of fields with another type than documented, whose value is lost.
    pub(crate) mistyped: u64,
    /// Whether `eventTime` has no time zone, so that UTC is assumed.
    pub(crate) assumes_utc: bool,
}

/// Fields that hold an object or an array, and that tables hold as JSON text.
const NESTED: [&str; 6] = [
    "userIdentity",
    "requestParameters",
    "responseElements",
    "additionalEventData",
    "resources",
    "addendum",
];

/// Those of them, and of `userIdentity`, that hold an object.
const OBJECTS: [&str; 5] = [
    "userIdentity",
    "requestParameters",
    "addendum",
    "sessionContext",
    "onBehalfOf",
];

/// Fields of `userIdentity` that hold text.
const IDENTITY: [&str; 8] = [
    "type",
    "principalId",
    "arn",
    "accountId",
    "accessKeyId",
    "userName",
    "invokedBy",
    "identityProvider",
];

/// Fields that hold text, or another scalar.
const SCALARS: [&str; 14] = [
    "eventVersion",
    "eventTime",
    "eventSource",
    "eventName",
    "awsRegion",
    "sourceIPAddress",
    "userAgent",
    "errorCode",
    "errorMessage",
    "eventID",
    "sharedEventID",
    "recipientAccountId",
    "vpcEndpointId",
    "eventType",
];

/// Parses a record. `None` when its JSON is broken beyond repair, or no object.
pub(crate) fn normalized(unit: &[u8]) -> Option<NormalRecord<'_>> {
    match simdutf8::basic::from_utf8(unit).map(|text| (text, JsonNode::parse(text))) {
        Ok((text, Ok(mut node))) => {
            let changes = Changes::make(&mut node)?;
            let text = if changes.any {
                Cow::Owned(serde_json::to_string(&node).ok()?)
            } else {
                Cow::Borrowed(text)
            };
            Some(changes.of(text, false))
        }
        _ => {
            let mut node = JsonNode::repaired(unit)?;
            let changes = Changes::make(&mut node)?;
            let text = serde_json::to_string(&node).ok()?;
            Some(changes.of(Cow::Owned(text), true))
        }
    }
}

/// What was changed in a record.
#[derive(Default)]
struct Changes {
    any: bool,
    mistyped: u64,
    assumes_utc: bool,
}

impl Changes {
    /// Changes a record; `None` if it is no object.
    fn make(node: &mut JsonNode<'_>) -> Option<Self> {
        let mut changes = Self {
            any: keep_last_values(node),
            ..Self::default()
        };
        let JsonNode::Map(entries) = node else {
            return None;
        };
        for (key, value) in entries {
            changes.field(key, value);
        }
        Some(changes)
    }

    fn of(self, text: Cow<'_, str>, is_repaired: bool) -> NormalRecord<'_> {
        NormalRecord {
            text,
            is_repaired,
            mistyped: self.mistyped,
            assumes_utc: self.assumes_utc,
        }
    }

    /// Changes the value of a top-level field.
    fn field(&mut self, key: &str, value: &mut JsonNode<'_>) {
        if NESTED.contains(&key) {
            self.nested(value);
            if OBJECTS.contains(&key) {
                self.object(value);
            }
            match key {
                "requestParameters" => self.parameters(value),
                "userIdentity" => self.identity(value),
                "resources" if matches!(value, JsonNode::Map(_)) => {
                    *value = JsonNode::List(vec![std::mem::replace(value, JsonNode::Null)]);
                    self.any = true;
                }
                _ => {}
            }
        } else if SCALARS.contains(&key) {
            match key {
                _ if matches!(value, JsonNode::List(_) | JsonNode::Map(_)) => self.mistyped += 1,
                "eventTime" => self.time(value),
                "errorCode" | "errorMessage" => self.error(value),
                "recipientAccountId" => self.account(value),
                _ => {}
            }
        }
    }

    /// Takes away what stands for no error: a value that is no error would make a successful read a
    /// failed one.
    fn error(&mut self, value: &mut JsonNode<'_>) {
        let is_none = match value {
            JsonNode::Str(text) => is_placeholder(text),
            JsonNode::Bool(false) | JsonNode::Int(0) => true,
            JsonNode::Float(number) => *number == 0.0,
            _ => false,
        };
        if is_none {
            *value = JsonNode::Null;
            self.any = true;
        }
    }

    /// Gives an account id that was written as a number its zeros back. Of one that has lost more,
    /// nothing is left.
    fn account(&mut self, value: &mut JsonNode<'_>) {
        let text = match value {
            JsonNode::Int(number) => number.to_string(),
            JsonNode::Float(number) if *number < 1e12 => format!("{number:.0}"),
            JsonNode::Str(text) => text.to_string(),
            _ => return,
        };
        let text = text.strip_suffix(".0").unwrap_or(&text);
        if let Some(whole) = account_of_digits(text) {
            *value = JsonNode::Str(Cow::Owned(whole));
            self.any = true;
        } else if text.starts_with(|c: char| c.is_ascii_digit()) {
            *value = JsonNode::Null;
            self.any = true;
            self.mistyped += 1;
        }
    }

    /// Parses an object or array that is written as text.
    fn nested(&mut self, value: &mut JsonNode<'_>) {
        match value {
            JsonNode::Null | JsonNode::List(_) | JsonNode::Map(_) => {}
            JsonNode::Str(text) => {
                if let Some(inner) = parsed_text(text) {
                    *value = inner;
                    self.any = true;
                } else if !text.trim().is_empty() {
                    self.mistyped += 1;
                }
            }
            JsonNode::Bool(_) | JsonNode::Int(_) | JsonNode::Float(_) => self.mistyped += 1,
        }
    }

    /// Takes an object out of a list of one.
    fn object(&mut self, value: &mut JsonNode<'_>) {
        let JsonNode::List(items) = value else {
            return;
        };
        match items.as_mut_slice() {
            [JsonNode::Map(entries)] => {
                *value = JsonNode::Map(std::mem::take(entries));
                self.any = true;
            }
            _ => self.mistyped += 1,
        }
    }

    /// Looks at the fields of the caller: a field of another type must not pass for an absent one.
    fn identity(&mut self, value: &mut JsonNode<'_>) {
        let JsonNode::Map(entries) = value else {
            return;
        };
        for (key, value) in entries {
            if OBJECTS.contains(&&**key) {
                self.nested(value);
                self.object(value);
            } else if IDENTITY.contains(&&**key) {
                self.text(value, key == "type");
                if key == "accountId" {
                    self.account(value);
                }
            }
        }
    }

    /// Takes a text out of a list of one. A kind of caller is never a number.
    fn text(&mut self, value: &mut JsonNode<'_>, is_word: bool) {
        match value {
            JsonNode::List(items) if items.len() == 1 => {
                if let Some(one) = items.pop() {
                    *value = one;
                    self.any = true;
                }
            }
            JsonNode::List(_) | JsonNode::Map(_) => self.mistyped += 1,
            JsonNode::Bool(_) | JsonNode::Int(_) | JsonNode::Float(_) if is_word => {
                self.mistyped += 1;
            }
            _ => {}
        }
    }

    /// Takes the name of a secret out of a list of one.
    fn parameters(&mut self, value: &mut JsonNode<'_>) {
        let JsonNode::Map(entries) = value else {
            return;
        };
        for (key, value) in entries {
            match &**key {
                "secretId" | "name" | "path" => self.text(value, false),
                "secretIdList" | "names" => self.texts(value),
                "encryptionContext" => {
                    self.nested(value);
                    self.object(value);
                    self.context(value);
                }
                _ => {}
            }
        }
    }

    /// Makes a list of names of one that is written alone, or as text.
    fn texts(&mut self, value: &mut JsonNode<'_>) {
        if let JsonNode::Str(text) = value {
            let list = parsed_text(text).filter(|inner| matches!(inner, JsonNode::List(_)));
            let one = || JsonNode::List(vec![JsonNode::Str(Cow::Owned(text.to_string()))]);
            *value = list.unwrap_or_else(one);
            self.any = true;
        } else if !matches!(value, JsonNode::Null | JsonNode::List(_)) {
            self.mistyped += 1;
        }
    }

    /// Takes the names of secrets in an encryption context out of lists of one.
    fn context(&mut self, value: &mut JsonNode<'_>) {
        let JsonNode::Map(entries) = value else {
            return;
        };
        for (_, value) in entries {
            self.text(value, false);
        }
    }

    /// The time that a text is in another form; an odd character in it counts for nothing.
    fn written_time(&mut self, text: &str) -> Option<EventTime> {
        let text: String = text.chars().filter(|c| matches!(c, ' '..='~')).collect();
        if let Ok(number) = text.parse() {
            return since_epoch(number);
        }
        let (time, assumes_utc) = match EventTime::parse(&text) {
            Some(time) => (time, false),
            None => of_database(&text)?,
        };
        self.assumes_utc |= assumes_utc;
        Some(time)
    }

    /// Writes `eventTime` as CloudTrail does, if it is a time in another form.
    fn time(&mut self, value: &mut JsonNode<'_>) {
        let time = match value {
            JsonNode::Int(number) => since_epoch(*number),
            JsonNode::Float(number) => since_epoch(*number as i64),
            JsonNode::Str(text) if EventTime::parse(text).is_none() => self.written_time(text),
            _ => None,
        };
        if let Some(time) = time {
            *value = JsonNode::Str(Cow::Owned(time.to_string()));
            self.any = true;
        }
    }
}

/// The time in a value of `eventTime` in any form that records are read in; `None` for any other.
pub(crate) fn time_of(value: &[u8]) -> Option<EventTime> {
    let text = match text_of(value) {
        Some(text) => text,
        None => std::str::from_utf8(value.trim_ascii()).ok()?.into(),
    };
    EventTime::parse(&text).or_else(|| {
        let number = text.parse::<f64>().ok().map(|number| number as i64);
        number.map_or_else(|| Changes::default().written_time(&text), since_epoch)
    })
}

/// The object or array that a text holds; `None` for any other text.
fn parsed_text(text: &str) -> Option<JsonNode<'static>> {
    // Some shippers write it as text twice.
    if text.trim_start().starts_with("\"{") || text.trim_start().starts_with("\"[") {
        let inner = serde_json::from_str::<String>(text).ok()?;
        return parsed_text(&inner).filter(|_| !inner.starts_with('"'));
    }
    if !text.trim_start().starts_with(['{', '[']) {
        return None;
    }
    let sound = JsonNode::parse(text).ok().map(JsonNode::into_owned);
    let mut node = sound.or_else(|| JsonNode::repaired(text.as_bytes()))?;
    keep_last_values(&mut node);
    Some(node)
}

/// Seconds, or milliseconds, since 1970. Seconds reach this limit in the year 5138; milliseconds
/// passed it in 1973, before there was CloudTrail.
fn since_epoch(number: i64) -> Option<EventTime> {
    const LEAST_MILLIS: i64 = 100_000_000_000;
    (number > 0).then_some(EventTime(if number < LEAST_MILLIS {
        number
    } else {
        number / 1_000
    }))
}

/// Whether a date and time begin with all their digits: of a text that has lost one, another time
/// would be read.
fn has_all_digits(text: &str) -> bool {
    const FORM: &[u8] = b"dddd-dd-dd dd:dd:dd";
    let form = FORM.iter().zip(text.bytes());
    text.len() >= FORM.len()
        && form.into_iter().all(|(form, byte)| match form {
            b'd' => byte.is_ascii_digit(),
            b' ' => matches!(byte, b' ' | b'T' | b't'),
            other => *other == byte,
        })
}

/// A date and time as databases print it, and whether it has no time zone.
fn of_database(text: &str) -> Option<(EventTime, bool)> {
    let text = text.trim();
    if !has_all_digits(text) {
        return None;
    }
    let with_zone = ["%Y-%m-%d %H:%M:%S%.f %z", "%Y-%m-%dT%H:%M:%S%.f%z"];
    let zoned = with_zone
        .iter()
        .find_map(|form| DateTime::parse_from_str(text, form).ok());
    if let Some(time) = zoned {
        return Some((EventTime(time.timestamp()), false));
    }
    let in_utc = text.strip_suffix("UTC").or_else(|| text.strip_suffix('Z'));
    let forms = ["%Y-%m-%d %H:%M:%S%.f", "%Y-%m-%dT%H:%M:%S%.f"];
    let naive = in_utc.unwrap_or(text).trim_end();
    let time = forms
        .iter()
        .find_map(|form| NaiveDateTime::parse_from_str(naive, form).ok())?;
    Some((EventTime(time.and_utc().timestamp()), in_utc.is_none()))
}

/// Keeps the last value of each key that an object has twice, at any depth; whether there was one.
fn keep_last_values(node: &mut JsonNode<'_>) -> bool {
    match node {
        // Not `any`, which would stop at the first and leave the rest unchanged.
        JsonNode::List(items) => items
            .iter_mut()
            .fold(false, |any, item| keep_last_values(item) | any),
        JsonNode::Map(entries) => {
            let any = entries
                .iter_mut()
                .fold(false, |any, (_, value)| keep_last_values(value) | any);
            if !has_repeated_key(entries) {
                return any;
            }
            // A caller could write a key twice to show one value to this scan and another to a
            // later reader.
            let mut seen = ahash::HashSet::default();
            let mut kept = Vec::with_capacity(entries.len());
            while let Some((key, value)) = entries.pop() {
                if seen.insert(key.clone()) {
                    kept.push((key, value));
                }
            }
            kept.reverse();
            *entries = kept;
            true
        }
        _ => false,
    }
}

fn has_repeated_key(entries: &[(Cow<'_, str>, JsonNode<'_>)]) -> bool {
    // Nearly all objects are small, and then comparing is faster than hashing.
    if entries.len() <= 32 {
        let mut rest = entries;
        while let [(key, _), more @ ..] = rest {
            if more.iter().any(|(other, _)| other == key) {
                return true;
            }
            rest = more;
        }
        return false;
    }
    let mut seen = ahash::HashSet::default();
    !entries.iter().all(|(key, _)| seen.insert(key))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn check(text: &str, expected: &Value) -> NormalRecord<'static> {
        let record = normalized(text.as_bytes()).unwrap();
        let value: Value = serde_json::from_str(&record.text).unwrap();
        assert_eq!(&value, expected, "{text}");
        NormalRecord {
            text: Cow::Owned(record.text.into_owned()),
            ..record
        }
    }

    #[test]
    fn what_stands_for_no_error_is_none() {
        for word in [
            "\"NaN\"",
            "NaN",
            "\"None\"",
            "\"null\"",
            "\" \"",
            "\"-\"",
            "\"N/A\"",
            "\"undefined\"",
            "false",
            "0",
            "0.0",
        ] {
            let text = format!(r#"{{"errorCode":{word},"errorMessage":{word}}}"#);
            check(&text, &json!({"errorCode": null, "errorMessage": null}));
        }
        let denied = json!({"errorCode": "AccessDenied", "errorMessage": "no-one may"});
        check(&denied.to_string(), &denied);
    }

    #[test]
    fn an_account_that_was_a_number_has_its_zeros() {
        let of = |value: &str| {
            let text = format!(
                r#"{{"recipientAccountId":{value},"userIdentity":{{"accountId":{value}}}}}"#
            );
            let record = normalized(text.as_bytes()).unwrap();
            let value: Value = serde_json::from_str(&record.text).unwrap();
            assert_eq!(
                value["recipientAccountId"],
                value["userIdentity"]["accountId"]
            );
            (value["recipientAccountId"].clone(), record.mistyped)
        };
        let whole = json!("011122223333");
        for value in [
            "11122223333",
            "\"11122223333\"",
            "11122223333.0",
            "\"11122223333.0\"",
        ] {
            assert_eq!(of(value), (whole.clone(), 0), "{value}");
        }
        assert_eq!(of("\"111122223333\""), (json!("111122223333"), 0));
        assert_eq!(of("\"1.11122E+11\""), (Value::Null, 2));
        assert_eq!(of("\"anonymous\""), (json!("anonymous"), 0));
    }

    #[test]
    fn a_record_in_the_documented_form_stays_as_it_is() {
        let text = r#"{"eventTime":"2026-03-02T10:00:00Z", "userIdentity":null,"resources":[]}"#;
        let record = normalized(text.as_bytes()).unwrap();
        assert!(matches!(record.text, Cow::Borrowed(same) if same == text));
        assert!(!record.is_repaired && record.mistyped == 0 && !record.assumes_utc);
    }

    #[test]
    fn objects_written_as_text_are_parsed() {
        let text = r#"{"requestParameters":"{\"secretId\":[\"a\"]}","userIdentity":"{\"a\":1e999}",
                      "resources":"[]","responseElements":"null","userAgent":"{}"}"#;
        let record = check(
            text,
            &json!({"requestParameters": {"secretId": "a"}, "userIdentity": {"a": "1e999"},
                    "resources": [], "responseElements": "null", "userAgent": "{}"}),
        );
        assert_eq!((record.is_repaired, record.mistyped), (false, 1));
    }

    #[test]
    fn times_of_databases_and_epochs_are_written_as_cloudtrail_does() {
        let time = |value: Value| {
            let text = json!({"eventTime": value}).to_string();
            let record = normalized(text.as_bytes()).unwrap();
            let value: Value = serde_json::from_str(&record.text).unwrap();
            (
                value["eventTime"].as_str().map(str::to_owned),
                record.assumes_utc,
            )
        };
        let ten = Some("2026-03-02T10:00:00Z".to_owned());
        for (value, assumes_utc) in [
            (json!("2026-03-02T10:00:00Z"), false),
            (json!("2026-03-02 10:00:00"), true),
            (json!("2026-03-02 10:00:00.000000000"), true),
            (json!("2026-03-02T10:00:00.5"), true),
            (json!("2026-03-02 10:00:00.000 UTC"), false),
            (json!("2026-03-02 11:00:00 +0100"), false),
            (json!("2026-03-02T11:00:00+0100"), false),
            (json!(1_772_445_600), false),
            (json!(1_772_445_600_123_i64), false),
            (json!(1_772_445_600.5), false),
            (json!("1772445600000"), false),
        ] {
            assert_eq!(time(value.clone()), (ten.clone(), assumes_utc), "{value}");
        }
        // With an offset it is a time already, and stays as it is written.
        assert_eq!(
            time(json!("2026-03-02T11:00:00.5+01:00")).0.unwrap().len(),
            27
        );
        assert_eq!(time(json!("soon")), (Some("soon".to_owned()), false));
        assert_eq!(time(json!(0)), (None, false));
    }

    #[test]
    fn the_last_value_of_a_repeated_key_counts_at_any_depth() {
        check(
            r#"{"a":1,"b":[{"c":1,"c":2}],"a":{"d":1,"d":3}}"#,
            &json!({"b": [{"c": 2}], "a": {"d": 3}}),
        );
        let many: String = (0..40).map(|n| format!("\"k{}\":{n},", n % 39)).collect();
        let text = format!("{{{many}\"z\":0}}");
        let record = normalized(text.as_bytes()).unwrap();
        let value: Value = serde_json::from_str(&record.text).unwrap();
        assert_eq!(value["k0"], 39);
    }

    #[test]
    fn an_odd_character_in_a_time_does_not_cost_the_record() {
        let unit = br#"{"eventTime":"2026-03-02T10:00:00Z\ud800"}"#;
        let record = normalized(unit).unwrap();
        assert_eq!(record.text, r#"{"eventTime":"2026-03-02T10:00:00Z"}"#);
        assert!(record.is_repaired && !record.assumes_utc);
        // Where it stands for a digit, what is left would be another time.
        for odd in [r"2026-03-02T1\ud800:00:00Z", r"202\ud800-03-02T10:00:00Z"] {
            assert_eq!(time_of(format!("\"{odd}\"").as_bytes()), None, "{odd}");
        }
    }

    #[test]
    fn the_caller_is_taken_out_of_a_list_and_odd_fields_of_it_are_counted() {
        let changed = |identity: &str| {
            let text = format!("{{\"userIdentity\":{identity}}}");
            let record = normalized(text.as_bytes()).unwrap();
            (record.text.into_owned(), record.mistyped)
        };
        let root = "{\"userIdentity\":{\"type\":\"Root\"}}".to_owned();
        for identity in ["[{\"type\":\"Root\"}]", "{\"type\":[\"Root\"]}"] {
            assert_eq!(changed(identity), (root.clone(), 0), "{identity}");
        }
        for identity in [
            "[{},{}]",
            "{\"type\":1}",
            "{\"arn\":{}}",
            "{\"sessionContext\":\"junk\"}",
            "{\"sessionContext\":[]}",
        ] {
            assert_eq!(changed(identity).1, 1, "{identity}");
        }
    }

    #[test]
    fn fields_of_another_type_are_counted() {
        let record = check(
            r#"{"eventID":{"a":1},"userIdentity":5,"errorCode":true,"requestParameters":{"secretId":{}}}"#,
            &json!({"eventID": {"a": 1}, "userIdentity": 5, "errorCode": true,
                    "requestParameters": {"secretId": {}}}),
        );
        assert_eq!(record.mistyped, 3);
    }

    #[test]
    fn broken_json_is_repaired_or_refused() {
        let record = check(
            r#"{"userAgent":"\ud800","n":1e999}"#,
            &json!({"userAgent": "\u{fffd}", "n": "1e999"}),
        );
        assert!(record.is_repaired);
        assert!(normalized(b"{\"a\" 1}").is_none() && normalized(b"[1]").is_none());
    }
}
