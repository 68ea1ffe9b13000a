//! A job, and what it is reached through.

use std::collections::BTreeSet;

use secretrail_engine::manifest::{BackfillManifest, ManifestBatch};
use secretrail_engine::time::EventTime;

use crate::args::backfill::BackfillJobArgs;
use crate::commands::backfill::items::MapItems;
use crate::commands::backfill::job::JobLocation;
use crate::commands::backfill::progress::{ExecutionProgress, ExecutionState};
use crate::commands::backfill::step_functions::StepFunctions;
use crate::host::RunFailure;
use crate::input::s3::store;
use crate::input::store::ObjectStore;
use crate::input::{aws, manifest as job_manifest};

/// An execution of the state machine, and how far it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct StateMachineExecution {
    pub(super) arn: String,
    pub(super) progress: ExecutionProgress,
}

/// A job that was planned.
pub(super) struct ReachedJob {
    pub(super) place: JobLocation,
    pub(super) manifest: BackfillManifest,
    pub(super) machines: StepFunctions,
    store: Box<dyn ObjectStore>,
}

impl ReachedJob {
    /// Reads the manifest of a job.
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

    /// Names of everything that is there now.
    pub(super) fn there(&self) -> Result<BTreeSet<String>, RunFailure> {
        self.place.0.there(&*self.store)
    }

    /// The batches whose parts are not among these names.
    pub(super) fn missing(&self, there: &BTreeSet<String>) -> Vec<&ManifestBatch> {
        job_manifest::missing(&self.manifest, there)
    }

    /// The last execution that was started; `None` before the first, and when Step Functions has
    /// forgotten it.
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

    /// The last execution, if it is under way.
    pub(super) fn under_way(
        &self,
        there: &BTreeSet<String>,
    ) -> Result<Option<StateMachineExecution>, RunFailure> {
        let last = self.last_execution(there)?;
        Ok(last.filter(|last| last.progress.state == ExecutionState::Runs))
    }

    /// Starts an execution over these items, notes it, and gives its ARN.
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
        // Before it starts: the state machine reads them at once.
        self.place.put(&*self.store, &items.name, items.text)?;
        let arn = self
            .machines
            .start(state_machine, &name, &ask.to_string())?;
        // Only now is there something to watch. Whoever looks for this job from elsewhere finds the
        // execution by this.
        self.place.put_execution(&*self.store, &arn)?;
        Ok(arn)
    }
}
