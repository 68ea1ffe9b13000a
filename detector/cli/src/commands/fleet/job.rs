//! A job in S3: its manifest, which of its parts are there, and the execution that makes them.

use std::collections::BTreeSet;
use std::path::Path;

use secretrail_engine::manifest::{self, Manifest};

use crate::host::Failure;
use crate::input::store::{ObjectStore, Prefix, Remote};

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

    pub(crate) fn put(
        &self,
        store: &dyn ObjectStore,
        object: &str,
        text: String,
    ) -> Result<(), Failure> {
        let put = self.0.put(store, object, text.into_bytes());
        put.map_err(|message| Failure::Output {
            name: self.0.name(object),
            error: std::io::Error::other(message.to_string()),
        })
    }

    /// The text of an object, as it is now.
    fn text(&self, store: &dyn ObjectStore, object: &str) -> Result<String, Failure> {
        let failure =
            |message: String| Failure::Input(format!("{}: {message}", self.0.name(object)));
        let remote = Remote {
            bucket: self.0.bucket.clone(),
            key: self.0.key(object),
            etag: String::new(),
            size: 0,
        };
        let fetched = store
            .fetch(&remote)
            .map_err(|error| failure(error.to_string()))?;
        String::from_utf8(fetched.bytes).map_err(|error| failure(error.to_string()))
    }

    pub(crate) fn manifest(&self, store: &dyn ObjectStore) -> Result<Manifest, Failure> {
        let text = self.text(store, manifest::NAME)?;
        Manifest::read(&text)
            .map_err(|error| Failure::Input(format!("{}: {error}", self.0.name(manifest::NAME))))
    }

    /// The last execution that was started; `None` before the first.
    pub(crate) fn execution(
        &self,
        store: &dyn ObjectStore,
        there: &BTreeSet<String>,
    ) -> Result<Option<String>, Failure> {
        if !there.contains(EXECUTION) {
            return Ok(None);
        }
        self.text(store, EXECUTION)
            .map(|text| Some(text.trim().to_owned()))
    }

    pub(crate) fn put_execution(&self, store: &dyn ObjectStore, arn: &str) -> Result<(), Failure> {
        self.put(store, EXECUTION, format!("{arn}\n"))
    }
}
