//! Commands about a deployment in AWS: the real executable against a stand-in that checks every
//! signature and answers as the services document.

#![cfg(feature = "s3")]
#![allow(missing_docs, reason = "a test crate has no users")]
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a test fails where something is missing"
)]

mod client;
mod doctor;
mod exposure;
mod healthy;
mod incident;
mod prime;
#[path = "../support/request.rs"]
mod request;
mod send_test;
mod settings;
mod signature;
mod stand_in;
