//! The objects of a batch that could not be read: a small object beside its extract file, so that
//! they are found without reading extract files. JSON lines; a batch whose objects were all read
//! has none.

use serde::{Deserialize, Serialize};

use super::ManifestItem;
use crate::extract_file;

/// End of the names of these lists.
const ENDING: &str = ".failed.jsonl";

/// An object that could not be read: a line of a list.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FailedItem {
    /// The object, as it was listed.
    #[serde(flatten)]
    pub item: ManifestItem,
    /// Why it could not be read, as its extract file says.
    pub reason: String,
}

/// The name of the list for the batch with this extract file.
#[must_use]
pub fn failed_list(part: &str) -> String {
    let stem = part.strip_suffix(extract_file::ENDING).unwrap_or(part);
    format!("{stem}{ENDING}")
}

/// Whether a name is that of a list.
#[must_use]
pub fn is_failed_list(name: &str) -> bool {
    name.ends_with(ENDING)
}

impl FailedItem {
    /// The text of a list, in order of their names.
    #[must_use]
    pub fn write(mut items: Vec<Self>) -> String {
        items.sort_by(|a, b| a.item.key.cmp(&b.item.key));
        let mut text = String::new();
        for item in items {
            // Cannot fail: every key is text.
            text.push_str(&serde_json::to_string(&item).unwrap_or_default());
            text.push('\n');
        }
        text
    }

    /// Reads the text of a list.
    ///
    /// # Errors
    ///
    /// It is not such a list, or was truncated.
    pub fn read(text: &str) -> Result<Vec<Self>, serde_json::Error> {
        text.lines().map(serde_json::from_str).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn failed(key: &str) -> FailedItem {
        FailedItem {
            item: ManifestItem {
                bucket: "b".to_owned(),
                key: key.to_owned(),
                etag: "e".to_owned(),
                size: 7,
            },
            reason: "access denied\n".to_owned(),
        }
    }

    #[test]
    fn what_is_read_is_what_was_written_by_name() {
        let text = FailedItem::write(vec![failed("b"), failed("a")]);
        assert_eq!(
            text.lines().next(),
            Some(r#"{"bucket":"b","key":"a","etag":"e","size":7,"reason":"access denied\n"}"#)
        );
        assert_eq!(FailedItem::read(&text).unwrap(), [failed("a"), failed("b")]);
        assert!(FailedItem::read(text.get(..text.len() - 9).unwrap()).is_err());
    }

    #[test]
    fn a_list_stands_beside_its_extract_file() {
        let list = failed_list("secretrail-1a.extract.jsonl.gz");
        assert_eq!(list, "secretrail-1a.failed.jsonl");
        assert!(is_failed_list(&list) && !extract_file::is_extract_file(&list));
    }
}
