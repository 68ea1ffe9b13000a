//! The manifest of a backfill, `secretrail.manifest/1`: which objects go into which extract file.
//!
//! JSON lines: a header, then a line for each batch. A batch is one invocation and one extract
//! file, whose name is a digest of its content: running a batch again writes the same file again,
//! and an edited batch is detected. The format is frozen; a change makes a `/2`.

mod failed;
mod index;

use serde::{Deserialize, Serialize};

pub use self::{
    failed::{FailedItem, failed_list, is_failed_list},
    index::{
        BackfillIndex, INDEX_SCHEMA, IndexHeader, IndexedBatch, ManifestShard, SHARDS, ShardWriter,
    },
};

use crate::{
    extract_file::{self, ExtractHeader},
    object,
};

/// Name and version of the schema.
pub const SCHEMA: &str = "secretrail.manifest/1";

/// The name of a manifest, or of the index of many, in the folder of its extract files.
pub const NAME: &str = "manifest.jsonl";

/// What a job writes below its prefix besides extract files. None of it is a log.
#[must_use]
pub fn is_of_job(name: &str) -> bool {
    is_failed_list(name)
        || name.ends_with(NAME)
        || name == "execution.arn"
        || (name.starts_with("items-") && name.ends_with(".csv"))
        || name.starts_with("left-out-")
        || name.starts_with("results/")
}

/// Most objects in a batch: each costs a request, however small it is.
pub const MOST_OBJECTS: usize = 2_000;

/// The first line: what all batches have in common.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ManifestHeader {
    schema: String,
    /// The purpose of the extract files.
    pub header: ExtractHeader,
    /// Number of batches that follow.
    pub batches: u64,
    /// Number of objects in all of them.
    pub objects: u64,
    /// Size of the objects as they are stored, in bytes.
    pub bytes: u64,
}

/// An object in S3, as it was listed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ManifestItem {
    /// Name of the bucket.
    pub bucket: String,
    /// Key of the object.
    pub key: String,
    /// ETag, without quotes.
    pub etag: String,
    /// Size in bytes.
    pub size: u64,
}

impl ManifestItem {
    /// `s3://bucket/key`, as in the `object` of accesses.
    #[must_use]
    pub fn name(&self) -> String {
        format!("s3://{}/{}", self.bucket, self.key)
    }
}

/// One invocation: a line of the manifest.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ManifestBatch {
    /// The name of its extract file.
    pub part: String,
    /// Its objects.
    pub objects: Vec<ManifestItem>,
}

/// Why a manifest cannot be used.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum ManifestError {
    /// The text is something else, or of another version.
    #[error("is not a manifest that this version reads ({0}); it reads {SCHEMA}")]
    Foreign(String),
    /// The manifest was edited or truncated since it was planned.
    #[error("line {line}: {why}; it was edited or truncated: plan again")]
    Edited {
        /// Line number from 1; 0 when it is not known.
        line: usize,
        /// The error.
        why: String,
    },
}

impl ManifestHeader {
    /// Reads the first line of a manifest.
    ///
    /// # Errors
    ///
    /// See [`ManifestError`].
    pub fn read(line: &str) -> Result<Self, ManifestError> {
        let head: Self = serde_json::from_str(line)
            .map_err(|error| ManifestError::Foreign(error.to_string()))?;
        if head.schema == SCHEMA {
            Ok(head)
        } else {
            Err(ManifestError::Foreign(head.schema))
        }
    }
}

impl ManifestBatch {
    /// A batch of these objects.
    #[must_use]
    pub fn new(header: &ExtractHeader, objects: Vec<ManifestItem>) -> Self {
        Self {
            part: Self::part_of(header, &objects),
            objects,
        }
    }

    fn part_of(header: &ExtractHeader, objects: &[ManifestItem]) -> String {
        extract_file::name(
            header,
            objects.iter().map(|item| (item.name(), item.etag.clone())),
        )
    }

