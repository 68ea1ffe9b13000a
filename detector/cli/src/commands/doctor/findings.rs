//! What a check has found: ok, warn or fail, with the remedy.

use std::fmt::Write as _;

use anstyle::{AnsiColor, Style};
use secretrail_engine::sanitize;
use serde_json::{Value, json};

use crate::{
    aws_api::ApiError,
    deployment::Deployment,
    output::{incidents::wrapped, listing::RowListing},
    text::plural,
};

/// How a part of a deployment is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Verdict {
    /// It works.
    Ok,
    /// It may not work, could be better, or may not be looked at.
    Warn,
    /// It does not work.
    Fail,
}

impl Verdict {
    /// The name in every format.
    pub(super) fn as_str(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Warn => "warn",
            Self::Fail => "fail",
        }
    }

    fn style(self, is_coloured: bool) -> Style {
        let style = Style::new().bold();
        match self {
            _ if !is_coloured => Style::new(),
            Self::Ok => style.fg_color(Some(AnsiColor::Green.into())),
            Self::Warn => style.fg_color(Some(AnsiColor::Yellow.into())),
            Self::Fail => style.fg_color(Some(AnsiColor::Red.into())),
        }
    }
}

/// One line of the report.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Finding {
    pub(super) verdict: Verdict,
    /// The part of the deployment, in one word.
    pub(super) part: &'static str,
    /// What is so.
    pub(super) what: String,
    /// What to do; `None` if nothing is to be done.
    pub(super) remedy: Option<String>,
}

/// All lines of the report, in the order of the checks.
#[derive(Debug, Default)]
pub(super) struct Findings(pub(super) Vec<Finding>);

impl Findings {
    pub(super) fn ok(&mut self, part: &'static str, what: impl Into<String>) {
        self.push(Verdict::Ok, part, what.into(), None);
    }

    pub(super) fn warn(
        &mut self,
        part: &'static str,
        what: impl Into<String>,
        remedy: impl Into<String>,
    ) {
        self.push(Verdict::Warn, part, what.into(), Some(remedy.into()));
    }

    pub(super) fn fail(
        &mut self,
        part: &'static str,
        what: impl Into<String>,
        remedy: impl Into<String>,
    ) {
        self.push(Verdict::Fail, part, what.into(), Some(remedy.into()));
    }

    fn push(&mut self, verdict: Verdict, part: &'static str, what: String, remedy: Option<String>) {
        self.0.push(Finding {
            verdict,
            part,
            what,
            remedy,
        });
    }

    /// What a call has answered; if it failed, `None` and a line that says why. `what` is what the
    /// call was about, as in `queue secretrail-Files`.
    pub(super) fn known<T>(
        &mut self,
        part: &'static str,
        what: &str,
        answer: Result<T, ApiError>,
    ) -> Option<T> {
        let error = match answer {
            Ok(answer) => return Some(answer),
            Err(error) => error,
        };
        if let Some(action) = error.denied() {
            let remedy = format!("allow {action} in your policy, or use another --profile");
            self.warn(
                part,
                format!("{what}: not checked, you may not {action}"),
                remedy,
            );
        } else if is_missing(error.code()) {
            let remedy = "somebody deleted it: deploy the stack again";
            self.fail(part, format!("{what}: does not exist"), remedy);
        } else {
            let remedy =
                "run this again; if it stays so, use the action by itself with the AWS CLI";
            self.warn(part, format!("{what}: not checked: {error}"), remedy);
        }
        None
    }

    /// The worst verdict.
    pub(super) fn worst(&self) -> Verdict {
        let verdicts = self.0.iter().map(|finding| finding.verdict);
        verdicts.max().unwrap_or(Verdict::Ok)
    }

    /// Number of lines with a verdict.
    pub(super) fn count(&self, verdict: Verdict) -> u64 {
        let same = self.0.iter().filter(|finding| finding.verdict == verdict);
        same.count() as u64
    }
}

/// A time span for people: `3 minutes`.
pub(super) fn span(secs: i64) -> String {
    let secs = u64::try_from(secs).unwrap_or(0);
    match secs {
        0..120 => plural(secs, "second"),
        120..7_200 => plural(secs / 60, "minute"),
        7_200..172_800 => plural(secs / 3_600, "hour"),
        _ => plural(secs / 86_400, "day"),
    }
}

