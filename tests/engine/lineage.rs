//! Who is behind a session: records of the calls that issued its credentials, in the shapes that
//! AWS documents, with invented accounts.

use std::sync::Arc;

use flate2::read::MultiGzDecoder;
use proptest::prelude::*;
use secretrail_engine::{
    extract_file::{self, ExtractFileReader, ExtractHeader, ExtractedObject},
    lineage::{
        issue::CredentialIssue,
        origin::{KeyUse, OriginEvidence, SessionOrigin, SessionOrigins},
        search::LineageSearch,
    },
    object::origin,
    observation::Interner,
    principal::{Principal, PrincipalKind},
    report::ObjectStatus,
    rule::RuleSet,
    scan::{ObjectScanner, ScanInput, ScanResult},
    selection::Selection,
};
use serde_json::{Value, json};
use test_support::{ACCOUNT, record, scan_result};

use crate::worlds;

const OTHER: &str = "444455556666";

fn rules() -> RuleSet {
    RuleSet::default().with_issues()
}

/// A user with this key.
fn user(name: &str, key: &str) -> Value {
    json!({
        "type": "IAMUser",
        "principalId": format!("AIDA{name}"),
        "arn": format!("arn:aws:iam::{ACCOUNT}:user/{name}"),
        "accountId": ACCOUNT,
        "accessKeyId": key,
        "userName": name,
    })
}

/// A session of a role with this key.
fn session(account: &str, role: &str, name: &str, key: &str) -> Value {
    json!({
        "type": "AssumedRole",
        "principalId": format!("AROA{role}:{name}"),
        "arn": format!("arn:aws:sts::{account}:assumed-role/{role}/{name}"),
        "accountId": account,
        "accessKeyId": key,
        "sessionContext": {
            "sessionIssuer": {
                "type": "Role",
                "principalId": format!("AROA{role}"),
                "arn": format!("arn:aws:iam::{account}:role/{role}"),
                "accountId": account,
                "userName": role,
            },
            "attributes": {"creationDate": "2026-03-02T09:00:00Z", "mfaAuthenticated": "false"},
        },
    })
}

/// A call that issued a key.
fn issued(api: &str, caller: &Value, key: &str, request: Value, response: Value) -> Value {
    let mut call = record(&format!("issue of {key}"), caller, 0, "sts", api, request);
    call["sourceIPAddress"] = json!("203.0.113.9");
    call["responseElements"] = response;
    call["responseElements"]["credentials"] = json!({
        "accessKeyId": key,
        "sessionToken": "IQoJb3JpZ2luX2VjEXAMPLE//////////",
        "expiration": "Mar 2, 2026, 11:00:00 AM",
    });
    call
}

/// `AssumeRole` of a role in an account.
fn assumed(caller: &Value, account: &str, role: &str, name: &str, key: &str) -> Value {
    let request = json!({
        "roleArn": format!("arn:aws:iam::{account}:role/{role}"),
        "roleSessionName": name,
    });
    issued(
        "AssumeRole",
        caller,
        key,
        request,
        response(account, role, name),
    )
}

fn response(account: &str, role: &str, name: &str) -> Value {
    json!({"assumedRoleUser": {
        "assumedRoleId": format!("AROA{role}:{name}"),
        "arn": format!("arn:aws:sts::{account}:assumed-role/{role}/{name}"),
    }})
}

fn searched(issues: &[CredentialIssue], key: &str) -> LineageSearch {
    let mut search = LineageSearch::new([key.into()]);
    while search.is_open() {
        issues.iter().cloned().for_each(|issue| search.add(issue));
        search.end_pass();
    }
    search
}

fn principal(identity: &Value) -> Arc<Principal> {
    let text = json!({"userIdentity": identity}).to_string();
    Interner::default().principal(&serde_json::from_str(&text).unwrap())
}

/// Who is behind a caller, whose key was issued by these calls.
fn origins(records: &[Value], caller: &Value) -> SessionOrigins {
    let issues = scan_result(records, &rules()).issues;
    origins_of(&issues, caller)
}

fn origins_of(issues: &[CredentialIssue], caller: &Value) -> SessionOrigins {
    let key = caller["accessKeyId"].as_str().unwrap();
    let uses = [KeyUse {
        key: key.into(),
        principal: Some(principal(caller)),
    }];
    SessionOrigins::of(&uses, &searched(issues, key))
}

