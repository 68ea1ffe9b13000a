//! The online front end: notifications of log files in, alerts out. The binary is `bootstrap`; this
//! library is everything but its `main`, so that tests can call it.
//!
//! In mode `extract` it extracts batches for `secretrail backfill`.
//!
//! Nothing is acknowledged before it is stored: what an invocation could not finish is returned to
//! its queue for retry, and the next invocation finds what was already written.

pub mod config;

pub mod notification;

pub mod rules;

pub mod telemetry;

pub mod handler;

pub mod extract;
