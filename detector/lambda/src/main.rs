//! `bootstrap`: the executable that Lambda starts. Reads the settings once, then handles events.

use std::{
    process::ExitCode,
    sync::Arc,
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use aws_config::{BehaviorVersion, SdkConfig, retry::RetryConfig, timeout::TimeoutConfig};
use lambda_runtime::{Diagnostic, LambdaEvent, service_fn};
use secretrail_aws::retry::RetryPolicy;
use secretrail_engine::time::EventTime;
use secretrail_lambda::{
    config::{FunctionConfig, FunctionMode},
    extract::Extractor,
    handler::FunctionContext,
    telemetry::{LogSeverity, log},
};
use serde_json::{Value, json};

/// Timeout for connecting to a service.
const CONNECT: Duration = Duration::from_secs(2);

fn now() -> EventTime {
    let secs = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |time| time.as_secs());
    EventTime(i64::try_from(secs).unwrap_or(i64::MAX))
}

fn main() -> ExitCode {
    let runtime = match tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
    {
        Ok(runtime) => runtime,
        Err(error) => return fail(&format!("cannot start the async runtime: {error}")),
    };
    let config = match FunctionConfig::read(|name| std::env::var(name).ok()) {
        Ok(config) => config,
        Err(faults) => return fail(&faults.to_string()),
    };
    match runtime.block_on(run(config)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => fail(&error.to_string()),
    }
}

/// Logs why the function cannot start. Lambda starts it again.
fn fail(why: &str) -> ExitCode {
    log(
        LogSeverity::Error,
        "the function cannot start",
        json!({"why": why}),
    );
    ExitCode::FAILURE
}

async fn run(config: FunctionConfig) -> Result<(), lambda_runtime::Error> {
    let aws = aws_of(&config).await;
    // The futures of the handlers are large: boxed, they are not moved on the stack.
    match config.mode {
        FunctionMode::Alerts => Box::pin(run_alerts(config, &aws)).await,
        FunctionMode::Extract => Box::pin(run_extract(&config, &aws)).await,
    }
}

/// The configuration that all clients share.
async fn aws_of(config: &FunctionConfig) -> SdkConfig {
    // For one try, not for all: a try that hangs is cancelled and retried, within the time of the
    // invocation.
    let timeouts = TimeoutConfig::builder()
        .connect_timeout(CONNECT)
        .operation_attempt_timeout(config.call_timeout)
        .build();
    let aws = aws_config::defaults(BehaviorVersion::latest())
        .retry_config(RetryConfig::standard())
        .timeout_config(timeouts);
    Box::pin(aws.load()).await
}

async fn run_extract(
    config: &FunctionConfig,
    aws: &SdkConfig,
) -> Result<(), lambda_runtime::Error> {
    let extractor = &Extractor::new(config, aws, RetryPolicy::default());
    let service = service_fn(|event: LambdaEvent<Value>| async move {
        let answer = Box::pin(extractor.handle(&event.payload)).await;
        // The state machine decides by this type whether to try again.
        answer.map_err(|error| Diagnostic {
            error_type: error.kind().to_owned(),
            error_message: error.to_string(),
        })
    });
    lambda_runtime::run(service).await
}

async fn run_alerts(config: FunctionConfig, aws: &SdkConfig) -> Result<(), lambda_runtime::Error> {
    let function =
        std::env::var("AWS_LAMBDA_FUNCTION_NAME").unwrap_or_else(|_| "secretrail".to_owned());
    let context =
        &FunctionContext::new(config, aws, RetryPolicy::default(), Arc::new(now), function);
    let service = service_fn(|event: LambdaEvent<Value>| async move {
        let deadline = event.context.deadline();
        // Lambda gives the end in wall-clock time; from here on a monotonic clock is used.
        let left = deadline
            .duration_since(SystemTime::now())
            .unwrap_or_default();
        let answer = Box::pin(context.handle(&event.payload, Instant::now() + left)).await;
        answer.map_err(|error| error.to_string())
    });
    lambda_runtime::run(service).await
}
