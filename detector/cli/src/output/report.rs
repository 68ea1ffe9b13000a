//! `replay -f html`: a self-contained report for a browser, without network access.
//!
//! The script of the page renders the embedded data: the ledger in columns, alerts that refer to
//! its rows, incidents that refer to alerts, gaps, and what could not be read. Every text is
//! sanitised here and set as text there; a Content-Security-Policy allows only the script and the
//! style of this build (<https://www.w3.org/TR/CSP3/>).

mod data;
mod incidents;
mod ledger;
mod records;

use base64::{Engine, engine::general_purpose::STANDARD};
use secretrail_engine::{
    incident::Incident, policy::AccessPolicy, seen::LookbackPeriods, selection::Selection,
    time::EventTime,
};
use sha2::{Digest, Sha256};

use self::data::ReportData;
pub(crate) use self::records::of_incidents;
use crate::{
    host::RunFailure,
    input::{records::RawRecord, session::SessionResult},
};

const PAGE: &str = include_str!("report/page.html");
const STYLES: [&str; 2] = [
    include_str!("report/vendor/uPlot.min.css"),
    include_str!("report/page.css"),
];
const SCRIPTS: [&str; 6] = [
    include_str!("report/before.js"),
    include_str!("report/vendor/uPlot.iife.min.js"),
    include_str!("report/elements.js"),
    include_str!("report/pictures.js"),
    include_str!("report/incidents.js"),
    include_str!("report/page.js"),
];

/// The run that the report is about.
pub(crate) struct ReportAbout<'a> {
    /// Paths as typed.
    pub(crate) paths: Vec<String>,
    /// Options of `explain` that give the same alerts.
    pub(crate) options: Vec<String>,
    /// Number of rules that can raise alerts.
    pub(crate) rules: usize,
    /// The access policy; `None` without one.
    pub(crate) policy: Option<&'a AccessPolicy>,
    /// Lookback and warm-up of `seen.*`.
    pub(crate) lookback: LookbackPeriods,
    /// Time of the report, in UTC.
    pub(crate) now: EventTime,
    /// Which events of the logs were asked for.
    pub(crate) selection: &'a Selection,
    /// Result of the run, with the alerts of the incidents.
    pub(crate) found: &'a SessionResult,
    /// The most suspicious first.
    pub(crate) incidents: &'a [Incident],
    /// Records of the incidents.
    pub(crate) records: &'a [RawRecord],
}

/// The page as HTML.
///
/// # Errors
///
/// [`RunFailure::Internal`]: a bug in Secretrail.
pub(crate) fn page(about: &ReportAbout<'_>) -> Result<String, RunFailure> {
    let data = serde_json::to_string(&ReportData::of(about))
        .map_err(|error| RunFailure::Internal(error.to_string()))?;
    // Only `<` can end a script element; U+2028 and U+2029 have been sanitised.
    let data = data.replace('<', "\\u003c");
    let (style, script) = (STYLES.concat(), SCRIPTS.concat());
    // Only the script and style of this build are allowed: text from a log that ended up in the
    // page as HTML would still not run.
    let csp = format!(
        "default-src 'none'; script-src {}; style-src {}; base-uri 'none'; form-action 'none'",
        allowed(&script),
        allowed(&style)
    );
    let parts = [
        ("<!--CSP-->", &csp),
        ("<!--STYLE-->", &style),
        ("<!--DATA-->", &data),
        ("<!--SCRIPT-->", &script),
    ];
    fill(PAGE, parts).map_err(|mark| RunFailure::Internal(format!("no {mark} in the page")))
}

/// The template with the texts in place of their marks, which must occur in this order; otherwise
/// the missing mark. Marks inside the texts are not replaced.
fn fill<'m>(template: &str, parts: [(&'m str, &String); 4]) -> Result<String, &'m str> {
    let length: usize = parts.iter().map(|(_, text)| text.len()).sum();
    let mut page = String::with_capacity(template.len() + length);
    let mut rest = template;
    for (mark, text) in parts {
        let (before, after) = rest.split_once(mark).ok_or(mark)?;
        page.push_str(before);
        page.push_str(text);
        rest = after;
    }
    page.push_str(rest);
    Ok(page)
}

/// The CSP source expression that allows exactly this text.
pub(super) fn allowed(text: &str) -> String {
    format!(
        "'sha256-{}'",
        STANDARD.encode(Sha256::digest(text.as_bytes()))
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_with_a_mark_in_it_is_a_text() {
        let texts = ["<b>", "x", "y<b>", "z"].map(str::to_owned);
        let [one, two, three, four] = &texts;
        let parts = [("<a>", one), ("<b>", two), ("<c>", three), ("<d>", four)];
        assert_eq!(
            fill("<a>,<b>,<c>,<d>!", parts).as_deref(),
            Ok("<b>,x,y<b>,z!")
        );
        assert_eq!(fill("<a>,<c>,<d>", parts), Err("<b>"));
    }

    #[test]
    fn the_page_has_its_marks_in_order() {
        let none = String::new();
        let marks = ["<!--CSP-->", "<!--STYLE-->", "<!--DATA-->", "<!--SCRIPT-->"];
        let page = fill(PAGE, marks.map(|mark| (mark, &none))).unwrap();
        assert!(marks.iter().all(|mark| !page.contains(mark)));
    }
}
