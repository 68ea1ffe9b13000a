//! Extract files in place of logs: which of their objects a run uses, each once, and their records.

use std::{
    collections::BTreeMap,
    io::BufRead,
    sync::{Mutex, PoisonError},
};

use ahash::{HashSet, RandomState};
use secretrail_engine::{
    extract_file::{ExtractEntry, ExtractFileError, ExtractFileReader},
    gaps::LogDelivery,
    object::{self, RecordOrigin},
    report::ObjectStatus,
    scan::ObjectScanner,
};

use crate::input::{
    object::InputProblem,
    read::ReadTask,
    reading::{ReadingResult, problems_of},
    walk,
};

/// The objects of extract files read so far: two files may hold the same object.
pub struct KnownObjects<'t> {
    task: &'t ReadTask<'t>,
    /// Hashes of names and tags.
    known: Mutex<HashSet<u64>>,
    /// Objects of which nothing could be read, by hash: another job may have read them since.
    failed: Mutex<BTreeMap<u64, ExtractEntry>>,
    hasher: RandomState,
}

impl<'t> KnownObjects<'t> {
    /// Starts without any objects.
    #[must_use]
    pub fn new(task: &'t ReadTask<'t>) -> Self {
        Self {
            task,
            known: Mutex::default(),
            failed: Mutex::default(),
            hasher: RandomState::new(),
        }
    }

    /// Uses an object of an extract file; `None` if it is outside of the selection or a duplicate.
    #[must_use]
    pub fn take(&self, entry: &ExtractEntry, out: &mut ReadingResult) -> Option<RecordOrigin> {
        let parsed = object::parse(&entry.name);
        // The extraction may have had a wider selection than this run.
        if !walk::may_hold(&parsed, self.task.selection) {
            let selected = &mut out.scan_result.selected;
            selected.unopened += 1;
            selected.place(parsed.account, parsed.region);
            return None;
        }
        let hash = self.hasher.hash_one((&entry.name, &entry.tag));
        if self.is_unread(hash, entry) || !self.is_new(hash) {
            return None;
        }
        if entry.in_tree {
            // Its path selects it; of its other records, only the number is known.
            let selected = &mut out.scan_result.selected;
            if walk::may_hold(&parsed, self.task.asked) {
                selected.taken += entry.records;
            } else {
                selected.left_out += entry.records;
                selected.times(parsed.days.map(|(start, end)| (start, end.plus(-1))));
            }
            selected.place(parsed.account, parsed.region);
        }
        let report = entry.report();
        out.scan_result.report.add(&report);
        out.coverage.extend(entry.marks());
        out.problems
            .extend(problems_of(&entry.name, &entry.object_status, &report));
        let origin = entry.origin();
        if let Some(unreadable) = &entry.unreadable {
            unreadable.add_match(&origin, self.task.selection, &mut out.scan_result);
        }
        let place = parsed.account.zip(parsed.region);
        self.note_delivery(place, &origin, out);
        Some(origin)
    }

    /// Notes when the object of a place was delivered.
    fn note_delivery(
        &self,
        place: Option<(&str, &str)>,
        origin: &RecordOrigin,
        out: &mut ReadingResult,
    ) {
        let Some(((account, region), time)) = place.zip(origin.delivered) else {
            return;
        };
        out.delivering.add(account, region, time);
        if self.task.keeps_deliveries {
            out.deliveries.push(LogDelivery {
                account: account.into(),
                region: region.into(),
                time,
            });
        }
    }

    /// Whether nothing of an object could be read, which is remembered until the end.
    fn is_unread(&self, hash: u64, entry: &ExtractEntry) -> bool {
        let is_unread =
            entry.records == 0 && matches!(entry.object_status, ObjectStatus::Failed(_));
        if is_unread {
            let mut failed = self.failed.lock().unwrap_or_else(PoisonError::into_inner);
            failed.insert(hash, entry.clone());
        }
        is_unread
    }

    /// Names the objects that no extract file could read. To be called when all have been read.
    pub fn finish(&self, out: &mut ReadingResult) {
        let known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        let failed = self.failed.lock().unwrap_or_else(PoisonError::into_inner);
        let unread = failed.iter().filter(|(hash, _)| !known.contains(*hash));
        for (_, entry) in unread {
            let report = entry.report();
            out.scan_result.report.add(&report);
            out.problems
                .extend(problems_of(&entry.name, &entry.object_status, &report));
            let parsed = object::parse(&entry.name);
            let selected = &mut out.scan_result.selected;
            selected.place(parsed.account, parsed.region);
        }
    }

