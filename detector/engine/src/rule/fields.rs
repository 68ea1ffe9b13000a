//! The fields that rules may use besides CloudTrail's own: one table for the lookup, the load-time
//! check and the docs.

mod raw;
pub(super) mod spread;
mod values;

use std::sync::LazyLock;

use ahash::HashMap;
use rsigma_eval::EventValue;

pub use self::raw::{held, is_kept, is_raw};
use self::{
    raw::RECORD,
    values::{list, novelty, opt, secret_id, verdict, word, yes},
};
use crate::{
    access::Access,
    client::ClientProgram,
    ids::SecretRef,
    network::{NetworkLists, SourceClass, network_of},
    observation::EventHeader,
    policy::{AccessPolicy, Expectation},
    rule::{
        changed::{self, ChangeSubject, ChangedPolicy},
        target::RuleTarget,
    },
    seen::SeenVerdicts,
};

/// What a rule is matched against: an access or a secret change.
#[derive(Debug)]
pub struct FieldSubject<'a> {
    /// Header of the CloudTrail record.
    pub head: &'a EventHeader,
    /// The secret; `None` for a change that names none.
    pub secret: Option<&'a SecretRef>,
    /// The other secrets of a change; empty for an access.
    pub others: &'a [SecretRef],
    /// The access; `None` for a secret change.
    pub access: Option<&'a Access>,
    /// Verdicts of the access policy; `None` without a policy.
    pub expected: Option<Expectation>,
    /// Verdicts for `seen.*`; `None` before the final evaluation.
    pub seen: Option<SeenVerdicts>,
    /// Lists of networks that the user named.
    pub networks: &'a NetworkLists,
    /// The access policy, for what a change opens; `None` without one, and for an access.
    pub policy: Option<&'a AccessPolicy>,
    /// What a policy in the record allows, once it was asked for.
    pub changed: ChangedPolicy,
}

impl<'a> FieldSubject<'a> {
    fn change(&self) -> ChangeSubject<'a> {
        ChangeSubject {
            head: self.head,
            secret: self.secret,
            policy: self.policy,
        }
    }
}

/// A field that Secretrail derives; CloudTrail records do not have it.
#[derive(Debug)]
pub struct DerivedField {
    /// Name in rules, such as `secret.arn`.
    pub name: &'static str,
    /// Its meaning in Markdown, for `rules/README.md` and `secretrail rules fields`.
    pub meaning: &'static str,
    /// Whether only accesses have it, and secret changes do not.
    pub access_only: bool,
    get: for<'a> fn(&FieldSubject<'a>) -> Option<EventValue<'a>>,
}

// Each entry: name, whether only accesses have the field, its meaning, and a function that reads
// it. One table, so that every field is documented, and every documented field exists.
macro_rules! fields {
    ($($name:literal $only:literal $meaning:literal $get:expr;)*) => {
        /// Every derived field.
        pub const DERIVED: &[DerivedField] = &[$(DerivedField {
            name: $name,
            meaning: $meaning,
            access_only: $only,
            get: $get,
        }),*];
    };
}

fn decoy(subject: &FieldSubject<'_>) -> Option<EventValue<'static>> {
    let mut of_change = subject.secret.into_iter().chain(subject.others);
    let is_decoy = subject.expected.is_some_and(|expected| expected.decoy)
        || subject
            .policy
            .is_some_and(|policy| of_change.any(|secret| policy.is_decoy(secret)));
    is_decoy.then(|| yes(true)).flatten()
}

fn client<'a>(subject: &FieldSubject<'a>) -> Option<ClientProgram<'a>> {
    ClientProgram::of(subject.head.source.user_agent.as_deref()?)
}

