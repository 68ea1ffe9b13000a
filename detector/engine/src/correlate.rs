//! Reads and key uses of one actor in one region to accesses. The result is a function of the set
//! that is given, never of its order: among all candidate pairs the nearest in time wins, then the
//! earlier, then the event ids decide.
//!
//! Refuses to know: clocks, coverage and stores. A read without a key use comes out as
//! [`DecryptStatus::Pending`](crate::access::DecryptStatus::Pending); whether that means absent or
//! unknown is for the caller to say.

mod correlation_group;
mod join;
mod rows;

pub use self::correlation_group::CorrelationGroup;
pub use self::rows::{AccessRow, CorrelationResult, alone, row};

use self::join::JoinState;

/// Joins the reads, key uses and changes of one actor in one region.
#[must_use]
pub fn correlate(mut correlation_group: CorrelationGroup) -> CorrelationResult {
    correlation_group.sort();
    let mut join = JoinState::new(&correlation_group);
    // Nearest first, not first come: Terraform and an attacker may read one secret seconds apart,
    // and in real logs a third of all Decrypts arrive before their reads.
    join.match_nearest();
    // The child of a batch has taken its key use as any read does. What is still free after that
    // is the batch's own.
    join.fold_children();
    join.match_batches();
    // A denied key use is not what a read expects: no step above has given it away.
    join.match_denied();
    join.into_rows()
}
