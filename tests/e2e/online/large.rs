//! More than fits into memory: files with many reads by one actor, within the memory that the
//! template gives the function.

use std::collections::BTreeMap;

use e2e::secret_arn;

use super::*;

/// Time of an invocation. In tests the function is built without optimisation.
const LONG: Duration = Duration::from_secs(900);

/// Reads of one file: more than two hundred thousand take minutes, and show the same.
fn reads_of_a_file() -> usize {
    let asked = std::env::var("SECRETRAIL_TEST_READS").ok();
    asked.and_then(|reads| reads.parse().ok()).unwrap_or(60_000)
}

/// A file with so many reads of 150 secrets by one actor in five minutes, in no order.
fn reads(shop: &Shop, name: &str, count: usize) -> Value {
    let of = |number: usize| {
        let secs = i64::try_from(number * 7_919 % 300).unwrap();
        let secret = secret_arn(&format!("s{}", number % 150));
        read(&format!("{name}-{number}"), "thief", secs, &secret)
    };
    let records: Vec<Value> = (0..count).map(of).collect();
    let text = json!({"Records": records}).to_string();
    shop.put(name, &packed(text.as_bytes()))
}

/// The most accesses that the published alerts of one rule count together.
fn most_accesses(shop: &Shop) -> u64 {
    let published = shop.deployment.published();
    let mut counted: BTreeMap<String, u64> = BTreeMap::new();
    for messages in published.values() {
        let totals = messages.iter();
        let largest = totals.filter_map(|alert| alert["accesses_total"].as_u64().zip(Some(alert)));
        if let Some((total, alert)) = largest.max_by_key(|(total, _)| *total) {
            *counted.entry(alert["rule"]["id"].to_string()).or_default() += total;
        }
    }
    counted.into_values().max().unwrap_or_default()
}

fn invoked(function: &Function, event: &Value) -> Value {
    match function.invoke(event, LONG) {
        Ended::Answer(answer) => answer,
        other => panic!("{other:?}: {:?}", function.log().last()),
    }
}

/// Sweeps as often as the schedule does, until nothing is due. Gives the number of sweeps.
fn sweep_all(function: &Function) -> usize {
    std::thread::sleep(Duration::from_millis(2_100));
    for number in 1..100 {
        invoked(function, &json!({"secretrail": "sweep"}));
        if metric(
            &function.log().split_off(function.log().len() - 1),
            "DueAge",
        ) == 0.0
        {
            return number;
        }
    }
    panic!("it is still due: {:?}", function.log().last());
}

fn peak_mib(function: &Function) -> u64 {
    function.peak_bytes() / 1024 / 1024
}

#[test]
fn a_file_with_any_number_of_reads_by_one_actor_is_worked_in_parts() {
    let shop = Shop::open();
    let function = shop.start(&[]);
    let count = reads_of_a_file();
    let message = reads(&shop, "theft.json.gz", count);
    let answer = invoked(&function, &batch(vec![message]));
    assert_eq!(back(&answer), [""; 0], "it is acknowledged");
    let arrived = peak_mib(&function);
    let log = function.log();
    assert_eq!(metric(&log, "Observations"), count as f64);
    let stored = most_accesses(&shop);
    assert_eq!(stored, count as u64, "the alerts of a rule count all reads");
    let sweeps = sweep_all(&function);
    let peak = peak_mib(&function);
    assert_eq!(metric(&function.log(), "Reads"), count as f64, "each once");
    assert!(
        peak < MEMORY_MIB,
        "{count} reads: {arrived} MiB, then {peak} MiB in {sweeps} sweeps"
    );
}

#[test]
fn ten_large_files_in_one_batch_are_worked_in_parts() {
    let shop = Shop::open();
    let function = shop.start(&[]);
    let count = reads_of_a_file() / 10;
    let messages = (0..10).map(|number| reads(&shop, &format!("part-{number}.json.gz"), count));
    let answer = invoked(&function, &batch(messages.collect()));
    assert_eq!(back(&answer), [""; 0]);
    let peak = peak_mib(&function);
    assert_eq!(metric(&function.log(), "Observations"), 10.0 * count as f64);
    sweep_all(&function);
    assert_eq!(
        metric(&function.log(), "Reads"),
        10.0 * count as f64,
        "each once"
    );
    assert!(peak < MEMORY_MIB, "ten files of {count} reads: {peak} MiB");
}
