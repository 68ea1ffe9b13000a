//! Listings of organisations in memory: what is found, in which order, and by how many requests.

use std::sync::atomic::Ordering;

use super::*;
use crate::input::store::MemoryStore;

/// Regions of the organisation of the tests.
const REGIONS: [&str; 17] = [
    "ap-northeast-1",
    "ap-northeast-2",
    "ap-northeast-3",
    "ap-south-1",
    "ap-southeast-1",
    "ap-southeast-2",
    "ca-central-1",
    "eu-central-1",
    "eu-north-1",
    "eu-west-1",
    "eu-west-2",
    "eu-west-3",
    "sa-east-1",
    "us-east-1",
    "us-east-2",
    "us-west-1",
    "us-west-2",
];

fn key(account: usize, region: &str, day: (usize, usize), number: usize) -> String {
    let account = format!("{:012}", 111_122_223_333 + account);
    let (month, day) = day;
    format!(
        "trail/AWSLogs/o-example1234/{account}/CloudTrail/{region}/2026/{month:02}/{day:02}/\
         {account}_CloudTrail_{region}_2026{month:02}{day:02}T10{number:02}Z_a.json.gz"
    )
}

fn selection(from: &str, to: &str) -> Selection {
    Selection {
        from: EventTime::parse(from),
        to: EventTime::parse(to),
        ..Selection::default()
    }
}

/// Account, month and key of what a listing gives.
fn listed(store: &MemoryStore, prefix: &str, selection: &Selection) -> Vec<(String, i32, String)> {
    let mut found = Vec::new();
    let before = store.pages.load(Ordering::Relaxed);
    let listing = LogListing::new(store, "logs", selection);
    listing
        .list::<()>(prefix, &mut |account, log| {
            found.push((account.to_owned(), log.month, log.listed.item.key));
            Ok(())
        })
        .unwrap_or_else(|_| panic!("the listing failed"));
    let pages = store.pages.load(Ordering::Relaxed) - before;
    assert_eq!(listing.requests(), pages as u64);
    found
}

fn store(keys: impl IntoIterator<Item = String>) -> MemoryStore {
    let store = MemoryStore::default();
    for key in keys {
        store.put("logs", &key, Vec::new()).unwrap();
    }
    store
}

#[test]
fn half_a_million_objects_with_dates_take_less_than_a_thousand_requests() {
    // Four accounts, seventeen regions, a year: twenty files a day and region, and as many before
    // and after the year that is asked for.
    let mut keys = Vec::new();
    let days = (1..=12).flat_map(|month| (1..=28).map(move |day| (month, day)));
    for day in days {
        for account in 0..4 {
            for region in REGIONS {
                keys.extend((0..22).map(|number| key(account, region, day, number)));
            }
        }
    }
    let wanted = keys.len();
    assert!(wanted > 500_000, "{wanted}");
    let outside = keys.iter().step_by(40).flat_map(|key| {
        let year = |year: &str| {
            key.replace("/2026/", year)
                .replace("_2026", year.replace('/', "_").get(..5).unwrap())
        };
        [year("/2024/"), year("/2028/")]
    });
    let outside: Vec<String> = outside.collect();
    let store = store(keys.into_iter().chain(outside));
    let found = listed(
        &store,
        "",
        &selection("2026-01-01T00:00:00Z", "2027-01-01T00:00:00Z"),
    );
    assert_eq!(found.len(), wanted);
    let requests = store.pages.load(Ordering::Relaxed);
    assert!(requests <= 1_000, "{requests} requests");
    // By account, then by month, each once.
    let groups = found.chunk_by(|a, b| (&a.0, a.1) == (&b.0, b.1));
    let mut names: Vec<_> = groups.map(|group| (&group[0].0, group[0].1)).collect();
    assert_eq!(names.len(), 48);
    assert!(names.is_sorted());
    names.dedup();
    assert_eq!(names.len(), 48);
}

#[test]
fn a_few_days_of_many_years_cost_a_few_requests() {
    let day = |month: usize, day: usize| {
        (0..50).map(move |number| key(0, "eu-west-1", (month, day), number))
    };
    let keys = (1..=12).flat_map(|month| (1..=28).flat_map(move |number| day(month, number)));
    let store = store(keys);
    let week = selection("2026-03-05T12:00:00Z", "2026-03-06T00:00:00Z");
    let found = listed(&store, "trail/", &week);
    // Deliveries of the day before belong to it, those of the day after may be late.
    let late = found.iter().all(|(_, _, key)| key.contains("/2026/03/06/"));
    assert!(late, "{found:?}");
    assert_eq!(found.len(), 50, "the hour of the fifth is before noon");
    let requests = store.pages.load(Ordering::Relaxed);
    assert!(
        requests <= 7,
        "{requests} requests for five folders and one page"
    );
}

#[test]
fn every_layout_is_found_whole_and_once() {
    let account = "111122223333";
    let file = format!("{account}_CloudTrail_eu-west-1_20260302T1000Z_a.json.gz");
    let day = format!("{account}/CloudTrail/eu-west-1/2026/03/02/{file}");
    let mut keys = vec![
        format!("AWSLogs/{day}"),
        format!("AWSLogs/o-example1234/{day}"),
        format!("o-example1234/AWSLogs/o-example1234/{day}"),
        format!("team/trails/AWSLogs/{day}"),
        format!("lake/region=eu-west-1/accountId={account}/eventDay=20260302/a.gz.parquet"),
        "exports/2026/03/02/10/firehose-1".to_owned(),
        "exports/2026/03/03/10/firehose-2".to_owned(),
        "a.json".to_owned(),
        "flat/b.json".to_owned(),
    ];
    let all = keys.len();
    let others = [
        format!("AWSLogs/{account}/CloudTrail-Digest/eu-west-1/2026/03/02/d.json.gz"),
        format!("AWSLogs/{account}/Config/eu-west-1/2026/3/2/c.json.gz"),
        "flat/readme.md".to_owned(),
        "flat/secretrail-1.extract.jsonl.gz".to_owned(),
    ];
    let store = store(keys.iter().cloned().chain(others));
    let mut found: Vec<String> = listed(&store, "", &Selection::default())
        .into_iter()
        .map(|(_, _, key)| key)
        .collect();
    found.sort();
    keys.sort();
    assert_eq!(found, keys);
    assert_eq!(found.len(), all);
    let one = listed(
        &store,
        &format!("AWSLogs/{account}/CloudTrail/eu-west-1/2026/"),
        &Selection::default(),
    );
    assert_eq!(one.len(), 1);
    assert_eq!(one[0].0, account);
    let only = Selection {
        accounts: vec!["444455556666".to_owned()],
        ..Selection::default()
    };
    let named = listed(&store, "AWSLogs/", &only);
    assert!(named.is_empty(), "{named:?}");
}

#[test]
fn a_bucket_that_cannot_be_listed_ends_the_listing() {
    let (store, selection) = (crate::input::store::NoObjectStore, Selection::default());
    let listing = LogListing::new(&store, "logs", &selection);
    let end = listing.list::<()>("", &mut |_, _| Ok(()));
    assert!(matches!(end, Err(ListingEnd::Store(StoreError::NotNamed))));
    // So does a receiver that fails, with listers that wait for it.
    let many = (0..3_000).map(|number| {
        key(
            0,
            "eu-west-1",
            (1 + number / 1_000, 1 + number % 28),
            number,
        )
    });
    let store = self::store(many);
    let listing = LogListing::new(&store, "logs", &selection);
    let end = listing.list("", &mut |_, _| Err("full"));
    assert!(matches!(end, Err(ListingEnd::Receiver("full"))));
}
