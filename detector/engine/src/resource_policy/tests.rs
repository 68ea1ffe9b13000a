//! Documents of many forms, and what each opens.

use super::*;

/// The account that owns the resource, one that is trusted, and one that is not.
const OURS: &str = "111122223333";
const TRUSTED: &str = "444455556666";
const OTHER: &str = "999988887777";

fn reach(document: &str) -> PolicyReach {
    let ours = OwnAccounts {
        owner: OURS,
        trusts: &|account| account == TRUSTED,
    };
    PolicyReach::of_document(&JsonNode::Str(document.into()), &ours)
}

/// What a statement with these elements opens, beside `Effect: Allow` and an action.
fn opens(elements: &str) -> &'static str {
    let head = r#""Effect":"Allow","Action":"secretsmanager:GetSecretValue","Resource":"*""#;
    let document = format!(r#"{{"Statement":[{{{head},{elements}}}]}}"#);
    reach(&document).opens.as_str()
}

/// Rows of a table: what is opened, and the elements that open it.
fn rows(table: &'static str) -> impl Iterator<Item = (&'static str, &'static str)> {
    let rows = table.lines().map(|line| line.split_once('\t').unwrap());
    rows.map(|(expected, elements)| (elements, expected))
}

#[test]
fn principals_of_every_form() {
    for (principal, expected) in rows(include_str!("principals.txt")) {
        assert_eq!(opens(principal), expected, "{principal}");
    }
}

