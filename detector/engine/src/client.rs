//! The program behind a call, from its user agent.
//!
//! Sources: AWS SDK user agent headers as in the SDK sources and `facts.md`'s records; GuardDuty
//! user guide, finding types `PenTest:IAMUser/*`, for the distributions.

use std::{borrow::Cow, sync::LazyLock};

use aho_corasick::AhoCorasick;

/// The program behind a call.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClientProgram<'a> {
    /// Lower-case name: `aws-cli`, `boto3`, `terraform`, `browser`, `kali`, or the first word of
    /// the user agent.
    pub family: Cow<'a, str>,
    /// Its version; `None` where the user agent has none.
    pub version: Option<&'a str>,
    /// The command of the AWS CLI, as `secretsmanager.get-secret-value`; `None` for others.
    pub command: Option<&'a str>,
}

/// Words anywhere in a user agent that name a program or an offensive distribution, most telling
/// first, and the family: a tool names itself beside the SDK that it uses.
const MARKERS: [(&str, &str); 38] = [
    ("trufflehog", "trufflehog"),
    ("pacu", "pacu"),
    ("cloudfox", "cloudfox"),
    ("scoutsuite", "scoutsuite"),
    ("scout suite", "scoutsuite"),
    ("cloudsploit", "cloudsploit"),
    ("stratus-red-team", "stratus-red-team"),
    ("nuclei", "nuclei"),
    ("gitleaks", "gitleaks"),
    ("weirdaal", "weirdaal"),
    ("enumerate-iam", "enumerate-iam"),
    ("kali", "kali"),
    ("parrotos", "parrot"),
    ("parrot", "parrot"),
    ("pentoo", "pentoo"),
    ("blackarch", "blackarch"),
    ("prowler", "prowler"),
    ("steampipe", "steampipe"),
    ("opentofu", "opentofu"),
    ("terraform", "terraform"),
    ("pulumi", "pulumi"),
    ("external-secrets", "external-secrets"),
    ("secrets-store-csi-driver", "secrets-store-csi-driver"),
    ("aws-secrets-manager-agent", "secrets-manager-agent"),
    ("awssecretsmanageragent", "secrets-manager-agent"),
    ("aws-secretsmanager-caching", "secrets-manager-cache"),
    ("awssecretcache", "secrets-manager-cache"),
    ("awssecretsmanagercache", "secrets-manager-cache"),
    ("chamber", "chamber"),
    ("ansible", "ansible"),
    ("aws-toolkit", "aws-toolkit"),
    ("windowspowershell", "powershell"),
    ("powershell", "powershell"),
    ("s3console", "console"),
    ("aiobotocore/", "botocore"),
    ("aws-cli/", "aws-cli"),
    ("boto3/", "boto3"),
    ("botocore/", "botocore"),
];

/// Further families, by the first word of their user agents.
const FAMILIES: [&str; 18] = [
    "aws-sdk-cpp",
    "aws-sdk-dotnet-coreclr",
    "aws-sdk-go",
    "aws-sdk-go-v2",
    "aws-sdk-java",
    "aws-sdk-js",
    "aws-sdk-kotlin",
    "aws-sdk-nodejs",
    "aws-sdk-php",
    "aws-sdk-ruby3",
    "aws-sdk-rust",
    "aws-sdk-swift",
    "aws-service",
    "browser",
    "console",
    "curl",
    "go-http-client",
    "python-requests",
];

/// Consoles of AWS.
const CONSOLES: [&str; 2] = ["console.amazonaws.com", "signin.amazonaws.com"];

/// Families that are made to find or take credentials, or distributions that come with such tools.
pub const OFFENSIVE: [&str; 14] = [
    "trufflehog",
    "pacu",
    "cloudfox",
    "scoutsuite",
    "cloudsploit",
    "stratus-red-team",
    "nuclei",
    "gitleaks",
    "weirdaal",
    "enumerate-iam",
    "kali",
    "parrot",
    "pentoo",
    "blackarch",
];