fn only(origins: SessionOrigins) -> SessionOrigin {
    assert_eq!(origins.total, 1);
    origins.first.into_iter().next().unwrap()
}

fn chain(origin: &SessionOrigin) -> Vec<&str> {
    origin.chain.iter().map(|issue| &*issue.key).collect()
}

/// Checks that nobody is known to be behind a caller.
fn nobody(records: &[Value], caller: &Value, links: usize) {
    let found = only(origins(records, caller));
    assert_eq!(
        (&found.principal, found.kind),
        (&None, PrincipalKind::Unknown)
    );
    assert_eq!(
        (found.evidence, &found.session, &found.source),
        (None, &None, &None)
    );
    assert_eq!(found.chain.len(), links);
}

const ANN: &str = "arn:aws:iam::111122223333:user/ann";

/// A user with a second factor, and three roles in a row, the last one in another account. Its
/// session has the name of somebody else.
fn three_roles() -> (Vec<Value>, Value) {
    let ann = user("ann", "AKIAEXAMPLEANN");
    let mut first = assumed(&ann, ACCOUNT, "a", "one", "ASIA1");
    first["requestParameters"]["serialNumber"] = json!("arn:aws:iam::111122223333:mfa/ann");
    first["requestParameters"]["sourceIdentity"] = json!("ann");
    let mut a = session(ACCOUNT, "a", "one", "ASIA1");
    a["sessionContext"]["sourceIdentity"] = json!("ann");
    let b = session(ACCOUNT, "b", "two", "ASIA2");
    let second = assumed(&a, ACCOUNT, "b", "two", "ASIA2");
    let mut third = assumed(&b, OTHER, "c", "bob@example.com", "ASIA3");
    third["sharedEventID"] = json!("shared");
    // The account of the role sees a caller without a name.
    let mut copy = third.clone();
    copy["eventID"] = json!("another");
    copy["recipientAccountId"] = json!(OTHER);
    copy["userIdentity"] = json!({
        "type": "AWSAccount", "principalId": "AROAb:two", "accountId": ACCOUNT,
    });
    let thief = session(OTHER, "c", "bob@example.com", "ASIA3");
    (vec![first, second, third, copy], thief)
}

#[test]
fn a_chain_of_roles_leads_to_the_user_and_not_to_the_name_of_the_last_session() {
    let (records, thief) = three_roles();
    let found = only(origins(&records, &thief));
    assert_eq!(found.principal.as_deref(), Some(ANN));
    assert_eq!(found.session.as_deref(), Some(ANN));
    assert_eq!((found.kind, found.mfa), (PrincipalKind::Human, Some(true)));
    assert_eq!(found.evidence, Some(OriginEvidence::Record));
    assert_eq!(found.source.as_deref(), Some("203.0.113.9"));
    assert_eq!(found.source_identity.as_deref(), Some("ann"));
    assert_eq!(chain(&found), ["ASIA1", "ASIA2", "ASIA3"]);
    let last = found.chain.last().unwrap();
    assert_eq!(
        last.role.as_deref(),
        Some("arn:aws:iam::444455556666:role/c")
    );
    assert_eq!(
        last.caller.access_key.as_deref(),
        Some("ASIA2"),
        "the caller's own copy"
    );
    // Without a link, only the name of the session is left, and it is said to be no more.
    let named = only(origins(&records[..2], &thief));
    let bob = "arn:aws:iam::444455556666:role/c/bob@example.com";
    assert_eq!(named.principal.as_deref(), Some(bob));
    assert_eq!(named.evidence, Some(OriginEvidence::SessionName));
    // Without the first, it is known from where on it is not known.
    nobody(&records[1..], &thief, 2);
    // The copy of the other account names nobody.
    nobody(&records[3..], &thief, 1);
}

#[test]
fn a_user_of_another_account_is_known_by_number() {
    let (records, thief) = three_roles();
    let mut copy = records[3].clone();
    copy["userIdentity"]["principalId"] = json!("AIDAEXAMPLE");
    let found = only(origins(&[copy], &thief));
    assert_eq!(found.principal.as_deref(), Some("111122223333:AIDAEXAMPLE"));
    assert_eq!(found.kind, PrincipalKind::Human);
}

