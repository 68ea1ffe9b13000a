//! Which fields the rows of a form have: what a form cannot tell is unknown, and is said once.

use serde_json::{Map, Value};

use crate::record_shape::RecordShape;

/// Fields that a judgement needs. The first stands for the row itself.
const NEEDED: [&str; 9] = [
    "eventName",
    "userIdentity.arn",
    "requestParameters",
    "recipientAccountId",
    "awsRegion",
    "sourceIPAddress",
    "eventID",
    "errorCode",
    "errorMessage",
];

/// The fields that the rows of each form have so far.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct FormFields([u16; RecordShape::ROWS.len()]);

impl FormFields {
    /// Notes the fields of a record of a form.
    pub(crate) fn note(&mut self, shape: RecordShape, record: &[u8]) {
        let Some(form) = RecordShape::ROWS.iter().position(|form| *form == shape) else {
            return;
        };
        // Written by the reader of rows, so that it can always be parsed.
        let Ok(record) = serde_json::from_slice::<Map<String, Value>>(record) else {
            return;
        };
        let present = NEEDED
            .iter()
            .enumerate()
            .filter(|(_, path)| tells(&record, path));
        let present = present.fold(0, |bits, (bit, _)| bits | 1 << bit);
        if let Some(known) = self.0.get_mut(form) {
            *known |= present;
        }
    }

    /// Adds what the rows of another part of the logs have.
    pub fn add(&mut self, other: &Self) {
        for (known, present) in self.0.iter_mut().zip(other.0) {
            *known |= present;
        }
    }

    /// The forms that occurred and lack fields, with these fields. Few records have errors: a form
    /// lacks them only where another one says that there were errors.
    #[must_use]
    pub fn lacking(&self) -> Vec<(RecordShape, Vec<&'static str>)> {
        let forms = RecordShape::ROWS
            .into_iter()
            .zip(self.0)
            .filter(|(_, present)| *present != 0);
        forms
            .map(|(form, present)| {
                let has = |name: &str| {
                    let bit = NEEDED.iter().position(|needed| *needed == name);
                    bit.is_some_and(|bit| present & 1 << bit != 0)
                };
                let lacks = NEEDED.into_iter().filter(|name| match *name {
                    "errorCode" => false,
                    "errorMessage" => has("errorCode") && !has(name),
                    name => !has(name),
                });
                (form, lacks.collect())
            })
            .filter(|(_, lacks): &(_, Vec<_>)| !lacks.is_empty())
            .collect()
    }
}

fn tells(record: &Map<String, Value>, path: &str) -> bool {
    let mut steps = path.split('.');
    let first = steps.next().and_then(|name| record.get(name));
    // A field that is null tells no more than one that is absent.
    let value = steps.fold(first, |value, step| value?.get(step));
    value.is_some_and(|value| !value.is_null())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_form_lacks_what_none_of_its_rows_tells() {
        let mut form_fields = FormFields::default();
        assert_eq!(form_fields.lacking(), []);
        let first = br#"{"eventName":"x","eventID":"e","awsRegion":"r","sourceIPAddress":"s",
            "recipientAccountId":"1","userIdentity":{"userName":"u"},"errorCode":"e"}"#;
        form_fields.note(RecordShape::EventHistory, first);
        form_fields.note(RecordShape::Records, first);
        let lacking = vec!["userIdentity.arn", "requestParameters", "errorMessage"];
        let expected = [(RecordShape::EventHistory, lacking)];
        assert_eq!(form_fields.lacking(), expected);
        let mut other = FormFields::default();
        let second = br#"{"eventName":"x","userIdentity":{"arn":"a"},"requestParameters":{},
            "errorMessage":"m"}"#;
        other.note(RecordShape::EventHistory, second);
        form_fields.add(&other);
        assert_eq!(form_fields.lacking(), []);
    }
}
