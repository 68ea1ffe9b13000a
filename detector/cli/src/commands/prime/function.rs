//! What must be known of the function, so that a history is remembered as it would do it: its
//! table, its lookback, and the rules and databases that it has loaded.

use std::collections::BTreeMap;

use secretrail_aws::names::{ALONE, kept};
use secretrail_engine::{
    geo::GeoDatabases, policy::AccessPolicy, rule::RuleSet, seen::LookbackPeriods,
};

use crate::{
    args::{deployment::PrimeArgs, path::bucket_and_prefix},
    aws_api::AwsApi,
    deployment::{
        Deployment, logical,
        rules::{KeptRules, RULES_KEPT, without_label},
        settings,
        table::StateTable,
    },
    host::RunFailure,
    input::{rules_and_policy, store::ObjectStore},
};

/// Ending of databases of where addresses are registered.
const DATABASE: &str = ".mmdb";

/// The function whose memory is primed.
pub(super) struct PrimedFunction {
    /// Name of its table.
    pub(super) table: String,
    /// Its lookback and warm-up.
    pub(super) lookback: LookbackPeriods,
    variables: BTreeMap<String, String>,
}

impl PrimedFunction {
    /// Looks up the function of the stack, or the one that was named.
    pub(super) fn find(api: &AwsApi, args: &PrimeArgs) -> Result<Self, RunFailure> {
        let name = match &args.function {
            Some(name) => name.clone(),
            None => {
                let stack = Deployment::named(api, &args.stack).map_err(failed)?;
                stack
                    .physical(logical::DETECTOR)
                    .unwrap_or_default()
                    .to_owned()
            }
        };
        let found = settings::configuration(api, &name).map_err(failed)?;
        let variables = settings::variables(&found).map_err(|why| {
            let remedy = "allow kms:Decrypt with its key, or use another --profile";
            failed(format!(
                "the settings of {name} cannot be read: {why}; {remedy}"
            ))
        })?;
        let table = variables.get("SECRETRAIL_TABLE").cloned();
        let Some(table) = table.filter(|table| !table.is_empty()) else {
            let why = "has no setting SECRETRAIL_TABLE: it is no function of Secretrail";
            return Err(failed(format!("{name} {why}")));
        };
        let lookback = settings::lookback(&variables);
        let lookback = lookback.map_err(|why| failed(format!("{name}: {why}")))?;
        Ok(Self {
            table,
            lookback,
            variables,
        })
    }

    fn setting(&self, name: &str) -> &str {
        self.variables.get(name).map_or("", String::as_str)
    }

    /// The rules and the policy that it has loaded. What the package of a function holds cannot be
    /// seen from outside: without rules in S3, these are the built-in ones.
    pub(super) fn rules(
        &self,
        table: &StateTable<'_>,
        store: &dyn ObjectStore,
        args: &PrimeArgs,
    ) -> Result<(RuleSet, Option<AccessPolicy>), RunFailure> {
        let names = ["RULES", "POLICY", "VARS", "NETWORKS"];
        let mut places = names
            .map(|name| self.setting(&format!("SECRETRAIL_{name}")))
            .into_iter();
        let loaded = match places.any(|place| place.contains("s3://")) {
            true => loaded(table)?,
            false => KeptRules::default(),
        };
        let mut geo = rules_and_policy::geo(&args.geo)?;
        self.add_databases(store, &mut geo)?;
        loaded.load(geo).map_err(|why| {
            let what = "this command cannot load the rules of the function";
            let remedy = "use the command of the version of the function";
            RunFailure::Rules(format!("{what}: {why}; {remedy}"))
        })
    }

    /// Adds the databases in S3: without them, every country would look new later.
    fn add_databases(
        &self,
        store: &dyn ObjectStore,
        geo: &mut GeoDatabases,
    ) -> Result<(), RunFailure> {
        for place in self.setting("SECRETRAIL_NETWORKS").split_whitespace() {
            let place = without_label(place);
            let Some((bucket, prefix)) = bucket_and_prefix(place.as_ref()) else {
                continue;
            };
            let objects = store.list(&bucket, &prefix, None);
            let mut objects = objects.map_err(|error| failed(format!("{place}: {error}")))?;
            objects.retain(|object| object.key.ends_with(DATABASE));
            for object in objects {
                let of_it = |why: String| failed(format!("s3://{bucket}/{}: {why}", object.key));
                let fetched = store.fetch(&object);
                let fetched = fetched.map_err(|error| of_it(error.to_string()))?;
                let added = geo.add(fetched.bytes);
                added.map_err(|fault| of_it(fault.to_string()))?;
            }
        }
        Ok(())
    }
}

/// The rules that the function has loaded from S3 last.
fn loaded(table: &StateTable<'_>) -> Result<KeptRules, RunFailure> {
    let item = table.item(&kept(RULES_KEPT), ALONE).map_err(failed)?;
    let Some(item) = item else {
        let what = "the function has not loaded its rules from S3 yet";
        return Err(failed(format!("{what}; see secretrail doctor")));
    };
    KeptRules::of(&item).map_err(|why| {
        let what = "the rules that the function has loaded cannot be read";
        let remedy = "use the command of the version of the function";
        RunFailure::Rules(format!("{what}: {why}; {remedy}"))
    })
}

#[expect(clippy::needless_pass_by_value, reason = "for map_err")]
fn failed(why: impl ToString) -> RunFailure {
    RunFailure::Input(why.to_string())
}