#[test]
fn software_proves_who_it_is_with_a_token() {
    let caller = |name: &str| {
        json!({
            "type": "WebIdentityUser",
            "principalId": format!("arn:aws:iam::{ACCOUNT}:oidc-provider/ci.example.com:aud:{name}"),
            "userName": name,
            "identityProvider": format!("arn:aws:iam::{ACCOUNT}:oidc-provider/ci.example.com"),
        })
    };
    let request = json!({"roleArn": format!("arn:aws:iam::{ACCOUNT}:role/ci"),
        "roleSessionName": "run-7"});
    let of = |name: &str| {
        let answer = response(ACCOUNT, "ci", "run-7");
        let api = "AssumeRoleWithWebIdentity";
        let call = issued(api, &caller(name), "ASIAWEB", request.clone(), answer);
        only(origins(
            &[call],
            &session(ACCOUNT, "ci", "run-7", "ASIAWEB"),
        ))
    };
    let job = of("repo:acme/shop:ref:refs/heads/main");
    let expected = "ci.example.com/repo:acme/shop:ref:refs/heads/main";
    assert_eq!(job.principal.as_deref(), Some(expected));
    assert_eq!((job.kind, job.mfa), (PrincipalKind::Workload, None));
    assert_eq!(job.evidence, Some(OriginEvidence::Record));
    assert_eq!(of("gina@example.com").kind, PrincipalKind::Human);
}

/// `AssumeRoleWithSAML` by this provider.
fn with_saml(provider: &str, role: &str) -> Value {
    let caller = json!({
        "type": "SAMLUser",
        "principalId": "8d0fEXAMPLE=:gina@example.com",
        "userName": "gina@example.com",
        "identityProvider": "8d0fEXAMPLE=",
    });
    let request = json!({
        "sAMLAssertionID": "_id",
        "roleSessionName": "gina@example.com",
        "durationSeconds": 3600,
        "roleArn": format!("arn:aws:iam::{ACCOUNT}:role/{role}"),
        "principalArn": format!("arn:aws:iam::{ACCOUNT}:saml-provider/{provider}"),
    });
    let name = role.rsplit('/').next().unwrap();
    let answer = response(ACCOUNT, name, "gina@example.com");
    issued("AssumeRoleWithSAML", &caller, "ASIASAML", request, answer)
}

#[test]
fn a_person_of_an_identity_provider_is_named_as_there() {
    let caller = session(ACCOUNT, "Dev", "gina@example.com", "ASIASAML");
    let found = only(origins(&[with_saml("okta", "Dev")], &caller));
    assert_eq!(found.principal.as_deref(), Some("okta/gina@example.com"));
    assert_eq!(found.kind, PrincipalKind::Human);
    assert_eq!(found.source.as_deref(), Some("203.0.113.9"));
    let role = "AWSReservedSSO_Admin_0123456789abcdef";
    let path = format!("aws-reserved/sso.amazonaws.com/eu-west-1/{role}");
    let center = with_saml("AWSSSO_0a1b2c3d4e5f6071_DO_NOT_DELETE", &path);
    let caller = session(ACCOUNT, role, "gina@example.com", "ASIASAML");
    let found = only(origins(&[center], &caller));
    let gina = "identity-center/gina@example.com";
    assert_eq!(found.principal.as_deref(), Some(gina));
    assert_eq!(found.source, None, "that address is one of AWS");
}

#[test]
fn whoever_works_in_the_console_is_known_as_far_as_the_session_says() {
    let of_console = |mut caller: Value| {
        caller["accessKeyId"] = json!("ASIACONSOLE");
        let text = json!({"userIdentity": caller, "sessionCredentialFromConsole": "true"});
        let text = text.to_string();
        let principal = Interner::default().principal(&serde_json::from_str(&text).unwrap());
        let uses = [KeyUse {
            key: "ASIACONSOLE".into(),
            principal: Some(principal),
        }];
        only(SessionOrigins::of(&uses, &LineageSearch::default()))
    };
    let ann = of_console(user("ann", ""));
    assert_eq!(ann.principal.as_deref(), Some(ANN));
    assert_eq!(ann.evidence, Some(OriginEvidence::Record));
    let gina = of_console(session(ACCOUNT, "AWSReservedSSO_Admin_0a", "gina", ""));
    assert_eq!(gina.evidence, Some(OriginEvidence::SessionName));
    let nobody = of_console(session(ACCOUNT, "admin", "console", ""));
    assert_eq!((nobody.principal, nobody.evidence), (None, None));
}

