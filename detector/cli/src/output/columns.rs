//! The columns of the ledger, shared by all output formats with columns.

use secretrail_engine::{access::Access, time::EventTime};

/// The value of a cell.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CellValue<'a> {
    /// A time in UTC.
    Time(EventTime),
    /// A text; `None` if unknown.
    Text(Option<&'a str>),
    /// A boolean.
    Flag(bool),
    /// A number; `None` if unknown.
    Number(Option<i64>),
}

/// A column: its name, which is the path in the ledger's JSON, and its value for an access.
pub type Column = (&'static str, fn(&Access) -> CellValue<'_>);

/// The columns of the ledger, in the order of the output.
pub const ACCESS: &[Column] = &[
    ("time", |a| CellValue::Time(a.head.time)),
    ("event_id", |a| text(&a.head.event_id)),
    ("api", |a| text(&a.head.api)),
    ("method", |a| text(a.method.as_str())),
    ("account", |a| text(&a.head.account)),
    ("region", |a| text(&a.head.region)),
    ("secret.store", |a| text(a.secret.store.as_str())),
    ("secret.arn", |a| CellValue::Text(a.secret.arn.as_deref())),
    ("secret.name", |a| CellValue::Text(a.secret.name.as_deref())),
    ("secret.version_id", |a| {
        CellValue::Text(a.secret.version_id.as_deref())
    }),
    ("secret.version_stage", |a| {
        CellValue::Text(a.secret.version_stage.as_deref())
    }),
    ("principal.arn", |a| {
        CellValue::Text(a.head.principal.id.as_deref())
    }),
    ("principal.actor", |a| {
        CellValue::Text(a.head.principal.actor.as_deref())
    }),
    ("principal.type", |a| {
        CellValue::Text(a.head.principal.identity_type.as_deref())
    }),
    ("principal.kind", |a| text(a.head.principal.kind.as_str())),
    ("principal.account", |a| {
        CellValue::Text(a.head.principal.account.as_deref())
    }),
    ("principal.via", |a| {
        CellValue::Text(a.head.principal.via.as_deref())
    }),
    ("principal.console", |a| {
        CellValue::Flag(a.head.principal.console)
    }),
    ("principal.access_key_id", |a| {
        CellValue::Text(a.head.access_key_id.as_deref())
    }),
    ("source.ip", |a| {
        CellValue::Text(a.head.source.ip.as_deref())
    }),
    ("source.kind", |a| text(a.head.source.kind.as_str())),
    ("source.user_agent", |a| {
        CellValue::Text(a.head.source.user_agent.as_deref())
    }),
    ("source.vpc_endpoint", |a| {
        CellValue::Text(a.head.source.vpc_endpoint.as_deref())
    }),
    ("source.country", |a| {
        CellValue::Text(a.head.source.geo.country.as_deref())
    }),
    ("source.asn", |a| {
        CellValue::Number(a.head.source.geo.asn.map(i64::from))
    }),
    ("source.as_org", |a| {
        CellValue::Text(a.head.source.geo.as_org.as_deref())
    }),
    ("outcome", |a| text(a.head.outcome.as_str())),
    ("denied_by", |a| {
        CellValue::Text(a.head.denied_by.as_deref())
    }),
    ("error_code", |a| {
        CellValue::Text(a.head.error_code.as_deref())
    }),
    ("cross_account", |a| CellValue::Flag(a.cross_account())),
    ("decrypt.status", |a| text(a.decrypt.status.as_str())),
    ("decrypt.event_id", |a| {
        CellValue::Text(a.decrypt.event_id.as_deref())
    }),
    ("decrypt.key_arn", |a| {
        CellValue::Text(a.decrypt.key_arn.as_deref())
    }),
    ("decrypt.delta_secs", |a| {
        CellValue::Number(a.decrypt.delta_secs)
    }),
    ("object", |a| text(&a.head.object)),
];

fn text(text: &str) -> CellValue<'_> {
    CellValue::Text(Some(text))
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn every_column_has_a_unique_name_also_with_underscores() {
        let names: HashSet<String> = ACCESS
            .iter()
            .map(|(name, _)| name.replace('.', "_"))
            .collect();
        assert_eq!(names.len(), ACCESS.len());
    }
}
