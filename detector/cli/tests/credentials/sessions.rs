//! Sessions of IAM Identity Center and of `aws login`, and keys from a process.

use sha2::{Digest, Sha256};

use super::{
    fails, reads, refreshes,
    stand_in::{Analyst, Answer, in_seconds},
};

/// SHA-1 of the session name `analysts`, and of the start URL below.
const SESSION_CACHE: &str = ".aws/sso/cache/a8117bf2e619d38e5f2d47709456e3fa03d3ff3f.json";
const URL_CACHE: &str = ".aws/sso/cache/e8be5486177c5b5392bd9aa76563515b29358e6e.json";

pub(crate) const IDENTITY_CENTER: &str = "
[profile audit]
sso_session = analysts
sso_account_id = 111122223333
sso_role_name = LogReader
[sso-session analysts]
sso_start_url = https://example.awsapps.com/start
sso_region = eu-west-1
";

const LOGIN_ARN: &str = "arn:aws:iam::111122223333:user/ana";

/// Made for these tests; proves possession to the stand-in only.
const LOGIN_KEY: &str = "-----BEGIN EC PRIVATE KEY-----
MHcCAQEEIB2c7rlgs4HztVtob22N7eyxs1bw+5oPoFdH43dbg/HZoAoGCCqGSM49
AwEHoUQDQgAEHFDRuhY3vd5FRxESXZnQjW05qfQY70cTtCJRUPPbyZWXLmW5C6m1
ZMygon8+UhHaVSDBlbCp2gS5PFNaz11/Bg==
-----END EC PRIVATE KEY-----
";

pub(crate) fn identity_center() -> Analyst {
    let analyst = Analyst::with_config(IDENTITY_CENTER);
    analyst.write(SESSION_CACHE, &token(3600).to_string());
    analyst
}

/// A token of IAM Identity Center as `aws sso login` keeps it.
fn token(seconds: i64) -> serde_json::Value {
    serde_json::json!({
        "accessToken": "first-token", "expiresAt": in_seconds(seconds),
        "refreshToken": "first-refresh", "clientId": "c", "clientSecret": "s",
        "registrationExpiresAt": in_seconds(86_400), "region": "eu-west-1",
        "startUrl": "https://example.awsapps.com/start",
    })
}

#[test]
fn a_session_of_identity_center_gives_credentials_and_new_ones() {
    let analyst = identity_center().with_short_credentials();
    refreshes(&analyst, &mut analyst.accesses(&["--profile", "audit"]));
    let asked = &analyst.requests()[0];
    assert_eq!(asked.header("x-amz-sso_bearer_token"), "first-token");
    assert!(
        asked.target.contains("account_id=111122223333")
            && asked.target.contains("role_name=LogReader"),
        "{}",
        asked.target
    );
}

#[test]
fn a_token_of_identity_center_that_ends_soon_is_refreshed_and_kept() {
    let analyst = identity_center();
    analyst.write(SESSION_CACHE, &token(60).to_string());
    reads(analyst.accesses(&[]).env("AWS_PROFILE", "audit"));
    let requests = analyst.requests();
    assert!(
        requests[0].body.contains("first-refresh"),
        "{}",
        requests[0].body
    );
    assert_eq!(requests[1].header("x-amz-sso_bearer_token"), "second-token");
    let kept = std::fs::read_to_string(analyst.path(SESSION_CACHE)).unwrap();
    assert!(kept.contains("second-refresh"), "{kept}");
}

#[test]
fn a_start_url_in_the_profile_itself_still_works() {
    let analyst = Analyst::with_config(
        "[profile old]\nsso_start_url = https://example.awsapps.com/start\n\
         sso_region = eu-west-1\nsso_account_id = 111122223333\nsso_role_name = LogReader\n",
    )
    .with_short_credentials();
    analyst.write(URL_CACHE, &token(3600).to_string());
    refreshes(&analyst, &mut analyst.accesses(&["--profile", "old"]));
}

#[test]
fn a_session_that_ended_names_the_command_that_starts_one() {
    let analyst = Analyst::with_config(IDENTITY_CENTER);
    let said = fails(&mut analyst.accesses(&["--profile", "audit"]));
    assert!(
        said.contains("run `aws sso login --profile audit`"),
        "{said}"
    );
    assert!(analyst.requests().is_empty());
    let analyst = identity_center().answering(|request| {
        let is_token = request.target.starts_with("/federation");
        let kind = vec![("x-amzn-errortype", "UnauthorizedException".to_owned())];
        let body = br#"{"message": "Session token not found or invalid"}"#;
        is_token.then(|| Answer(401, kind, body.to_vec()))
    });
    let said = fails(&mut analyst.accesses(&["--profile", "audit"]));
    assert!(
        said.contains("Session token not found or invalid")
            && said.contains("run `aws sso login --profile audit`"),
        "{said}"
    );
}

