//! Finds the objects to read under the paths: files, and folders and prefixes in S3 to any depth,
//! sorted by name. In an `AWSLogs` tree, folders and files outside of the selection are not opened.

use std::{
    cell::RefCell,
    path::{Path, PathBuf},
    sync::{Mutex, PoisonError},
};

use secretrail_engine::{
    object::{self, ObjectKind, ObjectPath},
    report::{ReadReport, SkippedObject},
    selection::{Selection, SelectionTally},
};
use walkdir::{DirEntry, WalkDir};

use super::{
    object::{InputObject, InputProblem, ObjectPlace},
    store::{ObjectStore, RemoteObject, StoreError},
};
use crate::args::path::{bucket_and_prefix, hint, is_stdin};

/// Seconds after the end of the selection in which deliveries are still read. Most events are
/// delivered within ten minutes.
pub(crate) const LATE_DELIVERY_SECS: i64 = 86_400;

/// Seconds by which the delivery stamp of an object, rounded down to a minute, may precede its
/// events.
const STAMP_SLACK_SECS: i64 = 300;

const NO_LOGS_IN_FOLDER: &str = "no log files for this selection in the folder";

const NO_LOGS_BELOW_PREFIX: &str = "no log files for this selection below the prefix";

const NO_PATTERNS: &str = "no log files below the prefix: `*` and `?` have no meaning in a prefix; \
    write the part before them";

/// The objects found under the paths.
#[derive(Debug, Default)]
pub struct WalkedObjects {
    /// Objects to read.
    pub objects: Vec<InputObject>,
    /// Counts of skipped objects, by reason.
    pub report: ReadReport,
    /// Paths that could not be opened.
    pub problems: Vec<InputProblem>,
    /// Accounts, regions and days in the paths, and how much was not opened.
    pub selected: SelectionTally,
}

/// Finds the objects under the paths: logs, and with `digests` also digests.
#[must_use]
pub fn walk(
    paths: &[PathBuf],
    selection: &Selection,
    store: &dyn ObjectStore,
    digests: bool,
) -> WalkedObjects {
    let mut walker = PathWalker {
        selection,
        digests,
        found: WalkedObjects::default(),
    };
    for path in paths {
        if is_stdin(path) {
            walker.found.objects.push(InputObject::stdin());
        } else if let Some((bucket, prefix)) = bucket_and_prefix(path) {
            walker.prefix(&bucket, &prefix, store);
        } else {
            walker.path(path);
        }
    }
    walker.found
}

/// Why a prefix in S3 has no logs.
pub(crate) fn nothing_below(prefix: &str) -> &'static str {
    if prefix.contains(['*', '?']) {
        NO_PATTERNS
    } else {
        NO_LOGS_BELOW_PREFIX
    }
}

/// A walk over the paths, and what it has found so far.
struct PathWalker<'s> {
    selection: &'s Selection,
    digests: bool,
    found: WalkedObjects,
}

