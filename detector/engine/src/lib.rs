//! The engine of Secretrail: it turns CloudTrail bytes into secret accesses and alerts.
//!
//! Pure: it uses no clock, disk, network, environment or stdout. Time and bytes are arguments;
//! state is a trait.
//!
//! Modules are declared in dependency order: a module may import only modules declared before it. A
//! parent and its own children may import each other. `tests/engine/tidy.rs` checks this. To use
//! something declared later, move the shared code to an earlier module, or the importing module
//! further down.

// General-purpose helpers, without domain knowledge.
pub mod digest;
pub mod glob;
pub mod limits;
mod literals;
pub mod parallel;
mod parse_enum;
mod repair;
pub mod sanitize;
mod shallow;
pub mod time;
pub mod yaml;

// Input: object names, decompression, splitting, and the JSON form of a record.
pub mod document;
#[cfg(feature = "parquet")]
pub mod parquet_rows;
pub mod record_shape;
pub mod row;

pub mod envelope;
pub mod ids;
pub mod inflate;
mod normalize;
pub mod object;
pub mod split;
pub mod trail_digest;
pub mod wire;

pub mod client;
pub mod geo;
pub mod principal;

pub mod observation;

pub mod network;

#[cfg(test)]
mod events_for_tests;

// From records to observations and accesses.
pub mod access;
pub mod extract;

// Who is behind a session.
pub mod lineage;

// Which versions reads revealed.
pub mod revealed;

// What stores keep and rules count.
pub mod coverage;
pub mod evidence;
pub mod pending_event;
pub mod rule_meta;

// Deduplication of copies; facts depend on it.
pub mod copies;
pub mod fact;

pub mod actor;
pub mod alert;
pub mod incident;

pub mod correlate;
pub mod event_selectors;
pub mod outbox;
pub mod policy;
pub mod report;
pub mod resource_policy;
pub mod seen;
pub mod selection;

// Which revealed versions still work.
pub mod exposure;

// Places whose logs stay away, and log files that are missing.
pub mod completeness;
pub mod silence;

pub mod state;

// Incidents of alerts that are stored.
pub mod regroup;

// Rules, and the modules that evaluate them.
pub mod rule;
pub mod scan;
pub mod window;

pub mod baseline;
pub mod extract_file;
pub mod gaps;
pub mod pipeline;

pub mod manifest;

// Tools for rule authors.
pub mod authoring;
