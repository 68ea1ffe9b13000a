//! Paths to the objects to read: files as they are, folders and prefixes in S3 to any depth in the order of their names. In an `AWSLogs`
//! tree, folders and files that cannot hold what was asked for are not opened.

use std::path::{Path, PathBuf};

use secretrail_engine::object::{self, ObjectKind, ObjectPath};
use secretrail_engine::part;
use secretrail_engine::report::{Report, SkippedObject};
use secretrail_engine::selection::Selection;
use secretrail_engine::time::EventTime;
use walkdir::{DirEntry, WalkDir};

/// Seconds after the last event time asked for up to which deliveries are read. Most come within ten minutes.
const LATE_DELIVERY_SECS: i64 = 86_400;

/// Seconds that a delivery stamp, cut to the minute, may lie before an event of its object.
const STAMP_SLACK_SECS: i64 = 300;

/// An object to read.
#[derive(Debug)]
pub struct Object {
    /// Where it is.
    pub place: Place,
    /// Name in the ledger: the path as it was typed, with `/` and without bytes that are not UTF-8.
    pub name: String,
    /// Whether its place in an `AWSLogs` tree has decided on account and region.
    pub in_tree: bool,
    /// Account and region of that place.
    pub home: Option<(String, String)>,
    /// Time of delivery, from its name.
    pub delivered: Option<EventTime>,
    /// Whether the user named it, so that it must hold records.
    pub explicit: bool,
    /// Whether it holds observation parts, by its name.
    pub is_part: bool,
}

impl Object {
    /// Size in bytes as it is stored; 0 where that is not known.
    #[must_use]
    pub fn size(&self) -> u64 {
        match &self.place {
            Place::File(path) => std::fs::metadata(path).map_or(0, |meta| meta.len()),
            Place::S3(remote) => remote.size,
            Place::Stdin => 0,
        }
    }

    /// What tells its versions apart: the ETag in S3, the size of a file.
    #[must_use]
    pub fn tag(&self) -> String {
        match &self.place {
            Place::S3(remote) if !remote.etag.is_empty() => remote.etag.clone(),
            _ => self.size().to_string(),
        }
    }
}

/// Where an object is.
#[derive(Debug)]
pub enum Place {
    /// A file.
    File(PathBuf),
    /// An object in S3.
    S3(Remote),
    /// Standard input.
    Stdin,
}

/// An object in S3, as a listing has it.
pub type Remote = secretrail_engine::manifest::Item;

/// Says which folders are to be opened.
pub type Opens<'o> = dyn Fn(&str) -> bool + Sync + 'o;

/// Lists what is below a prefix: bucket, prefix, and which folders are to be opened; without that, all at once.
pub type List<'l> = dyn Fn(&str, &str, Option<&Opens<'_>>) -> Result<Vec<Remote>, String> + 'l;

/// Something that could not be read.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Problem {
    /// What.
    pub name: String,
    /// Why, and what to do.
    pub message: String,
}

/// What the paths came to.
#[derive(Debug, Default)]
pub struct Objects {
    /// To be read.
    pub objects: Vec<Object>,
    /// Objects that were passed over, by reason.
    pub report: Report,
    /// Paths that could not be opened.
    pub problems: Vec<Problem>,
}

/// Whether a path stands for standard input.
#[must_use]
pub fn is_stdin(path: &Path) -> bool {
    path.as_os_str() == "-"
}

