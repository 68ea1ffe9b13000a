//! Cuts a stream of logs into batches, and writes the manifests of a job while they come: in memory
//! are one batch, one manifest, and a line for each batch.

use std::{collections::BTreeMap, fmt::Write as _};

use secretrail_engine::{
    extract_file::ExtractHeader,
    manifest::{self, BackfillIndex, ManifestShard, ShardWriter},
};

use crate::{
    commands::backfill::job::JobLocation,
    host::RunFailure,
    input::{
        listing::FoundLog,
        object::InputProblem,
        store::{ObjectStore, RemoteObject},
    },
    text::plural,
};

/// Objects of one manifest: some megabytes.
const SHARD_OBJECTS: usize = 40_000;

/// Objects of one list of what was left out.
const LISTED_LEFT_OUT: usize = 50_000;

/// Bytes of JSON in a byte of gzip, as CloudTrail writes it. Assumed, not measured: files differ
/// from 8 to 20.
const INFLATION: u64 = 12;

/// Ends of names of logs that are stored as they are. Everything else is taken as packed: a batch
/// too small costs less than one too large.
const PLAIN: [&str; 6] = [".json", ".jsonl", ".ndjson", ".csv", ".log", ".txt"];

/// A plan under way.
pub(super) struct JobPlanner<'p> {
    store: &'p dyn ObjectStore,
    place: &'p JobLocation,
    writer: ShardWriter,
    /// Most bytes of JSON in a batch, as expected.
    most_bytes: u64,
    open: OpenBatch,
    left_out: LeftOut,
    objects: u64,
}

/// A batch to which objects are added: of one account and one month.
#[derive(Default)]
struct OpenBatch {
    account: String,
    month: i32,
    objects: Vec<RemoteObject>,
    bytes: u64,
}

/// Archived objects, which cannot be read.
#[derive(Default)]
struct LeftOut {
    /// Lines of the list that is not written yet.
    text: String,
    lines: usize,
    lists: usize,
    /// Number and first URL, by account and storage class.
    counts: BTreeMap<(String, String), (u64, String)>,
}

/// What was planned.
pub(super) struct PlannedJob {
    pub(super) index: BackfillIndex,
    /// What was left out.
    pub(super) problems: Vec<InputProblem>,
    /// Number of requests that listed the logs.
    pub(super) lists: u64,
}

impl<'p> JobPlanner<'p> {
    /// A plan of a job at this place; `part_size` is the stored size of the gzip logs of a batch.
    pub(super) fn new(
        store: &'p dyn ObjectStore,
        place: &'p JobLocation,
        header: ExtractHeader,
        part_size: u64,
    ) -> Self {
        Self {
            store,
            place,
            writer: ShardWriter::new(header, SHARD_OBJECTS),
            most_bytes: part_size.saturating_mul(INFLATION),
            open: OpenBatch::default(),
            left_out: LeftOut::default(),
            objects: 0,
        }
    }

    /// Number of objects so far, with those that are left out.
    pub(super) fn objects(&self) -> u64 {
        self.objects
    }

    /// Adds a log of an account.
    pub(super) fn add(&mut self, account: &str, log: FoundLog) -> Result<(), RunFailure> {
        self.objects += 1;
        if let Some(class) = &log.listed.archived {
            return self.leave_out(account, &log.listed.item, class);
        }
        let bytes = inflated(&log.listed.item);
        let is_full = self.open.bytes.saturating_add(bytes) > self.most_bytes
            || self.open.objects.len() == manifest::MOST_OBJECTS;
        if is_full || self.open.month != log.month || self.open.account != account {
            self.close()?;
            self.open.month = log.month;
            account.clone_into(&mut self.open.account);
        }
        self.open.bytes += bytes;
        self.open.objects.push(log.listed.item);
        Ok(())
    }

    fn close(&mut self) -> Result<(), RunFailure> {
        let objects = std::mem::take(&mut self.open.objects);
        self.open.bytes = 0;
        if objects.is_empty() {
            return Ok(());
        }
        let full = self.writer.add(objects);
        full.map_or(Ok(()), |shard| self.put(shard))
    }

    fn put(&self, shard: ManifestShard) -> Result<(), RunFailure> {
        self.place.put(self.store, &shard.name, shard.text)
    }

    fn leave_out(
        &mut self,
        account: &str,
        item: &RemoteObject,
        class: &str,
    ) -> Result<(), RunFailure> {
        let left_out = &mut self.left_out;
        let line = serde_json::json!({"object": item.name(), "reason": class});
        writeln!(left_out.text, "{line}").ok();
        left_out.lines += 1;
        let place = (account.to_owned(), class.to_owned());
        let count = left_out.counts.entry(place);
        count.or_insert_with(|| (0, item.name())).0 += 1;
        if left_out.lines == LISTED_LEFT_OUT {
            return self.list_left_out();
        }
        Ok(())
    }

    fn list_left_out(&mut self) -> Result<(), RunFailure> {
        let left_out = &mut self.left_out;
        if left_out.lines == 0 {
            return Ok(());
        }
        let name = format!("left-out-{:05}.jsonl", left_out.lists);
        left_out.lists += 1;
        left_out.lines = 0;
        let text = std::mem::take(&mut left_out.text);
        self.place.put(self.store, &name, text)
    }