    /// Reads a batch: line `number` of a manifest.
    ///
    /// # Errors
    ///
    /// See [`ManifestError`].
    pub fn read(head: &ManifestHeader, number: usize, line: &str) -> Result<Self, ManifestError> {
        let read = serde_json::from_str(line).map_err(|error| error.to_string());
        let whole = read.and_then(|batch: Self| {
            // The name is a digest of purpose and objects: this detects an edited batch, and one of
            // another job.
            if Self::part_of(&head.header, &batch.objects) == batch.part {
                Ok(batch)
            } else {
                Err(format!("its objects do not match the name {}", batch.part))
            }
        });
        whole.map_err(|why| ManifestError::Edited { line: number, why })
    }

    /// Size of its objects as they are stored, in bytes.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.objects.iter().map(|item| item.size).sum()
    }

    /// The account of all its objects, by their keys; `None` if they name none, or several.
    #[must_use]
    pub fn account(&self) -> Option<String> {
        let mut accounts = self
            .objects
            .iter()
            .map(|item| object::parse(&item.key).account);
        let first = accounts.next()??;
        accounts
            .all(|account| account == Some(first))
            .then(|| first.to_owned())
    }
}

/// A whole manifest: header and batches.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BackfillManifest {
    /// The first line.
    pub head: ManifestHeader,
    /// The batches, in order.
    pub batches: Vec<ManifestBatch>,
}

/// Position of a line in the text of a manifest.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ManifestLine {
    /// Bytes before the line.
    pub offset: usize,
    /// Bytes of the line, without the line break.
    pub length: usize,
}

/// A manifest as it is stored, with the positions of its lines.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ManifestText {
    /// The whole text.
    pub text: String,
    /// Position of the header.
    pub head: ManifestLine,
    /// Position of each batch, in order.
    pub batches: Vec<ManifestLine>,
}

impl BackfillManifest {
    /// A manifest of these batches.
    #[must_use]
    pub fn new(header: ExtractHeader, batches: Vec<ManifestBatch>) -> Self {
        let objects = batches.iter().map(|batch| batch.objects.len() as u64).sum();
        let bytes = batches.iter().map(ManifestBatch::bytes).sum();
        let head = ManifestHeader {
            schema: SCHEMA.to_owned(),
            header,
            batches: batches.len() as u64,
            objects,
            bytes,
        };
        Self { head, batches }
    }

    /// Its text, and the positions of its lines: an invocation reads only the header and its batch
    /// of a manifest that may have a hundred thousand.
    #[must_use]
    pub fn write(&self) -> ManifestText {
        let mut text = String::new();
        let head = add_line(&mut text, &self.head);
        let batches = self.batches.iter();
        let batches = batches.map(|batch| add_line(&mut text, batch)).collect();
        ManifestText {
            text,
            head,
            batches,
        }
    }

    /// Reads the text of a manifest, and checks that it is as it was planned.
    ///
    /// # Errors
    ///
    /// See [`ManifestError`].
    pub fn read(text: &str) -> Result<Self, ManifestError> {
        let mut lines = text.lines();
        let head = ManifestHeader::read(lines.next().unwrap_or_default())?;
        let batches = lines
            .enumerate()
            .map(|(index, line)| ManifestBatch::read(&head, index + 2, line));
        let manifest = Self::new(head.header.clone(), batches.collect::<Result<_, _>>()?);
        // Each batch was checked by itself; only the header shows that one is missing.
        if manifest.head == head {
            return Ok(manifest);
        }
        Err(ManifestError::Edited {
            line: 1,
            why: format!(
                "it announces {} batches with {} objects of {} bytes, but {} with {} of {} follow",
                head.batches,
                head.objects,
                head.bytes,
                manifest.head.batches,
                manifest.head.objects,
                manifest.head.bytes
            ),
        })
    }
}

