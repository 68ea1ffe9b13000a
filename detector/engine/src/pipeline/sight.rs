//! What is asked and remembered about an event before its other half is known, so that nobody waits
//! for it.

use std::sync::Arc;

use super::Pipeline;
use crate::access::{Access, AccessMethod};
use crate::correlate;
use crate::evidence::Evidence;
use crate::loose_end::PendingEvent;
use crate::observation::{KmsDecrypt, Observation, ReadRequest as Asked, SecretChange, SecretRead};
use crate::rule::event::DerivedEvent;
use crate::rule::{EvalScope, Matches, RuleTarget};
use crate::seen::{self, Sighting};

impl Pipeline<'_> {
    /// What rules say of an observation that nothing else is known about.
    pub(super) fn at_sight(&self, observation: &Observation) -> Matches {
        match observation {
            Observation::Read(read) => self.read_at_sight(read),
            Observation::KeyUse(key_use) => self.key_use_at_sight(key_use),
            Observation::Change(change) => self.change_at_sight(change),
        }
    }

    fn read_at_sight(&self, read: &SecretRead) -> Matches {
        // The child of a batch looks like any other read until it is settled: who asks for
        // methods waits for that.
        if !self.selection.filter.methods.is_empty() {
            return Matches::default();
        }
        let ask = EvalScope {
            target: RuleTarget::Access,
            settled: false,
            // Facts are never taken back: one about a path would stay beside those about the
            // secrets that turn out to have come back.
            counts: matches!(read.ask, Asked::Named(_)),
        };
        let mut hits = Matches::default();
        for access in accesses_at_sight(read) {
            hits.append(self.judge(&access, ask, None));
        }
        hits
    }

    /// Whoever calls KMS without a service in between is not the other half of anything, so that
    /// his access is settled.
    fn key_use_at_sight(&self, key_use: &KmsDecrypt) -> Matches {
        match &key_use.secret {
            Some(secret) if key_use.direct => {
                let row = correlate::alone(key_use, secret, AccessMethod::DirectDecrypt);
                self.judge(&row.access, EvalScope::settled(RuleTarget::Access), None)
            }
            _ => Matches::default(),
        }
    }

    fn change_at_sight(&self, change: &SecretChange) -> Matches {
        let secret = change.secret.as_ref();
        if !self.selection.takes_other(&change.head, secret) {
            return Matches::default();
        }
        let event = DerivedEvent::change(&change.head, secret);
        let evidence = Evidence {
            head: change.head.clone(),
            secret: change.secret.clone(),
            access: None,
        };
        let ask = EvalScope::settled(RuleTarget::Change);
        self.rules.hits(ask, &event, &evidence)
    }
}

/// The accesses of a read as far as its own record tells. A batch tells through the reads that it
/// causes.
fn accesses_at_sight(read: &SecretRead) -> impl Iterator<Item = Arc<Access>> {
    let (method, secrets) = match &read.ask {
        Asked::Named(secrets) => (AccessMethod::Api, secrets.as_slice()),
        Asked::Path { path, .. } => (AccessMethod::ByPath, std::slice::from_ref(path)),
        Asked::History(secret) => (AccessMethod::History, std::slice::from_ref(secret)),
        Asked::Batch(_) | Asked::BatchFilters => (AccessMethod::Batch, [].as_slice()),
    };
    secrets
        .iter()
        .map(move |secret| correlate::row(read, method, secret.clone(), secret.key(), None).access)
}

/// What can be remembered of reads before their key uses are known, so that whatever is settled
/// first is judged by it.
pub(super) fn remembered_at_sight(
    observations: &[Arc<PendingEvent>],
) -> impl Iterator<Item = Sighting> {
    observations
        .iter()
        // Only the best of the copies of an event tells who it was, and another may come later.
        .filter(|end| !end.may_have_copies)
        .filter_map(|end| match &end.observation {
            Observation::Read(read) if matches!(read.ask, Asked::Named(_)) => Some(read),
            _ => None,
        })
        .flat_map(|read| accesses_at_sight(read))
        .flat_map(|access| seen::remembered(&access))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::events_for_tests::{HOME, decrypt_secret, get_secret, put_secret, read};
    use crate::ids::SecretRef;
    use crate::rule::RuleSet;
    use crate::rule::load::load;
    use crate::selection::Selection;

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

    /// How many alerts and facts there are at sight.
    fn hits(selection: &Selection, observation: Observation) -> (usize, usize) {
        let rules = rules();
        let hits = Pipeline::new(&rules, None, selection).at_sight(&observation);
        (hits.singles.len(), hits.facts.len())
    }

    fn of_read(read: SecretRead) -> Observation {
        Observation::Read(Arc::new(read))
    }

    fn by_path() -> SecretRead {
        let ask = Asked::Path {
            path: SecretRef::parameter("/app", HOME),
            recursive: true,
        };
        read("p", "GetParametersByPath", 0, ask)
    }

    #[test]
    fn a_path_alerts_at_sight_and_counts_when_it_is_known_what_came_back() {
        let all = Selection::default();
        assert_eq!(hits(&all, of_read(get_secret("r", 0, "x"))), (1, 1));
        assert_eq!(hits(&all, of_read(by_path())), (1, 0));
    }

    #[test]
    fn a_batch_says_nothing_itself() {
        let secrets = vec![SecretRef::secret("x", HOME)];
        let batch = read("b", "BatchGetSecretValue", 0, Asked::Batch(secrets));
        assert_eq!(hits(&Selection::default(), of_read(batch)), (0, 0));
    }

    #[test]
    fn only_a_direct_key_use_says_something_at_sight() {
        let key_use = decrypt_secret("k", 0, "x");
        let direct = KmsDecrypt {
            direct: true,
            ..key_use.clone()
        };
        let hits = |key_use| {
            hits(
                &Selection::default(),
                Observation::KeyUse(Arc::new(key_use)),
            )
        };
        assert_eq!((hits(key_use), hits(direct)), ((0, 0), (1, 1)));
    }

    #[test]
    fn who_asks_for_methods_waits_until_they_are_known() {
        let mut selection = Selection::default();
        selection.filter.methods = vec![AccessMethod::Api];
        assert_eq!(hits(&selection, of_read(get_secret("r", 0, "x"))), (0, 0));
    }

    #[test]
    fn a_change_alerts_where_it_is_asked_for() {
        let change = || Observation::Change(Arc::new(put_secret("c", 10, "x")));
        assert_eq!(hits(&Selection::default(), change()), (1, 0));
        let later = Selection {
            from: Some(crate::time::EventTime(11)),
            ..Selection::default()
        };
        assert_eq!(hits(&later, change()), (0, 0));
    }

    #[test]
    fn what_may_have_a_better_copy_is_not_remembered_yet() {
        let plain = get_secret("r1", 0, "x");
        let mut shared = get_secret("r2", 0, "x");
        Arc::make_mut(&mut shared.head).shared_id = Some("s".into());
        let ends = |read| [Arc::new(PendingEvent::new(of_read(read)))];
        assert_ne!(remembered_at_sight(&ends(plain)).count(), 0);
        assert_eq!(remembered_at_sight(&ends(shared)).count(), 0);
        assert_eq!(remembered_at_sight(&ends(by_path())).count(), 0);
    }
}
