//! The engine of Secretrail: CloudTrail bytes in, secret accesses and alerts out.
//!
//! Pure: no clock, disk, network, environment or stdout; time and bytes are arguments, state is a
//! trait.
//!
//! The `mod` lines below stand in the order from the ground up, and imports point back only: a
//! module may use those that stand before it, never one that comes later. A parent and its own
//! children may know each other. `tests/engine/tidy.rs` checks it. Whoever needs something that
//! comes later moves the shared piece down, or himself up.

// The ground: nothing here knows what the engine is about.
pub mod digest;
pub mod glob;
pub mod limits;
mod named;
pub mod parallel;
pub mod sanitize;
pub mod time;

// Bytes: how objects are named and stored, and what a record looks like in them.
pub mod document;
pub mod gunzip;
pub mod ids;
pub mod object;
pub mod split;
pub mod wire;

pub mod principal;

pub mod observation;

#[cfg(test)]
mod events_for_tests;

// What records say: who reached which secret.
pub mod access;
pub mod extract;

// What is kept and counted.
pub mod coverage;
pub mod evidence;
pub mod pending_event;
pub mod rule_meta;

// Of copies one is kept, and a fact is one of them.
pub mod copies;
pub mod fact;

pub mod alert;
pub mod correlate;
pub mod policy;
pub mod report;
pub mod seen;
pub mod selection;

pub mod state;

// Rules, and what asks them.
pub mod rule;
pub mod scan;
pub mod window;

pub mod baseline;
pub mod extract_file;
pub mod gaps;
pub mod pipeline;

pub mod manifest;

// For people who write rules.
pub mod authoring;
