//! The commands that work on rules: run their examples, lint, list, explain, and the fields there are.

use std::fmt::Write as _;
use std::io::Read as _;

use quick_junit::{NonSuccessKind, Report, TestCase, TestCaseStatus, TestSuite};
use secretrail_engine::authoring::examples;
use secretrail_engine::authoring::explain::{Explanation, explain, is_named};
use secretrail_engine::authoring::lint::{Severity, lint};
use secretrail_engine::neutral;
use secretrail_engine::policy::Policy;
use secretrail_engine::rule::RuleSet;
use secretrail_engine::rule::example::Example;
use secretrail_engine::rule::fields::DERIVED;
use secretrail_engine::rule_meta::RuleMeta;
use secretrail_pack::{Rules, complete};

use crate::args::{
    ListFormat, RulesCommand, RulesExplain, RulesFields, RulesLint, RulesList, RulesTest,
};
use crate::exit;
use crate::host::{Failure, Host, print, say};
use crate::input::rules_and_policy;
use crate::output::{out, table};

/// Runs one of them and gives its exit code.
///
/// # Errors
///
/// [`Failure`].
pub fn run(command: &RulesCommand, host: &mut Host) -> Result<u8, Failure> {
    match command {
        RulesCommand::Test(args) => test(args, host),
        RulesCommand::Lint(args) => self::lint_files(args, host),
        RulesCommand::List(args) => list(args, host),
        RulesCommand::Explain(args) => explain_rule(args, host),
        RulesCommand::Fields(args) => fields(args, host),
    }
}

/// How an example went.
struct Tried<'e> {
    example: &'e Example,
    title: String,
    result: Result<(), String>,
    decided: String,
}

fn test(args: &RulesTest, host: &mut Host) -> Result<u8, Failure> {
    let loaded = rules_and_policy::rules(&args.files)?;
    let (rules, all) = (&loaded.set, &loaded.examples);
    let metas = metas(&loaded);
    for name in &args.rule {
        if !metas.iter().any(|meta| is_named(meta, name)) {
            return Err(Failure::Usage(format!(
                "there is no rule `{name}`; `secretrail rules list` shows them"
            )));
        }
    }
    let asked =
        |meta: &RuleMeta| args.rule.is_empty() || args.rule.iter().any(|name| is_named(meta, name));
    let mut tried = Vec::new();
    for example in all {
        let Some(meta) = metas
            .iter()
            .find(|meta| meta.id == example.rule)
            .filter(|meta| asked(meta))
        else {
            continue;
        };
        tried.push(try_example(rules, meta, example));
    }
    let mut text = String::new();
    for one in tried
        .iter()
        .filter(|one| !args.show_failures_only || one.result.is_err())
    {
        report_one(one, &mut text);
    }
    let failed = tried.iter().filter(|one| one.result.is_err()).count();
    let bare: Vec<_> = metas
        .iter()
        .filter(|meta| asked(meta) && !all.iter().any(|e| e.rule == meta.id))
        .collect();
    let rules_tried = metas
        .iter()
        .filter(|meta| tried.iter().any(|one| one.example.rule == meta.id))
        .count();
    writeln!(
        text,
        "\n{} examples of {rules_tried} rules: {} passed, {failed} failed",
        tried.len(),
        tried.len() - failed
    )
    .ok();
    for meta in &bare {
        writeln!(
            text,
            "no examples: {} ({})",
            neutral::line(&meta.title),
            neutral::line(&meta.file)
        )
        .ok();
    }
    print(host, &text)?;
    if let Some(path) = &args.junit {
        out::write_file(path, junit(&tried)?.as_bytes())?;
    }
    Ok(if failed > 0 {
        exit::FINDINGS
    } else {
        exit::DONE
    })
}

fn try_example<'e>(rules: &RuleSet, meta: &RuleMeta, example: &'e Example) -> Tried<'e> {
    let result =
        pollster::block_on(examples::run(rules, example)).map_err(|fault| fault.to_string());
    let policy = example
        .policy
        .as_ref()
        .and_then(|text| text.parse::<Policy>().ok());
    let events = format!("[{}]", example.events.join(","));
    let told = pollster::block_on(explain(rules, &meta.id, events.as_bytes(), policy.as_ref()));
    let decided = told
        .map(|explanation| decided(&explanation))
        .unwrap_or_default();
    Tried {
        example,
        title: meta.title.clone(),
        result,
        decided,
    }
}

