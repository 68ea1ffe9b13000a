//! For people who write rules: run a rule's examples, explain why it fires or does not, find faults
//! of style. Above the pipeline, because examples and explanations go the whole path; nothing in
//! the engine needs it.

pub mod examples;
pub mod explain;
pub mod lint;
mod offline;