/// Adds a line, and returns its position.
fn add_line(text: &mut String, value: &impl Serialize) -> ManifestLine {
    // Cannot fail: every key is text.
    let json = serde_json::to_string(value).unwrap_or_default();
    let offset = text.len();
    text.push_str(&json);
    text.push('\n');
    ManifestLine {
        offset,
        length: json.len(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{rule::RuleSet, selection::Selection};

    fn manifest() -> BackfillManifest {
        let header = ExtractHeader::new(&RuleSet::default(), &Selection::default());
        let item = |key: &str, size| ManifestItem {
            bucket: "b".to_owned(),
            key: key.to_owned(),
            etag: "e".to_owned(),
            size,
        };
        let batches = vec![
            ManifestBatch::new(&header, vec![item("one", 1), item("two", 2)]),
            ManifestBatch::new(&header, vec![item("three", 3)]),
        ];
        BackfillManifest::new(header, batches)
    }

    #[test]
    fn what_is_read_is_what_was_written_and_each_line_is_where_it_is_said_to_be() {
        let manifest = manifest();
        let written = manifest.write();
        assert_eq!(BackfillManifest::read(&written.text), Ok(manifest.clone()));
        let line = |line: &ManifestLine| {
            let end = line.offset + line.length;
            written.text.get(line.offset..end).unwrap()
        };
        assert_eq!(
            ManifestHeader::read(line(&written.head)),
            Ok(manifest.head.clone())
        );
        for (place, batch) in written.batches.iter().zip(&manifest.batches) {
            assert_eq!(
                ManifestBatch::read(&manifest.head, 2, line(place)).as_ref(),
                Ok(batch)
            );
        }
        assert_eq!((manifest.head.objects, manifest.head.bytes), (3, 6));
    }

    #[test]
    fn what_was_edited_is_found_out() {
        let text = manifest().write().text;
        let lines: Vec<&str> = text.lines().collect();
        let edited = |text: &str| match BackfillManifest::read(text) {
            Err(ManifestError::Edited { line, .. }) => line,
            other => panic!("{other:?}"),
        };
        assert_eq!(edited(&text.replace("\"two\"", "\"2\"")), 2, "an object");
        assert_eq!(
            edited(&text.replace("\"size\":3", "\"size\":4")),
            1,
            "a size"
        );
        assert_eq!(
            edited(&lines.iter().take(2).copied().collect::<Vec<_>>().join("\n")),
            1,
            "a missing batch"
        );
        assert_eq!(edited(text.get(..text.len() - 9).unwrap()), 3, "truncated");
        assert!(matches!(
            BackfillManifest::read("{\"Records\":[]}"),
            Err(ManifestError::Foreign(_))
        ));
        assert!(matches!(
            BackfillManifest::read(""),
            Err(ManifestError::Foreign(_))
        ));
    }

    #[test]
    fn a_batch_of_another_job_is_refused() {
        let manifest = manifest();
        let [batch, _] = manifest.batches.as_slice() else {
            panic!("two batches")
        };
        let later = Selection {
            from: Some(crate::time::EventTime(1)),
            ..Selection::default()
        };
        let header = ExtractHeader::new(&RuleSet::default(), &later);
        let other = BackfillManifest::new(header, Vec::new()).head;
        let line = serde_json::to_string(batch).unwrap();
        assert_eq!(
            ManifestBatch::read(&manifest.head, 2, &line).as_ref(),
            Ok(batch)
        );
        let refused = ManifestBatch::read(&other, 2, &line)
            .unwrap_err()
            .to_string();
        assert!(
            refused.starts_with("line 2: its objects do not match the name secretrail-"),
            "{refused}"
        );
    }

    #[test]
    fn a_head_promises_what_follows() {
        let text = manifest().write().text;
        let edited = text.replacen("\"batches\":2", "\"batches\":3", 1);
        assert_eq!(
            BackfillManifest::read(&edited).unwrap_err().to_string(),
            "line 1: it announces 3 batches with 3 objects of 6 bytes, but 2 with 3 of 6 follow; \
             it was edited or truncated: plan again"
        );
        let newer = text.replacen("manifest/1", "manifest/2", 1);
        let foreign = ManifestError::Foreign("secretrail.manifest/2".to_owned());
        assert_eq!(BackfillManifest::read(&newer), Err(foreign));
    }
}
