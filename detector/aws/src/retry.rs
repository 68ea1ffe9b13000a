//! How often to try again, and how long to wait before: for what the SDK does not repeat itself, such as the part of a
//! batch that DynamoDB left over, or a body that broke off.

use std::error::Error;
use std::time::Duration;

use aws_sdk_s3::error::{DisplayErrorContext, ProvideErrorMetadata, SdkError};

/// A retry policy.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Retry {
    /// Tries in all, the first included.
    pub attempts: u32,
    /// The longest wait before the second try; it doubles from try to try.
    pub base: Duration,
    /// The longest wait before any try.
    pub cap: Duration,
}

impl Default for Retry {
    fn default() -> Self {
        Self {
            attempts: 8,
            base: Duration::from_millis(50),
            cap: Duration::from_secs(2),
        }
    }
}

impl Retry {
    /// Whether there is another try after so many failed ones.
    #[must_use]
    pub fn again(&self, failed: u32) -> bool {
        failed < self.attempts
    }

    /// Waits before the next try: a random time up to a limit that doubles, so that those who were turned away together do
    /// not come back together.
    pub async fn wait(&self, failed: u32) {
        let limit = self
            .base
            .saturating_mul(1 << failed.saturating_sub(1).min(16))
            .min(self.cap);
        tokio::time::sleep(limit.mul_f64(fastrand::f64())).await;
    }
}

/// What a failed call means for whoever made it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failed {
    /// The service's code, as in `AccessDenied`; `None` when no answer came.
    pub code: Option<String>,
    /// HTTP status; `None` when no answer came.
    pub status: Option<u16>,
    /// Whether the same call may succeed later.
    pub retry: bool,
    /// The whole chain of causes.
    pub message: String,
}

impl Failed {
    /// Reads the error of a call.
    pub fn of<E>(error: &SdkError<E>) -> Self
    where
        E: ProvideErrorMetadata + Error + 'static,
    {
        let code = error.code().map(str::to_owned);
        let status = error
            .raw_response()
            .map(|response| response.status().as_u16());
        let retry = match error {
            SdkError::ConstructionFailure(_) => false,
            SdkError::ServiceError(_) => {
                status.is_none_or(|status| status >= 500 || status == 429)
                    || code.as_deref().is_some_and(passes)
            }
            _ => true,
        };
        Self {
            code,
            status,
            retry,
            message: DisplayErrorContext(error).to_string(),
        }
    }
}

/// Codes of client errors that pass by themselves.
fn passes(code: &str) -> bool {
    [
        "Throttl",
        "Throughput",
        "LimitExceeded",
        "SlowDown",
        "Timeout",
        "TransactionConflict",
        "TransactionInProgress",
    ]
    .iter()
    .any(|part| code.contains(part))
}
