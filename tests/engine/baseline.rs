//! History to a proposed access policy: what is learned, what is left out, and that the result is
//! quiet on its own history.

use secretrail_engine::{
    baseline::{BaselineOptions, OmissionReason, PolicyProposal, propose},
    policy::AccessPolicy,
    rule::RuleSet,
    rule_meta::RuleLevel,
};
use serde_json::{Value, json};
use test_support::{ACCOUNT, DAY, decrypt, pack, read, record, role, run, secret_arn, siblings};

fn learn(records: &[Value], earlier: Option<&AccessPolicy>) -> PolicyProposal {
    propose(
        &run(records, &RuleSet::default(), None).accesses,
        earlier,
        BaselineOptions::default(),
    )
}

fn left_out(proposal: &PolicyProposal, why: OmissionReason) -> u64 {
    proposal
        .left_out
        .iter()
        .filter(|o| o.why == why)
        .map(|o| o.accesses)
        .sum()
}

#[test]
fn siblings_fold_into_one_grant_with_its_evidence() {
    let proposal = learn(&siblings(), None);
    let [grant] = proposal.grants.as_slice() else {
        panic!("{:?}", proposal.grants)
    };
    assert_eq!(
        grant.principals,
        [format!("arn:aws:iam::{ACCOUNT}:role/pay-*")]
    );
    assert_eq!(
        grant.secrets,
        [format!(
            "arn:aws:secretsmanager:*:{ACCOUNT}:secret:prod/pay/*"
        )]
    );
    assert_eq!(grant.regions, ["eu-west-1"]);
    assert_eq!(grant.keys, [format!("arn:aws:kms:*:{ACCOUNT}:key/*")]);
    assert_eq!(
        grant.sources,
        ["10.0.0.1/32"],
        "all that were seen share one network"
    );
    assert_eq!(
        (grant.reads, grant.days, grant.baseline_per_hour),
        (27, 3, 1)
    );
    assert_eq!((grant.seen_principals, grant.seen_secrets), (3, 3));
    assert!(proposal.left_out.is_empty());
}

#[test]
fn a_role_that_reads_elsewhere_is_no_sibling() {
    let mut records = siblings();
    for (n, secret) in ["prod/ops/x", "prod/ops/y", "prod/ops/z"]
        .into_iter()
        .enumerate()
    {
        records.push(read(
            &format!("o{n}"),
            "pay-ops",
            i64::try_from(n).unwrap(),
            secret,
        ));
    }
    let proposal = learn(&records, None);
    let exact = |who: &str| format!("arn:aws:iam::{ACCOUNT}:role/{who}");
    let principals: Vec<_> = proposal
        .grants
        .iter()
        .flat_map(|g| g.principals.clone())
        .collect();
    // What was read on one day only comes first.
    assert_eq!(
        principals,
        ["pay-ops", "pay-app", "pay-task", "pay-worker"].map(exact)
    );
}

#[test]
fn what_looks_like_an_attack_is_left_out_and_told() {
    let mut records = siblings();
    for n in 0..25 {
        records.push(read(
            &format!("bulk{n}"),
            "thief",
            n * 5,
            &format!("prod/x{n}/y"),
        ));
    }
    // The same, but every day, is a job.
    for day in 0..2 {
        for n in 0..25 {
            records.push(read(
                &format!("job{day}-{n}"),
                "ci",
                day * DAY + n * 5,
                &format!("prod/x{n}/y"),
            ));
        }
    }
    let mut denied = read("d", "prober", 5, "prod/pay/a");
    denied["errorCode"] = json!("AccessDenied");
    records.push(denied);
    let direct = record(
        "direct",
        &role("thief"),
        9,
        "kms",
        "Decrypt",
        json!({"encryptionContext": {"SecretARN": secret_arn("prod/pay/a")}}),
    );
    records.push(direct);
    let mut root = read("root", "x", 5, "prod/pay/a");
    let arn = format!("arn:aws:iam::{ACCOUNT}:root");
    root["userIdentity"] = json!({"type": "Root", "arn": arn, "accountId": ACCOUNT});
    records.push(root);
    records.push(decrypt(
        "alone",
        "lonely",
        500,
        json!({"SecretARN": secret_arn("prod/pay/b"), "SecretVersionId": "v1"}),
    ));
    records.push(read("wild", "app", 700, "*"));
    let proposal = learn(&records, None);
    let counts = [
        (OmissionReason::BulkRead, 25),
        (OmissionReason::Denied, 1),
        (OmissionReason::DirectDecrypt, 1),
        (OmissionReason::Root, 1),
        (OmissionReason::NoRead, 1),
        (OmissionReason::Unnamed, 1),
    ];
    for (why, count) in counts {
        assert_eq!(left_out(&proposal, why), count, "{}", why.as_str());
    }
    let text = proposal.to_yaml(None).unwrap();
    assert!(
        text.contains(
            "bulk read on one day only: 25 accesses to 25 secrets by arn:aws:iam::111122223333:role/thief"
        ),
        "{text}"
    );
    let granted = |who: &str| {
        proposal
            .grants
            .iter()
            .any(|g| g.principals.iter().any(|p| p.ends_with(who)))
    };
    assert!(granted("role/ci") && !granted("role/thief"));
    let checks: Vec<&str> = text
        .lines()
        .filter(|line| line.contains("# Check:"))
        .collect();
    let wide = "  # Check: look twice: every secret whose name begins with prod/ is granted";
    assert_eq!(
        checks,
        [wide],
        "nobody who is granted something did anything else: {text}"
    );
    denied_later(records);
}

