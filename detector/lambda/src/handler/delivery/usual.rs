//! What is usual for the principals of incidents, looked up when a message is made.

use std::time::Duration;

use secretrail_engine::{
    incident::{
        Incident,
        usual::{CurrentTraits, UsualFacts},
    },
    seen::usual::UsualQuery,
    state::{StateError, StateStore},
};
use serde_json::json;

use super::Delivery;
use crate::telemetry::{LogSeverity, log};

/// How long messages wait for it, before they are sent without.
const PATIENCE: Duration = Duration::from_secs(3);

impl Delivery<'_> {
    /// Adds to incidents what is usual for their principals. Messages do not depend on it: where it
    /// cannot be looked up, or that takes long, they are sent without.
    pub(super) async fn add_usual(&self, incidents: Vec<&mut Incident>) {
        let current = incidents.iter();
        let current: Vec<Option<CurrentTraits>> = current
            .map(|incident| CurrentTraits::of_incident(incident))
            .collect();
        let looked_up = tokio::time::timeout(PATIENCE, self.usual(current.iter().flatten()));
        let found = match looked_up.await {
            Ok(Ok(found)) => found,
            Ok(Err(error)) => return tell_unknown(&error.to_string()),
            Err(_) => return tell_unknown("it takes too long"),
        };
        let known = incidents.into_iter().zip(current);
        let principals = known.filter(|(_, current)| current.is_some());
        for ((incident, _), facts) in principals.zip(found) {
            incident.usual = Some(facts);
        }
    }

    async fn usual<'c>(
        &self,
        current: impl Iterator<Item = &'c CurrentTraits>,
    ) -> Result<Vec<UsualFacts>, StateError> {
        let queries: Vec<UsualQuery<'_>> = current.map(UsualQuery::new).collect();
        let keys: Vec<_> = queries.iter().flat_map(UsualQuery::keys).collect();
        if keys.is_empty() {
            return Ok(Vec::new());
        }
        let times = self.store.seen(&keys).await?;
        let mut times = times.as_slice();
        let mut found = Vec::with_capacity(queries.len());
        for query in queries {
            let (own, rest) = times.split_at(query.number_of_keys().min(times.len()));
            times = rest;
            found.push(query.facts(own, self.lookback_secs));
        }
        Ok(found)
    }
}

fn tell_unknown(why: &str) {
    let about = json!({"why": why});
    log(
        LogSeverity::Warn,
        "what is usual was not looked up for messages",
        about,
    );
}
