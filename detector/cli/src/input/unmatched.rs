//! Patterns of the filter that match nothing, and the names that they may have meant: a typing
//! error must not look like a secret that nobody read.

use std::path::Path;

use ahash::HashSet;
use secretrail_engine::{
    glob::GlobPattern,
    ids::{SecretRef, SharedStr},
    observation::{Observation, ReadRequest},
    pending_event::PendingEvent,
    sanitize,
    selection::{AccessFilter, Selection, is_called},
};

use crate::text::{close, number};

/// Most names kept to suggest one.
const NAMES: usize = 20_000;

/// The patterns of one option.
struct OptionPatterns {
    option: &'static str,
    /// What the option selects.
    noun: &'static str,
    /// Those that have matched nothing so far.
    open: Vec<GlobPattern>,
    /// Names that were seen while patterns were open.
    names: HashSet<SharedStr>,
}

impl OptionPatterns {
    fn new(option: &'static str, noun: &'static str, patterns: &[GlobPattern]) -> Self {
        Self {
            option,
            noun,
            open: patterns.to_vec(),
            names: HashSet::default(),
        }
    }

    /// Compares a name with the open patterns. A name that is known was compared before.
    fn see(&mut self, name: Option<&SharedStr>, is: impl Fn(&GlobPattern, &str) -> bool) {
        let Some(name) = name.filter(|_| !self.open.is_empty()) else {
            return;
        };
        if self.names.contains(name) {
            return;
        }
        self.open.retain(|pattern| !is(pattern, name));
        // Names are kept for suggestions only: beyond the limit, each is still compared.
        if self.names.len() < NAMES {
            self.names.insert(name.clone());
        }
    }

    /// One line for each pattern that matched nothing.
    fn lines(&self) -> impl Iterator<Item = String> + '_ {
        self.open.iter().map(|pattern| self.line(pattern.as_str()))
    }

    fn line(&self, pattern: &str) -> String {
        let Self {
            option,
            noun,
            names,
            ..
        } = self;
        let close = close(pattern, names.iter().map(|name| &**name));
        let instead = match (close.as_slice(), names.len()) {
            ([], 0) => format!("no {noun} is in the records of secrets"),
            ([], count) => {
                let count = number(count as u64);
                format!("none of the {count} names of {noun}s is close")
            }
            (close, _) => format!("did you mean {}?", close.join(", ")),
        };
        // In a shell, `prod/*` without quotes becomes the names of files.
        let quoted = if Path::new(pattern).exists() {
            "; a file has this name: put a pattern in quotes, or the shell replaces it"
        } else {
            ""
        };
        let line = format!("{option} {pattern}: matches no {noun}; {instead}{quoted}");
        sanitize::line(&line).into_owned()
    }
}

/// The patterns of a filter and what they matched so far.
pub(crate) struct UnmatchedPatterns<'s> {
    selection: &'s Selection,
    principals: OptionPatterns,
    secrets: OptionPatterns,
    keys: OptionPatterns,
}

impl<'s> UnmatchedPatterns<'s> {
    /// All patterns of a selection; none has matched yet.
    pub(crate) fn new(selection: &'s Selection) -> Self {
        let AccessFilter {
            principals,
            secrets,
            access_keys,
            ..
        } = &selection.filter;
        let keys: Vec<_> = access_keys
            .iter()
            .map(|key| GlobPattern::new(key))
            .collect();
        Self {
            selection,
            principals: OptionPatterns::new("--principal", "principal", principals),
            secrets: OptionPatterns::new("--secret", "secret", secrets),
            keys: OptionPatterns::new("--access-key", "access key", &keys),
        }
    }

    /// Compares events of the selection with the patterns.
    pub(crate) fn see(&mut self, events: &[impl AsRef<PendingEvent>]) {
        let options = [&self.principals, &self.secrets, &self.keys];
        if options.iter().all(|option| option.open.is_empty()) {
            return;
        }
        for event in events {
            let event = event.as_ref();
            if self.selection.contains(event.time) {
                self.event(&event.observation);
            }
        }
    }

    fn event(&mut self, observation: &Observation) {
        let head = observation.head();
        let principal = &head.principal;
        for name in [&principal.id, &principal.actor, &principal.name] {
            self.principals.see(name.as_ref(), |glob, name| {
                glob.matches(name) || principal.role_of_person().is_some_and(|r| glob.matches(r))
            });
        }
        // Compared as the filter does: a key has no wildcards.
        self.keys.see(head.access_key_id.as_ref(), |key, seen| {
            key.as_str() == seen
        });
        if !self.secrets.open.is_empty() {
            for secret in secrets(observation) {
                self.secret(secret);
            }
        }
    }

    fn secret(&mut self, secret: &SecretRef) {
        // By name and account: a name may be that of several secrets with different ARNs.
        let known = secret.arn.as_ref().or(secret.name.as_ref());
        self.secrets.see(known, |glob, _| is_called(secret, glob));
        self.secrets
            .see(secret.name.as_ref(), |glob, _| is_called(secret, glob));
    }

    /// One line for each pattern that matched nothing.
    pub(crate) fn lines(&self) -> Vec<String> {
        let options = [&self.principals, &self.secrets, &self.keys];
        options
            .into_iter()
            .flat_map(OptionPatterns::lines)
            .collect()
    }
}

/// The secrets that an observation names.
fn secrets(observation: &Observation) -> &[SecretRef] {
    match observation {
        Observation::Read(read) => match &read.request {
            ReadRequest::Named(secrets) | ReadRequest::Batch(secrets) => secrets,
            ReadRequest::BatchFilters => &[],
            ReadRequest::Path { path: secret, .. } | ReadRequest::History(secret) => {
                std::slice::from_ref(secret)
            }
        },
        Observation::KmsDecrypt(decrypt) => decrypt.secret.as_slice(),
        Observation::Change(change) => change.secret.as_slice(),
    }
}
