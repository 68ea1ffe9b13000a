//! The evaluation plan against one that is too simple to be wrong: asking the Sigma engine about
//! every rule of the pack.

use std::sync::{Arc, LazyLock};

use proptest::{collection::vec, option, prelude::*, sample::select};
use secretrail_engine::{
    access::{Access, AccessDecrypt, AccessMethod, DecryptStatus, json_v1::AccessV1},
    document::JsonNode,
    network::NetworkLists,
    observation::{CallOutcome, SourceKind},
    policy::{Expectation, PolicyVerdict},
    principal::PrincipalKind,
    rule::{EvalScope, RuleSet, RuleTarget, event::DerivedEvent, judged::JudgedAt, load::load},
    seen::{Novelty, SeenVerdicts},
};

static PACK: LazyLock<RuleSet> = LazyLock::new(|| {
    let files = secretrail_pack::rules();
    let files = files
        .iter()
        .map(|(name, text)| (name.as_str(), text.as_str()));
    load(files).unwrap().0
});

/// A read of the parameter `/db` by the role `app`, to be changed.
const LINE: &str = r#"{"schema":"secretrail.access/1","time":"2026-03-02T10:00:00Z",
    "event_id":"e1","api":"GetParameter","method":"api","account":"111122223333",
    "region":"eu-west-1","secret":{"store":"ssm","name":"/db",
    "arn":"arn:aws:ssm:eu-west-1:111122223333:parameter/db"},
    "principal":{"arn":"arn:aws:iam::111122223333:role/app","kind":"workload",
    "account":"111122223333","console":false},
    "source":{"ip":"198.51.100.7","kind":"ip"},"outcome":"success","cross_account":false,
    "decrypt":{"status":"unknown"},"object":"a.json"}"#;

#[derive(Debug, Clone)]
struct World {
    access: Access,
    expected: Option<Expectation>,
    seen: Option<SeenVerdicts>,
}

fn novelties() -> impl Strategy<Value = Option<SeenVerdicts>> {
    let novelty = select(vec![Novelty::First, Novelty::Known, Novelty::Unknown]);
    let all = (vec(novelty, 16), any::<[bool; 5]>());
    option::of(all.prop_map(
        |(n, [is_fresh, is_rotated, rotates, is_busy, is_at_start])| SeenVerdicts {
            principal_secret: n[0],
            principal: n[1],
            region: n[2],
            usual: n[3],
            network: n[4],
            source: n[5],
            account_source: n[6],
            class: n[7],
            country: n[8],
            asn: n[9],
            client: n[10],
            access_key: n[14],
            method: n[11],
            folder: n[15],
            person: n[12],
            hour: n[13],
            is_at_start,
            is_fresh,
            is_rotated,
            rotates,
            secrets_a_day: is_busy.then_some(7),
        },
    ))
}

fn expectations() -> impl Strategy<Value = Option<Expectation>> {
    let verdict = select(vec![
        PolicyVerdict::Yes,
        PolicyVerdict::No,
        PolicyVerdict::Undeclared,
    ]);
    let all = (vec(verdict, 6), any::<bool>());
    option::of(all.prop_map(|(v, decoy)| Expectation {
        principal: v[0],
        region: v[1],
        source: v[2],
        key: v[3],
        account_region: v[4],
        person: v[5],
        baseline_per_hour: None,
        decoy,
    }))
}

/// Raw fields that rules of the pack ask for.
fn kept() -> impl Strategy<Value = Vec<(&'static str, &'static str)>> {
    proptest::sample::subsequence(
        vec![
            ("vpcEndpointAccountId", "111122223333"),
            ("recipientAccountId", "111122223333"),
            ("userIdentity.accessKeyId", "AKIAEXAMPLE"),
            ("userIdentity.sessionContext.ec2RoleDelivery", "2.0"),
            ("errorCode", "ResourceNotFoundException"),
            (
                "errorMessage",
                "Secrets Manager can't find the specified secret.",
            ),
            ("requestParameters.path", "/"),
            ("requestParameters.recursive", "true"),
        ],
        0..=8,
    )
}

fn accesses() -> impl Strategy<Value = Access> {
    let call = (
        select(CallOutcome::ALL.to_vec()),
        select(AccessMethod::ALL.to_vec()),
        select(DecryptStatus::ALL.to_vec()),
        select(vec![
            None,
            Some("AWSCURRENT"),
            Some("AWSPREVIOUS"),
            Some("AWSPENDING"),
        ]),
        select(vec![None, Some("/db"), Some("/prod/key")]),
    );
    let caller = (
        select(PrincipalKind::ALL.to_vec()),
        select(vec!["AssumedRole", "IAMUser", "Root"]),
        select(vec!["i-0123456789abcdef0", "run", "person@example.com"]),
        select(vec!["111122223333", "999988887777"]),
        select(vec![
            None,
            Some("10.0.0.1"),
            Some("198.51.100.7"),
            Some("AWS Internal"),
        ]),
        select(vec![
            None,
            Some("aws-cli/2.1"),
            Some("curl/8"),
            Some("TruffleHog"),
            Some("x/1"),
        ]),
    );
    (call, caller, kept()).prop_map(|(call, caller, kept)| {
        let (outcome, method, status, stage, name) = call;
        let (kind, identity_type, session, account, ip, agent) = caller;
        let line: AccessV1<'_> = serde_json::from_str(LINE).unwrap();
        let mut access = line.read().unwrap();
        access.method = method;
        access.decrypt = AccessDecrypt::only(status);
        access.secret.name = name.map(Into::into);
        access.secret.version_stage = stage.map(Into::into);
        let head = Arc::make_mut(&mut access.head);
        head.outcome = outcome;
        let kept = kept.into_iter();
        let kept = kept.map(|(name, text)| (name.into(), JsonNode::Str(text.into())));
        head.kept.fields = kept.collect();
        let principal = Arc::make_mut(&mut head.principal);
        principal.kind = kind;
        principal.identity_type = Some(identity_type.into());
        principal.session = Some(session.into());
        principal.account = Some(account.into());
        principal.actor = Some(format!("arn:aws:sts::{account}:assumed-role/app/{session}").into());
        let source = Arc::make_mut(&mut head.source);
        source.ip = ip.map(Into::into);
        source.kind = SourceKind::of(ip);
        source.user_agent = agent.map(Into::into);
        access
    })
}

fn worlds() -> impl Strategy<Value = World> {
    let world = (accesses(), expectations(), novelties());
    world.prop_map(|(access, expected, seen)| World {
        access,
        expected,
        seen,
    })
}

proptest! {
    #![proptest_config(super::worlds(200))]

    /// Each access is asked about twice, so that its combinations are known the second time.
    #[test]
    fn the_plan_finds_the_rules_of_the_pack_that_match(all in vec(worlds(), 1..20)) {
        for World { access, expected, seen } in all.iter().chain(&all) {
            let event = DerivedEvent::access(access, *expected, *seen, NetworkLists::none());
            for at in [JudgedAt::Early, JudgedAt::Provisional, JudgedAt::Final] {
                let scope = EvalScope { target: RuleTarget::Access, at, counts: true };
                let one_by_one = PACK.matching_one_by_one(scope, &event);
                prop_assert_eq!(PACK.matching(scope, &event), one_by_one);
            }
        }
    }
}