impl PathWalker<'_> {
    fn path(&mut self, path: &Path) {
        match std::fs::metadata(path) {
            Ok(meta) if meta.is_dir() => self.folder(path),
            // A file named by the user is read whatever its extension, if it may hold events of the
            // selection.
            Ok(_) => {
                let whole = tree_path(path);
                let parsed = object::parse(&whole);
                if self.takes(&parsed) {
                    let place = ObjectPlace::File(path.to_owned());
                    let object = InputObject::parsed(place, key(path), &whole, &parsed, true);
                    self.found.objects.push(object);
                }
            }
            Err(error) => {
                let named = key(path);
                match hint(path) {
                    Some(hint) => self.problem(named, format!("{error}; {hint}")),
                    None => self.problem(named, error),
                }
            }
        }
    }

    fn folder(&mut self, root: &Path) {
        let tree = InputTree::new(root);
        let before = (self.seen(), self.found.problems.len());
        let entries = WalkDir::new(root)
            .follow_links(true)
            .sort_by(by_name)
            .into_iter();
        let selection = self.selection;
        let left_out = RefCell::new(SelectionTally::default());
        let entries = entries.filter_entry(|entry| {
            !entry.file_type().is_dir()
                || opens(
                    &object::parse(&tree.whole(&key(entry.path()))),
                    selection,
                    &mut left_out.borrow_mut(),
                )
        });
        for entry in entries {
            match entry {
                Ok(entry) if entry.file_type().is_dir() => {}
                Ok(entry) => self.file(entry, &tree),
                Err(error) => self.unopened(root, &error),
            }
        }
        self.found.selected.add(&left_out.into_inner());
        if (self.seen(), self.found.problems.len()) == before {
            self.problem(key(root), NO_LOGS_IN_FOLDER);
        }
    }

    /// An entry that could not be opened: permission denied, or a loop of symbolic links.
    fn unopened(&mut self, root: &Path, error: &walkdir::Error) {
        let name = error.path().map_or_else(|| key(root), key);
        // The error of the system alone: the name of the problem is the path already.
        match error.io_error() {
            Some(error) => self.problem(name, error),
            None => self.problem(name, error),
        }
    }

    fn file(&mut self, entry: DirEntry, tree: &InputTree) {
        let name = key(entry.path());
        // Links were followed. A pipe would wait for its writer, and a device may be endless.
        if !entry.file_type().is_file() {
            return self.found.report.skip_object(SkippedObject::NotAFile);
        }
        let whole = tree.whole(&name);
        let parsed = object::parse(&whole);
        match self.skips(&parsed, &whole) {
            Some(reason) => self.found.report.skip_object(reason),
            None if !self.takes(&parsed) => {}
            None => {
                let place = ObjectPlace::File(entry.into_path());
                let object = InputObject::parsed(place, name, &whole, &parsed, false);
                self.found.objects.push(object);
            }
        }
    }

    fn prefix(&mut self, bucket: &str, prefix: &str, store: &dyn ObjectStore) {
        let named = format!("s3://{bucket}/{prefix}");
        if bucket.is_empty() {
            return self.problem(named, "names no bucket; write s3://bucket/prefix");
        }
        let listed = match self.list(bucket, prefix, store) {
            Ok(listed) => listed,
            Err(error) => return self.problem(named, error),
        };
        let before = self.seen();
        for remote in listed {
            self.remote(remote, prefix);
        }
        if self.seen() == before {
            self.problem(named, nothing_below(prefix));
        }
    }

    fn list(
        &mut self,
        bucket: &str,
        prefix: &str,
        store: &dyn ObjectStore,
    ) -> Result<Vec<RemoteObject>, StoreError> {
        // Without a selection: one request for a thousand objects instead of one for each folder.
        if !self.selection.is_limited() {
            return store.list(bucket, prefix, None);
        }
        let left_out = Mutex::new(SelectionTally::default());
        let (selection, digests) = (self.selection, self.digests);
        // Folders without events, or of another account, region or day, are not listed.
        let listed = store.list(
            bucket,
            prefix,
            Some(&|folder: &str| {
                let parsed = object::parse(folder);
                let holds = parsed.kind == ObjectKind::Events
                    || (digests && parsed.kind == ObjectKind::Digest);
                let mut left_out = left_out.lock().unwrap_or_else(PoisonError::into_inner);
                holds && opens(&parsed, selection, &mut left_out)
            }),
        );
        let left_out = left_out.into_inner();
        self.found
            .selected
            .add(&left_out.unwrap_or_else(PoisonError::into_inner));
        listed
    }

    fn remote(&mut self, remote: RemoteObject, prefix: &str) {
        let key = remote.key.clone();
        let parsed = object::parse(&key);
        // The user typed the full key of this object.
        let explicit = remote.key == prefix;
        match self.skips(&parsed, &key) {
            Some(reason) if !explicit => self.found.report.skip_object(reason),
            None if !self.takes(&parsed) => {}
            _ => {
                let name = remote.name();
                let object =
                    InputObject::parsed(ObjectPlace::S3(remote), name, &key, &parsed, explicit);
                self.found.objects.push(object);
            }
        }
    }

    /// Whether an object may hold events of the selection; it is counted if not.
    fn takes(&mut self, path: &ObjectPath<'_>) -> bool {
        self.found.selected.place(path.account, path.region);
        opens(path, self.selection, &mut self.found.selected)
    }

    /// Why an object is skipped by its name; `None` if it is not.
    fn skips(&self, path: &ObjectPath<'_>, name: &str) -> Option<SkippedObject> {
        SkippedObject::by_name(path, name)
            .filter(|reason| !(self.digests && *reason == SkippedObject::Digest))
    }

    /// Number of objects found or skipped. A path that adds none is most likely wrong.
    fn seen(&self) -> u64 {
        let skipped = self.found.report.objects_skipped.values().sum::<u64>();
        self.found.objects.len() as u64 + skipped
    }

    fn problem(&mut self, name: String, message: impl ToString) {
        self.found.problems.push(InputProblem::new(name, message));
    }
}

