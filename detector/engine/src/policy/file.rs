//! Parses and validates the YAML of an access policy. Errors name the line.

use std::{borrow::Cow, collections::BTreeSet};

use serde::Deserialize;

use super::{
    PolicyGrant,
    people::PersonGrant,
    replicas::ReplicaGrant,
    source::{GrantSource, InvalidSource},
};
use crate::{
    glob::GlobPattern,
    ids::is_account,
    sanitize::without_byte_order_mark,
    yaml::{self, YamlFault},
};

/// Why a policy cannot be used.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[error("{}{fault}", line.map(|l| format!("line {l}: ")).unwrap_or_default())]
pub struct PolicyError {
    /// Line number from 1; `None` when it is not known.
    pub line: Option<usize>,
    /// The error.
    pub fault: PolicyFault,
}

/// An error in a policy. The message says how to fix it.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum PolicyFault {
    /// Not YAML, or with unknown keys or values.
    #[error(
        "{0}; write `version: 1` and `grants:`, a list of entries with `secrets` and `principals`"
    )]
    NotAPolicy(String),
    /// YAML that the parser should not be given.
    #[error(transparent)]
    Refused(#[from] YamlFault),
    /// The `version` is not supported.
    #[error("version {0} is not supported; write `version: 1`")]
    Version(u32),
    /// An entry of the list with this name is not an account id.
    #[error(
        "`{0}` has `{1}`, which is not an account id; \
         write twelve digits in quotes, as in \"111122223333\""
    )]
    NotAnAccount(&'static str, String),
    /// An entry of `decoys` is invalid.
    #[error("`decoys`: {0}")]
    Decoy(GrantFault),
    /// An entry of `people` is invalid.
    #[error("entry {number} of `people`: {fault}")]
    Person {
        /// Position in the list, from 1.
        number: usize,
        /// The error.
        fault: GrantFault,
    },
    /// An entry of `endpoints` is no id of a VPC endpoint.
    #[error("`endpoints` has `{0}`, which is no id of a VPC endpoint; write vpce-…")]
    NotAnEndpoint(String),
    /// An entry of `replicas` is invalid.
    #[error("`replicas`: {0}")]
    Replica(GrantFault),
    /// A grant is invalid.
    #[error("grant {number}: {fault}")]
    Grant {
        /// Position in the list of grants, from 1.
        number: usize,
        /// The error.
        fault: GrantFault,
    },
}

impl PolicyFault {
    /// The error with the line of what causes it.
    fn at(self, text: &str) -> PolicyError {
        let word = self.word();
        let line = match &self {
            Self::Person { number, .. } => line_of(text, ("people:", number - 1), &word),
            Self::Grant { number, .. } => line_of(text, ("grants:", number - 1), &word),
            _ => line_with(text, &word, 0),
        };
        PolicyError { line, fault: self }
    }

    /// The word in the text that causes the error, to find its line.
    fn word(&self) -> Cow<'_, str> {
        match self {
            Self::Replica(fault)
            | Self::Decoy(fault)
            | Self::Person { fault, .. }
            | Self::Grant { fault, .. } => fault.word(),
            Self::NotAnEndpoint(id) => id.into(),
            Self::NotAnAccount(list, _) => format!("{list}:").into(),
            Self::Version(_) | Self::NotAPolicy(_) | Self::Refused(_) => "version:".into(),
        }
    }
}

/// An error in a grant.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum GrantFault {
    /// The list with this name is empty.
    #[error("`{0}` is empty; name at least one, or `\"*\"`")]
    Empty(&'static str),
    /// A secret is not an ARN.
    #[error(
        "`{0}` is not the ARN of a secret or parameter; \
         write an ARN, as in arn:aws:secretsmanager:*:111122223333:secret:prod/*"
    )]
    NotAnArn(String),
    /// `baseline_per_hour` is negative or not a number.
    #[error("`baseline_per_hour: {0}` is not a rate; write 0 or more")]
    NotARate(f64),
    /// A list or a value has nothing behind its name.
    #[error("`{0}:` has no value; write one, or leave it out")]
    Blank(&'static str),
    /// A principal can be none.
    #[error(
        "`{0}` is no principal; write the ARN of a role, a user or a session, or a pattern of one"
    )]
    NotAPrincipal(String),
    /// `hours` of a person is no span of the day.
    #[error("`hours: {0}` is no span of the day; write it in UTC, as in \"08:00-18:00\"")]
    NotHours(String),
    /// An entry of `days` is no day of the week.
    #[error(
        "`days` has `{0}`, which is no day of the week; write mon, tue, wed, thu, fri, sat or sun"
    )]
    NotADay(String),
    /// An entry of `sources` is invalid.
    #[error(transparent)]
    Source(#[from] InvalidSource),
}

