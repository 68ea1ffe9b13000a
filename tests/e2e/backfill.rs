//! A job of the backfill on a stand-in, from its plan to its replay: the same ledger and alerts as
//! without it, and clear words about everything that can go wrong.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::Path,
    process::Stdio,
    time::{Duration, Instant},
};

use e2e::{
    ACCOUNT, Printed, REGION, at, decrypt_secret, denied,
    deployment::{invoke, s3},
    direct_decrypt,
    local::Server,
    packed,
    proxy::{Fault, Proxy},
    read, record, role, unasked_rule,
};
use secretrail_engine::extract_file::ENDING;
use serde_json::{Value, json};

use crate::{
    command,
    infra::{Stack, root},
    with_endpoint,
};

/// A backfill on a stand-in. Its function reaches S3 through a proxy.
struct Backfill {
    proxy: Proxy,
    stack: Stack,
}

impl Backfill {
    fn deploy() -> Self {
        let server = Server::stack();
        let proxy = Proxy::start(&server.url, &server.url);
        s3(&server.url, "PUT", "/work", Vec::new());
        // Nobody waits minutes for a test.
        let template = std::fs::read_to_string(root().join("infra/backfill.yaml")).unwrap();
        let template = template
            .replace("\"IntervalSeconds\": 2", "\"IntervalSeconds\": 1")
            .replace("\"MaxAttempts\": 12", "\"MaxAttempts\": 2")
            .replace(
                "        Variables:\n",
                &format!(
                    "        Variables:\n          AWS_ENDPOINT_URL_S3: {}\n",
                    proxy.url
                ),
            );
        let parameters = [
            ("LogsBucket", "logs"),
            ("JobBucket", "work"),
            ("JobPrefix", "jobs/"),
            ("MaxConcurrency", "4"),
            ("ToleratedFailurePercentage", "50"),
        ];
        Self {
            stack: Stack::deploy(server, &template, &parameters),
            proxy,
        }
    }

    fn run(&self, args: &[&str]) -> Printed {
        with_endpoint(&self.stack.server.url, args)
    }

    fn machine(&self) -> &str {
        &self.stack.outputs["StateMachine"]
    }

    fn put(&self, key: &str, bytes: Vec<u8>) {
        s3(&self.stack.server.url, "PUT", &format!("/{key}"), bytes);
    }

    /// Plans a job of forty objects; gives its place, and how it is run.
    fn small(&self) -> (&'static str, [String; 5]) {
        for index in 0..40 {
            self.put(&key(index), object(index));
        }
        let job = "s3://work/jobs/one/";
        let planned = self.run(&[
            "backfill",
            "plan",
            "s3://logs/AWSLogs/",
            "-o",
            job,
            "--part-size",
            "2K",
        ]);
        assert_eq!(planned.code, 0, "{}", planned.stderr);
        (
            job,
            ["backfill", "run", job, "--state-machine", self.machine()].map(str::to_owned),
        )
    }

    /// Calls the function.
    fn invoke(&self, event: &Value) -> String {
        invoke(&self.stack.server.url, "secretrail-extractor", event)
    }

    /// Keys of the parts below a prefix, in order.
    fn parts(&self, prefix: &str) -> Vec<String> {
        let listed = s3(
            &self.stack.server.url,
            "GET",
            &format!("/work?list-type=2&prefix={prefix}"),
            Vec::new(),
        )
        .text();
        let keys = listed
            .split("<Key>")
            .skip(1)
            .map(|rest| rest.split_once('<').unwrap().0.to_owned());
        keys.filter(|key| key.ends_with(ENDING)).collect()
    }
}

/// The key of an object of a day, in a tree.
fn key(index: usize) -> String {
    let (day, minute) = (2 + index / 500, index % 500);
    let (hour, minute) = (minute / 60, minute % 60);
    format!(
        "logs/AWSLogs/{ACCOUNT}/CloudTrail/{REGION}/2026/03/{day:02}/{ACCOUNT}_CloudTrail_{REGION}_202603{day:02}T{hour:02}{minute:02}Z_x{index:04}.json.gz"
    )
}

