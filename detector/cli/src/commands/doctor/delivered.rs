//! The last file of each account and region in the bucket, and whether the function has read it:
//! the whole path in one look, from CloudTrail to the state table.

use secretrail_aws::names::{ALONE, AT, DETAILS, LAST_OBJECT, STATE, object};
use secretrail_engine::{ids::is_account, time::EventTime};

use super::{
    Checkup,
    findings::{first_of, span},
};
use crate::{deployment::bucket::TrailObject, text::plural};

const PART: &str = "last file";

/// Most accounts and regions that are looked at: each costs a few requests.
const MOST: usize = 100;
/// Most of them in lines of their own.
const NAMED: usize = 20;
/// A file may take so many seconds from delivery to the state table, retries included.
const GRACE: i64 = 600;
/// Names of files of the last hours are listed first: most days have more than one page.
const RECENT: i64 = 7_200;

/// An account and region of the trail.
struct TrailPlace {
    account: String,
    region: String,
    /// Prefix of its files, before the year.
    prefix: String,
}

/// What became of the last file of a place.
enum LastFile {
    Read,
    /// It could not be read, and why.
    Failed(String),
    /// The function does not know it.
    Unread,
    /// Delivered within the grace, or before the deployment.
    Open,
}

pub(super) fn check(checkup: &mut Checkup<'_>) {
    with_events(checkup);
    if checkup.bucket.name.is_empty() {
        return;
    }
    let Some(places) = places(checkup) else {
        return;
    };
    if places.is_empty() {
        let what = format!(
            "no log files of accounts below s3://{}/",
            checkup.bucket.name
        );
        let remedy = "see whether TrailBucket and TrailPrefix are those of the trail";
        checkup.findings.fail(PART, what, remedy);
        return;
    }
    let mut read = Vec::new();
    let mut quiet = 0;
    for place in places.iter().take(MOST) {
        let Some(found) = last(checkup, place) else {
            return;
        };
        match found {
            None => quiet += 1,
            Some((file, status)) => report(checkup, place, &file, status, &mut read),
        }
    }
    summary(checkup, &read, quiet, places.len());
}

/// The last file with events, as the function has noted it.
fn with_events(checkup: &mut Checkup<'_>) {
    let answer = checkup.table.item(LAST_OBJECT, ALONE);
    let what = "time of the last file with events";
    let Some(item) = checkup.findings.known(PART, what, answer) else {
        return;
    };
    let quiet = checkup.stack.parameter("QuietMinutes");
    let quiet: i64 = quiet.parse().unwrap_or(60);
    let at = item.and_then(|item| item.number(AT)).map(EventTime);
    let findings = &mut checkup.findings;
    let Some(at) = at else {
        findings.warn(
            PART,
            "the function has not read any file with events yet",
            "right in the first minutes; otherwise see the lines above about bucket and queue",
        );
        return;
    };
    let age = checkup.now.0.saturating_sub(at.0);
    let what = format!(
        "the function has read one with events at {at}, {} ago",
        span(age)
    );
    if age > quiet.saturating_mul(60) {
        let remedy = "see whether the trail is logging (aws cloudtrail get-trail-status), and the \
                      lines above about bucket and queue";
        findings.fail(PART, what, remedy);
    } else {
        findings.ok(PART, what);
    }
}

/// The accounts and regions of the trail; `None` if they cannot be listed.
fn places(checkup: &mut Checkup<'_>) -> Option<Vec<TrailPlace>> {
    let root = format!("{}AWSLogs/", checkup.stack.parameter("TrailPrefix"));
    let mut roots = vec![root.clone()];
    let mut accounts = Vec::new();
    // The files of an organisation lie below its id.
    while let Some(root) = roots.pop() {
        for folder in folders(checkup, &root)? {
            let name = last_part(&folder).to_owned();
            if is_account(&name) {
                accounts.push((name, folder));
            } else if name.starts_with("o-") && root.ends_with("AWSLogs/") {
                roots.push(folder);
            }
        }
    }
    let wanted = checkup.accounts;
    accounts.retain(|(account, _)| wanted.is_empty() || wanted.contains(account));
    let mut places = Vec::new();
    for (account, folder) in accounts {
        // Later accounts are counted, not listed: how many regions they have is not known.
        if places.len() >= MOST {
            places.push(TrailPlace {
                account,
                region: String::new(),
                prefix: String::new(),
            });
            continue;
        }
        for prefix in folders(checkup, &format!("{folder}CloudTrail/"))? {
            places.push(TrailPlace {
                account: account.clone(),
                region: last_part(&prefix).to_owned(),
                prefix,
            });
        }
    }
    Some(places)
}

fn folders(checkup: &mut Checkup<'_>, prefix: &str) -> Option<Vec<String>> {
    let mut all: Vec<String> = Vec::new();
    loop {
        let after = all.last().cloned();
        let answer = checkup.bucket.list(prefix, after.as_deref());
        let what = format!("s3://{}/{prefix}", checkup.bucket.name);
        let page = checkup.findings.known(PART, &what, answer)?;
        // The folder after which a page begins may be listed again.
        let new = page.folders.into_iter();
        let new: Vec<String> = new
            .filter(|folder| Some(folder) != after.as_ref())
            .collect();
        let is_over = new.is_empty() || !page.more;
        all.extend(new);
        if is_over {
            return Some(all);
        }
    }
}