impl GrantFault {
    /// The word in the text that causes the error, to find its line.
    fn word(&self) -> Cow<'_, str> {
        match self {
            Self::Empty(name) | Self::Blank(name) => format!("{name}:").into(),
            Self::NotAPrincipal(id) => id.into(),
            Self::NotAnArn(secret) => secret.into(),
            Self::NotHours(_) => "hours:".into(),
            Self::NotADay(_) => "days:".into(),
            Self::NotARate(_) => "baseline_per_hour".into(),
            Self::Source(invalid) => invalid.text().into(),
        }
    }
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct PolicyFile {
    version: u32,
    #[serde(default)]
    trusted_accounts: Vec<yaml_serde::Value>,
    #[serde(default)]
    decoys: Vec<String>,
    #[serde(default)]
    endpoints: Vec<String>,
    #[serde(default)]
    people: Vec<PersonFile>,
    #[serde(default)]
    replicas: Vec<ReplicaFile>,
    grants: Vec<GrantFile>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct PersonFile {
    principals: Vec<String>,
    secrets: Vec<String>,
    #[serde(default, deserialize_with = "written")]
    hours: Option<Option<String>>,
    #[serde(default, deserialize_with = "written")]
    days: Option<Option<Vec<String>>>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct ReplicaFile {
    secrets: Vec<String>,
    #[serde(default, deserialize_with = "written")]
    regions: Option<Option<Vec<String>>>,
    #[serde(default)]
    accounts: Vec<yaml_serde::Value>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct GrantFile {
    secrets: Vec<String>,
    principals: Vec<String>,
    #[serde(default, deserialize_with = "written")]
    regions: Option<Option<Vec<String>>>,
    #[serde(default, deserialize_with = "written")]
    sources: Option<Option<Vec<String>>>,
    #[serde(default, deserialize_with = "written")]
    keys: Option<Option<Vec<String>>>,
    baseline_per_hour: Option<f64>,
}

/// A value as it is written: `Some(None)` for a name with nothing behind it.
#[expect(
    clippy::option_option,
    reason = "left out, blank, and given are three things"
)]
fn written<'de, D: serde::Deserializer<'de>, T: Deserialize<'de>>(
    value: D,
) -> Result<Option<Option<T>>, D::Error> {
    Deserialize::deserialize(value).map(Some)
}

/// What stands behind a name; without it, everything is meant, and a blank is none.
#[expect(clippy::option_option, reason = "as it is written")]
fn given<T>(name: &'static str, value: Option<Option<T>>) -> Result<Option<T>, GrantFault> {
    match value {
        None => Ok(None),
        Some(None) => Err(GrantFault::Blank(name)),
        Some(given) => Ok(given),
    }
}

/// What a policy says.
#[derive(Debug)]
pub(super) struct PolicyContent {
    pub(super) grants: Vec<PolicyGrant>,
    pub(super) trusted_accounts: BTreeSet<String>,
    pub(super) decoys: Vec<GlobPattern>,
    pub(super) people: Vec<PersonGrant>,
    pub(super) replicas: Vec<ReplicaGrant>,
    pub(super) endpoints: Vec<GlobPattern>,
}

/// Parses and validates a policy.
pub(super) fn read(text: &str) -> Result<PolicyContent, PolicyError> {
    let text = without_byte_order_mark(text);
    yaml::check(text).map_err(|fault| PolicyError {
        line: fault.line(),
        fault: fault.into(),
    })?;
    let file: PolicyFile = yaml_serde::from_str(text).map_err(|error| PolicyError {
        line: error.location().map(|l| l.line()),
        fault: PolicyFault::NotAPolicy(error.to_string()),
    })?;
    file.read().map_err(|fault| fault.at(text))
}

