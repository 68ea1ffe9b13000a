//! The AWS adapters of Secretrail: where objects come from (S3), where state lives (DynamoDB),
//! where alerts go (SNS).
//!
//! No policy and no decisions: what to do about a failure is for the face to say. Clocks and retry
//! policies are arguments.

pub mod retry;

pub mod s3;

#[cfg(feature = "state")]
pub mod dynamodb;

#[cfg(feature = "alerts")]
pub mod sns;