#[test]
fn a_role_that_identity_center_does_not_give_is_no_expired_session() {
    let analyst = identity_center().answering(|request| {
        let is_token = request.target.starts_with("/federation");
        let kind = vec![("x-amzn-errortype", "ForbiddenException".to_owned())];
        is_token.then(|| Answer(403, kind, br#"{"message": "No access"}"#.to_vec()))
    });
    let said = fails(&mut analyst.accesses(&["--profile", "audit"]));
    assert!(
        said.contains("No access") && said.contains("check sso_account_id and sso_role_name"),
        "{said}"
    );
}

#[test]
fn a_session_without_a_role_says_what_the_profile_lacks() {
    let analyst = Analyst::with_config(&IDENTITY_CENTER.replace("sso_role_name = LogReader\n", ""));
    let said = fails(&mut analyst.accesses(&["--profile", "audit"]));
    assert!(
        said.contains("profile `audit` has no sso_role_name"),
        "{said}"
    );
}

#[test]
fn a_process_gives_credentials_and_new_ones() {
    let analyst = Analyst::with_config("");
    let script = analyst.path("keys");
    // The second run finds the file of the first.
    let (soon, later) = (in_seconds(3), in_seconds(3600));
    let output = |key: &str, expiration: &str| {
        format!(
            "echo '{{\"Version\": 1, \"AccessKeyId\": \"{key}\", \"SecretAccessKey\": \"s\", \
             \"SessionToken\": \"t\", \"Expiration\": \"{expiration}\"}}'"
        )
    };
    analyst.write(
        "keys",
        &format!(
            "if [ -e $0.ran ]; then {}; else touch $0.ran; {}; fi\n",
            output("ASIATEST0002", &later),
            output("ASIATEST0001", &soon)
        ),
    );
    analyst.write(
        ".aws/config",
        &format!(
            "[profile tool]\ncredential_process = sh {}\n",
            script.display()
        ),
    );
    refreshes(&analyst, &mut analyst.accesses(&["--profile", "tool"]));
}

#[test]
fn a_process_that_fails_says_what_it_said() {
    let analyst = Analyst::with_config(
        "[profile tool]\ncredential_process = sh -c 'echo no token >&2; echo insert it >&2; exit 2'\n",
    );
    let said = fails(&mut analyst.accesses(&["--profile", "tool"]));
    assert!(
        said.contains("credential_process of profile `tool` failed")
            && said.contains("no token insert it"),
        "{said}"
    );
}

fn login(seconds: i64) -> (Analyst, String) {
    let analyst = Analyst::with_config(&format!("[profile ana]\nlogin_session = {LOGIN_ARN}\n"));
    let name: String = Sha256::digest(LOGIN_ARN)
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect();
    let cache = format!(".aws/login/cache/{name}.json");
    let kept = serde_json::json!({
        "accessToken": {
            "accessKeyId": "ASIAKEPT0001", "secretAccessKey": "s", "sessionToken": "t",
            "accountId": "111122223333", "expiresAt": in_seconds(seconds),
        },
        "tokenType": "aws_sigv4", "refreshToken": "first-refresh",
        "clientId": "arn:aws:signin:::devtools/same-device", "dpopKey": LOGIN_KEY,
    });
    analyst.write(&cache, &kept.to_string());
    (analyst, cache)
}

#[test]
fn a_session_of_aws_login_is_used_and_refreshed() {
    let (analyst, _) = login(3600);
    reads(&mut analyst.accesses(&["--profile", "ana"]));
    assert_eq!(analyst.keys(), ["ASIAKEPT0001"; 2]);
    let (analyst, cache) = login(60);
    reads(&mut analyst.accesses(&["--profile", "ana"]));
    assert_eq!(analyst.keys(), ["ASIATEST0001"; 2]);
    assert!(!analyst.requests()[0].header("dpop").is_empty());
    let kept = std::fs::read_to_string(analyst.path(&cache)).unwrap();
    assert!(kept.contains("second-refresh"), "{kept}");
}

#[test]
fn a_session_of_aws_login_that_ended_names_the_command_that_starts_one() {
    let analyst = Analyst::with_config(&format!("[profile ana]\nlogin_session = {LOGIN_ARN}\n"));
    let said = fails(&mut analyst.accesses(&["--profile", "ana"]));
    assert!(said.contains("run `aws login --profile ana`"), "{said}");
    let (analyst, _) = login(-60);
    let analyst = analyst.answering(|request| {
        let kind = vec![("x-amzn-errortype", "AccessDeniedException".to_owned())];
        let body = br#"{"error": "TOKEN_EXPIRED", "message": "expired"}"#;
        (request.target == "/v1/token").then(|| Answer(401, kind, body.to_vec()))
    });
    let said = fails(&mut analyst.accesses(&["--profile", "ana"]));
    assert!(said.contains("run `aws login --profile ana`"), "{said}");
}
