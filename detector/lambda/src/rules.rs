//! Rules and access policy, from the package or from S3. S3 is checked once a minute, and the files
//! are read again when an ETag has changed. An invalid rule set is rejected; all instances keep
//! using the last valid one, which is stored in the table.

mod error;
mod places;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use secretrail_aws::{dynamodb::DynamoStore, s3::S3Source};
use secretrail_engine::{
    geo::GeoDatabases,
    network::NetworkLists,
    policy::{AccessPolicy, PolicyError},
    rule::{RuleSet, vars},
    state::item_v1,
    time::EventTime,
};
use secretrail_pack::{RulePack, complete};
use serde_json::json;

pub use self::error::RulesError;
use self::places::{FetchedRules, RulePlaces};
use crate::{
    config::FunctionConfig,
    telemetry::{LogSeverity, log},
};

/// Seconds between two checks of S3.
const LOOK_SECS: i64 = 60;

/// Name under which the last valid rule set is stored.
const KEPT: &str = "rules";

/// An active rule set.
#[derive(Debug, Default)]
pub struct ActiveRules {
    /// Sigma rules.
    pub rules: RuleSet,
    /// Access policy; `None` when there is none.
    pub policy: Option<AccessPolicy>,
    /// Keys and ETags of the objects that it was read from.
    version: String,
}

/// Loads rules, and again when they have changed.
pub struct RuleSource {
    places: RulePlaces,
    strict: bool,
    state: Mutex<RulesState>,
}

#[derive(Default)]
struct RulesState {
    active: Option<Arc<ActiveRules>>,
    looked: Option<EventTime>,
    /// Whether the latest rule set was rejected.
    refused: bool,
}

/// Result of a check.
enum RefreshResult {
    /// The rule set has not changed.
    Same(Arc<ActiveRules>),
    /// A new rule set, and the texts that it was read from.
    New(Arc<ActiveRules>, FetchedRules),
}

impl RuleSource {
    /// A source for the locations in the settings.
    #[must_use]
    pub fn new(config: &FunctionConfig, s3: S3Source) -> Self {
        Self {
            places: RulePlaces::new(config, s3),
            strict: config.strict,
            state: Mutex::default(),
        }
    }

    /// The active rule set, and whether a newer one was rejected.
    ///
    /// # Errors
    ///
    /// There are no usable rules: those found are invalid, and none are stored.
    pub async fn current(
        &self,
        store: &DynamoStore,
        now: EventTime,
    ) -> Result<(Arc<ActiveRules>, bool), RulesError> {
        if let Some(recent) = self.recent(now) {
            return Ok(recent);
        }
        let known = self.state().active.clone();
        let (active, refused) = match self.look(known.clone()).await {
            Ok(RefreshResult::Same(active)) => (active, false),
            Ok(RefreshResult::New(active, source)) => {
                let reported = json!({
                    "rules": active.rules.len(),
                    "without_networks": active.rules.needing_networks().count(),
                    "geoip": !active.rules.geo().is_empty(),
                    "version": active.version,
                });
                log(LogSeverity::Info, "rules loaded", reported);
                // Rules of the package need not be stored: all instances have them.
                if self.places.may_change() {
                    keep(store, &source).await;
                }
                (active, false)
            }
            Err(why) => {
                let is_rejected = !why.is_transient();
                (self.last_good(store, known, why).await?, is_rejected)
            }
        };
        // After a rejection as well: an invalid rule set is not read again at every invocation.
        *self.state() = RulesState {
            active: Some(active.clone()),
            looked: Some(now),
            refused,
        };
        Ok((active, refused))
    }

    fn state(&self) -> MutexGuard<'_, RulesState> {
        // The state is usable even after a panic.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The active rule set, if it was checked recently or cannot have changed.
    fn recent(&self, now: EventTime) -> Option<(Arc<ActiveRules>, bool)> {
        let state = self.state();
        let is_recent = state
            .looked
            .is_some_and(|looked| now.0.saturating_sub(looked.0) < LOOK_SECS);
        let active = state.active.clone()?;
        (is_recent || !self.places.may_change()).then_some((active, state.refused))
    }

    /// Checks the locations, and loads the rule set if it has changed.
    async fn look(&self, known: Option<Arc<ActiveRules>>) -> Result<RefreshResult, RulesError> {
        let listings = self.places.list().await?;
        let version = listings.version();
        if let Some(known) = known.filter(|known| known.version == version) {
            return Ok(RefreshResult::Same(known));
        }
        let mut source = self.places.read(listings).await?;
        let geo = geo_of(std::mem::take(&mut source.databases))?;
        let mut active = load(&source, self.strict)?;
        active.rules = active.rules.with_geo(geo);
        Ok(RefreshResult::New(Arc::new(active), source))
    }

