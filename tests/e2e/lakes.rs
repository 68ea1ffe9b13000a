//! Logs in the forms of lakes: Parquet that DuckDB has written, tables of query results, archives.

use std::{io::Write, path::Path, process::Command};

use e2e::{local, secretrail};
use serde_json::Value;
use test_support::lakes::{examples, ocsf};

/// Writes OCSF events as Parquet, with the columns of Security Lake, and prints what DuckDB counts
/// in it: rows, and reads.
const SCRIPT: &str = r#"
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