fields! {
    "secret.store" false
        "`secretsmanager` or `ssm`"
        |s| word(s.secret?.store.as_str());
    "secret.arn" false
        "full ARN; absent when only the name is known"
        |s| opt(s.secret?.arn.as_ref());
    "secret.name" false
        "name without random suffix, version or label; for `GetParametersByPath`, the path"
        |s| opt(s.secret?.name.as_ref());
    "secret.id" false
        "store, account, region and name in one text, to count different secrets by; absent \
         without a name"
        |s| secret_id(s.secret?);
    "secret.count" false
        "number of parameters that a change names in a list; absent when it names none so"
        |s| Some(EventValue::Int(changed::names(s.head)?));
    "secret.account" false
        "account that owns the secret"
        |s| word(&s.secret?.account);
    "secret.region" false
        "region of the secret"
        |s| word(&s.secret?.region);
    "secret.version_id" false
        "version id in the request, or that of the KMS Decrypt, which is known at final evaluation"
        |s| opt(s.secret?.version_id.as_ref());
    "secret.version_stage" false
        "requested staging label or parameter label"
        |s| opt(s.secret?.version_stage.as_ref());
    "secret.decoy" false
        "`true` when the secret is under `decoys` in the access policy: nobody has a reason to \
         touch it"
        |s| decoy(s);
    "principal.arn" false
        "stable identity: ARN of the role or user, or a service; all sessions of a role share it"
        |s| opt(s.head.principal.id.as_ref());
    "principal.type" false
        "`userIdentity.type`"
        |s| opt(s.head.principal.identity_type.as_ref());
    "principal.kind" false
        "`human`, `workload`, `service`, `root` or `unknown`"
        |s| word(s.head.principal.kind.as_str());
    "principal.account" false
        "account of the caller"
        |s| opt(s.head.principal.account.as_ref());
    "principal.name" false
        "name of the role, user or service"
        |s| opt(s.head.principal.name.as_ref());
    "principal.session" false
        "role session name"
        |s| opt(s.head.principal.session.as_ref());
    "principal.via" false
        "service that called on behalf of the principal (`userIdentity.invokedBy`)"
        |s| opt(s.head.principal.via.as_ref());
    "principal.console" false
        "`true` for calls from the AWS console"
        |s| yes(s.head.principal.console);
    "actor.arn" false
        "full session ARN (`userIdentity.arn`)"
        |s| opt(s.head.principal.actor.as_ref());
    "source.ip" false
        "`sourceIPAddress`"
        |s| opt(s.head.source.ip.as_ref());
    "source.kind" false
        "`ip`, `service`, `internal` or `unknown`"
        |s| word(s.head.source.kind.as_str());
    "source.user_agent" false
        "`userAgent`"
        |s| opt(s.head.source.user_agent.as_ref());
    "source.vpc_endpoint" false
        "`vpcEndpointId` of the API call"
        |s| opt(s.head.source.vpc_endpoint.as_ref());
    "source.class" false
        "class of the source: `private`, `vpc_endpoint`, `aws_service`, `public`; with lists of \
         networks (`--networks`) also `own`, `hosted_ci`, `anonymizer`, `aws_public`"
        |s| word(SourceClass::of(&s.head.source, s.networks)?.as_str());
    "source.scope" false
        "class of the source by its address alone, whatever lists say: `private`, `vpc_endpoint`, \
         `aws_service` or `public`"
        |s| word(SourceClass::by_shape(&s.head.source)?.as_str());
    "source.network" false
        "the VPC endpoint, or the /24 (IPv6: /48) around the address"
        |s| Some(EventValue::Str(network_of(&s.head.source)?.into()));
    "source.country" false
        "country in which the address is registered (ISO 3166-1 alpha-2), with `--geoip`"
        |s| opt(s.head.source.geo.country.as_ref());
    "source.asn" false
        "number of the autonomous system of the address, with `--geoip`"
        |s| Some(EventValue::Int(s.head.source.geo.asn?.into()));
    "source.as_org" false
        "organisation that runs it, with `--geoip`"
        |s| opt(s.head.source.geo.as_org.as_ref());
    "source.lists" false
        "labels of the lists of networks (`--networks`) that contain the address"
        |s| list(&s.networks.containing(&s.head.source).map(str::to_owned).collect());
    "client.family" false
        "program of the user agent: `aws-cli`, `boto3`, `terraform`, `browser`, `kali` …, else \
         its first word in lower case"
        |s| Some(EventValue::Str(client(s)?.family));
    "client.version" false
        "version of the program"
        |s| word(client(s)?.version?);
    "client.command" false
        "command of the AWS CLI, such as `secretsmanager.get-secret-value`"
        |s| word(client(s)?.command?);
    "access.api" false
        "`eventName`"
        |s| word(&s.head.api);
    "access.outcome" false
        "`success`, `denied` or `failed`"
        |s| word(s.head.outcome.as_str());
    "access.denied_by" false
        "what denied the call: `identity_policy`, `resource_policy`, `kms_key` …"
        |s| opt(s.head.denied_by.as_ref());
    "access.method" true
        "`api`, `batch`, `by_path`, `history`, `direct_decrypt` or `decrypt_only`"
        |s| word(s.access?.method.as_str());
    "access.cross_account" true
        "`true` when the caller's account differs from the account of the secret or of the record"
        |s| yes(s.access?.cross_account());
    "decrypt.status" true
        "`paired`, `absent`, `unknown` or `not_expected`; final evaluation only"
        |s| word(s.access?.decrypt.status.as_str());
    "decrypt.key_arn" true
        "ARN of the KMS key that decrypted the secret; final evaluation only"
        |s| opt(s.access?.decrypt.key_arn.as_ref());
    "expected.principal" true
        "whether the access policy grants the principal the secret: `yes`, `no`, `undeclared`"
        |s| verdict(s.expected, |e| e.principal);
    "expected.person" true
        "whether `people` of the access policy names the person for the secret at this time: \
         `yes`, `no`, `undeclared`; `undeclared` for software"
        |s| verdict(s.expected, |e| e.person);
    "expected.region" true
        "whether the grants for secret and principal allow the region: `yes`, `no`, `undeclared`"
        |s| verdict(s.expected, |e| e.region);
    "expected.source" true
        "whether the grants for secret and principal allow the source: `yes`, `no`, `undeclared`"
        |s| verdict(s.expected, |e| e.source);
    "expected.key" true
        "whether the grants for secret and principal allow the KMS key: `yes`, `no`, \
         `undeclared`; final evaluation only"
        |s| verdict(s.expected, |e| e.key);
    "expected.account_region" true
        "whether any grant for the secret's account names the region: `yes`, `no`, `undeclared`"
        |s| verdict(s.expected, |e| e.account_region);
    "expected.baseline_per_hour" true
        "highest `baseline_per_hour` of the grants for secret and principal; absent when none has \
         one"
        |s| Some(EventValue::Str(s.expected?.baseline_per_hour?.to_string().into()));
    "seen.principal_secret" true
        "`first` when the principal has not read the secret within the lookback, `known` when it \
         has, `unknown` when the account's logs do not cover the warm-up; final evaluation only"
        |s| novelty(s.seen, |s| s.principal_secret);
    "seen.principal" true
        "the same for the principal and any secret; final evaluation only"
        |s| novelty(s.seen, |s| s.principal);
    "seen.region" true
        "the same for the region and any read in the secret's account; final evaluation only"
        |s| novelty(s.seen, |s| s.region);
    "seen.usual" true
        "the same for the principal and the secret as a habit: known when seen on two days, the \
         first three days ago, or ten days ago, so that an intruder does not become known by the \
         first reads; final evaluation only"
        |s| novelty(s.seen, |s| s.usual);
    "seen.source" true
        "the same for the principal and this network (the VPC endpoint, or the /24 or /48 of the \
         address); `known` too for a principal whose networks never repeat; known when seen on \
         two days, the first three days ago, or ten days ago; final evaluation only"
        |s| novelty(s.seen, |s| s.source);
    "seen.network" true
        "like `seen.source`, also for a principal whose networks never repeat; final evaluation \
         only"
        |s| novelty(s.seen, |s| s.network);
    "seen.account_source" true
        "the same for the network and any read in the secret's account; final evaluation only"
        |s| novelty(s.seen, |s| s.account_source);
    "seen.class" true
        "the same for the principal and this kind of network: private, VPC endpoint or public; \
         known when seen on two days, the first three days ago, or ten days ago; final evaluation \
         only"
        |s| novelty(s.seen, |s| s.class);
    "seen.country" true
        "the same for the principal and `source.country`; known when seen on two days, the first \
         three days ago, or ten days ago; final evaluation only"
        |s| novelty(s.seen, |s| s.country);
    "seen.asn" true
        "the same for the principal and `source.asn`; known when seen on two days, the first \
         three days ago, or ten days ago; final evaluation only"
        |s| novelty(s.seen, |s| s.asn);
    "seen.client" true
        "the same for the principal and this program (`client.family`); known when seen on two \
         days, the first three days ago, or ten days ago; final evaluation only"
        |s| novelty(s.seen, |s| s.client);
    "seen.access_key" true
        "the same for the principal and this long-term access key (`AKIA…`); known when seen on \
         two days, the first three days ago, or ten days ago; `unknown` for credentials of \
         sessions; final evaluation only"
        |s| novelty(s.seen, |s| s.access_key);
    "seen.method" true
        "the same for the principal and `access.method`; known when seen on two days, the first \
         three days ago, or ten days ago; final evaluation only"
        |s| novelty(s.seen, |s| s.method);
    "seen.folder" true
        "the same for the principal and any secret or parameter in the same folder, which is the \
         first two parts of a path with three or more (`prod/payments/db` and \
         `/prod/payments/keys/1` are in one): known when seen the day before; `unknown` for \
         shorter paths; final evaluation only"
        |s| novelty(s.seen, |s| s.folder);
    "seen.person" true
        "the same for the person behind the session, with whatever role; `unknown` for others; \
         final evaluation only"
        |s| novelty(s.seen, |s| s.person);
    "seen.hour" true
        "the same for the person and this hour of the day in UTC, give or take one; `unknown` for \
         others, and until the person has read for five days; final evaluation only"
        |s| novelty(s.seen, |s| s.hour);
    "access.at_log_start" true
        "`true` when the logs of the account begin within the 15 minutes before the access, so \
         that its other half may lie before them; final evaluation only"
        |s| yes(s.seen?.is_at_start);
    "secret.fresh" true
        "`true` when the log has the secret's creation within the day before; final evaluation \
         only"
        |s| yes(s.seen?.is_fresh);
    "secret.rotated" true
        "`true` when the log has `RotationStarted` of the secret within 15 minutes before, and a \
         `PutSecretValue` of it by the same principal since then or within a minute after; of \
         several in a day the first counts; final evaluation only"
        |s| yes(s.seen?.is_rotated);
    "profile.rotates" true
        "`true` for a principal that reads pending versions (`AWSPENDING`), as a function does \
         that rotates secrets; from three days after the first such read; final evaluation only"
        |s| yes(s.seen?.rotates);
    "profile.distinct_secrets_day" true
        "about how many different secrets the principal reads on a busy day (90th percentile of \
         the days within the lookback); absent until five days are known; final evaluation only"
        |s| Some(EventValue::Str(s.seen?.secrets_a_day?.to_string().into()));
    "policy.opens" false
        "of a change to a policy, a grant or a share: to whom it opens the resource beside its own \
         account and those under `trusted_accounts`: `public`, `foreign_account`, `organization`, \
         `service`, `nobody`, or `unknown` when that cannot be decided; absent for other changes"
        |s| word(s.changed.reach(&s.change())?.opens.as_str());
    "policy.accounts" false
        "the other accounts that it names"
        |s| list(&s.changed.reach(&s.change())?.accounts);
    "policy.confined_by" false
        "condition keys that confine who may call, such as `aws:PrincipalOrgID`"
        |s| list(&s.changed.reach(&s.change())?.confined_by);
    "policy.actions_read" false
        "whether what it opens includes reading or decrypting: `true` or `false`; absent when it \
         allows nothing"
        |s| yes(s.changed.reach(&s.change())?.reads?);
    "policy.denies" false
        "whether it has a statement that denies: `true` or `false`"
        |s| yes(s.changed.reach(&s.change())?.denies);
    "policy.blocks_public" false
        "`blockPublicPolicy` of the request: `true` or `false`; absent when it was not given"
        |s| yes(changed::blocks_public(s.head)?);
    "policy.key_account" false
        "the other account that owns the KMS key in the request, if it is not under \
         `trusted_accounts`"
        |s| Some(EventValue::Str(changed::key_account(&s.change())?.into()));
    "policy.replica_account" false
        "the other account to which a secret is replicated, if it is not under \
         `trusted_accounts`"
        |s| Some(EventValue::Str(changed::replica_account(&s.change())?.into()));
    "policy.allows_replicas" false
        "whether `replicas` of the access policy allows every replica that a change makes of a \
         secret: `true` or `false`; `false` without a policy"
        |s| yes(changed::allows_replicas(&s.change()));
    "trail.management_events" false
        "which management events a change of event selectors leaves: `all`, `reads`, \
         `without_kms`, `some`, `writes` or `none`; absent for other changes"
        |s| word(changed::management_events(s.head)?.as_str());
}

