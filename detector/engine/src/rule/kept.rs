//! What is read for other purposes than the rules.

use super::{RuleSet, RuleTarget};

impl RuleSet {
    /// Reads all secret changes, also if no rule is about them.
    #[must_use]
    pub fn with_changes(self) -> Self {
        Self {
            keeps_changes: true,
            ..self
        }
    }

    /// Reads the calls that issue temporary credentials, for who is behind a session.
    #[must_use]
    pub fn with_issues(self) -> Self {
        Self {
            keeps_issues: true,
            ..self
        }
    }

    /// Whether calls that issue temporary credentials are read.
    #[must_use]
    pub fn keeps_issues(&self) -> bool {
        self.keeps_issues
    }

    /// Whether all secret changes are read.
    #[must_use]
    pub fn keeps_changes(&self) -> bool {
        self.keeps_changes || self.sees(RuleTarget::Change)
    }
}