#[test]
fn conditions_that_confine_everyone() {
    for (condition, expected) in rows(include_str!("conditions.txt")) {
        let elements = format!(r#""Principal":"*","Condition":{condition}"#);
        assert_eq!(opens(&elements), expected, "{condition}");
    }
    let service = concat!(
        r#""Principal":{"Service":"lambda.amazonaws.com"},"Condition":{"StringEqu"#,
        r#"als":{"aws:SourceAccount":"999988887777"}}"#,
    );
    assert_eq!(opens(service), "foreign_account");
    assert_eq!(opens(&service.replace("999988887777", OURS)), "service");
    // A named account stays foreign.
    let named = concat!(
        r#""Principal":{"AWS":"999988887777"},"Condition":{"StringEquals":{"aws:P"#,
        r#"rincipalOrgID":"o-a1"}}"#,
    );
    assert_eq!(opens(named), "foreign_account");
}

#[test]
fn a_denial_opens_nothing_and_may_confine_what_is_allowed() {
    let allow = concat!(
        r#"{"Effect":"Allow","Principal":"*","Action":"secretsmanager:GetSecretVa"#,
        r#"lue","Resource":"*"}"#,
    );
    let other_org = r#""Condition":{"StringNotEquals":{"aws:PrincipalOrgID":"o-a1"}}"#;
    let with = |denial: &str| {
        let text = format!(r#"{{"Statement":[{denial},{allow}]}}"#);
        reach(&text).opens.as_str()
    };
    let denial = |rest: &str| format!(r#"{{"Effect":"Deny","Resource":"*",{rest}}}"#);
    let everyone = r#""Principal":{"AWS":"*"},"Action":"secretsmanager:*""#;
    assert_eq!(
        with(&denial(&format!("{everyone},{other_org}"))),
        "organization"
    );
    let but_one = r#""NotPrincipal":{"AWS":"arn:aws:iam::111122223333:role/a"},"Action":"*""#;
    assert_eq!(with(&denial(but_one)), "nobody");
    let perimeter = concat!(
        r#""Condition":{"StringNotEqualsIfExists":{"aws:PrincipalOrgID":"o-a1"},""#,
        r#"BoolIfExists":{"aws:PrincipalIsAWSService":"false"}}"#,
    );
    assert_eq!(
        with(&denial(&format!("{everyone},{perimeter}"))),
        "organization"
    );
    let not_it = denial(but_one).replace(r#""Resource""#, r#""NotResource""#);
    assert_eq!(with(&not_it), "public");
    let two_keys = r#""aws:PrincipalOrgID":"o-a1","aws:SourceVpce":"vpce-1""#;
    let two_accounts = r#""aws:PrincipalOrgID":"o-a1","aws:PrincipalAccount":"111122223333""#;
    let path = r#""aws:PrincipalOrgPaths":["o-a1/r-a/*"]"#;
    let not_equals =
        |keys: &str| format!(r#"{everyone},"Condition":{{"StringNotEquals":{{{keys}}}}}"#);
    for (strong, expected) in [
        // Whoever fulfils one of the conditions is not denied.
        (not_equals(two_keys), "unknown"),
        (not_equals(two_accounts), "organization"),
        (
            format!(r#"{everyone},"Condition":{{"ForAllValues:StringNotLike":{{{path}}}}}"#),
            "organization",
        ),
        (
            format!(r#""Principal":"*","NotAction":"secretsmanager:DescribeSecret",{other_org}"#),
            "organization",
        ),
        (everyone.to_owned(), "nobody"),
    ] {
        assert_eq!(with(&denial(&strong)), expected, "{strong}");
    }
    for weak in [
        format!(r#""Principal":"*","Action":"secretsmanager:PutSecretValue",{other_org}"#),
        format!(r#""Principal":{{"AWS":"111122223333"}},"Action":"*",{other_org}"#),
        format!(r#"{everyone},"Condition":{{"StringEquals":{{"aws:PrincipalOrgID":"o-a1"}}}}"#),
        format!(r#"{everyone},"Condition":{{"ForAnyValue:StringNotLike":{{{path}}}}}"#),
        format!(r#""Principal":"*","NotAction":"secretsmanager:Get*",{other_org}"#),
    ] {
        assert_eq!(with(&denial(&weak)), "public", "{weak}");
    }
    let only = reach(&format!(
        r#"{{"Statement":{}}}"#,
        denial(&format!("{everyone},{other_org}"))
    ));
    assert_eq!(
        (only.opens, only.denies, only.reads),
        (PolicyOpens::Nobody, true, None)
    );
}

#[test]
fn what_is_opened_includes_reading_or_not() {
    let reads = |actions: &str| {
        let text = format!(
            r#"{{"Statement":{{"Effect":"Allow","Principal":"*","Resource":"*",{actions}}}}}"#
        );
        reach(&text).reads.unwrap()
    };
    for yes in [
        r#""Action":"*""#,
        r#""Action":["secretsmanager:DescribeSecret","SecretsManager:Get*"]"#,
        r#""Action":"ssm:GetParameter*""#,
        r#""Action":["kms:D*"]"#,
        r#""NotAction":"secretsmanager:DeleteSecret""#,
        r#""Sid":"no action""#,
        r#""Action":"kms:PutKeyPolicy""#,
    ] {
        assert!(reads(yes), "{yes}");
    }
    for no in [
        r#""Action":"secretsmanager:DescribeSecret""#,
        r#""Action":["kms:Encrypt","kms:GenerateDataKey*"]"#,
        r#""NotAction":"*""#,
    ] {
        assert!(!reads(no), "{no}");
    }
    // A public statement that is harmless does not hide another that is not.
    let text = r#"{"Statement":[
        {"Effect":"Allow","Principal":"*","Action":"secretsmanager:DescribeSecret"},
        {"Effect":"Allow","Principal":{"AWS":"999988887777"},"Action":"ssm:GetParameter"}]}"#;
    let opened = reach(text);
    assert_eq!(
        (opened.opens, opened.reads),
        (PolicyOpens::ForeignAccount, Some(true))
    );
    // Reading by one's own account does not make what others may do a read.
    let text = r#"{"Statement":[
        {"Effect":"Allow","Principal":{"AWS":"111122223333"},"Action":"*"},
        {"Effect":"Allow","Principal":{"AWS":"999988887777"},"Action":"kms:Encrypt"}]}"#;
    let other = reach(text);
    assert_eq!(
        (other.opens, other.reads),
        (PolicyOpens::ForeignAccount, Some(false))
    );
    assert_eq!(other.accounts, BTreeSet::from([OTHER.to_owned()]));
}

#[test]
fn a_document_is_read_in_any_wrapping_and_one_that_is_none_is_unknown() {
    let document = r#"{"Statement":[{"Effect":"Allow","Principal":"*","Action":"*"}]}"#;
    let quoted = serde_json::to_string(document).unwrap();
    let escaped = quoted.trim_matches('"').to_owned();
    let twice = serde_json::to_string(&quoted).unwrap();
    for text in [document, &quoted, &escaped, &twice] {
        assert_eq!(reach(text).opens, PolicyOpens::Public, "{text}");
    }
    let ours = OwnAccounts {
        owner: OURS,
        trusts: &|_| false,
    };
    let object = JsonNode::parse(document).unwrap();
    assert_eq!(
        PolicyReach::of_document(&object, &ours).opens,
        PolicyOpens::Public
    );
    for text in [
        "",
        "HIDDEN_DUE_TO_SECURITY_REASONS",
        r#"{"Statement":[{"Effect":"Allow","Princ"#,
        "[]",
        "{}",
        r#"{"Statement":"x"}"#,
        r#"{"Statement":[{"Effect":"allow","Principal":{"AWS":"111122223333"}}]}"#,
        r#"{"Statement":["x"]}"#,
    ] {
        let reach = reach(text);
        assert_eq!(
            (reach.opens, reach.reads),
            (PolicyOpens::Unknown, Some(true)),
            "{text}"
        );
    }
    assert_eq!(reach(r#"{"Statement":[]}"#).opens, PolicyOpens::Nobody);
}

#[test]
fn grants_and_shares_name_principals() {
    let ours = OwnAccounts {
        owner: OURS,
        trusts: &|account| account == TRUSTED,
    };
    let of = |principals: &str| {
        let principals = JsonNode::parse(principals).unwrap();
        PolicyReach::of_principals(&principals, true, &ours)
            .opens
            .as_str()
    };
    assert_eq!(
        of(r#""arn:aws:iam::999988887777:role/x""#),
        "foreign_account"
    );
    assert_eq!(of(r#"["444455556666","111122223333"]"#), "nobody");
    assert_eq!(
        of(r#"["111122223333","arn:aws:organizations::123456789012:ou/o-a/ou-b"]"#),
        "organization"
    );
    assert_eq!(of(r#""dynamodb.eu-west-1.amazonaws.com""#), "service");
    assert_eq!(of(r#""*""#), "public");
    assert_eq!(of(r#""AWS Internal""#), "service");
    assert_eq!(
        of(r#""111122223333:aws:ec2-infrastructure:i-0a""#),
        "nobody"
    );
}
