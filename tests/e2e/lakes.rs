//! Logs in the forms of lakes: Parquet that DuckDB has written, tables of query results, archives.

use std::{io::Write, path::Path, process::Command};

use e2e::{local, secretrail};
use serde_json::Value;
use test_support::lakes::{examples, ocsf};

/// Writes OCSF events as Parquet, with the columns of Security Lake, and prints what DuckDB counts
/// in it: rows, and reads.
pub(crate) const SCRIPT: &str = r#"
import duckdb, json, sys
name = "name VARCHAR"
columns = {
  "class_uid": "INTEGER", "time": "BIGINT",
  "metadata": f"STRUCT(version VARCHAR, uid VARCHAR, event_code VARCHAR, product STRUCT({name}, version VARCHAR))",
  "cloud": "STRUCT(region VARCHAR, account STRUCT(uid VARCHAR))",
  "api": f"STRUCT(operation VARCHAR, service STRUCT({name}), request STRUCT(uid VARCHAR, data VARCHAR), "
         "response STRUCT(error VARCHAR, message VARCHAR))",
  "actor": f"STRUCT(\"user\" STRUCT(type VARCHAR, {name}, uid VARCHAR, uid_alt VARCHAR, credential_uid VARCHAR, "
           "account STRUCT(uid VARCHAR)), session STRUCT(issuer VARCHAR), invoked_by VARCHAR)",
  "src_endpoint": "STRUCT(ip VARCHAR, domain VARCHAR, uid VARCHAR)",
  "http_request": "STRUCT(user_agent VARCHAR)",
  "resources": "STRUCT(uid VARCHAR, type VARCHAR, account_uid VARCHAR)[]",
  "unmapped": "MAP(VARCHAR, VARCHAR)",
}
source, target = sys.argv[1:]
duckdb.sql(f"COPY (SELECT *, 'x' AS observables FROM read_json('{source}', columns={columns})) "
           f"TO '{target}' (FORMAT parquet, COMPRESSION zstd, ROW_GROUP_SIZE 500)")
print(json.dumps(duckdb.sql("SELECT count(*), count(*) FILTER (api.operation = 'GetSecretValue') "
                            f"FROM '{target}'").fetchall()[0]))
"#;

/// The accesses of logs, without the names of files.
fn accesses(path: &Path) -> Vec<String> {
    let printed = secretrail(&["accesses", path.to_str().unwrap(), "-f", "jsonl", "-q"]);
    assert_eq!(
        (printed.code, printed.stderr.as_str()),
        (0, ""),
        "{}",
        path.display()
    );
    let rows = printed.stdout.lines().map(|line| {
        let mut row: Value = serde_json::from_str(line).unwrap();
        row["object"] = Value::Null;
        row.to_string()
    });
    let mut rows: Vec<String> = rows.collect();
    rows.sort();
    rows
}

#[test]
fn parquet_of_security_lake_is_the_logs_and_duckdb_counts_the_same() {
    let folder = tempfile::tempdir().unwrap();
    let records = examples();
    let plain = folder.path().join("plain.json");
    std::fs::write(&plain, serde_json::json!({"Records": records}).to_string()).unwrap();
    let expected = accesses(&plain);
    assert!(expected.len() > 100);
    let partition = "lake/aws/CLOUD_TRAIL_MGMT/2.0/region=eu-west-1/accountId=111122223333";
    let partition = folder.path().join(partition).join("eventDay=20260302");
    std::fs::create_dir_all(&partition).unwrap();
    let source = folder.path().join("events.jsonl");
    let lines: Vec<String> = records
        .iter()
        .map(|record| ocsf(record, "1.1.0").to_string())
        .collect();
    std::fs::write(&source, lines.join("\n")).unwrap();
    let output = Command::new(local::duckdb())
        .args(["-c", SCRIPT])
        .args([&source, &partition.join("part-0.zstd.parquet")])
        .output()
        .unwrap();
    let complaint = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{complaint}");
    let counted: [usize; 2] = serde_json::from_slice(&output.stdout).unwrap();
    let lake = folder.path().join("lake");
    assert_eq!(accesses(&lake), expected);
    assert_eq!(accesses(&source), expected, "as JSON lines");
    let printed = secretrail(&["accesses", lake.to_str().unwrap(), "-f", "csv"]);
    let read = format!("read as: {} OCSF", with_commas(counted[0]));
    assert!(printed.stderr.contains(&read), "{read}: {}", printed.stderr);
    let reads = records
        .iter()
        .filter(|record| record["eventName"] == "GetSecretValue");
    assert_eq!((counted[0], counted[1]), (records.len(), reads.count()));
    // Folders of other days, accounts and regions are not opened.
    for other in [["--region", "eu-west-2"], ["--from", "2026-03-09"]] {
        let args = [&["accesses", lake.to_str().unwrap()][..], &other[..]].concat();
        let printed = secretrail(&args);
        assert_eq!(printed.code, 3, "{}", printed.stderr);
        assert!(
            printed.stderr.contains("nothing was read"),
            "{}",
            printed.stderr
        );
    }
}

fn with_commas(number: usize) -> String {
    match number {
        0..1_000 => number.to_string(),
        _ => format!("{},{:03}", number / 1_000, number % 1_000),
    }
}

