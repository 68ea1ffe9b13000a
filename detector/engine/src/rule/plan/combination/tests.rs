//! The plan against asking the Sigma engine about every rule, in random worlds.

use std::sync::{Arc, LazyLock};

use proptest::prelude::*;

use super::*;
use crate::{
    access::{self, Access, AccessDecrypt, AccessMethod, DecryptStatus},
    document::{JsonNode, LazyDocument},
    network::NetworkLists,
    observation::{CallOutcome, SourceKind},
    policy::{Expectation, PolicyVerdict},
    principal::PrincipalKind,
    rule::{
        EvalScope, RuleSet, RuleTarget,
        event::{DerivedEvent, RecordEvent},
        judged::JudgedAt,
        load::load,
        plan::EvalPlan,
    },
    seen::{Novelty, SeenVerdicts},
};

/// Detections of rules about accesses that read fields of every spread, alone and together, and
/// how each is judged.
const DETECTIONS: [(&str, &str); 14] = [
    (
        "{a: {access.outcome: success, source.scope: public}, condition: a}",
        "",
    ),
    (
        "{a: {access.outcome: success}, b: {seen.source: known}, condition: a and not b}",
        "",
    ),
    (
        "{a: {principal.kind: workload}, b: {seen.usual: first}, condition: a and b}",
        "early",
    ),
    (
        "{a: {client.family|startswith: aws-}, b: {access.method: api}, condition: a or b}",
        "",
    ),
    (
        "{a: {secret.name|endswith: b, principal.arn|contains: 1}, condition: a}",
        "",
    ),
    (
        "{a: {source.scope: public}, b: {principal.session|re: '^i-'}, condition: a and b}",
        "",
    ),
    (
        "{a: {access.outcome: denied}, b: {principal.session: x}, condition: a or b}",
        "",
    ),
    (
        "{a: [needle], b: {access.outcome: failed}, condition: a and b}",
        "",
    ),
    (
        "{a: {vpcEndpointAccountId|fieldref: recipientAccountId}, condition: a}",
        "",
    ),
    (
        "{a: {vpcEndpointAccountId|exists: true}, b: {errorCode: null}, condition: a and b}",
        "",
    ),
    (
        "{s_1: {secret.version_stage: null}, s_2: {expected.source: no}, condition: 1 of s_*}",
        "",
    ),
    (
        "{a: {decrypt.status: paired}, b: {seen.client: first}, condition: all of them}",
        "",
    ),
    (
        "{a: {profile.distinct_secrets_day|exists: true}, condition: a}",
        "",
    ),
    (
        "{a: {secret.name: [LIST]}, b: {access.outcome: success}, condition: a and b}",
        "",
    ),
];

fn rules(detections: &[(&str, &str)], logsource: &str) -> RuleSet {
    // So long a list is taken out of its rule.
    let list: Vec<String> = (0..70).map(|n| format!("/s/{n}")).collect();
    let rules = detections.iter().enumerate().map(|(number, (detection, judge))| {
        let detection = detection.replace("LIST", &format!("'*/b', {}", list.join(", ")));
        let judge = match *judge {
            "" => String::new(),
            judge => format!("secretrail: {{judge: {judge}}}\n"),
        };
        format!(
            "title: rule {number}\nid: rule-{number}\nlogsource: {{product: aws, {logsource}}}\n\
             detection: {detection}\n{judge}"
        )
    });
    let text = rules.collect::<Vec<_>>().join("---\n");
    load([("rules.yml", text.as_str())]).unwrap().0
}

static ACCESSES: LazyLock<RuleSet> =
    LazyLock::new(|| rules(&DETECTIONS, "category: secret_access"));

/// An access with what is known of it.
#[derive(Debug, Clone)]
struct JudgedAccess {
    access: Access,
    expected: Option<Expectation>,
    seen: Option<SeenVerdicts>,
}

impl JudgedAccess {
    fn event(&self) -> DerivedEvent<'_> {
        DerivedEvent::access(&self.access, self.expected, self.seen, NetworkLists::none())
    }
}

const NOVELTIES: [Novelty; 3] = [Novelty::First, Novelty::Known, Novelty::Unknown];

fn verdicts() -> impl Strategy<Value = Option<SeenVerdicts>> {
    let novelty = || proptest::sample::select(NOVELTIES.to_vec());
    let parts = (novelty(), novelty(), novelty(), any::<bool>());
    let verdicts = parts.prop_map(|(source, usual, client, is_busy)| SeenVerdicts {
        principal_secret: Novelty::Known,
        principal: Novelty::Known,
        region: Novelty::Known,
        usual,
        network: source,
        source,
        account_source: Novelty::Known,
        class: Novelty::Known,
        country: Novelty::Unknown,
        asn: Novelty::Unknown,
        client,
        access_key: Novelty::Unknown,
        method: Novelty::Known,
        folder: Novelty::Known,
        person: Novelty::Unknown,
        hour: Novelty::Unknown,
        is_at_start: false,
        is_fresh: false,
        is_rotated: false,
        rotates: false,
        secrets_a_day: is_busy.then_some(7),
    });
    proptest::option::of(verdicts)
}

