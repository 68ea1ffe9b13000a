//! The first command of the README.

use e2e::{LOGS, POLICY, secretrail, secretrail_with};
use secretrail_engine::alert::json_v1;

/// A rule of the pack about calls that are no accesses, and then an access.
const LISTED: &str = "Principal Listed Secrets And Then Read One";

#[test]
fn findings_are_the_alerts() {
    let print = |format: &str| {
        secretrail(&[
            "replay", LOGS, "--policy", POLICY, "-q", "--alerts", "-f", format,
        ])
        .stdout
    };
    let lines = |text: &str| {
        text.lines()
            .map(|line| serde_json::from_str(line).unwrap())
            .collect::<Vec<serde_json::Value>>()
    };
    let (alerts, findings) = (lines(&print("jsonl")), lines(&print("ocsf")));
    assert_eq!(alerts.len(), findings.len());
    for (alert, finding) in alerts.iter().zip(&findings) {
        let severity = finding["severity"].as_str().unwrap().to_lowercase();
        assert_eq!(
            (&finding["finding_info"]["uid"], severity.as_str()),
            (&alert["id"], alert["rule"]["level"].as_str().unwrap())
        );
        // Required by class 2004 of OCSF 1.5.0.
        for field in [
            "activity_id",
            "category_uid",
            "class_uid",
            "finding_info",
            "metadata",
            "severity_id",
            "time",
            "type_uid",
            "cloud",
        ] {
            assert!(!finding[field].is_null(), "{field}");
        }
    }
}

#[test]
fn the_replay_tells_the_five_stories_and_nothing_else() {
    let printed = secretrail(&["replay", LOGS, "--policy", POLICY, "-f", "csv"]);
    assert_eq!(printed.code, 0, "{}", printed.stderr);
    let mut reported: Vec<String> = printed
        .stdout
        .lines()
        .skip(1)
        .map(|line| {
            line.split(',')
                .skip(1)
                .take(3)
                .collect::<Vec<_>>()
                .join(",")
        })
        .collect();
    reported.sort();
    let role = |name: &str| format!("arn:aws:iam::111122223333:role/{name}");
    let user = |name: &str| format!("arn:aws:iam::111122223333:user/{name}");
    let unexpected = "high,Secret Read By An Unexpected Principal";
    let mut expected = vec![
        format!("{unexpected},{}", role("search-app")),
        format!(
            "high,Secret Read In An Unexpected Region,{}",
            role("search-app")
        ),
        format!(
            "medium,Secret Read From An Unexpected Source,{}",
            role("search-app")
        ),
        format!(
            "critical,Secret Read With EC2 Credentials From An Unexpected Source,{}",
            role("search-app")
        ),
        format!(
            "high,Session Of An Instance Or Task Reads From Inside And From The Internet,{}",
            role("search-app")
        ),
        format!("{unexpected},{}", user("jo.backup")),
        format!(
            "medium,Secret Read With An Attack Tool Or An Offensive Distribution,{}",
            user("jo.backup")
        ),
        format!(
            "high,Many Different Secrets Read By One Principal,{}",
            user("jo.backup")
        ),
        format!("medium,Secret Read By A Person,{}", user("jo.backup")),
        format!(
            "low,Principal Listed Secrets And Then Read One,{}",
            user("jo.backup")
        ),
        format!("low,Access To A Secret Denied,{}", role("web-frontend")),
        format!(
            "high,Many Different Secrets Denied To One Principal,{}",
            role("web-frontend")
        ),
        format!("{unexpected},{}", role("web-frontend")),
        format!(
            "high,Secret Read Soon After A Denied Read,{}",
            role("web-frontend")
        ),
        format!("{unexpected},{}", user("kim.dev")),
        format!("medium,Secret Read By A Person,{}", user("kim.dev")),
        format!(
            "critical,Secret Decrypted By Calling KMS Directly,{}",
            user("kim.dev")
        ),
        format!("{unexpected},arn:aws:iam::999988887777:role/vendor-sync"),
        "high,Secret Read From Another Account,arn:aws:iam::999988887777:role/vendor-sync"
            .to_owned(),
    ];
    expected.sort();
    assert_eq!(reported, expected);
}

#[test]
fn every_read_of_the_example_has_its_decrypt() {
    let printed = secretrail(&["accesses", LOGS]);
    assert_eq!(printed.code, 0);
    assert!(
        printed
            .stderr
            .contains("135 paired, 0 absent, 0 unknown, 0 pending, 11 not expected"),
        "{}",
        printed.stderr
    );
    assert!(
        printed.stderr.contains("skipped files  8 digest"),
        "{}",
        printed.stderr
    );
}

#[test]
fn the_example_logs_are_what_was_signed() {
    let keys = concat!(env!("CARGO_MANIFEST_DIR"), "/../examples/public-keys.json");
    let printed = secretrail(&["verify", LOGS, "--public-keys", keys]);
    assert_eq!(printed.code, 0, "{}", printed.stdout);
    for line in [
        "digests 6 intact, 0 altered, 0 missing, 2 unproven",
        "logs    52 intact, 0 altered, 0 missing, 0 unproven",
    ] {
        assert!(printed.stderr.contains(line), "{}", printed.stderr);
    }
}

