//! In which form an alert is stored, and whether it still is.

use aws_sdk_dynamodb::types::builders::PutBuilder;
use secretrail_engine::time::EventTime;

use crate::dynamodb::{
    item::{Attributes, number, number_of, text, text_of},
    outbox::CREATED,
};

/// `Alert::time` and `Alert::extent`.
pub(super) const EVENT_TIME: &str = "event_time";
pub(super) const EXTENT: &str = "extent";
/// Digest of the content.
pub(super) const FORM: &str = "form";

/// An alert that stands as it was read.
const IS_UNCHANGED: &str =
    "form = :form AND created = :created AND attribute_not_exists(withdrawn)";
/// The same of one that an earlier version has written.
const IS_UNCHANGED_SINCE: &str = "attribute_not_exists(form) AND extent = :extent \
     AND event_time = :time AND created = :created AND attribute_not_exists(withdrawn)";
/// What became of an alert.
#[derive(Clone)]
pub(super) struct AlertStanding {
    /// Whether it was created as a provisional one.
    pub(super) provisional: bool,
    pub(super) withdrawn: bool,
    /// `None` of an alert that an earlier version has created.
    pub(super) form: Option<StoredForm>,
    pub(super) item: Attributes,
}

/// What is known of the form in which an alert is stored.
#[derive(Clone)]
pub(super) struct StoredForm {
    pub(super) created: EventTime,
    /// `Alert::time`.
    pub(super) time: EventTime,
    /// `Alert::extent`.
    pub(super) extent: String,
    /// Digest of the content; `None` of one that an earlier version has written.
    pub(super) digest: Option<String>,
}

impl StoredForm {
    pub(super) fn of(item: &Attributes) -> Option<Self> {
        Some(Self {
            created: EventTime(number_of(item, CREATED)?),
            time: EventTime(number_of(item, EVENT_TIME)?),
            extent: text_of(item, EXTENT)?.to_owned(),
            digest: text_of(item, FORM).map(str::to_owned),
        })
    }

    /// A write that is made only if the alert stands in this form.
    pub(super) fn unchanged(&self, put: PutBuilder) -> PutBuilder {
        let put = put.expression_attribute_values(":created", number(self.created.0));
        match &self.digest {
            Some(digest) => put
                .condition_expression(IS_UNCHANGED)
                .expression_attribute_values(":form", text(digest)),
            None => put
                .condition_expression(IS_UNCHANGED_SINCE)
                .expression_attribute_values(":extent", text(&self.extent))
                .expression_attribute_values(":time", number(self.time.0)),
        }
    }
}
