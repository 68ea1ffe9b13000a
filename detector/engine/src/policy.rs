//! The access policy: who is expected to read what. YAML text in, verdicts about accesses out.

use std::collections::HashMap;
use std::net::IpAddr;
use std::str::FromStr;
use std::sync::{Arc, Mutex};

use ipnet::IpNet;
use serde::Deserialize;

use crate::access::{Access, Method};
use crate::glob::{Glob, UNKNOWN};
use crate::ids::{SecretKey, SecretRef, Store, Text};
use crate::observation::{Source, SourceKind};

/// Whether the policy expects something.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Verdict {
    /// A grant says so.
    Yes,
    /// Grants speak of it, and none allows it.
    No,
    /// No grant speaks of it.
    Undeclared,
}

impl Verdict {
    /// The name in rules.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Yes => "yes",
            Self::No => "no",
            Self::Undeclared => "undeclared",
        }
    }
}

/// What the policy says about an access.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Expected {
    /// Whether a grant that covers the secret names the principal.
    pub principal: Verdict,
    /// Whether the grants that cover secret and principal allow the region.
    pub region: Verdict,
    /// Whether they allow the source.
    pub source: Verdict,
    /// Whether they allow the key; `Undeclared` while the key is not known.
    pub key: Verdict,
    /// Whether any grant for the secret's account mentions the region at all.
    pub account_region: Verdict,
    /// `usual_per_hour` of the grants that cover secret and principal, the highest; `None` when none has one.
    pub usual_per_hour: Option<f64>,
}

/// Why a policy cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{}{message}", line.map(|l| format!("line {l}: ")).unwrap_or_default())]
pub struct PolicyError {
    /// Line of the text, from 1, where it is known.
    pub line: Option<usize>,
    /// What is wrong and how to mend it.
    pub message: String,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct PolicyFile {
    version: u32,
    grants: Vec<GrantFile>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct GrantFile {
    secrets: Vec<String>,
    principals: Vec<String>,
    regions: Option<Vec<String>>,
    sources: Option<Vec<String>>,
    keys: Option<Vec<String>>,
    usual_per_hour: Option<f64>,
}

#[derive(Debug)]
struct Grant {
    secrets: Vec<Glob>,
    principals: Vec<Glob>,
    regions: Option<Vec<Glob>>,
    sources: Option<Vec<SourcePattern>>,
    keys: Option<Vec<Glob>>,
    usual_per_hour: Option<f64>,
}

/// Where calls may come from.
#[derive(Debug, Clone)]
pub enum SourcePattern {
    /// A network.
    Net(IpNet),
    /// A VPC endpoint id or the name of a service.
    Name(Glob),
}

impl SourcePattern {
    /// Whether a source is meant: by its address, its service, or the endpoint that it came through.
    #[must_use]
    pub fn matches(&self, source: &Source) -> bool {
        match self {
            Self::Net(net) => source
                .ip
                .as_deref()
                .and_then(|ip| ip.parse().ok())
                .is_some_and(|ip| net.contains::<&IpAddr>(&ip)),
            Self::Name(name) => [&source.ip, &source.vpc_endpoint]
                .into_iter()
                .flatten()
                .any(|s| name.matches(s)),
        }
    }
}

impl FromStr for SourcePattern {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if let Ok(net) = text.parse::<IpNet>() {
            return Ok(Self::Net(net));
        }
        if let Ok(address) = text.parse::<IpAddr>() {
            return Ok(Self::Net(address.into()));
        }
        if text.starts_with("vpce-")
            || text.contains(".amazonaws.com")
            || text == "AWS Internal"
            || text == "*"
        {
            return Ok(Self::Name(Glob::new(text)));
        }
        let forms = "a CIDR (10.0.0.0/8, 2001:db8::/32), an address, vpce-…, or a service such as cloudformation.amazonaws.com";
        Err(format!("`{text}` is not a source; write {forms}"))
    }
}

/// Indices of the grants that cover a secret.
type Covering = Arc<[usize]>;

/// Identity, full ARN, and whether it is a path of which the content is not known.
type Covered = (SecretKey, Option<Text>, bool);

/// A policy that was read and checked.
#[derive(Debug)]
pub struct Policy {
    grants: Vec<Grant>,
    /// Which grants cover a secret; policies are large and secrets are few.
    covering: Mutex<HashMap<Covered, Covering>>,
    strict: bool,
}

impl FromStr for Policy {
    type Err = PolicyError;

