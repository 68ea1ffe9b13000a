//! Which management events a trail or an event data store logs, by its event selectors.
//!
//! Source: CloudTrail user guide, "Logging management events" and "Advanced event selectors".

use crate::document::JsonNode;

/// Which management events are logged. Secret reads and KMS Decrypts are management events, and
/// only read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ManagementEvents {
    /// All of them.
    All,
    /// Those that read, but not those that write.
    Reads,
    /// All but those of KMS.
    WithoutKms,
    /// Some that read: other conditions leave some out.
    Some,
    /// Only those that write.
    Writes,
    /// None.
    None,
}

/// What the selectors are of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SelectorOwner {
    /// A trail.
    Trail,
    /// An event data store of CloudTrail Lake, which may be for other events altogether.
    DataStore,
}

impl ManagementEvents {
    /// The value in rules.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::All => "all",
            Self::Reads => "reads",
            Self::WithoutKms => "without_kms",
            Self::Some => "some",
            Self::Writes => "writes",
            Self::None => "none",
        }
    }

    /// By `eventSelectors` and `advancedEventSelectors` of a call; `None` when it has neither, and
    /// for event data stores of other events. A list of advanced selectors replaces the others.
    #[must_use]
    pub fn selected(
        basic: Option<&JsonNode<'_>>,
        advanced: Option<&JsonNode<'_>>,
        of: SelectorOwner,
    ) -> Option<Self> {
        let selected = match (members(advanced), members(basic)) {
            ([], []) => return None,
            ([], basic) => Selected::all(basic.iter().map(basic_selector)),
            // Stores of other kinds of events never had management events.
            (advanced, _)
                if of == SelectorOwner::DataStore && advanced.iter().all(is_of_another_kind) =>
            {
                return None;
            }
            (advanced, _) => Selected::all(advanced.iter().map(advanced_selector)),
        };
        Some(selected.summary())
    }
}

/// What selectors let through.
#[derive(Debug, Clone, Copy, Default)]
struct Selected {
    writes: bool,
    /// Of services other than KMS.
    reads: bool,
    kms_reads: bool,
    /// A part of the reads.
    some_reads: bool,
}

impl Selected {
    fn all(selectors: impl Iterator<Item = Self>) -> Self {
        selectors.fold(Self::default(), |all, one| Self {
            writes: all.writes | one.writes,
            reads: all.reads | one.reads,
            kms_reads: all.kms_reads | one.kms_reads,
            some_reads: all.some_reads | one.some_reads,
        })
    }

    fn summary(self) -> ManagementEvents {
        match self {
            Self {
                reads: true,
                kms_reads: true,
                writes,
                ..
            } => {
                if writes {
                    ManagementEvents::All
                } else {
                    ManagementEvents::Reads
                }
            }
            Self { reads: true, .. } => ManagementEvents::WithoutKms,
            Self {
                some_reads,
                kms_reads,
                ..
            } if some_reads || kms_reads => ManagementEvents::Some,
            Self { writes: true, .. } => ManagementEvents::Writes,
            _ => ManagementEvents::None,
        }
    }
}

fn basic_selector(selector: &JsonNode<'_>) -> Selected {
    if is_false(selector.get("includeManagementEvents")) {
        return Selected::default();
    }
    let kind = selector
        .get("readWriteType")
        .and_then(JsonNode::as_text)
        .unwrap_or("All");
    let reads = !kind.eq_ignore_ascii_case("WriteOnly");
    let excluded = values(selector.get("excludeManagementEventSources"));
    Selected {
        writes: !kind.eq_ignore_ascii_case("ReadOnly"),
        reads,
        kms_reads: reads && !excluded.iter().any(|source| is_kms(source)),
        some_reads: reads,
    }
}

/// Whether a selector is of events that are no calls.
fn is_of_another_kind(selector: &JsonNode<'_>) -> bool {
    const KINDS: [&str; 5] = [
        "ConfigurationItem",
        "NetworkActivity",
        "Insight",
        "Evidence",
        "ActivityAuditLog",
    ];
    let mut categories = categories(selector);
    categories.any(|wanted| !wanted.is_empty() && wanted.iter().all(|one| KINDS.contains(one)))
}

/// The categories of events that a selector asks for, once for each of its conditions.
fn categories<'n>(selector: &'n JsonNode<'_>) -> impl Iterator<Item = Vec<&'n str>> {
    let fields = members(selector.get("fieldSelectors")).iter();
    let fields = fields.filter(|field| name_of(field) == "eventCategory");
    fields.map(|field| values(field.get("equals")))
}

fn advanced_selector(selector: &JsonNode<'_>) -> Selected {
    if !categories(selector).any(|wanted| wanted.contains(&"Management")) {
        return Selected::default();
    }
    let mut selected = Selected {
        writes: true,
        reads: true,
        kms_reads: true,
        some_reads: true,
    };
    let fields = members(selector.get("fieldSelectors")).iter();
    for field in fields.filter(|field| name_of(field) != "eventCategory") {
        selected.narrow(field);
    }
    selected
}

impl Selected {
    fn narrow(&mut self, field: &JsonNode<'_>) {
        let equals = values(field.get("equals"));
        let excluded = values(field.get("notEquals"));
        match name_of(field) {
            "readOnly" => {
                let is = |value: &str| {
                    let among = |values: &[&str]| {
                        values.iter().any(|other| other.eq_ignore_ascii_case(value))
                    };
                    (equals.is_empty() || among(&equals)) && !among(&excluded)
                };
                let reads = is("true");
                self.writes &= is("false");
                self.reads &= reads;
                self.kms_reads &= reads;
                self.some_reads &= reads;
            }
            "eventSource" if equals.is_empty() && field_has_only(field, "notEquals") => {
                self.kms_reads &= !excluded.iter().any(|source| is_kms(source));
                let stores = ["secretsmanager.amazonaws.com", "ssm.amazonaws.com"];
                self.reads &= !excluded.iter().any(|source| stores.contains(source));
            }
            _ => (self.reads, self.kms_reads) = (false, false),
        }
    }
}

