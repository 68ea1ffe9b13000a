//! Items: their attributes, keys, and ranges of keys.

use std::collections::HashMap;

use aws_sdk_dynamodb::{primitives::Blob, types::AttributeValue};

pub(super) use crate::names::{CONTENT, PK, SK, TTL};

/// An item: values by the names of its attributes.
pub(super) type Attributes = HashMap<String, AttributeValue>;

/// Partition key and sort key of an item.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct ItemKey {
    pub(super) pk: String,
    pub(super) sk: String,
}

impl ItemKey {
    pub(super) fn new(pk: impl Into<String>, sk: impl Into<String>) -> Self {
        Self {
            pk: pk.into(),
            sk: sk.into(),
        }
    }

    pub(super) fn attributes(&self) -> Attributes {
        HashMap::from([
            (PK.to_owned(), text(&self.pk)),
            (SK.to_owned(), text(&self.sk)),
        ])
    }

    /// The key of an item; `None` when it has none.
    pub(super) fn of(item: &Attributes) -> Option<Self> {
        Some(Self::new(text_of(item, PK)?, text_of(item, SK)?))
    }
}

/// A range of sort keys in one partition; both ends inclusive.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct SortKeyRange {
    pub(super) pk: String,
    pub(super) from: String,
    pub(super) to: String,
}

impl SortKeyRange {
    /// The whole partition: sort keys begin with a digit or a letter, which all sort before `~`.
    pub(super) fn whole(pk: impl Into<String>) -> Self {
        Self {
            pk: pk.into(),
            from: "0".to_owned(),
            to: "~".to_owned(),
        }
    }
}

pub(super) fn text(text: &str) -> AttributeValue {
    AttributeValue::S(text.to_owned())
}

pub(super) fn number(number: impl ToString) -> AttributeValue {
    AttributeValue::N(number.to_string())
}

/// The value of an attribute that is there or not.
pub(super) fn truth() -> AttributeValue {
    AttributeValue::Bool(true)
}

pub(super) fn bytes(bytes: Vec<u8>) -> AttributeValue {
    AttributeValue::B(Blob::new(bytes))
}

pub(super) fn text_of<'i>(item: &'i Attributes, name: &str) -> Option<&'i str> {
    item.get(name)
        .and_then(|value| value.as_s().ok())
        .map(String::as_str)
}

pub(super) fn number_of(item: &Attributes, name: &str) -> Option<i64> {
    // An item of another version may have another type there: it then has no such number.
    item.get(name)
        .and_then(|value| value.as_n().ok())
        .and_then(|text| text.parse().ok())
}

pub(super) fn bytes_of<'i>(item: &'i Attributes, name: &str) -> Option<&'i [u8]> {
    item.get(name)
        .and_then(|value| value.as_b().ok())
        .map(AsRef::as_ref)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_read_back_from_its_item() {
        let key = ItemKey::new("coverage#111122223333#eu-west-1", "420000");
        assert_eq!(ItemKey::of(&key.attributes()), Some(key));
        assert_eq!(
            ItemKey::of(&HashMap::from([(PK.to_owned(), text("p"))])),
            None
        );
    }

    #[test]
    fn an_attribute_of_another_type_is_none() {
        let item = HashMap::from([
            ("text".to_owned(), text("12")),
            ("number".to_owned(), number(-12)),
            (
                "not a number".to_owned(),
                AttributeValue::N("1.5".to_owned()),
            ),
            ("bytes".to_owned(), bytes(vec![0, 255])),
        ]);
        assert_eq!(number_of(&item, "number"), Some(-12));
        assert_eq!(bytes_of(&item, "bytes"), Some(&[0, 255][..]));
        for name in ["text", "not a number", "absent"] {
            assert_eq!(number_of(&item, name), None, "{name}");
        }
        assert_eq!(text_of(&item, "number"), None);
        assert_eq!(bytes_of(&item, "text"), None);
    }
}
