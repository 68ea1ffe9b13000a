//! Plans of large organisations by the real binary, against listings that are made as they are
//! asked for: memory does not grow with the number of objects, and the manifests have them all.
//!
//! `SECRETRAIL_PLANNED_FILES` is the number of files of a day, account and region; 6 by default,
//! which are half a million objects.
#![cfg(all(feature = "s3", target_os = "linux"))]
#![allow(missing_docs, reason = "a test crate has no users")]
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a test that panics is a test that fails"
)]

mod listings;

use std::{
    fs,
    process::{Command, Stdio},
    thread,
    time::Duration,
};

use listings::{Listings, Organisation};

/// Most memory of a plan, whatever its size.
const MOST_KIB: u64 = 300 * 1024;

/// What a run has printed, and its largest resident memory in KiB.
struct Ran {
    stdout: String,
    stderr: String,
    code: Option<i32>,
    peak: u64,
}

fn plan(listings: &Listings, args: &[&str]) -> Ran {
    let home = tempfile::tempdir().unwrap();
    let mut child = Command::new(env!("CARGO_BIN_EXE_secretrail"))
        .args(["backfill", "plan", "s3://logs/", "-o", "s3://work/job/"])
        .args(["--endpoint-url", &listings.url])
        .args(args)
        .env_clear()
        .env("HOME", home.path())
        .env("AWS_ACCESS_KEY_ID", "AKIAEXAMPLE")
        .env("AWS_SECRET_ACCESS_KEY", "secret")
        .env("AWS_REGION", "eu-west-1")
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let status = format!("/proc/{}/status", child.id());
    let mut peak = 0;
    while child.try_wait().unwrap().is_none() {
        let text = fs::read_to_string(&status).unwrap_or_default();
        let line = text.lines().find_map(|line| line.strip_prefix("VmHWM:"));
        let kib = line.and_then(|line| line.trim().strip_suffix(" kB")?.parse().ok());
        peak = kib.unwrap_or(0).max(peak);
        thread::sleep(Duration::from_millis(5));
    }
    let output = child.wait_with_output().unwrap();
    Ran {
        stdout: String::from_utf8(output.stdout).unwrap(),
        stderr: String::from_utf8(output.stderr).unwrap(),
        code: output.status.code(),
        peak,
    }
}

#[test]
fn a_plan_of_many_objects_has_them_all_and_takes_little_memory() {
    let files = std::env::var("SECRETRAIL_PLANNED_FILES");
    let files: u64 = files.map_or(6, |files| files.parse().unwrap());
    let organisation = Organisation {
        accounts: 15,
        regions: 17,
        months: 12,
        files,
        archived_every: 0,
    };
    let listings = Listings::of(organisation);
    let ran = plan(&listings, &[]);
    let objects = organisation.objects();
    assert_eq!(ran.code, Some(0), "{}{}", ran.stdout, ran.stderr);
    let jobs = listings.written();
    assert!(ran.peak > 0 && ran.peak < MOST_KIB, "{} KiB", ran.peak);
    // A request for a thousand objects, one that is not full for each region, and the folders.
    let least = objects.div_ceil(1_000);
    let most = least + 15 * 17 + 15 * 2 + 3;
    assert!(listings.lists() <= most, "{} of {most}", listings.lists());
    assert_eq!(jobs.objects, objects, "each is in a manifest");
    let head = jobs.index.lines().next().unwrap();
    assert!(head.contains(&format!("\"objects\":{objects},")), "{head}");
    // The index is for batches, not for objects.
    assert!(
        (jobs.index.len() as u64) < objects * 8,
        "{}",
        jobs.index.len()
    );
}

#[test]
fn archived_objects_are_counted_listed_and_not_planned() {
    let organisation = Organisation {
        accounts: 2,
        regions: 2,
        months: 2,
        files: 5,
        archived_every: 10,
    };
    let listings = Listings::of(organisation);
    let ran = plan(&listings, &["--from", "2025-02-01", "--to", "2025-02-28"]);
    assert_eq!(ran.code, Some(3), "{}{}", ran.stdout, ran.stderr);
    let lines: Vec<&str> = ran.stderr.lines().collect();
    assert_eq!(lines.len(), 2, "one for each account: {}", ran.stderr);
    for line in lines {
        assert!(line.contains("28 objects of account 1"), "{line}");
        assert!(line.contains("in the archive DEEP_ARCHIVE"), "{line}");
    }
    // February, of two regions and accounts, and what was delivered on the day after.
    assert_eq!(listings.written().objects, 2 * 2 * 28 * 5 - 56);
    assert_eq!(listings.written().left_out, 56);
}
