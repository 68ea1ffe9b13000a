//! What kind of event a rule is about.

use rsigma_parser::LogSource;

/// What kind of event a rule sees, by its `logsource`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum RuleTarget {
    /// `category: secret_access`.
    Access,
    /// `category: secret_change`.
    Change,
    /// `service: cloudtrail`: the record as it is.
    Record,
}

impl RuleTarget {
    /// What a rule of this `logsource` sees; `None` for one that is not read here. The community's
    /// AWS rules say `service: cloudtrail`, or only `product: aws`.
    pub(crate) fn of(logsource: &LogSource) -> Option<Self> {
        let product = logsource.product.as_deref();
        let (service, category) = (logsource.service.as_deref(), logsource.category.as_deref());
        match (product, service, category) {
            (Some("aws") | None, None, Some("secret_access")) => Some(Self::Access),
            (Some("aws") | None, None, Some("secret_change")) => Some(Self::Change),
            (Some("aws"), Some("cloudtrail") | None, None) => Some(Self::Record),
            _ => None,
        }
    }
}
