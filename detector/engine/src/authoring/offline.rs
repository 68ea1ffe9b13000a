//! The whole path over a few records, with nothing around it: what examples and explanations share.

use crate::{
    inflate::InflateError,
    limits::ALLOWED_LATENESS_SECS,
    object::origin,
    pipeline::{BatchOutcome, Pipeline},
    policy::AccessPolicy,
    rule::RuleSet,
    scan::{ObjectScanner, ScanInput, ScanResult},
    selection::Selection,
    state::{StateError, memory::MemoryStore},
    time::EventTime,
};

/// What rules find in bytes, in any form that CloudTrail records come in.
pub(super) fn read(rules: &RuleSet, bytes: &[u8], name: &str) -> Result<ScanResult, InflateError> {
    let selection = Selection::default();
    let mut scan_result = ScanResult::default();
    let mut scanner = ObjectScanner::new(rules, &selection);
    scanner.read(
        ScanInput::Bytes(bytes),
        &origin(name),
        false,
        &mut scan_result,
    )?;
    Ok(scan_result)
}

/// Joins and judges what was found.
pub(super) async fn finalize(
    rules: &RuleSet,
    policy: Option<&AccessPolicy>,
    scan_result: ScanResult,
) -> Result<BatchOutcome, StateError> {
    let times = scan_result.observations.iter().map(|end| end.time);
    let newest = times.max().unwrap_or(EventTime(0));
    // Every evaluation must be final: a read that still waits for its KMS Decrypt has no verdict.
    let now = newest.plus(2 * ALLOWED_LATENESS_SECS);
    let selection = Selection::default();
    let pipeline = Pipeline::new(rules, policy, &selection);
    pipeline
        .run(&MemoryStore::default(), scan_result, now)
        .await
}
