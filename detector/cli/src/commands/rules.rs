//! The commands that work on rules: run their examples, lint, list, explain, and the fields there
//! are.

mod examples;
mod explain;
mod lint;
mod list;

use crate::args::RulesCommand;
use crate::host::{ProcessHost, RunFailure};

/// Runs one of them and gives its exit code.
///
/// # Errors
///
/// [`Failure`].
pub fn run(command: &RulesCommand, host: &mut ProcessHost) -> Result<u8, RunFailure> {
    match command {
        RulesCommand::Test(args) => examples::run(args, host),
        RulesCommand::Lint(args) => lint::run(args, host),
        RulesCommand::List(args) => list::run(args, host),
        RulesCommand::Explain(args) => explain::run(args, host),
        RulesCommand::Fields(args) => list::fields(args, host),
    }
}
