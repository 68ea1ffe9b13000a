//! What help and manual pages say beyond the options: examples, files, the environment; and what
//! short help leaves out.

use std::fmt::Write as _;

use clap::{Command, CommandFactory};

use crate::args::{CommandLine, OutputFormat};

/// A name, and what it is.
pub type Entry = (&'static str, &'static str);

/// What an example does, and its command line.
pub type Example = (&'static str, &'static str);

/// The commands that greet people who type `secretrail` alone.
const FIRST: [Example; 5] = [
    (
        "Try it on example logs: five incidents and a report",
        "secretrail demo",
    ),
    (
        "One screen: worst incidents, who read what, what is new",
        "secretrail summary LOGS --since 7d",
    ),
    (
        "The incidents, most suspicious first",
        "secretrail replay LOGS --since 30d",
    ),
    (
        "One incident: what happened, what to check and to do",
        "secretrail explain ID LOGS",
    ),
    (
        "Which values got out, and do they still work?",
        "secretrail exposure LOGS --incident ID",
    ),
];

/// Examples of the commands: a line with `#` and what it does, and the command line.
const EXAMPLES: &str = include_str!("examples.txt");

/// Options that most people never need, by name: only long help lists them, where a command reads
/// logs.
const RARE: [&str; 19] = [
    "access_key",
    "aws_region",
    "checkpoint",
    "color",
    "endpoint_url",
    "geoip",
    "lookback",
    "method",
    "networks",
    "no_progress",
    "outcome",
    "profile",
    "requester_pays",
    "skip_invalid",
    "source",
    "temp_dir",
    "threads",
    "vars",
    "warm_up",
];

/// The greeting.
#[must_use]
pub fn greeting() -> String {
    let mut text =
        "Secretrail says who read which AWS secret, and whether they should have.\n\n".to_owned();
    for (does, line) in FIRST {
        writeln!(text, "  {line}\n      {does}").ok();
    }
    text.push_str(
        "\nLOGS is a file, folder or archive of CloudTrail logs, or s3://bucket/prefix.\n\
         All commands: secretrail --help\n",
    );
    text
}

/// The command line with all that help and completions show.
#[must_use]
pub fn command() -> Command {
    guided(CommandLine::command(), "secretrail")
}

/// A command and those below it, with their examples.
fn guided(mut command: Command, name: &str) -> Command {
    let below: Vec<String> = command
        .get_subcommands()
        .map(|below| below.get_name().to_owned())
        .collect();
    for below in below {
        let name = format!("{name} {below}");
        command = command.mut_subcommand(&below, |below| guided(below, &name));
    }
    let formats = formats(name);
    let is_reader = command.get_arguments().any(|arg| arg.get_id() == "paths");
    let command = command.mut_args(|arg| match arg.get_id().as_str() {
        "format" if !formats.is_empty() => arg.value_parser(OutputFormat::offered(formats)),
        id if is_reader && RARE.contains(&id) => arg.hide_short_help(true),
        _ => arg,
    });
    let mut examples = "Examples:".to_owned();
    for (does, line) in examples_of(name) {
        write!(examples, "\n  # {does}\n  {line}").ok();
    }
    let long = match command.get_after_help() {
        Some(exit_codes) => format!("{examples}\n\n{exit_codes}"),
        None => examples.clone(),
    };
    command.after_help(examples).after_long_help(long)
}

/// The formats of a command, by its name; none where it has a list of its own.
fn formats(name: &str) -> &'static [OutputFormat] {
    use OutputFormat::{Csv, Html, Json, Jsonl, Ocsf, Parquet, Table};
    match name {
        "secretrail replay" => &[Table, Json, Jsonl, Csv, Ocsf, Html],
        "secretrail accesses" => &[Table, Json, Jsonl, Csv, Parquet],
        "secretrail exposure" => &[Table, Json, Jsonl, Csv, Html],
        "secretrail summary" => &[Table, Json],
        "secretrail rules list" | "secretrail rules fields" | "secretrail policy pattern" => &[],
        _ => &OutputFormat::ROWS,
    }
}

/// The examples of a command, by its name, and of those below it.
fn examples_of(name: &str) -> Vec<Example> {
    if name == "secretrail" {
        return FIRST.to_vec();
    }
    let mut found = Vec::new();
    let mut does = "";
    for line in EXAMPLES.lines() {
        match line.strip_prefix("# ") {
            Some(comment) => does = comment,
            None => {
                let rest = line.strip_prefix(name);
                if rest.is_some_and(|rest| rest.is_empty() || rest.starts_with(' ')) {
                    found.push((does, line));
                }
            }
        }
    }
    found
}

/// The name of a built command as it is typed: `secretrail rules test`.
#[must_use]
pub fn name(command: &Command) -> &str {
    // clap names the first one only when it parses.
    command.get_bin_name().unwrap_or(command.get_name())
}