#[test]
fn a_session_that_a_service_made_is_its_workload() {
    let service = json!({"type": "AWSService", "invokedBy": "ec2.amazonaws.com"});
    let mut call = assumed(&service, ACCOUNT, "team/app", "i-0abc", "ASIAEC2");
    call["responseElements"]["assumedRoleUser"] =
        response(ACCOUNT, "app", "i-0abc")["assumedRoleUser"].clone();
    call["sourceIPAddress"] = json!("ec2.amazonaws.com");
    let found = only(origins(
        &[call],
        &session(ACCOUNT, "app", "i-0abc", "ASIAEC2"),
    ));
    let role = "arn:aws:iam::111122223333:role/team/app";
    assert_eq!(found.principal.as_deref(), Some(role));
    let app = "arn:aws:sts::111122223333:assumed-role/app/i-0abc";
    assert_eq!(found.session.as_deref(), Some(app));
    assert_eq!(found.kind, PrincipalKind::Workload);
    assert_eq!(found.source.as_deref(), Some("ec2.amazonaws.com"));
    // Without the record, nobody knows who made the session.
    nobody(&[], &session(ACCOUNT, "app", "i-0abc", "ASIAEC2"), 0);
}

#[test]
fn the_second_factor_is_that_of_the_first_call() {
    let ann = user("ann", "AKIAEXAMPLEANN");
    let request = json!({"serialNumber": "arn:aws:iam::111122223333:mfa/ann"});
    let token = issued("GetSessionToken", &ann, "ASIATOKEN", request, json!({}));
    let mut with_token = user("ann", "ASIATOKEN");
    with_token["sessionContext"] = json!({"attributes": {"mfaAuthenticated": "true"}});
    let role = assumed(&with_token, ACCOUNT, "a", "s", "ASIA1");
    let thief = session(ACCOUNT, "a", "s", "ASIA1");
    let found = only(origins(&[token, role.clone()], &thief));
    assert_eq!(
        (found.principal.as_deref(), found.mfa),
        (Some(ANN), Some(true))
    );
    assert_eq!(chain(&found), ["ASIATOKEN", "ASIA1"]);
    // Without the call for the token, the user is known all the same, and so is the factor.
    let found = only(origins(&[role], &thief));
    assert_eq!(
        (found.principal.as_deref(), found.mfa),
        (Some(ANN), Some(true))
    );
    let without = assumed(&ann, ACCOUNT, "a", "s", "ASIA1");
    assert_eq!(only(origins(&[without], &thief)).mfa, Some(false));
}

#[test]
fn federated_users_and_sessions_of_root_lead_to_their_makers() {
    let ann = user("ann", "AKIAEXAMPLEANN");
    let guest = format!("arn:aws:sts::{ACCOUNT}:federated-user/guest");
    let answer = json!({"federatedUser": {"federatedUserId": "1:guest", "arn": guest}});
    let request = json!({"name": "guest", "durationSeconds": 3600});
    let call = issued("GetFederationToken", &ann, "ASIAFED", request, answer);
    let caller = json!({
        "type": "FederatedUser", "arn": guest, "accessKeyId": "ASIAFED",
        "sessionContext": {"sessionIssuer": {"type": "IAMUser", "arn": ANN}},
    });
    let found = only(origins(&[call], &caller));
    assert_eq!(found.principal.as_deref(), Some(ANN));
    assert_eq!(found.evidence, Some(OriginEvidence::Record));
    let request = json!({"targetPrincipal": OTHER});
    let call = issued("AssumeRoot", &ann, "ASIAROOT", request, json!({}));
    let root = json!({"type": "Root", "accountId": OTHER, "accessKeyId": "ASIAROOT",
        "arn": format!("arn:aws:iam::{OTHER}:root")});
    let found = only(origins(&[call], &root));
    assert_eq!(
        found.principal.as_deref(),
        Some(ANN),
        "not the root user itself"
    );
}

#[test]
fn calls_that_issued_nothing_are_no_links() {
    let ann = user("ann", "AKIAEXAMPLEANN");
    let role = assumed(&ann, ACCOUNT, "a", "s", "ASIA1");
    let thief = session(ACCOUNT, "a", "s", "ASIA1");
    let mut denied = role.clone();
    denied["errorCode"] = json!("AccessDenied");
    let mut empty = role.clone();
    empty["responseElements"] = Value::Null;
    let mut other = role.clone();
    other["eventName"] = json!("GetCallerIdentity");
    let mut foreign = role.clone();
    foreign["eventSource"] = json!("stsx.amazonaws.com");
    nobody(&[denied, empty, other, foreign], &thief, 0);
    let unread = scan_result(&[role], &RuleSet::default());
    assert!(
        unread.issues.is_empty(),
        "only where somebody asks for them"
    );
}