fn expectation(source: PolicyVerdict) -> Expectation {
    Expectation {
        principal: PolicyVerdict::Yes,
        person: PolicyVerdict::Undeclared,
        region: PolicyVerdict::Yes,
        source,
        key: PolicyVerdict::Yes,
        account_region: PolicyVerdict::Yes,
        baseline_per_hour: None,
        decoy: false,
    }
}

/// Raw fields of a record; two accounts, so that they may be the same.
fn kept() -> impl Strategy<Value = Kept> {
    let account = || proptest::option::of(proptest::sample::select(vec!["1", "2"]));
    let code = proptest::option::of(Just("AccessDenied"));
    (account(), account(), code, any::<bool>()).prop_map(|(vpc, own, code, is_null)| {
        let fields = [
            ("vpcEndpointAccountId", vpc),
            ("recipientAccountId", own),
            ("errorCode", code),
        ];
        let mut kept: Vec<_> = fields
            .into_iter()
            .filter(|(_, value)| value.is_some())
            .collect();
        // A field that is null is not one that is absent.
        if code.is_none() && is_null {
            kept.push(("errorCode", None));
        }
        kept
    })
}

/// Outcome, method, status of the Decrypt, stage and name of the secret.
type Call = (
    CallOutcome,
    AccessMethod,
    DecryptStatus,
    Option<&'static str>,
    &'static str,
);

/// Kind, ARN and session of the principal, address and user agent.
type Caller = (
    PrincipalKind,
    &'static str,
    &'static str,
    Option<&'static str>,
    Option<&'static str>,
);

/// Fields kept of a record, each with its text or null.
type Kept = Vec<(&'static str, Option<&'static str>)>;

fn call() -> impl Strategy<Value = Call> {
    use proptest::sample::select;
    (
        select(CallOutcome::ALL.to_vec()),
        select(vec![AccessMethod::Api, AccessMethod::Batch]),
        select(vec![DecryptStatus::Paired, DecryptStatus::Unknown]),
        select(vec![None, Some("AWSCURRENT"), Some("AWSPENDING")]),
        select(vec!["/s/a", "/s/b", "/s/7", "/x"]),
    )
}

fn caller() -> impl Strategy<Value = Caller> {
    use proptest::sample::select;
    (
        select(vec![PrincipalKind::Human, PrincipalKind::Workload]),
        select(vec!["arn:1", "arn:2"]),
        select(vec!["i-0a", "x", "run"]),
        select(vec![Some("10.0.0.1"), Some("198.51.100.7"), None]),
        select(vec![Some("aws-cli/2.1"), Some("curl/8"), None]),
    )
}

fn access_of(call: Call, caller: Caller, kept: Kept, has_needle: bool) -> Access {
    let (outcome, method, status, stage, name) = call;
    let (kind, id, session, ip, agent) = caller;
    let mut access = access::sample();
    access.method = method;
    access.decrypt = AccessDecrypt::only(status);
    access.secret.name = Some(name.into());
    access.secret.version_stage = stage.map(Into::into);
    let head = Arc::make_mut(&mut access.head);
    head.outcome = outcome;
    let principal = Arc::make_mut(&mut head.principal);
    principal.kind = kind;
    (principal.id, principal.session) = (Some(id.into()), Some(session.into()));
    let source = Arc::make_mut(&mut head.source);
    source.ip = ip.map(Into::into);
    source.kind = SourceKind::of(ip);
    source.user_agent = agent.map(Into::into);
    let kept = kept.into_iter().map(|(name, text)| {
        let node = text.map_or(JsonNode::Null, |text| JsonNode::Str(text.into()));
        (name.into(), node)
    });
    head.kept.fields = kept.collect();
    let whole = if has_needle { "a needle" } else { "hay" };
    head.kept.whole = Some(Box::new(JsonNode::Str(whole.into())));
    access
}

fn judged_access() -> impl Strategy<Value = JudgedAccess> {
    let expected = proptest::option::of(proptest::sample::select(vec![
        PolicyVerdict::Yes,
        PolicyVerdict::No,
        PolicyVerdict::Undeclared,
    ]));
    (
        call(),
        caller(),
        kept(),
        verdicts(),
        expected,
        any::<bool>(),
    )
        .prop_map(
            |(call, caller, kept, seen, expected, has_needle)| JudgedAccess {
                access: access_of(call, caller, kept, has_needle),
                expected: expected.map(expectation),
                seen,
            },
        )
}

fn scopes() -> [EvalScope; 3] {
    [JudgedAt::Early, JudgedAt::Provisional, JudgedAt::Final].map(|at| EvalScope {
        target: RuleTarget::Access,
        at,
        counts: true,
    })
}

