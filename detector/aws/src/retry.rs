//! Retries, with a wait before each: for what the SDK does not retry itself, such as unprocessed
//! items of a DynamoDB batch, or an interrupted download.

use std::{error::Error, fmt, time::Duration};

use aws_sdk_s3::error::{ProvideErrorMetadata, SdkError};

use crate::{
    cause::{ErrorResponse, FailureCause, credentials_error},
    plain::{described, plain},
};

/// Header with the region of a bucket.
const BUCKET_REGION: &str = "x-amz-bucket-region";

/// How often to try, and how long to wait before the next try.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RetryPolicy {
    /// Tries in all, the first included.
    pub attempts: u32,
    /// The longest wait before the second try; it doubles from try to try.
    pub base: Duration,
    /// The longest wait before any try.
    pub cap: Duration,
}

impl Default for RetryPolicy {
    fn default() -> Self {
        Self {
            attempts: 8,
            base: Duration::from_millis(50),
            cap: Duration::from_secs(2),
        }
    }
}

impl RetryPolicy {
    /// Whether to try again after so many failed tries.
    #[must_use]
    pub fn again(&self, failed: u32) -> bool {
        failed < self.attempts
    }

    /// The longest wait after so many failed tries: it doubles with each, up to the cap.
    fn longest_wait(&self, failed: u32) -> Duration {
        // The shift is limited: beyond it the cap has long been reached, and `1 << 32` would
        // overflow.
        self.base
            .saturating_mul(1 << failed.saturating_sub(1).min(16))
            .min(self.cap)
    }

    /// Waits before the next try: a random time up to a limit that doubles, so that clients that
    /// failed together do not retry together.
    pub async fn wait(&self, failed: u32) {
        let longest = self.longest_wait(failed);
        tokio::time::sleep(longest.mul_f64(fastrand::f64())).await;
    }

    /// Counts the failed tries of one call.
    pub(crate) fn tries(self) -> FailedAttempts {
        FailedAttempts {
            retry: self,
            failed: 0,
        }
    }
}

/// The failed tries of one call, from [`RetryPolicy::tries`].
#[derive(Debug, Clone)]
pub(crate) struct FailedAttempts {
    retry: RetryPolicy,
    failed: u32,
}

impl FailedAttempts {
    /// Counts a failed try, and returns whether to try again.
    pub(crate) fn again(&mut self) -> bool {
        self.failed += 1;
        self.retry.again(self.failed)
    }

    /// Waits before the next try.
    pub(crate) async fn wait(&self) {
        self.retry.wait(self.failed).await;
    }
}

/// A failed call to AWS.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FailedCall {
    /// Error code of the service, as in `AccessDenied`; `None` without a response.
    pub code: Option<String>,
    /// HTTP status; `None` without a response.
    pub status: Option<u16>,
    /// Whether the same call may succeed later.
    pub retry: bool,
    /// Why it failed.
    pub cause: FailureCause,
    /// The action that was denied, or that the call is, as in `s3:GetObject`; `None` if unknown.
    pub action: Option<String>,
    /// The error with its causes, on one line.
    pub message: String,
}

impl FailedCall {
    /// Classifies the error of a call.
    pub fn of<E>(error: &SdkError<E>) -> Self
    where
        E: ProvideErrorMetadata + Error + 'static,
    {
        let response = error.raw_response();
        let status = response.map(|response| response.status().as_u16());
        let code = error.code().map(str::to_owned);
        let message = message(error);
        let cause = if matches!(error, SdkError::ServiceError(_)) {
            FailureCause::of_response(&ErrorResponse {
                status,
                code: code.as_deref().unwrap_or_default(),
                message: &message,
                region: response.and_then(|response| response.headers().get(BUCKET_REGION)),
            })
        } else {
            FailureCause::without_response(error, &message)
        };
        let retry = match error {
            // The credentials were requested as often as makes sense.
            _ if cause == FailureCause::NoCredentials => false,
            // The request could not even be built: a retry would fail in the same way.
            SdkError::ConstructionFailure(_) => false,
            // DynamoDB throttles with status 400: only the code distinguishes that from a bad
            // request.
            SdkError::ServiceError(_) => is_temporary(status, code.as_deref()),
            // No response, or none that could be read: the service may have executed the call, or
            // not. All calls made here may be repeated.
            _ => true,
        };
        Self {
            action: denied_action(&message).map(str::to_owned),
            code,
            status,
            retry,
            cause,
            message,
        }
    }

