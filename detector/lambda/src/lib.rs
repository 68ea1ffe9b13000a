//! The online face: notifications of log files in, alerts out. The binary is `bootstrap`; this
//! library is it without its process, so that tests can call it.
//!
//! In its other mode it extracts batches of a job for `secretrail backfill`.
//!
//! Nothing is acknowledged before it is written down: what an invocation could not finish is handed
//! back to its queue, and what it had written is found again by the next.

pub mod config;

pub mod notification;

pub mod rules;

pub mod telemetry;

pub mod handler;

pub mod extract;