/// The examples of a built command.
#[must_use]
pub fn examples(command: &Command) -> Vec<Example> {
    examples_of(name(command))
}

/// What is said about exit codes in long help of [`command`]; `None` for a group of commands.
#[must_use]
pub fn exit_codes(command: &Command) -> Option<String> {
    let examples = command.get_after_help()?.to_string();
    let long = command.get_after_long_help()?.to_string();
    let codes = long.strip_prefix(&examples)?.trim();
    (!codes.is_empty()).then(|| codes.to_owned())
}

/// Whether a command has an argument of this name.
fn has(command: &Command, name: &str) -> bool {
    command.get_arguments().any(|arg| arg.get_id() == name)
}

/// Whether a built command takes defaults of options from the user's file.
fn has_defaults(command: &Command) -> bool {
    let mut options = command.get_arguments().filter_map(|arg| arg.get_long());
    name(command).split(' ').count() == 2 && options.any(|long| long != "help" && long != "all")
}

/// Files that a built command uses beside those that are named.
#[must_use]
pub fn files(command: &Command) -> Vec<Entry> {
    let mut files = Vec::new();
    if has_defaults(command) {
        files.push((
            "~/.config/secretrail/secretrail.toml",
            "Defaults of options, for all commands or in a table for one. No file of the working \
             directory is read.",
        ));
    }
    if has(command, "profile") {
        files.push((
            "~/.aws/config, ~/.aws/credentials",
            "Profiles of the AWS configuration, for what is in AWS.",
        ));
    }
    if has(command, "output") {
        files.push((
            ".NAME.….partial",
            "An output that is not complete yet, beside its place. A run that ends removes it; one \
             that is killed leaves it.",
        ));
    }
    files
}

/// Variables that a built command uses.
#[must_use]
pub fn environment(command: &Command) -> Vec<Entry> {
    let mut variables = Vec::new();
    if has_defaults(command) {
        variables.extend([
            (
                "SECRETRAIL_CONFIG",
                "File with the defaults of options, in place of the usual one; it must exist.",
            ),
            (
                "XDG_CONFIG_HOME",
                "Folder in place of ~/.config, for the usual file.",
            ),
        ]);
    }
    if has(command, "color") {
        variables.push(("NO_COLOR", "If it is set and not empty, no colours."));
    }
    if has(command, "temp_dir") {
        variables.push((
            "TMPDIR",
            "Folder for the temporary files of a long history, without --temp-dir.",
        ));
    }
    if has(command, "profile") {
        variables.extend([
            (
                "AWS_PROFILE, AWS_REGION",
                "Profile and region, without --profile and --aws-region.",
            ),
            (
                "AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY, AWS_SESSION_TOKEN",
                "Credentials; --profile counts before them.",
            ),
        ]);
    }
    variables
}

#[cfg(test)]
mod tests {
    use clap::FromArgMatches;

    use super::*;

    /// The words of a command line up to what its shell takes; quotes are removed.
    fn words(line: &str) -> Vec<String> {
        let line = line.split(['|', '>']).next().unwrap();
        let mut words = Vec::new();
        for (index, part) in line.split('"').enumerate() {
            match index % 2 {
                0 => words.extend(part.split_whitespace().map(str::to_owned)),
                _ => words.push(part.to_owned()),
            }
        }
        words
    }

    #[test]
    fn every_example_is_a_command_and_fits_a_terminal() {
        let lines = EXAMPLES
            .lines()
            .filter(|line| line.starts_with("secretrail"));
        let lines: Vec<&str> = lines.chain(FIRST.map(|(_, line)| line)).collect();
        assert!(lines.len() > 40, "{} examples", lines.len());
        for line in lines {
            // As the command does, with the formats that it offers.
            let parsed = command().try_get_matches_from(words(line));
            let parsed = parsed.and_then(|found| CommandLine::from_arg_matches(&found));
            assert!(parsed.is_ok(), "{line}: {}", parsed.unwrap_err());
            assert!(line.len() <= 78, "{line}");
        }
    }

    #[test]
    fn every_command_has_examples() {
        fn check(command: &Command) {
            assert!(!examples(command).is_empty(), "{}", name(command));
            command.get_subcommands().for_each(check);
        }
        let mut root = command().disable_help_subcommand(true);
        root.build();
        check(&root);
        let of = |name: &str| examples_of(name).len();
        assert_eq!((of("secretrail rules test"), of("secretrail re")), (2, 0));
    }

    #[test]
    fn what_help_says_is_what_the_parser_takes() {
        // The debug assertions of clap: values, defaults and conflicts fit each other.
        command().debug_assert();
        let rare: Vec<_> = RARE
            .iter()
            .filter(|rare| {
                let all = CommandLine::command();
                !all.get_subcommands().any(|command| has(command, rare))
            })
            .collect();
        assert!(rare.is_empty(), "no command has {rare:?}");
    }
}