/// An archive of two logs, each with an update of one event, by the times of their delivery.
fn updates(archive: &Path, first: &str, last: &str) {
    let update = |agent: &str| {
        let mut record = test_support::read("u", "app", 0, "prod/db");
        record["userAgent"] = agent.into();
        record["addendum"] = serde_json::json!({
            "reason": "UPDATED_DATA", "updatedFields": "userAgent", "originalEventID": "original",
        });
        record
    };
    let mut zip = zip::ZipWriter::new(std::fs::File::create(archive).unwrap());
    for (minute, agent) in [("1005", first), ("1010", last)] {
        let name = format!("111122223333_CloudTrail_eu-west-1_20260302T{minute}Z_aaaa.json");
        zip.start_file(name, zip::write::SimpleFileOptions::default())
            .unwrap();
        let log = serde_json::json!({"Records": [update(agent)]});
        zip.write_all(log.to_string().as_bytes()).unwrap();
    }
    zip.finish().unwrap();
}

#[test]
fn the_delivery_of_a_member_of_an_archive_survives_extraction() {
    let folder = tempfile::tempdir().unwrap();
    // Whichever has the greater digest: the one that was delivered last is kept.
    for (first, last) in [("one", "two"), ("two", "one")] {
        let (archive, extract) = (
            folder.path().join("logs.zip"),
            folder.path().join("extract"),
        );
        updates(&archive, first, last);
        let (from, to) = (archive.to_str().unwrap(), extract.to_str().unwrap());
        let printed = secretrail(&["extract", from, "-o", to, "-q"]);
        assert_eq!(printed.code, 0, "{}", printed.stderr);
        let rows = accesses(&archive);
        assert_eq!(rows.len(), 1);
        assert!(
            rows[0].contains(&format!("\"user_agent\":\"{last}\"")),
            "{}",
            rows[0]
        );
        assert_eq!(accesses(&extract), rows);
        std::fs::remove_dir_all(&extract).unwrap();
    }
}

#[test]
fn an_archive_of_logs_is_the_logs() {
    let folder = tempfile::tempdir().unwrap();
    let records = examples();
    let (first, rest) = records.split_at(records.len() / 2);
    let plain = folder.path().join("plain.json");
    std::fs::write(&plain, serde_json::json!({"Records": records}).to_string()).unwrap();
    let archive = folder.path().join("logs.zip");
    let mut zip = zip::ZipWriter::new(std::fs::File::create(&archive).unwrap());
    let options = zip::write::SimpleFileOptions::default();
    zip.start_file("a.json", options).unwrap();
    zip.write_all(serde_json::json!({"Records": first}).to_string().as_bytes())
        .unwrap();
    zip.start_file("below/b.jsonl.gz", options).unwrap();
    let lines: Vec<String> = rest
        .iter()
        .map(|record| ocsf(record, "1.5.0").to_string())
        .collect();
    zip.write_all(&test_support::packed(lines.join("\n").as_bytes()))
        .unwrap();
    zip.finish().unwrap();
    assert_eq!(accesses(&archive), accesses(&plain));
    // What is no archive says so.
    std::fs::write(&archive, b"PK\x03\x04 and no more").unwrap();
    let printed = secretrail(&["accesses", archive.to_str().unwrap(), "-q"]);
    assert_eq!(printed.code, 3);
    assert!(printed.stderr.contains("logs.zip: "), "{}", printed.stderr);
}

#[test]
fn databases_of_places_name_country_and_provider() {
    let folder = tempfile::tempdir().unwrap();
    let file = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
    let (logs, countries, systems) = (file("a.json"), file("c.mmdb"), file("s.mmdb"));
    let mut records = Vec::new();
    for (day, ip) in [("02", "198.51.100.7"), ("13", "203.0.113.9")] {
        let mut record = test_support::read(&format!("r{day}"), "app", 0, "prod/db");
        record["eventTime"] = format!("2026-03-{day}T10:00:00Z").into();
        record["sourceIPAddress"] = ip.into();
        records.push(record);
    }
    std::fs::write(&logs, serde_json::json!({"Records": records}).to_string()).unwrap();
    let of = |code: &str| serde_json::json!({"country": {"iso_code": code}});
    let nets = [("198.51.100.0/24", of("NL")), ("203.0.113.0/24", of("DE"))];
    std::fs::write(
        &countries,
        test_support::mmdb::mmdb("GeoLite2-Country", &nets),
    )
    .unwrap();
    let org = serde_json::json!({"autonomous_system_number": 64_500,
        "autonomous_system_organization": "Example Hosting"});
    let nets = [("203.0.113.0/24", org)];
    std::fs::write(&systems, test_support::mmdb::mmdb("GeoLite2-ASN", &nets)).unwrap();
    let geoip = ["--geoip", &countries, "--geoip", &systems];
    let rows = secretrail(&[&["accesses", &logs, "-f", "jsonl", "-q"], &geoip[..]].concat());
    let last: Value = serde_json::from_str(rows.stdout.lines().last().unwrap()).unwrap();
    let source = &last["source"];
    assert_eq!(source["country"], "DE");
    assert_eq!(source["asn"], 64_500);
    assert_eq!(source["as_org"], "Example Hosting");
    let alerts = secretrail(&[&["replay", &logs, "-f", "jsonl", "-q"], &geoip[..]].concat());
    let title = "Workload Reads From A New Country Or Provider";
    assert!(alerts.stdout.contains(title), "{}", alerts.stdout);
    assert!(
        alerts
            .stdout
            .contains("203.0.113.9 (DE, AS64500 Example Hosting)")
    );
    let without = secretrail(&["replay", &logs]);
    assert!(!without.stdout.contains(title), "{}", without.stdout);
    assert!(without.stderr.contains("no --geoip"), "{}", without.stderr);
    let refused = secretrail(&["replay", &logs, "--geoip", &logs]);
    assert_eq!(refused.code, 2, "{}", refused.stderr);
    assert!(
        refused.stderr.contains("MaxMind format"),
        "{}",
        refused.stderr
    );
}