    /// Remembers an object; returns whether it is new.
    fn is_new(&self, hash: u64) -> bool {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        known.insert(hash)
    }

    /// Reads all extracts in an object; several may be concatenated.
    pub fn parts(
        &self,
        name: &str,
        bytes: impl BufRead,
        scanner: &mut ObjectScanner<'_>,
        out: &mut ReadingResult,
    ) {
        if let Err(error) = self.parts_in(name, bytes, scanner, out) {
            out.fail(name, error);
        }
        self.task.runs.take(&mut out.scan_result);
        out.coverage.extend(out.scan_result.coverage.drain());
    }

    fn parts_in(
        &self,
        name: &str,
        bytes: impl BufRead,
        scanner: &mut ObjectScanner<'_>,
        out: &mut ReadingResult,
    ) -> Result<(), ExtractFileError> {
        let mut next = ExtractFileReader::inflating(bytes)?;
        while let Some(mut part) = next {
            if let Some(lacks) = part.header.lacks(self.task.rules, self.task.selection) {
                out.refused.push(InputProblem::new(name, lacks));
                return Ok(());
            }
            // Duplicate objects and objects outside of the selection have no origin.
            let mut origins = Vec::with_capacity(part.entries.len());
            for entry in &part.entries {
                origins.push((self.take(entry, out), entry.in_tree));
            }
            while let Some(record) = part.next_record()? {
                if let Some((Some(origin), in_tree)) = origins.get(record.object) {
                    let origin = record.origin(origin);
                    scanner.record(record.text, &origin, *in_tree, &mut out.scan_result);
                }
                if out.scan_result.is_part() {
                    self.task.runs.take(&mut out.scan_result);
                }
            }
            next = part.next_extract_file()?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use secretrail_engine::{
        extract_file::{self, ExtractHeader, ExtractedObject},
        rule::RuleSet,
        scan::ScanResult,
        selection::Selection,
    };

    use super::*;
    use crate::input::runs::SortedRuns;

    fn part(status: ObjectStatus, tag: &str) -> Vec<u8> {
        let mut scan_result = ScanResult::default();
        scan_result.report.records = u64::from(status == ObjectStatus::Read);
        let origin = object::origin("s3://b/a.json");
        let object = ExtractedObject::of(&origin, tag.to_owned(), false, &status, &mut scan_result);
        extract_file::write(
            &ExtractHeader::new(&RuleSet::default(), &Selection::default()),
            vec![object],
        )
    }

    /// Files and failed objects of these extract files, and how many problems are named.
    fn read(parts: &[Vec<u8>]) -> (u64, u64, usize) {
        let (rules, selection) = (RuleSet::default(), Selection::default());
        let runs = SortedRuns::new(&std::env::temp_dir(), 1 << 20);
        let task = ReadTask {
            objects: &[],
            rules: &rules,
            selection: &selection,
            asked: &selection,
            threads: 1,
            checkpoint: None,
            runs: &runs,
            keeps_deliveries: false,
        };
        let known = KnownObjects::new(&task);
        let mut out = ReadingResult::default();
        let mut scanner = ObjectScanner::new(&rules, &selection);
        for part in parts {
            known.parts("part", part.as_slice(), &mut scanner, &mut out);
        }
        known.finish(&mut out);
        let report = &out.scan_result.report;
        (report.objects, report.objects_failed, out.problems.len())
    }

    #[test]
    fn an_object_that_one_job_could_not_read_and_another_did_is_read() {
        let failed = || part(ObjectStatus::Failed("access denied".to_owned()), "e1");
        let whole = || part(ObjectStatus::Read, "e1");
        assert_eq!(read(&[failed(), failed()]), (0, 1, 1), "named once");
        assert_eq!(read(&[failed(), whole()]), (1, 0, 0));
        assert_eq!(read(&[whole(), failed()]), (1, 0, 0));
        let other = part(ObjectStatus::Read, "e2");
        assert_eq!(read(&[failed(), other]), (1, 1, 1), "another version");
    }
}