/// Objects of four days: reads whose key uses are in other objects, denials, thefts, and what
/// concerns nobody.
fn object(index: usize) -> Vec<u8> {
    let secs = |offset: i64| {
        (i64::try_from(index).unwrap() / 500 * 86_400) + i64::try_from(index % 500).unwrap() * 60
            - 36_000
            + offset
    };
    let (who, name) = (format!("app{}", index % 7), format!("prod/s{}", index % 11));
    let mut records = vec![
        read(&format!("r{index}"), &who, secs(0), &name),
        record(
            &format!("n{index}"),
            &role("noise"),
            secs(3),
            "s3",
            "ListObjects",
            json!({"bucketName": "b"}),
        ),
    ];
    if index >= 3 {
        // The key use of a read three objects before, whose time it has.
        let before = index - 3;
        let time = (i64::try_from(before).unwrap() / 500 * 86_400)
            + i64::try_from(before % 500).unwrap() * 60
            - 36_000;
        records.push(decrypt_secret(
            &format!("d{before}"),
            &format!("app{}", before % 7),
            time,
            &format!("prod/s{}", before % 11),
        ));
    }
    if index.is_multiple_of(97) {
        records.push(direct_decrypt(
            &format!("t{index}"),
            "thief",
            secs(5),
            "prod/s1",
        ));
    }
    if index % 50 < 6 {
        records.push(denied(
            &format!("x{index}"),
            "prober",
            secs(7),
            &format!("prod/s{}", index % 50),
        ));
    }
    packed(json!({"Records": records}).to_string().as_bytes())
}

/// Lines in order.
fn sorted(text: &str) -> Vec<&str> {
    let mut lines: Vec<&str> = text.lines().collect();
    lines.sort_unstable();
    lines
}

#[test]
fn two_thousand_objects_on_many_machines_give_what_one_machine_gives() {
    let backfill = Backfill::deploy();
    for index in 0..1_999 {
        backfill.put(&key(index), object(index));
    }
    let poison = packed(b"{\"Records\":[");
    backfill.put(&key(1_999), poison[..poison.len() / 2].to_vec());
    let plan = [
        "backfill",
        "plan",
        "s3://logs/AWSLogs/",
        "-o",
        "s3://work/jobs/one/manifest.jsonl",
        "--part-size",
        "16K",
    ];
    let planned = backfill.run(&plan);
    assert_eq!(planned.code, 0, "{}", planned.stderr);
    assert!(
        planned.stdout.contains("objects        2,000") && planned.stdout.contains("dollars"),
        "{}",
        planned.stdout
    );
    // One in twenty fails at first, and so do the tries of the SDK: its part cannot be written.
    let mut tries: BTreeMap<String, (bool, usize)> = BTreeMap::new();
    backfill.proxy.plan(move |call| {
        if call.operation != "PutObject" {
            return Fault::None;
        }
        let fails = tries.len() % 20 == 7;
        let (fails, tried) = tries.entry(call.path.clone()).or_insert((fails, 0));
        *tried += 1;
        if *fails && *tried <= 3 {
            Fault::Throttled
        } else {
            Fault::None
        }
    });
    let job = "s3://work/jobs/one/";
    let ran = backfill.run(&[
        "backfill",
        "run",
        job,
        "--state-machine",
        backfill.machine(),
    ]);
    // The damaged one is named, and what to do about it.
    let lines: Vec<&str> = ran.stderr.lines().collect();
    assert!(
        ran.code == 3
            && lines.len() == 2
            && lines[0].contains(&key(1_999))
            && lines[1].contains("1 object could not be read")
            && ran.stdout.contains("not read       1 of 2,000 objects"),
        "{}{}\n{}",
        ran.stdout,
        ran.stderr,
        backfill.stack.server.log()
    );
    let calls = backfill.proxy.plan(|_| Fault::None);
    let writes = calls
        .iter()
        .filter(|call| call.operation == "PutObject")
        .count();
    let parts = backfill.parts("jobs/one/");
    assert!(
        parts.len() > 40 && writes >= parts.len() + 3 * (parts.len() / 20),
        "{} parts, {writes} writes",
        parts.len()
    );
    let status = backfill.run(&["backfill", "status", job]);
    assert!(
        status.code == 3 && status.stdout.contains("100 % of the bytes"),
        "{}{}",
        status.stdout,
        status.stderr
    );
    // The same ledger and alerts, and the same words about what could not be read.
    for command in ["accesses", "replay"] {
        let of = |path: &str| backfill.run(&[command, path, "-f", "jsonl", "-q"]);
        let (logs, parts) = (of("s3://logs/AWSLogs/"), of(job));
        assert!(
            logs.stdout.lines().count() > 40,
            "{}",
            logs.stdout.lines().count()
        );
        assert!(sorted(&parts.stdout) == sorted(&logs.stdout), "{command}");
        assert_eq!((parts.code, &parts.stderr), (3, &logs.stderr), "{command}");
        assert!(parts.stderr.contains(&key(1_999)), "{}", parts.stderr);
    }
    // The same batch gives the same bytes, whoever extracts it; and two jobs with days in common
    // are one history.
    let whole = |key: &str| {
        s3(
            &backfill.stack.server.url,
            "GET",
            &format!("/work/{key}"),
            Vec::new(),
        )
        .body
    };
    let first = whole(&parts[0]);
    s3(
        &backfill.stack.server.url,
        "DELETE",
        &format!("/work/{}", parts[0]),
        Vec::new(),
    );
    let incomplete = backfill.run(&["replay", job, "-f", "jsonl", "-q"]);
    let name = parts[0].rsplit('/').next().unwrap();
    assert!(
        incomplete.code == 3 && incomplete.stderr.contains(&format!("{name}: is missing")),
        "{}",
        incomplete.stderr
    );
    let status = backfill.run(&["backfill", "status", job]);
    assert!(
        status.code == 3
            && status.stderr.contains(name)
            && status.stderr.contains("backfill resume"),
        "{}",
        status.stderr
    );
    let resumed = backfill.run(&[
        "backfill",
        "resume",
        job,
        "--state-machine",
        backfill.machine(),
    ]);
    assert_eq!(resumed.code, 3, "{}{}", resumed.stdout, resumed.stderr);
    assert!(
        resumed.stdout.contains("100 % of the bytes"),
        "{}",
        resumed.stdout
    );
    assert!(whole(&parts[0]) == first, "the same bytes");
    let two = "s3://work/jobs/two/";
    let days = ["--from", "2026-03-03", "--to", "2026-03-04"];
    let planned = backfill.run(
        &[
            &[
                "backfill",
                "plan",
                "s3://logs/AWSLogs/",
                "-o",
                two,
                "--part-size",
                "24K",
            ],
            &days[..],
        ]
        .concat(),
    );
    assert_eq!(planned.code, 0, "{}", planned.stderr);
    let ran = backfill.run(&[
        "backfill",
        "run",
        two,
        "--state-machine",
        backfill.machine(),
        "-q",
    ]);
    // The damaged one was delivered within a day of them.
    assert_eq!((ran.code, ran.stdout.as_str()), (3, ""), "{}", ran.stderr);
    let replay = |paths: &[&str]| {
        backfill.run(&[&["replay", "-f", "jsonl", "-q"], paths, &days[..]].concat())
    };
    let (one, both, twice) = (
        replay(&["s3://logs/AWSLogs/"]),
        replay(&[two, job]),
        replay(&[job, two, two]),
    );
    assert!(one.stdout.lines().count() > 10);
    assert!(sorted(&one.stdout) == sorted(&both.stdout) && both.stdout == twice.stdout);
}