    fn from_str(text: &str) -> Result<Self, PolicyError> {
        let file: PolicyFile = yaml_serde::from_str(text).map_err(|error| PolicyError {
            line: error.location().map(|l| l.line()),
            message: format!("{error}; a policy is `version: 1` and `grants:`, a list with `secrets` and `principals`"),
        })?;
        if file.version != 1 {
            let message = format!("version {} is not known; write `version: 1`", file.version);
            return Err(PolicyError {
                line: line_of(text, "version:", 0),
                message,
            });
        }
        let grants = file.grants.into_iter().enumerate().map(|(index, grant)| {
            Grant::check(grant).map_err(|(word, message)| PolicyError {
                line: line_of(text, &word, index),
                message: format!("grant {}: {message}", index + 1),
            })
        });
        Ok(Self {
            grants: grants.collect::<Result<_, _>>()?,
            covering: Mutex::default(),
            strict: false,
        })
    }
}

impl Grant {
    /// Errors hold the word to look for in the text, and what is wrong.
    fn check(file: GrantFile) -> Result<Self, (String, String)> {
        let not_empty = |name: &str, list: &[String]| match list {
            [] => Err((
                format!("{name}:"),
                format!("`{name}` is empty; name at least one, or `\"*\"`"),
            )),
            _ => Ok(()),
        };
        not_empty("secrets", &file.secrets)?;
        not_empty("principals", &file.principals)?;
        for secret in &file.secrets {
            if secret != "*" && !secret.starts_with("arn:") {
                let remedy =
                    "write an ARN, as in arn:aws:secretsmanager:*:111122223333:secret:prod/*";
                return Err((
                    secret.clone(),
                    format!("`{secret}` is not the ARN of a secret or parameter; {remedy}"),
                ));
            }
        }
        if let Some(usual) = file.usual_per_hour.filter(|u| !u.is_finite() || *u < 0.0) {
            return Err((
                "usual_per_hour".into(),
                format!("`usual_per_hour: {usual}` is not a rate; write 0 or more"),
            ));
        }
        let globs = |list: &[String]| list.iter().map(|p| Glob::new(p)).collect::<Vec<_>>();
        let sources = file.sources.as_deref().map(|s| {
            s.iter()
                .map(|s| s.parse().map_err(|message| (s.clone(), message)))
                .collect::<Result<_, _>>()
        });
        Ok(Self {
            secrets: globs(&file.secrets),
            principals: globs(&file.principals),
            regions: file.regions.as_deref().map(globs),
            sources: sources.transpose()?,
            keys: file.keys.as_deref().map(globs),
            usual_per_hour: file.usual_per_hour,
        })
    }

    fn covers(&self, subjects: &[String]) -> bool {
        self.secrets
            .iter()
            .any(|pattern| subjects.iter().any(|subject| pattern.matches(subject)))
    }

    fn names(&self, access: &Access) -> bool {
        let principal = &access.head.principal;
        let any = |subject: &str| {
            self.principals
                .iter()
                .any(|pattern| pattern.matches(subject))
        };
        principal.id.as_deref().is_some_and(any) || principal.actor.as_deref().is_some_and(any)
    }

    /// The regions that the grant speaks of: its `regions`, or those in the ARNs of its secrets. `None` means any.
    fn mentions(&self, account: &str, region: &str) -> Option<bool> {
        let mut speaks = false;
        for pattern in &self.secrets {
            let mut parts = pattern.as_str().split(':').skip(3);
            let (in_region, in_account) =
                (parts.next().unwrap_or("*"), parts.next().unwrap_or("*"));
            if !Glob::new(in_account).matches(account) {
                continue;
            }
            speaks = true;
            let declared = self
                .regions
                .as_ref()
                .is_none_or(|list| list.iter().any(|r| r.matches(region)));
            if declared && Glob::new(in_region).matches(region) {
                return Some(true);
            }
        }
        speaks.then_some(false)
    }
}

impl Policy {
    /// The number of grants.
    #[must_use]
    pub fn len(&self) -> usize {
        self.grants.len()
    }

    /// Whether there are no grants.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.grants.is_empty()
    }

    /// With `strict`, a secret that no grant covers is expected to be read by nobody: `expected.principal` is `no` where it
    /// would be `undeclared`. Regions, sources and keys are still judged over the grants that there are.
    #[must_use]
    pub fn strict(self, strict: bool) -> Self {
        Self { strict, ..self }
    }

    /// Judges an access.
    #[must_use]
    pub fn judge(&self, access: &Access) -> Expected {
        let folder = access.method == Method::ByPath && access.decrypt.key_arn.is_none();
        let covering = self.covering(&access.secret, folder);
        let granted: Vec<&Grant> = covering
            .iter()
            .filter_map(|i| self.grants.get(*i))
            .filter(|g| g.names(access))
            .collect();
        let principal = match (covering.is_empty(), granted.is_empty()) {
            (true, _) if !self.strict => Verdict::Undeclared,
            (_, true) => Verdict::No,
            (_, false) => Verdict::Yes,
        };
        let source = &access.head.source;
        // The source of a key use that a service made is that service: it says nothing about the caller.
        let source_told =
            access.method != Method::DecryptOnly && source.kind != SourceKind::Internal;
        let listed = |list: &Option<Vec<Glob>>, subject: Option<&str>| match (list, subject) {
            (None, _) => Verdict::Yes,
            (Some(_), None) => Verdict::Undeclared,
            (Some(list), Some(subject)) => yes_or_no(list.iter().any(|p| p.matches(subject))),
        };
        Expected {
            principal,
            region: over(&granted, |g| listed(&g.regions, Some(&access.head.region))),
            source: over(&granted, |g| match &g.sources {
                None => Verdict::Yes,
                Some(_) if !source_told => Verdict::Undeclared,
                Some(list) => yes_or_no(list.iter().any(|pattern| pattern.matches(source))),
            }),
            key: over(&granted, |g| {
                listed(&g.keys, access.decrypt.key_arn.as_deref())
            }),
            account_region: self.account_region(access),
            usual_per_hour: granted
                .iter()
                .filter_map(|g| g.usual_per_hour)
                .max_by(f64::total_cmp),
        }
    }

