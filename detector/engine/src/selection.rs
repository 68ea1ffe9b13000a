//! Selection: a part of the logs by time, account and region, and a filter on principal, secret,
//! source, outcome, method and access key.

use crate::access::{Access, AccessMethod};
use crate::glob::GlobPattern;
use crate::ids::SecretRef;
use crate::limits::SETTLE_MARGIN_SECS;
use crate::observation::{CallOutcome, EventHeader};
use crate::policy::{SourcePattern, subjects};
use crate::time::EventTime;

/// The selected part of the logs.
#[derive(Debug, Clone, Default)]
pub struct Selection {
    /// First event time; `None` for no limit.
    pub from: Option<EventTime>,
    /// End of the selection: the first event time after it; `None` for no limit.
    pub to: Option<EventTime>,
    /// `recipientAccountId`s; empty for all. Applies to objects outside an `AWSLogs` tree.
    pub accounts: Vec<String>,
    /// `awsRegion`s; empty for all. Applies to objects outside an `AWSLogs` tree.
    pub regions: Vec<String>,
    /// Filter on principal, secret, source, outcome, method and access key.
    pub filter: AccessFilter,
}

impl Selection {
    /// Whether an event time is selected.
    #[must_use]
    pub fn contains(&self, time: EventTime) -> bool {
        self.from.is_none_or(|from| time >= from) && self.to.is_none_or(|to| time < to)
    }

    /// Whether an access is selected.
    #[must_use]
    pub fn takes(&self, access: &Access) -> bool {
        self.contains(access.head.time) && self.filter.takes(access)
    }

    /// Whether a change or another record is selected.
    #[must_use]
    pub fn takes_other(&self, head: &EventHeader, secret: Option<&SecretRef>) -> bool {
        self.contains(head.time) && self.filter.takes_other(head, secret)
    }

    /// Whether an event time is selected, or close enough to be that of the other half of a
    /// selected event.
    #[must_use]
    pub fn is_near(&self, time: EventTime) -> bool {
        let margin = SETTLE_MARGIN_SECS;
        self.from.is_none_or(|from| time >= from.plus(-margin))
            && self.to.is_none_or(|to| time < to.plus(margin))
    }
}

/// A filter on accesses, changes and records. An empty list matches everything; of a list, one
/// entry must match; all lists must match.
#[derive(Debug, Clone, Default)]
pub struct AccessFilter {
    /// Principals by ARN, session ARN, or the name of the role, user or service.
    pub principals: Vec<GlobPattern>,
    /// Secrets by name or ARN, with or without its suffix.
    pub secrets: Vec<GlobPattern>,
    /// Networks, VPC endpoints, and services.
    pub sources: Vec<SourcePattern>,
    /// Outcomes of the call.
    pub outcomes: Vec<CallOutcome>,
    /// Access methods. Changes and records have no method: with this list, none of them matches.
    pub methods: Vec<AccessMethod>,
    /// `userIdentity.accessKeyId`s, compared with the key of the read. The Decrypt behind a read
    /// has another one.
    pub access_keys: Vec<String>,
}

impl AccessFilter {
    /// Whether the filter is empty, and so matches everything.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        let Self {
            principals,
            secrets,
            sources,
            outcomes,
            methods,
            access_keys,
        } = self;
        principals.is_empty()
            && secrets.is_empty()
            && sources.is_empty()
            && outcomes.is_empty()
            && methods.is_empty()
            && access_keys.is_empty()
    }

    /// Whether an access matches.
    #[must_use]
    pub fn takes(&self, access: &Access) -> bool {
        let method = self.methods.is_empty() || self.methods.contains(&access.method);
        method && self.takes_event(&access.head, Some(&access.secret))
    }

    /// Whether a change or another record matches; never when the filter lists methods.
    #[must_use]
    pub fn takes_other(&self, head: &EventHeader, secret: Option<&SecretRef>) -> bool {
        self.methods.is_empty() && self.takes_event(head, secret)
    }

    fn takes_event(&self, head: &EventHeader, secret: Option<&SecretRef>) -> bool {
        let principal = &head.principal;
        let names = || {
            [&principal.id, &principal.actor, &principal.name]
                .into_iter()
                .flatten()
        };
        let named = |glob: &GlobPattern| secret.is_some_and(|secret| is_called(secret, glob));
        let key = head.access_key_id.as_deref();
        any(&self.principals, |glob| {
            names().any(|name| glob.matches(name))
        }) && any(&self.secrets, named)
            && any(&self.sources, |source| source.matches(&head.source))
            && any(&self.outcomes, |outcome| head.outcome == *outcome)
            && any(&self.access_keys, |wanted| key == Some(wanted))
    }
}

fn any<T>(wanted: &[T], is: impl Fn(&T) -> bool) -> bool {
    wanted.is_empty() || wanted.iter().any(is)
}

fn is_called(secret: &SecretRef, glob: &GlobPattern) -> bool {
    secret
        .name
        .as_deref()
        .is_some_and(|name| glob.matches(name))
        || subjects(secret).iter().any(|subject| glob.matches(subject))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::access;

    fn at(from: Option<i64>, to: Option<i64>) -> Selection {
        Selection {
            from: from.map(EventTime),
            to: to.map(EventTime),
            ..Selection::default()
        }
    }

    #[test]
    fn times_are_from_the_first_to_before_the_last() {
        let selection = at(Some(100), Some(200));
        let contains = |secs| selection.contains(EventTime(secs));
        assert!(!contains(99) && contains(100) && contains(199) && !contains(200));
        assert!(at(None, None).contains(EventTime(i64::MIN)));
        // The other half of a read at the edge may be outside the selection.
        assert!(selection.is_near(EventTime(100 - SETTLE_MARGIN_SECS)));
        assert!(!selection.is_near(EventTime(200 + SETTLE_MARGIN_SECS)));
    }

    #[test]
    fn all_lists_must_agree_and_of_a_list_one_is_enough() {
        let sample = access::sample();
        let mut filter = AccessFilter::default();
        assert!(filter.is_empty() && filter.takes(&sample));
        filter.secrets = vec![GlobPattern::new("other"), GlobPattern::new("d?")];
        assert!(!filter.is_empty() && !filter.takes(&sample));
        filter.secrets.push(GlobPattern::new("/db"));
        assert!(filter.takes(&sample));
        filter.outcomes = vec![CallOutcome::Denied];
        assert!(!filter.takes(&sample));
    }

    #[test]
    fn what_has_no_method_is_not_selected_by_one() {
        let sample = access::sample();
        let filter = AccessFilter {
            methods: vec![sample.method],
            ..AccessFilter::default()
        };
        assert!(filter.takes(&sample));
        assert!(!filter.takes_other(&sample.head, Some(&sample.secret)));
        assert!(AccessFilter::default().takes_other(&sample.head, None));
    }

    #[test]
    fn a_secret_is_selected_by_its_name_or_arn() {
        let sample = access::sample();
        let by = |glob| AccessFilter {
            secrets: vec![GlobPattern::new(glob)],
            ..AccessFilter::default()
        };
        assert!(by("arn:aws:ssm:*:parameter/db").takes(&sample));
        assert!(by("/d*").takes(&sample) && !by("parameter/db").takes(&sample));
        assert!(!by("*").takes_other(&sample.head, None));
    }
}