#[test]
fn rules_are_grouped_by_what_they_read_and_few_are_asked_about_everything() {
    let plan = EvalPlan::new(&ACCESSES.detections).finally;
    // `or` with what does not repeat; a keyword has the outcome beside it.
    assert_eq!(plan.others, [6, 12]);
    let fields: Vec<Vec<&str>> = plan
        .groups
        .iter()
        .map(|group| group.many().collect())
        .collect();
    assert!(fields.contains(&Vec::new()) && fields.contains(&vec!["client.family"]));
    let whole = |rule: usize| ACCESSES.detections[rule].repeated.as_ref().unwrap();
    assert!(whole(0).necessary.is_none() && whole(5).necessary.is_some());
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    /// Over all cases one set of rules is used, so that most combinations are looked up.
    #[test]
    fn the_plan_finds_what_the_sigma_engine_finds(
        events in proptest::collection::vec(judged_access(), 1..40),
    ) {
        for access in &events {
            for scope in scopes() {
                let event = access.event();
                let expected = ACCESSES.matching_one_by_one(scope, &event);
                prop_assert_eq!(ACCESSES.matching(scope, &event), expected);
            }
        }
    }

    #[test]
    fn two_events_have_one_key_only_if_they_have_the_same_values(
        (one, other) in (judged_access(), judged_access()),
        is_same in any::<bool>(),
    ) {
        let (one, other) = (one.event(), if is_same { one.event() } else { other.event() });
        for group in &EvalPlan::new(&ACCESSES.detections).finally.groups {
            let mut fields = group.fields.iter();
            let is_equal =
                fields.all(|field| one.get_field(&field.name) == other.get_field(&field.name));
            prop_assert_eq!(group.key(&one) == group.key(&other), is_equal);
        }
    }

    /// A rule that looks at a field outside of its combination is asked each time.
    #[test]
    fn a_field_that_is_left_out_of_a_key_is_noticed(
        events in proptest::collection::vec(judged_access(), 1..10),
    ) {
        let rules = (ACCESSES.detections.as_slice(), &ACCESSES.lists);
        let mut plan = EvalPlan::new(&ACCESSES.detections).finally;
        for group in &mut plan.groups {
            let left_out: Vec<String> = group.fields.drain(..).map(|field| field.name).collect();
            prop_assert!(!left_out.is_empty());
            for access in &events {
                for judged in group.judged(rules, &access.event()) {
                    prop_assert!(!judged.is_certain, "rule {}", judged.rule);
                }
            }
        }
        // A copy makes its own plan.
        let wrong = (*ACCESSES).clone();
        wrong.plan.set_final(plan);
        for access in &events {
            let [_, _, scope] = scopes();
            let expected = wrong.matching_one_by_one(scope, &access.event());
            prop_assert_eq!(wrong.matching(scope, &access.event()), expected);
        }
    }
}

const RECORDS: [(&str, &str); 8] = [
    (
        "{a: {eventSource: s3.amazonaws.com, eventName: [GetObject, PutObject]}, condition: a}",
        "",
    ),
    (
        "{a: {eventSource: s3.amazonaws.com, eventName|startswith: Get}, condition: a}",
        "",
    ),
    (
        "{a: {eventSource: IAM.amazonaws.com, eventName: createuser}, condition: a}",
        "",
    ),
    ("{a: {eventName: GetObject}, condition: a}", ""),
    (
        "{a: {eventSource: kms.amazonaws.com}, b: {eventName: Kelvin}, condition: a and b}",
        "",
    ),
    (
        "{a: {eventSource: [s3.amazonaws.com, iam.amazonaws.com]}, condition: a}",
        "",
    ),
    (
        "{a: {eventSource: x}, b: {eventName: y}, condition: a or b}",
        "",
    ),
    ("{a: {eventSource: 7}, condition: a}", ""),
];

static ALL_CALLS: LazyLock<RuleSet> = LazyLock::new(|| rules(&RECORDS, "service: cloudtrail"));

proptest! {
    #[test]
    fn rules_about_records_are_found_by_their_call(
        source in proptest::sample::select(vec![
            "\"s3.amazonaws.com\"", "\"S3.AMAZONAWS.com\"", "\"iam.amazonaws.com\"",
            "\"\u{212a}ms.amazonaws.com\"", "\"kms.amazonaws.com\"", "\"x\"", "7", "null",
            "[\"s3.amazonaws.com\"]",
        ]),
        name in proptest::sample::select(vec![
            "\"GetObject\"", "\"getobject\"", "\"PutObject\"", "\"CreateUser\"",
            "\"\u{212a}elvin\"", "\"y\"", "null", "[\"GetObject\", \"y\"]",
        ]),
        lacks in 0..3,
    ) {
        let fields = [format!("\"eventSource\":{source}"), format!("\"eventName\":{name}")];
        let text = match lacks {
            0 => format!("{{{}}}", fields.join(",")),
            1 => format!("{{{}}}", fields[0]),
            _ => format!("{{{}}}", fields[1]),
        };
        let document = LazyDocument::new(&text);
        let scope = EvalScope::finalized(RuleTarget::Record);
        let event = RecordEvent(&document);
        let expected = ALL_CALLS.matching_one_by_one(scope, &event);
        prop_assert_eq!(ALL_CALLS.matching(scope, &event), expected);
    }
}
