//! The index of a job, `secretrail.backfill/1`: its batches without their objects, so that a job of
//! two hundred million objects is watched, resumed and replayed through a file of some megabytes.
//!
//! JSON lines: a header, then a line for each batch, with its place in one of the manifests of the
//! job (shards). A job of one manifest has no index; its manifest is read as one. The format is
//! frozen; a change makes a `/2`.

use serde::{Deserialize, Serialize};

use super::{BackfillManifest, ManifestBatch, ManifestError, ManifestItem, NAME};
use crate::{digest::digest, extract_file::ExtractHeader};

/// Name and version of the schema.
pub const INDEX_SCHEMA: &str = "secretrail.backfill/1";

/// Folder of the manifests of a job that has an index, below the job.
pub const SHARDS: &str = "objects/";

/// The first line of an index.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct IndexHeader {
    schema: String,
    /// The purpose of the extract files.
    pub header: ExtractHeader,
    /// Number of batches.
    pub batches: u64,
    /// Number of objects in all of them.
    pub objects: u64,
    /// Size of the objects as they are stored, in bytes.
    pub bytes: u64,
    /// Digest of the lines that follow: what was edited or truncated does not match it.
    digest: String,
}

/// A batch: a line of the index.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct IndexedBatch {
    /// The name of its extract file.
    pub part: String,
    /// The manifest that lists its objects, below the job.
    pub shard: String,
    /// Length in bytes of the header of this manifest.
    pub head: u64,
    /// Offset in bytes of the batch in it.
    pub offset: u64,
    /// Length in bytes of the batch.
    pub length: u64,
    /// Number of its objects.
    pub objects: u64,
    /// Size of its objects as they are stored, in bytes.
    pub bytes: u64,
    /// `s3://…` URL of its first object.
    pub first: String,
    /// Account of its objects, 12 digits; `None` if their keys name none, or several.
    pub account: Option<String>,
}

/// A whole index: header and batches.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BackfillIndex {
    /// The first line.
    pub head: IndexHeader,
    /// The batches, in order.
    pub batches: Vec<IndexedBatch>,
}

impl BackfillIndex {
    /// An index of these batches.
    #[must_use]
    pub fn new(header: ExtractHeader, batches: Vec<IndexedBatch>) -> Self {
        let head = IndexHeader {
            schema: INDEX_SCHEMA.to_owned(),
            header,
            batches: batches.len() as u64,
            objects: batches.iter().map(|batch| batch.objects).sum(),
            bytes: batches.iter().map(|batch| batch.bytes).sum(),
            digest: digest(&[&lines(&batches)]),
        };
        Self { head, batches }
    }

    /// Its text.
    #[must_use]
    pub fn write(&self) -> String {
        format!("{}\n{}", json(&self.head), lines(&self.batches))
    }

    /// Reads the text of an index, or of the manifest of a job that has only one; checks that it is
    /// as it was planned.
    ///
    /// # Errors
    ///
    /// See [`ManifestError`].
    pub fn read(text: &str) -> Result<Self, ManifestError> {
        let (first, rest) = text.split_once('\n').unwrap_or((text, ""));
        let head: IndexHeader = match serde_json::from_str(first) {
            Ok(head) => head,
            Err(_) => return Self::of_manifest(text),
        };
        if head.schema != INDEX_SCHEMA {
            return Err(ManifestError::Foreign(head.schema));
        }
        let mut batches = Vec::new();
        for (number, line) in rest.lines().enumerate() {
            let batch = serde_json::from_str(line).map_err(|error| ManifestError::Edited {
                line: number + 2,
                why: error.to_string(),
            })?;
            batches.push(batch);
        }
        let index = Self::new(head.header.clone(), batches);
        // The digest covers every line; the totals of the header are made of them.
        if index.head == head {
            return Ok(index);
        }
        Err(ManifestError::Edited {
            line: 1,
            why: format!(
                "its {} batches with {} objects of {} bytes are not those that it announces",
                index.head.batches, index.head.objects, index.head.bytes
            ),
        })
    }

    fn of_manifest(text: &str) -> Result<Self, ManifestError> {
        let manifest = BackfillManifest::read(text)?;
        let header = manifest.head.header.clone();
        Ok(Self::new(header, indexed(&manifest, NAME)))
    }
}

/// The batches of a manifest with this name, as an index lists them.
fn indexed(manifest: &BackfillManifest, name: &str) -> Vec<IndexedBatch> {
    let written = manifest.write();
    let places = written.batches.iter().zip(&manifest.batches);
    places
        .map(|(line, batch)| IndexedBatch {
            part: batch.part.clone(),
            shard: name.to_owned(),
            head: written.head.length as u64,
            offset: line.offset as u64,
            length: line.length as u64,
            objects: batch.objects.len() as u64,
            bytes: batch.bytes(),
            first: batch
                .objects
                .first()
                .map(ManifestItem::name)
                .unwrap_or_default(),
            account: batch.account(),
        })
        .collect()
}

/// Cannot fail: every key is text.
fn json(value: &impl Serialize) -> String {
    serde_json::to_string(value).unwrap_or_default()
}

fn lines(batches: &[IndexedBatch]) -> String {
    let mut text = String::new();
    for batch in batches {
        text.push_str(&json(batch));
        text.push('\n');
    }
    text
}

/// A manifest that is complete.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ManifestShard {
    /// Its name below the job.
    pub name: String,
    /// Its text.
    pub text: String,
}

