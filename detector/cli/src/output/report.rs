//! `replay -f html`: a self-contained report for a browser, without network access.
//!
//! The script of the page renders the embedded data: the ledger in columns, alerts that refer to
//! its rows, incidents that refer to alerts, gaps, and what could not be read. Every text is
//! sanitised here.

mod data;
mod incidents;
mod ledger;
mod records;

use secretrail_engine::{
    incident::Incident, policy::AccessPolicy, seen::LookbackPeriods, selection::Selection,
    time::EventTime,
};

use self::data::ReportData;
pub(crate) use self::records::of_incidents;
use super::page::{ELEMENTS, PageTemplate, STYLE};
use crate::{
    host::RunFailure,
    input::{records::RawRecord, session::SessionResult},
};

/// The report without its data.
pub(super) const PAGE: PageTemplate = PageTemplate {
    title: "Secretrail report",
    body: include_str!("report/page.html"),
    styles: &[
        include_str!("report/vendor/uPlot.min.css"),
        STYLE,
        include_str!("report/page.css"),
    ],
    scripts: &[
        include_str!("report/before.js"),
        include_str!("report/vendor/uPlot.iife.min.js"),
        ELEMENTS,
        include_str!("report/pictures.js"),
        include_str!("report/incidents.js"),
        include_str!("report/page.js"),
    ],
};

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
    PAGE.with(&ReportData::of(about))
}
