//! Cost grows with the input and not with its square, whatever one actor does.
//!
//! Cost is the number of bytes that are asked of the allocator: the same in every run, on every
//! machine. Ten times the input may cost eleven times as much. A loop that allocates nothing is not
//! seen by this; nearly all of ours do, for what they collect.
//!
//! To add a shape of input: a function that makes it, of any size, and what to do with it. Its size
//! is best one like 600: 600 and 6,000 things fill buffers that double by about as much.

use std::{
    alloc::{GlobalAlloc, Layout, System},
    cell::Cell,
    fmt::Write as _,
    sync::Arc,
};

use secretrail_engine::{
    access::Access,
    baseline::{BaselineOptions, propose},
    extract_file::{ExtractFileReader, ExtractHeader},
    lineage::{
        origin::{KeyUse, SessionOrigins},
        search::LineageSearch,
    },
    rule::{RuleSet, load::load},
    scan::ScanResult,
    selection::Selection,
};
use serde_json::{Value, json};
use test_support::{denied, pack, read, run, run_scanned, scan_result, secret_arn};

/// What ten times the input may cost. Tables grow by doubling, which is up to a fifth more at one
/// number than at another.
const MOST: u64 = 12;

thread_local! {
    /// Bytes that this thread has asked for: tests run side by side.
    static BYTES: Cell<u64> = const { Cell::new(0) };
}

/// The allocator of the system, with a count of the bytes.
struct CountingAllocator;

#[global_allocator]
static COUNTING: CountingAllocator = CountingAllocator;

fn count(bytes: usize) {
    // A thread that ends has no count any more.
    BYTES
        .try_with(|count| count.set(count.get() + bytes as u64))
        .ok();
}

#[expect(
    unsafe_code,
    reason = "an allocator is unsafe; this one only counts, and leaves the rest to the system's"
)]
// SAFETY: every call is passed on as it is.
unsafe impl GlobalAlloc for CountingAllocator {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count(layout.size());
        // SAFETY: the caller keeps the contract of `alloc`.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, place: *mut u8, layout: Layout) {
        // SAFETY: the place comes from `System`, with this layout.
        unsafe { System.dealloc(place, layout) }
    }

    unsafe fn realloc(&self, place: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        count(size);
        // SAFETY: the place comes from `System`, with this layout.
        unsafe { System.realloc(place, layout, size) }
    }
}

/// The bytes that some work asks for.
fn cost<T>(work: impl FnOnce() -> T) -> u64 {
    let before = BYTES.get();
    let result = work();
    let cost = BYTES.get() - before;
    drop(result);
    cost
}

/// Checks that work on ten times the input costs at most [`MOST`] times as much; gives the cost of
/// the smaller input. Making the input costs nothing.
fn linear<I, T>(size: usize, input: impl Fn(usize) -> I, work: impl Fn(&I) -> T) -> u64 {
    let (one, ten) = (input(size), input(10 * size));
    // What is made once, for all inputs.
    work(&one);
    let (one, ten) = (cost(|| work(&one)), cost(|| work(&ten)));
    assert!(
        ten <= MOST * one,
        "{size} cost {one} bytes, ten times as many {ten}: {} times as much",
        ten / one.max(1)
    );
    one
}

fn secs(index: usize) -> i64 {
    i64::try_from(index).unwrap()
}

/// Scanning takes the observations, so that they are copied before; each is one pointer.
fn pipeline(scanned: &ScanResult, rules: &RuleSet) -> usize {
    let observations = scanned.observations.clone();
    let batch = ScanResult {
        observations,
        ..ScanResult::default()
    };
    let outcome = run_scanned(batch, rules);
    outcome.accesses.len() + outcome.alerts.len()
}

#[test]
fn copies_of_one_shared_event() {
    let rules = pack();
    let copies = |size: usize| {
        let copy = |n: usize| {
            let mut copy = read(&format!("e{n}"), "app", 0, &secret_arn("db"));
            copy["sharedEventID"] = json!("shared");
            copy
        };
        scan_result(&(0..size).map(copy).collect::<Vec<Value>>(), &rules)
    };
    linear(600, copies, |scanned| pipeline(scanned, &rules));
}

