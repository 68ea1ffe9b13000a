//! The whole path over a few records, with nothing around it: what examples and explanations share.

use crate::gunzip::InflateError;
use crate::limits::HORIZON_SECS;
use crate::object::origin;
use crate::pipeline::{BatchOutcome, Pipeline};
use crate::policy::AccessPolicy;
use crate::rule::RuleSet;
use crate::scan::{ObjectScanner, ScanInput, ScanResult};
use crate::selection::Selection;
use crate::state::StateError;
use crate::state::memory::MemoryStore;
use crate::time::EventTime;

/// What rules find in bytes, in any form that CloudTrail records come in.
pub(super) fn read(rules: &RuleSet, bytes: &[u8], name: &str) -> Result<ScanResult, InflateError> {
    let selection = Selection::default();
    let mut harvest = ScanResult::default();
    let mut scanner = ObjectScanner::new(rules, &selection);
    scanner.read(ScanInput::Bytes(bytes), &origin(name), false, &mut harvest)?;
    Ok(harvest)
}

/// Joins and judges what was found.
pub(super) async fn settle(
    rules: &RuleSet,
    policy: Option<&AccessPolicy>,
    harvest: ScanResult,
) -> Result<BatchOutcome, StateError> {
    let times = harvest.observations.iter().map(|end| end.time);
    let newest = times.max().unwrap_or(EventTime(0));
    // Everything must be settled by then: a read whose key use is still awaited has no verdict yet.
    let now = newest.plus(2 * HORIZON_SECS);
    let selection = Selection::default();
    let pipeline = Pipeline::new(rules, policy, &selection);
    pipeline.run(&MemoryStore::default(), harvest, now).await
}