/// The first names of many, and the number of the others.
pub(super) fn first_of(names: &[String], most: usize) -> String {
    let first: Vec<&str> = names.iter().take(most).map(String::as_str).collect();
    match names.len().saturating_sub(first.len()) {
        0 => first.join(", "),
        more => format!("{} and {more} more", first.join(", ")),
    }
}

/// Whether an error code says that the resource is not there.
fn is_missing(code: &str) -> bool {
    ["NotFound", "NonExistent", "DoesNotExist", "NoSuch"]
        .iter()
        .any(|part| code.contains(part))
}

/// The report in every format.
pub(super) struct CheckupReport<'r> {
    pub(super) findings: &'r Findings,
    pub(super) stack: &'r Deployment,
    /// Width of a line for people, in cells; `None` for lines that are not wrapped.
    pub(super) width: Option<usize>,
    pub(super) is_coloured: bool,
}

impl RowListing<4> for CheckupReport<'_> {
    const NAME: &'static str = "doctor";
    const HEADER: [&'static str; 4] = ["verdict", "part", "what", "remedy"];

    fn table(&self) -> String {
        let mut out = String::new();
        for finding in &self.findings.0 {
            self.line(finding, &mut out);
        }
        out
    }

    fn values(&self) -> Vec<Value> {
        let findings = self.findings.0.iter();
        findings.map(|finding| self.value(finding)).collect()
    }

    fn rows(&self) -> Vec<[String; 4]> {
        let findings = self.findings.0.iter();
        findings
            .map(|finding| {
                [
                    finding.verdict.as_str().to_owned(),
                    finding.part.to_owned(),
                    finding.what.clone(),
                    finding.remedy.clone().unwrap_or_default(),
                ]
            })
            .collect()
    }
}

/// Cells of the first column, and of both.
const VERDICT: usize = 6;
const PARTS: usize = VERDICT + 14;

impl CheckupReport<'_> {
    fn line(&self, finding: &Finding, out: &mut String) {
        let style = finding.verdict.style(self.is_coloured);
        let verdict = finding.verdict.as_str();
        let remedy = finding.remedy.iter();
        let text: String = remedy.fold(finding.what.clone(), |what, remedy| {
            format!("{what} — {remedy}")
        });
        let text = sanitize::line(&text);
        let head = format!("{verdict:<VERDICT$}{:<14}", finding.part);
        let lines = match self.width {
            Some(width) => wrapped(&head, &" ".repeat(PARTS), &text, width),
            None => vec![format!("{head}{text}")],
        };
        for (index, line) in lines.iter().enumerate() {
            let line = line.trim_end();
            match line.strip_prefix(verdict).filter(|_| index == 0) {
                Some(rest) => writeln!(out, "{style}{verdict}{style:#}{rest}").ok(),
                None => writeln!(out, "{line}").ok(),
            };
        }
    }

    fn value(&self, finding: &Finding) -> Value {
        json!({
            "schema": "secretrail.doctor/1",
            "stack": self.stack.name,
            "account": self.stack.account,
            "region": self.stack.region,
            "verdict": finding.verdict.as_str(),
            "part": finding.part,
            "what": finding.what,
            "remedy": finding.remedy,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn report(width: Option<usize>) -> String {
        let mut findings = Findings::default();
        findings.ok("table", "active\u{1b}[31m");
        findings.fail(
            "queue",
            "1,204 files wait, the oldest for 2 hours",
            "raise MaxConcurrency",
        );
        let report = CheckupReport {
            findings: &findings,
            stack: &Deployment::default(),
            width,
            is_coloured: false,
        };
        report.table()
    }

    #[test]
    fn a_line_fits_the_terminal_and_is_one_line_elsewhere() {
        let text = report(Some(50));
        assert!(
            text.lines().all(|line| line.chars().count() <= 50),
            "{text}"
        );
        assert!(text.starts_with("ok    table         active"), "{text}");
        assert!(!text.contains('\u{1b}'), "{text}");
        let text = report(None);
        assert_eq!(text.lines().count(), 2);
        assert!(
            text.ends_with("for 2 hours — raise MaxConcurrency\n"),
            "{text}"
        );
    }
}