#[test]
fn what_goes_wrong_with_a_job_is_said_and_can_be_mended() {
    let backfill = Backfill::deploy();
    let url = &backfill.stack.server.url;
    let nothing = backfill.run(&["backfill", "status", "s3://work/jobs/none/"]);
    assert!(
        nothing.code == 3 && nothing.stderr.contains("no such object"),
        "{}",
        nothing.stderr
    );
    let (job, run) = backfill.small();
    let run: Vec<&str> = run.iter().map(String::as_str).collect();
    let local = backfill.run(&["backfill", "plan", env!("CARGO_MANIFEST_DIR"), "-o", job]);
    assert!(
        local.code == 64 && local.stderr.contains("secretrail extract"),
        "{}",
        local.stderr
    );
    // Parts cannot be written: every batch fails, the execution is stopped, and what is missing is
    // named.
    backfill.proxy.plan(|call| {
        if call.operation == "PutObject" {
            Fault::Failed(403, "AccessDenied")
        } else {
            Fault::None
        }
    });
    let failed = backfill.run(&run);
    assert!(
        failed.code == 3 && failed.stdout.contains("state          failed"),
        "{}{}",
        failed.stdout,
        failed.stderr
    );
    assert!(
        failed.stderr.contains("is missing") && failed.stderr.contains("more extract file"),
        "{}",
        failed.stderr
    );
    assert!(failed.stderr.contains(&key(0)), "{}", failed.stderr);
    // A run that is killed goes on without us; the next one watches it.
    backfill.proxy.plan(|call| {
        if call.operation == "PutObject" {
            Fault::Hangs(4_000)
        } else {
            Fault::None
        }
    });
    let mut killed = command(url, &run)
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let until = Instant::now() + Duration::from_secs(30);
    while !backfill
        .run(&["backfill", "status", job])
        .stdout
        .contains("state          running")
        && Instant::now() < until
    {
        std::thread::sleep(Duration::from_millis(50));
    }
    killed.kill().unwrap();
    killed.wait().unwrap();
    backfill.proxy.plan(|_| Fault::None);
    let watched = backfill.run(&run);
    assert!(
        watched
            .stderr
            .contains("is already running; waiting for it"),
        "{}",
        watched.stderr
    );
    assert_eq!(watched.code, 0, "{}{}", watched.stdout, watched.stderr);
    let again = backfill.run(&run);
    assert!(
        again.code == 0 && again.stdout.contains("replay s3://work/jobs/one/"),
        "{}{}",
        again.stdout,
        again.stderr
    );
    // Long afterwards the execution is forgotten, and the parts are there.
    let key = "work/jobs/one/execution.arn";
    let arn = s3(url, "GET", &format!("/{key}"), Vec::new()).text();
    backfill.put(key, format!("{}0", arn.trim()).into_bytes());
    for args in [&["backfill", "status", job][..], &run] {
        let printed = backfill.run(args);
        let all_there = printed.stdout.starts_with("extract files")
            && printed.stdout.contains("100 % of the bytes");
        assert!(
            printed.code == 0 && all_there,
            "{args:?}: {}{}",
            printed.stdout,
            printed.stderr
        );
    }
}