/// Reads of one actor, each of another secret.
fn reads(size: usize, apart: impl Fn(usize) -> i64, rules: &RuleSet) -> ScanResult {
    let read = |n: usize| read(&format!("e{n}"), "app", apart(n), &format!("prod/s{n}"));
    scan_result(&(0..size).map(read).collect::<Vec<Value>>(), rules)
}

#[test]
fn reads_of_one_actor_in_one_second() {
    let rules = pack();
    let input = |size| reads(size, |_| 0, &rules);
    linear(600, input, |scanned| pipeline(scanned, &rules));
}

#[test]
fn reads_of_one_actor_in_one_window() {
    let rules = pack();
    let input = |size| reads(size, |n| secs(n) / 20, &rules);
    linear(600, input, |scanned| pipeline(scanned, &rules));
}

#[test]
fn refusals_of_one_actor_in_one_window() {
    let rules = pack();
    let input = |size: usize| {
        let denied = |n: usize| denied(&format!("e{n}"), "app", secs(n) / 20, &format!("s{n}"));
        scan_result(&(0..size).map(denied).collect::<Vec<Value>>(), &rules)
    };
    linear(600, input, |scanned| pipeline(scanned, &rules));
}

/// A window rule over reads and the rules that it names.
fn window_rule(kind: &str, condition: &str) -> RuleSet {
    let rule = |id: &str| {
        format!(
            "title: {id}
id: {id}
logsource: {{product: aws, category: secret_access}}
detection: {{sel: {{access.outcome: success}}, condition: sel}}
---
"
        )
    };
    let text = format!(
        "{}{}title: window
id: window
correlation:
    type: {kind}
    rules: [one, two]
    group-by: [principal.arn]
    timespan: 1d
    {condition}
secretrail: {{suppress: 1d}}
",
        rule("one"),
        rule("two")
    );
    load([("r.yml", &*text)]).unwrap().0
}

#[test]
fn facts_of_one_group() {
    let conditions = [
        ("event_count", "condition: {gte: 50}"),
        ("value_count", "condition: {field: secret.name, gte: 50}"),
        ("temporal", ""),
        ("temporal_ordered", ""),
    ];
    for (kind, condition) in conditions {
        let rules = window_rule(kind, condition);
        let input = |size| reads(size, |n| secs(n) / 3, &rules);
        linear(600, input, |scanned| pipeline(scanned, &rules));
    }
}

/// Accesses of many roles, two secrets each of an application.
fn accesses(
    size: usize,
    role: impl Fn(usize) -> String,
    app: impl Fn(usize) -> usize,
) -> Vec<Arc<Access>> {
    let reads = (0..size).flat_map(|n| {
        // So seldom that they are no bulk read.
        let (who, at) = (role(n), secs(n) * 3_600);
        ["a", "b"].map(|key| {
            let secret = format!("prod/app{}/{key}", app(n));
            read(&format!("e{n}{key}"), &who, at, &secret)
        })
    });
    run(&reads.collect::<Vec<_>>(), &RuleSet::default(), None).accesses
}

#[test]
fn a_baseline_of_many_roles() {
    let roles: [fn(usize) -> String; 3] = [
        |n| format!("app{n}"),
        |n| format!("prod-app{n}"),
        |n| format!("team{}-app{n}", n / 4),
    ];
    let apps: [fn(usize) -> usize; 2] = [|n| n, |n| n % 3];
    for (role, app) in roles.iter().flat_map(|role| apps.map(|app| (role, app))) {
        let input = |size| accesses(size, role, app);
        linear(150, input, |accesses| {
            propose(accesses, None, BaselineOptions::default())
        });
    }
}

#[test]
fn a_baseline_of_one_role_that_reads_all() {
    let input = |size| accesses(size, |_| "app".to_owned(), |n| n);
    linear(300, input, |accesses| {
        propose(accesses, None, BaselineOptions::default())
    });
}