fn last_part(folder: &str) -> &str {
    let folder = folder.trim_end_matches('/');
    folder.rsplit('/').next().unwrap_or(folder)
}

/// The last file of a place and what became of it; the inner `None` if there is none, the outer if
/// it cannot be looked at.
fn last(checkup: &mut Checkup<'_>, place: &TrailPlace) -> Option<Option<(TrailObject, LastFile)>> {
    let keys = last_keys(checkup, place)?;
    let mut found = None;
    // The last one may have come a moment ago: then the one before it is judged.
    for key in keys.iter().rev() {
        let answer = checkup.bucket.object(key);
        let what = format!("s3://{}/{key}", checkup.bucket.name);
        let file = checkup.findings.known(PART, &what, answer)?;
        let status = status(checkup, &file)?;
        let is_open = matches!(status, LastFile::Open);
        found = Some((file, status));
        if !is_open {
            break;
        }
    }
    Some(found)
}

/// The keys of the last two files of today, or else of yesterday.
fn last_keys(checkup: &mut Checkup<'_>, place: &TrailPlace) -> Option<Vec<String>> {
    let now = checkup.now;
    let today = now.start_of(86_400);
    let recent = now.plus(-RECENT).max(today);
    for (day, after) in [
        (today, Some(recent)),
        (today, None),
        (today.plus(-86_400), None),
    ] {
        let date = day.to_string();
        let date = date.split('T').next().unwrap_or_default();
        let folder = format!("{}{}/", place.prefix, date.replace('-', "/"));
        let mut after = after.map(|time| format!("{folder}{}", file_before(place, time)));
        let mut last: Vec<String> = Vec::new();
        loop {
            let answer = checkup.bucket.list(&folder, after.as_deref());
            let what = format!("s3://{}/{folder}", checkup.bucket.name);
            let page = checkup.findings.known(PART, &what, answer)?;
            last.extend(page.keys);
            last.drain(..last.len().saturating_sub(2));
            after = last.last().cloned();
            if !page.more || after.is_none() {
                break;
            }
        }
        if !last.is_empty() {
            return Some(last);
        }
    }
    Some(Vec::new())
}

/// What stands before the names of files from a time on: account, region and minute.
fn file_before(place: &TrailPlace, time: EventTime) -> String {
    let minute: String = time
        .to_string()
        .chars()
        .filter(|c| !"-:".contains(*c))
        .take("20260302T1000".len())
        .collect();
    format!("{}_CloudTrail_{}_{minute}", place.account, place.region)
}

/// What the function has noted about a file.
fn status(checkup: &mut Checkup<'_>, file: &TrailObject) -> Option<LastFile> {
    let keys = [(object(&checkup.bucket.name, &file.key), ALONE.to_owned())];
    let answer = checkup.table.items(&keys);
    let what = "state of the last files";
    let items = checkup.findings.known(PART, what, answer)?;
    let states: Vec<&str> = items.values().filter_map(|item| item.text(STATE)).collect();
    let is_before =
        EventTime::parse(&checkup.stack.created).is_some_and(|created| file.modified < created);
    let is_new = checkup.now.0.saturating_sub(file.modified.0) < GRACE;
    Some(match states.as_slice() {
        [] if is_new || is_before => LastFile::Open,
        [] => LastFile::Unread,
        states if states.iter().any(|state| *state != "failed") => LastFile::Read,
        _ => {
            let details = items.values().find_map(|item| item.text(DETAILS));
            LastFile::Failed(details.unwrap_or("no reason is noted").to_owned())
        }
    })
}

fn report(
    checkup: &mut Checkup<'_>,
    place: &TrailPlace,
    file: &TrailObject,
    status: LastFile,
    read: &mut Vec<String>,
) {
    let age = span(checkup.now.0.saturating_sub(file.modified.0));
    let at = file.modified;
    let what = format!("{} {} at {at}, {age} ago", place.account, place.region);
    let key = format!("s3://{}/{}", checkup.bucket.name, file.key);
    let findings = &mut checkup.findings;
    match status {
        LastFile::Read => read.push(what),
        LastFile::Open => read.push(format!("{what} (just delivered, or before the deployment)")),
        LastFile::Failed(why) => findings.fail(
            PART,
            format!("{what}: the function could not read {key}: {why}"),
            "mend what the reason names; the queue repeats it, later it is a dead letter",
        ),
        LastFile::Unread => findings.fail(
            PART,
            format!("{what}: the function does not know {key}"),
            "see the lines above about bucket, new files, queue and mapping; announce missed files \
             again as infra/README.md says",
        ),
    }
}

fn summary(checkup: &mut Checkup<'_>, read: &[String], quiet: u64, all: usize) {
    let findings = &mut checkup.findings;
    for what in read.iter().take(NAMED) {
        findings.ok(PART, what.clone());
    }
    if let Some(more) = read.get(NAMED..).filter(|more| !more.is_empty()) {
        let what = format!("read in {} more: {}", more.len(), first_of(more, 3));
        findings.ok(PART, what);
    }
    if quiet > 0 {
        let what = format!("{} without files since yesterday", plural(quiet, "region"));
        findings.ok(PART, what);
    }
    if all > MOST {
        findings.warn(
            PART,
            format!("only the first {MOST} accounts and regions were looked at"),
            "name accounts with --account",
        );
    }
}