    /// Writes what is left, and last the index: a plan that was interrupted has none.
    pub(super) fn finish(mut self) -> Result<PlannedJob, RunFailure> {
        self.close()?;
        self.list_left_out()?;
        let lists = self.place.0.name("left-out-*.jsonl");
        let counts = std::mem::take(&mut self.left_out.counts);
        let problems = counts
            .into_iter()
            .map(|((account, class), (count, first))| {
                let place = match account.as_str() {
                    "" => String::new(),
                    account => format!(" of account {account}"),
                };
                let objects = plural(count, "object");
                let message = format!(
                    "{objects}{place} in the archive {class}, from this one on, left out; restore \
                 them and plan again. All are in {lists}"
                );
                InputProblem::new(first, message)
            });
        let problems = problems.collect();
        let (place, store) = (self.place, self.store);
        let (last, index) = self.writer.finish();
        // A job without batches would count as complete.
        if let Some(shard) = last {
            place.put(store, &shard.name, shard.text)?;
        }
        if !index.batches.is_empty() {
            place.put(store, manifest::NAME, index.write())?;
        }
        Ok(PlannedJob {
            index,
            problems,
            lists: 0,
        })
    }
}

/// Bytes of JSON in an object, as expected.
fn inflated(item: &RemoteObject) -> u64 {
    let is_plain = PLAIN.iter().any(|end| item.key.ends_with(end));
    let times = if is_plain { 1 } else { INFLATION };
    item.size.saturating_mul(times)
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use secretrail_engine::manifest::ManifestBatch;

    use super::*;
    use crate::input::store::{ListedItem, MemoryStore};

    fn log(key: &str, size: u64, month: i32) -> FoundLog {
        FoundLog {
            listed: ListedItem {
                item: RemoteObject {
                    bucket: "b".to_owned(),
                    key: key.to_owned(),
                    etag: "e".to_owned(),
                    size,
                },
                archived: None,
            },
            month,
        }
    }

    fn planned(logs: Vec<(&str, FoundLog)>) -> (MemoryStore, PlannedJob) {
        let store = MemoryStore::default();
        let place = JobLocation::of(Path::new("s3://b/job")).unwrap();
        let mut planner = JobPlanner::new(&store, &place, ExtractHeader::default(), 10);
        for (account, log) in logs {
            planner.add(account, log).unwrap();
        }
        let planned = planner.finish().unwrap();
        (store, planned)
    }

    /// Keys of the batches, as the manifests list them.
    fn keys(store: &MemoryStore) -> Vec<Vec<String>> {
        let objects = store.objects.lock().unwrap();
        let shards = objects
            .iter()
            .filter(|((_, key), _)| key.contains("/objects/"));
        let lines =
            shards.flat_map(|(_, bytes)| std::str::from_utf8(bytes).unwrap().lines().skip(1));
        let batches = lines.map(|line| serde_json::from_str::<ManifestBatch>(line).unwrap());
        batches
            .map(|batch| batch.objects.into_iter().map(|item| item.key).collect())
            .collect()
    }

    #[test]
    fn a_batch_is_of_one_account_and_month_and_keeps_to_its_size() {
        let (store, planned) = planned(vec![
            ("1", log("a.gz", 6, 3)),
            ("1", log("b.gz", 4, 3)),
            ("1", log("c.gz", 1, 3)),
            ("1", log("d.gz", 1, 4)),
            ("2", log("e.gz", 1, 4)),
            ("2", log("f.gz", 90, 4)),
            ("2", log("g.json", 60, 4)),
            ("2", log("h.json", 60, 4)),
            ("2", log("i.gz", 1, 4)),
        ]);
        assert_eq!(
            keys(&store),
            [
                vec!["a.gz", "b.gz"],
                vec!["c.gz"],
                vec!["d.gz"],
                vec!["e.gz"],
                vec!["f.gz"],
                vec!["g.json", "h.json"],
                vec!["i.gz"],
            ]
        );
        assert_eq!(
            (planned.index.head.objects, planned.index.head.bytes),
            (9, 224)
        );
        assert!(planned.problems.is_empty());
        let text = store
            .fetch(&log("job/manifest.jsonl", 0, 0).listed.item)
            .unwrap();
        let text = String::from_utf8(text.bytes).unwrap();
        assert_eq!(BackfillIndex::read(&text), Ok(planned.index));
    }

    #[test]
    fn archived_objects_are_named_and_left_out() {
        let archived = |key: &str, class: &str| {
            let mut log = log(key, 1, 3);
            log.listed.archived = Some(class.to_owned());
            log
        };
        let (store, planned) = planned(vec![
            ("1", archived("a.gz", "GLACIER")),
            ("1", log("b.gz", 1, 3)),
            ("1", archived("c.gz", "GLACIER")),
            ("", archived("d.gz", "DEEP_ARCHIVE")),
        ]);
        assert_eq!(keys(&store), [["b.gz"]]);
        let said: Vec<(&str, &str)> = planned
            .problems
            .iter()
            .map(|problem| (&*problem.name, &*problem.message))
            .collect();
        assert_eq!(
            said,
            [
                (
                    "s3://b/d.gz",
                    "1 object in the archive DEEP_ARCHIVE, from this one on, left out; restore \
                     them and plan again. All are in s3://b/job/left-out-*.jsonl"
                ),
                (
                    "s3://b/a.gz",
                    "2 objects of account 1 in the archive GLACIER, from this one on, left out; \
                     restore them and plan again. All are in s3://b/job/left-out-*.jsonl"
                ),
            ]
        );
        let list = store
            .fetch(&log("job/left-out-00000.jsonl", 0, 0).listed.item)
            .unwrap();
        assert_eq!(String::from_utf8(list.bytes).unwrap().lines().count(), 3);
    }

    #[test]
    fn a_plan_without_logs_leaves_no_job() {
        let (store, planned) = planned(Vec::new());
        assert!(planned.index.batches.is_empty());
        assert!(store.objects.lock().unwrap().is_empty());
    }
}
