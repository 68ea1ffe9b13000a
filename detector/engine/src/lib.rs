//! The engine of Secretrail: CloudTrail bytes in, secret accesses and alerts out.
//!
//! Pure: no clock, disk, network, environment or stdout; time and bytes are arguments, state is a trait. The modules stand
//! in the order of the path, and imports point back along it.

pub mod limits;
pub mod parallel;
pub mod time;

pub mod object;

pub mod gunzip;
pub mod split;

pub mod ids;
mod named;
pub mod wire;

pub mod principal;

pub mod document;
pub mod observation;

pub mod extract;

pub mod access;
pub mod correlate;

pub mod glob;
pub mod policy;

pub mod baseline;
pub mod filter;

pub mod seen;

pub mod alert;
pub mod rule;
pub mod state;
pub mod window;

pub mod gaps;
pub mod report;
pub mod scan;

pub mod part;

pub mod manifest;

pub mod pipeline;

pub mod neutral;
