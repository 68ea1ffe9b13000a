//! A job in S3: its manifest, which of its parts are there, and the execution that makes them.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::path::Path;

use secretrail_engine::manifest::{self, Batch, Manifest, ManifestError};

use crate::Failure;
use crate::closing::number;
use crate::remote::{Prefix, Reach};
use crate::walk::{Object, Objects, Place, Problem, Remote};

/// Missing parts that are named one by one.
const NAMED: usize = 10;

/// Where the ARN of the last execution is kept. It is no log, by its name.
const EXECUTION: &str = "execution.arn";

/// Where a job is.
pub(crate) struct JobPlace(pub(crate) Prefix);

impl JobPlace {
    /// A job at `s3://bucket/prefix/`, or the manifest in it.
    pub(crate) fn of(path: &Path) -> Result<Self, Failure> {
        let is_manifest = path.file_name().is_some_and(|name| name == manifest::NAME);
        let folder = path
            .to_str()
            .filter(|_| is_manifest)
            .and_then(|path| path.strip_suffix(manifest::NAME));
        let prefix =
            Prefix::of(folder.map_or(path, Path::new)).filter(|prefix| !prefix.bucket.is_empty());
        let told = || {
            Failure::Usage(format!(
                "{}: a job is in S3; write s3://bucket/prefix/",
                path.display()
            ))
        };
        prefix.map(Self).ok_or_else(told)
    }

    pub(crate) fn put(&self, reach: &Reach, object: &str, text: String) -> Result<(), Failure> {
        let put = self.0.put(reach, object, text.into_bytes());
        put.map_err(|message| Failure::Output {
            name: self.0.name(object),
            error: std::io::Error::other(message),
        })
    }

    /// The text of an object, as it is now.
    fn text(&self, reach: &Reach, object: &str) -> Result<String, Failure> {
        let failure =
            |message: String| Failure::Input(format!("{}: {message}", self.0.name(object)));
        let remote = Remote {
            bucket: self.0.bucket.clone(),
            key: self.0.key(object),
            etag: String::new(),
            size: 0,
        };
        let bytes = reach.fetch(&remote).map_err(failure)?;
        String::from_utf8(bytes).map_err(|error| failure(error.to_string()))
    }

    pub(crate) fn manifest(&self, reach: &Reach) -> Result<Manifest, Failure> {
        let text = self.text(reach, manifest::NAME)?;
        Manifest::read(&text)
            .map_err(|error| Failure::Input(format!("{}: {error}", self.0.name(manifest::NAME))))
    }

    /// The last execution that was started; `None` before the first.
    pub(crate) fn execution(
        &self,
        reach: &Reach,
        there: &BTreeSet<String>,
    ) -> Result<Option<String>, Failure> {
        if !there.contains(EXECUTION) {
            return Ok(None);
        }
        self.text(reach, EXECUTION)
            .map(|text| Some(text.trim().to_owned()))
    }

    pub(crate) fn put_execution(&self, reach: &Reach, arn: &str) -> Result<(), Failure> {
        self.put(reach, EXECUTION, format!("{arn}\n"))
    }
}

/// The batches whose parts are not there.
pub(crate) fn missing<'m>(manifest: &'m Manifest, there: &BTreeSet<String>) -> Vec<&'m Batch> {
    manifest
        .batches
        .iter()
        .filter(|batch| !there.contains(&batch.part))
        .collect()
}

/// What is missing, in words.
pub(crate) fn told(folder: &str, missing: &[&Batch]) -> Vec<Problem> {
    let one = |batch: &&Batch| {
        let mut message = format!("is missing: {} objects", number(batch.objects.len() as u64));
        if let Some(first) = batch.objects.first() {
            write!(message, " from {} on", first.name()).ok();
        }
        message.push_str("; `secretrail fleet resume` extracts them");
        Problem {
            name: format!("{folder}{}", batch.part),
            message,
        }
    };
    let mut problems: Vec<Problem> = missing.iter().take(NAMED).map(one).collect();
    if let Some(more) = missing.len().checked_sub(NAMED).filter(|more| *more > 0) {
        let message = format!("{} more parts are missing", number(more as u64));
        problems.push(Problem {
            name: folder.to_owned(),
            message,
        });
    }
    problems
}

/// Checks manifests among the objects of a run against the parts beside them. What only has the name of a manifest is a log
/// like others.
pub(crate) fn check(objects: &mut Objects, reach: &Reach) {
    let is_manifest = |object: &mut Object| file_name(&object.name) == manifest::NAME;
    let manifests: Vec<Object> = objects.objects.extract_if(.., is_manifest).collect();
    for object in manifests {
        let problem = |message: String| Problem {
            name: object.name.clone(),
            message,
        };
        let read = reach
            .bytes(&object.place)
            .and_then(|(bytes, _)| String::from_utf8(bytes).map_err(|e| e.to_string()));
        let manifest = match read.map(|text| Manifest::read(&text)) {
            Ok(Ok(manifest)) => manifest,
            Ok(Err(ManifestError::Foreign(_))) => {
                objects.objects.push(object);
                continue;
            }
            Ok(Err(edited)) => {
                objects.problems.push(problem(edited.to_string()));
                continue;
            }
            Err(message) => {
                objects.problems.push(problem(message));
                continue;
            }
        };
        let folder = object.name.strip_suffix(manifest::NAME).unwrap_or_default();
        let beside = objects
            .objects
            .iter()
            .filter_map(|object| object.name.strip_prefix(folder));
        let there: BTreeSet<String> = beside.map(str::to_owned).collect();
        objects
            .problems
            .extend(told(folder, &missing(&manifest, &there)));
    }
}

fn file_name(name: &str) -> &str {
    name.rsplit('/').next().unwrap_or(name)
}

/// The object in S3; `None` for any other.
pub(crate) fn remote(object: &Object) -> Option<&Remote> {
    match &object.place {
        Place::S3(remote) => Some(remote),
        _ => None,
    }
}