#[test]
fn objects_that_s3_refuses_are_named_and_read_by_a_second_job() {
    let backfill = Backfill::deploy();
    let (job, run) = backfill.small();
    let run: Vec<&str> = run.iter().map(String::as_str).collect();
    // Archived, denied and gone.
    backfill.proxy.plan(|call| {
        let is =
            |index: usize| call.operation == "GetObject" && call.path.contains(&key(index)[5..]);
        if is(3) {
            Fault::Failed(403, "InvalidObjectState")
        } else if is(11) {
            Fault::Failed(403, "AccessDenied")
        } else if is(22) {
            Fault::Failed(404, "NoSuchKey")
        } else {
            Fault::None
        }
    });
    let ran = backfill.run(&run);
    assert!(
        ran.code == 3
            && ran.stdout.contains("100 % of the bytes")
            && ran.stdout.contains("not read       3 of 40 objects"),
        "{}{}\n{}",
        ran.stdout,
        ran.stderr,
        backfill.stack.server.log()
    );
    for (index, why) in [
        (3, "archived"),
        (11, "access denied"),
        (22, "no such object"),
    ] {
        let line = ran.stderr.lines().find(|line| line.contains(&key(index)));
        assert!(
            line.is_some_and(|line| line.contains(why)),
            "{}",
            ran.stderr
        );
    }
    let replay =
        |paths: &[&str]| backfill.run(&[&["accesses", "-f", "jsonl", "-q"], paths].concat());
    let half = replay(&[job]);
    assert!(
        half.code == 3 && half.stderr.contains(&key(11)),
        "{}",
        half.stderr
    );
    // Mended: the second job has only them, and both together are the logs.
    backfill.proxy.plan(|_| Fault::None);
    let two = "s3://work/jobs/two/";
    let planned = backfill.run(&["backfill", "plan", "--failed-of", job, "-o", two]);
    assert!(
        planned.code == 0 && planned.stdout.contains("objects        3,"),
        "{}{}",
        planned.stdout,
        planned.stderr
    );
    let ran = backfill.run(&[
        "backfill",
        "run",
        two,
        "--state-machine",
        backfill.machine(),
    ]);
    assert_eq!(ran.code, 0, "{}{}", ran.stdout, ran.stderr);
    let (logs, both) = (replay(&["s3://logs/AWSLogs/"]), replay(&[job, two]));
    assert_eq!((both.code, both.stderr.as_str()), (0, ""));
    assert!(sorted(&both.stdout) == sorted(&logs.stdout));
    // A job that is no longer needed leaves nothing.
    let cleaned = backfill.run(&["backfill", "clean", two]);
    assert_eq!(cleaned.code, 0, "{}", cleaned.stderr);
    assert_eq!(replay(&[job, two]).stdout, both.stdout);
    let cleaned = backfill.run(&["backfill", "clean", two, "--all"]);
    assert_eq!(cleaned.code, 0, "{}", cleaned.stderr);
    let left = format!("/work?list-type=2&prefix={}", &two["s3://work/".len()..]);
    let left = s3(&backfill.stack.server.url, "GET", &left, Vec::new()).text();
    assert!(!left.contains("<Key>"), "{left}");
}

