//! Lists of networks, and databases of where addresses are registered, in the package or in S3.

use std::path::{Path, PathBuf};

use secretrail_aws::s3::ListedObject;
use secretrail_engine::network::NetworkLists;
use secretrail_pack::FileTexts;

use super::{RulePlaces, entries, file, url};
use crate::{
    config::{FileLocation, NetworkLocation},
    rules::error::RulesError,
};

impl RulePlaces {
    /// The objects of each location of lists of networks.
    pub(super) async fn network_objects(&self) -> Result<Vec<Vec<ListedObject>>, RulesError> {
        let mut all = Vec::with_capacity(self.networks.len());
        for location in &self.networks {
            all.push(match location.label {
                Some(_) => self.object(&location.place).await?.into_iter().collect(),
                None => self.lists_under(&location.place).await?,
            });
        }
        Ok(all)
    }

    async fn lists_under(&self, place: &FileLocation) -> Result<Vec<ListedObject>, RulesError> {
        let mut objects = self.listed(place).await?;
        // The console makes an empty object for a folder.
        objects.retain(|object| !object.key.ends_with('/'));
        Ok(objects)
    }

    /// The labels of the lists, and their networks, one on each line. They are read once here, so
    /// that what is stored in the table stays small: the document of AWS has two megabytes, its
    /// networks a hundredth of that.
    pub(super) async fn network_texts(
        &self,
        objects: &[Vec<ListedObject>],
    ) -> Result<Vec<(String, String)>, RulesError> {
        let mut lists = NetworkLists::default();
        for (location, objects) in self.networks.iter().zip(objects) {
            for (name, text) in self.network_files(location, objects).await? {
                let label = location.label.as_deref().unwrap_or_else(|| label_of(&name));
                let added = lists.add(label, &text);
                added.map_err(|fault| RulesError::Networks { place: name, fault })?;
            }
        }
        let texts = lists.texts();
        Ok(texts
            .map(|(label, text)| (label.to_owned(), text))
            .collect())
    }

    /// The databases at all locations, with their places.
    pub(super) async fn databases(
        &self,
        objects: &[Vec<ListedObject>],
    ) -> Result<Vec<(String, Vec<u8>)>, RulesError> {
        let mut databases = Vec::new();
        for (location, objects) in self.networks.iter().zip(objects) {
            match &location.place {
                FileLocation::None => {}
                FileLocation::Path(path) => databases.extend(databases_of(Path::new(path))?),
                FileLocation::S3 { bucket, .. } => {
                    for object in objects.iter().filter(|object| is_database(&object.key)) {
                        databases.push(self.bytes(bucket, object).await?);
                    }
                }
            }
        }
        Ok(databases)
    }

    /// The files at a location, with their names. A location without any is an error: its rules
    /// would never fire, and nobody would know.
    async fn network_files(
        &self,
        location: &NetworkLocation,
        objects: &[ListedObject],
    ) -> Result<FileTexts, RulesError> {
        let (name, files, has_databases) = match &location.place {
            FileLocation::None => return Ok(FileTexts::new()),
            FileLocation::Path(path) => {
                let folder = Path::new(path);
                let has_databases = !database_paths(folder)?.is_empty();
                (path.clone(), of_package(folder)?, has_databases)
            }
            FileLocation::S3 { bucket, key } => {
                let mut lists = objects.to_vec();
                lists.retain(|object| !is_database(&object.key));
                let texts = self.texts(bucket, &lists).await?;
                (url(bucket, key), texts, lists.len() < objects.len())
            }
        };
        match location.label {
            _ if !files.is_empty() || has_databases => Ok(files),
            Some(_) => Err(RulesError::Missing(name)),
            None => Err(RulesError::NoNetworks(name)),
        }
    }
}

/// The name of a file up to its first dot.
fn label_of(name: &str) -> &str {
    // Of `aws.2026-11.json` too: the rest of a name is for people.
    let file = name.rsplit('/').next().unwrap_or(name);
    file.split('.').next().unwrap_or(file)
}

/// Whether a file is a database of where addresses are registered.
fn is_database(name: &str) -> bool {
    name.ends_with(".mmdb")
}

/// The file at a path, or the files in a folder.
fn paths(path: &Path) -> Result<Vec<PathBuf>, RulesError> {
    if !path.is_dir() {
        return Ok(vec![path.to_owned()]);
    }
    let mut paths = entries(path)?;
    paths.retain(|path| path.is_file());
    paths.sort();
    Ok(paths)
}

/// The lists at a path.
fn of_package(path: &Path) -> Result<FileTexts, RulesError> {
    let mut files = FileTexts::new();
    for path in paths(path)? {
        let name = path.to_string_lossy().into_owned();
        if !is_database(&name) {
            files.push((name, file(path)?));
        }
    }
    Ok(files)
}

fn database_paths(path: &Path) -> Result<Vec<PathBuf>, RulesError> {
    let mut paths = paths(path)?;
    paths.retain(|path| is_database(&path.to_string_lossy()));
    Ok(paths)
}

/// The databases at a path.
fn databases_of(path: &Path) -> Result<Vec<(String, Vec<u8>)>, RulesError> {
    let mut databases = Vec::new();
    for path in database_paths(path)? {
        let name = path.to_string_lossy().into_owned();
        let bytes = std::fs::read(&path).map_err(|error| RulesError::File { path, error })?;
        databases.push((name, bytes));
    }
    Ok(databases)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_name_of_a_file_is_its_label() {
        for (name, label) in [
            ("s3://bucket/networks/own.txt", "own"),
            ("lists/aws.ip-ranges.json", "aws"),
            ("anonymizer", "anonymizer"),
        ] {
            assert_eq!(label_of(name), label);
        }
    }
}
