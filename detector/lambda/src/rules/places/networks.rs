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
                FileLocation::Path(path) => {
                    databases.extend(databases_of(PackageFiles::at(path)?)?)
                }
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
                let PackageFiles { lists, databases } = PackageFiles::at(path)?;
                (path.clone(), texts_of(lists)?, !databases.is_empty())
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

/// The file at a path in the package, or the files in a folder there, by kind.
struct PackageFiles {
    lists: Vec<PathBuf>,
    databases: Vec<PathBuf>,
}

impl PackageFiles {
    fn at(path: &str) -> Result<Self, RulesError> {
        let place = Path::new(path);
        let mut paths = vec![place.to_owned()];
        if place.is_dir() {
            paths = entries(place)?;
            paths.retain(|path| path.is_file());
            paths.sort();
        }
        let of_databases = |path: &PathBuf| is_database(&path.to_string_lossy());
        let (databases, lists) = paths.into_iter().partition(of_databases);
        Ok(Self { lists, databases })
    }
}

fn texts_of(lists: Vec<PathBuf>) -> Result<FileTexts, RulesError> {
    let mut texts = FileTexts::new();
    for path in lists {
        texts.push((path.to_string_lossy().into_owned(), file(path)?));
    }
    Ok(texts)
}

fn databases_of(files: PackageFiles) -> Result<Vec<(String, Vec<u8>)>, RulesError> {
    let mut databases = Vec::new();
    for path in files.databases {
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
