//! Locations of rules, access policy and placeholder values, in the package or in S3, and their
//! texts.

mod networks;

use std::path::{Path, PathBuf};

use futures_util::{
    future::{try_join4, try_join5},
    stream::{self, StreamExt, TryStreamExt},
};
use secretrail_aws::s3::{ListedObject, ObjectRef, S3Source};
use secretrail_pack::{FileTexts, is_rule};
use serde::{Deserialize, Serialize};

use crate::{
    config::{FileLocation, FunctionConfig, NetworkLocation},
    rules::error::RulesError,
};

/// Files that are read at the same time.
const AT_ONCE: usize = 8;

/// The texts as they were read, before parsing.
#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct FetchedRules {
    /// Keys and ETags of the objects that they were read from.
    pub(super) version: String,
    pub(super) rules: FileTexts,
    pub(super) policy: Option<String>,
    pub(super) vars: Option<String>,
    /// Lists of networks: labels, and one network on each line. Earlier versions stored none.
    #[serde(default)]
    pub(super) networks: Vec<(String, String)>,
    /// Databases of where addresses are registered, by their places. Too large for the table: they
    /// are read again at every start.
    #[serde(skip)]
    pub(super) databases: Vec<(String, Vec<u8>)>,
}

/// All locations.
pub(super) struct RulePlaces {
    rules: FileLocation,
    policy: FileLocation,
    vars: FileLocation,
    networks: Vec<NetworkLocation>,
    s3: S3Source,
}

/// The objects at the locations in S3, as currently listed.
pub(super) struct PlaceListings {
    rules: Vec<ListedObject>,
    policy: Option<ListedObject>,
    vars: Option<ListedObject>,
    /// Those of each location of lists of networks.
    networks: Vec<Vec<ListedObject>>,
}

impl PlaceListings {
    /// Changes when any of the objects changes. Files of the package are not part of it: they
    /// cannot change.
    pub(super) fn version(&self) -> String {
        let all = self.rules.iter().chain(&self.policy).chain(&self.vars);
        let all = all.chain(self.networks.iter().flatten());
        all.map(|object| format!("{}={}", object.key, object.etag))
            .collect::<Vec<_>>()
            .join(" ")
    }
}

impl RulePlaces {
    pub(super) fn new(config: &FunctionConfig, s3: S3Source) -> Self {
        Self {
            rules: config.rules.clone(),
            policy: config.policy.clone(),
            vars: config.vars.clone(),
            networks: config.networks.clone(),
            s3,
        }
    }

    /// Whether any location is in S3: files of the package cannot change.
    pub(super) fn may_change(&self) -> bool {
        let networks = self.networks.iter().map(|location| &location.place);
        [&self.rules, &self.policy, &self.vars]
            .into_iter()
            .chain(networks)
            .any(|place| matches!(place, FileLocation::S3 { .. }))
    }

    /// Lists the objects. A change shows in the listing alone, without reading any of them.
    pub(super) async fn list(&self) -> Result<PlaceListings, RulesError> {
        let (rules, policy, vars, networks) = try_join4(
            self.rule_objects(),
            self.object(&self.policy),
            self.object(&self.vars),
            self.network_objects(),
        )
        .await?;
        Ok(PlaceListings {
            rules,
            policy,
            vars,
            networks,
        })
    }

    pub(super) async fn read(&self, listings: PlaceListings) -> Result<FetchedRules, RulesError> {
        let version = listings.version();
        let (rules, policy, vars, networks, databases) = try_join5(
            self.rule_files(&listings.rules),
            self.text(&self.policy, listings.policy),
            self.text(&self.vars, listings.vars),
            self.network_texts(&listings.networks),
            self.databases(&listings.networks),
        )
        .await?;
        Ok(FetchedRules {
            version,
            rules,
            policy,
            vars,
            networks,
            databases,
        })
    }

    async fn rule_objects(&self) -> Result<Vec<ListedObject>, RulesError> {
        let mut objects = self.listed(&self.rules).await?;
        objects.retain(|object| is_rule(&object.key));
        Ok(objects)
    }

    async fn rule_files(&self, objects: &[ListedObject]) -> Result<FileTexts, RulesError> {
        match &self.rules {
            // Without files of its own, the built-in rules are used.
            FileLocation::None => Ok(FileTexts::new()),
            FileLocation::Path(path) => from_package(Path::new(path)),
            // A mistyped prefix would otherwise disable every rule.
            FileLocation::S3 { bucket, key } if objects.is_empty() => {
                Err(RulesError::EmptyPrefix(url(bucket, key)))
            }
            FileLocation::S3 { bucket, .. } => self.texts(bucket, objects).await,
        }
    }

    /// The text at a location; `None` when it is not set.
    async fn text(
        &self,
        place: &FileLocation,
        object: Option<ListedObject>,
    ) -> Result<Option<String>, RulesError> {
        match (place, object) {
            (FileLocation::None, _) => Ok(None),
            (FileLocation::Path(path), _) => file(PathBuf::from(path)).map(Some),
            (FileLocation::S3 { bucket, .. }, Some(object)) => {
                let mut texts = self.texts(bucket, std::slice::from_ref(&object)).await?;
                Ok(texts.pop().map(|(_, text)| text))
            }
            (FileLocation::S3 { bucket, key }, None) => Err(RulesError::Missing(url(bucket, key))),
        }
    }

