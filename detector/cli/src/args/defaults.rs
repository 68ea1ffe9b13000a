//! Defaults of options from a configuration file; options on the command line take precedence.
//!
//! The file is never searched for in the working directory: evidence may lie there, and must not
//! decide where output goes or which endpoint is called.

use std::{
    collections::BTreeSet,
    ffi::{OsStr, OsString},
    path::Path,
};

use clap::{Arg, ArgAction, ArgMatches, Command, parser::ValueSource};
use secretrail_engine::sanitize::without_byte_order_mark;
use toml::{Table, Value};

use crate::host::{ConfigSource, RunFailure};

/// The path of the file and its text; `None` if the user has no such file.
fn read(source: &ConfigSource) -> Result<Option<(&Path, String)>, RunFailure> {
    let (ConfigSource::Named(path) | ConfigSource::Usual(path)) = source;
    match (std::fs::read_to_string(path), source) {
        (Ok(text), _) => Ok(Some((path, text))),
        // Only the usual file may be absent: a mistyped name would drop the defaults in silence.
        (Err(error), ConfigSource::Usual(_)) if error.kind() == std::io::ErrorKind::NotFound => {
            Ok(None)
        }
        (Err(error), _) => Err(fault(path, &error.to_string())),
    }
}

fn fault(path: &Path, message: &str) -> RunFailure {
    RunFailure::Usage(format!("{}: {message}", path.display()))
}

/// The arguments, followed by the defaults of the file.
///
/// # Errors
///
/// [`RunFailure::Usage`]: the file cannot be read, or names an unknown command or option.
pub fn with_defaults(
    command: impl FnOnce() -> Command,
    args: Vec<OsString>,
    source: Option<&ConfigSource>,
) -> Result<Vec<OsString>, RunFailure> {
    let Some((path, text)) = source.map(read).transpose()?.flatten() else {
        return Ok(args);
    };
    let table: Table = without_byte_order_mark(&text)
        .parse()
        .map_err(|error: toml::de::Error| fault(path, &error.to_string()))?;
    let command = command();
    known(&command, &table, path)?;
    // Only to find the command and the options that were typed; errors are reported when the full
    // command line is parsed.
    let typed = command.clone().ignore_errors(true);
    let Ok(typed) = typed.try_get_matches_from(&args) else {
        return Ok(args);
    };
    let Some((name, matches)) = typed.subcommand() else {
        return Ok(args);
    };
    let Some(command) = command.find_subcommand(name) else {
        return Ok(args);
    };
    let more = not_typed(command, &table, matches).map_err(|message| fault(path, &message.0))?;
    // Before `--`: what follows it is never an option.
    let end = args
        .iter()
        .position(|arg| arg == OsStr::new("--"))
        .unwrap_or(args.len());
    let (before, after) = args.split_at_checked(end).unwrap_or((&args, &[]));
    Ok([before, &more, after].concat())
}

/// The message about a value that its option does not accept.
struct WrongValue(String);

/// The options of a command that are in the file and were not typed. Those in the table of the
/// command take precedence over those of all commands.
fn not_typed(
    command: &Command,
    table: &Table,
    matches: &ArgMatches,
) -> Result<Vec<OsString>, WrongValue> {
    let mut more = Vec::new();
    let own = table.get(command.get_name()).and_then(Value::as_table);
    for arg in command.get_arguments() {
        let Some(long) = arg.get_long() else { continue };
        let value = own
            .and_then(|own| own.get(long))
            .or_else(|| table.get(long).filter(|value| !value.is_table()));
        if let Some(value) = value.filter(|_| is_open(command, arg, matches)) {
            more.extend(typed_as(arg, long, value)?);
        }
    }
    Ok(more)
}

/// Whether neither the option nor one that conflicts with it was typed. clap knows a conflict only
/// on the option that declares it, so both directions are checked.
fn is_open(command: &Command, arg: &Arg, matches: &ArgMatches) -> bool {
    !was_typed(matches, arg)
        && !command
            .get_arg_conflicts_with(arg)
            .iter()
            .any(|other| was_typed(matches, other))
        && !command.get_arguments().any(|other| {
            was_typed(matches, other)
                && command
                    .get_arg_conflicts_with(other)
                    .iter()
                    .any(|conflict| conflict.get_id() == arg.get_id())
        })
}

fn was_typed(matches: &ArgMatches, arg: &Arg) -> bool {
    matches.value_source(arg.get_id().as_str()) == Some(ValueSource::CommandLine)
}