fn denied_later(mut records: Vec<Value>) {
    let mut denied = read("d2", "ci", 50, "prod/pay/a");
    denied["errorCode"] = json!("AccessDenied");
    let mut vendor = read("v", "vendor", 60, &secret_arn("prod/pay/a"));
    vendor["userIdentity"]["arn"] = json!("arn:aws:sts::999988887777:assumed-role/vendor/s");
    vendor["userIdentity"]["sessionContext"] = json!({});
    records.extend([denied, vendor]);
    let text = learn(&records, None).to_yaml(None).unwrap();
    assert!(
        text.contains(
            "# Check: look twice: every secret whose name begins with prod/ is granted; \
             other accesses of its principals were omitted: denied\n"
        ),
        "{text}"
    );
    assert!(
        text.contains("# Check: reads from another account: 999988887777; on one day only\n"),
        "{text}"
    );
}

#[test]
fn rare_pairs_are_left_out_when_asked() {
    let mut records = siblings();
    records.push(read("once", "pay-app", 7, "prod/pay/a"));
    records.push(read("rare", "other", 7, "prod/pay/a"));
    let accesses = run(&records, &RuleSet::default(), None).accesses;
    let proposal = propose(
        &accesses,
        None,
        BaselineOptions {
            min_reads: 2,
            min_days: 2,
            ..BaselineOptions::default()
        },
    );
    assert_eq!(left_out(&proposal, OmissionReason::Rare), 1);
}

#[test]
fn the_result_is_quiet_on_its_own_siblings() {
    let records = siblings();
    let loud = run(
        &records,
        &pack(),
        Some(&"version: 1\ngrants: []".parse().unwrap()),
    );
    assert!(!loud.alerts.is_empty());
    let policy: AccessPolicy = learn(&records, None)
        .to_yaml(None)
        .unwrap()
        .parse()
        .unwrap();
    let mut quiet = run(&records, &pack(), Some(&policy));
    // What is new is noted, granted or not.
    quiet
        .alerts
        .retain(|alert| alert.rule.level > RuleLevel::Low);
    assert_eq!(
        quiet
            .alerts
            .iter()
            .map(|a| (&a.rule.title, &a.summary))
            .collect::<Vec<_>>(),
        Vec::<(&String, &String)>::new()
    );
}

#[test]
fn an_earlier_policy_keeps_its_text_and_is_only_added_to() {
    let mut records = siblings();
    let earlier = format!(
        "# Written by hand.
version: 1
grants:
  - secrets: [\"arn:aws:secretsmanager:*:{ACCOUNT}:secret:prod/pay/*\"]
    principals: [\"arn:aws:iam::{ACCOUNT}:role/pay-*\"]  # ticket 7
"
    );
    let policy: AccessPolicy = earlier.parse().unwrap();
    let same = learn(&records, Some(&policy));
    assert_eq!((same.grants.len(), same.expected, same.learned), (0, 27, 0));
    records.push(read("new", "search", 5, "prod/search/key"));
    let more = learn(&records, Some(&policy));
    assert_eq!((more.grants.len(), more.expected, more.learned), (1, 27, 1));
    let text = more.to_yaml(Some(&earlier)).unwrap();
    assert!(text.starts_with(earlier.trim_end()), "{text}");
    assert_eq!(text.parse::<AccessPolicy>().unwrap().len(), 2);
    let flow = "grants: []\nversion: 1\n";
    assert!(
        more.to_yaml(Some(flow))
            .unwrap_err()
            .to_string()
            .contains("write `grants:` last")
    );
}

#[test]
fn hostile_names_stay_text() {
    let name = "x\", \"*\"]\n  - secrets: [\"*\u{1b}[31m";
    let records = [read("r", "app", 0, name), read("s", "#: {", 5, "prod/a")];
    let proposal = learn(&records, None);
    let text = proposal.to_yaml(None).unwrap();
    assert!(!text.contains('\u{1b}'));
    assert!(
        text.lines().all(|l| !l.starts_with("  - secrets: [\"*")),
        "{text}"
    );
    let policy: AccessPolicy = text.parse().unwrap();
    assert_eq!(policy.len(), proposal.grants.len());
}
