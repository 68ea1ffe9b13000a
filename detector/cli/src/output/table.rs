//! Text for people: alerts as short paragraphs, accesses as columns. Text from logs is sanitised.

mod spool;

use std::{borrow::Cow, fmt::Write as _, path::Path};

use secretrail_engine::{
    access::Access,
    alert::Alert,
    ids::{ArnParts, secret_name},
    observation::CallSource,
    sanitize,
};
use unicode_width::{UnicodeWidthChar, UnicodeWidthStr};

pub(crate) use self::spool::TableSpool;
use crate::{args::settings::RunSettings, output::style::level_style};

/// Most secrets named below an alert; its JSON lists more.
const SECRETS: usize = 5;

/// Widest cell to which the other rows of its column are padded, in terminal cells.
const PADDED: usize = 80;

/// Longest cell, in terminal cells: enough for the key of a digest.
const LONGEST: usize = 200;

/// Width of the level column, in characters.
const LEVEL: usize = 15;

/// Alerts, each with a headline, its summary, its secrets and its ids.
#[must_use]
pub fn alerts(alerts: &[Alert], settings: &RunSettings) -> String {
    let mut text = String::new();
    for alert in alerts {
        // Writing to a string cannot fail.
        self::alert(alert, settings, &mut text).ok();
    }
    text
}

fn alert(alert: &Alert, settings: &RunSettings, out: &mut String) -> std::fmt::Result {
    let style = level_style(alert.rule.level, settings.color);
    let level = alert.rule.level.as_str().to_uppercase();
    let indent = " ".repeat(LEVEL);
    writeln!(
        out,
        "{style}{level:<LEVEL$}{style:#}{}  {style}{}{style:#}",
        alert.time,
        sentence(&alert.rule.title)
    )?;
    writeln!(out, "{indent}{}", sentence(&alert.summary))?;
    if alert.secrets_total > 1 {
        writeln!(out, "{indent}secrets: {}", secrets(alert))?;
    }
    let id = &alert.id.0;
    writeln!(
        out,
        "{indent}alert {id}, rule {}\n",
        sentence(&alert.rule.id)
    )
}

/// The first secrets of an alert, and the number of the others.
fn secrets(alert: &Alert) -> String {
    let named = alert.secrets.iter().take(SECRETS);
    let named: Vec<_> = named
        .map(|secret| shortened(sanitize::line(secret_name(secret))))
        .collect();
    match alert.secrets_total.saturating_sub(named.len()) {
        0 => named.join(", "),
        more => format!("{} and {more} more", named.join(", ")),
    }
}

/// The table of accesses, one on each line; `folder` is for a temporary file.
pub(crate) fn accesses(folder: &Path) -> TableSpool<8> {
    let header = [
        "TIME",
        "OUTCOME",
        "PRINCIPAL",
        "SECRET",
        "API",
        "SOURCE",
        "REGION",
        "DECRYPT",
    ];
    TableSpool::new(folder, header)
}

