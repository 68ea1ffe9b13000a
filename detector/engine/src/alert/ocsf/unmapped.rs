//! Values without a counterpart in OCSF.

use serde::Serialize;

/// Values without a counterpart in OCSF.
#[derive(Debug, Serialize)]
pub(super) struct OcsfUnmapped {
    pub(super) secrets_total: usize,
    pub(super) accesses_total: usize,
    /// What is usual for the principal, beside what it does now, in lines; absent where that is not
    /// known.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(super) usual: Vec<String>,
}
