//! The examples that rules carry, run through the whole path: a rule must fire where it says so and
//! stay quiet elsewhere.

use crate::limits::HORIZON_SECS;
use crate::object::origin;
use crate::pipeline::Pipeline;
use crate::policy::Policy;
use crate::rule::RuleSet;
use crate::rule::example::Example;
use crate::scan::{Harvest, Input, Scanner};
use crate::selection::Selection;
use crate::state::memory::MemoryStore;
use crate::time::EventTime;

/// Why an example does not hold.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Fault {
    /// The rule stayed quiet.
    #[error("the rule should fire, and does not")]
    Quiet,
    /// The rule fired.
    #[error("the rule should stay quiet, and fires")]
    Fires,
    /// The example itself is at fault.
    #[error("{0}")]
    Broken(String),
}

/// Runs one example long after its events, so that everything is settled.
///
/// # Errors
///
/// Why it does not hold.
pub async fn run(rules: &RuleSet, example: &Example) -> Result<(), Fault> {
    let broken = |error: &dyn std::fmt::Display| Fault::Broken(error.to_string());
    let policy = example
        .policy
        .as_ref()
        .map(|text| text.parse::<Policy>())
        .transpose()
        .map_err(|e| broken(&e))?;
    let selection = Selection::default();
    let mut harvest = Harvest::default();
    let text = format!("[{}]", example.events.join(","));
    let mut scanner = Scanner::new(rules, &selection);
    scanner
        .read(
            Input::Bytes(text.as_bytes()),
            &origin(&example.name),
            false,
            &mut harvest,
        )
        .map_err(|e| broken(&e))?;
    if let Some((reason, count)) = harvest.report.records_skipped.iter().next() {
        return Err(Fault::Broken(format!(
            "{count} of its events cannot be read: {}",
            reason.as_str()
        )));
    }
    let newest = harvest
        .observations
        .iter()
        .map(|end| end.time)
        .max()
        .unwrap_or(EventTime(0));
    let pipeline = Pipeline::new(rules, policy.as_ref(), &selection);
    let now = newest.plus(2 * HORIZON_SECS);
    let outcome = pipeline
        .run(&MemoryStore::default(), harvest, now)
        .await
        .map_err(|e| broken(&e))?;
    let fired = outcome
        .alerts
        .iter()
        .any(|alert| alert.rule.id == example.rule);
    match (example.fires, fired) {
        (true, false) => Err(Fault::Quiet),
        (false, true) => Err(Fault::Fires),
        _ => Ok(()),
    }
}
