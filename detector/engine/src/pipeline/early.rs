//! Early evaluation: rule matches and sightings of an event before its other half is known.

use std::sync::Arc;

use super::Pipeline;
use crate::{
    access::{Access, AccessMethod},
    correlate,
    evidence::Evidence,
    observation::{KmsDecrypt, Observation, ReadRequest, SecretChange, SecretRead},
    pending_event::PendingEvent,
    rule::{EvalScope, Matches, RuleTarget, event::DerivedEvent, judged::JudgedAt},
    seen::{self, Sighting},
};

impl Pipeline<'_> {
    /// The matches of the rules for an observation, by its own record alone.
    pub(super) fn early(&self, observation: &Observation) -> Matches {
        match observation {
            Observation::Read(read) => self.early_read(read),
            Observation::KmsDecrypt(kms_decrypt) => self.early_kms_decrypt(kms_decrypt),
            Observation::Change(change) => self.early_change(change),
        }
    }

    fn early_read(&self, read: &SecretRead) -> Matches {
        // The child of a batch looks like any other read until it is finalised: a filter on methods
        // must wait for that.
        if !self.selection.filter.methods.is_empty() {
            return Matches::default();
        }
        let scope = EvalScope {
            target: RuleTarget::Access,
            at: JudgedAt::Early,
            // Facts are never removed: one about a path would remain beside those about the
            // returned secrets.
            counts: is_about_known_secrets(read),
        };
        let mut matches = Matches::default();
        for access in early_accesses(read) {
            matches.append(self.judge(&access, scope, None));
        }
        matches
    }

    /// A direct call to KMS is not the other half of anything. What was seen before it is judged
    /// with the others, when the allowed lateness has passed.
    fn early_kms_decrypt(&self, kms_decrypt: &KmsDecrypt) -> Matches {
        match &kms_decrypt.secret {
            Some(secret) if kms_decrypt.direct => {
                let row = correlate::alone(kms_decrypt, secret, AccessMethod::DirectDecrypt);
                let scope = EvalScope {
                    target: RuleTarget::Access,
                    at: JudgedAt::Early,
                    counts: true,
                };
                self.judge(&row.access, scope, None)
            }
            _ => Matches::default(),
        }
    }

    fn early_change(&self, change: &SecretChange) -> Matches {
        let secret = change.secret.as_ref();
        if !self.selection.takes_other(&change.head, secret) {
            return Matches::default();
        }
        let (others, networks) = (&change.others, self.rules.networks());
        let event = DerivedEvent::change(&change.head, secret, others, self.policy, networks);
        let evidence = Evidence {
            head: change.head.clone(),
            secret: change.secret.clone(),
            access: None,
        };
        let scope = EvalScope::finalized(RuleTarget::Change);
        self.rules.matches(scope, &event, &evidence)
    }
}

/// Whether the KMS Decrypts of a read cannot change which secrets it is about.
fn is_about_known_secrets(read: &SecretRead) -> bool {
    match &read.request {
        // The denied Decrypt may name the secret that the denied read does not.
        ReadRequest::Named(secrets) => {
            !read.denied_by_kms || secrets.iter().all(|secret| secret.name.is_some())
        }
        _ => false,
    }
}

/// The accesses of a read, by its own record alone. A batch has none here; its children have their
/// own.
pub(super) fn early_accesses(read: &SecretRead) -> impl Iterator<Item = Arc<Access>> {
    let (method, secrets) = match &read.request {
        ReadRequest::Named(secrets) => (AccessMethod::Api, secrets.as_slice()),
        ReadRequest::Path { path, .. } => (AccessMethod::ByPath, std::slice::from_ref(path)),
        ReadRequest::History(secret) => (AccessMethod::History, std::slice::from_ref(secret)),
        ReadRequest::Batch(_) | ReadRequest::BatchFilters => (AccessMethod::Batch, [].as_slice()),
    };
    secrets.iter().map(move |secret| {
        let row = correlate::row(read, method, secret.clone(), secret.key(), None);
        let mut access = row.access;
        if secret.version_id.is_some() {
            Arc::make_mut(&mut access).asked_version = true;
        }
        access
    })
}

/// The sightings of reads that can be recorded before their KMS Decrypts are known, so that
/// accesses that are finalised first take them into account.
pub(super) fn early_remembered<'e>(
    observations: impl Iterator<Item = &'e Arc<PendingEvent>>,
) -> impl Iterator<Item = Sighting> {
    observations
        .filter(|end| is_final_copy(end))
        .filter_map(|end| match &end.observation {
            Observation::Read(read) if matches!(read.request, ReadRequest::Named(_)) => Some(read),
            _ => None,
        })
        .flat_map(|read| early_accesses(read))
        .flat_map(|access| seen::remembered_early(&access))
}

