//! A planned job with its clients of S3 and Step Functions.

use std::collections::BTreeSet;

use secretrail_engine::{
    manifest::{BackfillManifest, ManifestBatch},
    time::EventTime,
};

use crate::{
    args::backfill::BackfillJobArgs,
    commands::backfill::{
        items::MapItems,
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
    pub(super) manifest: BackfillManifest,
    pub(super) machines: StepFunctions,
    store: Box<dyn ObjectStore>,
}

impl ReachedJob {
    /// Connects to AWS and reads the manifest of a job.
    pub(super) fn open(args: &BackfillJobArgs) -> Result<Self, RunFailure> {
        let place = JobLocation::of(&args.job)?;
        let connection = aws::connect_to(&args.aws)?;
        let store = store(Some(&connection), &args.aws);
        Ok(Self {
            manifest: place.manifest(&*store)?,
            machines: StepFunctions::new(connection),
            place,
            store,
        })
    }

    /// Names of all objects of the job, as they are now.
    pub(super) fn there(&self) -> Result<BTreeSet<String>, RunFailure> {
        self.place.0.there(&*self.store)
    }

    /// The batches whose extract files are not among these names.
    pub(super) fn missing(&self, there: &BTreeSet<String>) -> Vec<&ManifestBatch> {
        job_manifest::missing(&self.manifest, there)
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

    /// Starts an execution over these items, records and returns its ARN.
    pub(super) fn start(
        &self,
        state_machine: &str,
        items: MapItems,
        now: EventTime,
    ) -> Result<String, RunFailure> {
        let ask = serde_json::json!({
            "bucket": self.place.0.bucket,
            "prefix": self.place.0.prefix,
            "items": self.place.0.key(&items.name),
        });
        let name = items.execution(now);
        // Written before the start: the state machine reads them at once.
        self.place.put(&*self.store, &items.name, items.text)?;
        let arn = self
            .machines
            .start(state_machine, &name, &ask.to_string())?;
        // Recorded after the start; commands on other machines find the execution by it.
        self.place.put_execution(&*self.store, &arn)?;
        Ok(arn)
    }
}