impl PolicyFile {
    fn read(self) -> Result<PolicyContent, PolicyFault> {
        if self.version != 1 {
            return Err(PolicyFault::Version(self.version));
        }
        let not_an_arn = |decoy| PolicyFault::Decoy(GrantFault::NotAnArn(decoy));
        let people = self.people.into_iter().zip(1..).map(|(person, number)| {
            let read = person.read();
            read.map_err(|fault| PolicyFault::Person { number, fault })
        });
        let replicas = self.replicas.into_iter().map(ReplicaFile::read);
        let grants = self.grants.into_iter().zip(1..).map(|(grant, number)| {
            let read = grant.read();
            read.map_err(|fault| PolicyFault::Grant { number, fault })
        });
        Ok(PolicyContent {
            trusted_accounts: accounts("trusted_accounts", &self.trusted_accounts)?,
            decoys: beginning("arn:", &self.decoys).map_err(not_an_arn)?,
            endpoints: beginning("vpce-", &self.endpoints).map_err(PolicyFault::NotAnEndpoint)?,
            people: people.collect::<Result<_, _>>()?,
            replicas: replicas.collect::<Result<_, _>>()?,
            grants: grants.collect::<Result<_, _>>()?,
        })
    }
}

/// Patterns that all begin so; or the first that does not.
fn beginning(prefix: &str, list: &[String]) -> Result<Vec<GlobPattern>, String> {
    match list.iter().find(|one| !one.starts_with(prefix)) {
        Some(other) => Err(other.clone()),
        None => Ok(globs(list)),
    }
}

/// The account ids in the list with this name.
fn accounts(
    list: &'static str,
    values: &[yaml_serde::Value],
) -> Result<BTreeSet<String>, PolicyFault> {
    let ids = values.iter().map(|value| account(list, value));
    ids.collect()
}

/// An account id. One without quotes is a number, of which leading zeros are lost.
fn account(list: &'static str, value: &yaml_serde::Value) -> Result<String, PolicyFault> {
    let text = match value {
        yaml_serde::Value::String(text) => text.clone(),
        yaml_serde::Value::Number(number) => number.to_string(),
        other => format!("{other:?}"),
    };
    if is_account(&text) {
        Ok(text)
    } else {
        Err(PolicyFault::NotAnAccount(list, text))
    }
}

impl PersonFile {
    fn read(self) -> Result<PersonGrant, GrantFault> {
        check_secrets(&self.secrets)?;
        // A grant may name nobody; an entry of people would say nothing.
        if self.principals.is_empty() {
            return Err(GrantFault::Empty("principals"));
        }
        let mut others = self.principals.iter();
        // Such as several in one text.
        let is_one = |id: &str| id.starts_with("arn:") && !id.contains(char::is_whitespace);
        let other = others.find(|id| *id != "*" && !is_one(id));
        if let Some(id) = other {
            return Err(GrantFault::NotAPrincipal(id.clone()));
        }
        let (hours, days) = (given("hours", self.hours)?, given("days", self.days)?);
        if days.as_ref().is_some_and(Vec::is_empty) {
            return Err(GrantFault::Empty("days"));
        }
        let hours = hours.map(|text| {
            let hours = text.parse();
            hours.map_err(|()| GrantFault::NotHours(text))
        });
        let days = days.map(|days| {
            let days = days.into_iter();
            let days = days.map(|day| day.parse().map_err(|_| GrantFault::NotADay(day)));
            days.collect()
        });
        Ok(PersonGrant {
            secrets: globs(&self.secrets),
            principals: globs(&self.principals),
            hours: hours.transpose()?,
            days: days.transpose()?,
        })
    }
}

impl ReplicaFile {
    fn read(self) -> Result<ReplicaGrant, PolicyFault> {
        check_secrets(&self.secrets).map_err(PolicyFault::Replica)?;
        Ok(ReplicaGrant {
            secrets: globs(&self.secrets),
            regions: given("regions", self.regions)
                .map_err(PolicyFault::Replica)?
                .as_deref()
                .map(globs),
            accounts: accounts("accounts", &self.accounts)?,
        })
    }
}

