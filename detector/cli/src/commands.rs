//! One file for each command. They share what is read and written through `input` and `output`, and
//! know nothing of each other.

pub mod accesses;
pub mod baseline;
pub mod completions;
pub mod explain;
pub mod extract;
pub mod fleet;
pub mod gaps;
pub mod man;
pub mod replay;
pub mod rules;
pub mod summary;
pub mod verify;

#[cfg(test)]
mod tests;

use crate::args::Command;
use crate::host::{Failure, Host};

/// Runs a command and gives its exit code.
///
/// # Errors
///
/// [`Failure`]: it could not do what was asked.
pub fn execute(command: Command, host: &mut Host) -> Result<u8, Failure> {
    match command {
        Command::Replay(args) => replay::run(&args, host),
        Command::Accesses(args) => accesses::run(&args, host),
        Command::Gaps(args) => gaps::run(&args, host),
        Command::Verify(args) => verify::run(&args, host),
        Command::Summary(args) => summary::run(&args, host),
        Command::Extract(args) => extract::run(&args, host),
        Command::Fleet(command) => fleet::run(&command, host),
        Command::Explain(args) => explain::run(&args, host),
        Command::Baseline(args) => baseline::run(&args, host),
        Command::Rules(command) => rules::run(&command, host),
        Command::Completions { shell } => completions::run(shell, host),
        Command::Man => man::run(host),
    }
}
