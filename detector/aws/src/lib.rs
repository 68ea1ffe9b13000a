//! The AWS adapters of Secretrail: where objects come from (S3), where state lives (DynamoDB),
//! where alerts go (SNS, Security Hub).
//!
//! The adapters make no decisions: the front end decides how to handle a failure. Clocks and retry
//! policies are arguments.

pub mod cause;
pub mod names;
pub mod plain;
pub mod retry;
pub mod sightings;

pub mod s3;

#[cfg(feature = "signed")]
pub mod signed;

#[cfg(feature = "state")]
pub mod dynamodb;

#[cfg(feature = "alerts")]
pub mod sns;

#[cfg(feature = "alerts")]
pub mod security_hub;

#[cfg(feature = "alerts")]
pub mod sink;
