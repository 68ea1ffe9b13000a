//! The services, and how they are called. Source: the API references of the services, "Common
//! parameters" and "Making API requests"; checked 2026-11.

/// How requests and answers of a service are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Protocol {
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
    pub(super) id: &'static str,
    /// First part of the names of its endpoints.
    pub(super) host: &'static str,
    /// Name in signatures.
    pub(super) signing: &'static str,
    /// Prefix of its IAM actions.
    pub(super) actions: &'static str,
    pub(super) protocol: Protocol,
}

impl AwsService {
    const fn new(id: &'static str, name: &'static str, protocol: Protocol) -> Self {
        Self {
            id,
            host: name,
            signing: name,
            actions: name,
            protocol,
        }
    }

    /// The IAM action of an operation.
    pub(super) fn action(&self, operation: &str) -> String {
        format!("{}:{operation}", self.actions)
    }
}

const fn json(version: &'static str, target: &'static str) -> Protocol {
    Protocol::Json { version, target }
}

const fn query(version: &'static str) -> Protocol {
    Protocol::Query { version }
}

/// AWS CloudFormation.
pub const CLOUDFORMATION: AwsService =
    AwsService::new("CloudFormation", "cloudformation", query("2010-05-15"));
/// Amazon SNS.
pub const SNS: AwsService = AwsService::new("SNS", "sns", query("2010-03-31"));
/// AWS STS, regional.
pub const STS: AwsService = AwsService::new("STS", "sts", query("2011-06-15"));
/// Amazon CloudWatch.
pub const CLOUDWATCH: AwsService = AwsService {
    actions: "cloudwatch",
    ..AwsService::new("CloudWatch", "monitoring", query("2010-08-01"))
};
/// Amazon DynamoDB.
pub const DYNAMODB: AwsService =
    AwsService::new("DynamoDB", "dynamodb", json("1.0", "DynamoDB_20120810"));
/// Amazon SQS.
pub const SQS: AwsService = AwsService::new("SQS", "sqs", json("1.0", "AmazonSQS"));
/// Amazon EventBridge.
pub const EVENTBRIDGE: AwsService =
    AwsService::new("EventBridge", "events", json("1.1", "AWSEvents"));
/// AWS KMS.
pub const KMS: AwsService = AwsService::new("KMS", "kms", json("1.1", "TrentService"));
/// AWS Step Functions.
pub const SFN: AwsService = AwsService::new("SFN", "states", json("1.0", "AWSStepFunctions"));
/// AWS Secrets Manager.
pub const SECRETS_MANAGER: AwsService = AwsService::new(
    "Secrets Manager",
    "secretsmanager",
    json("1.1", "secretsmanager"),
);
/// AWS Systems Manager.
pub const SSM: AwsService = AwsService::new("SSM", "ssm", json("1.1", "AmazonSSM"));
/// AWS Lambda.
pub const LAMBDA: AwsService = AwsService::new("Lambda", "lambda", Protocol::RestJson);