impl DerivedField {
    /// The value of an event; `None` when it lacks the field.
    pub(crate) fn read<'a>(&self, subject: &FieldSubject<'a>) -> Option<EventValue<'a>> {
        (self.get)(subject)
    }
}

/// The derived fields by their names: rules look fields up for every event.
static BY_NAME: LazyLock<HashMap<&str, &DerivedField>> =
    LazyLock::new(|| DERIVED.iter().map(|field| (field.name, field)).collect());

/// The derived field of a name.
pub(crate) fn by_name(name: &str) -> Option<&'static DerivedField> {
    BY_NAME.get(name).copied()
}

/// Looks up a derived field. `None` when there is no such field; `Some(None)` when this event lacks
/// it.
#[must_use]
pub fn derived<'a>(subject: &FieldSubject<'a>, name: &str) -> Option<Option<EventValue<'a>>> {
    Some(by_name(name)?.read(subject))
}

/// Whether a field has a value only in the final evaluation, after the allowed lateness.
#[must_use]
pub fn is_late(name: &str) -> bool {
    name.starts_with("decrypt.") || name == "expected.key" || is_seen(name)
}

/// Whether a field needs databases of where addresses are registered (`--geoip`).
#[must_use]
pub fn is_geo(name: &str) -> bool {
    let of_geo = [
        "source.country",
        "source.asn",
        "source.as_org",
        "seen.country",
        "seen.asn",
    ];
    of_geo.contains(&name)
}

