//! The cases of `tests/cases` through the engine.

use secretrail_engine::{
    access::json_v1::AccessV1,
    alert::json_v1,
    object::origin,
    pipeline::{BatchOutcome, Pipeline},
    policy::AccessPolicy,
    rule::RuleSet,
    scan::{ObjectScanner, ScanInput, ScanResult},
    selection::Selection,
    state::memory::MemoryStore,
};
use serde_json::Value;
use test_support::{
    afterwards,
    cases::{self, Case},
    pack,
};

/// Everything that a case holds, as one batch, long after its time.
fn outcome(case: &Case, rules: &RuleSet, policy: Option<&AccessPolicy>) -> BatchOutcome {
    let selection = Selection::default();
    let mut scanner = ObjectScanner::new(rules, &selection);
    let mut scan_result = ScanResult::default();
    for path in cases::files(&case.input()) {
        let name = path.strip_prefix(&case.folder).unwrap().to_str().unwrap();
        let bytes = std::fs::read(&path).unwrap();
        scanner
            .read(
                ScanInput::Bytes(&bytes),
                &origin(name),
                false,
                &mut scan_result,
            )
            .unwrap();
    }
    let pipeline = Pipeline::new(rules, policy, &selection);
    pollster::block_on(pipeline.run(&MemoryStore::default(), scan_result, afterwards())).unwrap()
}

#[test]
fn every_case_gives_its_ledger() {
    let faults = |case: &Case| {
        let accesses = outcome(case, &RuleSet::default(), None).accesses;
        let lines = accesses.iter().map(|access| AccessV1::from(&**access));
        let lines: Vec<Value> = lines
            .map(|line| serde_json::to_value(line).unwrap())
            .collect();
        case.faults_of_ledger(&lines)
    };
    cases::none(&cases::all().iter().filter_map(faults).collect::<Vec<_>>());
}

#[test]
fn every_case_gives_its_alerts() {
    let rules = pack();
    let faults = |case: &Case| {
        let policy = case
            .policy()
            .map(|path| std::fs::read_to_string(path).unwrap());
        let policy: Option<AccessPolicy> = policy.map(|text| text.parse().unwrap());
        let alerts = outcome(case, &rules, policy.as_ref()).alerts;
        let lines = alerts
            .iter()
            .map(|alert| json_v1::within(alert, usize::MAX));
        let lines: Vec<Value> = lines
            .map(|line| serde_json::from_str(&line).unwrap())
            .collect();
        case.faults_of_alerts(&lines)
    };
    cases::none(&cases::all().iter().filter_map(faults).collect::<Vec<_>>());
}
