//! What the command says when there are no credentials, and when S3 refuses.

use super::{
    KEYS, ROLE, fails, keys_in_environment,
    stand_in::{Analyst, Answer},
};

#[test]
fn a_profile_that_does_not_exist_is_not_replaced_and_the_others_are_named() {
    let analyst = Analyst::with_config(&format!("[profile mine]\n{KEYS}[profile audit]\n{KEYS}"));
    let said = fails(&mut analyst.accesses(&["--profile", "audti"]));
    assert!(
        said.contains("there is no profile `audti`") && said.contains("there are: audit, mine"),
        "{said}"
    );
    let container = format!("{}/container", analyst.url());
    let mut command = analyst.accesses(&[]);
    command
        .env("AWS_PROFILE", "gone")
        .env("AWS_CONTAINER_CREDENTIALS_FULL_URI", container);
    assert!(fails(&mut command).contains("there is no profile `gone`"));
    analyst.write(
        ".aws/config",
        &format!("[profile a]\n{ROLE}source_profile = b\n"),
    );
    let said = fails(&mut analyst.accesses(&["--profile", "a"]));
    assert!(
        said.contains("source_profile: there is no profile `b`"),
        "{said}"
    );
    assert!(analyst.requests().is_empty());
}

#[test]
fn no_credentials_anywhere_says_where_they_could_be() {
    let analyst = Analyst::with_config("");
    let said = fails(&mut analyst.accesses(&[]));
    assert!(
        said.contains("there are no AWS credentials") && said.contains("aws configure sso"),
        "{said}"
    );
    let analyst = Analyst::with_config(&format!("[profile audit]\n{KEYS}"));
    let said = fails(&mut analyst.accesses(&[]));
    assert!(said.contains("one of these profiles: audit"), "{said}");
    let analyst = Analyst::with_config("[profile audit\n");
    let said = fails(&mut analyst.accesses(&[]));
    assert!(
        said.contains("the AWS configuration cannot be used") && said.contains("on line 1"),
        "{said}"
    );
}

#[test]
fn a_session_without_its_section_is_not_taken_for_an_expired_one() {
    let profile = "[profile audit]\nsso_session = s\nsso_account_id = 111122223333\n\
                   sso_role_name = LogReader\n";
    let analyst = Analyst::with_config(profile);
    let said = fails(&mut analyst.accesses(&["--profile", "audit"]));
    assert!(
        said.contains("profile `audit` has sso_session = s")
            && said.contains("no section [sso-session s]; run `aws configure sso"),
        "{said}"
    );
    let other = "[sso-session t]\nsso_region = eu-west-1\n";
    let analyst = Analyst::with_config(&format!("{profile}{other}"));
    let said = fails(&mut analyst.accesses(&["--profile", "audit"]));
    assert!(said.contains("[sso-session s] (there are: t); "), "{said}");
    assert!(!said.contains("expired"), "{said}");
}

#[test]
fn a_profile_without_credentials_does_not_name_itself() {
    let analyst = Analyst::with_config("[default]\nregion = eu-west-1\n");
    let said = fails(&mut analyst.accesses(&[]));
    assert!(
        said.contains("profile `default` has no credentials") && !said.contains("another"),
        "{said}"
    );
    let both = format!("[default]\nregion = eu-west-1\n[profile audit]\n{KEYS}");
    let said = fails(&mut Analyst::with_config(&both).accesses(&[]));
    assert!(said.ends_with("use another --profile: audit"), "{said}");
}

#[test]
fn a_token_file_that_is_not_there_is_named_with_its_variable() {
    for config in ["", "[default]\nregion = eu-west-1\n"] {
        let analyst = Analyst::with_config(config);
        let mut command = analyst.accesses(&[]);
        command
            .env("AWS_WEB_IDENTITY_TOKEN_FILE", "/no/such/token")
            .env("AWS_ROLE_ARN", "arn:aws:iam::111122223333:role/reader");
        let said = fails(&mut command);
        assert!(
            said.contains("AWS_WEB_IDENTITY_TOKEN_FILE=/no/such/token cannot be read: No such"),
            "{said}"
        );
        assert!(!said.contains("profile `default`"), "{said}");
    }
}

/// What the command says when S3 answers every request, or every one for an object, like this.
fn refused(objects_only: bool, answer: fn() -> Answer) -> String {
    let analyst = Analyst::with_config("").answering(move |request| {
        let is_listing = request.target.contains("list-type=2");
        (!is_listing || !objects_only).then(answer)
    });
    fails(keys_in_environment(&mut analyst.accesses(&[])))
}

#[test]
fn a_refusal_of_s3_is_one_line_with_cause_and_remedy() {
    let said = refused(false, || {
        let Answer(status, _, body) = Answer::s3(301, "PermanentRedirect", "elsewhere");
        let region = ("x-amz-bucket-region", "ap-southeast-2".to_owned());
        Answer(status, vec![region], body)
    });
    assert!(
        said.ends_with("in another region, ap-southeast-2; use --aws-region ap-southeast-2"),
        "{said}"
    );
    let said = refused(false, || {
        Answer::s3(
            403,
            "AccessDenied",
            "User: arn:aws:iam::111122223333:user/ana is not authorized to perform: \
             s3:ListBucket on resource: arn:aws:s3:::logs",
        )
    });
    assert!(said.contains("access denied: s3:ListBucket: "), "{said}");
    let said = refused(true, || Answer::s3(403, "AccessDenied", "Access Denied"));
    assert!(
        said.contains("allow s3:GetObject (and kms:Decrypt"),
        "{said}"
    );
    let said = refused(true, || Answer::s3(403, "InvalidObjectState", "archived"));
    assert!(said.contains("aws s3api restore-object"), "{said}");
    let said = refused(false, || Answer::s3(404, "NoSuchBucket", "none"));
    assert!(said.contains("there is no such bucket"), "{said}");
    let said = refused(false, || Answer::s3(400, "ExpiredToken", "it has expired"));
    assert!(
        said.contains("credentials have expired") && said.contains("aws sso login"),
        "{said}"
    );
    let said = refused(false, || {
        Answer::s3(403, "RequestTimeTooSkewed", "too large")
    });
    assert!(
        said.contains("the clock of this computer is wrong"),
        "{said}"
    );
    let said = refused(false, || Answer::s3(403, "InvalidAccessKeyId", "unknown"));
    assert!(
        said.contains("AWS does not accept the access key"),
        "{said}"
    );
}

#[test]
fn an_endpoint_that_is_not_there_is_named_as_such() {
    let analyst = Analyst::with_config("");
    let mut command = analyst.accesses(&["--endpoint-url", "http://127.0.0.1:1"]);
    let said = fails(keys_in_environment(&mut command));
    assert!(
        said.contains("AWS could not be reached") && said.contains("--endpoint-url"),
        "{said}"
    );
}