impl<'a> ClientProgram<'a> {
    /// The program that sends this user agent; `None` for an empty text.
    #[must_use]
    pub fn of(user_agent: &'a str) -> Option<Self> {
        let text = user_agent.trim().trim_matches(['[', ']']);
        if text.is_empty() {
            return None;
        }
        let marked = marker_in(text);
        let command = ["command/", "md/command#"]
            .into_iter()
            .find_map(|word| Some(word_at(text, text.find(word)? + word.len())));
        let command = command.filter(|command| !command.is_empty());
        if let Some((at, word, family)) = marked {
            let end = at + word.trim_end_matches('/').len();
            return Some(Self {
                family: family.into(),
                version: version_at(text, end),
                command,
            });
        }
        let lower = text.to_ascii_lowercase();
        if CONSOLES.iter().any(|console| lower.starts_with(console)) {
            return Some(Self::named("console"));
        }
        if lower == "aws internal" || (lower.ends_with(".amazonaws.com") && !lower.contains(' ')) {
            return Some(Self::named("aws-service"));
        }
        if lower.starts_with("mozilla/") {
            return Some(Self::named("browser"));
        }
        let first = word_at(text, 0);
        let (name, version) = match first.split_once('/') {
            Some((name, version)) => (name, Some(version)),
            None => (first, None),
        };
        Some(Self {
            family: name.to_ascii_lowercase().into(),
            version: version.filter(|version| !version.is_empty()),
            command,
        })
    }

    /// A few dozen names of programs, some of them twice; every other is of the caller's choice.
    pub fn known_families() -> impl Iterator<Item = &'static str> {
        let families = MARKERS.iter().map(|(_, family)| *family);
        families.chain(FAMILIES)
    }

    fn named(family: &'static str) -> Self {
        Self {
            family: family.into(),
            version: None,
            command: None,
        }
    }
}

/// Finds all markers at once: every access has a user agent. `None` only if they were too many.
static FINDER: LazyLock<Option<AhoCorasick>> = LazyLock::new(|| {
    let words = MARKERS.iter().map(|(word, _)| word);
    let mut builder = AhoCorasick::builder();
    builder.ascii_case_insensitive(true).build(words).ok()
});

/// The most telling marker that is not within another word: where it begins first, its word and
/// its family.
fn marker_in(text: &str) -> Option<(usize, &'static str, &'static str)> {
    let found = FINDER.as_ref()?.find_overlapping_iter(text);
    let found = found.filter_map(|found| {
        let (index, at) = (found.pattern().as_usize(), found.start());
        let (word, family) = *MARKERS.get(index)?;
        is_alone(text, at, word).then_some((index, at, word, family))
    });
    let (_, at, word, family) = found.min()?;
    Some((at, word, family))
}

/// Distributions, which stand in the version of a kernel or a package: `6.5.0-13parrot1-amd64`.
const DISTRIBUTIONS: [&str; 4] = ["kali", "parrot", "pentoo", "blackarch"];

fn is_alone(text: &str, at: usize, word: &str) -> bool {
    let head = text.get(..at).unwrap_or_default();
    let rest = text.get(at + word.len()..).unwrap_or_default();
    let (before, after) = (head.chars().next_back(), rest.chars().next());
    if DISTRIBUTIONS.contains(&word) {
        let is_in_version = before.is_none_or(|c| !c.is_ascii_alphabetic() && c != '/');
        let ends = after.is_none_or(|c| c.is_ascii_digit() || " .)".contains(c));
        return is_in_version && (ends || rest.starts_with("-linux"));
    }
    if OFFENSIVE.contains(&word) {
        // A tool is the program itself, or the name that an SDK gives of it, not a part of the name
        // of another.
        let begins = before.is_none_or(|c| c.is_whitespace() || c == '(') || head.ends_with("app/");
        let ends = after.is_none_or(|c| !c.is_ascii_alphabetic() && c != '-');
        let is_version = rest
            .strip_prefix("-v")
            .is_some_and(|rest| rest.starts_with(|c: char| c.is_ascii_digit()));
        return begins && (ends || is_version);
    }
    let goes_on = after.is_some_and(|c| c.is_ascii_alphabetic()) && !word.ends_with('/');
    before.is_none_or(|c| !c.is_ascii_alphanumeric()) && !goes_on
}

/// The text from a place up to the next space.
fn word_at(text: &str, at: usize) -> &str {
    let rest = text.get(at..).unwrap_or_default();
    rest.split(' ').next().unwrap_or_default()
}

/// The version that follows a name: `/1.2.3`.
fn version_at(text: &str, end: usize) -> Option<&str> {
    let version = word_at(text, end).strip_prefix('/')?;
    (!version.is_empty()).then_some(version)
}

#[cfg(test)]
mod tests {
    use proptest::{prelude::*, sample::select};

    use super::*;

    /// Looks for one marker after the other.
    fn first_marker(text: &str) -> Option<(usize, &'static str, &'static str)> {
        let lower = text.to_ascii_lowercase();
        MARKERS.into_iter().find_map(|(word, family)| {
            let mut starts = lower.match_indices(word).map(|(at, _)| at);
            let at = starts.find(|at| is_alone(&lower, *at, word))?;
            Some((at, word, family))
        })
    }

