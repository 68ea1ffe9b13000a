//! Fields of a record as they are, for rules that ask for more than the typed ones.

use std::collections::BTreeSet;

use crate::document::LazyDocument;
use crate::ids::SharedStr;
use crate::observation::KeptFields;

/// Raw fields that the loaded rules ask for beside the typed ones.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct WantedFields {
    /// Of reads and key uses.
    pub of_accesses: RawFields,
    /// Of changes.
    pub of_changes: RawFields,
}

/// Raw fields of one kind of record.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RawFields {
    /// Their names.
    pub names: BTreeSet<SharedStr>,
    /// Whether the whole record is searched.
    pub whole: bool,
}

/// The raw fields that rules ask for.
pub(super) fn kept(document: &LazyDocument<'_>, wanted: &RawFields) -> KeptFields {
    if wanted.names.is_empty() && !wanted.whole {
        return KeptFields::default();
    }
    let text = document.text();
    // Most records have few of the fields, and to search one for a key costs much less than to
    // parse it. A key with escapes in it cannot be found by its letters.
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