/// Finds the objects under the paths: logs, and digests where they are asked for.
#[must_use]
pub fn walk(paths: &[PathBuf], selection: &Selection, list: &List<'_>, digests: bool) -> Objects {
    let looking = Looking { selection, digests };
    let mut found = Objects::default();
    for path in paths {
        if is_stdin(path) {
            let name = "standard input".to_owned();
            let place = Place::Stdin;
            found.objects.push(Object {
                place,
                name,
                in_tree: false,
                home: None,
                delivered: None,
                explicit: true,
                is_part: false,
            });
            continue;
        }
        if let Some((bucket, prefix)) = bucket_and_prefix(path) {
            remote(&bucket, &prefix, looking, list, &mut found);
            continue;
        }
        match std::fs::metadata(path) {
            Ok(meta) if meta.is_dir() => folder(path, looking, &mut found),
            Ok(_) => {
                let key = key(&canonical(path));
                let parsed = object::parse(&key);
                found.objects.push(Object {
                    place: Place::File(path.clone()),
                    name: self::key(path),
                    in_tree: parsed.account.is_some(),
                    home: home(&parsed),
                    delivered: parsed.delivered,
                    explicit: true,
                    is_part: part::is_part(&key),
                });
            }
            Err(error) => found.problems.push(Problem {
                name: key(path),
                message: error.to_string(),
            }),
        }
    }
    found
}

/// What is looked for.
#[derive(Clone, Copy)]
struct Looking<'s> {
    selection: &'s Selection,
    digests: bool,
}

impl Looking<'_> {
    /// Why an object is passed over by its name; `None` when it is not.
    fn skips(self, path: &ObjectPath<'_>, name: &str) -> Option<SkippedObject> {
        SkippedObject::by_name(path, name)
            .filter(|reason| !(self.digests && *reason == SkippedObject::Digest))
    }
}

fn folder(root: &Path, looking: Looking<'_>, found: &mut Objects) {
    let selection = looking.selection;
    // The tree above the folder counts too: `cd AWSLogs && secretrail replay .`
    let (typed, whole) = (key(root), key(&canonical(root)));
    let whole_of = |name: &str| {
        let below = name
            .strip_prefix(&*typed)
            .unwrap_or(name)
            .trim_start_matches('/');
        if below.is_empty() {
            whole.clone()
        } else {
            [whole.trim_end_matches('/'), "/", below].concat()
        }
    };
    let before = found.objects.len() as u64 + found.report.objects_skipped.values().sum::<u64>();
    let entries = WalkDir::new(root)
        .follow_links(true)
        .sort_by(by_name)
        .into_iter();
    let wanted = |entry: &DirEntry| {
        !entry.file_type().is_dir()
            || may_hold(&object::parse(&whole_of(&key(entry.path()))), selection)
    };
    for entry in entries.filter_entry(wanted) {
        let entry = match entry {
            Ok(entry) => entry,
            Err(error) => {
                let name = error.path().map_or_else(|| key(root), key);
                let message = error
                    .io_error()
                    .map_or_else(|| error.to_string(), ToString::to_string);
                found.problems.push(Problem { name, message });
                continue;
            }
        };
        if entry.file_type().is_dir() {
            continue;
        }
        let name = key(entry.path());
        let full = whole_of(&name);
        let parsed = object::parse(&full);
        match looking.skips(&parsed, &full) {
            Some(reason) => found.report.skip_object(reason),
            None if !may_hold(&parsed, selection) => {}
            None => found.objects.push(Object {
                name,
                place: Place::File(entry.into_path()),
                in_tree: parsed.account.is_some(),
                home: home(&parsed),
                delivered: parsed.delivered,
                explicit: false,
                is_part: part::is_part(&full),
            }),
        }
    }
    let now = found.objects.len() as u64 + found.report.objects_skipped.values().sum::<u64>();
    if now == before && found.problems.is_empty() {
        let message = "no log files for this selection in the folder; logs end in .json, .jsonl, .ndjson or .gz";
        found.problems.push(Problem {
            name: key(root),
            message: message.to_owned(),
        });
    }
}

/// The order of names, for entries of one folder: of their whole paths only the names differ, and need not be looked for.
fn by_name(a: &DirEntry, b: &DirEntry) -> std::cmp::Ordering {
    a.path().as_os_str().cmp(b.path().as_os_str())
}

/// `s3://bucket/prefix`; `None` for any other path.
#[must_use]
pub fn bucket_and_prefix(path: &Path) -> Option<(String, String)> {
    let rest = path.to_str()?.strip_prefix("s3://")?;
    let (bucket, prefix) = rest.split_once('/').unwrap_or((rest, ""));
    Some((bucket.to_owned(), prefix.to_owned()))
}