/// Whether a field needs the lookback (`seen.*`).
#[must_use]
pub fn is_seen(name: &str) -> bool {
    name.starts_with("seen.")
        || name.starts_with("profile.")
        || matches!(
            name,
            "access.at_log_start" | "secret.fresh" | "secret.rotated"
        )
}

/// Whether a field of an access needs changes that are read only for rules about changes.
#[must_use]
pub fn needs_changes(name: &str) -> bool {
    name == "secret.rotated"
}

/// The fields of the record from which a field is derived, beside those that are always known.
#[must_use]
pub fn sources(name: &str) -> &'static [&'static str] {
    match name.split_once('.') {
        Some(("policy", _)) => &changed::POLICY_FIELDS,
        Some(("trail", _)) => &changed::SELECTOR_FIELDS,
        Some(("secret", "count")) => &changed::NAMES,
        _ => &[],
    }
}

/// Why a rule cannot use a field, and what to write instead.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum UnknownField {
    /// Only accesses have the field, and the rule matches secret changes.
    #[error("secret changes do not have it; use `category: secret_access`")]
    OfAccesses,
    /// There is no such field; the value is a field with a similar name.
    #[error("did you mean `{0}`?")]
    Near(&'static str),
    /// There is no such field, and none with a similar name.
    #[error("rules/README.md lists the fields")]
    None,
}

