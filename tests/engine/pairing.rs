//! The pairing against one that is too simple to be wrong: of all pairs that are left, take the
//! best, again and again.

use std::collections::BTreeSet;

use proptest::prelude::*;
use secretrail_engine::{access::Access, limits::PAIRING_TOLERANCE_SECS, rule::RuleSet};
use serde_json::{Value, json};
use test_support::{decrypt_secret, denied_by_key, read, record, role, run};

/// Who, which secret, when.
type Event = (u8, u8, i64);

fn brute_force(reads: &[Event], uses: &[Event]) -> BTreeSet<(usize, usize)> {
    let mut pairs = BTreeSet::new();
    let (mut reads_left, mut uses_left): (BTreeSet<usize>, BTreeSet<usize>) =
        ((0..reads.len()).collect(), (0..uses.len()).collect());
    loop {
        let fits = |r: usize, u: usize| {
            reads[r].0 == uses[u].0
                && reads[r].1 == uses[u].1
                && (reads[r].2 - uses[u].2).abs() <= PAIRING_TOLERANCE_SECS
        };
        let all = reads_left
            .iter()
            .flat_map(|r| uses_left.iter().map(move |u| (*r, *u)))
            .filter(|(r, u)| fits(*r, *u));
        let worth = |(r, u): &(usize, usize)| {
            (
                (reads[*r].2 - uses[*u].2).abs(),
                reads[*r].2.min(uses[*u].2),
                read_id(*r),
                use_id(*u),
            )
        };
        let Some((r, u)) = all.min_by_key(worth) else {
            return pairs;
        };
        pairs.insert((r, u));
        reads_left.remove(&r);
        uses_left.remove(&u);
    }
}

fn read_id(index: usize) -> String {
    format!("r{index:03}")
}

fn use_id(index: usize) -> String {
    format!("k{index:03}")
}

/// Who reads which secret when, and who uses the key of which.
fn records(reads: &[Event], uses: &[Event]) -> Vec<Value> {
    let read = |(index, (who, what, secs)): (usize, &Event)| {
        read(
            &read_id(index),
            &format!("app{who}"),
            *secs,
            &format!("s{what}"),
        )
    };
    let kms_decrypt = |(index, (who, what, secs)): (usize, &Event)| {
        decrypt_secret(
            &use_id(index),
            &format!("app{who}"),
            *secs,
            &format!("s{what}"),
        )
    };
    let reads = reads.iter().enumerate().map(read);
    reads
        .chain(uses.iter().enumerate().map(kms_decrypt))
        .collect()
}

/// A half of what a key denied: whether a parameter, which key if the message names one, when.
type DeniedHalf = (bool, Option<u8>, i64);

fn denied_half(record: Value, key: Option<u8>) -> Value {
    let mut half = denied_by_key(record, &format!("k{}", key.unwrap_or_default()));
    half["requestParameters"] = Value::Null;
    if key.is_none() {
        half["errorMessage"] = json!("The ciphertext refers to a customer master key that does");
    }
    half
}

fn denied_read((index, (parameter, key, secs)): (usize, &DeniedHalf)) -> Value {
    let (id, null) = (read_id(index), Value::Null);
    let read = if *parameter {
        record(&id, &role("app"), *secs, "ssm", "GetParameter", null)
    } else {
        read(&id, "app", *secs, "x")
    };
    denied_half(read, *key)
}

fn denied_use((index, (parameter, key, secs)): (usize, &DeniedHalf)) -> Value {
    let mut kms_decrypt = decrypt_secret(&use_id(index), "app", *secs, "x");
    if *parameter {
        kms_decrypt["userIdentity"]["invokedBy"] = json!("ssm.amazonaws.com");
    }
    denied_half(kms_decrypt, *key)
}

fn may_be_one((a_parameter, a_key, a_secs): DeniedHalf, b: DeniedHalf) -> bool {
    let same_key = a_key.zip(b.1).is_none_or(|(a, b)| a == b);
    a_parameter == b.0 && a_secs == b.2 && same_key
}

proptest! {
    #![proptest_config(crate::worlds(300))]

    #[test]
    fn denied_halves_that_can_join_do_each_once(
        reads in proptest::collection::vec((any::<bool>(), proptest::option::of(0_u8..2), 0_i64..3), 0..10),
        uses in proptest::collection::vec((any::<bool>(), proptest::option::of(0_u8..2), 0_i64..3), 0..10),
    ) {
        let records: Vec<_> = reads
            .iter()
            .enumerate()
            .map(denied_read)
            .chain(uses.iter().enumerate().map(denied_use))
            .collect();
        let rows = run(&records, &RuleSet::default(), None).accesses;
        prop_assert_eq!(rows.len(), reads.len(), "a denied Decrypt alone reveals nothing");
        let number = |id: &str| id[1..].parse::<usize>().unwrap();
        let mut left: BTreeSet<usize> = (0..uses.len()).collect();
        for row in &rows {
            prop_assert_eq!(row.head.denied_by.as_deref(), Some("kms_key"));
            let Some(used) = row.decrypt.event_id.as_deref().map(number) else { continue };
            prop_assert!(left.remove(&used), "taken once");
            prop_assert!(may_be_one(reads[number(&row.head.event_id)], uses[used]));
        }
        let alone = rows.iter().filter(|row| row.decrypt.event_id.is_none());
        for read in alone.map(|row| reads[number(&row.head.event_id)]) {
            prop_assert!(!left.iter().any(|used| may_be_one(read, uses[*used])));
        }
    }

    #[test]
    fn the_fast_pairing_is_the_simple_one(
        reads in proptest::collection::vec((0_u8..2, 0_u8..2, 0_i64..25), 0..14),
        uses in proptest::collection::vec((0_u8..2, 0_u8..2, 0_i64..25), 0..14),
    ) {
        let rows = run(&records(&reads, &uses), &RuleSet::default(), None).accesses;
        let number = |id: &str| id[1..].parse::<usize>().unwrap();
        let pair = |row: &Access| {
            Some((number(&row.head.event_id), number(row.decrypt.event_id.as_deref()?)))
        };
        let pairs: BTreeSet<_> = rows.iter().filter_map(|row| pair(row)).collect();
        prop_assert_eq!(rows.len(), reads.len() + uses.len() - pairs.len());
        prop_assert_eq!(pairs, brute_force(&reads, &uses));
    }
}
