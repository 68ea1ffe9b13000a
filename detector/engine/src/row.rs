//! Rows of lakes and query results: objects whose fields say what a record says, under other names.
//! Each is written as the record that it tells of.
//!
//! Sources: OCSF examples, mappings of AWS CloudTrail; Athena user guide, "Query AWS CloudTrail
//! logs"; CloudTrail user guide, "Supported SQL schemas for event data stores"; Azure Monitor
//! reference, "AWSCloudTrail".

mod columns;
mod dotted;
mod fields;
mod ocsf;
mod structs;

use crate::{record_shape::RecordShape, shallow::TopLevel};

pub use self::fields::FormFields;
pub(crate) use self::{
    columns::{WHOLE, column_key, is_column},
    dotted::nested,
};

/// A record that a row tells of.
pub(crate) struct RowRecord {
    /// Its JSON.
    pub(crate) bytes: Vec<u8>,
    /// The form of the row.
    pub(crate) shape: RecordShape,
    /// Whether the row had to be repaired to be read, and text was lost: see [`crate::repair`];
    /// `None` for a row that was sound, or whose oddness is still in the record.
    pub(crate) repaired: Option<bool>,
}

/// The record that an object tells of; `None` if it is no row of a known form.
pub(crate) fn record(object: &[u8], top: &TopLevel<'_>) -> Option<RowRecord> {
    if top.get("class_uid").is_some() {
        return ocsf::record(object);
    }
    columns::record(top.iter())
}

/// The record that cells tell of, each with the name of its column.
pub(crate) fn record_of_cells<'c>(
    cells: impl Iterator<Item = (&'c str, &'c [u8])>,
) -> Option<RowRecord> {
    columns::record(cells)
}

/// The record that the one-column objects of a row of CloudTrail Lake tell of.
pub(crate) fn record_of_list(values: &[&[u8]]) -> Option<RowRecord> {
    let columns: Vec<TopLevel<'_>> = values.iter().map(|value| TopLevel::of(value)).collect();
    let is_row = columns.iter().all(|column| column.iter().count() == 1);
    if !is_row {
        return None;
    }
    columns::record(columns.iter().flat_map(TopLevel::iter))
}
