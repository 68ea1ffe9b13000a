//! Hours in which KMS events were seen: one item each, with all data in the key.

use std::{collections::HashMap, sync::Arc};

use secretrail_engine::{coverage::CoverageMark, state::StateError};

use super::{
    item::{Attributes, ItemKey},
    keys,
    table::DynamoTable,
    written::RecentlyWritten,
};

/// Coverage in the table.
pub(super) struct StoredCoverage {
    table: Arc<DynamoTable>,
    keep_secs: i64,
    /// Marks that this process has written.
    marked: RecentlyWritten<CoverageMark>,
}

impl StoredCoverage {
    pub(super) fn new(table: Arc<DynamoTable>, keep_secs: i64) -> Self {
        Self {
            table,
            keep_secs,
            marked: RecentlyWritten::default(),
        }
    }

    pub(super) async fn mark(&self, marks: Vec<CoverageMark>) -> Result<(), StateError> {
        let hours: Vec<CoverageMark> = marks.iter().flat_map(CoverageMark::each).collect();
        // Most objects repeat the mark of their hour: without this, each would cost a write.
        let new: Vec<CoverageMark> = self.marked.missing(hours);
        self.table
            .put(new.iter().map(|mark| self.item(mark)).collect())
            .await?;
        self.marked.add(new);
        Ok(())
    }

    fn item(&self, mark: &CoverageMark) -> (ItemKey, Attributes) {
        let expiry = self.table.expiry(self.keep_secs);
        (keys::coverage(mark), HashMap::from([expiry]))
    }

    pub(super) async fn covered(&self, marks: &[CoverageMark]) -> Result<Vec<bool>, StateError> {
        let asked = marks.iter().map(keys::coverage).collect();
        // Only existence matters: the other attributes need not be sent.
        let found = self.table.get(asked, Some("pk, sk")).await?;
        Ok(marks
            .iter()
            .map(|mark| found.contains_key(&keys::coverage(mark)))
            .collect())
    }
}
