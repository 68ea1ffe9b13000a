//! The commands that work on rules: run their examples, lint, list, explain, and the fields there
//! are.

mod examples;
mod explain;
mod lint;
mod list;

use crate::args::RulesCommand;
use crate::host::{Failure, Host};

/// Runs one of them and gives its exit code.
///
/// # Errors
///
/// [`Failure`].
pub fn run(command: &RulesCommand, host: &mut Host) -> Result<u8, Failure> {
    match command {
        RulesCommand::Test(args) => examples::run(args, host),
        RulesCommand::Lint(args) => lint::run(args, host),
        RulesCommand::List(args) => list::run(args, host),
        RulesCommand::Explain(args) => explain::run(args, host),
        RulesCommand::Fields(args) => list::fields(args, host),
    }
}
