//! The forms in which records are found, and how many in each.

use std::fmt;

use serde::{Deserialize, Serialize};

/// The form in which a record was found: its outermost envelope.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RecordShape {
    /// `{"Records": […]}`, as CloudTrail delivers, and copies of it with other names for the list.
    Records,
    /// Records by themselves: JSON lines or an array.
    Plain,
    /// `Events[].CloudTrailEvent` of `aws cloudtrail lookup-events`.
    LookupEvents,
    /// `detail` of EventBridge events.
    EventBridge,
    /// `_source` of Elasticsearch and OpenSearch documents.
    Elasticsearch,
    /// `message` or `event.original` of Elastic Beats and other shippers.
    Beats,
    /// `event` of the Splunk HTTP Event Collector.
    SplunkHec,
    /// `result` or `_raw` of Splunk exports.
    Splunk,
    /// `attributes` of Datadog logs.
    Datadog,
    /// `data.aws` of Wazuh alerts.
    Wazuh,
    /// Panther rows: `p_*` fields beside those of the record.
    Panther,
    /// `logEvents[].message` or `events[].message` of CloudWatch Logs, and rows of Logs Insights.
    CloudWatchLogs,
    /// `eventJson` of CloudTrail Lake.
    Lake,
    /// Body of an SQS message.
    Sqs,
    /// Message of an SNS notification.
    Sns,
    /// JSON text that holds a record.
    Text,
    /// API Activity of OCSF, as in Security Lake.
    Ocsf,
    /// A row of Athena or CloudTrail Lake.
    QueryResult,
    /// A row of the console's event history.
    EventHistory,
    /// A row of Sentinel.
    Sentinel,
}

impl RecordShape {
    /// Every shape.
    pub const ALL: [Self; 20] = [
        Self::Records,
        Self::Plain,
        Self::LookupEvents,
        Self::EventBridge,
        Self::Elasticsearch,
        Self::Beats,
        Self::SplunkHec,
        Self::Splunk,
        Self::Datadog,
        Self::Wazuh,
        Self::Panther,
        Self::CloudWatchLogs,
        Self::Lake,
        Self::Sqs,
        Self::Sns,
        Self::Text,
        Self::Ocsf,
        Self::QueryResult,
        Self::EventHistory,
        Self::Sentinel,
    ];

    /// Rows of lakes and query results, from which a record is written; they may lack fields.
    pub const ROWS: [Self; 4] = [
        Self::Ocsf,
        Self::QueryResult,
        Self::EventHistory,
        Self::Sentinel,
    ];

    /// Whether it is one of [`Self::ROWS`].
    #[must_use]
    pub fn is_row(self) -> bool {
        Self::ROWS.contains(&self)
    }

    /// The name in reports.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Records => "Records",
            Self::Plain => "JSON",
            Self::LookupEvents => "lookup-events",
            Self::EventBridge => "EventBridge",
            Self::Elasticsearch => "Elasticsearch",
            Self::Beats => "Beats",
            Self::SplunkHec => "Splunk HEC",
            Self::Splunk => "Splunk",
            Self::Datadog => "Datadog",
            Self::Wazuh => "Wazuh",
            Self::Panther => "Panther",
            Self::CloudWatchLogs => "CloudWatch Logs",
            Self::Lake => "CloudTrail Lake",
            Self::Sqs => "SQS",
            Self::Sns => "SNS",
            Self::Text => "JSON text",
            Self::Ocsf => "OCSF",
            Self::QueryResult => "query result",
            Self::EventHistory => "event history",
            Self::Sentinel => "Sentinel",
        }
    }
}

impl fmt::Display for RecordShape {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Number of records by the form in which they were found.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ShapeCounts([u64; RecordShape::ALL.len()]);

impl ShapeCounts {
    /// Adds records of a form. An array, because this is done for every record of a log.
    #[inline]
    pub fn add(&mut self, shape: RecordShape, records: u64) {
        if let Some(count) = self.0.get_mut(shape as usize) {
            *count += records;
        }
    }

    /// Takes back one record of a form.
    pub fn remove(&mut self, shape: RecordShape) {
        if let Some(count) = self.0.get_mut(shape as usize) {
            *count = count.saturating_sub(1);
        }
    }

    /// The forms that occurred, with their counts.
    pub fn iter(&self) -> impl Iterator<Item = (RecordShape, u64)> + '_ {
        let counts = RecordShape::ALL.into_iter().zip(self.0);
        counts.filter(|(_, count)| *count > 0)
    }
}

impl FromIterator<(RecordShape, u64)> for ShapeCounts {
    fn from_iter<I: IntoIterator<Item = (RecordShape, u64)>>(counts: I) -> Self {
        let mut all = Self::default();
        counts
            .into_iter()
            .for_each(|(shape, count)| all.add(shape, count));
        all
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shapes_are_counted_in_the_order_of_the_list() {
        for (index, shape) in RecordShape::ALL.into_iter().enumerate() {
            assert_eq!(shape as usize, index, "{shape}");
        }
        let counts = [
            (RecordShape::Sns, 2),
            (RecordShape::Records, 1),
            (RecordShape::Sns, 1),
        ];
        let counts: ShapeCounts = counts.into_iter().collect();
        let counted: Vec<_> = counts.iter().collect();
        assert_eq!(counted, [(RecordShape::Records, 1), (RecordShape::Sns, 3)]);
    }
}
