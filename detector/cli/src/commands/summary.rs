//! The `summary` command: one screen that says who read what, what was denied, what is new, and what the rules say.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::sync::Arc;
use std::time::Instant;

use secretrail_engine::access::Access;
use secretrail_engine::alert::Alert;
use secretrail_engine::observation::Outcome;
use secretrail_engine::rule_meta::Level;
use secretrail_engine::seen::{Judge, Memory, Novelty, Sighting, since_key};
use secretrail_engine::time::EventTime;

use crate::args;
use crate::args::settings::Settings;
use crate::host::{Failure, Host};
use crate::input::rules_and_policy;
use crate::input::session::find;
use crate::output::out::Out;
use crate::output::run_summary::close;
use crate::output::table;
use crate::text::number;

const DAY: i64 = 86_400;

/// Days in the sparkline; of longer histories, several days are one mark.
const MARKS: usize = 60;

/// Runs the command and gives its exit code.
///
/// # Errors
///
/// [`Failure`].
pub fn run(args: &args::Summary, host: &mut Host) -> Result<u8, Failure> {
    let started = Instant::now();
    let settings = Settings::plain(&args.input, &args.destination, host)?;
    let rules = rules_and_policy::rules_with_warnings(&args.files, host)?;
    let policy = rules_and_policy::policy(&args.policy)?;
    let mut out = Out::open(&settings)?;
    let found = find(&settings, &rules, policy.as_ref(), host)?;
    out.raw(&text(&found.accesses, &found.alerts, args.top))?;
    out.finish(host)?;
    Ok(close(&settings, &found, started, Some(rules.len()), host))
}

/// What was counted of a principal or of a secret.
#[derive(Default)]
struct Tally {
    reads: u64,
    denied: u64,
    others: BTreeSet<String>,
    last: Option<EventTime>,
}

fn text(accesses: &[Arc<Access>], alerts: &[Alert], top: usize) -> String {
    let mut out = String::new();
    let (Some(first), Some(last)) = (accesses.first(), accesses.last()) else {
        return "no accesses to secrets in these logs\n".to_owned();
    };
    let count = |outcome| {
        accesses
            .iter()
            .filter(|a| a.head.outcome == outcome)
            .count() as u64
    };
    let places: BTreeSet<_> = accesses
        .iter()
        .map(|a| (&a.secret.account, &a.secret.region))
        .collect();
    let accounts: BTreeSet<_> = places.iter().map(|(account, _)| account).collect();
    let regions: BTreeSet<_> = places.iter().map(|(_, region)| region).collect();
    let (principals, secrets) = (
        tally(accesses, principal, secret),
        tally(accesses, secret, principal),
    );
    writeln!(
        out,
        "{} reads of {} secrets by {} principals, {} denied, {} failed",
        number(count(Outcome::Success)),
        number(secrets.len() as u64),
        number(principals.len() as u64),
        number(count(Outcome::Denied)),
        number(count(Outcome::Failed))
    )
    .ok();
    let (accounts, regions) = (
        plural(accounts.len(), "account"),
        plural(regions.len(), "region"),
    );
    writeln!(
        out,
        "{} to {}, {accounts}, {regions}\n",
        first.head.time, last.head.time
    )
    .ok();
    days(accesses, &mut out);
    rank(
        "PRINCIPAL",
        "SECRETS",
        &principals,
        top,
        |t| t.reads,
        &mut out,
    );
    rank("SECRET", "PRINCIPALS", &secrets, top, |t| t.reads, &mut out);
    rank(
        "MOST DENIED",
        "SECRETS",
        &principals,
        top,
        |t| t.denied,
        &mut out,
    );
    new_pairs(accesses, top, &mut out);
    by_rule(alerts, &mut out);
    out
}

fn principal(access: &Access) -> String {
    access
        .head
        .principal
        .id
        .as_deref()
        .map_or_else(|| "an unnamed principal".to_owned(), table::principal)
}

fn secret(access: &Access) -> String {
    let name = access.secret.name.as_deref().unwrap_or("(not told)");
    format!("{} {name}", access.secret.account)
}

fn plural(n: usize, word: &str) -> String {
    format!(
        "{} {word}{}",
        number(n as u64),
        if n == 1 { "" } else { "s" }
    )
}

fn tally(
    accesses: &[Arc<Access>],
    of: impl Fn(&Access) -> String,
    other: impl Fn(&Access) -> String,
) -> BTreeMap<String, Tally> {
    let mut all: BTreeMap<String, Tally> = BTreeMap::new();
    for access in accesses {
        let tally = all.entry(of(access)).or_default();
        match access.head.outcome {
            Outcome::Success => tally.reads += 1,
            Outcome::Denied => tally.denied += 1,
            Outcome::Failed => {}
        }
        tally.others.insert(other(access));
        tally.last = tally.last.max(Some(access.head.time));
    }
    all
}

