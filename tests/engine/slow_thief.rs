//! A thief who is active, slowly, while a baseline is learned: each way is held back or marked, and
//! the ordinary traffic beside it has no remark.

use secretrail_engine::{
    baseline::{BaselineOptions, PolicyProposal, propose_beside},
    pipeline::Pipeline,
    selection::Selection,
    state::memory::MemoryStore,
};
use serde_json::{Value, json};
use test_support::{ACCOUNT, DAY, at, decrypt_secret, pack, read, scan_result};

const DAYS: i64 = 24;
const OTHER: &str = "999988887777";

/// A read and its Decrypt, by a role of which everything is as usual.
fn call(id: &str, who: &str, secs: i64, secret: &str) -> [Value; 2] {
    let mut read = read(id, who, secs, secret);
    let mut decrypt = decrypt_secret(&format!("{id}-kms"), who, secs, secret);
    let session = json!(format!("arn:aws:sts::{ACCOUNT}:assumed-role/{who}/i-0abc"));
    for record in [&mut read, &mut decrypt] {
        record["userIdentity"]["accessKeyId"] = json!(format!("ASIA{who}EXAMPLE"));
        record["userIdentity"]["arn"] = session.clone();
        record["userIdentity"]["principalId"] = json!(format!("AROA{who}:i-0abc"));
    }
    read["sourceIPAddress"] = json!(format!("10.20.{}.31", &who[3..]));
    read["userAgent"] = json!("Boto3/1.36.2 md/Botocore#1.36.2");
    [read, decrypt]
}

/// Six roles that read their own secret three times a day.
fn ordinary() -> Vec<Value> {
    let mut records = Vec::new();
    for n in 0..6 {
        let who = format!("app{n}");
        for read in 0..DAYS * 3 {
            let secs = read / 3 * DAY + read % 3 * 2_400 + n * 60;
            let id = format!("{who}-{read}");
            records.extend(call(&id, &who, secs, &format!("prod/{who}/db")));
        }
    }
    records
}

/// What the thief changes in a read, or in its Decrypt.
type Change = fn(&mut Value);

fn nothing(_: &mut Value) {}

/// Reads with what is new in them, by `app0`, on these days.
fn by_app0(days: impl Iterator<Item = i64>, change: Change, change_kms: Change) -> Vec<Value> {
    let reads = days.flat_map(|day| {
        let id = format!("thief-{day}");
        let [mut read, mut decrypt] = call(&id, "app0", day * DAY + 5_000, "prod/app0/db");
        change(&mut read);
        change_kms(&mut decrypt);
        [read, decrypt]
    });
    reads.collect()
}

/// Every second day, through all of the history.
fn slowly(change: Change, change_kms: Change) -> Vec<Value> {
    by_app0((0..DAYS).step_by(2), change, change_kms)
}

fn from_elsewhere(read: &mut Value) {
    read["sourceIPAddress"] = json!("203.0.113.77");
}

fn by_command_line(read: &mut Value) {
    read["userAgent"] = json!("aws-cli/2.24.5 md/awscrt#0.23.8");
}

fn in_brazil(record: &mut Value) {
    *record = serde_json::from_str(&record.to_string().replace("eu-west-1", "sa-east-1")).unwrap();
}

fn by_ann(record: &mut Value) {
    *record = serde_json::from_str(&record.to_string().replace("i-0abc", "ann")).unwrap();
}

fn by_ann_of_a_federation(record: &mut Value) {
    let text = record.to_string().replace("i-0abc", "ann@corp.example");
    *record = serde_json::from_str(&text).unwrap();
}

fn foreign_endpoint(read: &mut Value) {
    read["vpcEndpointId"] = json!("vpce-0feed");
    read["vpcEndpointAccountId"] = json!(OTHER);
}

fn foreign_key(decrypt: &mut Value) {
    let arn = format!("arn:aws:kms:eu-west-1:{OTHER}:key/k");
    decrypt["resources"] = json!([{"type": "AWS::KMS::Key", "ARN": arn}]);
}

fn second_key(decrypt: &mut Value) {
    let arn = format!("arn:aws:kms:eu-west-1:{ACCOUNT}:key/second");
    decrypt["resources"] = json!([{"type": "AWS::KMS::Key", "ARN": arn}]);
}

