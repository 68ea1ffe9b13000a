//! `rules lint`: errors, warnings and hints about rule files.

use std::fmt::Write as _;

use secretrail_engine::{
    authoring::lint::{LintFinding, LintSeverity, lint},
    sanitize,
};
use secretrail_pack::complete_with_examples;

use crate::{
    args::RulesLintArgs,
    exit,
    host::{ProcessHost, RunFailure, print, say},
    input::rules_and_policy,
    text::plural,
};

pub(super) fn run(args: &RulesLintArgs, host: &mut ProcessHost) -> Result<u8, RunFailure> {
    let LintReport { files, findings } = linted(args, host)?;
    let mut text = String::new();
    for finding in &findings {
        writeln!(text, "{}", sanitize::line(&finding.to_string())).ok();
    }
    print(host, &text)?;
    let errors = count(&findings, LintSeverity::Error);
    let warnings = count(&findings, LintSeverity::Warning);
    let infos = count(&findings, LintSeverity::Info);
    say(
        host,
        &format!(
            "{}: {}, {}, {}\n",
            plural(files as u64, "file"),
            plural(errors as u64, "error"),
            plural(warnings as u64, "warning"),
            plural(infos as u64, "hint")
        ),
    );
    Ok(match (errors, warnings) {
        (0, 0) => exit::DONE,
        (0, _) => exit::FINDINGS,
        _ => exit::RULES,
    })
}

/// The findings about rule files.
struct LintReport {
    /// Number of files that were named or, without any, are in the pack.
    files: usize,
    findings: Vec<LintFinding>,
}

fn linted(args: &RulesLintArgs, host: &mut ProcessHost) -> Result<LintReport, RunFailure> {
    let named = rules_and_policy::files(&args.files.rules)?;
    named.say_skipped(host);
    let (files, needed) = complete_with_examples(named.texts);
    let vars = rules_and_policy::vars(args.files.vars.as_deref())?;
    let borrowed: Vec<(&str, &str)> = files
        .iter()
        .map(|(name, text)| (name.as_str(), text.as_str()))
        .collect();
    let mut findings = lint(&borrowed, &vars);
    // Files of the pack that these rules refer to are only linted with the pack.
    findings.retain(|finding| !needed.contains(&finding.file));
    Ok(LintReport {
        files: files.len() - needed.len(),
        findings,
    })
}

fn count(findings: &[LintFinding], severity: LintSeverity) -> usize {
    findings.iter().filter(|f| f.severity == severity).count()
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;
    use crate::commands::tests::ran;

    #[test]
    fn the_worst_finding_decides_the_exit_code() {
        let mut file = tempfile::Builder::new().suffix(".yml").tempfile().unwrap();
        let path = file.path().to_str().unwrap().to_owned();
        file.write_all(b"title: T\nlogsource: [").unwrap();
        let broken = ran(&["rules", "lint", "-r", &path]);
        assert_eq!(broken.code, exit::RULES, "{}{}", broken.out, broken.err);
        assert!(broken.out.starts_with(&path));
        assert!(broken.err.starts_with("1 file: "), "{}", broken.err);
        // The pack has at most hints, which do not fail a build.
        let pack = ran(&["rules", "lint"]);
        assert_eq!(pack.code, exit::DONE, "{}", pack.out);
        assert!(pack.err.contains(" 0 errors, 0 warnings, "));
    }
}