#[test]
fn explain_shows_what_is_behind_an_alert() {
    let alerts = secretrail(&[
        "replay", LOGS, "--policy", POLICY, "-q", "--alerts", "-f", "jsonl",
    ])
    .stdout;
    let alerts: Vec<serde_json::Value> = alerts
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    for alert in &alerts {
        let id = alert["id"].as_str().unwrap();
        let printed = secretrail(&[
            "explain",
            &id[..12],
            LOGS,
            "--policy",
            POLICY,
            "-q",
            "--raw",
        ]);
        assert_eq!(printed.code, 0, "{}", printed.stderr);
        assert!(
            printed.stdout.contains(alert["summary"].as_str().unwrap())
                && printed.stdout.contains(id)
        );
        for access in alert["accesses"].as_array().unwrap() {
            for event in [&access["event_id"], &access["decrypt"]["event_id"]]
                .iter()
                .filter_map(|id| id.as_str())
            {
                assert!(
                    printed
                        .stdout
                        .contains(&format!("\"eventID\": \"{event}\"")),
                    "{event} of {id}"
                );
            }
        }
        assert!(
            printed.stdout.contains("look next:\n"),
            "{}",
            printed.stdout
        );
        // What is no access is shown too.
        let is_listing = alert["rule"]["title"] == LISTED;
        assert_eq!(
            printed.stdout.contains("\"eventName\": \"ListSecrets\""),
            is_listing,
            "{}",
            printed.stdout
        );
    }
    assert!(alerts.iter().any(|alert| alert["rule"]["title"] == LISTED));
    let none = secretrail(&["explain", "ffffffffffff", LOGS, "-q"]);
    assert!(
        none.code == 3 && none.stderr.contains("not among the"),
        "{}",
        none.stderr
    );
    let all = secretrail(&["explain", "", LOGS, "-q"]);
    assert!(
        all.code == 64 && all.stderr.contains("the id is empty"),
        "{}",
        all.stderr
    );
    let stdin = secretrail(&["explain", "ab", "-", "-q"]);
    assert!(
        stdin.code == 64 && stdin.stderr.contains("write them to a file first"),
        "{}",
        stdin.stderr
    );
}

#[test]
fn an_alert_is_explained_from_the_file_that_a_replay_wrote() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
    let (lines, array, packed) = (path("alerts.jsonl"), path("alerts.json"), path("alerts.gz"));
    for (form, file) in [("jsonl", &lines), ("json", &array)] {
        assert_eq!(
            secretrail(&[
                "replay", LOGS, "--policy", POLICY, "-q", "--alerts", "-f", form, "-o", file
            ])
            .code,
            0
        );
    }
    // The fields of a group have no order in JSON.
    let in_order = |text: &str| {
        let mut lines: Vec<String> = text.lines().map(str::to_owned).collect();
        for group in lines.chunk_by_mut(|a, b| a.starts_with("group ") && b.starts_with("group ")) {
            group.sort();
        }
        lines
    };
    let text = std::fs::read_to_string(&lines).unwrap();
    e2e::write_gz(packed.as_ref(), text.as_bytes());
    for line in text.lines() {
        // What was written is read back whole.
        let alert = json_v1::read(serde_json::from_str(line).unwrap()).unwrap();
        assert_eq!(
            serde_json::to_string(&json_v1::AlertV1::from(&alert)).unwrap(),
            line
        );
        let id = &alert.id.0;
        let from_logs =
            secretrail(&["explain", id, LOGS, "--policy", POLICY, "-q", "--raw"]).stdout;
        // What is usual for a principal is in logs alone.
        let from_logs = match from_logs.split_once("\nusual") {
            None => from_logs,
            Some((before, rest)) => format!("{before}\n{}", rest.split_once("\n\n").unwrap().1),
        };
        // No policy: the alert is what it was. Beside the logs, its records are found there.
        for file in [&lines, &array, &packed] {
            let both = secretrail(&["explain", id, file, LOGS, "-q", "--raw"]);
            assert_eq!((both.code, both.stderr.as_str()), (0, ""), "{file}");
            assert!(in_order(&both.stdout) == in_order(&from_logs), "{file}");
        }
        let alone = secretrail_with(&["explain", &id[..10], "-", "-q", "--raw"], text.as_bytes());
        let before = from_logs.split("\nrecords:").next().unwrap();
        let shown = alone.stdout.split("\nrecords:").next().unwrap();
        assert!(
            alone.code == 0 && in_order(shown) == in_order(before),
            "{}{}",
            alone.stdout,
            alone.stderr
        );
        assert!(
            alone.stdout.contains("name the logs beside the alerts"),
            "{}",
            alone.stdout
        );
        for access in &alert.accesses {
            assert!(alone.stdout.contains(&format!(
                "event {} in {}",
                access.head.event_id, access.head.object
            )));
        }
    }
    // Rules of today that do not know it; an id that is not there; a file that was cut off; logs
    // that cannot be read.
    let id = &text.split_once("\"id\":\"").unwrap().1[..32];
    let rule = e2e::unasked_rule(folder.path());
    let other = secretrail(&["explain", id, &lines, "-r", &rule, "-q"]);
    assert!(
        other.code == 0 && other.stdout.contains("name it with -r"),
        "{}{}",
        other.stdout,
        other.stderr
    );
    let none = secretrail(&["explain", "ffffffffffff", &lines, "-q"]);
    assert!(
        none.code == 3 && none.stderr.contains("not among the 19 alerts"),
        "{}",
        none.stderr
    );
    std::fs::write(&array, &text[..text.len() - 40]).unwrap();
    let cut = secretrail(&["explain", id, &array, "-q"]);
    assert!(
        cut.code == 3 && cut.stderr.contains("alerts.json: EOF"),
        "{}",
        cut.stderr
    );
    let nowhere = secretrail(&["explain", id, &lines, "/nowhere", "-q"]);
    assert!(
        nowhere.code == 3 && nowhere.stderr.contains("/nowhere"),
        "{}",
        nowhere.stderr
    );
    assert!(
        nowhere.stdout.contains("none found by their event ids"),
        "{}",
        nowhere.stdout
    );
}
