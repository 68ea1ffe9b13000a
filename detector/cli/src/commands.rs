//! One file for each command. Commands share code through `input` and `output` and do not import
//! each other.

pub mod accesses;
pub mod backfill;
pub mod baseline;
pub mod completions;
pub mod demo;
#[cfg(feature = "s3")]
pub mod doctor;
pub mod explain;
pub mod exposure;
pub mod extract;
pub mod gaps;
#[cfg(feature = "s3")]
pub mod incident;
pub mod man;
pub mod policy;
#[cfg(feature = "s3")]
pub mod prime;
pub mod replay;
pub mod rules;
#[cfg(feature = "s3")]
pub mod send_test;
pub mod summary;
pub mod verify;

#[cfg(test)]
pub(crate) mod tests;

#[cfg(not(feature = "s3"))]
use crate::input::store::StoreError;
use crate::{
    args::CommandArgs,
    host::{ProcessHost, RunFailure},
};

/// Runs a command and returns its exit code.
///
/// # Errors
///
/// [`RunFailure`]: the run ended early.
pub fn execute(command: CommandArgs, host: &mut ProcessHost) -> Result<u8, RunFailure> {
    match command {
        CommandArgs::Demo(args) => demo::run(&args, execute, host),
        CommandArgs::Replay(args) => replay::run(&args, host),
        CommandArgs::Accesses(args) => accesses::run(&args, host),
        CommandArgs::Gaps(args) => gaps::run(&args, host),
        CommandArgs::Verify(args) => verify::run(&args, host),
        CommandArgs::Summary(args) => summary::run(&args, host),
        CommandArgs::Extract(args) => extract::run(&args, host),
        CommandArgs::Backfill(command) => backfill::run(&command, host),
        CommandArgs::Explain(args) => explain::run(&args, host),
        CommandArgs::Exposure(args) => exposure::run(&args, host),
        CommandArgs::Baseline(args) => baseline::run(&args, host),
        CommandArgs::Policy(command) => policy::run(&command, host),
        CommandArgs::Rules(command) => rules::run(&command, host),
        CommandArgs::Doctor(_)
        | CommandArgs::SendTest(_)
        | CommandArgs::Prime(_)
        | CommandArgs::Incident(_) => about_deployment(&command, host),
        CommandArgs::Completions { shell } => completions::run(shell, host),
        CommandArgs::Man(args) => man::run(&args, host),
    }
}

/// Runs a command about a deployment in AWS.
#[cfg(feature = "s3")]
fn about_deployment(command: &CommandArgs, host: &mut ProcessHost) -> Result<u8, RunFailure> {
    match command {
        CommandArgs::Doctor(args) => doctor::run(args, host),
        CommandArgs::SendTest(args) => send_test::run(args, host),
        CommandArgs::Prime(args) => prime::run(args, host),
        CommandArgs::Incident(command) => incident::run(command, host),
        _ => Err(RunFailure::Internal(
            "the command is not about a deployment".to_owned(),
        )),
    }
}

/// Fails: this build makes no calls to AWS.
#[cfg(not(feature = "s3"))]
fn about_deployment(_: &CommandArgs, _: &mut ProcessHost) -> Result<u8, RunFailure> {
    Err(RunFailure::Input(StoreError::NotBuilt.to_string()))
}