    /// The rule set to use instead of a rejected one.
    async fn last_good(
        &self,
        store: &DynamoStore,
        known: Option<Arc<ActiveRules>>,
        why: RulesError,
    ) -> Result<Arc<ActiveRules>, RulesError> {
        let (severity, what) = match why.is_transient() {
            true => (LogSeverity::Warn, "rules not read"),
            false => (LogSeverity::Error, "rules rejected"),
        };
        let reported = json!({"why": why.to_string()});
        // In memory before the table: a warm instance needs no read to go on.
        if let Some(known) = known {
            let message = format!("{what}, the last valid ones stay in use");
            log(severity, &message, reported);
            return Ok(known);
        }
        match kept(store, self.strict).await {
            Ok(kept) => {
                let message = format!("{what}, the last valid ones are loaded from the table");
                log(severity, &message, reported);
                Ok(Arc::new(kept))
            }
            Err(kept) => Err(RulesError::Neither {
                found: Box::new(why),
                kept: Box::new(kept),
            }),
        }
    }
}

fn load(source: &FetchedRules, strict: bool) -> Result<ActiveRules, RulesError> {
    let rules = rules_of(source)?;
    let policy = policy_of(source)?.map(|policy| {
        let policy = policy.strict(strict).with_networks(rules.networks());
        policy.map_err(|missing| RulesError::Policy(missing.to_string()))
    });
    let policy = policy.transpose()?;
    // What incidents revealed is open until a change replaces it.
    let rules = rules.with_decoys(policy.as_ref()).with_changes();
    rules
        .warnings
        .iter()
        .for_each(|warning| log(LogSeverity::Warn, "rule warning", json!({"why": warning})));
    Ok(ActiveRules {
        rules,
        policy,
        version: source.version.clone(),
    })
}

fn rules_of(source: &FetchedRules) -> Result<RuleSet, RulesError> {
    let vars = source.vars.as_deref().map(vars::read).transpose();
    let vars = vars.map_err(|error| RulesError::Vars(error.to_string()))?;
    let files = complete(source.rules.clone());
    let pack = RulePack::load(files, &vars.unwrap_or_default())
        .map_err(|error| RulesError::Rules(error.to_string()))?;
    Ok(pack.with_networks(networks_of(source)?)?.set)
}

fn geo_of(files: Vec<(String, Vec<u8>)>) -> Result<GeoDatabases, RulesError> {
    let mut databases = GeoDatabases::default();
    for (place, bytes) in files {
        let added = databases.add(bytes);
        added.map_err(|fault| RulesError::Geo { place, fault })?;
    }
    Ok(databases)
}

fn networks_of(source: &FetchedRules) -> Result<NetworkLists, RulesError> {
    let mut lists = NetworkLists::default();
    for (label, text) in &source.networks {
        let added = lists.add(label, text);
        added.map_err(|fault| RulesError::Networks {
            place: label.clone(),
            fault,
        })?;
    }
    Ok(lists)
}

fn policy_of(source: &FetchedRules) -> Result<Option<AccessPolicy>, RulesError> {
    let policy = source.policy.as_deref().map(str::parse).transpose();
    policy.map_err(|error: PolicyError| RulesError::Policy(error.to_string()))
}

/// Stores a valid rule set. If that fails, the next valid one is stored.
async fn keep(store: &DynamoStore, source: &FetchedRules) {
    if let Err(why) = try_to_keep(store, source).await {
        log(
            LogSeverity::Warn,
            "rules not stored in the table",
            json!({"why": why.to_string()}),
        );
    }
}

async fn try_to_keep(store: &DynamoStore, source: &FetchedRules) -> Result<(), RulesError> {
    let bytes = packed(source)?;
    // Every instance that starts comes here, and a read costs a fraction of a write.
    let before = store.kept(KEPT).await.unwrap_or_default();
    if before.is_some_and(|before| before == bytes) {
        return Ok(());
    }
    Ok(store.keep(KEPT, bytes).await?)
}

fn packed(source: &FetchedRules) -> Result<Vec<u8>, RulesError> {
    let bytes = item_v1::squeezed(&serde_json::to_vec(source)?);
    // DynamoDB would reject the item, with an error that names no rule.
    if bytes.len() > item_v1::MAX_ITEM_BYTES {
        return Err(RulesError::TooLarge(bytes.len()));
    }
    Ok(bytes)
}

