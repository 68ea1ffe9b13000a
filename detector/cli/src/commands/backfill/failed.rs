//! The objects that the batches of a job could not read, from the lists beside the extract files.

use std::{
    collections::BTreeSet,
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
};

use secretrail_engine::{
    extract_file::is_extract_file,
    manifest::{FailedItem, failed_list, is_failed_list},
};

use crate::{
    commands::backfill::job::JobLocation,
    host::RunFailure,
    input::{object::InputProblem, store::ObjectStore},
    text::plural,
};

/// Lists that are read at the same time.
const READERS: usize = 16;

/// Most objects to name one by one.
const NAMED: usize = 10;

/// The lists of a job.
pub(super) struct FailedObjects<'j> {
    job: &'j JobLocation,
    lists: Vec<&'j str>,
}

impl<'j> FailedObjects<'j> {
    /// The lists among these names. One whose extract file is missing does not count: the whole
    /// batch is run again.
    pub(super) fn of(job: &'j JobLocation, there: &'j BTreeSet<String>) -> Self {
        let parts = there.iter().filter(|name| is_extract_file(name));
        let counting: BTreeSet<String> = parts.map(|part| failed_list(part)).collect();
        let lists = there
            .iter()
            .map(String::as_str)
            .filter(|name| is_failed_list(name) && counting.contains(*name));
        Self {
            job,
            lists: lists.collect(),
        }
    }

    /// Reads the lists.
    pub(super) fn read(&self, store: &dyn ObjectStore) -> Result<FailedTally, RunFailure> {
        let next = AtomicUsize::new(0);
        let read = Mutex::new(Vec::new());
        std::thread::scope(|scope| {
            for _ in 0..READERS.min(self.lists.len()) {
                scope.spawn(|| {
                    while let Some(list) = self.lists.get(next.fetch_add(1, Ordering::Relaxed)) {
                        let items = self.list(store, list);
                        let mut read = read.lock().unwrap_or_else(PoisonError::into_inner);
                        read.push(items);
                    }
                });
            }
        });
        let read = read.into_inner().unwrap_or_else(PoisonError::into_inner);
        let lists: Vec<Vec<FailedItem>> = read.into_iter().collect::<Result<_, _>>()?;
        let mut items: Vec<FailedItem> = lists.into_iter().flatten().collect();
        items.sort_by(|a, b| a.item.key.cmp(&b.item.key));
        Ok(FailedTally(items))
    }

    fn list(&self, store: &dyn ObjectStore, list: &str) -> Result<Vec<FailedItem>, RunFailure> {
        let text = self.job.text(store, list)?;
        FailedItem::read(&text).map_err(|error| self.job.unreadable(list, error))
    }
}

/// Objects that could not be read, by key.
pub(super) struct FailedTally(pub(super) Vec<FailedItem>);

impl FailedTally {
    /// The first of them by name, the rest counted, and what to do.
    pub(super) fn problems(&self, job: &JobLocation) -> Vec<InputProblem> {
        let named = self.0.iter().take(NAMED);
        let named = named.map(|failed| InputProblem::new(failed.item.name(), &failed.reason));
        let mut problems: Vec<InputProblem> = named.collect();
        if !self.0.is_empty() {
            let all = plural(self.0.len() as u64, "object");
            let folder = job.0.name("");
            let message = format!(
                "{all} could not be read; when that is mended: `secretrail backfill plan \
                 --failed-of {folder} -o s3://…`"
            );
            problems.push(InputProblem::new(folder, message));
        }
        problems
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::input::store::{MemoryStore, RemoteObject};

    fn failed(key: &str) -> FailedItem {
        FailedItem {
            item: RemoteObject {
                bucket: "logs".to_owned(),
                key: key.to_owned(),
                etag: "e".to_owned(),
                size: 7,
            },
            reason: "access denied".to_owned(),
        }
    }

    #[test]
    fn what_could_not_be_read_is_named_once_and_counted() {
        let (store, job) = (
            MemoryStore::default(),
            JobLocation::of(Path::new("s3://b/job")).unwrap(),
        );
        let put = |name: &str, text: String| job.put(&store, name, text).unwrap();
        for part in 0..30 {
            let name = format!("secretrail-{part:02}.extract.jsonl.gz");
            let items = vec![failed(&format!("k{part:02}"))];
            put(&failed_list(&name), FailedItem::write(items));
            if part != 7 {
                put(&name, String::new());
            }
        }
        let there = job.0.there(&store).unwrap();
        let tally = FailedObjects::of(&job, &there).read(&store).unwrap();
        assert_eq!(
            tally.0.len(),
            29,
            "the batch without an extract file is run again"
        );
        let problems = tally.problems(&job);
        assert_eq!(problems.len(), NAMED + 1);
        assert_eq!(
            problems[0],
            InputProblem::new("s3://logs/k00", "access denied")
        );
        let last = &problems[NAMED].message;
        assert!(last.starts_with("29 objects could not be read"), "{last}");
        assert!(last.contains("--failed-of s3://b/job/ "), "{last}");
        put("secretrail-00.failed.jsonl", "{".to_owned());
        let broken = FailedObjects::of(&job, &there).read(&store).err().unwrap();
        assert!(
            broken
                .to_string()
                .starts_with("s3://b/job/secretrail-00.failed.jsonl: "),
            "{broken}"
        );
    }

    #[test]
    fn a_job_without_failures_has_no_problems() {
        let job = JobLocation::of(Path::new("s3://b/job")).unwrap();
        assert!(FailedTally(Vec::new()).problems(&job).is_empty());
    }
}