/// A folder as typed, and its absolute path: account and region may be in folders above it, as in
/// `cd AWSLogs/111122223333 && secretrail replay .`
struct InputTree {
    typed: String,
    whole: String,
}

impl InputTree {
    fn new(root: &Path) -> Self {
        Self {
            typed: key(root),
            whole: tree_path(root),
        }
    }

    /// The absolute path of an entry, given its name below the typed folder.
    fn whole(&self, name: &str) -> String {
        let below = name
            .strip_prefix(&*self.typed)
            .unwrap_or(name)
            .trim_start_matches('/');
        if below.is_empty() {
            self.whole.clone()
        } else {
            [self.whole.trim_end_matches('/'), "/", below].concat()
        }
    }
}

/// The order of entries of one folder. Comparing whole paths is enough: they differ only in the
/// name.
fn by_name(a: &DirEntry, b: &DirEntry) -> std::cmp::Ordering {
    a.path().as_os_str().cmp(b.path().as_os_str())
}

/// Whether an object or folder may hold events of the selection. Its day and stamp are those of the
/// delivery: events are older.
pub(crate) fn may_hold(path: &ObjectPath<'_>, selection: &Selection) -> bool {
    let Selection {
        from,
        to,
        accounts,
        regions,
        ..
    } = selection;
    let day_fits = path.days.is_none_or(|(start, end)| {
        from.is_none_or(|from| end > from)
            && to.is_none_or(|to| start < to.plus(LATE_DELIVERY_SECS))
    });
    // Outside of a tree, a stamp in a name is not reliable.
    let stamp = path.delivered.filter(|_| path.account.is_some());
    let stamp_fits = stamp.is_none_or(|at| {
        from.is_none_or(|from| at.plus(STAMP_SLACK_SECS) >= from)
            && to.is_none_or(|to| at < to.plus(LATE_DELIVERY_SECS))
    });
    let place_fits = path.account.is_none()
        || (is_among(accounts, path.account) && is_among(regions, path.region));
    day_fits && stamp_fits && place_fits
}

/// Like [`may_hold`]; what is not opened is counted, with its account, region and days.
fn opens(path: &ObjectPath<'_>, selection: &Selection, left_out: &mut SelectionTally) -> bool {
    let opens = may_hold(path, selection);
    if !opens && path.kind == ObjectKind::Events {
        left_out.unopened += 1;
        left_out.place(path.account, path.region);
        left_out.times(path.days.map(|(start, end)| (start, end.plus(-1))));
    }
    opens
}

/// Whether a value is selected. An empty list selects everything; so does a path without the value.
fn is_among(list: &[String], value: Option<&str>) -> bool {
    list.is_empty() || value.is_none_or(|value| list.iter().any(|one| one == value))
}

/// The absolute path of a file, with `/` as in an S3 key.
#[must_use]
pub fn tree_path(path: &Path) -> String {
    key(&canonical(path))
}

fn canonical(path: &Path) -> PathBuf {
    // Only to find the tree above; a path that cannot be resolved is used unchanged.
    std::fs::canonicalize(path).unwrap_or_else(|_| path.to_owned())
}

/// A path with `/`, as in an S3 key.
pub(crate) fn key(path: &Path) -> String {
    path.to_string_lossy().replace('\\', "/")
}

#[cfg(test)]
mod tests {
    use secretrail_engine::time::EventTime;

    use super::*;

    const DAY: &str = "AWSLogs/111122223333/CloudTrail/eu-west-1/2026/03/02";

    fn selection(from: Option<&str>, to: Option<&str>) -> Selection {
        let time = |text: &str| EventTime::parse(text).unwrap();
        Selection {
            from: from.map(time),
            to: to.map(time),
            ..Selection::default()
        }
    }

    fn holds(key: &str, selection: &Selection) -> bool {
        may_hold(&object::parse(key), selection)
    }