fn unpacked(bytes: &[u8]) -> Result<FetchedRules, RulesError> {
    let text = item_v1::unsqueezed(bytes)?;
    Ok(serde_json::from_slice(&text)?)
}

/// Loads the stored rule set. It is stored as text, so that this version of the function parses it
/// itself.
async fn kept(store: &DynamoStore, strict: bool) -> Result<ActiveRules, RulesError> {
    let bytes = store.kept(KEPT).await?.ok_or(RulesError::NoneKept)?;
    load(&unpacked(&bytes)?, strict)
}

#[cfg(test)]
mod tests {
    use super::*;
    use secretrail_aws::{cause::FailureCause, retry::FailedCall, s3::FetchError};

    fn source(rules: &[(&str, &str)]) -> FetchedRules {
        FetchedRules {
            version: "a.yml=1".to_owned(),
            rules: rules
                .iter()
                .map(|(name, text)| ((*name).to_owned(), (*text).to_owned()))
                .collect(),
            ..FetchedRules::default()
        }
    }

    const OWN: &str = "title: Mine\nid: own-1\nlevel: low\n\
        logsource: {product: aws, category: secret_access}\n\
        detection:\n  direct:\n    access.method: direct_decrypt\n  condition: direct\n";

    #[test]
    fn what_is_kept_loads_to_the_same_set() {
        let found = source(&[("own.yml", OWN)]);
        let kept = unpacked(&packed(&found).unwrap()).unwrap();
        let [found, kept] = [found, kept].map(|source| load(&source, false).unwrap());
        assert_eq!(found.rules.len(), 1);
        assert_eq!(kept.rules.len(), 1);
        assert_eq!(kept.version, found.version);
    }

    #[test]
    fn what_an_item_does_not_take_is_not_kept() {
        // Digits of a sequence without a pattern, so that deflating does not help.
        let mut state = 1_u64;
        let text: String = (0..600_000)
            .map(|_| {
                state = state
                    .wrapping_mul(6_364_136_223_846_793_005)
                    .wrapping_add(1);
                char::from(b'0' + u8::try_from(state >> 58).unwrap())
            })
            .collect();
        let kept = packed(&source(&[("large.yml", &text)])).map(|bytes| bytes.len());
        assert!(matches!(kept, Err(RulesError::TooLarge(_))), "{kept:?}");
    }

    #[test]
    fn what_another_version_kept_is_refused() {
        let bytes = item_v1::squeezed(br#"{"version":"","rules":[],"policy":null,"more":1}"#);
        assert!(matches!(unpacked(&bytes), Err(RulesError::Form(_))));
        assert!(matches!(unpacked(b"other"), Err(RulesError::Item(_))));
    }

    #[test]
    fn what_does_not_load_says_which_part() {
        let with = |policy: Option<&str>, vars: Option<&str>| {
            let source = FetchedRules {
                policy: policy.map(str::to_owned),
                vars: vars.map(str::to_owned),
                ..source(&[("own.yml", OWN)])
            };
            load(&source, false).map(drop).unwrap_err().to_string()
        };
        assert!(with(Some("version: 9"), None).starts_with("access policy: "));
        assert!(with(None, Some("- 1")).starts_with("placeholders: "));
        let bad = load(&source(&[("own.yml", "title: 1")]), false);
        assert!(matches!(bad, Err(RulesError::Rules(_))));
    }

    #[test]
    fn what_may_be_read_a_minute_later_is_not_rejected() {
        let failed = |retry| FailedCall {
            code: None,
            status: Some(503),
            retry,
            cause: FailureCause::Other,
            action: None,
            message: "slow down".to_owned(),
        };
        let of = |error| RulesError::S3 {
            place: "s3://b/rules/".to_owned(),
            error,
        };
        assert!(of(FetchError::Failed(Box::new(failed(true)))).is_transient());
        assert!(!of(FetchError::Failed(Box::new(failed(false)))).is_transient());
        assert!(!of(FetchError::Missing(Box::new(failed(true)))).is_transient());
        assert!(!RulesError::Rules("title".to_owned()).is_transient());
    }

    #[test]
    fn no_rules_at_all_gives_both_reasons() {
        let error = RulesError::Neither {
            found: Box::new(RulesError::EmptyPrefix("s3://b/rules/".to_owned())),
            kept: Box::new(RulesError::NoneKept),
        };
        assert_eq!(
            error.to_string(),
            "s3://b/rules/ holds no rules; Sigma files end in .yml or .yaml\n\
             and the last valid rules cannot be used: the table has no stored rules"
        );
    }
}
