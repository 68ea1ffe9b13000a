//! Joins reads and KMS Decrypts of one actor in one region to accesses. The result is a function of
//! the given set, never of its order: among all candidate pairs the nearest in time wins, then the
//! earlier, then the event ids decide.
//!
//! This module uses no clock, coverage or store. A read without a KMS Decrypt is returned as
//! [`DecryptStatus::Pending`](crate::access::DecryptStatus::Pending); the caller decides whether
//! that means absent or unknown.

mod correlation_group;
mod denied;
mod join;
mod rows;

pub use self::correlation_group::CorrelationGroup;
pub use self::rows::{AccessRow, CorrelationResult, alone, row};

use self::join::JoinState;

/// Joins the reads, KMS Decrypts and changes of one actor in one region.
#[must_use]
pub fn correlate(mut correlation_group: CorrelationGroup) -> CorrelationResult {
    correlation_group.sort();
    let mut join = JoinState::new(&correlation_group);
    // Nearest first, not first come: Terraform and an attacker may read one secret seconds apart,
    // and in real logs a third of all Decrypts arrive before their reads.
    join.match_nearest();
    // The child of a batch has taken its KMS Decrypt like any other read. What is still free after
    // that belongs to the batch itself.
    join.fold_children();
    join.match_batches();
    // The other reads expect a successful KMS Decrypt, so no step above has assigned a denied one.
    join.match_denied();
    join.into_rows()
}
