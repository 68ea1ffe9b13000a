//! `incident`: the incidents of a deployment for people: which are open, and what was decided about
//! them. A decision has an item of its own beside the incident, so that the function is never in
//! its way.

mod decide;
mod list;
mod stored;

use secretrail_engine::incident::decision::DecidedStatus;

use crate::{
    args::deployment::{IncidentCommand, StateTableArgs},
    aws_api::{ApiError, AwsApi},
    deployment::{Deployment, aws_of, logical},
    host::{ProcessHost, RunFailure},
    input::aws::connect_to,
};

/// Runs the command and returns its exit code.
///
/// # Errors
///
/// [`RunFailure`]: the run ended early.
pub fn run(command: &IncidentCommand, host: &mut ProcessHost) -> Result<u8, RunFailure> {
    match command {
        IncidentCommand::List(args) => list::run(args, host),
        IncidentCommand::Close(args) => decide::run(args, DecidedStatus::Closed, host),
        IncidentCommand::Reopen(args) => decide::run(args, DecidedStatus::Reopened, host),
    }
}

/// The services of the deployment, and the name of its table.
fn reached(args: &StateTableArgs) -> Result<(AwsApi, String), RunFailure> {
    let api = AwsApi::new(connect_to(&aws_of(&args.stack))?).map_err(failure)?;
    if let Some(table) = &args.table {
        return Ok((api, table.clone()));
    }
    let stack = Deployment::named(&api, &args.stack);
    let stack = stack.map_err(|error| RunFailure::Input(error.to_string()))?;
    let table = stack
        .physical(logical::TABLE)
        .unwrap_or_default()
        .to_owned();
    Ok((api, table))
}

#[expect(clippy::needless_pass_by_value, reason = "for map_err")]
fn failure(error: ApiError) -> RunFailure {
    RunFailure::Input(error.to_string())
}
