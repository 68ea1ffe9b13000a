//! Starts, describes and stops executions of the state machine, through the API of Step Functions.

use crate::host::RunFailure;

#[cfg(feature = "s3")]
pub(crate) use self::with_api::StepFunctions;
#[cfg(not(feature = "s3"))]
pub(crate) use self::without_api::NoStepFunctions as StepFunctions;

/// Why a call to Step Functions failed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct MachineError {
    /// The ARN, and the error with its remedy.
    pub(crate) message: String,
    /// Whether the same call may succeed later, or with renewed credentials: no network, a busy
    /// service, an expired session.
    pub(crate) may_pass: bool,
}

impl From<MachineError> for RunFailure {
    fn from(error: MachineError) -> Self {
        Self::Input(error.message)
    }
}

#[cfg(feature = "s3")]
mod with_api {
    use std::sync::Arc;

    use secretrail_engine::time::EventTime;
    use serde_json::{Value, json};

    use super::MachineError;
    use crate::{
        aws_api::{ApiError, AwsApi, SFN},
        commands::backfill::progress::{ExecutionProgress, ExecutionState},
        input::aws::{Connection, GLOBAL_REGION},
    };

    /// A client of Step Functions, in the region of each ARN.
    pub(crate) struct StepFunctions(AwsApi);

    impl StepFunctions {
        /// A client; makes no calls yet.
        pub(crate) fn new(connection: Arc<Connection>) -> Self {
            Self(AwsApi::of_region(connection, GLOBAL_REGION))
        }

        fn call(&self, about: &str, operation: &str, input: &Value) -> Result<Value, ApiError> {
            let region = about.split(':').nth(3).unwrap_or_default();
            self.0.in_region(region).json(&SFN, operation, input)
        }

        /// Starts an execution of a state machine, or returns that which has this name, and
        /// returns its ARN.
        pub(crate) fn start(
            &self,
            machine: &str,
            name: &str,
            input: &Value,
        ) -> Result<Option<String>, MachineError> {
            let input = json!({
                "stateMachineArn": machine,
                "name": name,
                "input": input.to_string(),
            });
            match self.call(machine, "StartExecution", &input) {
                Ok(started) => Ok(text(&started, "executionArn")),
                // It ran already, and the answer of that start was lost.
                Err(error) if error.code() == "ExecutionAlreadyExists" => Ok(None),
                Err(error) => Err(failure(machine, &error)),
            }
        }

        /// Progress of an execution; `None` if it no longer exists: Step Functions deletes
        /// executions 90 days after their end (AWS, "Quotas for state executions").
        pub(crate) fn execution(
            &self,
            arn: &str,
        ) -> Result<Option<ExecutionProgress>, MachineError> {
            let input = json!({ "executionArn": arn });
            let execution = match self.call(arn, "DescribeExecution", &input) {
                Ok(execution) => execution,
                Err(error) if error.code() == "ExecutionDoesNotExist" => return Ok(None),
                Err(error) => return Err(failure(arn, &error)),
            };
            let run = self.map_run(arn).map_err(|error| failure(arn, &error))?;
            let counts = match run {
                Some(run) => self
                    .item_counts(&run)
                    .map_err(|error| failure(arn, &error))?,
                None => Value::Null,
            };
            Ok(Some(progress(&execution, &counts)))
        }

        /// ARN of the map run of an execution; `None` before the map has started. The state machine
        /// has one map state, so an execution has at most one.
        fn map_run(&self, arn: &str) -> Result<Option<String>, ApiError> {
            let input = json!({ "executionArn": arn });
            let runs = self.call(arn, "ListMapRuns", &input)?;
            Ok(runs
                .pointer("/mapRuns/0")
                .and_then(|run| text(run, "mapRunArn")))
        }

        fn item_counts(&self, run: &str) -> Result<Value, ApiError> {
            let mut described = self.call(run, "DescribeMapRun", &json!({ "mapRunArn": run }))?;
            Ok(described
                .get_mut("itemCounts")
                .map_or(Value::Null, Value::take))
        }

        /// Error and cause of one failed child of an execution; `None` if none has failed.
        pub(crate) fn child_failure(&self, arn: &str) -> Result<Option<String>, MachineError> {
            self.failure_of_child(arn)
                .map_err(|error| failure(arn, &error))
        }

