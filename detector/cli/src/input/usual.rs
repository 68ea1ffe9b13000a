//! What is usual for the principals of incidents and alerts, in the accesses of a run.

use std::sync::Arc;

use secretrail_engine::{
    access::Access,
    alert::Alert,
    incident::{
        Incident,
        usual::{CurrentTraits, UsualFacts},
    },
    seen::usual::UsualHistory,
};

/// Adds to incidents what is usual for their principals.
pub(crate) fn add_usual(incidents: &mut [Incident], accesses: &[Arc<Access>], lookback_secs: i64) {
    let actors = incidents.iter().map(|incident| &incident.actor);
    let accesses = accesses.iter().map(|access| &**access);
    let history = UsualHistory::of(actors, accesses);
    for incident in incidents {
        let current = CurrentTraits::of_incident(incident);
        incident.usual = current.map(|current| history.facts(&current, lookback_secs));
    }
}

/// What is usual for the principal of an alert; `None` for other actors.
pub(crate) fn of_alert(
    alert: &Alert,
    accesses: &[Arc<Access>],
    lookback_secs: i64,
) -> Option<UsualFacts> {
    let current = CurrentTraits::of_alert(alert)?;
    let accesses = accesses.iter().map(|access| &**access);
    let history = UsualHistory::of([&alert.actor], accesses);
    Some(history.facts(&current, lookback_secs))
}
