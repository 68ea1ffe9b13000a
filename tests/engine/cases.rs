//! The cases of `tests/cases` through the engine.

use secretrail_engine::access::json_v1::AccessV1;
use secretrail_engine::alert::json_v1;
use secretrail_engine::object::origin;
use secretrail_engine::pipeline::{Outcome, Pipeline};
use secretrail_engine::policy::Policy;
use secretrail_engine::rule::RuleSet;
use secretrail_engine::scan::{Harvest, Input, Scanner};
use secretrail_engine::selection::Selection;
use secretrail_engine::state::memory::MemoryStore;
use serde_json::Value;
use test_support::cases::{self, Case};
use test_support::{afterwards, pack};

/// Everything that a case holds, as one batch, long after its time.
fn outcome(case: &Case, rules: &RuleSet, policy: Option<&Policy>) -> Outcome {
    let selection = Selection::default();
    let mut scanner = Scanner::new(rules, &selection);
    let mut harvest = Harvest::default();
    for path in cases::files(&case.input()) {
        let name = path.strip_prefix(&case.folder).unwrap().to_str().unwrap();
        let bytes = std::fs::read(&path).unwrap();
        scanner
            .read(Input::Bytes(&bytes), &origin(name), false, &mut harvest)
            .unwrap();
    }
    let pipeline = Pipeline::new(rules, policy, &selection);
    pollster::block_on(pipeline.run(&MemoryStore::default(), harvest, afterwards())).unwrap()
}

#[test]
fn every_case_gives_its_ledger() {
    for case in cases::all() {
        let found: Vec<Value> = outcome(&case, &RuleSet::default(), None)
            .accesses
            .iter()
            .map(|access| serde_json::to_value(AccessV1::from(&**access)).unwrap())
            .collect();
        case.check("ledger.jsonl", &found);
    }
}

#[test]
fn every_case_gives_its_alerts() {
    let rules = pack();
    for case in cases::all() {
        let policy: Option<Policy> = case
            .policy()
            .map(|path| std::fs::read_to_string(path).unwrap().parse().unwrap());
        let found: Vec<Value> = outcome(&case, &rules, policy.as_ref())
            .alerts
            .iter()
            .map(|alert| serde_json::from_str(&json_v1::within(alert, usize::MAX)).unwrap())
            .collect();
        case.check("alerts.jsonl", &found);
    }
}
