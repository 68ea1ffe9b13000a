//! Selection: a part of the logs by time, account and region, and a filter on principal, secret,
//! source, outcome, method and access key.

use std::collections::BTreeSet;

use crate::{
    access::{Access, AccessMethod},
    glob::GlobPattern,
    ids::SecretRef,
    limits::SETTLE_MARGIN_SECS,
    observation::{CallOutcome, EventHeader},
    policy::{SourcePattern, subjects},
    time::EventTime,
};

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

    /// Whether accounts, regions or times are selected, and not only by the filter.
    #[must_use]
    #[inline]
    pub fn is_limited(&self) -> bool {
        let Self {
            from,
            to,
            accounts,
            regions,
            filter: _,
        } = self;
        from.is_some() || to.is_some() || !accounts.is_empty() || !regions.is_empty()
    }

    /// Whether an account and region are selected; unknown ones are only where all are.
    #[must_use]
    pub fn holds(&self, account: Option<&str>, region: Option<&str>) -> bool {
        is_listed(&self.accounts, account) && is_listed(&self.regions, region)
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

/// Whether a list contains a value; an empty list contains all.
fn is_listed(list: &[String], value: Option<&str>) -> bool {
    list.is_empty() || value.is_some_and(|value| list.iter().any(|listed| listed == value))
}

/// Most accounts, and most regions, in a tally: more than any organisation has, and a limit for
/// hostile files.
const PLACES: usize = 20_000;

/// How many records a selection by time, account and region took and left out, and what there was.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct SelectionTally {
    /// Records in the selection.
    pub taken: u64,
    /// Records outside of it.
    pub left_out: u64,
    /// Folders and objects outside of it by their paths, which were not opened.
    pub unopened: u64,
    /// Every account that was seen, selected or not.
    pub accounts: BTreeSet<String>,
    /// Every region that was seen, selected or not.
    pub regions: BTreeSet<String>,
    /// The first and the last time that were seen, selected or not.
    pub span: Option<(EventTime, EventTime)>,
}

impl SelectionTally {
    /// Counts a record with these fields. Within an `AWSLogs` tree (`in_tree`), the path has
    /// already selected account and region.
    pub fn record(
        &mut self,
        selection: &Selection,
        in_tree: bool,
        [account, region]: [Option<&str>; 2],
        time: Option<EventTime>,
    ) {
        self.place(account, region);
        self.times(time.map(|time| (time, time)));
        // An unknown time is not known to be outside.
        let in_time = time.is_none_or(|time| selection.contains(time));
        if in_time && (in_tree || selection.holds(account, region)) {
            self.taken += 1;
        } else {
            self.left_out += 1;
        }
    }

    /// Remembers an account and a region.
    pub fn place(&mut self, account: Option<&str>, region: Option<&str>) {
        for (known, value) in [(&mut self.accounts, account), (&mut self.regions, region)] {
            // Looked up first: nearly all are known, and need no copy.
            if let Some(value) = value.filter(|value| !known.contains(*value))
                && known.len() < PLACES
            {
                known.insert(value.to_owned());
            }
        }
    }

    /// Extends the span by a first and a last time.
    pub fn times(&mut self, times: Option<(EventTime, EventTime)>) {
        self.span = match (self.span, times) {
            (Some((first, last)), Some((from, to))) => Some((first.min(from), last.max(to))),
            (known, new) => known.or(new),
        };
    }

    /// Adds another tally.
    pub fn add(&mut self, other: &Self) {
        self.taken += other.taken;
        self.left_out += other.left_out;
        self.unopened += other.unopened;
        // By `place`, so that the limit holds for the sum of many files as well.
        for account in &other.accounts {
            self.place(Some(account), None);
        }
        for region in &other.regions {
            self.place(None, Some(region));
        }
        self.times(other.span);
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
            let names = [&principal.id, &principal.actor, &principal.name];
            let names = names.into_iter().flatten().map(|name| &**name);
            // The role of a person covers everybody on it, as in a grant.
            names.chain(principal.role_of_person())
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

/// Whether a secret has a name or ARN that matches, with or without its suffix.
#[must_use]
pub fn is_called(secret: &SecretRef, glob: &GlobPattern) -> bool {
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
    fn a_tally_counts_both_sides_and_names_what_there_was() {
        let selection = Selection {
            accounts: vec!["111122223333".to_owned()],
            ..at(Some(100), None)
        };
        assert!(selection.is_limited() && !Selection::default().is_limited());
        let mut tally = SelectionTally::default();
        let mut record = |account, time| {
            let place = [Some(account), Some("eu-west-1")];
            tally.record(&selection, false, place, Some(EventTime(time)));
        };
        record("111122223333", 150);
        record("111122223333", 50);
        record("444455556666", 150);
        tally.record(&selection, true, [None, None], Some(EventTime(200)));
        tally.record(&selection, true, [None, None], None);
        assert_eq!((tally.taken, tally.left_out), (3, 2));
        assert_eq!(tally.accounts.len(), 2);
        assert_eq!(tally.span, Some((EventTime(50), EventTime(200))));
        let mut sum = SelectionTally::default();
        sum.add(&tally);
        assert_eq!(sum, tally);
        sum.add(&tally);
        assert_eq!((sum.taken, sum.accounts.len()), (6, 2));
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
