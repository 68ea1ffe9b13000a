//! Exposures as a page for a browser: static, without scripts and without network access.

use std::{collections::BTreeSet, fmt::Write as _};

use secretrail_engine::{
    exposure::{Exposure, LIMIT, checklist::checklist},
    incident::story::StoryAction,
    sanitize,
    time::EventTime,
};

use super::{around, behind, headline, live, named, revealed, short_id, status, superseded};
use crate::{args::settings::RunSettings, output::page::allowed, text::number};

const STYLE: &str = concat!(include_str!("../page/style.css"), include_str!("page.css"));

/// The page.
pub(crate) fn page(exposures: &[Exposure], settings: &RunSettings, now: EventTime) -> String {
    let mut body = String::new();
    push_tiles(exposures, &mut body);
    push_checklist(&checklist(exposures), &mut body);
    push_table(exposures, &mut body);
    page_of("exposure", settings, now, &body)
}

/// A page with this title, whose body is HTML.
pub(crate) fn page_of(title: &str, settings: &RunSettings, now: EventTime, body: &str) -> String {
    let paths = settings.paths.iter().map(|path| path.to_string_lossy());
    let paths = paths.collect::<Vec<_>>().join(", ");
    format!(
        "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
         <meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; \
         style-src {}; base-uri 'none'; form-action 'none'\">\n\
         <meta name=\"referrer\" content=\"no-referrer\">\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
         <meta name=\"color-scheme\" content=\"light dark\">\n\
         <title>Secretrail {title}</title>\n<style>{STYLE}</style>\n</head>\n<body>\n\
         <header><h1>Secretrail <span>{title}</span></h1>\
         <p class=\"quiet\">{} · made {now}</p>\
         <p class=\"warning\">{}</p></header>\n<main>\n{body}</main>\n</body>\n</html>\n",
        allowed(STYLE),
        text(&paths),
        text(LIMIT),
    )
}

/// Text from logs as the content of an element or attribute.
pub(crate) fn text(untrusted: &str) -> String {
    let clean = sanitize::line(untrusted);
    let mut out = String::with_capacity(clean.len());
    for c in clean.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&#39;"),
            other => out.push(other),
        }
    }
    out
}

/// The numbers at the top of a page.
pub(crate) fn tiles(counts: &[(usize, &str)]) -> String {
    let mut out = String::from("<section aria-label=\"Headline numbers\"><div class=\"tiles\">");
    for (count, what) in counts {
        let count = number(*count as u64);
        write!(
            out,
            "<div class=\"tile\"><b>{count}</b><span>{what}</span></div>"
        )
        .ok();
    }
    out.push_str("</div></section>\n");
    out
}

fn push_tiles(exposures: &[Exposure], out: &mut String) {
    let secrets: BTreeSet<_> = exposures.iter().map(|row| row.secret.key()).collect();
    let people: BTreeSet<_> = exposures.iter().flat_map(|row| &row.principals).collect();
    let incidents: BTreeSet<_> = exposures.iter().flat_map(|row| &row.incidents).collect();
    let open = exposures.iter().filter(|row| row.is_open()).count();
    out.push_str(&tiles(&[
        (open, "open versions"),
        (exposures.len() - open, "superseded versions"),
        (secrets.len(), "secrets"),
        (people.len(), "principals that got them"),
        (incidents.len(), "incidents"),
    ]));
}

fn push_checklist(actions: &[StoryAction], out: &mut String) {
    if actions.is_empty() {
        return;
    }
    out.push_str(
        "<section><h2>To close it</h2>\
         <p class=\"quiet\">In this order: who has the values first, then the secrets with the \
         fewest other readers. Nothing was run.</p>\n<ol class=\"steps\">\n",
    );
    for action in actions {
        write!(out, "<li>{}", text(&action.text)).ok();
        if let Some(command) = &action.command {
            write!(out, "<pre>{}</pre>", text(command)).ok();
        }
        // Of our own making: the page of a role or user in the console of AWS.
        if let Some(link) = action
            .link
            .as_deref()
            .filter(|link| link.starts_with("https://"))
        {
            let link = text(link);
            write!(out, "<a href=\"{link}\" rel=\"noreferrer\">{link}</a>").ok();
        }
        out.push_str("</li>\n");
    }
    out.push_str("</ol></section>\n");
}

fn push_table(exposures: &[Exposure], out: &mut String) {
    write!(
        out,
        "<section><h2>Versions</h2><p class=\"quiet\">{}</p>\n<div class=\"scroll\"><table>\n\
         <thead><tr><th>State</th><th>Secret</th><th>Version</th><th>Revealed</th>\
         <th>Now</th><th>Incidents</th></tr></thead>\n<tbody>\n",
        text(&headline(exposures))
    )
    .ok();
    for row in exposures {
        push_row(row, out);
    }
    out.push_str("</tbody></table></div></section>\n");
}

fn push_row(row: &Exposure, out: &mut String) {
    let (class, state) = match row.is_open() {
        true => ("open", "OPEN"),
        false => ("closed", "closed"),
    };
    let secret = &row.secret;
    let place = format!("{} {}", secret.account, secret.region);
    let version = secret.version_id.as_deref().unwrap_or("not known");
    let now: Vec<String> = [
        Some(status(row).to_owned()),
        superseded(row),
        live(row),
        around(row),
    ]
    .into_iter()
    .flatten()
    .map(|part| text(&part))
    .collect();
    let incidents = named(&row.incidents, short_id).unwrap_or_default();
    let revealed: Vec<String> = [Some(revealed(row)), behind(row)]
        .into_iter()
        .flatten()
        .map(|part| text(&part))
        .collect();
    writeln!(
        out,
        "<tr><td class=\"{class}\">{state}</td>\
         <td class=\"wrap\">{}<br><span class=\"quiet\">{}</span></td>\
         <td class=\"wrap\"><code>{}</code></td><td class=\"wrap\">{}</td>\
         <td class=\"wrap\">{}</td><td class=\"wrap\">{}</td></tr>",
        text(&secret.label()),
        text(&place),
        text(version),
        revealed.join("<br>"),
        now.join("<br>"),
        text(&incidents)
    )
    .ok();
}