/// Rows under a header, in columns as wide as their widest cell. Every cell is sanitised, and a
/// long one is shortened; a wide one moves the rest of its own row, and of no other.
#[must_use]
pub fn columns<const N: usize>(header: [&str; N], rows: &[[String; N]]) -> String {
    let header = header.map(str::to_owned);
    let rows = std::iter::once(&header).chain(rows);
    let rows: Vec<[Cow<'_, str>; N]> = rows.map(shown).collect();
    let mut widths = [0; N];
    for row in &rows {
        widen(&mut widths, row);
    }
    rows.iter().map(|row| line(row, widths)).collect()
}

/// The cells of a row as they are shown.
fn shown<const N: usize>(row: &[String; N]) -> [Cow<'_, str>; N] {
    row.each_ref().map(|cell| shortened(sanitize::line(cell)))
}

/// Makes columns wide enough for a row.
fn widen<const N: usize>(widths: &mut [usize; N], row: &[Cow<'_, str>; N]) {
    for (width, cell) in widths.iter_mut().zip(row) {
        let own = cell.width();
        if own <= PADDED {
            *width = (*width).max(own);
        }
    }
}

/// A text without its middle, if it is long: the start of a name says where it belongs, and its
/// end what it is.
fn shortened(text: Cow<'_, str>) -> Cow<'_, str> {
    if text.width() <= LONGEST {
        return text;
    }
    let half = LONGEST / 2;
    let end: Vec<char> = within(text.chars().rev(), half);
    let mut short: String = within(text.chars(), half - 1).into_iter().collect();
    short.push('…');
    short.extend(end.iter().rev());
    Cow::Owned(short)
}

/// A sentence for the terminal, in which each long word, such as the name of a secret, is without
/// its middle.
#[must_use]
pub(crate) fn sentence(text: &str) -> String {
    let text = sanitize::line(text);
    let words = text.split(' ').map(|word| shortened(Cow::Borrowed(word)));
    words.collect::<Vec<_>>().join(" ")
}

/// The first characters, in terminal cells.
fn within(chars: impl Iterator<Item = char>, cells: usize) -> Vec<char> {
    let mut left = cells;
    chars
        .map_while(|c| {
            left = left.checked_sub(c.width().unwrap_or(0))?;
            Some(c)
        })
        .collect()
}

/// A row in columns of these widths, in terminal cells: characters of some scripts take two.
fn line<const N: usize>(row: &[Cow<'_, str>; N], widths: [usize; N]) -> String {
    let mut line = String::new();
    for (cell, width) in row.iter().zip(widths) {
        line.push_str(cell);
        line.push_str(&" ".repeat(width.saturating_sub(cell.width()) + 2));
    }
    line.truncate(line.trim_end().len());
    line.push('\n');
    line
}

/// The row of an access.
pub(crate) fn row(access: &Access) -> [String; 8] {
    let head = &access.head;
    let principal = head
        .principal
        .id
        .as_deref()
        .map_or_else(|| "-".to_owned(), principal);
    let denied = head
        .denied_by
        .as_deref()
        .map(|gate| format!(" by {gate}"))
        .unwrap_or_default();
    [
        head.time.to_string(),
        format!("{}{denied}", head.outcome.as_str()),
        principal,
        access.secret.label(),
        format!("{} ({})", head.api, access.method.as_str()),
        source(&head.source),
        head.region.to_string(),
        access.decrypt.status.as_str().to_owned(),
    ]
}

/// The address and its country.
fn source(source: &CallSource) -> String {
    let ip = source.ip.as_deref().unwrap_or("-");
    match &source.geo.country {
        Some(country) => format!("{ip} {country}"),
        None => ip.to_owned(),
    }
}

/// An ARN as `account resource`; anything else unchanged.
#[must_use]
pub fn principal(id: &str) -> String {
    ArnParts::parse(id).map_or_else(
        || id.to_owned(),
        |arn| format!("{} {}", arn.account, arn.resource),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_as_wide_as_their_widest_cell_on_the_terminal() {
        let rows = [["日本", "x"], ["a", ""]].map(|row| row.map(str::to_owned));
        assert_eq!(columns(["A", "B"], &rows), "A     B\n日本  x\na\n");
    }

    #[test]
    fn a_long_cell_is_shortened_in_its_middle_and_widens_no_other_row() {
        let long = format!("start{}end", "n".repeat(700));
        let rows = [
            [long, "x".to_owned()],
            ["prod/short".to_owned(), "y".to_owned()],
        ];
        let table = columns(["NAME", "B"], &rows);
        let lines: Vec<&str> = table.lines().collect();
        assert!(
            lines[1].starts_with("start") && lines[1].ends_with("end  x"),
            "{table}"
        );
        assert!(lines[1].contains('…') && lines[1].width() == LONGEST + 3);
        assert_eq!(lines[2], "prod/short  y");
        // In cells of the terminal, not in characters.
        assert_eq!(shortened("日".repeat(150).into()).width(), LONGEST - 1);
    }

    #[test]
    fn long_words_of_a_sentence_are_shortened_and_short_ones_stay() {
        let long = format!("prod/{}/db", "n".repeat(1_500));
        let shown = sentence(&format!("user/jo read {long}, from\n10.0.0.1  twice"));
        assert!(shown.starts_with("user/jo read prod/nnn"), "{shown}");
        assert!(shown.ends_with("n/db, from\\n10.0.0.1  twice"), "{shown}");
        assert!(shown.contains('…') && shown.width() < LONGEST + 50);
        let plain = "many short words ".repeat(40);
        assert_eq!(sentence(&plain), plain);
    }

    #[test]
    fn a_cell_cannot_start_another_line() {
        let rows = [["a\nroot  s3cret".to_owned()]];
        assert_eq!(columns(["A"], &rows).lines().count(), 2);
    }

    #[test]
    fn secrets_go_by_their_names() {
        let secret = "arn:aws:secretsmanager:eu-west-1:111122223333:secret:prod/db-AbC123";
        let parameter = "arn:aws:ssm:eu-west-1:111122223333:parameter/prod/db";
        assert_eq!(
            (secret_name(secret), secret_name(parameter)),
            ("prod/db-AbC123", "/prod/db")
        );
        assert_eq!(secret_name("prod/db"), "prod/db");
    }

    #[test]
    fn a_principal_is_its_account_and_what_it_is_called() {
        let role = "arn:aws:iam::111122223333:role/app";
        assert_eq!(principal(role), "111122223333 role/app");
        assert_eq!(principal("111122223333:AIDAX"), "111122223333:AIDAX");
    }
}