        fn failure_of_child(&self, arn: &str) -> Result<Option<String>, ApiError> {
            let Some(run) = self.map_run(arn)? else {
                return Ok(None);
            };
            let input = json!({ "mapRunArn": run, "statusFilter": "FAILED", "maxResults": 1 });
            let failed = self.call(&run, "ListExecutions", &input)?;
            let Some(child) = failed
                .pointer("/executions/0")
                .and_then(|child| text(child, "executionArn"))
            else {
                return Ok(None);
            };
            let input = json!({ "executionArn": child });
            let described = self.call(&child, "DescribeExecution", &input)?;
            Ok(why(&described))
        }

        /// Stops an execution.
        pub(crate) fn stop(&self, arn: &str) -> Result<(), MachineError> {
            let input = json!({
                "executionArn": arn,
                "error": "Secretrail.Stopped",
                "cause": "stopped with `secretrail backfill stop`",
            });
            let stopped = self.call(arn, "StopExecution", &input);
            stopped.map(drop).map_err(|error| failure(arn, &error))
        }
    }

    pub(super) fn progress(execution: &Value, counts: &Value) -> ExecutionProgress {
        let state = match execution["status"].as_str() {
            // A pending redrive starts by itself.
            Some("RUNNING" | "PENDING_REDRIVE") => ExecutionState::Runs,
            Some("SUCCEEDED") => ExecutionState::Succeeded,
            // Timed out and aborted executions can be resumed like failed ones.
            _ => ExecutionState::Failed,
        };
        let count = |name: &str| counts[name].as_u64().unwrap_or(0);
        ExecutionProgress {
            state,
            started: EventTime(secs(&execution["startDate"])),
            done: count("succeeded"),
            failed: count("failed") + count("timedOut") + count("aborted"),
            all: count("total"),
            why: why(execution),
        }
    }

    /// Seconds since 1970, with a fraction in the answer.
    #[expect(
        clippy::cast_possible_truncation,
        reason = "seconds of a date are far from the ends of 64 bits"
    )]
    fn secs(date: &Value) -> i64 {
        date.as_f64().unwrap_or_default() as i64
    }

    fn why(execution: &Value) -> Option<String> {
        let why = ["error", "cause"].map(|name| text(execution, name));
        let why: Vec<String> = why.into_iter().flatten().collect();
        (!why.is_empty()).then(|| why.join(": "))
    }

    fn text(value: &Value, name: &str) -> Option<String> {
        value.get(name)?.as_str().map(str::to_owned)
    }

    fn failure(about: &str, error: &ApiError) -> MachineError {
        MachineError {
            message: format!("{about}: {error}"),
            may_pass: error.may_pass(),
        }
    }
}

#[cfg(not(feature = "s3"))]
mod without_api {
    use std::sync::Arc;

    use serde_json::Value;

    use super::MachineError;
    use crate::{commands::backfill::progress::ExecutionProgress, input::aws::Connection};

    /// Never exists: this build has no connection.
    pub(crate) struct NoStepFunctions(Arc<Connection>);

    impl NoStepFunctions {
        pub(crate) fn new(connection: Arc<Connection>) -> Self {
            Self(connection)
        }

        pub(crate) fn start(
            &self,
            _: &str,
            _: &str,
            _: &Value,
        ) -> Result<Option<String>, MachineError> {
            match *self.0 {}
        }

        pub(crate) fn execution(&self, _: &str) -> Result<Option<ExecutionProgress>, MachineError> {
            match *self.0 {}
        }

        pub(crate) fn child_failure(&self, _: &str) -> Result<Option<String>, MachineError> {
            match *self.0 {}
        }

        pub(crate) fn stop(&self, _: &str) -> Result<(), MachineError> {
            match *self.0 {}
        }
    }
}

#[cfg(all(test, feature = "s3"))]
mod tests {
    use serde_json::json;

    use super::with_api::progress;
    use crate::commands::backfill::progress::ExecutionState;

    #[test]
    fn an_execution_is_described_with_the_counts_of_its_map() {
        let counts = json!({"total": 9, "succeeded": 5, "failed": 1, "aborted": 2, "timedOut": 0});
        let running = json!({"status": "RUNNING", "startDate": 1_772_445_600.5});
        let found = progress(&running, &counts);
        assert_eq!(found.state, ExecutionState::Runs);
        assert_eq!((found.done, found.failed, found.all), (5, 3, 9));
        assert_eq!(found.started.to_string(), "2026-03-02T10:00:00Z");
        let failed = json!({"status": "ABORTED", "error": "E", "cause": "c"});
        let found = progress(&failed, &json!(null));
        assert_eq!(found.state, ExecutionState::Failed);
        assert_eq!((found.all, found.why.as_deref()), (0, Some("E: c")));
    }
}