/// Rejects secrets that parse but make no sense.
fn check_secrets(secrets: &[String]) -> Result<(), GrantFault> {
    // An empty list, as from a template without values, would silently grant nothing.
    if secrets.is_empty() {
        return Err(GrantFault::Empty("secrets"));
    }
    // A bare name would match the secrets of that name in every account.
    let mut secrets = secrets.iter();
    match secrets.find(|secret| *secret != "*" && !secret.starts_with("arn:")) {
        Some(name) => Err(GrantFault::NotAnArn(name.clone())),
        None => Ok(()),
    }
}

impl GrantFile {
    fn read(self) -> Result<PolicyGrant, GrantFault> {
        self.check()?;
        let sources = given("sources", self.sources)?.map(|list| {
            let sources = list.iter().map(|source| source.parse());
            sources.collect::<Result<Vec<GrantSource>, InvalidSource>>()
        });
        Ok(PolicyGrant {
            secrets: globs(&self.secrets),
            principals: globs(&self.principals),
            regions: given("regions", self.regions)?.as_deref().map(globs),
            sources: sources.transpose()?,
            keys: given("keys", self.keys)?.as_deref().map(globs),
            baseline_per_hour: self.baseline_per_hour,
        })
    }

    /// Rejects values that parse but make no sense.
    fn check(&self) -> Result<(), GrantFault> {
        check_secrets(&self.secrets)?;
        match self.baseline_per_hour {
            Some(usual) if !usual.is_finite() || usual < 0.0 => Err(GrantFault::NotARate(usual)),
            _ => Ok(()),
        }
    }
}

fn globs(list: &[String]) -> Vec<GlobPattern> {
    list.iter()
        .map(|pattern| GlobPattern::new(pattern))
        .collect()
}

/// The line of a word in the entry of a list with this place, from 0; the first line with the word
/// when the entries cannot be distinguished.
fn line_of(text: &str, (list, nth): (&str, usize), word: &str) -> Option<usize> {
    // The parser does not report where a value was. An entry begins with a hyphen and a key; the
    // items of its own lists are ARNs, or have no colon. Those of other lists begin so too.
    let begin = text.lines().position(|line| line.starts_with(list));
    let mut grant_starts = text
        .lines()
        .enumerate()
        .skip(begin.unwrap_or(0))
        .filter(|(_, line)| {
            line.trim_start().starts_with("- ") && line.contains(':') && !line.contains("arn:")
        });
    let start = grant_starts.nth(nth).map_or(0, |(index, _)| index);
    line_with(text, word, start).or_else(|| line_with(text, word, 0))
}