/// Whether no better copy of an event is to be expected. Of an event that several accounts know,
/// only the best copy identifies the caller; an update may not be the last. Looked up in the record
/// alone, not in what else is known: the other copies may come before or after it.
pub(super) fn is_final_copy(end: &PendingEvent) -> bool {
    let head = end.observation.head();
    head.shared_id.is_none() && !head.updated
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        events_for_tests::{HOME, decrypt_secret, get_secret, put_secret, read},
        ids::{SecretRef, SecretStore},
        rule::{RuleSet, load::load},
        selection::Selection,
    };

    /// A rule about accesses that alerts, another that counts them, and one about changes.
    fn rules() -> RuleSet {
        let text = "title: access
id: access
logsource: {product: aws, category: secret_access}
detection: {any_of: {access.outcome: success}, condition: any_of}
---
title: counted
id: counted
logsource: {product: aws, category: secret_access}
detection: {any_of: {access.outcome: success}, condition: any_of}
---
title: many
id: many
correlation:
  type: event_count
  rules: [counted]
  group-by: [principal.arn]
  timespan: 10s
  condition: {gte: 2}
---
title: change
id: change
logsource: {product: aws, category: secret_change}
detection: {any_of: {access.api: PutSecretValue}, condition: any_of}
";
        load([("rules.yml", text)]).unwrap().0
    }

    /// Number of early alerts and of early facts.
    fn matches(selection: &Selection, observation: Observation) -> (usize, usize) {
        let rules = rules();
        let matches = Pipeline::new(&rules, None, selection).early(&observation);
        (matches.singles.len(), matches.facts.len())
    }

    fn of_read(read: SecretRead) -> Observation {
        Observation::Read(Arc::new(read))
    }

    fn by_path() -> SecretRead {
        let request = ReadRequest::Path {
            path: SecretRef::parameter("/app", HOME),
            recursive: true,
        };
        read("p", "GetParametersByPath", 0, request)
    }

    #[test]
    fn a_path_alerts_early_and_counts_when_it_is_known_what_came_back() {
        let all = Selection::default();
        assert_eq!(matches(&all, of_read(get_secret("r", 0, "x"))), (1, 1));
        assert_eq!(matches(&all, of_read(by_path())), (1, 0));
    }

    #[test]
    fn a_read_that_kms_denied_counts_when_it_is_known_which_secret_it_was() {
        let mut named = get_secret("r", 0, "x");
        named.denied_by_kms = true;
        let mut unnamed = named.clone();
        let secret = SecretRef::unnamed(SecretStore::SecretsManager, HOME);
        unnamed.request = ReadRequest::Named(vec![secret]);
        let all = Selection::default();
        assert_eq!(matches(&all, of_read(named)), (1, 1));
        assert_eq!(matches(&all, of_read(unnamed.clone())), (1, 0));
        unnamed.denied_by_kms = false;
        assert_eq!(matches(&all, of_read(unnamed)), (1, 1));
    }

    #[test]
    fn a_batch_has_no_early_matches() {
        let secrets = vec![SecretRef::secret("x", HOME)];
        let batch = read("b", "BatchGetSecretValue", 0, ReadRequest::Batch(secrets));
        assert_eq!(matches(&Selection::default(), of_read(batch)), (0, 0));
    }

    #[test]
    fn only_a_direct_kms_decrypt_matches_early() {
        let kms_decrypt = decrypt_secret("k", 0, "x");
        let direct = KmsDecrypt {
            direct: true,
            ..kms_decrypt.clone()
        };
        let matches = |kms_decrypt| {
            matches(
                &Selection::default(),
                Observation::KmsDecrypt(Arc::new(kms_decrypt)),
            )
        };
        assert_eq!((matches(kms_decrypt), matches(direct)), ((0, 0), (1, 1)));
    }

    #[test]
    fn a_filter_on_methods_waits_until_they_are_known() {
        let mut selection = Selection::default();
        selection.filter.methods = vec![AccessMethod::Api];
        assert_eq!(
            matches(&selection, of_read(get_secret("r", 0, "x"))),
            (0, 0)
        );
    }

    #[test]
    fn a_change_alerts_where_it_is_selected() {
        let change = || Observation::Change(Arc::new(put_secret("c", 10, "x")));
        assert_eq!(matches(&Selection::default(), change()), (1, 0));
        let later = Selection {
            from: Some(crate::time::EventTime(11)),
            ..Selection::default()
        };
        assert_eq!(matches(&later, change()), (0, 0));
    }

    #[test]
    fn what_may_have_a_better_copy_is_not_remembered_yet() {
        let plain = get_secret("r1", 0, "x");
        let mut shared = get_secret("r2", 0, "x");
        Arc::make_mut(&mut shared.head).shared_id = Some("s".into());
        let remembered = |read| {
            let end = Arc::new(PendingEvent::new(of_read(read)));
            early_remembered([&end].into_iter()).count()
        };
        assert_ne!(remembered(plain), 0);
        assert_eq!(remembered(shared), 0);
        assert_eq!(remembered(by_path()), 0);
    }
}