fn foreign_reader() -> Vec<Value> {
    let mut records = slowly(nothing, nothing);
    for record in &mut records {
        let identity = &mut record["userIdentity"];
        identity["arn"] = json!(format!("arn:aws:sts::{OTHER}:assumed-role/vendor/i-0abc"));
        identity["accountId"] = json!(OTHER);
        identity["sessionContext"] = json!({});
    }
    records
}

fn at_night() -> Vec<Value> {
    let days = (0..DAYS).step_by(2);
    let reads = days.flat_map(|day| {
        let secs = day * DAY + 17 * 3_600;
        call(&format!("night-{day}"), "app0", secs, "prod/app0/db")
    });
    reads.collect()
}

fn one_secret_more_each_week() -> Vec<Value> {
    let later = [(8, "prod/app0/a"), (15, "prod/app0/b")];
    let reads = later.into_iter().flat_map(|(from, secret)| {
        (from..DAYS)
            .step_by(2)
            .flat_map(move |day| call(&format!("{secret}-{day}"), "app0", day * DAY + 900, secret))
    });
    reads.collect()
}

fn secrets_of_another_team() -> Vec<Value> {
    let reads = (0..DAYS).step_by(2).flat_map(|day| {
        call(
            &format!("team-{day}"),
            "app0",
            day * DAY + 900,
            "prod/app1/db",
        )
    });
    reads.collect()
}

/// A user with a second access key.
fn borrowed_access_key() -> Vec<Value> {
    let reads = (0..DAYS * 2).flat_map(|n| {
        let secs = n / 2 * DAY + n % 2 * 900;
        let mut records = call(&format!("user-{n}"), "app0", secs, "prod/ci/key");
        for record in &mut records {
            let identity = &mut record["userIdentity"];
            identity["type"] = json!("IAMUser");
            identity["arn"] = json!(format!("arn:aws:iam::{ACCOUNT}:user/ci"));
            identity["userName"] = json!("ci");
            identity["principalId"] = json!("AIDACI");
            identity["sessionContext"] = json!({});
            identity["accessKeyId"] = json!(if n % 4 == 1 {
                "AKIABORROWEDEXAMPLE"
            } else {
                "AKIAUSUALEXAMPLE"
            });
        }
        records
    });
    reads.collect()
}

/// Public addresses: one is used always, the other now and then.
fn from_one_provider(other: &'static str) -> Vec<Value> {
    let reads = (0..DAYS * 3).flat_map(|n| {
        let secs = n / 3 * DAY + n % 3 * 900;
        let mut records = call(&format!("web-{n}"), "web7", secs, "prod/web/key");
        let address = if n % 6 == 0 { other } else { "198.51.100.10" };
        if let Some(read) = records.first_mut() {
            read["sourceIPAddress"] = json!(address);
        }
        records
    });
    reads.collect()
}

fn new_reader_on_the_last_day() -> Vec<Value> {
    let reads = (0..50).flat_map(|n| {
        let secs = (DAYS - 1) * DAY + 6_000 + n * 60;
        call(&format!("late-{n}"), "new9", secs, "prod/app0/db")
    });
    reads.collect()
}

fn proposed(more: Vec<Value>) -> PolicyProposal {
    let mut records = ordinary();
    records.extend(more);
    let (rules, selection) = (pack(), Selection::default());
    // The memory of the tests is too short for weeks.
    let pipeline = Pipeline::new(&rules, None, &selection);
    let batch = scan_result(&records, &rules);
    let store = MemoryStore::default();
    let found = pollster::block_on(pipeline.run(&store, batch, at(60 * DAY))).unwrap();
    let options = BaselineOptions::default();
    propose_beside(&found.alerts, &found.accesses, None, options)
}

/// The grants without their comments, and the remarks.
fn parts(proposal: &PolicyProposal) -> (String, String) {
    let text = proposal.to_yaml(None).unwrap();
    let grants: Vec<&str> = text
        .lines()
        .filter_map(|line| line.split('#').next())
        .collect();
    let marks: Vec<&str> = text
        .lines()
        .filter(|line| line.contains("# Check:"))
        .collect();
    (grants.join("\n"), marks.join("\n"))
}