/// The first line that begins with a word, or else one that has it, from 1, after so many skipped
/// lines.
fn line_with(text: &str, word: &str, skipped: usize) -> Option<usize> {
    let lines = text.lines().enumerate().skip(skipped);
    let (index, _) = lines
        .clone()
        .find(|(_, line)| line.trim_start_matches([' ', '-']).starts_with(word))
        .or_else(|| lines.clone().find(|(_, line)| line.contains(word)))?;
    Some(index + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn trusted_accounts_are_account_ids() {
        let text =
            |accounts: &str| format!("version: 1\ntrusted_accounts: {accounts}\ngrants: []\n");
        let content = read(&text("[\"111122223333\", 444455556666]")).unwrap();
        assert_eq!(content.trusted_accounts.len(), 2);
        for wrong in ["[\"1111-2222-3333\"]", "[12]", "[{}]"] {
            let error = read(&text(wrong)).unwrap_err();
            assert_eq!(error.line, Some(2), "{wrong}");
            assert!(error.to_string().contains("twelve digits"), "{error}");
        }
    }

    #[test]
    fn what_the_parser_cannot_bear_is_refused_before_it() {
        let deep = format!("version: 1\ngrants: {}", "[".repeat(100_000));
        let error = read(&deep).unwrap_err();
        assert_eq!(error.line, Some(2));
        assert!(error.to_string().contains("more than 500 deep"), "{error}");
        let list = "1, ".repeat(5_000);
        let aliases = "*a, ".repeat(5_000);
        let large = format!("version: 1\ntrusted_accounts: [&a [{list}], {aliases}]\ngrants: []\n");
        let error = read(&large).unwrap_err().to_string();
        assert!(error.contains("its aliases"), "{error}");
    }

    #[test]
    fn faults_name_line_and_remedy() {
        let cases = [
            (
                "version: 2\ngrants: []\n",
                "line 1: version 2 is not supported; write `version: 1`",
            ),
            (
                "version: 1\ngrants:\n  - secrets: [prod/db]\n    principals: [\"*\"]\n",
                "line 3: grant 1: `prod/db` is not the ARN",
            ),
            (
                "version: 1\ngrants:\n  - secrets: []\n    principals: [\"*\"]\n",
                "line 3: grant 1: `secrets` is empty",
            ),
            (
                "version: 1\ngrants:\n  - secrets: [\"*\"]\n    principals: [\"*\"]\n\
                \u{20}   sources: [10.0.0.0/99]\n",
                "line 5: grant 1: `10.0.0.0/99` is not a source",
            ),
            (
                "version: 1\ndecoys:\n  - prod/db\ngrants: []\n",
                "line 3: `decoys`: `prod/db` is not the ARN",
            ),
            (
                "version: 1\nreplicas:\n  - secrets: [prod/db]\ngrants: []\n",
                "line 3: `replicas`: `prod/db` is not the ARN",
            ),
            (
                "version: 1\nreplicas:\n  - secrets: [\"*\"]\n    accounts: [12]\ngrants: []\n",
                "line 4: `accounts` has `12`, which is not an account id",
            ),
            (
                "version: 1\ntrusted_accounts: [\"111122223333\"]\nreplicas:\n  - secrets:\n    \
                 - arn:aws:ssm:*:1:parameter/x\n    accounts: [12]\ngrants: []\n",
                "line 6: `accounts` has `12`",
            ),
            (
                "version: 1\nreplicas:\n  - secrets:\n    - arn:aws:ssm:*:1:parameter/x\ngrants:\n  \
                 - principals: [\"*\"]\n    secrets: []\n",
                "line 7: grant 1: `secrets` is empty",
            ),
            ("version: 1\ngrants:\n  - secret: [\"*\"]\n", "line 3: "),
            ("version: 1\ngrants: [\n", "line "),
        ];
        all_begin(&cases);
    }

    #[test]
    fn faults_of_people_and_endpoints_name_entry_line_and_remedy() {
        all_begin(&[
            (
                "version: 1\nendpoints:\n  - 10.0.0.0/8\ngrants: []\n",
                "line 3: `endpoints` has `10.0.0.0/8`, which is no id of a VPC endpoint",
            ),
            (
                "version: 1\npeople:\n  - secrets: [\"*\"]\n    principals: []\ngrants: []\n",
                "line 4: entry 1 of `people`: `principals` is empty",
            ),
            (
                "version: 1\npeople:\n  - secrets: [\"*\"]\n    principals: [\"*\"]\n    hours: 8-18\n\
                 grants: []\n",
                "line 5: entry 1 of `people`: `hours: 8-18` is no span of the day",
            ),
            (
                "version: 1\npeople:\n  - secrets: [\"*\"]\n    principals: [\"*\"]\n    days: [mon-fri]\n\
                 grants: []\n",
                "line 5: entry 1 of `people`: `days` has `mon-fri`",
            ),
            (
                "version: 1\ngrants:\n  - secrets: [\"*\"]\n    principals: [\"*\"]\npeople:\n  \
                 - secrets: [\"*\"]\n    principals: [\"*\"]\n    hours: \"08:00-18:00\"\n  \
                 - secrets: [\"*\"]\n    principals: [\"*\"]\n    hours:\n",
                "line 11: entry 2 of `people`: `hours:` has no value",
            ),
            (
                "version: 1\npeople:\n  - secrets: [\"*\"]\n    principals: [ann]\ngrants: []\n",
                "line 4: entry 1 of `people`: `ann` is no principal",
            ),
            (
                "version: 1\npeople:\n  - secrets: [\"*\"]\n    principals: [\"arn:a, arn:b\"]\ngrants: []\n",
                "line 4: entry 1 of `people`: `arn:a, arn:b` is no principal",
            ),
            (
                "version: 1\ngrants:\n  - secrets: [\"*\"]\n    principals: [\"*\"]\n    sources:\n",
                "line 5: grant 1: `sources:` has no value",
            ),
        ]);
    }

    /// Each text is refused with an error that begins so.
    fn all_begin(cases: &[(&str, &str)]) {
        for (text, expected) in cases {
            let error = read(text).unwrap_err().to_string();
            assert!(error.starts_with(expected), "{error:?} for {text:?}");
        }
    }
}
