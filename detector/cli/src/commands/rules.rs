//! `rules`: runs examples, lints, lists and explains rules, and lists their fields.

mod coverage;
mod examples;
mod explain;
mod lint;
mod list;

use crate::{
    args::RulesCommand,
    host::{ProcessHost, RunFailure},
};

/// Runs one of the commands and returns its exit code.
///
/// # Errors
///
/// [`RunFailure`]: the run ended early.
pub fn run(command: &RulesCommand, host: &mut ProcessHost) -> Result<u8, RunFailure> {
    match command {
        RulesCommand::Test(args) => examples::run(args, host),
        RulesCommand::Lint(args) => lint::run(args, host),
        RulesCommand::List(args) => list::run(args, host),
        RulesCommand::Explain(args) => explain::run(args, host),
        RulesCommand::Coverage(args) => coverage::run(args, host),
        RulesCommand::Fields(args) => list::fields(args, host),
    }
}
