//! `bootstrap`: what Lambda starts. Settings are read once, then each event is handled.

use std::process::ExitCode;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use aws_config::BehaviorVersion;
use aws_config::retry::RetryConfig;
use aws_config::timeout::TimeoutConfig;
use lambda_runtime::{LambdaEvent, service_fn};
use secretrail_aws::retry::Retry;
use secretrail_engine::time::EventTime;
use secretrail_lambda::config::{Config, Mode};
use secretrail_lambda::extract::Extractor;
use secretrail_lambda::handler::Context;
use secretrail_lambda::telemetry::{Severity, log};
use serde_json::{Value, json};

/// Longest time to connect to a service.
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
        Err(error) => return fail(&format!("no runtime: {error}")),
    };
    let config = match Config::read(|name| std::env::var(name).ok()) {
        Ok(config) => config,
        Err(faults) => return fail(&faults),
    };
    match runtime.block_on(run(config)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => fail(&error.to_string()),
    }
}

/// Lambda shows the log and starts the function again.
fn fail(why: &str) -> ExitCode {
    log(
        Severity::Error,
        "the function cannot start",
        json!({"why": why}),
    );
    ExitCode::FAILURE
}

async fn run(config: Config) -> Result<(), lambda_runtime::Error> {
    let timeouts = TimeoutConfig::builder()
        .connect_timeout(CONNECT)
        .operation_attempt_timeout(config.call_timeout)
        .build();
    let aws = aws_config::defaults(BehaviorVersion::latest())
        .retry_config(RetryConfig::standard())
        .timeout_config(timeouts);
    let aws = Box::pin(aws.load()).await;
    if config.mode == Mode::Extract {
        let extractor = Arc::new(Extractor::new(&config, &aws, Retry::default()));
        let handle = |event: LambdaEvent<Value>| {
            let extractor = extractor.clone();
            async move { Box::pin(extractor.handle(&event.payload)).await }
        };
        return Box::pin(lambda_runtime::run(service_fn(handle))).await;
    }
    let function =
        std::env::var("AWS_LAMBDA_FUNCTION_NAME").unwrap_or_else(|_| "secretrail".to_owned());
    let context = Arc::new(Context::new(
        config,
        &aws,
        Retry::default(),
        Arc::new(now),
        function,
    ));
    let handle = |event: LambdaEvent<Value>| {
        let context = context.clone();
        async move {
            let left = event
                .context
                .deadline()
                .duration_since(SystemTime::now())
                .unwrap_or_default();
            Box::pin(context.handle(&event.payload, Instant::now() + left)).await
        }
    };
    Box::pin(lambda_runtime::run(service_fn(handle))).await
}
