//! Evidence of alerts that rest on more events than are held in memory: what an alert shows of
//! them, and how many they were.

use std::collections::HashSet;

use super::in_order;
use crate::{
    access::AccessMethod,
    evidence::Evidence,
    ids::{SecretRef, SharedStr},
    limits::ALERT_ACCESSES,
    observation::{CallOutcome, CallSource},
    principal::Principal,
    revealed::Certainty,
};

/// How much evidence there is, including what was left out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct EvidenceTotals {
    /// Number of accesses.
    pub(crate) accesses: usize,
    /// Number of calls: ten parameters in one call are ten accesses and one call.
    pub(crate) calls: usize,
}

impl EvidenceTotals {
    /// The totals of evidence of which nothing was left out, each once.
    pub(super) fn of(evidence: &[Evidence]) -> Self {
        let calls: HashSet<_> = evidence.iter().map(|e| e.head.event_key()).collect();
        Self {
            accesses: evidence.iter().filter(|e| e.access.is_some()).count(),
            calls: calls.len(),
        }
    }
}

/// What an alert says of an event besides its id and time.
type EvidenceClass<'e> = (
    (&'e Principal, &'e CallSource, Option<&'e SharedStr>),
    (&'e SharedStr, &'e SharedStr, &'e SharedStr),
    (CallOutcome, Option<(AccessMethod, Certainty, bool)>),
    Option<&'e SecretRef>,
);

fn class(evidence: &Evidence) -> EvidenceClass<'_> {
    let head = &*evidence.head;
    (
        (&head.principal, &head.source, head.access_key_id.as_ref()),
        (&head.account, &head.region, &head.api),
        (
            head.outcome,
            evidence.access.as_ref().map(|access| {
                let certainty = Certainty::of(access);
                (access.method, certainty, access.asked_version)
            }),
        ),
        evidence.secret.as_ref(),
    )
}

/// The part of some evidence from which an alert is built as from all of it, but for the totals:
/// the first events, the first accesses, and of all others the first of each kind. Evidence may be
/// added to the result, and reduced again.
pub(crate) fn reduced(evidence: Vec<Evidence>) -> Vec<Evidence> {
    let evidence = in_order(evidence);
    let mut classes = HashSet::new();
    let mut accesses = 0;
    let keep: Vec<bool> = (0..)
        .zip(&evidence)
        .map(|(index, e)| {
            let is_new = classes.insert(class(e));
            let is_access = e.access.is_some();
            accesses += usize::from(is_access);
            is_new || index < ALERT_ACCESSES || (is_access && accesses <= ALERT_ACCESSES)
        })
        .collect();
    drop(classes);
    let kept = evidence.into_iter().zip(keep);
    kept.filter(|(_, keep)| *keep).map(|(e, _)| e).collect()
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use proptest::{collection::vec, prelude::*};

    use super::*;
    use crate::{
        access::{self, Access, AccessDecrypt, DecryptStatus},
        alert::{Alert, AlertId},
        rule_meta::RuleMeta,
        time::EventTime,
    };

    /// An event: its number, time, and what it says.
    type Said = (u8, u8, u8, bool);

    fn evidence((number, secs, kind, is_access): Said) -> Evidence {
        let mut access = Access {
            decrypt: AccessDecrypt::only(DecryptStatus::Paired),
            ..access::sample()
        };
        let head = Arc::make_mut(&mut access.head);
        head.event_id = format!("e{number}").into();
        head.event = number.into();
        head.time = EventTime(secs.into());
        Arc::make_mut(&mut head.source).ip = Some(format!("198.51.100.{}", kind % 3).into());
        head.region = format!("region{}", kind / 3 % 2).into();
        Arc::make_mut(&mut head.principal).actor = Some(format!("session{}", kind % 5).into());
        access.secret.name = Some(format!("s{}", kind / 2).into());
        access.secret.version_id = Some(format!("v{}", kind / 4 % 2).into());
        access.asked_version = kind % 7 == 0;
        access.secret.arn = (kind % 2 == 0).then(|| format!("arn:s{}", kind / 2).into());
        let evidence = Evidence::access(Arc::new(access));
        if is_access {
            evidence
        } else {
            Evidence::event(evidence.head, None)
        }
    }

    proptest! {
        #[test]
        fn the_alert_of_reduced_evidence_is_that_of_all(
            said in vec(any::<Said>(), 1..80),
            parts in 1..20_usize,
        ) {
            let all = in_order(said.into_iter().map(evidence).collect());
            let rule = Arc::new(RuleMeta::default());
            let id = AlertId("id".into());
            let whole = Alert::new(id.clone(), rule.clone(), None, all.clone());
            let totals = EvidenceTotals::of(&all);
            let mut kept = Vec::new();
            for part in all.chunks(parts).rev() {
                kept.extend_from_slice(part);
                kept = reduced(kept);
            }
            prop_assert_eq!(Alert::of_reduced(id, rule, None, kept, totals), whole);
        }
    }
}