    /// The objects with the key of a location as prefix; none unless it is in S3.
    async fn listed(&self, place: &FileLocation) -> Result<Vec<ListedObject>, RulesError> {
        let FileLocation::S3 { bucket, key } = place else {
            return Ok(Vec::new());
        };
        let listed = self.s3.list(bucket, key).await;
        listed.map_err(|error| RulesError::S3 {
            place: url(bucket, key),
            error,
        })
    }

    /// The object with the key of a location; `None` unless it is in S3.
    async fn object(&self, place: &FileLocation) -> Result<Option<ListedObject>, RulesError> {
        let listed = self.listed(place).await?;
        // Keys of other objects may begin with its key.
        Ok(listed
            .into_iter()
            .find(|object| matches!(place, FileLocation::S3 { key, .. } if *key == object.key)))
    }

    async fn texts(&self, bucket: &str, objects: &[ListedObject]) -> Result<FileTexts, RulesError> {
        // Side by side, in the order of the listing.
        let files = stream::iter(objects.to_vec()).map(async |object| {
            let (name, bytes) = self.bytes(bucket, &object).await?;
            let text = String::from_utf8(bytes).map_err(|_| RulesError::NotText(name.clone()))?;
            Ok((name, text))
        });
        files.buffered(AT_ONCE).try_collect().await
    }

    /// The place of an object, and its bytes.
    async fn bytes(
        &self,
        bucket: &str,
        object: &ListedObject,
    ) -> Result<(String, Vec<u8>), RulesError> {
        let name = url(bucket, &object.key);
        let place = ObjectRef {
            bucket,
            key: &object.key,
            version_id: None,
            etag: Some(&object.etag),
            size: Some(object.size),
        };
        match self.s3.fetch(place).await {
            Ok(bytes) => Ok((name, bytes)),
            Err(error) => Err(RulesError::S3 { place: name, error }),
        }
    }
}

fn url(bucket: &str, key: &str) -> String {
    format!("s3://{bucket}/{key}")
}

fn file(path: PathBuf) -> Result<String, RulesError> {
    std::fs::read_to_string(&path).map_err(|error| RulesError::File { path, error })
}

/// The rules in a folder and its subfolders, sorted by name.
fn from_package(folder: &Path) -> Result<FileTexts, RulesError> {
    let mut files = FileTexts::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(folder) = folders.pop() {
        for path in entries(&folder)? {
            if path.is_dir() {
                folders.push(path);
            } else if is_rule(&path.to_string_lossy()) {
                files.push((path.to_string_lossy().into_owned(), file(path)?));
            }
        }
    }
    // A folder is listed in any order, and of two copies of a rule the first is kept.
    files.sort();
    if files.is_empty() {
        return Err(RulesError::EmptyFolder(folder.to_owned()));
    }
    Ok(files)
}

fn entries(folder: &Path) -> Result<Vec<PathBuf>, RulesError> {
    std::fs::read_dir(folder)
        .and_then(|entries| entries.map(|entry| Ok(entry?.path())).collect())
        .map_err(|error| RulesError::File {
            path: folder.to_owned(),
            error,
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn listed(key: &str, etag: &str) -> ListedObject {
        ListedObject {
            key: key.to_owned(),
            etag: etag.to_owned(),
            size: 7,
            archived: None,
        }
    }

    #[test]
    fn a_version_changes_with_every_object() {
        let of = |rules: &[(&str, &str)], policy: Option<&str>, lists: Option<&str>| {
            let lists = lists.into_iter();
            let listings = PlaceListings {
                rules: rules.iter().map(|(key, etag)| listed(key, etag)).collect(),
                policy: policy.map(|etag| listed("policy.yaml", etag)),
                vars: None,
                networks: lists.map(|etag| vec![listed("own.txt", etag)]).collect(),
            };
            listings.version()
        };
        let one = of(&[("a.yml", "1")], None, None);
        assert_eq!(one, of(&[("a.yml", "1")], None, None));
        for other in [
            of(&[("a.yml", "2")], None, None),
            of(&[("b.yml", "1")], None, None),
            of(&[("a.yml", "1"), ("b.yml", "1")], None, None),
            of(&[("a.yml", "1")], Some("1"), None),
            of(&[("a.yml", "1")], None, Some("1")),
            of(&[("a.yml", "1")], None, Some("2")),
        ] {
            assert_ne!(one, other);
        }
    }

    #[test]
    fn rules_of_the_package_are_found_in_every_folder_and_in_order() {
        let root = concat!(env!("CARGO_MANIFEST_DIR"), "/../../rules");
        let files = from_package(Path::new(root)).unwrap();
        assert!(files.iter().all(|(name, _)| is_rule(name)));
        assert!(files.is_sorted_by_key(|(name, _)| name));
        assert_eq!(files.len(), secretrail_pack::files().len());
    }

    #[test]
    fn a_folder_without_rules_is_reported_by_its_name() {
        let none = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/src"));
        let error = from_package(none).unwrap_err().to_string();
        let reported = format!(
            "{}: holds no rules; Sigma files end in .yml or .yaml",
            none.display()
        );
        assert_eq!(error, reported);
        let absent = none.join("nowhere");
        let error = from_package(&absent).unwrap_err().to_string();
        assert!(
            error.starts_with(&format!("{}: ", absent.display())),
            "{error}"
        );
    }
}