    /// An answer of a service that reports an error, for clients without the SDK.
    #[must_use]
    pub fn answered(status: u16, code: Option<&str>, text: Option<&str>) -> Self {
        let message = described(code, text);
        let message = match message.is_empty() {
            true => format!("HTTP status {status}"),
            false => message,
        };
        let cause = FailureCause::of_response(&ErrorResponse {
            status: Some(status),
            code: code.unwrap_or_default(),
            message: &message,
            region: None,
        });
        Self {
            action: denied_action(&message).map(str::to_owned),
            code: code.map(str::to_owned),
            status: Some(status),
            retry: is_temporary(Some(status), code),
            cause,
            message,
        }
    }

    /// A call to which no service responded.
    #[must_use]
    pub fn unanswered(cause: FailureCause, error: &(dyn Error + 'static)) -> Self {
        Self {
            code: None,
            status: None,
            retry: cause == FailureCause::Unreachable,
            cause,
            action: None,
            message: plain(error),
        }
    }

    /// A download that ended early, for a reason that may pass.
    #[must_use]
    pub fn interrupted(message: String) -> Self {
        Self {
            code: None,
            status: None,
            retry: true,
            cause: FailureCause::Other,
            action: None,
            message,
        }
    }

    /// Names the action of the call, unless the message names the one that was denied.
    #[must_use]
    pub fn during(mut self, action: &str) -> Self {
        self.action.get_or_insert_with(|| action.to_owned());
        self
    }
}

/// The cause in words, and what AWS said.
impl fmt::Display for FailedCall {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let action = self.action.as_deref();
        let words = match &self.cause {
            FailureCause::NoCredentials | FailureCause::Other => "",
            FailureCause::Expired => "the credentials have expired: ",
            FailureCause::InvalidKey => "AWS does not accept the access key: ",
            FailureCause::ClockSkew => "the clock of this computer is wrong: ",
            FailureCause::Denied => match action {
                Some(action) => return write!(out, "access denied: {action}: {}", self.message),
                None => "access denied: ",
            },
            FailureCause::NoRegion => "no region is configured: ",
            FailureCause::OtherRegion(Some(region)) => {
                return write!(out, "the bucket is in another region, {region}");
            }
            FailureCause::OtherRegion(None) => "the bucket is in another region: ",
            FailureCause::NoBucket => "there is no such bucket: ",
            FailureCause::NoObject => "there is no such object: ",
            FailureCause::Archived => "the object is archived in S3 Glacier: ",
            FailureCause::Unreachable => "AWS could not be reached: ",
        };
        write!(out, "{words}{}", self.message)
    }
}

fn message<E>(error: &SdkError<E>) -> String
where
    E: ProvideErrorMetadata + Error + 'static,
{
    let described = described(error.code(), error.message());
    if !described.is_empty() {
        return described;
    }
    match credentials_error(error) {
        Some(error) => plain(error),
        None => plain(error),
    }
}

/// The action in `User: … is not authorized to perform: s3:ListBucket on resource: …`.
fn denied_action(message: &str) -> Option<&str> {
    let (_, rest) = message.split_once("not authorized to perform: ")?;
    rest.split_whitespace().next()
}

/// Whether the error of a service may pass.
fn is_temporary(status: Option<u16>, code: Option<&str>) -> bool {
    status.is_none_or(|status| status >= 500 || status == 429) || code.is_some_and(passes)
}

/// Whether the code of a client error is that of a temporary one.
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

#[cfg(test)]
mod tests {
    use super::*;
    use aws_credential_types::provider::error::CredentialsError;
    use aws_sdk_s3::{
        config::http::HttpResponse, error::ErrorMetadata, operation::get_object::GetObjectError,
        primitives::SdkBody,
    };