fn remote(bucket: &str, prefix: &str, looking: Looking<'_>, list: &List<'_>, found: &mut Objects) {
    let selection = looking.selection;
    let name = |key: &str| format!("s3://{bucket}/{key}");
    let mut problem = |message: String| {
        found.problems.push(Problem {
            name: name(prefix),
            message,
        })
    };
    if bucket.is_empty() {
        return problem("names no bucket; write s3://bucket/prefix".to_owned());
    }
    // What holds no events, and what is of another account, region or day, is not opened.
    let opens = |folder: &str| {
        let parsed = object::parse(folder);
        let holds = parsed.kind == ObjectKind::Events
            || (looking.digests && parsed.kind == ObjectKind::Digest);
        holds && may_hold(&parsed, selection)
    };
    // Folder by folder costs a request for each day; all at once, one for a thousand objects.
    let Selection {
        from,
        to,
        accounts,
        regions,
        ..
    } = selection;
    let everything = from.is_none() && to.is_none() && accounts.is_empty() && regions.is_empty();
    let opens: Option<&Opens<'_>> = if everything { None } else { Some(&opens) };
    let objects = match list(bucket, prefix, opens) {
        Ok(objects) => objects,
        Err(message) => return problem(message),
    };
    let before = found.objects.len() as u64 + found.report.objects_skipped.values().sum::<u64>();
    for object in objects {
        let parsed = object::parse(&object.key);
        let explicit = object.key == prefix;
        match looking.skips(&parsed, &object.key) {
            Some(reason) if !explicit => found.report.skip_object(reason),
            None if !may_hold(&parsed, selection) => {}
            _ => found.objects.push(Object {
                name: name(&object.key),
                in_tree: parsed.account.is_some(),
                home: home(&parsed),
                delivered: parsed.delivered,
                explicit,
                is_part: part::is_part(&object.key),
                place: Place::S3(object.clone()),
            }),
        }
    }
    let now = found.objects.len() as u64 + found.report.objects_skipped.values().sum::<u64>();
    if now == before {
        let message = "no log files for this selection below the prefix; logs end in .json, .jsonl, .ndjson or .gz";
        found.problems.push(Problem {
            name: name(prefix),
            message: message.to_owned(),
        });
    }
}

fn home(path: &ObjectPath<'_>) -> Option<(String, String)> {
    Some((path.account?.to_owned(), path.region?.to_owned()))
}

/// Whether an object or folder may hold what is asked for, so that it is opened. Its day and stamp are those of delivery: records are older.
pub(crate) fn may_hold(path: &ObjectPath<'_>, selection: &Selection) -> bool {
    let listed = |list: &[String], value: Option<&str>| {
        list.is_empty() || value.is_none_or(|v| list.iter().any(|l| l == v))
    };
    let day_fits = path.days.is_none_or(|(start, end)| {
        selection.from.is_none_or(|from| end > from)
            && selection
                .to
                .is_none_or(|to| start < to.plus(LATE_DELIVERY_SECS))
    });
    let stamp_fits = path
        .delivered
        .filter(|_| path.account.is_some())
        .is_none_or(|at| {
            selection
                .from
                .is_none_or(|from| at.plus(STAMP_SLACK_SECS) >= from)
                && selection
                    .to
                    .is_none_or(|to| at < to.plus(LATE_DELIVERY_SECS))
        });
    let place_fits = path.account.is_none()
        || (listed(&selection.accounts, path.account) && listed(&selection.regions, path.region));
    day_fits && stamp_fits && place_fits
}

/// The whole path of a file, as a key.
#[must_use]
pub fn tree_path(path: &Path) -> String {
    key(&canonical(path))
}

fn canonical(path: &Path) -> PathBuf {
    // Only to see the tree above; a path that cannot be resolved is taken as it is.
    std::fs::canonicalize(path).unwrap_or_else(|_| path.to_owned())
}

fn key(path: &Path) -> String {
    path.to_string_lossy().replace('\\', "/")
}