    fn account_region(&self, access: &Access) -> Verdict {
        let (account, region) = (&access.secret.account, &access.head.region);
        let mut verdict = Verdict::Undeclared;
        for mentioned in self
            .grants
            .iter()
            .filter_map(|g| g.mentions(account, region))
        {
            if mentioned {
                return Verdict::Yes;
            }
            verdict = Verdict::No;
        }
        verdict
    }

    fn covering(&self, secret: &SecretRef, folder: bool) -> Covering {
        let key = (secret.key(), secret.arn.clone(), folder);
        let mut known = self
            .covering
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner);
        if let Some(found) = known.get(&key) {
            return found.clone();
        }
        let mut subjects = subjects(secret);
        if folder {
            // Whoever may read everything below a path may ask for the path.
            let below: Vec<String> = subjects
                .iter()
                .map(|subject| format!("{}/", subject.trim_end_matches('/')))
                .collect();
            subjects.extend(below);
        }
        let covers = |(index, grant): (usize, &Grant)| grant.covers(&subjects).then_some(index);
        let found: Covering = self.grants.iter().enumerate().filter_map(covers).collect();
        known.insert(key, found.clone());
        found
    }
}

fn yes_or_no(allowed: bool) -> Verdict {
    if allowed { Verdict::Yes } else { Verdict::No }
}

/// One grant that allows is enough; what one grant cannot tell stays undeclared unless another allows.
fn over(granted: &[&Grant], judge: impl Fn(&Grant) -> Verdict) -> Verdict {
    granted
        .iter()
        .map(|g| judge(g))
        .min_by_key(|v| {
            [Verdict::Yes, Verdict::Undeclared, Verdict::No]
                .iter()
                .position(|o| o == v)
        })
        .unwrap_or(Verdict::Undeclared)
}

/// The ARNs by which a grant may mean a secret: the full one, the one without suffix, and one with a suffix unknown.
pub(crate) fn subjects(secret: &SecretRef) -> Vec<String> {
    let Some(name) = &secret.name else {
        return Vec::new();
    };
    let mut subjects: Vec<String> = secret.arn.iter().map(ToString::to_string).collect();
    if secret.store == Store::SecretsManager {
        let bare = |name: &str| {
            format!(
                "arn:{}:secretsmanager:{}:{}:secret:{name}",
                secret.partition, secret.region, secret.account
            )
        };
        let unfinished = secret
            .partial_name
            .as_deref()
            .or(secret.arn.is_none().then_some(&**name));
        subjects.extend(
            unfinished.map(|name| format!("{}-{}", bare(name), UNKNOWN.to_string().repeat(6))),
        );
        subjects.push(bare(name));
    }
    subjects
}

/// The line of the `nth` grant's word, from 1; of the first such word when the grants cannot be told apart.
fn line_of(text: &str, word: &str, nth: usize) -> Option<usize> {
    let grant_starts = text.lines().enumerate().filter(|(_, line)| {
        line.trim_start().starts_with("- ") && line.contains(':') && !line.contains("arn:")
    });
    let start = grant_starts.map(|(index, _)| index).nth(nth).unwrap_or(0);
    let found = |from: usize| {
        text.lines()
            .enumerate()
            .skip(from)
            .find(|(_, line)| line.contains(word))
            .map(|(index, _)| index + 1)
    };
    found(start).or_else(|| found(0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn faults_name_line_and_remedy() {
        let cases = [
            (
                "version: 2\ngrants: []\n",
                "line 1: version 2 is not known; write `version: 1`",
            ),
            (
                "version: 1\ngrants:\n  - secrets: [prod/db]\n    principals: [\"*\"]\n",
                "line 3: grant 1: `prod/db` is not the ARN",
            ),
            (
                "version: 1\ngrants:\n  - secrets: [\"*\"]\n    principals: []\n",
                "line 4: grant 1: `principals` is empty",
            ),
            (
                "version: 1\ngrants:\n  - secrets: [\"*\"]\n    principals: [\"*\"]\n    sources: [10.0.0.0/99]\n",
                "line 5: grant 1: `10.0.0.0/99` is not a source",
            ),
            ("version: 1\ngrants:\n  - secret: [\"*\"]\n", "line 3: "),
            ("version: 1\ngrants: [\n", "line "),
        ];
        for (text, expected) in cases {
            let error = text.parse::<Policy>().unwrap_err().to_string();
            assert!(error.starts_with(expected), "{error:?} for {text:?}");
        }
    }
}