/// What decided: the count of the group that came furthest, or the selections of the first event that matched.
fn decided(explanation: &Explanation) -> String {
    // The group of a rule about single events only keeps it from repeating itself.
    let single = explanation.events.iter().any(|event| event.rule.is_empty());
    let group = explanation
        .groups
        .iter()
        .find(|g| g.fired)
        .or_else(|| explanation.groups.first());
    if let Some(group) = group.filter(|_| !single) {
        return format!("{}: {}", group.group, group.count);
    }
    let event = explanation
        .events
        .iter()
        .find(|e| e.matched)
        .or_else(|| explanation.events.first());
    event.map_or_else(
        || "the rule sees none of the events".to_owned(),
        secretrail_engine::authoring::explain::EventTrace::decided,
    )
}

fn report_one(one: &Tried<'_>, out: &mut String) {
    let mark = if one.result.is_ok() {
        "[PASS]"
    } else {
        "[FAIL]"
    };
    let verb = if one.example.fires {
        "fires"
    } else {
        "stays quiet"
    };
    writeln!(
        out,
        "{mark} {}: {} ({verb})",
        neutral::line(&one.title),
        neutral::line(&one.example.name)
    )
    .ok();
    if let Err(fault) = &one.result {
        writeln!(out, "       {}", neutral::line(fault)).ok();
    }
    writeln!(out, "       {}", neutral::line(&one.decided)).ok();
}

