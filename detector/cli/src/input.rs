//! From paths to objects, from objects to records, and a run over all of them.

pub mod aws;
pub mod batches;
mod between;
pub mod checkpoint;
pub(crate) mod container;
pub mod inventory;
pub mod issues;
pub mod known;
pub mod listing;
pub mod manifest;
pub mod object;
pub mod overwrite;
mod pieces;
pub mod progress;
pub mod read;
pub mod reader;
pub mod reading;
pub(crate) mod records;
pub mod rules_and_policy;
pub mod runs;
pub mod s3;
pub mod session;
pub mod store;
pub mod subject;
mod unmatched;
pub mod usual;
pub mod walk;