    #[test]
    fn a_tool_is_known_by_the_name_that_an_sdk_gives_of_it() {
        for (text, family) in [
            ("aws-sdk-go-v2/1.24 os/linux app/trufflehog", "trufflehog"),
            ("Boto3/1.36.2 md/Botocore#1.36.2 app/pacu", "pacu"),
            ("trufflehog-v3.63", "trufflehog"),
            ("aws-cli/2.15 Linux/6.5.0 kali-linux", "kali"),
            ("Mozilla/5.0 (X11; ParrotOS)", "parrot"),
            ("aws-sdk-go/1.44 app/pacu-reports", "aws-sdk-go"),
        ] {
            let found = ClientProgram::of(text).unwrap();
            assert_eq!(found.family, family, "{text}");
        }
    }

    proptest! {
        #[test]
        fn all_markers_at_once_are_found_as_one_after_the_other(
            parts in proptest::collection::vec((select(&MARKERS[..]), "[ /.(a-z0-9KZ-]{0,3}"), 0..4),
            is_upper in any::<bool>(),
        ) {
            let parts = parts.iter().map(|((word, _), between)| format!("{between}{word}"));
            let text: String = parts.collect();
            let text = if is_upper { text.to_ascii_uppercase() } else { text };
            prop_assert_eq!(marker_in(&text), first_marker(&text));
        }
    }

    #[test]
    #[expect(clippy::too_many_lines, reason = "a table")]
    fn programs_are_known_by_the_most_telling_word() {
        for (agent, family, version, command) in [
            (
                "aws-cli/2.24.5 md/awscrt#0.23.8 ua/2.0 os/linux md/command#secretsmanager.get-secret-value",
                "aws-cli",
                Some("2.24.5"),
                Some("secretsmanager.get-secret-value"),
            ),
            (
                "aws-cli/2.13.5 Python/3.11.4 Linux/4.14 exe/x86_64.amzn.2 prompt/off command/ssm.get-parameter",
                "aws-cli",
                Some("2.13.5"),
                Some("ssm.get-parameter"),
            ),
            (
                "aws-cli/2.15.0 Python/3.11.6 Linux/6.5.0-kali3-amd64 exe/x86_64.kali.2023",
                "kali",
                None,
                None,
            ),
            ("TruffleHog", "trufflehog", None, None),
            (
                "APN/1.0 HashiCorp/1.0 Terraform/1.9.5 terraform-provider-aws/5.6 aws-sdk-go-v2/1.3",
                "terraform",
                Some("1.9.5"),
                None,
            ),
            (
                "Boto3/1.36.2 md/Botocore#1.36.2 ua/2.0",
                "boto3",
                Some("1.36.2"),
                None,
            ),
            (
                "aws-sdk-go-v2/1.32.6 os/linux",
                "aws-sdk-go-v2",
                Some("1.32.6"),
                None,
            ),
            ("Mozilla/5.0 (X11)", "browser", None, None),
            ("console.amazonaws.com", "console", None, None),
            ("cloudformation.amazonaws.com", "aws-service", None, None),
            (
                "python-requests/2.32",
                "python-requests",
                Some("2.32"),
                None,
            ),
            ("[curl/8.1]", "curl", Some("8.1"), None),
            ("kalium/1.0", "kalium", Some("1.0"), None),
            (
                "aws-cli/1.29.0 Python/3.11 Linux/6.5.0-13parrot1-amd64",
                "parrot",
                None,
                None,
            ),
            (
                "parrot-inventory-service/2.1",
                "parrot-inventory-service",
                Some("2.1"),
                None,
            ),
            (
                "app/nuclei-templates-team",
                "app",
                Some("nuclei-templates-team"),
                None,
            ),
            (
                "Boto3/1.3 AwsSecretCache/1.1",
                "secrets-manager-cache",
                Some("1.1"),
                None,
            ),
            (
                "[S3Console/0.4, aws-internal/3]",
                "console",
                Some("0.4,"),
                None,
            ),
            ("AWS Internal", "aws-service", None, None),
            ("my app", "my", None, None),
        ] {
            let expected = ClientProgram {
                family: family.into(),
                version,
                command,
            };
            assert_eq!(ClientProgram::of(agent), Some(expected), "{agent}");
        }
        assert_eq!(ClientProgram::of(" "), None);
    }

    #[test]
    fn every_offensive_family_has_a_marker() {
        for family in OFFENSIVE {
            assert!(
                MARKERS.iter().any(|(_, known)| *known == family),
                "{family}"
            );
        }
    }
}