fn rank(
    title: &str,
    others: &str,
    all: &BTreeMap<String, Tally>,
    top: usize,
    by: impl Fn(&Tally) -> u64,
    out: &mut String,
) {
    let mut ranked: Vec<_> = all.iter().filter(|(_, tally)| by(tally) > 0).collect();
    ranked.sort_by_key(|(name, tally)| (std::cmp::Reverse(by(tally)), *name));
    let rows: Vec<[String; 5]> = ranked
        .iter()
        .take(top)
        .map(|(name, tally)| {
            let last = tally.last.map(|time| time.to_string()).unwrap_or_default();
            let others = number(tally.others.len() as u64);
            [
                number(tally.reads),
                number(tally.denied),
                others,
                last,
                (*name).clone(),
            ]
        })
        .collect();
    if !rows.is_empty() {
        out.push_str(&table::columns(
            ["READS", "DENIED", others, "LAST", title],
            &rows,
        ));
        more(ranked.len(), top, out);
    }
}

fn more(all: usize, top: usize, out: &mut String) {
    match all.checked_sub(top).filter(|more| *more > 0) {
        Some(more) => writeln!(out, "and {} more\n", number(more as u64)).ok(),
        None => writeln!(out).ok(),
    };
}

/// A mark for each day, as high as its reads; longer histories have several days to a mark.
fn days(accesses: &[Arc<Access>], out: &mut String) {
    let day = |a: &Arc<Access>| a.head.time.0.div_euclid(DAY);
    let (Some(first), Some(last)) = (accesses.first().map(day), accesses.last().map(day)) else {
        return;
    };
    let all = usize::try_from(last.saturating_sub(first)).unwrap_or(0) + 1;
    let days_a_mark = all.div_ceil(MARKS);
    let mut marks = vec![(0_u64, 0_u64); all.div_ceil(days_a_mark)];
    for access in accesses {
        let index = usize::try_from(day(access).saturating_sub(first)).unwrap_or(0) / days_a_mark;
        if let Some((reads, denied)) = marks.get_mut(index) {
            match access.head.outcome {
                Outcome::Success => *reads += 1,
                Outcome::Denied => *denied += 1,
                Outcome::Failed => {}
            }
        }
    }
    let unit = if days_a_mark == 1 {
        "day".to_owned()
    } else {
        format!("{days_a_mark} days")
    };
    for (name, of) in [
        ("reads", (|m| m.0) as fn(&(u64, u64)) -> u64),
        ("denied", |m| m.1),
    ] {
        let most = marks.iter().map(of).max().unwrap_or(0);
        let line: String = marks.iter().map(|mark| bar(of(mark), most)).collect();
        writeln!(
            out,
            "{name:<7}{line}  a mark is a {unit}, the highest {}",
            number(most)
        )
        .ok();
    }
    out.push('\n');
}

fn bar(count: u64, most: u64) -> char {
    const BARS: [char; 8] = ['▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];
    let height = (count * 8).div_ceil(most.max(1));
    height
        .checked_sub(1)
        .and_then(|index| BARS.get(usize::try_from(index).ok()?))
        .copied()
        .unwrap_or('·')
}

/// Pairs of principal and secret that are new in logs that go back long enough to say so, newest first.
fn new_pairs(accesses: &[Arc<Access>], top: usize, out: &mut String) {
    let since = accesses.iter().map(|a| Sighting {
        key: since_key(&a.head.account),
        time: a.head.time,
    });
    let judge = Judge::of(Memory::default(), since, accesses.iter().map(|a| &**a));
    let news: Vec<&Arc<Access>> = accesses
        .iter()
        .filter(|a| {
            judge.judge(a).principal_secret == Novelty::First && a.head.outcome == Outcome::Success
        })
        .collect();
    let rows: Vec<[String; 3]> = news
        .iter()
        .rev()
        .take(top)
        .map(|a| [a.head.time.to_string(), principal(a), secret(a)])
        .collect();
    if !rows.is_empty() {
        out.push_str(&table::columns(
            ["FIRST READ", "PRINCIPAL", "SECRET"],
            &rows,
        ));
        more(news.len(), top, out);
    }
}

fn by_rule(alerts: &[Alert], out: &mut String) {
    let mut rules: BTreeMap<(std::cmp::Reverse<Level>, &str), (u64, EventTime)> = BTreeMap::new();
    for alert in alerts {
        let entry = rules
            .entry((std::cmp::Reverse(alert.rule.level), &alert.rule.title))
            .or_insert((0, alert.time));
        *entry = (entry.0 + 1, entry.1.max(alert.time));
    }
    let rows: Vec<[String; 4]> = rules
        .iter()
        .map(|((level, title), (count, last))| {
            [
                number(*count),
                level.0.as_str().to_owned(),
                last.to_string(),
                (*title).to_owned(),
            ]
        })
        .collect();
    if rows.is_empty() {
        out.push_str("no alerts\n");
    } else {
        out.push_str(&table::columns(["ALERTS", "LEVEL", "LAST", "RULE"], &rows));
    }
}
