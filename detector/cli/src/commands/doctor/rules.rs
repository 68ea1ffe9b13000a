//! Rules, access policy and lists: whether they are where the settings say, which versions the
//! function has loaded, and which rules cannot raise an alert as things stand.

use secretrail_aws::names::{ALONE, kept};
use secretrail_engine::{geo::GeoDatabases, rule_meta::RuleMeta};
use secretrail_pack::is_rule;

use super::{Checkup, findings::first_of, function::KnownFunction};
use crate::{
    args::path::bucket_and_prefix,
    deployment::rules::{KeptRules, RULES_KEPT, without_label},
    input::store::RemoteObject,
    text::plural,
};

const RULES: &str = "rules";
const POLICY: &str = "policy";

/// Most titles of rules in a line.
const NAMED: usize = 3;

pub(super) fn check(checkup: &mut Checkup<'_>, function: &KnownFunction) {
    if function.variables.is_none() {
        let remedy = "allow lambda:GetFunctionConfiguration, or use another --profile";
        checkup
            .findings
            .warn(RULES, "not checked, the settings are not known", remedy);
        return;
    }
    let settings = [
        function.setting("SECRETRAIL_RULES"),
        function.setting("SECRETRAIL_POLICY"),
        function.setting("SECRETRAIL_VARS"),
    ];
    let networks = function.setting("SECRETRAIL_NETWORKS");
    let places = settings.into_iter().chain(networks.split_whitespace());
    let is_in_s3 = places.clone().any(|place| place.contains("s3://"));
    let listed = is_in_s3
        .then(|| listed(checkup, settings, networks))
        .flatten();
    let loaded = match is_in_s3 {
        true => match loaded(checkup) {
            Some(loaded) => loaded,
            None => return,
        },
        false => KeptRules::default(),
    };
    if let Some(listed) = &listed {
        versions(checkup, listed, &loaded);
    }
    if is_in_s3 && settings.iter().any(|place| is_of_package(place)) {
        let what = "some rules are in the package of the function, and not checked";
        checkup
            .findings
            .warn(RULES, what, "test them with secretrail rules test");
        return;
    }
    let has_geo = listed.is_some_and(|all| all.iter().any(|object| object.key.ends_with(".mmdb")));
    active(checkup, loaded, has_geo);
}

/// Whether a location is a path in the package, which cannot be seen from outside.
fn is_of_package(place: &str) -> bool {
    !place.is_empty() && !place.starts_with("s3://")
}

/// The objects at the locations in S3, in the order of their version; `None` if they cannot be
/// listed.
fn listed(
    checkup: &mut Checkup<'_>,
    [rules, policy, vars]: [&str; 3],
    networks: &str,
) -> Option<Vec<RemoteObject>> {
    let mut all = below(checkup, rules)?;
    all.retain(|object| is_rule(&object.key));
    if all.is_empty() && !rules.is_empty() {
        let what = format!("{rules} holds no rules; Sigma files end in .yml or .yaml");
        checkup
            .findings
            .fail(RULES, what, "upload your rules there, or empty RulesPrefix");
    }
    for place in [policy, vars] {
        let found = below(checkup, place)?;
        let key = bucket_and_prefix(place.as_ref()).map(|(_, key)| key);
        let object = found
            .into_iter()
            .find(|object| Some(&object.key) == key.as_ref());
        if object.is_none() && key.is_some() {
            let what = format!("{place} does not exist");
            checkup
                .findings
                .fail(POLICY, what, "upload it, or empty PolicyKey or VarsKey");
        }
        all.extend(object);
    }
    for place in networks.split_whitespace() {
        all.extend(below(checkup, without_label(place))?);
    }
    Some(all)
}

/// The objects whose keys begin with that of a location; none unless it is in S3.
fn below(checkup: &mut Checkup<'_>, place: &str) -> Option<Vec<RemoteObject>> {
    let Some((bucket, prefix)) = bucket_and_prefix(place.as_ref()) else {
        return Some(Vec::new());
    };
    match checkup.store.list(&bucket, &prefix, None) {
        Ok(found) => Some(found),
        Err(error) => {
            let what = format!("{place}: not checked: {error}");
            checkup
                .findings
                .warn(RULES, what, "allow it, or use another --profile");
            None
        }
    }
}

