//! Arguments of `rules`, and of all commands that use rules or a policy.

use std::path::{Path, PathBuf};

use clap::{Args, Subcommand};

use crate::args::{output::ListFormat, value::RuleNameParser};

/// The commands of `rules`.
#[derive(Debug, Subcommand)]
pub enum RulesCommand {
    /// Run the examples in the rules.
    #[command(after_help = "Exit codes: 0 all examples passed, 1 some failed, \
            2 invalid rule, 64 usage error.")]
    Test(RulesTestArgs),
    /// Check rules for errors and style.
    #[command(
        after_help = "Exit codes: 0 clean or only hints, 1 warnings, 2 errors, 64 usage error."
    )]
    Lint(RulesLintArgs),
    /// List rules.
    List(RulesListArgs),
    /// Show, selection by selection, why a rule fires or not for the records in a file.
    Explain(RulesExplainArgs),
    /// Print the ATT&CK techniques of the rules as a layer for the ATT&CK Navigator.
    Coverage(RulesCoverageArgs),
    /// List the fields that rules may use in addition to CloudTrail's own.
    Fields(RulesFieldsArgs),
}

/// Rule files, and the values of their placeholders.
#[derive(Debug, Default, Args)]
pub struct RuleFilesArgs {
    /// Sigma file or folder, in place of the built-in pack; may be repeated.
    #[arg(
        short,
        long,
        alias = "path",
        value_name = "RULES",
        help_heading = "Rules"
    )]
    pub rules: Vec<PathBuf>,
    /// YAML file with the values of `|expand` placeholders: each name with a value or a list of
    /// values.
    #[arg(long, value_name = "FILE", help_heading = "Rules")]
    pub vars: Option<PathBuf>,
    /// Go on without the files whose rules cannot be used, and name them.
    #[arg(long, help_heading = "Rules")]
    pub skip_invalid: bool,
    /// Lists of networks.
    #[command(flatten)]
    pub lists: NetworkArgs,
    /// Databases of where addresses are registered.
    #[command(flatten)]
    pub geo: GeoArgs,
}

/// Lists of networks, for rules and for the access policy.
#[derive(Debug, Default, Clone, Args)]
pub struct NetworkArgs {
    /// List of networks under a label, for `source.class` (own, hosted_ci, anonymizer, aws) and
    /// `source.lists` in rules, and `class:` and `list:` in the access policy: one network a line,
    /// or ip-ranges.json of AWS, or the meta document of GitHub; may be repeated.
    #[arg(long, value_name = "LABEL=FILE", value_parser = network_file, help_heading = "Rules")]
    pub networks: Vec<NetworkFile>,
}

/// Databases of where addresses are registered.
#[derive(Debug, Clone, Default, Args)]
pub struct GeoArgs {
    /// Database in MaxMind format (GeoLite2-Country.mmdb, GeoLite2-ASN.mmdb and others), for
    /// country and provider of each address; may be repeated.
    #[arg(long, value_name = "FILE", help_heading = "Sources")]
    pub geoip: Vec<PathBuf>,
}

/// A list of networks and its label.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NetworkFile {
    /// Its label.
    pub label: String,
    /// Its file.
    pub path: PathBuf,
}

/// Reads `LABEL=FILE`.
fn network_file(text: &str) -> Result<NetworkFile, String> {
    match text.split_once('=') {
        Some((label, path)) if !path.is_empty() => Ok(NetworkFile {
            label: label.to_owned(),
            path: path.into(),
        }),
        _ => Err("write a label and a file, as in own=networks.txt".to_owned()),
    }
}

/// The access policy, and how strictly it applies.
#[derive(Debug, Args)]
pub struct PolicyArgs {
    /// Access policy: who may read what.
    #[arg(long, value_name = "FILE", help_heading = "Rules")]
    pub policy: Option<PathBuf>,
    /// Treat reads of secrets that no grant covers as unexpected.
    #[arg(long, requires = "policy", help_heading = "Rules")]
    pub strict: bool,
}

impl RuleFilesArgs {
    /// The options again, as they would be typed: for a command that shall see the same.
    pub(crate) fn typed(&self) -> Vec<String> {
        let rules = self.rules.iter().map(|path| ("--rules", shown(path)));
        let vars = self.vars.iter().map(|path| ("--vars", shown(path)));
        let networks = self.lists.networks.iter();
        let networks = networks.map(|list| {
            let value = format!("{}={}", list.label, shown(&list.path));
            ("--networks", value)
        });
        let geoip = self.geo.geoip.iter().map(|path| ("--geoip", shown(path)));
        let options = rules.chain(vars).chain(networks).chain(geoip);
        let mut typed: Vec<String> = options
            .flat_map(|(option, value)| [option.to_owned(), value])
            .collect();
        if self.skip_invalid {
            typed.push("--skip-invalid".to_owned());
        }
        typed
    }
}

impl PolicyArgs {
    /// The options again, as they would be typed.
    pub(crate) fn typed(&self) -> Vec<String> {
        let policy = self.policy.iter();
        let mut typed: Vec<String> = policy
            .flat_map(|path| ["--policy".to_owned(), shown(path)])
            .collect();
        if self.strict {
            typed.push("--strict".to_owned());
        }
        typed
    }
}

fn shown(path: &Path) -> String {
    path.to_string_lossy().into_owned()
}

/// Arguments of `rules coverage`.
#[derive(Debug, Args)]
pub struct RulesCoverageArgs {
    /// The rules.
    #[command(flatten)]
    pub files: RuleFilesArgs,
}

/// Arguments of `rules test`.
#[derive(Debug, Args)]
pub struct RulesTestArgs {
    /// The rules to use.
    #[command(flatten)]
    pub files: RuleFilesArgs,
    /// Only the rule with this id, title or file name; may be repeated.
    #[arg(long, value_name = "RULE", value_parser = RuleNameParser, hide_possible_values = true)]
    pub rule: Vec<String>,
    /// Print only failures.
    #[arg(long)]
    pub show_failures_only: bool,
    /// Also write the results as JUnit XML.
    #[arg(long, value_name = "FILE")]
    pub junit: Option<PathBuf>,
}

/// Arguments of `rules lint`.
#[derive(Debug, Args)]
pub struct RulesLintArgs {
    /// The rules to use.
    #[command(flatten)]
    pub files: RuleFilesArgs,
}

/// Arguments of `rules list`.
#[derive(Debug, Args)]
pub struct RulesListArgs {
    /// The rules to use.
    #[command(flatten)]
    pub files: RuleFilesArgs,
    /// Output format.
    #[arg(short, long, value_enum, default_value_t = ListFormat::Table)]
    pub format: ListFormat,
}

/// Arguments of `rules explain`.
#[derive(Debug, Args)]
pub struct RulesExplainArgs {
    /// Id, title or file name of the rule.
    #[arg(value_name = "RULE", value_parser = RuleNameParser, hide_possible_values = true)]
    pub rule: String,
    /// File with CloudTrail records, in any format that `replay` reads; `-` for standard input.
    #[arg(value_name = "EVENT-FILE")]
    pub events: PathBuf,
    /// The rules to use.
    #[command(flatten)]
    pub files: RuleFilesArgs,
    /// The access policy to use.
    #[command(flatten)]
    pub policy: PolicyArgs,
}

/// Arguments of `rules fields`.
#[derive(Debug, Args)]
pub struct RulesFieldsArgs {
    /// Output format.
    #[arg(short, long, value_enum, default_value_t = ListFormat::Table)]
    pub format: ListFormat,
}
