//! A service of AWS: its names, and how requests and answers are written. Source: the API
//! references of the services, "Common parameters" and "Making API requests"; checked 2026-11.

/// How requests and answers of a service are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Protocol {
    /// A JSON object as the body, the operation in a header.
    Json {
        /// Version of the protocol, as in `application/x-amz-json-1.0`.
        version: &'static str,
        /// What stands before the operation in `X-Amz-Target`.
        target: &'static str,
    },
    /// A form as the body, XML as the answer.
    Query {
        /// `Version` of the API.
        version: &'static str,
    },
    /// Operations are paths, answers are JSON.
    RestJson,
}

/// A service of AWS.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AwsService {
    /// Its service id, as in `AWS_ENDPOINT_URL_CLOUDFORMATION`.
    pub id: &'static str,
    /// First part of the names of its endpoints.
    pub host: &'static str,
    /// Name in signatures.
    pub signing: &'static str,
    /// Prefix of its IAM actions.
    pub actions: &'static str,
    /// How requests and answers are written.
    pub protocol: Protocol,
}

impl AwsService {
    /// A service that has one name in endpoints, signatures and IAM actions.
    #[must_use]
    pub const fn new(id: &'static str, name: &'static str, protocol: Protocol) -> Self {
        Self {
            id,
            host: name,
            signing: name,
            actions: name,
            protocol,
        }
    }

    /// The IAM action of an operation.
    #[must_use]
    pub fn action(&self, operation: &str) -> String {
        format!("{}:{operation}", self.actions)
    }
}

/// AWS Security Hub, which the function and the command call.
pub const SECURITY_HUB: AwsService =
    AwsService::new("SecurityHub", "securityhub", Protocol::RestJson);
