//! Parses and validates the YAML of an access policy. Errors name the line.

use std::{borrow::Cow, collections::BTreeSet};

use serde::Deserialize;

use super::{
    PolicyGrant,
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
        PolicyError {
            line: line_with(text, &self.word(), 0),
            fault: self,
        }
    }

    /// The word in the text that causes the error, to find its line.
    fn word(&self) -> Cow<'_, str> {
        match self {
            Self::Replica(fault) | Self::Decoy(fault) | Self::Grant { fault, .. } => fault.word(),
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
    /// An entry of `sources` is invalid.
    #[error(transparent)]
    Source(#[from] InvalidSource),
}

impl GrantFault {
    /// The word in the text that causes the error, to find its line.
    fn word(&self) -> Cow<'_, str> {
        match self {
            Self::Empty(name) => format!("{name}:").into(),
            Self::NotAnArn(secret) => secret.into(),
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
    replicas: Vec<ReplicaFile>,
    grants: Vec<GrantFile>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct ReplicaFile {
    secrets: Vec<String>,
    regions: Option<Vec<String>>,
    #[serde(default)]
    accounts: Vec<yaml_serde::Value>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct GrantFile {
    secrets: Vec<String>,
    principals: Vec<String>,
    regions: Option<Vec<String>>,
    sources: Option<Vec<String>>,
    keys: Option<Vec<String>>,
    baseline_per_hour: Option<f64>,
}

/// What a policy says.
#[derive(Debug)]
pub(super) struct PolicyContent {
    pub(super) grants: Vec<PolicyGrant>,
    pub(super) trusted_accounts: BTreeSet<String>,
    pub(super) decoys: Vec<GlobPattern>,
    pub(super) replicas: Vec<ReplicaGrant>,
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
    if file.version != 1 {
        return Err(PolicyFault::Version(file.version).at(text));
    }
    let trusted_accounts =
        accounts("trusted_accounts", &file.trusted_accounts).map_err(|fault| fault.at(text))?;
    let decoys = decoys(&file.decoys).map_err(|fault| PolicyFault::Decoy(fault).at(text))?;
    let replicas = file.replicas.into_iter().map(ReplicaFile::read);
    let replicas: Result<_, PolicyFault> = replicas.collect();
    let replicas = replicas.map_err(|fault| fault.at(text))?;
    let grants = file.grants.into_iter().enumerate().map(|(index, grant)| {
        grant.read().map_err(|fault| PolicyError {
            line: line_of(text, &fault.word(), index),
            fault: PolicyFault::Grant {
                number: index + 1,
                fault,
            },
        })
    });
    Ok(PolicyContent {
        grants: grants.collect::<Result<_, _>>()?,
        trusted_accounts,
        decoys,
        replicas,
    })
}

fn decoys(list: &[String]) -> Result<Vec<GlobPattern>, GrantFault> {
    let other = list.iter().find(|decoy| !decoy.starts_with("arn:"));
    match other {
        Some(other) => Err(GrantFault::NotAnArn(other.clone())),
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

impl ReplicaFile {
    fn read(self) -> Result<ReplicaGrant, PolicyFault> {
        check_secrets(&self.secrets).map_err(PolicyFault::Replica)?;
        Ok(ReplicaGrant {
            secrets: globs(&self.secrets),
            regions: self.regions.as_deref().map(globs),
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
        let sources = self.sources.map(|list| {
            let sources = list.iter().map(|source| source.parse());
            sources.collect::<Result<Vec<GrantSource>, InvalidSource>>()
        });
        Ok(PolicyGrant {
            secrets: globs(&self.secrets),
            principals: globs(&self.principals),
            regions: self.regions.as_deref().map(globs),
            sources: sources.transpose()?,
            keys: self.keys.as_deref().map(globs),
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

/// The line of a word in the `nth` grant, from 1; the first line with the word when the grants
/// cannot be distinguished.
fn line_of(text: &str, word: &str, nth: usize) -> Option<usize> {
    // The parser does not report where a value was. A grant begins with a hyphen and a key; the
    // items of its lists are ARNs, or have no colon. Entries of `replicas` begin so too.
    let grants = text.lines().position(|line| line.starts_with("grants:"));
    let mut grant_starts =
        text.lines()
            .enumerate()
            .skip(grants.unwrap_or(0))
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
        for (text, expected) in cases {
            let error = read(text).unwrap_err().to_string();
            assert!(error.starts_with(expected), "{error:?} for {text:?}");
        }
    }
}
