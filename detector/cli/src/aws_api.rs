//! Calls to AWS services for which no SDK client is in the tree: one signed client and four
//! protocols, instead of a crate for each service.
//!
//! A call is named by its IAM action, so that an error says which permission is missing.

mod json;
mod query;
pub mod rest;
mod service;
pub mod xml;

use std::{sync::Arc, time::Duration};

pub use secretrail_aws::signed::service::{AwsService, SECURITY_HUB};
use secretrail_aws::{
    cause::FailureCause,
    retry::{FailedCall, RetryPolicy},
    signed::{ApiAnswer, ApiRequest, CallLimits, SignedClient},
};

pub use self::service::{
    CLOUDFORMATION, CLOUDTRAIL, CLOUDWATCH, DYNAMODB, EVENTBRIDGE, KMS, LAMBDA, SECRETS_MANAGER,
    SFN, SNS, SQS, SSM, STS,
};
use crate::input::aws::{CREDENTIALS_TIMEOUT, Connection, GLOBAL_REGION, explained};

const LIMITS: CallLimits = CallLimits {
    credentials: CREDENTIALS_TIMEOUT,
    answer: Duration::from_secs(30),
    retry: RetryPolicy {
        attempts: 5,
        base: Duration::from_millis(100),
        cap: Duration::from_secs(5),
    },
};

/// A failed call: service and operation as an IAM action, code, message, and whether a permission
/// is missing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ApiError(FailedCall);

impl ApiError {
    /// Of a call of an IAM action.
    pub(crate) fn of(failed: FailedCall, action: &str) -> Self {
        Self(failed.during(action))
    }

    /// Error code of the service, without its namespace; empty without a response.
    #[must_use]
    pub fn code(&self) -> &str {
        self.0.code.as_deref().unwrap_or_default()
    }

    /// Why it failed.
    #[must_use]
    pub fn cause(&self) -> &FailureCause {
        &self.0.cause
    }

    /// Whether the same call may succeed later, or with renewed credentials.
    #[must_use]
    pub fn may_pass(&self) -> bool {
        let is_renewed = matches!(
            self.0.cause,
            FailureCause::Expired | FailureCause::NoCredentials | FailureCause::Unreachable
        );
        self.0.retry || is_renewed
    }

    /// The action that the caller may not take; `None` if the call failed for another reason.
    #[must_use]
    pub fn denied(&self) -> Option<&str> {
        let is_denied = self.0.cause == FailureCause::Denied;
        self.0.action.as_deref().filter(|_| is_denied)
    }
}

impl std::fmt::Display for ApiError {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match (&self.0.cause, &self.0.action) {
            // Only a denial has its action in the text.
            (FailureCause::Other, Some(action)) => {
                write!(out, "{action}: {}", explained(&self.0))
            }
            _ => out.write_str(&explained(&self.0)),
        }
    }
}

/// The services of one region. Calls block until they complete.
pub struct AwsApi {
    connection: Arc<Connection>,
    client: SignedClient,
    region: String,
}

impl AwsApi {
    /// The services of the region of the connection.
    ///
    /// # Errors
    ///
    /// No region is configured.
    pub fn new(connection: Arc<Connection>) -> Result<Self, ApiError> {
        let region = connection.config().region().map(ToString::to_string);
        let region = region.ok_or_else(|| {
            let missing = std::io::Error::other("neither the environment nor the profile has one");
            let cause = FailureCause::NoRegion;
            ApiError(FailedCall::unanswered(cause, &missing))
        })?;
        Ok(Self::of_region(connection, &region))
    }

    /// The services of a region, for calls whose region follows from what they are about.
    #[must_use]
    pub fn of_region(connection: Arc<Connection>, region: &str) -> Self {
        Self {
            client: SignedClient::new(connection.config(), LIMITS),
            connection,
            region: region.to_owned(),
        }
    }

    /// The same services in another region; an empty name means the global endpoints.
    #[must_use]
    pub fn in_region(&self, region: &str) -> Self {
        let region = match region {
            "" => GLOBAL_REGION,
            region => region,
        };
        Self {
            connection: self.connection.clone(),
            client: self.client.clone(),
            region: region.to_owned(),
        }
    }

    /// Name of the region.
    #[must_use]
    pub fn region(&self) -> &str {
        &self.region
    }

    /// Blocks until the call completes.
    fn send(&self, request: &ApiRequest<'_>) -> Result<ApiAnswer, FailedCall> {
        self.connection.wait(self.client.send(request))
    }
}