#[test]
fn ordinary_traffic_has_no_remark() {
    let proposal = proposed(Vec::new());
    let (grants, marks) = parts(&proposal);
    let left_out = &proposal.left_out;
    assert_eq!(
        (proposal.grants.len(), &*marks),
        (6, ""),
        "{grants} {left_out:?}"
    );
    assert!(proposal.left_out.is_empty(), "{:?}", proposal.left_out);
}

#[test]
fn what_goes_on_slowly_beside_a_habit_is_marked() {
    let another_network = "12 of 84 reads from another network: 203.0.113.77";
    let program = "12 of 84 reads with another program: aws-cli";
    let stolen: Change = |read| {
        from_elsewhere(read);
        by_command_line(read);
    };
    for (way, records, mark) in [
        (
            "second source",
            slowly(from_elsewhere, nothing),
            another_network,
        ),
        ("stolen session", slowly(stolen, nothing), another_network),
        ("and its program", slowly(stolen, nothing), program),
        ("second program", slowly(by_command_line, nothing), program),
        (
            "second region",
            slowly(in_brazil, in_brazil),
            "reads in another region: sa-east-1",
        ),
        (
            "second key",
            slowly(nothing, second_key),
            "reads with another KMS key: ",
        ),
        (
            "foreign key",
            slowly(nothing, foreign_key),
            "KMS key of another account: 999988887777",
        ),
        (
            "foreign endpoint",
            slowly(foreign_endpoint, nothing),
            "VPC endpoint vpce-0feed of another account: 999988887777",
        ),
        (
            "foreign reader",
            foreign_reader(),
            "reads from another account: 999988887777",
        ),
        (
            "session",
            slowly(by_ann, by_ann),
            "12 of 84 reads by another session: ann",
        ),
        (
            "person",
            slowly(by_ann_of_a_federation, by_ann_of_a_federation),
            "read by a person",
        ),
        (
            "night",
            at_night(),
            "12 of 84 reads at other hours: 03:00 to 04:00 UTC",
        ),
        (
            "more secrets",
            one_secret_more_each_week(),
            "first read after its first week: prod/app0/a, prod/app0/b",
        ),
        (
            "another team",
            secrets_of_another_team(),
            "12 of 84 reads of another application's secrets: prod/app1/db",
        ),
        (
            "access key",
            borrowed_access_key(),
            "another access key: AKIABORROWEDEXAMPLE",
        ),
        (
            "same provider",
            from_one_provider("198.51.107.9"),
            "12 of 72 reads from another network: 198.51.107.9",
        ),
        (
            "neighbour",
            from_one_provider("198.51.100.99"),
            "12 of 72 reads from another network: 198.51.100.99",
        ),
    ] {
        let (grants, marks) = parts(&proposed(records));
        assert!(marks.contains(mark), "{way}: {marks}\n{grants}");
        assert!(marks.lines().count() <= 2, "{way}: {marks}");
    }
}

#[test]
fn what_is_new_and_named_or_late_is_held_back() {
    let last = DAYS - 1;
    for (way, records, held) in [
        // The first of them raises an alert.
        (
            "region",
            by_app0([19, 21].into_iter(), in_brazil, in_brazil),
            "sa-east-1",
        ),
        (
            "region, again",
            by_app0([10, 13, 16, 19].into_iter(), in_brazil, in_brazil),
            "sa-east-1",
        ),
        (
            "source",
            by_app0([10, 14, 18, 21].into_iter(), from_elsewhere, nothing),
            "203.0.113.77",
        ),
        (
            "late source",
            by_app0(last - 1..DAYS, from_elsewhere, nothing),
            "203.0.113.77",
        ),
        (
            "late key",
            by_app0(last..DAYS, nothing, second_key),
            "key/second",
        ),
        (
            "late endpoint",
            by_app0(last..DAYS, foreign_endpoint, nothing),
            "vpce-0feed",
        ),
        ("late reader", new_reader_on_the_last_day(), "role/new9"),
    ] {
        let proposal = proposed(records);
        let (grants, _) = parts(&proposal);
        assert!(!grants.contains(held), "{way}: {grants}");
        assert!(grants.contains("role/app0\""), "{way}: {grants}");
        assert!(!proposal.left_out.is_empty(), "{way}");
    }
}