/// The rules that the function has loaded last.
fn loaded(checkup: &mut Checkup<'_>) -> Option<KeptRules> {
    let answer = checkup.table.item(&kept(RULES_KEPT), ALONE);
    let what = "rules that the function has loaded";
    let item = checkup.findings.known(RULES, what, answer)?;
    let Some(item) = item else {
        checkup.findings.fail(
            RULES,
            "the function has not loaded any rules from S3 yet",
            "see `rules rejected` in its log, and whether the sweep runs",
        );
        return None;
    };
    match KeptRules::of(&item) {
        Ok(loaded) => Some(loaded),
        Err(why) => {
            let what = format!("the rules that the function has loaded cannot be read: {why}");
            checkup.findings.warn(
                RULES,
                what,
                "use the command of the version of the function",
            );
            None
        }
    }
}

/// Compares what is in S3 with what the function has loaded.
fn versions(checkup: &mut Checkup<'_>, listed: &[RemoteObject], loaded: &KeptRules) {
    let now = listed
        .iter()
        .map(|object| format!("{}={}", object.key, object.etag));
    let now: Vec<String> = now.collect();
    let findings = &mut checkup.findings;
    if now.join(" ") == loaded.version {
        let what = format!("loaded as they are in S3: {}", first_of(&now, NAMED));
        findings.ok(RULES, what);
        return;
    }
    let other: Vec<String> = now
        .iter()
        .filter(|object| !loaded.version.contains(object.as_str()))
        .cloned()
        .collect();
    let what = match other.is_empty() {
        true => "the function has loaded files that are not in S3 any more".to_owned(),
        false => format!("the function has not loaded {}", first_of(&other, NAMED)),
    };
    findings.warn(
        RULES,
        what,
        "changes are loaded within a minute; if it stays so, they were rejected: read \
         `rules rejected` in the log, and test them with secretrail rules lint",
    );
}

/// Loads the rules as the function does, and names those that cannot raise an alert.
fn active(checkup: &mut Checkup<'_>, loaded: KeptRules, has_geo: bool) {
    let (set, policy) = match loaded.load(GeoDatabases::default()) {
        Ok(found) => found,
        Err(why) => {
            let what = format!("this command cannot load the rules of the function: {why}");
            let remedy = "use the command of the version of the function";
            checkup.findings.warn(RULES, what, remedy);
            return;
        }
    };
    let findings = &mut checkup.findings;
    let all = set.alerting().count() as u64;
    findings.ok(RULES, format!("{} can raise alerts", plural(all, "rule")));
    match &policy {
        Some(_) => findings.ok(POLICY, "an access policy is loaded"),
        None => {
            let rules: Vec<String> = titles(set.needing_policy());
            if !rules.is_empty() {
                findings.warn(
                    POLICY,
                    silent(&rules, "there is no access policy"),
                    "propose one with secretrail baseline, and set PolicyKey",
                );
            }
        }
    }
    let rules = titles(set.needing_networks());
    if !rules.is_empty() {
        let why = "their lists of networks are missing";
        findings.warn(
            RULES,
            silent(&rules, why),
            "upload the lists below NetworksPrefix",
        );
    }
    let rules = titles(set.needing_geo());
    if !rules.is_empty() && !has_geo {
        findings.warn(
            RULES,
            silent(
                &rules,
                "there is no database of where addresses are registered",
            ),
            "upload a .mmdb file below NetworksPrefix",
        );
    }
}

fn titles<'r>(rules: impl Iterator<Item = &'r std::sync::Arc<RuleMeta>>) -> Vec<String> {
    let mut titles: Vec<String> = rules.map(|rule| rule.title.clone()).collect();
    titles.sort_unstable();
    titles.dedup();
    titles
}

fn silent(rules: &[String], why: &str) -> String {
    let count = plural(rules.len() as u64, "rule");
    format!(
        "{count} cannot raise alerts, {why}: {}",
        first_of(rules, NAMED)
    )
}