#[test]
fn what_was_changed_behind_a_job_is_found_out() {
    let backfill = Backfill::deploy();
    let url = &backfill.stack.server.url;
    let (job, run) = backfill.small();
    let run: Vec<&str> = run.iter().map(String::as_str).collect();
    let ran = backfill.run(&run);
    assert_eq!(ran.code, 0, "{}{}", ran.stdout, ran.stderr);
    // A part that was cut off in S3.
    let parts = backfill.parts("jobs/one/");
    let whole = s3(url, "GET", &format!("/work/{}", parts[1]), Vec::new()).body;
    backfill.put(
        &format!("work/{}", parts[1]),
        whole[..whole.len() - 9].to_vec(),
    );
    let cut = backfill.run(&["replay", job, "-f", "jsonl", "-q"]);
    assert!(
        cut.code == 3
            && cut.stderr.contains(&parts[1])
            && cut.stderr.contains("truncated or damaged"),
        "{}",
        cut.stderr
    );
    backfill.put(&format!("work/{}", parts[1]), whole);

    // Rules that ask for what was left out, by name.
    let folder = tempfile::tempdir().unwrap();
    let rule = unasked_rule(folder.path());
    let refused = backfill.run(&["replay", job, "-f", "jsonl", "-r", &rule]);
    assert!(
        refused.code == 3 && refused.stderr.contains("\"Mail Identity Deleted\""),
        "{}",
        refused.stderr
    );

    // A manifest that was edited by hand: for the replay, for the run, and for the function itself.
    let manifest = s3(url, "GET", "/work/jobs/one/manifest.jsonl", Vec::new()).text();
    let edited = manifest.replacen(&key(0)["logs/".len()..], &key(2)["logs/".len()..], 1);
    assert_ne!(edited, manifest);
    backfill.put("work/jobs/one/manifest.jsonl", edited.into_bytes());
    for args in [
        &run[..],
        &["replay", job, "-q"],
        &["backfill", "status", job],
    ] {
        let printed = backfill.run(args);
        assert!(
            printed.code == 3
                && printed
                    .stderr
                    .contains("it was edited or truncated: plan again"),
            "{args:?}: {}",
            printed.stderr
        );
    }
    backfill.put("work/jobs/one/manifest.jsonl", manifest.into_bytes());
    let shard = "work/jobs/one/objects/00000.manifest.jsonl";
    let manifest = s3(url, "GET", &format!("/{shard}"), Vec::new()).text();
    let edited = manifest.replacen(&key(1)["logs/".len()..], &key(2)["logs/".len()..], 1);
    assert_ne!(edited, manifest);
    backfill.put(shard, edited.into_bytes());
    let line = manifest.lines().nth(1).unwrap();
    let item = json!({"manifest": "jobs/one/objects/00000.manifest.jsonl", "head": manifest.lines().next().unwrap().len().to_string(),
        "offset": (manifest.lines().next().unwrap().len() + 1).to_string(), "length": line.len().to_string(),
        "part": serde_json::from_str::<Value>(line).unwrap()["part"]});
    let event = json!({"bucket": "work", "prefix": "jobs/one/", "item": item});
    let answer = backfill.invoke(&event);
    assert!(answer.contains("edited or truncated"), "{answer}");
    backfill.put(shard, manifest.into_bytes());
    let answer = backfill.invoke(&event);
    assert!(
        answer.contains("bytes_out") && !answer.contains("errorMessage"),
        "{answer}"
    );
    let answer = backfill.invoke(&json!({"Records": []}));
    assert!(answer.contains("secretrail backfill run"), "{answer}");
}

#[test]
fn the_backfill_has_settings_that_the_function_knows() {
    let template = std::fs::read_to_string(Path::new(&root()).join("infra/backfill.yaml")).unwrap();
    let known: BTreeSet<&str> = secretrail_lambda::config::SETTINGS
        .iter()
        .map(|setting| setting.name)
        .collect();
    let set: BTreeSet<&str> = template
        .lines()
        .filter_map(|line| line.trim().split_once(':'))
        .map(|(name, _)| name)
        .filter(|name| name.starts_with("SECRETRAIL_"))
        .collect();
    assert!(set.len() > 2 && set.is_subset(&known), "{set:?}");
    assert_eq!(
        at(0).to_string(),
        "2026-03-02T10:00:00Z",
        "objects are delivered when their events happen"
    );
}