/// Puts batches into manifests of a limited number of objects, one after the other, and keeps only
/// their places.
#[derive(Debug)]
pub struct ShardWriter {
    header: ExtractHeader,
    most_objects: usize,
    open: Vec<ManifestBatch>,
    objects: usize,
    shards: usize,
    batches: Vec<IndexedBatch>,
}

impl ShardWriter {
    /// A writer of manifests of about this many objects.
    #[must_use]
    pub fn new(header: ExtractHeader, most_objects: usize) -> Self {
        Self {
            header,
            most_objects,
            open: Vec::new(),
            objects: 0,
            shards: 0,
            batches: Vec::new(),
        }
    }

    /// Adds a batch of these objects; returns a manifest when one is complete.
    #[must_use]
    pub fn add(&mut self, objects: Vec<ManifestItem>) -> Option<ManifestShard> {
        self.objects += objects.len();
        self.open.push(ManifestBatch::new(&self.header, objects));
        if self.objects < self.most_objects {
            return None;
        }
        Some(self.close())
    }

    /// The last manifest, if any batches are left, and the index of all.
    #[must_use]
    pub fn finish(mut self) -> (Option<ManifestShard>, BackfillIndex) {
        let last = (!self.open.is_empty()).then(|| self.close());
        (last, BackfillIndex::new(self.header, self.batches))
    }

    fn close(&mut self) -> ManifestShard {
        let batches = std::mem::take(&mut self.open);
        let manifest = BackfillManifest::new(self.header.clone(), batches);
        let name = format!("{SHARDS}{:05}.{NAME}", self.shards);
        self.objects = 0;
        self.shards += 1;
        self.batches.extend(indexed(&manifest, &name));
        ManifestShard {
            name,
            text: manifest.write().text,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::manifest::ManifestHeader;

    fn item(key: &str) -> ManifestItem {
        ManifestItem {
            bucket: "b".to_owned(),
            key: key.to_owned(),
            etag: "e".to_owned(),
            size: 7,
        }
    }

    fn written() -> (Vec<ManifestShard>, BackfillIndex) {
        let mut writer = ShardWriter::new(ExtractHeader::default(), 3);
        let of_account = |account: &str| format!("AWSLogs/{account}/CloudTrail/eu-west-1/a.json");
        let batches = [
            vec![item("a"), item("b")],
            vec![item(&of_account("111122223333"))],
            vec![item("d")],
        ];
        let mut shards: Vec<_> = batches
            .into_iter()
            .filter_map(|batch| writer.add(batch))
            .collect();
        let (last, index) = writer.finish();
        shards.extend(last);
        (shards, index)
    }

    #[test]
    fn each_batch_is_where_the_index_says() {
        let (shards, index) = written();
        let names: Vec<&str> = shards.iter().map(|shard| &*shard.name).collect();
        assert_eq!(
            names,
            [
                "objects/00000.manifest.jsonl",
                "objects/00001.manifest.jsonl"
            ]
        );
        for batch in &index.batches {
            let shard = shards.iter().find(|shard| shard.name == batch.shard);
            let text = &shard.unwrap().text;
            let piece = |offset: u64, length: u64| {
                let [from, length] = [offset, length].map(|at| usize::try_from(at).unwrap());
                text.get(from..from + length).unwrap()
            };
            let head = ManifestHeader::read(piece(0, batch.head)).unwrap();
            let line = piece(batch.offset, batch.length);
            let read = ManifestBatch::read(&head, 0, line).unwrap();
            assert_eq!(read.part, batch.part);
            assert_eq!(read.objects.len() as u64, batch.objects);
            assert_eq!(read.objects[0].name(), batch.first);
        }
        assert_eq!((index.head.batches, index.head.objects), (3, 4));
        let accounts: Vec<_> = index
            .batches
            .iter()
            .map(|one| one.account.as_deref())
            .collect();
        assert_eq!(accounts, [None, Some("111122223333"), None]);
    }

    #[test]
    fn what_is_read_is_what_was_written_and_edits_are_found() {
        let (_, index) = written();
        let text = index.write();
        assert_eq!(BackfillIndex::read(&text), Ok(index));
        let edited = |text: &str| match BackfillIndex::read(text) {
            Err(ManifestError::Edited { line, .. }) => line,
            other => panic!("{other:?}"),
        };
        assert_eq!(
            edited(&text.replacen("\"objects\":2", "\"objects\":3", 1)),
            1
        );
        let cut = text.trim_end().rfind('\n').unwrap();
        assert_eq!(edited(text.get(..=cut).unwrap()), 1, "a batch is missing");
        assert_eq!(edited(text.get(..text.len() - 9).unwrap()), 4, "truncated");
        assert!(matches!(
            BackfillIndex::read("{\"Records\":[]}"),
            Err(ManifestError::Foreign(_))
        ));
        let newer = text.replacen("backfill/1", "backfill/2", 1);
        let foreign = ManifestError::Foreign("secretrail.backfill/2".to_owned());
        assert_eq!(BackfillIndex::read(&newer), Err(foreign));
    }

    #[test]
    fn a_job_of_one_manifest_is_read_as_one_with_an_index() {
        let header = ExtractHeader::default();
        let batch = ManifestBatch::new(&header, vec![item("a")]);
        let manifest = BackfillManifest::new(header, vec![batch]);
        let index = BackfillIndex::read(&manifest.write().text).unwrap();
        assert_eq!(index.batches[0].shard, NAME);
        assert_eq!(index.batches[0].part, manifest.batches[0].part);
        assert_eq!(index.batches, indexed(&manifest, NAME));
    }
}
