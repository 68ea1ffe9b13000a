//! Starts and describes executions of the state machine, through the API of Step Functions.

#[cfg(feature = "s3")]
pub(crate) use self::with_sdk::StepFunctions;
#[cfg(not(feature = "s3"))]
pub(crate) use self::without_sdk::NoStepFunctions as StepFunctions;

#[cfg(feature = "s3")]
mod with_sdk {
    use std::sync::{Arc, OnceLock};

    use aws_sdk_sfn::{
        Client,
        error::{ProvideErrorMetadata, SdkError},
        operation::describe_execution::DescribeExecutionOutput,
        types::{ExecutionStatus, MapRunItemCounts},
    };
    use secretrail_engine::time::EventTime;

    use crate::{
        commands::backfill::progress::{ExecutionProgress, ExecutionState},
        host::RunFailure,
        input::aws::{Connection, failed_call},
    };

    /// A client of Step Functions.
    pub(crate) struct StepFunctions {
        connection: Arc<Connection>,
        client: OnceLock<Client>,
    }

    impl StepFunctions {
        /// A client, created on the first call: a job that was never started needs none.
        pub(crate) fn new(connection: Arc<Connection>) -> Self {
            Self {
                connection,
                client: OnceLock::new(),
            }
        }

        fn client(&self) -> &Client {
            self.client
                .get_or_init(|| Client::new(self.connection.config()))
        }

        /// Starts an execution of a state machine and returns its ARN.
        pub(crate) fn start(
            &self,
            machine: &str,
            name: &str,
            input: &str,
        ) -> Result<String, RunFailure> {
            let call = self
                .client()
                .start_execution()
                .state_machine_arn(machine)
                .name(name)
                .input(input)
                .send();
            let started = self.connection.wait(call);
            let started =
                started.map_err(|error| failure(machine, "states:StartExecution", &error))?;
            Ok(started.execution_arn)
        }

        /// Progress of an execution; `None` if it no longer exists: Step Functions deletes
        /// executions 90 days after their end (AWS, "Quotas for state executions").
        pub(crate) fn execution(&self, arn: &str) -> Result<Option<ExecutionProgress>, RunFailure> {
            self.connection.wait(async {
                let Some(execution) = self.describe(arn).await? else {
                    return Ok(None);
                };
                let counts = self.item_counts(arn).await?;
                Ok(Some(progress(execution, counts.as_ref())))
            })
        }

        async fn describe(&self, arn: &str) -> Result<Option<DescribeExecutionOutput>, RunFailure> {
            let call = self.client().describe_execution().execution_arn(arn);
            match call.send().await {
                Ok(execution) => Ok(Some(execution)),
                Err(error) => match error.as_service_error() {
                    Some(service) if service.is_execution_does_not_exist() => Ok(None),
                    _ => Err(failure(arn, "states:DescribeExecution", &error)),
                },
            }
        }

        /// Item counts of the map of an execution; `None` before the map has started.
        async fn item_counts(&self, arn: &str) -> Result<Option<MapRunItemCounts>, RunFailure> {
            // The state machine has one map state, so an execution has at most one map run.
            let runs = self.client().list_map_runs().execution_arn(arn).send();
            let runs = runs
                .await
                .map_err(|error| failure(arn, "states:ListMapRuns", &error))?;
            let Some(run) = runs.map_runs.first() else {
                return Ok(None);
            };
            let described = self
                .client()
                .describe_map_run()
                .map_run_arn(&run.map_run_arn)
                .send();
            let described = described
                .await
                .map_err(|error| failure(arn, "states:DescribeMapRun", &error))?;
            Ok(described.item_counts)
        }
    }

    fn progress(
        execution: DescribeExecutionOutput,
        counts: Option<&MapRunItemCounts>,
    ) -> ExecutionProgress {
        let state = match execution.status {
            // A pending redrive starts by itself.
            ExecutionStatus::Running | ExecutionStatus::PendingRedrive => ExecutionState::Runs,
            ExecutionStatus::Succeeded => ExecutionState::Succeeded,
            // Timed out and aborted executions can be resumed like failed ones.
            _ => ExecutionState::Failed,
        };
        let why = [execution.error, execution.cause];
        let why: Vec<String> = why.into_iter().flatten().collect();
        ExecutionProgress {
            state,
            started: EventTime(execution.start_date.secs()),
            done: count(counts.map(|counts| counts.succeeded)),
            failed: count(counts.map(|counts| counts.failed)),
            all: count(counts.map(|counts| counts.total)),
            why: (!why.is_empty()).then(|| why.join(": ")),
        }
    }

    fn count(items: Option<i64>) -> u64 {
        items
            .and_then(|items| u64::try_from(items).ok())
            .unwrap_or(0)
    }

    fn failure<E>(about: &str, action: &str, error: &SdkError<E>) -> RunFailure
    where
        E: ProvideErrorMetadata + std::error::Error + 'static,
    {
        RunFailure::Input(format!("{about}: {}", failed_call(action, error)))
    }
}

#[cfg(not(feature = "s3"))]
mod without_sdk {
    use std::sync::Arc;

    use crate::{
        commands::backfill::progress::ExecutionProgress, host::RunFailure, input::aws::Connection,
    };

    /// Never exists: this build has no connection.
    pub(crate) struct NoStepFunctions(Arc<Connection>);

    impl NoStepFunctions {
        pub(crate) fn new(connection: Arc<Connection>) -> Self {
            Self(connection)
        }

        pub(crate) fn start(&self, _: &str, _: &str, _: &str) -> Result<String, RunFailure> {
            match *self.0 {}
        }

        pub(crate) fn execution(&self, _: &str) -> Result<Option<ExecutionProgress>, RunFailure> {
            match *self.0 {}
        }
    }
}
