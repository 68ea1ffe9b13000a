//! Raw fields of a record, for rules that need more than the typed ones.

use std::collections::BTreeSet;

use crate::{document::LazyDocument, ids::SharedStr, observation::KeptFields};

/// Raw fields that the loaded rules need besides the typed ones.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct WantedFields {
    /// For reads and KMS Decrypts.
    pub of_accesses: RawFields,
    /// For secret changes.
    pub of_changes: RawFields,
}

/// Raw fields of one kind of record.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RawFields {
    /// Paths as in the rules, e.g. `requestParameters.name` or `a.b[0]`.
    pub names: BTreeSet<SharedStr>,
    /// Whether a rule searches the whole record for keywords.
    pub whole: bool,
}

/// The raw fields that rules need, as far as the record has them.
pub(super) fn kept(document: &LazyDocument<'_>, wanted: &RawFields) -> KeptFields {
    if wanted.names.is_empty() && !wanted.whole {
        return KeptFields::default();
    }
    let text = document.text();
    // Most records have few of the fields, and searching the text for a key is much cheaper than
    // parsing it. A key that is written with escapes cannot be found this way.
    let is_escaped = text.contains('\\');
    let fields = wanted
        .names
        .iter()
        .filter(|name| is_escaped || text.contains(last_key(name)))
        .filter_map(|name| {
            let value = document.node().field(name)?.into_owned().into_owned();
            Some((name.clone(), value))
        })
        .collect();
    let whole = wanted
        .whole
        .then(|| Box::new(document.node().clone().into_owned()));
    KeptFields { fields, whole }
}

/// `c` of `a.b.c` and of `a.b.c[0]`.
fn last_key(name: &str) -> &str {
    let last = name.rsplit('.').next();
    last.and_then(|last| last.split('[').next()).unwrap_or(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_kept_is_what_the_record_has() {
        let texts = [
            r#"{"a":{"b":[{"c":1},{"c":"two"}],"d/e":3},"f":null}"#,
            r#"{"\u0061":{"b":[{"\u0063":1}]},"x":"c"}"#,
            r#"{"a":{"d\/e":4}}"#,
            r#"{"x":"a.b.c"}"#,
            "{}",
            "no JSON with a, b and c",
        ];
        let names = ["a.b.c", "a.b[1].c", "a.b[0]", "a.d/e", "f", "g", "a"];
        let wanted = RawFields {
            names: names.into_iter().map(SharedStr::from).collect(),
            whole: false,
        };
        let mut found = 0;
        for text in texts {
            let document = LazyDocument::new(text);
            let kept = kept(&document, &wanted);
            for name in names {
                let value = document
                    .node()
                    .field(name)
                    .map(|node| node.into_owned().into_owned());
                found += usize::from(value.is_some());
                assert_eq!(
                    kept.fields
                        .iter()
                        .find(|(n, _)| &**n == name)
                        .map(|(_, v)| v),
                    value.as_ref(),
                    "{name}"
                );
            }
        }
        assert!(found > 8, "{found}");
    }
}
