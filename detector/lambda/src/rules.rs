//! Rules and access policy, from the package or from S3. In S3 they are looked at again now and then, and read again when
//! an ETag has changed. A set that does not load is refused, and the last good one stays: in this process, and in the table
//! for those that start later.

use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use secretrail_aws::dynamodb::DynamoStore;
use secretrail_aws::s3::{Listed, ObjectRef, S3Source};
use secretrail_engine::policy::Policy;
use secretrail_engine::rule::RuleSet;
use secretrail_engine::rule::vars::Vars;
use secretrail_engine::state::item_v1;
use secretrail_engine::time::EventTime;
use secretrail_pack::{Files, Rules, complete, is_rule};
use serde::{Deserialize, Serialize};
use serde_json::json;

use crate::config::{Config, Place};
use crate::telemetry::{Severity, log};

/// Seconds between two looks at S3.
const LOOK_SECS: i64 = 60;

/// Name under which the last good set is kept.
const KEPT: &str = "rules";

/// A set in force.
#[derive(Debug)]
pub struct Active {
    /// Rules.
    pub rules: RuleSet,
    /// Access policy.
    pub policy: Option<Policy>,
    /// What it was read from: names and ETags.
    version: String,
}

/// What was read, before it is understood.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Source {
    version: String,
    rules: Files,
    policy: Option<String>,
}

/// Knows where rules are.
pub struct RuleSource {
    rules: Place,
    policy: Place,
    s3: S3Source,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    active: Option<Arc<Active>>,
    looked: Option<EventTime>,
    /// Whether what was found last did not load.
    refused: bool,
}

impl RuleSource {
    /// A source by the settings.
    #[must_use]
    pub fn new(config: &Config, s3: S3Source) -> Self {
        Self { rules: config.rules.clone(), policy: config.policy.clone(), s3, state: Mutex::default() }
    }