fn junit(tried: &[Tried<'_>]) -> Result<String, Failure> {
    let mut report = Report::new("secretrail rules test");
    let mut suites: Vec<(&str, TestSuite)> = Vec::new();
    for one in tried {
        let status = match &one.result {
            Ok(()) => TestCaseStatus::success(),
            Err(fault) => {
                let mut status = TestCaseStatus::non_success(NonSuccessKind::Failure);
                status
                    .set_message(fault.as_str())
                    .set_description(one.decided.as_str());
                status
            }
        };
        let mut case = TestCase::new(one.example.name.as_str(), status);
        case.set_classname(one.title.as_str());
        match suites
            .iter_mut()
            .find(|(rule, _)| *rule == one.example.rule)
        {
            Some((_, suite)) => drop(suite.add_test_case(case)),
            None => {
                let mut suite = TestSuite::new(one.title.as_str());
                suite.add_test_case(case);
                suites.push((&one.example.rule, suite));
            }
        }
    }
    report.add_test_suites(suites.into_iter().map(|(_, suite)| suite));
    report
        .to_string()
        .map_err(|error| Failure::Internal(error.to_string()))
}

fn lint_files(args: &RulesLint, host: &mut Host) -> Result<u8, Failure> {
    let (files, needed) = complete(rules_and_policy::files(&args.files.rules)?);
    let vars = rules_and_policy::vars(args.files.vars.as_deref())?;
    let named = files.len() - needed.len();
    let borrowed: Vec<(&str, &str)> = files
        .iter()
        .map(|(name, text)| (name.as_str(), text.as_str()))
        .collect();
    let mut findings = lint(&borrowed, &vars);
    findings.retain(|finding| !needed.contains(&finding.file));
    let mut text = String::new();
    for finding in &findings {
        writeln!(text, "{}", neutral::line(&finding.to_string())).ok();
    }
    let count = |severity| findings.iter().filter(|f| f.severity == severity).count();
    let (errors, warnings, infos) = (
        count(Severity::Error),
        count(Severity::Warning),
        count(Severity::Info),
    );
    print(host, &text)?;
    say(
        host,
        &format!("{named} files: {errors} errors, {warnings} warnings, {infos} hints\n"),
    );
    Ok(match (errors, warnings) {
        (0, 0) => exit::DONE,
        (0, _) => exit::FINDINGS,
        _ => exit::RULES,
    })
}

fn list(args: &RulesList, host: &mut Host) -> Result<u8, Failure> {
    let loaded = rules_and_policy::rules(&args.files)?;
    let mut metas = metas(&loaded);
    metas.sort_by(|a, b| (&a.file, &a.title).cmp(&(&b.file, &b.title)));
    let feeds = |meta: &RuleMeta| !loaded.set.alerting().any(|m| m.id == meta.id);
    let text = match args.format {
        ListFormat::Table => {
            let rows: Vec<[String; 4]> = metas
                .iter()
                .map(|meta| {
                    let level = if feeds(meta) {
                        "(feeds another)"
                    } else {
                        meta.level.as_str()
                    };
                    [
                        level.to_owned(),
                        meta.title.clone(),
                        meta.id.clone(),
                        meta.file.clone(),
                    ]
                })
                .collect();
            table::columns(["LEVEL", "TITLE", "ID", "FILE"], &rows)
        }
        ListFormat::Json => {
            let rows: Vec<_> = metas
                .iter()
                .map(|meta| {
                    serde_json::json!({"id": meta.id, "title": meta.title, "level": meta.level.as_str(), "alerts": !feeds(meta),
                        "tags": meta.tags, "references": meta.references, "false_positives": meta.false_positives, "file": meta.file})
                })
                .collect();
            pretty(&rows)?
        }
    };
    print(host, &text)?;
    Ok(exit::DONE)
}

fn explain_rule(args: &RulesExplain, host: &mut Host) -> Result<u8, Failure> {
    let loaded = rules_and_policy::rules(&args.files)?;
    let policy = rules_and_policy::policy(&args.policy)?;
    let mut bytes = Vec::new();
    let read = match args.events.as_os_str() == "-" {
        true => host.stdin.read_to_end(&mut bytes),
        false => {
            std::fs::File::open(&args.events).and_then(|mut file| file.read_to_end(&mut bytes))
        }
    };
    let name = args.events.display().to_string();
    read.map_err(|error| Failure::Input(format!("{name}: {error}")))?;
    let explanation = pollster::block_on(explain(&loaded.set, &args.rule, &bytes, policy.as_ref()));
    let explanation = match explanation {
        Ok(explanation) => explanation,
        Err(trouble @ secretrail_engine::authoring::explain::Trouble::NoSuchRule(_)) => {
            return Err(Failure::Usage(trouble.to_string()));
        }
        Err(trouble) => return Err(Failure::Input(format!("{name}: {trouble}"))),
    };
    print(host, &explanation_text(&explanation))?;
    Ok(exit::DONE)
}

fn explanation_text(explanation: &Explanation) -> String {
    let mut out = String::new();
    let verdict = if explanation.fires {
        "fires"
    } else {
        "stays quiet"
    };
    writeln!(out, "{}: {verdict}", neutral::line(&explanation.rule.title)).ok();
    for event in &explanation.events {
        let asked = if event.rule.is_empty() {
            String::new()
        } else {
            format!(" by {}", event.rule)
        };
        let mark = if event.matched {
            "matched"
        } else {
            "not matched"
        };
        writeln!(
            out,
            "\n{}: {mark}{}",
            neutral::line(&event.event),
            neutral::line(&asked)
        )
        .ok();
        for line in &event.lines {
            let mark = if line.holds { "yes" } else { "no " };
            writeln!(
                out,
                "  {mark} {}{}",
                "  ".repeat(line.depth),
                neutral::line(&line.text)
            )
            .ok();
        }
    }
    if !explanation.groups.is_empty() {
        writeln!(out, "\nGroups:").ok();
    }
    for group in &explanation.groups {
        let mark = if group.fired { "yes" } else { "no " };
        writeln!(
            out,
            "  {mark} {}: {}",
            neutral::line(&group.group),
            neutral::line(&group.count)
        )
        .ok();
    }
    if explanation.events.is_empty() {
        writeln!(
            out,
            "\nThe rule sees none of the records: its logsource asks for others."
        )
        .ok();
    }
    out
}

fn fields(args: &RulesFields, host: &mut Host) -> Result<u8, Failure> {
    let text = match args.format {
        ListFormat::Table => {
            let rows: Vec<[String; 3]> = DERIVED
                .iter()
                .map(|field| {
                    let only = if field.access_only {
                        "accesses"
                    } else {
                        "accesses, changes"
                    };
                    [
                        field.name.to_owned(),
                        only.to_owned(),
                        field.meaning.replace('`', ""),
                    ]
                })
                .collect();
            let note = "\nBeside these, every field of the CloudTrail record under its own name, as in requestParameters.secretId.\n";
            table::columns(["FIELD", "OF", "MEANING"], &rows) + note
        }
        ListFormat::Json => {
            let row = |field: &secretrail_engine::rule::fields::Field| serde_json::json!({"name": field.name, "access_only": field.access_only, "meaning": field.meaning});
            pretty(&DERIVED.iter().map(row).collect::<Vec<_>>())?
        }
    };
    print(host, &text)?;
    Ok(exit::DONE)
}

fn pretty(rows: &[serde_json::Value]) -> Result<String, Failure> {
    let text =
        serde_json::to_string_pretty(rows).map_err(|error| Failure::Internal(error.to_string()))?;
    Ok(text + "\n")
}

/// Every rule that was named, once: a suppressed rule is a detection and a window of the same name.
fn metas(loaded: &Rules) -> Vec<&RuleMeta> {
    let mut metas: Vec<&RuleMeta> = Vec::new();
    for meta in loaded.set.metas() {
        if loaded.holds(meta) && !metas.iter().any(|known| known.id == meta.id) {
            metas.push(meta);
        }
    }
    metas
}