/// Whether a field selector has no other operator.
fn field_has_only(field: &JsonNode<'_>, operator: &str) -> bool {
    let JsonNode::Map(entries) = field else {
        return false;
    };
    entries
        .iter()
        .all(|(key, value)| key == "field" || key == operator || members(Some(value)).is_empty())
}

fn name_of<'n>(field: &'n JsonNode<'_>) -> &'n str {
    field
        .get("field")
        .and_then(JsonNode::as_text)
        .unwrap_or_default()
}

fn is_kms(source: &str) -> bool {
    source.starts_with("kms.")
}

fn is_false(value: Option<&JsonNode<'_>>) -> bool {
    match value {
        Some(JsonNode::Bool(value)) => !value,
        Some(JsonNode::Str(text)) => text.eq_ignore_ascii_case("false"),
        _ => false,
    }
}

fn values<'n>(node: Option<&'n JsonNode<'_>>) -> Vec<&'n str> {
    match node {
        Some(JsonNode::List(many)) => many.iter().filter_map(JsonNode::as_text).collect(),
        Some(one) => one.as_text().into_iter().collect(),
        None => Vec::new(),
    }
}

fn members<'n, 'a>(node: Option<&'n JsonNode<'a>>) -> &'n [JsonNode<'a>] {
    match node {
        Some(JsonNode::List(many)) => many,
        _ => &[],
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn selected(basic: &str, advanced: &str) -> Option<&'static str> {
        selected_of(basic, advanced, SelectorOwner::DataStore)
    }

    fn selected_of(basic: &str, advanced: &str, of: SelectorOwner) -> Option<&'static str> {
        let (basic, advanced) = (
            JsonNode::parse(basic).unwrap(),
            JsonNode::parse(advanced).unwrap(),
        );
        ManagementEvents::selected(Some(&basic), Some(&advanced), of).map(ManagementEvents::as_str)
    }

    #[test]
    fn basic_selectors_add_up() {
        for (basic, expected) in [
            ("[]", None),
            ("null", None),
            (r#"[{"readWriteType":"All"}]"#, Some("all")),
            (r#"[{}]"#, Some("all")),
            (r#"[{"readWriteType":"WriteOnly"}]"#, Some("writes")),
            (
                r#"[{"readWriteType":"ReadOnly","includeManagementEvents":true}]"#,
                Some("reads"),
            ),
            (
                r#"[{"includeManagementEvents":false,"dataResources":[]}]"#,
                Some("none"),
            ),
            (
                r#"[{"excludeManagementEventSources":["x.amazonaws.com","kms.amazonaws.com"]}]"#,
                Some("without_kms"),
            ),
            (
                r#"[{"readWriteType":"WriteOnly"},{"readWriteType":"ReadOnly"}]"#,
                Some("all"),
            ),
        ] {
            assert_eq!(selected(basic, "[]"), expected, "{basic}");
        }
    }

    #[test]
    fn advanced_selectors_replace_the_basic_ones() {
        let management = r#"{"field":"eventCategory","equals":["Management"]}"#;
        let data = r#"{"field":"eventCategory","equals":["Data"]}"#;
        let writes = r#"{"field":"readOnly","equals":["false"]}"#;
        let reads = r#"{"field":"readOnly","equals":["true"]}"#;
        let no_kms = r#"{"field":"eventSource","notEquals":["kms.amazonaws.com"]}"#;
        let no_store = r#"{"field":"eventSource","notEquals":["secretsmanager.amazonaws.com"]}"#;
        let one = |fields: &[&str]| format!(r#"{{"fieldSelectors":[{}]}}"#, fields.join(","));
        let all = one(&[management]);
        for (selectors, expected) in [
            (vec![all.clone()], "all"),
            (vec![one(&[data])], "none"),
            (vec![one(&[data, writes])], "none"),
            (vec![all, one(&[data, writes])], "all"),
            (vec![one(&[management, writes])], "writes"),
            (vec![one(&[management, reads])], "reads"),
            (
                vec![one(&[management, reads]), one(&[management, writes])],
                "all",
            ),
            (vec![one(&[management, no_kms])], "without_kms"),
            (vec![one(&[management, no_store])], "some"),
            (
                vec![one(&[
                    management,
                    r#"{"field":"userIdentity.arn","notEquals":["x"]}"#,
                ])],
                "some",
            ),
            (vec!["{}".to_owned()], "none"),
        ] {
            let text = format!("[{}]", selectors.join(","));
            assert_eq!(selected(r#"[{}]"#, &text), Some(expected), "{text}");
        }
        let items = one(&[r#"{"field":"eventCategory","equals":["ConfigurationItem"]}"#]);
        assert_eq!(selected("[]", &format!("[{items}]")), None);
        let network = one(&[r#"{"field":"eventCategory","equals":["NetworkActivity"]}"#]);
        let network = format!("[{network}]");
        assert_eq!(selected("[]", &network), None);
        // A trail had them before.
        let of_trail = selected_of("[]", &network, SelectorOwner::Trail);
        assert_eq!(of_trail, Some("none"));
    }
}
