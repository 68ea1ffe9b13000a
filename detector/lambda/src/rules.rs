//! Rules and access policy, from the package or from S3. In S3 they are looked at again now and then, and read again when
//! an ETag has changed. A set that does not load is refused, and the last good one stays: in this process, and in the table
//! for those that start later.

use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use secretrail_aws::dynamodb::DynamoStore;
use secretrail_aws::s3::{Listed, ObjectRef, S3Source};
use secretrail_engine::policy::Policy;
use secretrail_engine::rule::RuleSet;
use secretrail_engine::rule::vars;
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
    vars: Option<String>,
}

/// Knows where rules are.
pub struct RuleSource {
    rules: Place,
    policy: Place,
    strict: bool,
    vars: Place,
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
        let Config {
            rules,
            policy,
            strict,
            vars,
            ..
        } = config.clone();
        Self {
            rules,
            policy,
            strict,
            vars,
            s3,
            state: Mutex::default(),
        }
    }

    /// The set in force, and whether a newer one was refused.
    ///
    /// # Errors
    ///
    /// There is none: what was found does not load, and nothing was kept.
    pub async fn current(
        &self,
        store: &DynamoStore,
        now: EventTime,
    ) -> Result<(Arc<Active>, bool), String> {
        let known = {
            let state = self.state();
            let is_recent = state
                .looked
                .is_some_and(|looked| now.0.saturating_sub(looked.0) < LOOK_SECS);
            if let Some(active) = state
                .active
                .clone()
                .filter(|_| is_recent || !self.may_change())
            {
                return Ok((active, state.refused));
            }
            state.active.clone()
        };
        let (active, refused) = match (self.look(known.as_deref()).await, known) {
            (Ok(None), Some(known)) => (known, false),
            (Ok(None), None) => return Err("there are no rules".to_owned()),
            (Ok(Some((active, source))), _) => {
                log(
                    Severity::Info,
                    "rules loaded",
                    json!({"rules": active.rules.len(), "version": active.version}),
                );
                if self.may_change() {
                    keep(store, &source).await;
                }
                (Arc::new(active), false)
            }
            (Err(why), Some(known)) => {
                log(
                    Severity::Error,
                    "rules refused, the last good ones stay",
                    json!({"why": why}),
                );
                (known, true)
            }
            (Err(why), None) => match kept(store, self.strict).await {
                Ok(kept) => {
                    log(
                        Severity::Error,
                        "rules refused, those kept in the table are used",
                        json!({"why": why}),
                    );
                    (Arc::new(kept), true)
                }
                Err(none) => {
                    return Err(format!(
                        "{why}\nand there are none kept from before: {none}"
                    ));
                }
            },
        };
        let mut state = self.state();
        *state = State {
            active: Some(active.clone()),
            looked: Some(now),
            refused,
        };
        Ok((active, refused))
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // A thread that panicked left a state that is still one.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What is in the package is there as long as the process.
    fn may_change(&self) -> bool {
        [&self.rules, &self.policy, &self.vars]
            .iter()
            .any(|place| matches!(place, Place::S3 { .. }))
    }

    /// The set as it is now; `None` when it is the one that is known.
    async fn look(&self, known: Option<&Active>) -> Result<Option<(Active, Source)>, String> {
        let rules = self
            .rules
            .listed(&self.s3)
            .await?
            .into_iter()
            .filter(|object| is_rule(&object.key))
            .collect::<Vec<_>>();
        let (policy, vars) = (
            self.policy.object(&self.s3).await?,
            self.vars.object(&self.s3).await?,
        );
        let all = rules.iter().chain(&policy).chain(&vars);
        let version = all
            .map(|object| format!("{}={}", object.key, object.etag))
            .collect::<Vec<_>>()
            .join(" ");
        if known.is_some_and(|known| known.version == version) {
            return Ok(None);
        }
        let files = match &self.rules {
            Place::None => Files::new(),
            Place::Path(path) => from_package(Path::new(path))?,
            Place::S3 { bucket, key } if rules.is_empty() => {
                return Err(format!(
                    "s3://{bucket}/{key} holds no rules; Sigma files end in .yml or .yaml"
                ));
            }
            Place::S3 { bucket, .. } => self.texts(bucket, &rules).await?,
        };
        let policy = self.text(&self.policy, policy).await?;
        let vars = self.text(&self.vars, vars).await?;
        let source = Source {
            version,
            rules: files,
            policy,
            vars,
        };
        Ok(Some((load(&source, self.strict)?, source)))
    }

    /// The text at a place; `None` at no place.
    async fn text(&self, place: &Place, object: Option<Listed>) -> Result<Option<String>, String> {
        match (place, object) {
            (Place::None, _) => Ok(None),
            (Place::Path(path), _) => std::fs::read_to_string(path)
                .map(Some)
                .map_err(|error| format!("{path}: {error}")),
            (Place::S3 { bucket, .. }, Some(object)) => Ok(self
                .texts(bucket, std::slice::from_ref(&object))
                .await?
                .pop()
                .map(|(_, text)| text)),
            (Place::S3 { bucket, key }, None) => Err(format!("s3://{bucket}/{key} is not there")),
        }
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
            let bytes = self
                .s3
                .fetch(place)
                .await
                .map_err(|error| format!("{name}: {error}"))?;
            files.push((
                name.clone(),
                String::from_utf8(bytes).map_err(|_| format!("{name}: is not UTF-8"))?,
            ));
        }
        Ok(files)
    }
}