/// The option as it would be typed.
fn typed_as(arg: &Arg, long: &str, value: &Value) -> Result<Vec<OsString>, WrongValue> {
    let takes_value = matches!(arg.get_action(), ArgAction::Set | ArgAction::Append);
    match value {
        Value::Boolean(true) if !takes_value => Ok(vec![OsString::from(format!("--{long}"))]),
        Value::Boolean(false) if !takes_value => Ok(Vec::new()),
        _ if !takes_value => Err(WrongValue(format!(
            "`{long}` must be true or false, not {}",
            value.type_str()
        ))),
        Value::Array(values) => values.iter().map(|value| one(long, value)).collect(),
        value => one(long, value).map(|option| vec![option]),
    }
}

/// One value of an option, joined by `=`: a value that begins with `-` is not an option.
fn one(long: &str, value: &Value) -> Result<OsString, WrongValue> {
    match value {
        Value::String(text) => Ok(OsString::from(format!("--{long}={text}"))),
        Value::Integer(number) => Ok(OsString::from(format!("--{long}={number}"))),
        Value::Datetime(time) => Ok(OsString::from(format!("--{long}={time}"))),
        _ => Err(WrongValue(format!(
            "`{long}` must be a string or a number, not {}",
            value.type_str()
        ))),
    }
}

/// Rejects tables that are not commands, and options that the command does not have.
fn known(command: &Command, table: &Table, path: &Path) -> Result<(), RunFailure> {
    let all: BTreeSet<String> = command.get_subcommands().flat_map(options).collect();
    let commands: BTreeSet<String> = command
        .get_subcommands()
        .map(|command| command.get_name().to_owned())
        .collect();
    for (key, value) in table {
        let Some(own) = value.as_table() else {
            must_be_one(key, &all, "an option", path)?;
            continue;
        };
        must_be_one(key, &commands, "a command", path)?;
        let options = command
            .find_subcommand(key)
            .map(options)
            .unwrap_or_default();
        own.keys()
            .try_for_each(|key| must_be_one(key, &options, "an option", path))?;
    }
    Ok(())
}

/// The long names of the options of a command.
fn options(command: &Command) -> BTreeSet<String> {
    command
        .get_arguments()
        .filter_map(|arg| arg.get_long())
        .map(str::to_owned)
        .collect()
}

fn must_be_one(
    key: &str,
    known: &BTreeSet<String>,
    what: &str,
    path: &Path,
) -> Result<(), RunFailure> {
    if known.contains(key) {
        return Ok(());
    }
    let close = known
        .iter()
        .map(|known| (strsim::damerau_levenshtein(known, key), known))
        .min();
    let tip = close.filter(|(distance, known)| *distance <= known.len() / 2);
    let tip = tip
        .map(|(_, known)| format!("; did you mean `{known}`?"))
        .unwrap_or_default();
    Err(fault(path, &format!("`{key}` is not {what}{tip}")))
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;
    use crate::args::CommandLine;

    /// What a command line becomes with a file of defaults.
    fn with(file: &str, typed: &str) -> Result<String, String> {
        let source = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(source.path(), file).unwrap();
        let args = typed.split(' ').map(OsString::from).collect();
        let named = ConfigSource::Named(source.path().to_owned());
        let args = with_defaults(CommandLine::command, args, Some(&named));
        let args = args.map_err(|failure| failure.to_string())?;
        let words: Vec<_> = args.iter().map(|arg| arg.to_string_lossy()).collect();
        Ok(words.join(" "))
    }

    #[test]
    fn what_was_typed_takes_precedence_over_the_file() {
        let file = "format = \"json\"\n[replay]\nformat = \"csv\"\n";
        assert_eq!(
            with(file, "secretrail replay logs").unwrap(),
            "secretrail replay logs --format=csv"
        );
        assert_eq!(
            with(file, "secretrail accesses logs").unwrap(),
            "secretrail accesses logs --format=json"
        );
        assert_eq!(
            with(file, "secretrail replay logs -f table").unwrap(),
            "secretrail replay logs -f table"
        );
    }

    #[test]
    fn an_option_that_excludes_what_was_typed_is_omitted() {
        let file = "since = \"30d\"\n";
        let typed = "secretrail accesses logs --from 2026-03-02";
        assert_eq!(with(file, typed).unwrap(), typed);
    }

    #[test]
    fn options_come_before_the_end_of_options() {
        assert_eq!(
            with("quiet = true\n", "secretrail accesses -- -logs").unwrap(),
            "secretrail accesses --quiet -- -logs"
        );
    }

    #[test]
    fn what_no_command_has_is_refused_with_what_is_close() {
        let error = with("formt = \"json\"\n", "secretrail accesses logs").unwrap_err();
        assert!(
            error.ends_with("`formt` is not an option; did you mean `format`?"),
            "{error}"
        );
        let error = with("quiet = 3\n", "secretrail accesses logs").unwrap_err();
        assert!(
            error.ends_with("`quiet` must be true or false, not integer"),
            "{error}"
        );
    }
}