/// Checks that rules for this target can use a field of this name.
///
/// # Errors
///
/// Why they cannot, and what to write instead.
pub fn check(name: &str, target: RuleTarget) -> Result<(), UnknownField> {
    match (by_name(name), target) {
        // Records may have any field: AWS adds fields and services.
        (_, RuleTarget::Record) => Ok(()),
        (Some(field), RuleTarget::Change) if field.access_only => Err(UnknownField::OfAccesses),
        (Some(_), _) => Ok(()),
        (None, _) if is_raw(name) => Ok(()),
        (None, _) => Err(nearest(name).map_or(UnknownField::None, UnknownField::Near)),
    }
}

/// The field with the most similar name, unless more than half of that name differs.
fn nearest(name: &str) -> Option<&'static str> {
    let names = DERIVED.iter().map(|f| f.name).chain(RECORD.iter().copied());
    let (distance, nearest) = names
        .map(|known| (strsim::damerau_levenshtein(known, name), known))
        .min()?;
    // Beyond half of the name, a suggestion would mislead more than it helps.
    (distance <= nearest.len() / 2).then_some(nearest)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn misspelt_fields_get_a_hint_and_access_fields_are_rejected_for_changes() {
        let reported = |name, target| check(name, target).unwrap_err().to_string();
        assert_eq!(
            reported("principal.anr", RuleTarget::Access),
            "did you mean `principal.arn`?"
        );
        assert_eq!(
            reported("weather", RuleTarget::Access),
            "rules/README.md lists the fields"
        );
        let of_accesses = reported("access.method", RuleTarget::Change);
        assert!(of_accesses.contains("category: secret_access"));
        assert_eq!(check("weather", RuleTarget::Record), Ok(()));
        assert_eq!(
            check("requestParameters.secretId", RuleTarget::Change),
            Ok(())
        );
    }

    #[test]
    fn a_field_is_of_cloudtrail_by_its_first_segment() {
        assert!(is_raw("resources[0].ARN") && is_raw("userIdentity.arn"));
        assert!(!is_raw("secret.arn") && !is_raw("eventNames"));
        // Every observation keeps these two, so rules do not need the record for them.
        assert!(!is_kept("eventName") && !is_kept("awsRegion"));
        assert!(is_kept("eventSource") && !is_kept("secret.name"));
    }

    #[test]
    fn every_field_that_waits_is_one() {
        for late in ["decrypt.", "seen."] {
            assert!(DERIVED.iter().any(|field| field.name.starts_with(late)));
        }
        let late = DERIVED.iter().filter(|field| is_late(field.name));
        assert!(late.clone().all(|field| field.access_only));
        assert!(late.clone().any(|field| field.name == "expected.key"));
    }
}
