//! A planned job with its clients of S3 and Step Functions.

use std::collections::BTreeSet;

use secretrail_engine::manifest::{BackfillIndex, IndexedBatch};

use crate::{
    args::{AwsArgs, backfill::BackfillJobArgs},
    commands::backfill::{
        failed::{FailedObjects, FailedTally},
        items::{RunItems, execution_arn},
        job::JobLocation,
        progress::{ExecutionProgress, ExecutionState},
        step_functions::StepFunctions,
    },
    host::RunFailure,
    input::{aws, manifest as job_manifest, s3::store, store::ObjectStore},
};

/// An execution of the state machine, and its progress.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct StateMachineExecution {
    pub(super) arn: String,
    pub(super) progress: ExecutionProgress,
}

/// A planned job.
pub(super) struct ReachedJob {
    pub(super) place: JobLocation,
    pub(super) index: BackfillIndex,
    pub(super) machines: StepFunctions,
    pub(super) store: Box<dyn ObjectStore>,
    aws: AwsArgs,
}

impl ReachedJob {
    /// Connects to AWS and reads the index of a job.
    pub(super) fn open(args: &BackfillJobArgs) -> Result<Self, RunFailure> {
        let place = JobLocation::of(&args.job)?;
        let (machines, store) = clients(&args.aws)?;
        Ok(Self {
            index: place.index(&*store)?,
            machines,
            place,
            store,
            aws: args.aws.clone(),
        })
    }

    /// Connects again, with the credentials that are there now.
    pub(super) fn reconnect(&mut self) -> Result<(), RunFailure> {
        (self.machines, self.store) = clients(&self.aws)?;
        Ok(())
    }

    /// Names of all objects of the job, as they are now.
    pub(super) fn there(&self) -> Result<BTreeSet<String>, RunFailure> {
        self.place.0.there(&*self.store)
    }

    /// The batches whose extract files are not among these names.
    pub(super) fn missing(&self, there: &BTreeSet<String>) -> Vec<&IndexedBatch> {
        job_manifest::missing(&self.index, there)
    }

    /// The objects that could not be read, by the lists among these names.
    pub(super) fn failed(&self, there: &BTreeSet<String>) -> Result<FailedTally, RunFailure> {
        FailedObjects::of(&self.place, there).read(&*self.store)
    }

    /// The last execution; `None` before the first, and once Step Functions has deleted it.
    pub(super) fn last_execution(
        &self,
        there: &BTreeSet<String>,
    ) -> Result<Option<StateMachineExecution>, RunFailure> {
        let Some(arn) = self.place.execution(&*self.store, there)? else {
            return Ok(None);
        };
        let progress = self.machines.execution(&arn)?;
        Ok(progress.map(|progress| StateMachineExecution { arn, progress }))
    }

    /// The last execution, if it is running.
    pub(super) fn under_way(
        &self,
        there: &BTreeSet<String>,
    ) -> Result<Option<StateMachineExecution>, RunFailure> {
        let last = self.last_execution(there)?;
        Ok(last.filter(|last| last.progress.state == ExecutionState::Runs))
    }

    /// Starts an execution over what is missing, records and returns its ARN; `None` if nothing is.
    pub(super) fn start(&self, state_machine: &str) -> Result<Option<String>, RunFailure> {
        let there = self.there()?;
        let Some(items) = RunItems::of(&self.missing(&there), &self.place) else {
            return Ok(None);
        };
        let last = self.place.execution(&*self.store, &there)?;
        let name = items.execution(last.as_deref());
        let arn = execution_arn(state_machine, &name).ok_or_else(|| not_arn(state_machine))?;
        // Written before the start: the state machine reads them at once.
        self.place.put(&*self.store, &items.name, items.text)?;
        // So is the ARN: a start whose answer is lost is found by it, here and on other machines.
        self.place.put_execution(&*self.store, &arn)?;
        let started = self.machines.start(state_machine, &name, &items.input)?;
        Ok(Some(started.unwrap_or(arn)))
    }
}

fn clients(args: &AwsArgs) -> Result<(StepFunctions, Box<dyn ObjectStore>), RunFailure> {
    let connection = aws::connect_to(args)?;
    let store = store(Some(&connection), args);
    Ok((StepFunctions::new(connection), store))
}

/// That a text is no ARN of a state machine.
pub(super) fn not_arn(state_machine: &str) -> RunFailure {
    RunFailure::Usage(format!(
        "{state_machine}: is not the ARN of a state machine; use the output `StateMachine` of the \
         stack of infra/backfill.yaml"
    ))
}
