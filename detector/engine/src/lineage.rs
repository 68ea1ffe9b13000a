//! Lineage: who is behind a session. Each call that issues temporary credentials names their
//! access key and its caller, who may have used such a key in turn: a chain back to the first
//! person or software.
//!
//! Lineage is shown. It neither groups incidents nor changes their ids.

pub mod issue;
pub mod json_v1;
pub mod origin;
pub mod search;