/// A rule about secrets with so many values.
fn rule_with_values(modifier: &str, size: usize, form: &str) -> String {
    let mut text = format!(
        "title: T
id: t
logsource: {{product: aws, category: secret_access}}
detection:
    sel:
        secret.name{modifier}:
"
    );
    for n in 0..size {
        let value = form.replace('N', &format!("{n:06}"));
        writeln!(text, "            - '{value}'").unwrap();
    }
    text + "    condition: sel\n"
}

/// Bytes that a value of a rule may cost while it is loaded: a regular expression takes 20,000.
const VALUE_BYTES: u64 = 6_000;

#[test]
fn long_lists_in_rules() {
    for (modifier, form) in [
        ("", "prod/appN/key"),
        ("", "prod/appN/*/key?"),
        ("", "*/appN-*"),
        ("|contains", "app*N"),
        ("|startswith", "prod/appN/"),
        ("|endswith|cased", "/appN"),
    ] {
        let size = 300;
        let rule = |size| rule_with_values(modifier, size, form);
        let loaded = |text: &String| load([("r.yml", text.as_str())]).unwrap().0;
        let one = linear(size, rule, loaded);
        let each = one / size as u64;
        assert!(each <= VALUE_BYTES, "{each} bytes for a value like {form}");
    }
}

/// An extract file without records, whose only object claims so many hours, some in a row.
fn claimed_hours(size: usize, in_a_row: usize) -> Vec<u8> {
    let header = ExtractHeader::new(&RuleSet::default(), &Selection::default());
    let hours: Vec<usize> = (0..size).map(|n| n + n / in_a_row).collect();
    let object = json!({
        "name": "a", "tag": "t", "in_tree": true, "delivered": null, "object_status": "read",
        "bytes": 1, "records": 2, "repaired": 0, "key_validations": 0, "skipped": {},
        "coverage": [["1", "r", hours]],
    });
    let lines = [
        json!(header),
        json!({"object": object}),
        json!({"end": {"objects": 1, "records": 0}}),
    ];
    let lines = lines.map(|line| format!("{line}\n"));
    lines.concat().into_bytes()
}

#[test]
fn hours_that_an_extract_file_claims() {
    let marks = |file: &Vec<u8>| {
        let reader = ExtractFileReader::new(&**file).unwrap().unwrap();
        let marks = reader.entries.iter().flat_map(|entry| entry.marks());
        marks.count()
    };
    linear(1_000, |size| claimed_hours(size, size), marks);
    linear(1_000, |size| claimed_hours(size, 12), marks);
    let years = claimed_hours(26_280, usize::MAX);
    let (bytes, found) = (years.len() as u64, marks(&years));
    // The line, with what a growing buffer costs; no hour takes memory of its own.
    assert!(cost(|| marks(&years)) < 4 * bytes);
    assert_eq!(found, 1);
}

#[test]
fn keys_that_were_issued_by_sessions_in_a_row() {
    let rules = RuleSet::default().with_issues();
    let calls = |size: usize| {
        let call = |n: usize| {
            let mut caller = test_support::role("app");
            caller["accessKeyId"] = json!(format!("ASIA{n}"));
            let mut call = test_support::record(
                &format!("e{n}"),
                &caller,
                secs(n),
                "sts",
                "AssumeRole",
                json!({"roleArn": "arn:aws:iam::111122223333:role/app"}),
            );
            let key = format!("ASIA{}", n + 1);
            call["responseElements"] = json!({"credentials": {"accessKeyId": key}});
            call
        };
        let keys = (0..size).map(|n| format!("ASIA{n}"));
        let keys: Vec<KeyUse> = keys
            .map(|key| KeyUse {
                key: key.into(),
                principal: None,
            })
            .collect();
        (keys, (0..size).map(call).collect::<Vec<Value>>())
    };
    linear(600, calls, |(uses, records)| {
        let issues = scan_result(records, &rules).issues;
        let mut search = LineageSearch::new(uses.iter().map(|used| used.key.clone()));
        while search.is_open() {
            issues.iter().cloned().for_each(|issue| search.add(issue));
            search.end_pass();
        }
        SessionOrigins::of(uses, &search).total
    });
}