impl Place {
    /// The objects with its key as a prefix, if it is in a bucket.
    async fn listed(&self, s3: &S3Source) -> Result<Vec<Listed>, String> {
        let Self::S3 { bucket, key } = self else {
            return Ok(Vec::new());
        };
        s3.list(bucket, key)
            .await
            .map_err(|error| format!("s3://{bucket}/{key}: {error}"))
    }

    /// The object with its key, if it is in a bucket.
    async fn object(&self, s3: &S3Source) -> Result<Option<Listed>, String> {
        let is_it = |object: &Listed| matches!(self, Self::S3 { key, .. } if *key == object.key);
        Ok(self.listed(s3).await?.into_iter().find(is_it))
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
        return Err(format!(
            "{}: holds no rules; Sigma files end in .yml or .yaml",
            folder.display()
        ));
    }
    Ok(files)
}

fn load(source: &Source, strict: bool) -> Result<Active, String> {
    let vars = source
        .vars
        .as_deref()
        .map(vars::read)
        .transpose()
        .map_err(|error| format!("placeholders: {error}"))?;
    let rules = Rules::load(complete(source.rules.clone()), &vars.unwrap_or_default())?.set;
    let policy = source
        .policy
        .as_deref()
        .map(str::parse::<Policy>)
        .transpose();
    let policy = policy
        .map_err(|error| format!("access policy: {error}"))?
        .map(|policy| policy.strict(strict));
    rules
        .warnings
        .iter()
        .for_each(|warning| log(Severity::Warn, "rule", json!({"why": warning})));
    Ok(Active {
        rules,
        policy,
        version: source.version.clone(),
    })
}

/// Keeps a set that loaded. When that fails, the next set that loads is kept.
async fn keep(store: &DynamoStore, source: &Source) {
    let packed = serde_json::to_vec(source).map(|text| item_v1::squeezed(&text));
    let kept = match packed {
        Ok(bytes) if bytes.len() <= item_v1::MAX_ITEM_BYTES => {
            store.keep(KEPT, bytes).await.map_err(|e| e.to_string())
        }
        Ok(bytes) => Err(format!(
            "they have {} bytes, more than an item takes",
            bytes.len()
        )),
        Err(error) => Err(error.to_string()),
    };
    if let Err(why) = kept {
        log(
            Severity::Warn,
            "rules not kept in the table",
            json!({"why": why}),
        );
    }
}

async fn kept(store: &DynamoStore, strict: bool) -> Result<Active, String> {
    let bytes = store
        .kept(KEPT)
        .await
        .map_err(|error| error.to_string())?
        .ok_or("the table has none")?;
    let text = item_v1::unsqueezed(&bytes).map_err(|error| error.to_string())?;
    let source: Source = serde_json::from_slice(&text).map_err(|error| error.to_string())?;
    load(&source, strict)
}
