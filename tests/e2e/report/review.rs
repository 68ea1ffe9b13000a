//! The review of a proposed policy: a person accepts and rejects grants in a browser, and gets a
//! policy that holds what was accepted.

use std::{fs, path::Path};

use e2e::{LOGS, local, read, secretrail};
use serde_json::{Value, json};

use super::{HARMFUL, hostile};

fn reviewed(logs: &str, more: &[&str], folder: &Path) -> Value {
    let page = folder.join("review.html");
    let proposed = folder.join("proposed.yaml");
    let files = [proposed.to_str().unwrap(), page.to_str().unwrap()];
    let args = ["baseline", logs, "-q", "-o", files[0], "--review", files[1]];
    let run = secretrail(&[&args, more].concat());
    assert_eq!((run.code, run.stderr.as_str()), (0, ""));
    let axe = local::axe();
    let args = [axe.as_os_str(), page.as_ref(), folder.as_ref()];
    local::in_browser("review.py", &args)
}

/// Twenty days of two roles of software, whose grants need no remark, and of two people.
fn history(folder: &Path) -> String {
    let mut records = Vec::new();
    for (day, hour) in (0..20).flat_map(|day| [0, 3].map(|hour| (day, hour))) {
        let secs = day * 86_400 + hour * 3_600;
        for name in ["orders", "search", "ann", "bob"] {
            let mut one = read(
                &format!("{name}{secs}"),
                name,
                secs,
                &format!("prod/{name}"),
            );
            if name.len() == 3 {
                let account = &one["recipientAccountId"];
                let arn = format!("arn:aws:iam::{}:user/{name}", account.as_str().unwrap());
                one["userIdentity"] = json!({"type": "IAMUser", "accountId": account, "arn": arn,
                    "userName": name, "accessKeyId": format!("AKIA{name}")});
            }
            records.push(one);
        }
    }
    let path = folder.join("history.json");
    fs::write(&path, Value::Array(records).to_string()).unwrap();
    path.to_str().unwrap().to_owned()
}

/// The number of grants of a policy, by the command.
fn grants(policy: &str, folder: &Path) -> usize {
    let [old, new] = ["old.yaml", "new.yaml"].map(|name| folder.join(name));
    fs::write(&old, "version: 1\ngrants: []\n").unwrap();
    fs::write(&new, policy).unwrap();
    let files = [old.to_str().unwrap(), new.to_str().unwrap()];
    let run = secretrail(&["policy", "diff", files[0], files[1]]);
    assert!(run.code <= 1, "{}{policy}", run.stderr);
    let lines = run.stdout.lines();
    lines.filter(|line| line.starts_with("+ grant")).count()
}

#[test]
fn a_policy_is_accepted_grant_by_grant() {
    let folder = tempfile::tempdir().unwrap();
    let seen = reviewed(&history(folder.path()), &[], folder.path());
    let none: &[Value] = &[];
    assert_eq!(seen["errors"].as_array().unwrap(), none);
    assert_eq!(seen["axe"].as_array().unwrap(), none);
    // The page itself, twice.
    assert_eq!(seen["requests"], json!(["review.html", "review.html"]));
    let (all, risky) = (
        seen["grants"].as_u64().unwrap(),
        seen["risky"].as_u64().unwrap(),
    );
    assert_eq!((all, risky), (4, 2));
    assert_eq!(seen["first"], "s-risky");
    let step = |name: &str| {
        let text = |index: usize| seen[name][index].as_str().unwrap();
        (text(0).to_owned(), grants(text(1), folder.path()))
    };
    let tally = |accepted, rejected| {
        let open = all - accepted - rejected;
        format!("{accepted} accepted, {rejected} rejected, {open} to decide")
    };
    let count = |n: u64| usize::try_from(n).unwrap();
    assert_eq!(step("nothing"), (tally(0, 0), 0));
    let rest = all - risky;
    assert_eq!(step("rest"), (tally(rest, 0), count(rest)));
    assert_eq!(step("decided"), (tally(rest + 1, 1), count(rest + 1)));
    let policy = seen["decided"][1].as_str().unwrap();
    let rejected = seen["rejected"].as_str().unwrap();
    assert!(
        policy.contains(&format!("# Rejected: {rejected}\n")),
        "{policy}"
    );
    assert_eq!(seen["saved"], json!(["access-policy.yaml", true]));
    assert_eq!(seen["again"], tally(rest + 1, 1));
    for (name, width) in seen["overflow"].as_object().unwrap() {
        let wanted = name.split('-').next().unwrap().parse::<u64>().unwrap();
        assert!(width.as_u64().unwrap() <= wanted, "{name}: {width}");
    }
}

#[test]
fn grants_are_added_to_an_earlier_policy() {
    let folder = tempfile::tempdir().unwrap();
    let own = "version: 1\ndecoys: []\ngrants:\n  # Ours.\n  - secrets: [\"arn:aws:ssm:*:111122223333:parameter/own\"]\n    \
        principals: [\"arn:aws:iam::111122223333:role/own\"]\n";
    let file = folder.path().join("own.yaml");
    fs::write(&file, own).unwrap();
    let seen = reviewed(LOGS, &["--merge", file.to_str().unwrap()], folder.path());
    let earlier = 1;
    assert!(seen["nothing"][1].as_str().unwrap().starts_with(own));
    let of = |name: &str| grants(seen[name][1].as_str().unwrap(), folder.path());
    assert_eq!(of("nothing"), earlier);
    let tally = seen["decided"][0].as_str().unwrap();
    let accepted: usize = tally.split(' ').next().unwrap().parse().unwrap();
    assert_eq!(of("decided"), earlier + accepted);
}

#[test]
fn nothing_from_a_log_runs_in_the_review() {
    let folder = tempfile::tempdir().unwrap();
    let seen = reviewed(&hostile(folder.path()), &[], folder.path());
    assert_eq!(
        (&seen["pwned"], &seen["markup"]),
        (&json!("undefined"), &json!(0))
    );
    assert_eq!(seen["errors"], json!([]));
    let page = fs::read_to_string(folder.path().join("review.html")).unwrap();
    assert!(!page.contains(HARMFUL), "a text of a log is markup");
    // What was decided is a policy, whatever the names are.
    grants(seen["decided"][1].as_str().unwrap(), folder.path());
}
