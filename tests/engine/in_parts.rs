//! What does not fit into memory: batches and sweeps in parts, and windows whose facts are read in
//! parts, give the same alerts as all at once.

use std::collections::BTreeMap;

use proptest::{collection::vec, prelude::*};
use secretrail_engine::{
    alert::Alert,
    pipeline::{BatchOutcome, OpenSweep, OpenWindows, Pipeline},
    scan::ScanResult,
    selection::Selection,
    state::memory::MemoryStore,
};
use test_support::{
    LOOKBACK, afterwards, alert_ids, any_record, at, ledger, read, run, scan_result,
};

use crate::invariance::{POLICY, RULES, RULES_WITHOUT_SEEN};

/// A scan result in parts of so many observations.
fn in_parts(mut all: ScanResult, size: usize) -> Vec<ScanResult> {
    let observations = std::mem::take(&mut all.observations);
    let parts = observations.chunks(size).map(|part| ScanResult {
        observations: part.to_vec(),
        ..ScanResult::default()
    });
    // The coverage of an object comes last, with the last of its observations.
    parts.chain([all]).collect()
}

/// The outcomes of a batch in parts of so many observations, and of sweeps in parts of as many
/// events, several of which are closed together.
fn outcomes(pipeline: &Pipeline<'_>, batch: ScanResult, size: usize) -> Vec<BatchOutcome> {
    let store = MemoryStore::default();
    pollster::block_on(async {
        let mut outcomes = Vec::new();
        let mut open = OpenWindows::default();
        for part in in_parts(batch, size) {
            let outcome = pipeline.ingest_part(&store, part, at(100), &mut open);
            outcomes.push(outcome.await.unwrap());
        }
        let closed = pipeline.close_windows(&store, open, at(100)).await;
        outcomes.push(closed.unwrap());
        let mut some = true;
        while some {
            let mut open = OpenSweep::default();
            for _ in 0..3 {
                let part = pipeline.sweep_part(&store, afterwards(), size, &mut open);
                let (outcome, more) = part.await.unwrap();
                outcomes.push(outcome);
                some = more;
            }
            let closed = pipeline.close_sweep(&store, open, afterwards()).await;
            outcomes.push(closed.unwrap());
        }
        outcomes
    })
}

/// The alerts as they were created, by id.
fn alerts(outcomes: &[BatchOutcome]) -> BTreeMap<String, Vec<&Alert>> {
    let mut alerts: BTreeMap<String, Vec<&Alert>> = BTreeMap::new();
    for alert in outcomes.iter().flat_map(|outcome| &outcome.alerts) {
        alerts
            .entry(alert.id.0.to_string())
            .or_default()
            .push(alert);
    }
    alerts
}

proptest! {
    #![proptest_config(crate::worlds(100))]

    #[test]
    fn parts_of_any_size_give_the_same_alerts(
        records in vec(any_record(), 1..25),
        size in 1..9_usize,
        facts_at_once in 0..8_usize,
    ) {
        let selection = Selection::default();
        let whole = run(&records, &RULES_WITHOUT_SEEN, Some(&POLICY));
        let pipeline = |facts_at_once| Pipeline {
            lookback: LOOKBACK,
            facts_at_once,
            ..Pipeline::new(&RULES_WITHOUT_SEEN, Some(&POLICY), &selection)
        };
        let batch = || scan_result(&records, &RULES_WITHOUT_SEEN);
        let few = outcomes(&pipeline(facts_at_once), batch(), size);
        prop_assert_eq!(alert_ids(&few), alert_ids(std::slice::from_ref(&whole)));
        let accesses: Vec<_> = few.iter().flat_map(|o| o.accesses.clone()).collect();
        prop_assert_eq!(ledger(&accesses), ledger(&whole.accesses));
        // And say the same, whatever is in memory when their windows are read.
        let all = outcomes(&pipeline(usize::MAX), batch(), size);
        prop_assert_eq!(alerts(&few), alerts(&all));
    }

    #[test]
    fn facts_that_are_read_in_parts_give_the_same_alerts_about_what_is_new(
        records in vec(any_record(), 1..25),
        facts_at_once in 0..8_usize,
    ) {
        let selection = Selection::default();
        let pipeline = |facts_at_once| Pipeline {
            lookback: LOOKBACK,
            facts_at_once,
            ..Pipeline::new(&RULES, Some(&POLICY), &selection)
        };
        let batch = || scan_result(&records, &RULES);
        let few = outcomes(&pipeline(facts_at_once), batch(), usize::MAX);
        let all = outcomes(&pipeline(usize::MAX), batch(), usize::MAX);
        prop_assert_eq!(alerts(&few), alerts(&all));
    }
}

#[test]
fn more_reads_than_an_alert_is_built_from_at_once_are_all_counted() {
    let selection = Selection::default();
    let count = 5_000;
    let records: Vec<_> = (0..count)
        .map(|n| {
            read(
                &format!("r{n:05}"),
                "app",
                n % 300,
                &format!("s{}", n % 130),
            )
        })
        .collect();
    let pipeline = |facts_at_once| Pipeline {
        facts_at_once,
        ..Pipeline::new(&RULES_WITHOUT_SEEN, None, &selection)
    };
    let batch = || scan_result(&records, &RULES_WITHOUT_SEEN);
    let few = outcomes(&pipeline(100), batch(), 512);
    let all = outcomes(&pipeline(usize::MAX), batch(), 512);
    assert_eq!(alerts(&few), alerts(&all));
    let largest = few.iter().flat_map(|outcome| &outcome.alerts);
    let counts = largest.filter_map(|alert| Some(alert.window_match.as_ref()?.count));
    assert!(
        counts.max() > Some(100),
        "a window has more than are read at once"
    );
}
