//! Comma-separated values: a header, then a row for each. Every cell is neutralised, so that no spreadsheet runs it.

use std::sync::Arc;

use csv::Writer;
use secretrail_engine::access::Access;
use secretrail_engine::alert::Alert;
use secretrail_engine::neutral;

const ACCESS: &[&str] = &[
    "time",
    "event_id",
    "api",
    "method",
    "account",
    "region",
    "secret.store",
    "secret.arn",
    "secret.name",
    "secret.version_id",
    "secret.version_stage",
    "principal.arn",
    "principal.actor",
    "principal.type",
    "principal.kind",
    "principal.account",
    "principal.via",
    "principal.console",
    "principal.access_key_id",
    "source.ip",
    "source.kind",
    "source.user_agent",
    "source.vpc_endpoint",
    "outcome",
    "denied_by",
    "error_code",
    "cross_account",
    "decrypt.status",
    "decrypt.event_id",
    "decrypt.key_arn",
    "decrypt.delta_secs",
    "object",
];

const ALERT: &[&str] = &[
    "time",
    "level",
    "title",
    "principal",
    "summary",
    "account",
    "region",
    "count",
    "window.start",
    "window.end",
    "secrets",
    "secrets_total",
    "accesses_total",
    "rule_id",
    "id",
];

/// Accesses.
///
/// # Errors
///
/// A fault of ours; writing to memory does not fail.
pub fn accesses(accesses: &[Arc<Access>]) -> Result<String, String> {
    rows(ACCESS, accesses.iter().map(|a| access(a)))
}

/// Alerts.
///
/// # Errors
///
/// A fault of ours; writing to memory does not fail.
pub fn alerts(alerts: &[Alert]) -> Result<String, String> {
    rows(ALERT, alerts.iter().map(alert))
}

/// A header and rows, every cell made harmless.
///
/// # Errors
///
/// A fault of ours; writing to memory does not fail.
pub fn rows<H: AsRef<[&'static str]>, R: AsRef<[String]>>(
    header: H,
    rows: impl Iterator<Item = R>,
) -> Result<String, String> {
    let mut writer = Writer::from_writer(Vec::new());
    writer.write_record(header.as_ref()).map_err(|error| error.to_string())?;
    for row in rows {
        let cells = row.as_ref().iter().map(|cell| neutral::cell(cell).into_owned());
        writer.write_record(cells).map_err(|error| error.to_string())?;
    }
    let bytes = writer.into_inner().map_err(|error| error.to_string())?;
    String::from_utf8(bytes).map_err(|error| error.to_string())
}

fn or_empty<T: ToString + ?Sized>(value: Option<&T>) -> String {
    value.map(ToString::to_string).unwrap_or_default()
}

fn access(access: &Access) -> Vec<String> {
    let Access { head, method, secret, decrypt, .. } = access;
    let principal = &head.principal;
    vec![
        head.time.to_string(),
        head.event_id.to_string(),
        head.api.to_string(),
        method.as_str().to_owned(),
        head.account.to_string(),
        head.region.to_string(),
        secret.store.to_string(),
        or_empty(secret.arn.as_ref()),
        or_empty(secret.name.as_ref()),
        or_empty(secret.version_id.as_ref()),
        or_empty(secret.version_stage.as_ref()),
        or_empty(principal.id.as_ref()),
        or_empty(principal.actor.as_ref()),
        or_empty(principal.identity_type.as_ref()),
        principal.kind.as_str().to_owned(),
        or_empty(principal.account.as_ref()),
        or_empty(principal.via.as_ref()),
        principal.console.to_string(),
        or_empty(head.access_key_id.as_ref()),
        or_empty(head.source.ip.as_ref()),
        head.source.kind.as_str().to_owned(),
        or_empty(head.source.user_agent.as_ref()),
        or_empty(head.source.vpc_endpoint.as_ref()),
        head.outcome.as_str().to_owned(),
        or_empty(head.denied_by.as_ref()),
        or_empty(head.error_code.as_ref()),
        access.cross_account().to_string(),
        decrypt.status.as_str().to_owned(),
        or_empty(decrypt.event_id.as_ref()),
        or_empty(decrypt.key_arn.as_ref()),
        or_empty(decrypt.delta_secs.as_ref()),
        head.object.to_string(),
    ]
}

fn alert(alert: &Alert) -> Vec<String> {
    let firing = alert.firing.as_ref();
    vec![
        alert.time.to_string(),
        alert.rule.level.to_string(),
        alert.rule.title.clone(),
        or_empty(alert.principal.as_ref()),
        alert.summary.clone(),
        or_empty(alert.account.as_ref()),
        or_empty(alert.region.as_ref()),
        firing.map(|f| f.count.to_string()).unwrap_or_default(),
        firing.map(|f| f.start.to_string()).unwrap_or_default(),
        firing.map(|f| f.end.to_string()).unwrap_or_default(),
        alert.secrets.join(" "),
        alert.secrets_total.to_string(),
        alert.accesses_total.to_string(),
        alert.rule.id.clone(),
        alert.id.0.to_string(),
    ]
}