    /// The set in force, and whether a newer one was refused.
    ///
    /// # Errors
    ///
    /// There is none: what was found does not load, and nothing was kept.
    pub async fn current(&self, store: &DynamoStore, now: EventTime) -> Result<(Arc<Active>, bool), String> {
        let known = {
            let state = self.state();
            let is_recent = state.looked.is_some_and(|looked| now.0.saturating_sub(looked.0) < LOOK_SECS);
            if let Some(active) = state.active.clone().filter(|_| is_recent || !self.may_change()) {
                return Ok((active, state.refused));
            }
            state.active.clone()
        };
        let (active, refused) = match (self.look(known.as_deref()).await, known) {
            (Ok(None), Some(known)) => (known, false),
            (Ok(None), None) => return Err("there are no rules".to_owned()),
            (Ok(Some((active, source))), _) => {
                log(Severity::Info, "rules loaded", json!({"rules": active.rules.len(), "version": active.version}));
                if self.may_change() {
                    keep(store, &source).await;
                }
                (Arc::new(active), false)
            }
            (Err(why), Some(known)) => {
                log(Severity::Error, "rules refused, the last good ones stay", json!({"why": why}));
                (known, true)
            }
            (Err(why), None) => match kept(store).await {
                Ok(kept) => {
                    log(Severity::Error, "rules refused, those kept in the table are used", json!({"why": why}));
                    (Arc::new(kept), true)
                }
                Err(none) => return Err(format!("{why}\nand there are none kept from before: {none}")),
            },
        };
        let mut state = self.state();
        *state = State { active: Some(active.clone()), looked: Some(now), refused };
        Ok((active, refused))
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // A thread that panicked left a state that is still one.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What is in the package is there as long as the process.
    fn may_change(&self) -> bool {
        [&self.rules, &self.policy].iter().any(|place| matches!(place, Place::S3 { .. }))
    }

    /// The set as it is now; `None` when it is the one that is known.
    async fn look(&self, known: Option<&Active>) -> Result<Option<(Active, Source)>, String> {
        let objects = match &self.rules {
            Place::S3 { bucket, key } => self.listed(bucket, key).await?,
            Place::None | Place::Path(_) => Vec::new(),
        };
        let policies = match &self.policy {
            Place::S3 { bucket, key } => self.listed(bucket, key).await?,
            Place::None | Place::Path(_) => Vec::new(),
        };
        let policies = policies.into_iter().filter(|object| self.policy.is_at(&object.key)).collect::<Vec<_>>();
        let rules = objects.into_iter().filter(|object| is_rule(&object.key)).collect::<Vec<_>>();
        let version: Vec<String> =
            rules.iter().chain(&policies).map(|object| format!("{}={}", object.key, object.etag)).collect();
        let version = version.join(" ");
        if known.is_some_and(|known| known.version == version) {
            return Ok(None);
        }
        let files = match &self.rules {
            Place::None => Files::new(),
            Place::Path(path) => from_package(Path::new(path))?,
            Place::S3 { bucket, key } if rules.is_empty() => {
                return Err(format!("s3://{bucket}/{key} holds no rules; Sigma files end in .yml or .yaml"));
            }
            Place::S3 { bucket, .. } => self.texts(bucket, &rules).await?,
        };
        let policy = match &self.policy {
            Place::None => None,
            Place::Path(path) => Some(std::fs::read_to_string(path).map_err(|error| format!("{path}: {error}"))?),
            Place::S3 { bucket, key } => {
                let text = self.texts(bucket, &policies).await?.pop().map(|(_, text)| text);
                Some(text.ok_or_else(|| format!("s3://{bucket}/{key} is not there"))?)
            }
        };
        let source = Source { version, rules: files, policy };
        Ok(Some((load(&source)?, source)))
    }

    async fn listed(&self, bucket: &str, prefix: &str) -> Result<Vec<Listed>, String> {
        self.s3.list(bucket, prefix).await.map_err(|error| format!("s3://{bucket}/{prefix}: {error}"))
    }

    async fn texts(&self, bucket: &str, objects: &[Listed]) -> Result<Files, String> {
        let mut files = Files::new();
        for object in objects {
            let name = format!("s3://{bucket}/{}", object.key);
            let place = ObjectRef {
                bucket,
                key: &object.key,
                version_id: None,
                etag: Some(&object.etag),
                size: Some(object.size),
            };
            let bytes = self.s3.fetch(place).await.map_err(|error| format!("{name}: {error}"))?;
            files.push((name.clone(), String::from_utf8(bytes).map_err(|_| format!("{name}: is not UTF-8"))?));
        }
        Ok(files)
    }
}

impl Place {
    fn is_at(&self, wanted: &str) -> bool {
        matches!(self, Self::S3 { key, .. } if key == wanted)
    }
}

fn from_package(folder: &Path) -> Result<Files, String> {
    let fault = |path: &Path, error: std::io::Error| format!("{}: {error}", path.display());
    let mut files = Files::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(&folder).map_err(|error| fault(&folder, error))? {
            let path = entry.map_err(|error| fault(&folder, error))?.path();
            if path.is_dir() {
                folders.push(path);
            } else if is_rule(&path.to_string_lossy()) {
                let text = std::fs::read_to_string(&path).map_err(|error| fault(&path, error))?;
                files.push((path.to_string_lossy().into_owned(), text));
            }
        }
    }
    files.sort();
    if files.is_empty() {
        return Err(format!("{}: holds no rules; Sigma files end in .yml or .yaml", folder.display()));
    }
    Ok(files)
}

fn load(source: &Source) -> Result<Active, String> {
    let rules = Rules::load(complete(source.rules.clone()), &Vars::new())?.set;
    let policy = source.policy.as_deref().map(str::parse::<Policy>).transpose();
    let policy = policy.map_err(|error| format!("access policy: {error}"))?;
    rules.warnings.iter().for_each(|warning| log(Severity::Warn, "rule", json!({"why": warning})));
    Ok(Active { rules, policy, version: source.version.clone() })
}

/// Keeps a set that loaded. When that fails, the next set that loads is kept.
async fn keep(store: &DynamoStore, source: &Source) {
    let packed = serde_json::to_vec(source).map(|text| item_v1::squeezed(&text));
    let kept = match packed {
        Ok(bytes) if bytes.len() <= item_v1::MAX_ITEM_BYTES => store.keep(KEPT, bytes).await.map_err(|e| e.to_string()),
        Ok(bytes) => Err(format!("they have {} bytes, more than an item takes", bytes.len())),
        Err(error) => Err(error.to_string()),
    };
    if let Err(why) = kept {
        log(Severity::Warn, "rules not kept in the table", json!({"why": why}));
    }
}

async fn kept(store: &DynamoStore) -> Result<Active, String> {
    let bytes = store.kept(KEPT).await.map_err(|error| error.to_string())?.ok_or("the table has none")?;
    let text = item_v1::unsqueezed(&bytes).map_err(|error| error.to_string())?;
    let source: Source = serde_json::from_slice(&text).map_err(|error| error.to_string())?;
    load(&source)
}
