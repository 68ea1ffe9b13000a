//! The items of an execution: the position of each missing batch in the manifest, as a CSV object
//! in S3 that the state machine reads.

use std::collections::BTreeSet;

use secretrail_engine::{
    digest::digest,
    manifest::{self, BackfillManifest, ManifestBatch, ManifestLine, ManifestText},
    time::EventTime,
};

use crate::commands::backfill::job::JobLocation;

/// Most batches of one execution: the (empty) outputs of its children must fit into 256 KB.
pub(super) const MOST_ITEMS: usize = 50_000;

/// Header of the CSV; the state machine uses these names.
const HEADER: &str = "manifest,head,offset,length,part\n";

/// The items of one execution.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct MapItems {
    /// Number of the execution in its run, from 0.
    number: usize,
    /// Name of the object below the job; derived from the text, so that equal rows are one object.
    pub(super) name: String,
    /// CSV with header.
    pub(super) text: String,
}

impl MapItems {
    /// The items of the execution with this number.
    pub(super) fn of(number: usize, rows: &[String]) -> Self {
        let text = format!("{HEADER}{}", rows.concat());
        let name = format!("items-{}.csv", digest(&[&text]));
        Self { number, name, text }
    }

    /// The name of an execution that starts now. Step Functions accepts a name once in 90 days; the
    /// time makes it unique among runs over the same rows.
    pub(super) fn execution(&self, now: EventTime) -> String {
        // The time does not advance during a run: the number distinguishes its executions, the
        // digest those of two runs that started in the same second.
        let digest = self.name.strip_prefix("items-").unwrap_or(&self.name);
        let digest: String = digest.chars().take(8).collect();
        format!("secretrail-{}-{}-{digest}", stamp(now), self.number)
    }
}

/// The time without characters that names of executions must not contain.
fn stamp(now: EventTime) -> String {
    now.to_string().replace([':', '-'], "")
}

/// A row for each missing batch, in the order of the manifest.
pub(super) fn rows(
    manifest: &BackfillManifest,
    missing: &[&ManifestBatch],
    place: &JobLocation,
) -> Vec<String> {
    let ManifestText {
        head,
        batches: lines,
        ..
    } = manifest.write();
    let missing: BTreeSet<&str> = missing.iter().map(|batch| batch.part.as_str()).collect();
    // Keys are quoted: they may contain commas and quotes.
    let key = place.0.key(manifest::NAME).replace('"', "\"\"");
    let batches = manifest.batches.iter().zip(lines);
    batches
        .filter(|(batch, _)| missing.contains(&*batch.part))
        .map(|(batch, ManifestLine { offset, length })| {
            let (head, part) = (head.length, &batch.part);
            format!("\"{key}\",{head},{offset},{length},{part}\n")
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::super::tests::manifest;
    use super::*;

    #[test]
    fn a_row_finds_its_batch_in_the_text_of_the_manifest() {
        let manifest = manifest(&[1, 2, 3]);
        let text = manifest.write().text;
        let place = JobLocation::of(Path::new("s3://b/\"job\"")).unwrap();
        let missing = [&manifest.batches[2], &manifest.batches[0]];
        let rows = rows(&manifest, &missing, &place);
        assert_eq!(rows.len(), 2);
        for (row, batch) in rows.iter().zip([missing[1], missing[0]]) {
            let cells = row.trim_end().strip_prefix(r#""""job""/manifest.jsonl","#);
            let cells: Vec<&str> = cells.unwrap().split(',').collect();
            let [head, offset, length] = [0, 1, 2].map(|n| cells[n].parse::<usize>().unwrap());
            let line = text.get(offset..offset + length).unwrap();
            assert_eq!(line, serde_json::to_string(batch).unwrap());
            assert_eq!(head, text.lines().next().unwrap().len());
            assert_eq!(cells[3], batch.part);
        }
    }

    #[test]
    fn the_name_of_the_items_depends_on_their_rows_and_that_of_an_execution_on_the_time() {
        let rows = ["a\n".to_owned(), "b\n".to_owned()];
        let items = MapItems::of(1, &rows);
        assert_eq!(items.text, format!("{HEADER}a\nb\n"));
        assert_eq!(items, MapItems::of(1, &rows));
        assert_ne!(items.name, MapItems::of(1, &rows[..1]).name);
        let now = EventTime::parse("2026-03-02T10:00:00Z").unwrap();
        let name = items.execution(now);
        let start = name.strip_prefix("secretrail-20260302T100000Z-1-").unwrap();
        assert_eq!(start.len(), 8);
        assert!(items.name.starts_with(&format!("items-{start}")));
    }
}
