//! The parts of an object in which records may be: envelopes by their keys, and lists.

use ahash::{HashMap, HashSet};

use crate::{record_shape::RecordShape, shallow::TopLevel};

/// Part of an envelope in which records may be.
pub(super) struct InnerValue<'v> {
    pub(super) value: &'v [u8],
    /// A key in it whose value is another part: it is searched there.
    pub(super) without: Option<&'static str>,
    /// The envelope; `None` for a list under a common name.
    pub(super) shape: Option<RecordShape>,
}

/// Keys of lists of records, in lower case: the splitter splits those at the top level of an
/// object. A list is no envelope of its own.
pub(crate) const LISTS: [&str; 8] = [
    "records",
    "tables",
    "events",
    "data",
    "logevents",
    "queryresultrows",
    "results",
    "messages",
];

/// Keys of lists beside which there may be records, too, so that they are not split at once.
const OTHER_LISTS: [&str; 3] = ["hits", "rows", "logs"];

/// Envelopes by the path of keys to what they hold. More specific ones come first: shippers hold
/// a record twice, parsed and as text, and the first that gives one counts.
const ENVELOPES: [(&[&str], RecordShape); 27] = [
    (&["CloudTrailEvent"], RecordShape::LookupEvents),
    (&["cloudtrailevent"], RecordShape::LookupEvents),
    (&["eventJson"], RecordShape::Lake),
    (&["eventjson"], RecordShape::Lake),
    (&["detail"], RecordShape::EventBridge),
    (&["_source"], RecordShape::Elasticsearch),
    (&["hits", "hits"], RecordShape::Elasticsearch),
    (&["data", "aws"], RecordShape::Wazuh),
    (&["content", "attributes"], RecordShape::Datadog),
    (&["attributes", "attributes"], RecordShape::Datadog),
    (&["attributes"], RecordShape::Datadog),
    (&["logEvents"], RecordShape::CloudWatchLogs),
    (&["result", "_raw"], RecordShape::Splunk),
    (&["result"], RecordShape::Splunk),
    (&["_raw"], RecordShape::Splunk),
    (&["event", "original"], RecordShape::Beats),
    (&["event"], RecordShape::SplunkHec),
    (&["event.original"], RecordShape::Beats),
    (&["@message"], RecordShape::CloudWatchLogs),
    (&["Sns", "Message"], RecordShape::Sns),
    (&["Message"], RecordShape::Sns),
    (&["Body"], RecordShape::Sqs),
    (&["body"], RecordShape::Sqs),
    (&["message"], RecordShape::Beats),
    (&["content"], RecordShape::Datadog),
    (&["fields"], RecordShape::Elasticsearch),
    (&["log"], RecordShape::Beats),
];

/// The parts of an object in which records may be, the likeliest first. None is part of another.
pub(super) fn inner_values<'v>(top: &TopLevel<'v>) -> Vec<InnerValue<'v>> {
    let mut inner: Vec<InnerValue<'v>> = Vec::new();
    // A row of Logs Insights: one object for each column.
    if top.text("field").as_deref() == Some("@message") {
        inner.extend(top.get("value").map(|value| InnerValue {
            value,
            without: None,
            shape: Some(RecordShape::CloudWatchLogs),
        }));
    }
    let mut around = Around::default();
    for (path, shape) in ENVELOPES {
        inner.extend(part_at(path, shape_of(shape, top), top, &mut around));
    }
    let mut searched: HashSet<*const u8> = inner.iter().map(|part| part.value.as_ptr()).collect();
    for (key, value) in top.iter() {
        let without = around.remove(&value.as_ptr());
        let name = key.to_lowercase();
        // Writers of exports differ in the case of these names.
        let is_list = LISTS.contains(&&*name) || OTHER_LISTS.contains(&&*name);
        if (is_list || without.is_some()) && searched.insert(value.as_ptr()) {
            let shape = (key == "Records").then_some(RecordShape::Records);
            inner.push(InnerValue {
                value,
                without,
                shape,
            });
        }
    }
    inner
}

/// Values around parts that are searched by themselves, by where they begin, and the keys of these
/// parts: the rest of such a value is another part.
type Around = HashMap<*const u8, &'static str>;

/// The part of an object at a path of keys.
fn part_at<'v>(
    path: &[&'static str],
    shape: RecordShape,
    top: &TopLevel<'v>,
    around: &mut Around,
) -> Option<InnerValue<'v>> {
    let (key, next) = (path.first()?, path.get(1));
    let value = top.get(key)?;
    let Some(next) = next else {
        return Some(InnerValue {
            value,
            without: around.remove(&value.as_ptr()),
            shape: Some(shape),
        });
    };
    let part = TopLevel::of(value).get(next)?;
    around.insert(value.as_ptr(), next);
    Some(InnerValue {
        value: part,
        without: None,
        shape: Some(shape),
    })
}

/// `message` is also the text of an event of CloudWatch Logs, which has a time in milliseconds.
fn shape_of(shape: RecordShape, top: &TopLevel<'_>) -> RecordShape {
    let is_log_event = shape == RecordShape::Beats && top.get("timestamp").is_some();
    if is_log_event && top.get("@timestamp").is_none() {
        RecordShape::CloudWatchLogs
    } else {
        shape
    }
}
