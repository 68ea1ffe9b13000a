//! CloudTrail's own fields, which rules may use beside the derived ones.

use std::borrow::Cow;

use rsigma_eval::EventValue;

use crate::observation::EventHeader;

/// Top-level keys of a CloudTrail record (user guide, "CloudTrail record contents").
pub(super) const RECORD: &[&str] = &[
    "eventVersion",
    "userIdentity",
    "eventTime",
    "eventSource",
    "eventName",
    "awsRegion",
    "sourceIPAddress",
    "userAgent",
    "errorCode",
    "errorMessage",
    "requestParameters",
    "responseElements",
    "additionalEventData",
    "requestID",
    "eventID",
    "eventType",
    "apiVersion",
    "managementEvent",
    "readOnly",
    "resources",
    "recipientAccountId",
    "serviceEventDetails",
    "sharedEventID",
    "vpcEndpointId",
    "vpcEndpointAccountId",
    "eventCategory",
    "addendum",
    "sessionCredentialFromConsole",
    "eventContext",
    "edgeDeviceDetails",
    "tlsDetails",
    "insightDetails",
];

/// CloudTrail fields that every observation keeps, so that rules do not need the record for them.
const HELD: [(&str, Get); 2] = [
    ("awsRegion", |head| &head.region),
    ("eventName", |head| &head.api),
];

type Get = fn(&EventHeader) -> &str;

/// Looks up a CloudTrail field that every observation keeps. `None` for any other field, and when
/// the record lacks it.
#[must_use]
pub fn held<'a>(head: &'a EventHeader, name: &str) -> Option<EventValue<'a>> {
    let (_, get) = HELD.into_iter().find(|(held, _)| *held == name)?;
    Some(get(head))
        .filter(|value| !value.is_empty())
        .map(|value| EventValue::Str(Cow::Borrowed(value)))
}

/// Whether a field is one of CloudTrail's own, judged by its first segment.
#[must_use]
pub fn is_raw(name: &str) -> bool {
    let first = name.split(['.', '[']).next().unwrap_or_default();
    RECORD.contains(&first)
}

/// Whether a field must be copied from the record for the rules that use it.
#[must_use]
pub fn is_kept(name: &str) -> bool {
    is_raw(name) && !HELD.iter().any(|(held, _)| *held == name)
}
