//! Assumed roles, web identity, containers, instances, and keys in the environment.

use super::{
    KEYS, ROLE, fails, keys_in_environment, reads, refreshes,
    sessions::{IDENTITY_CENTER, identity_center},
    stand_in::{Analyst, Answer},
};

#[test]
fn a_role_is_assumed_with_another_profile_and_again_before_it_expires() {
    let config = format!("[profile reader]\n{ROLE}source_profile = base\n[profile base]\n{KEYS}");
    let analyst = Analyst::with_config(&config).with_short_credentials();
    refreshes(&analyst, &mut analyst.accesses(&["--profile", "reader"]));
    let asked = &analyst.requests()[0];
    assert!(asked.header("authorization").contains("AKIATEST0001"));
    assert!(asked.body.contains("role%2Freader"), "{}", asked.body);
}

#[test]
fn a_role_is_assumed_with_a_session_of_identity_center() {
    let analyst = identity_center();
    let config = format!("[profile reader]\n{ROLE}source_profile = audit\n{IDENTITY_CENTER}");
    analyst.write(".aws/config", &config);
    reads(&mut analyst.accesses(&["--profile", "reader"]));
    assert_eq!(analyst.keys(), ["ASIATEST0002"; 2]);
}

#[test]
fn a_role_is_assumed_with_the_credentials_of_environment_or_container() {
    let profile = |from: &str| format!("[profile reader]\n{ROLE}credential_source = {from}\n");
    let analyst = Analyst::with_config(&profile("Environment"));
    let mut command = analyst.accesses(&["--profile", "reader"]);
    // A profile that was named counts; keys in the environment only assume its role.
    reads(keys_in_environment(&mut command));
    assert_eq!(analyst.keys(), ["ASIATEST0001"; 2]);
    let analyst = Analyst::with_config(&profile("EcsContainer"));
    let container = format!("{}/container", analyst.url());
    let mut command = analyst.accesses(&["--profile", "reader"]);
    reads(command.env("AWS_CONTAINER_CREDENTIALS_FULL_URI", container));
    assert_eq!(analyst.keys(), ["ASIATEST0002"; 2]);
}

#[test]
fn keys_of_the_environment_count_unless_a_profile_is_named() {
    let analyst = Analyst::with_config(&format!("[profile mine]\n{KEYS}"));
    reads(keys_in_environment(&mut analyst.accesses(&[])).env("AWS_PROFILE", "mine"));
    reads(keys_in_environment(
        &mut analyst.accesses(&["--profile", "mine"]),
    ));
    let keys = [
        "AKIAENVIRON1",
        "AKIAENVIRON1",
        "AKIATEST0001",
        "AKIATEST0001",
    ];
    assert_eq!(analyst.keys(), keys);
}

#[test]
fn a_role_that_needs_a_code_is_refused_before_any_call() {
    let device = "mfa_serial = arn:aws:iam::111122223333:mfa/ana\n";
    let analyst = Analyst::with_config(&format!(
        "[profile outer]\n{ROLE}source_profile = inner\n\
         [profile inner]\n{ROLE}source_profile = base\n{device}[profile base]\n{KEYS}"
    ));
    let said = fails(&mut analyst.accesses(&["--profile", "outer"]));
    assert!(
        said.contains("profile `inner` needs a one-time code")
            && said.contains("aws configure export-credentials --profile outer --format env"),
        "{said}"
    );
    assert!(analyst.requests().is_empty());
    // The remedy: the credentials in the environment, while the profile is still selected.
    reads(keys_in_environment(&mut analyst.accesses(&[])).env("AWS_PROFILE", "outer"));
}

#[test]
fn a_role_that_trusts_others_is_named() {
    let config = format!("[profile reader]\n{ROLE}source_profile = base\n[profile base]\n{KEYS}");
    let analyst = Analyst::with_config(&config).answering(|request| {
        let body = "<ErrorResponse><Error><Code>AccessDenied</Code><Message>User: \
            arn:aws:iam::111122223333:user/ana is not authorized to perform: sts:AssumeRole on \
            resource: arn:aws:iam::111122223333:role/reader</Message></Error></ErrorResponse>";
        (request.target == "/").then(|| Answer(403, Vec::new(), body.into()))
    });
    let said = fails(&mut analyst.accesses(&["--profile", "reader"]));
    assert!(
        said.contains("profile `reader` cannot assume arn:aws:iam::111122223333:role/reader")
            && said.contains("check role_arn, source_profile"),
        "{said}"
    );
}

#[test]
fn a_web_identity_token_gives_credentials_and_new_ones() {
    let analyst = Analyst::with_config("").with_short_credentials();
    analyst.write("token", "jwt");
    let mut command = analyst.accesses(&[]);
    command
        .env("AWS_WEB_IDENTITY_TOKEN_FILE", analyst.path("token"))
        .env("AWS_ROLE_ARN", "arn:aws:iam::111122223333:role/reader");
    refreshes(&analyst, &mut command);
    let analyst = Analyst::with_config("");
    let token = analyst.path("token");
    analyst.write("token", "jwt");
    let config = format!(
        "[profile pod]\n{ROLE}web_identity_token_file = {}\n",
        token.display()
    );
    analyst.write(".aws/config", &config);
    // Without a region, the services that give credentials are the global ones.
    reads(
        analyst
            .accesses(&["--profile", "pod"])
            .env_remove("AWS_REGION"),
    );
    std::fs::remove_file(token).unwrap();
    let said = fails(&mut analyst.accesses(&["--profile", "pod"]));
    assert!(said.contains("check web_identity_token_file"), "{said}");
}

#[test]
fn a_container_and_an_instance_give_credentials() {
    let analyst = Analyst::with_config("").with_short_credentials();
    let container = format!("{}/container", analyst.url());
    let mut command = analyst.accesses(&[]);
    command.env("AWS_CONTAINER_CREDENTIALS_FULL_URI", container);
    refreshes(&analyst, &mut command);
    // A profile may set the region only.
    let analyst = Analyst::with_config("[profile here]\nregion = eu-west-1\n");
    let mut command = analyst.accesses(&["--profile", "here"]);
    command
        .env_remove("AWS_EC2_METADATA_DISABLED")
        .env("AWS_EC2_METADATA_SERVICE_ENDPOINT", analyst.url());
    reads(&mut command);
    assert_eq!(analyst.keys(), ["ASIATEST0001"; 2]);
}
