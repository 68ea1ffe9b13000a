//! Results and summaries of a run, in all output formats.

pub mod columns;
pub mod csv;
pub mod ending;
pub(crate) mod exposures;
pub mod gaps;
pub(crate) mod hygiene;
pub mod incident_tally;
pub mod incidents;
pub(crate) mod json;
pub mod listing;
pub mod out;
mod page;
pub mod parquet;
pub mod report;
pub(crate) mod review;
pub mod run_summary;
pub mod style;
pub mod table;
pub mod target;