#[test]
fn a_chain_that_leads_back_to_itself_or_on_and_on_ends() {
    let of = |n: usize| session(ACCOUNT, "a", "s", &format!("ASIA{n}"));
    let link = |from: usize, to: usize| assumed(&of(from), ACCOUNT, "a", "s", &format!("ASIA{to}"));
    nobody(&[link(1, 1)], &of(1), 1);
    nobody(&[link(1, 2), link(2, 3), link(3, 1)], &of(3), 3);
    let long: Vec<Value> = (0..40).map(|n| link(n, n + 1)).collect();
    nobody(&long, &of(40), 16);
}

#[test]
fn origins_are_listed_once_with_their_keys_and_the_known_ones_first() {
    let ann = user("ann", "AKIAEXAMPLEANN");
    let records = [
        assumed(&ann, ACCOUNT, "a", "s", "ASIA1"),
        assumed(&ann, ACCOUNT, "a", "s", "ASIA2"),
    ];
    let issues = scan_result(&records, &rules()).issues;
    let mut search = LineageSearch::new(["ASIA0", "ASIA1", "ASIA2"].map(Into::into));
    issues.into_iter().for_each(|issue| search.add(issue));
    search.end_pass();
    let uses = ["ASIA0", "ASIA1", "ASIA2"].map(|key| KeyUse {
        key: key.into(),
        principal: Some(principal(&session(ACCOUNT, "a", "s", key))),
    });
    let found = SessionOrigins::of(&uses, &search);
    let keys = |index: usize| found.first[index].access_keys.join(" ");
    assert_eq!(
        (found.total, keys(0), keys(1)),
        (2, "ASIA1 ASIA2".into(), "ASIA0".into())
    );
    let many: Vec<KeyUse> = (0..50)
        .map(|n| KeyUse {
            key: format!("ASIA{n}").into(),
            principal: Some(principal(&user(&format!("u{n}"), "ASIA"))),
        })
        .collect();
    let found = SessionOrigins::of(&many, &LineageSearch::default());
    assert_eq!((found.first.len(), found.total), (20, 50));
}

#[test]
fn an_extract_file_leads_to_the_same_and_holds_no_token() {
    let (records, thief) = three_roles();
    let rules = rules();
    let selection = Selection::default();
    let text = json!({"Records": records}).to_string();
    let mut scanner = ObjectScanner::new(&rules, &selection).keeping(Some(Vec::new()));
    let mut scanned = ScanResult::default();
    let object = origin("a.json");
    let input = ScanInput::Bytes(text.as_bytes());
    scanner.read(input, &object, false, &mut scanned).unwrap();
    let kept = ExtractedObject::of(
        &object,
        "t".into(),
        false,
        &ObjectStatus::Read,
        &mut scanned,
    );
    assert_eq!(kept.records.len(), 4);
    assert!(
        kept.records
            .iter()
            .all(|record| !record.text.contains("IQoJ"))
    );
    let header = ExtractHeader::new(&rules, &selection);
    let bytes = extract_file::write(&header, vec![kept]);
    let bytes = std::io::BufReader::new(MultiGzDecoder::new(&*bytes));
    let mut part = ExtractFileReader::new(bytes).unwrap().unwrap();
    let mut again = ScanResult::default();
    let mut scanner = ObjectScanner::new(&rules, &selection);
    while let Some(record) = part.next_record().unwrap() {
        scanner.record(record.text, &object, false, &mut again);
    }
    assert_eq!(again.issues.len(), 4);
    assert_eq!(origins_of(&again.issues, &thief), origins(&records, &thief));
}

proptest! {
    #![proptest_config(worlds(64))]

    #[test]
    fn no_order_split_or_copy_changes_who_is_behind(
        order in Just((0..8).collect::<Vec<usize>>()).prop_shuffle(),
        cut in 0..8_usize,
    ) {
        let (mut records, thief) = three_roles();
        let expected = origins(&records, &thief);
        records.extend(records.clone());
        let records: Vec<Value> = order.iter().map(|index| records[*index].clone()).collect();
        let mut issues = scan_result(&records[cut..], &rules()).issues;
        issues.append(&mut scan_result(&records[..cut], &rules()).issues);
        prop_assert_eq!(origins_of(&issues, &thief), expected);
    }
}