    fn answered(status: u16, code: &str) -> FailedCall {
        let meta = ErrorMetadata::builder().code(code).message("why").build();
        let response = HttpResponse::new(status.try_into().unwrap(), SdkBody::empty());
        FailedCall::of(&SdkError::service_error(
            GetObjectError::generic(meta),
            response,
        ))
    }

    #[test]
    fn waits_double_up_to_the_cap() {
        let retry = RetryPolicy {
            attempts: 100,
            base: Duration::from_millis(50),
            cap: Duration::from_secs(2),
        };
        let longest: Vec<u128> = [1, 2, 3, 6, 7, 8, 64]
            .map(|failed| retry.longest_wait(failed).as_millis())
            .into();
        assert_eq!(longest, [50, 100, 200, 1_600, 2_000, 2_000, 2_000]);
    }

    #[test]
    fn the_first_try_counts() {
        let retry = RetryPolicy {
            attempts: 3,
            ..RetryPolicy::default()
        };
        let mut tries = retry.tries();
        assert_eq!([(); 3].map(|()| tries.again()), [true, true, false]);
        let mut once = RetryPolicy {
            attempts: 1,
            ..retry
        }
        .tries();
        assert!(!once.again());
    }

    #[test]
    fn what_passes_by_itself_is_tried_again() {
        for (status, code) in [
            (400, "ThrottlingException"),
            (400, "ProvisionedThroughputExceededException"),
            (400, "RequestLimitExceeded"),
            (400, "TransactionInProgressException"),
            (400, "RequestTimeout"),
            (429, "Whatever"),
            (500, "InternalError"),
            (503, "SlowDown"),
        ] {
            assert!(answered(status, code).retry, "{status} {code}");
        }
    }

    #[test]
    fn what_stays_as_it_is_is_not_tried_again() {
        for (status, code) in [
            (400, "ValidationException"),
            (403, "AccessDenied"),
            (404, "NoSuchKey"),
            (412, "PreconditionFailed"),
            // The caller inspects its reasons: some are temporary, others are not.
            (400, "TransactionCanceledException"),
        ] {
            let failed = answered(status, code);
            assert!(!failed.retry, "{status} {code}");
            assert_eq!(failed.status, Some(status));
            assert_eq!(failed.code.as_deref(), Some(code));
        }
    }

    #[test]
    fn without_an_answer_only_a_bad_request_is_final() {
        let late = SdkError::<GetObjectError>::timeout_error("nothing came");
        assert!(FailedCall::of(&late).retry);
        let bad = SdkError::<GetObjectError>::construction_failure("no bucket");
        let bad = FailedCall::of(&bad);
        assert!(!bad.retry && bad.status.is_none() && bad.code.is_none());
        assert_eq!(bad.message, "no bucket");
    }

    #[test]
    fn credentials_that_do_not_load_are_not_requested_again() {
        let none = CredentialsError::provider_error("the session has expired");
        let failed = FailedCall::of(&SdkError::<GetObjectError>::timeout_error(none));
        assert!(!failed.retry);
        assert_eq!(failed.cause, FailureCause::NoCredentials);
        assert_eq!(failed.to_string(), "the session has expired");
    }

    #[test]
    fn a_denial_names_the_action_of_the_message_or_else_of_the_call() {
        let told = |message: &str| {
            let meta = ErrorMetadata::builder()
                .code("AccessDenied")
                .message(message)
                .build();
            let response = HttpResponse::new(403.try_into().unwrap(), SdkBody::empty());
            let error = SdkError::service_error(GetObjectError::generic(meta), response);
            FailedCall::of(&error).during("s3:GetObject").to_string()
        };
        assert_eq!(
            told("Access Denied"),
            "access denied: s3:GetObject: AccessDenied: Access Denied"
        );
        let key = "User: arn:aws:iam::111122223333:user/ana is not authorized to perform: \
            kms:Decrypt on resource: arn:aws:kms:eu-west-1:111122223333:key/1";
        let reported = told(key);
        assert!(
            reported.starts_with("access denied: kms:Decrypt: AccessDenied: User: "),
            "{reported}"
        );
    }
}