    #[test]
    fn a_day_is_that_of_delivery_so_the_next_day_may_hold_late_records() {
        let until = |to| selection(None, Some(to));
        assert!(holds(DAY, &until("2026-03-01T12:00:00Z")));
        assert!(!holds(DAY, &until("2026-02-28T00:00:00Z")));
        assert!(!holds(DAY, &selection(Some("2026-03-03T00:00:00Z"), None)));
    }

    #[test]
    fn another_account_or_region_is_not_opened() {
        let mut only = Selection {
            accounts: vec!["444455556666".to_owned()],
            ..Selection::default()
        };
        assert!(!holds(DAY, &only));
        assert!(
            holds("some/other/file.json", &only),
            "no account in the path"
        );
        only.accounts = vec!["111122223333".to_owned()];
        only.regions = vec!["us-east-1".to_owned()];
        assert!(!holds(DAY, &only));
        assert!(holds("AWSLogs/111122223333/CloudTrail", &only));
    }

    #[test]
    fn the_tree_above_a_folder_counts() {
        let tree = InputTree {
            typed: "./2026".to_owned(),
            whole: "/logs/AWSLogs/1/2026".to_owned(),
        };
        assert_eq!(tree.whole("./2026/03/a.gz"), "/logs/AWSLogs/1/2026/03/a.gz");
        assert_eq!(tree.whole("./2026"), "/logs/AWSLogs/1/2026");
    }

    #[test]
    fn a_folder_without_logs_is_a_problem_and_so_is_a_missing_one() {
        let folder = tempfile::tempdir().unwrap();
        let paths = [folder.path().join("gone"), folder.path().to_owned()];
        let found = walk(
            &paths,
            &Selection::default(),
            &super::super::store::NoObjectStore,
            false,
        );
        let messages: Vec<&str> = found.problems.iter().map(|p| &*p.message).collect();
        assert_eq!(messages.len(), 2, "{messages:?}");
        assert_eq!(messages[1], NO_LOGS_IN_FOLDER);
    }

    fn walked(path: &Path, selection: &Selection) -> WalkedObjects {
        let store = super::super::store::NoObjectStore;
        walk(&[path.to_owned()], selection, &store, false)
    }

    #[cfg(unix)]
    #[test]
    fn pipes_sockets_and_devices_in_folders_are_counted_and_not_opened() {
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name);
        std::fs::write(path("a.json"), "{}").unwrap();
        let _socket = std::os::unix::net::UnixListener::bind(path("b.json")).unwrap();
        std::os::unix::fs::symlink("/dev/zero", path("c.json")).unwrap();
        std::os::unix::fs::symlink(path("a.json"), path("d.json")).unwrap();
        let found = walked(folder.path(), &Selection::default());
        assert_eq!(found.objects.len(), 2, "the file, and the link to it");
        assert_eq!(found.report.objects_skipped[&SkippedObject::NotAFile], 2);
        assert_eq!(found.problems, []);
    }

    #[test]
    fn what_a_selection_leaves_out_by_path_is_counted_and_named() {
        let folder = tempfile::tempdir().unwrap();
        let day = folder.path().join(DAY);
        std::fs::create_dir_all(&day).unwrap();
        std::fs::write(day.join("a.json"), "{}").unwrap();
        let only = Selection {
            accounts: vec!["444455556666".to_owned()],
            ..Selection::default()
        };
        let found = walked(folder.path(), &only);
        assert!(found.objects.is_empty() && found.selected.unopened == 1);
        assert!(found.selected.accounts.contains("111122223333"));
        assert_eq!(found.problems[0].message, NO_LOGS_IN_FOLDER);
        let late = walked(
            folder.path(),
            &selection(Some("2026-04-01T00:00:00Z"), None),
        );
        let (first, last) = late.selected.span.unwrap();
        assert_eq!(
            (first.to_string(), last.to_string()),
            (
                "2026-03-01T00:00:00Z".to_owned(),
                "2026-03-31T23:59:59Z".to_owned()
            )
        );
    }

    #[test]
    fn a_path_that_is_not_there_gets_the_hint_of_its_form() {
        let message = |path: &str| {
            let found = walked(Path::new(path), &Selection::default());
            found.problems[0].message.clone()
        };
        assert!(message("s3:/logs/x").ends_with("; write s3://logs/x"));
        assert!(message("/nowhere/*.json").ends_with("name the folder"));
        assert!(!message("/nowhere/a.json").contains(';'));
    }
}
