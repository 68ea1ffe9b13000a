//! The rules, access policy and lists that a function has loaded, as it keeps them in its table.

use secretrail_aws::names::CONTENT;
use secretrail_engine::{
    geo::GeoDatabases,
    network::NetworkLists,
    policy::AccessPolicy,
    rule::{RuleSet, vars},
    state::item_v1,
};
use secretrail_pack::{FileTexts, RulePack, complete};
use serde::Deserialize;

use crate::deployment::table::TableItem;

/// Under which name the function keeps its rules.
pub const RULES_KEPT: &str = "rules";

/// What the function keeps of the last valid rules that it has read from S3. Without any rules, it
/// has the built-in ones.
#[derive(Debug, Default, Deserialize)]
pub struct KeptRules {
    /// Keys and `ETags` of the objects that they were read from.
    pub version: String,
    rules: FileTexts,
    policy: Option<String>,
    vars: Option<String>,
    #[serde(default)]
    networks: Vec<(String, String)>,
}

impl KeptRules {
    /// The rules in their item.
    ///
    /// # Errors
    ///
    /// Why they cannot be read.
    pub fn of(item: &TableItem) -> Result<Self, String> {
        let bytes = item.bytes(CONTENT).unwrap_or_default();
        let text = item_v1::unsqueezed(&bytes).unwrap_or_default();
        serde_json::from_slice(&text).map_err(|error| error.to_string())
    }

    /// Loads them as the function does, with these databases of where addresses are registered.
    ///
    /// # Errors
    ///
    /// Why this command cannot load them.
    pub fn load(self, geo: GeoDatabases) -> Result<(RuleSet, Option<AccessPolicy>), String> {
        let vars = self.vars.as_deref().map(vars::read).transpose();
        let vars = vars.map_err(|error| error.to_string())?.unwrap_or_default();
        let pack = RulePack::load(complete(self.rules), &vars);
        let pack = pack.map_err(|error| error.to_string())?;
        let mut lists = NetworkLists::default();
        for (label, text) in &self.networks {
            let added = lists.add(label, text);
            added.map_err(|error| format!("list {label}: {error}"))?;
        }
        let pack = pack
            .with_networks(lists)
            .map_err(|missing| missing.to_string())?;
        let policy = self.policy.as_deref().map(str::parse::<AccessPolicy>);
        let policy = policy.transpose().map_err(|error| error.to_string())?;
        let policy = policy.map(|policy| policy.with_networks(pack.set.networks()));
        let policy = policy.transpose().map_err(|missing| missing.to_string())?;
        let set = pack.set.with_decoys(policy.as_ref());
        Ok((set.with_geo(geo), policy))
    }
}

/// A location in `SECRETRAIL_NETWORKS` without the label that one of a single list has before it.
#[must_use]
pub fn without_label(place: &str) -> &str {
    place.split_once('=').map_or(place, |(_, place)| place)
}
