//! The services that the command calls. Source: the API references of the services, "Common
//! parameters" and "Making API requests"; checked 2026-11.

use secretrail_aws::signed::service::{AwsService, Protocol};

const fn json(version: &'static str, target: &'static str) -> Protocol {
    Protocol::Json { version, target }
}

const fn query(version: &'static str) -> Protocol {
    Protocol::Query { version }
}

/// AWS CloudFormation.
pub const CLOUDFORMATION: AwsService =
    AwsService::new("CloudFormation", "cloudformation", query("2010-05-15"));
/// AWS CloudTrail.
pub const CLOUDTRAIL: AwsService = AwsService::new(
    "CloudTrail",
    "cloudtrail",
    json(
        "1.1",
        "com.amazonaws.cloudtrail.v20131101.CloudTrail_20131101",
    ),
);
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
