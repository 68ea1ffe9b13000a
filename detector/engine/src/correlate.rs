//! Joins reads and KMS Decrypts of one actor in one region to accesses. The result is a function of
//! the given set, never of its order: among all candidate pairs the nearest in time wins, then the
//! earlier, then the event ids decide. Time and memory are linear in the number of events.
//!
//! This module uses no clock, coverage or store. A read without a KMS Decrypt is returned as
//! [`DecryptStatus::Pending`](crate::access::DecryptStatus::Pending); the caller decides whether
//! that means absent or unknown.

mod children;
mod correlation_group;
mod crossing;
mod denied;
mod join;
mod near;
mod nearest;
mod paths;
mod queues;
mod rows;
mod spelling;
mod steps;

use std::ops::Range;

pub use self::{
    correlation_group::CorrelationGroup,
    crossing::{CrossingPairs, latest_cut},
    rows::{AccessRow, CorrelationResult, alone, row},
};

use self::{children::ChildSearch, join::JoinState, nearest::DecryptSearch};
use crate::time::EventTime;

/// Joins the reads, KMS Decrypts and changes of one actor in one region.
#[must_use]
pub fn correlate(correlation_group: CorrelationGroup) -> CorrelationResult {
    let always = EventTime(i64::MIN)..EventTime(i64::MAX);
    let (result, _) = correlate_within(correlation_group, &CrossingPairs::default(), always);
    result
}

/// Joins a piece of a longer group: returns the accesses of the given times, as the whole group
/// would give them, and the pairs that cross the end of the piece.
///
/// `crossing` are the pairs that cross its beginning. The group has the events of the piece, those
/// up to [`PAIRING_TOLERANCE_SECS`](crate::limits::PAIRING_TOLERANCE_SECS) before it, and those up
/// to [`SETTLE_MARGIN_SECS`](crate::limits::SETTLE_MARGIN_SECS) after it.
#[must_use]
pub fn correlate_within(
    mut correlation_group: CorrelationGroup,
    crossing: &CrossingPairs,
    times: Range<EventTime>,
) -> (CorrelationResult, CrossingPairs) {
    correlation_group.sort();
    let join = decide(&correlation_group, crossing, times.start);
    let next = CrossingPairs::of(&join, times.end);
    (join.into_rows(&times), next)
}

/// Decides which events of a sorted group, from a time on, belong together.
fn decide<'s>(
    correlation_group: &'s CorrelationGroup,
    crossing: &CrossingPairs,
    from: EventTime,
) -> JoinState<'s> {
    let mut join = JoinState::new(correlation_group, from);
    crossing.apply(&mut join);
    // Nearest first, not first come: Terraform and an attacker may read one secret seconds apart,
    // and in real logs a third of all Decrypts arrive before their reads.
    DecryptSearch::of_reads(&join).assign(&mut join);
    // The child of a batch has taken its KMS Decrypt like any other read. What is still free after
    // that belongs to the batch itself.
    ChildSearch::new(&join).assign(&mut join);
    DecryptSearch::of_batches(&join).assign(&mut join);
    // The other reads expect a successful KMS Decrypt, so no step above has assigned a denied one.
    join.match_denied();
    join
}

#[cfg(test)]
mod tests {
    //! The join once more, too simple to be wrong: all possible pairs in a list, the best first. The
    //! fast one must decide the same, for any events, in any pieces, and in linear time.

    use std::{
        collections::{BTreeMap, BTreeSet},
        ops::Range,
        sync::Arc,
    };

    use proptest::prelude::*;

    use super::{
        CorrelationGroup, correlate_within,
        correlation_group::{get_secret_value, is_of_secrets_manager, is_plain, named},
        crossing::{CrossingPairs, latest_cut},
        decide,
        join::{JoinState, PairAssignment},
        steps,
    };
    use crate::{
        events_for_tests::{HOME, decrypt_secret, put_secret, read},
        ids::SecretRef,
        limits::{PAIRING_TOLERANCE_SECS, SETTLE_MARGIN_SECS},
        observation::{CallOutcome, KmsDecrypt, ReadRequest, SecretRead},
        time::EventTime,
    };

    /// The decisions: for each KMS Decrypt the read and which of its secrets, for each read its batch.
    #[derive(Debug, Default, PartialEq)]
    struct Decisions {
        pairs: BTreeMap<String, (String, usize)>,
        children: BTreeMap<String, (String, Option<usize>)>,
    }

    /// How good a pair or a child is; the best first.
    type Worth = (i64, bool, EventTime, String, String, usize);

    fn worth(
        read: &SecretRead,
        used: &KmsDecrypt,
        unspecific: bool,
        target: usize,
    ) -> Option<Worth> {
        let (a, b) = (&read.head, &used.head);
        let distance = a.time.distance(b.time);
        let ids = (a.event_id.to_string(), b.event_id.to_string());
        (distance <= PAIRING_TOLERANCE_SECS).then(|| {
            (
                distance,
                unspecific,
                a.time.min(b.time),
                ids.0,
                ids.1,
                target,
            )
        })
    }

    fn fits(secret: &SecretRef, used: &KmsDecrypt) -> bool {
        let versions = secret.version_id.as_ref().zip(used.version_id.as_ref());
        secret.is_completed_by(used.secret.as_ref().unwrap())
            && versions.is_none_or(|(a, b)| a == b)
    }

    fn is_under(path: &SecretRef, recursive: bool, used: &SecretRef) -> bool {
        let folder = format!("{}/", path.name.as_deref().unwrap().trim_matches('/'));
        let name = used.name.as_deref().unwrap().trim_start_matches('/');
        let rest = name.strip_prefix(folder.trim_start_matches('/'));
        path.root() == used.root() && rest.is_some_and(|rest| recursive || !rest.contains('/'))
    }

    /// For each secret that a read could take this for: which, and whether the read only lists it.
    fn targets(
        read: &SecretRead,
        used: &KmsDecrypt,
        claimed: &BTreeSet<(String, usize)>,
    ) -> Vec<(usize, bool)> {
        let secret = used.secret.as_ref().unwrap();
        let listed = |does: bool| if does { vec![(0, true)] } else { vec![] };
        match &read.request {
            ReadRequest::Named(_) | ReadRequest::Batch(_) => (0..named(read).len())
                .filter(|target| !claimed.contains(&(read.head.event_id.to_string(), *target)))
                .filter(|target| fits(&named(read)[*target], used))
                .map(|target| (target, false))
                .collect(),
            ReadRequest::History(asked) => {
                let place = Some(secret.place());
                listed(Some(asked.place()) == place || asked.partial_place() == place)
            }
            ReadRequest::Path { path, recursive } => listed(is_under(path, *recursive, secret)),
            ReadRequest::BatchFilters => listed(is_of_secrets_manager(used)),
        }
    }

    impl Decisions {
        /// Decides everything, step by step.
        fn simply(group: &CorrelationGroup) -> Self {
            let mut decisions = Self::default();
            let is_batch = |read: &SecretRead| {
                matches!(
                    read.request,
                    ReadRequest::Batch(_) | ReadRequest::BatchFilters
                )
            };
            decisions.pair(group, |read| !is_batch(read));
            decisions.find_children(group);
            decisions.pair(group, is_batch);
            decisions
        }

        fn pair(&mut self, group: &CorrelationGroup, takes: impl Fn(&SecretRead) -> bool) {
            let claimed: BTreeSet<_> = self.children.values().cloned().collect();
            let claimed = claimed
                .into_iter()
                .filter_map(|(batch, target)| Some((batch, target?)));
            let claimed: BTreeSet<_> = claimed.collect();
            let mut all = Vec::new();
            for read in group
                .reads
                .iter()
                .filter(|read| read.decrypts && takes(read))
            {
                if is_pass_through(read, group) {
                    continue;
                }
                for used in group.kms_decrypts.iter().filter(|used| is_plain(used)) {
                    for (target, unspecific) in targets(read, used, &claimed) {
                        all.extend(worth(read, used, unspecific, target));
                    }
                }
            }
            all.sort();
            let mut full = BTreeSet::new();
            for (_, unspecific, _, read, used, target) in all {
                let is_full = !unspecific && full.contains(&(read.clone(), target));
                if !is_full && !self.pairs.contains_key(&used) {
                    full.insert((read.clone(), target));
                    self.pairs.insert(used, (read, target));
                }
            }
        }

        fn find_children(&mut self, group: &CorrelationGroup) {
            let mut all = Vec::new();
            for batch in &group.reads {
                for child in &group.reads {
                    let Some(secret) = get_secret_value(child) else {
                        continue;
                    };
                    let (a, b) = (&batch.head, &child.head);
                    let distance = a.time.distance(b.time);
                    let targets: Vec<Option<usize>> = match &batch.request {
                        ReadRequest::Batch(secrets) => (0..secrets.len())
                            .filter(|target| secrets[*target].agrees_with(secret))
                            .map(Some)
                            .collect(),
                        ReadRequest::BatchFilters => vec![None],
                        _ => continue,
                    };
                    if distance <= PAIRING_TOLERANCE_SECS {
                        let ids = (a.event_id.to_string(), b.event_id.to_string());
                        let earlier = a.time.min(b.time);
                        all.extend(
                            targets
                                .into_iter()
                                .map(|target| (distance, earlier, ids.clone(), target)),
                        );
                    }
                }
            }
            all.sort();
            for (_, _, (batch, child), target) in all {
                let claim = (batch, target);
                let is_full =
                    target.is_some() && self.children.values().any(|known| *known == claim);
                if !is_full && !self.children.contains_key(&child) {
                    self.children.insert(child, claim);
                }
            }
        }

        /// What a join has decided.
        fn of(join: &JoinState<'_>) -> Self {
            let id = |read: usize| join.group.reads[read].head.event_id.to_string();
            let mut decisions = Self::default();
            for (index, used) in join.kms_decrypts() {
                if let Some(PairAssignment { read, target }) = join.assignment_of(index) {
                    let used = used.head.event_id.to_string();
                    decisions.pairs.insert(used, (id(read), target));
                }
            }
            for (index, _) in join.reads() {
                if let Some(claim) = join.batch_of(index) {
                    decisions
                        .children
                        .insert(id(index), (id(claim.batch), claim.target));
                }
            }
            decisions
        }
    }

    fn is_pass_through(read: &SecretRead, group: &CorrelationGroup) -> bool {
        let Some(secret) = get_secret_value(read).filter(|_| read.head.principal.via.is_some())
        else {
            return false;
        };
        group.reads.iter().any(|other| {
            let near = other.head.time.distance(read.head.time) <= PAIRING_TOLERANCE_SECS;
            let is_parameter = other.head.api.starts_with("GetParameter");
            let refers = named(other).iter().any(|other| other.agrees_with(secret));
            near && is_parameter && refers
        })
    }

    /// The spellings of few secrets, so that most events have something in common.
    const SECRETS: [&str; 6] = [
        "oauth",
        "oauth-client",
        "arn:aws:secretsmanager:eu-west-1:111122223333:secret:oauth-AbCdEf",
        "arn:aws:secretsmanager:eu-west-1:111122223333:secret:oauth-GhIjKl",
        "arn:aws:secretsmanager:eu-west-1:111122223333:secret:oauth-client",
        "arn:aws:secretsmanager:eu-west-1:111122223333:secret:oauth-client-AbCdEf",
    ];

    const PARAMETERS: [&str; 4] = [
        "/app/a",
        "/app/b/c",
        "root",
        "/aws/reference/secretsmanager/oauth",
    ];

    fn any_secret() -> impl Strategy<Value = SecretRef> {
        let version = proptest::option::weighted(0.2, prop_oneof![Just("1"), Just("2")]);
        let secret = prop_oneof![
            3 => (0..SECRETS.len()).prop_map(|index| SecretRef::secret(SECRETS[index], HOME)),
            1 => (0..PARAMETERS.len()).prop_map(|index| SecretRef::parameter(PARAMETERS[index], HOME)),
        ];
        (secret, version).prop_map(|(secret, version)| SecretRef {
            version_id: version.map(Into::into),
            ..secret
        })
    }

    fn any_request() -> impl Strategy<Value = (&'static str, ReadRequest)> {
        let secrets = || proptest::collection::vec(any_secret(), 1..4);
        let path = prop_oneof![Just("/"), Just("/app"), Just("/app/b/")];
        prop_oneof![
            5 => any_secret().prop_map(|s| ("GetSecretValue", ReadRequest::Named(vec![s]))),
            1 => secrets().prop_map(|s| ("GetParameters", ReadRequest::Named(s))),
            2 => secrets().prop_map(|s| ("BatchGetSecretValue", ReadRequest::Batch(s))),
            1 => Just(("BatchGetSecretValue", ReadRequest::BatchFilters)),
            1 => (path, any::<bool>()).prop_map(|(path, recursive)| {
                let path = SecretRef::path(path, HOME);
                ("GetParametersByPath", ReadRequest::Path { path, recursive })
            }),
            1 => any_secret().prop_map(|s| ("GetParameterHistory", ReadRequest::History(s))),
        ]
    }

    /// Events within these seconds. The ids are in no relation to the times.
    fn any_group(seconds: Range<i64>, most: usize) -> impl Strategy<Value = CorrelationGroup> {
        let event = (any_request(), seconds.clone(), any::<bool>(), 0_u8..8);
        let reads = proptest::collection::vec(event, 0..most);
        let kms_decrypt = (any_secret(), seconds.clone(), 0_u8..10);
        let kms_decrypts = proptest::collection::vec(kms_decrypt, 0..most);
        let changes = proptest::collection::vec((0..2_usize, seconds), 0..3);
        let ids = Just((0..most).collect::<Vec<_>>()).prop_shuffle();
        (reads, kms_decrypts, changes, ids).prop_map(|(reads, kms_decrypts, changes, ids)| {
            let mut group = CorrelationGroup::default();
            for (((api, request), secs, passed_on, plain), id) in reads.into_iter().zip(&ids) {
                let mut event = read(&format!("r{id:03}"), api, secs, request);
                event.decrypts = plain > 0;
                if passed_on {
                    let head = Arc::make_mut(&mut event.head);
                    Arc::make_mut(&mut head.principal).via = Some("ssm.amazonaws.com".into());
                }
                group.reads.push(Arc::new(event));
            }
            for ((secret, secs, kind), id) in kms_decrypts.into_iter().zip(&ids) {
                let mut event = decrypt_secret(&format!("k{id:03}"), secs, "x");
                event.version_id = secret.version_id.clone();
                event.secret = Some(secret);
                event.direct = kind == 0;
                if kind == 1 {
                    Arc::make_mut(&mut event.head).outcome = CallOutcome::Failed;
                }
                group.kms_decrypts.push(Arc::new(event));
            }
            for (index, (secret, secs)) in changes.into_iter().enumerate() {
                let change = put_secret(&format!("c{index}"), secs, SECRETS[secret]);
                group.changes.push(Arc::new(change));
            }
            group
        })
    }

    /// The events of some times.
    fn part(group: &CorrelationGroup, times: Range<i64>) -> CorrelationGroup {
        let is_in = |time: EventTime| times.contains(&time.0);
        CorrelationGroup {
            reads: group
                .reads
                .iter()
                .filter(|e| is_in(e.head.time))
                .cloned()
                .collect(),
            kms_decrypts: group
                .kms_decrypts
                .iter()
                .filter(|e| is_in(e.head.time))
                .cloned()
                .collect(),
            changes: group
                .changes
                .iter()
                .filter(|e| is_in(e.head.time))
                .cloned()
                .collect(),
        }
    }

    /// The rows and explained KMS Decrypts of some times, in no order.
    fn told(
        group: CorrelationGroup,
        crossing: &CrossingPairs,
        times: Range<i64>,
    ) -> (BTreeSet<String>, CrossingPairs) {
        let times = EventTime(times.start)..EventTime(times.end);
        let (result, next) = correlate_within(group, crossing, times);
        let rows = result.rows.iter().map(|row| format!("{row:?}"));
        let explained = result.explained.iter().map(|head| format!("{head:?}"));
        (rows.chain(explained).collect(), next)
    }

    fn everything(group: &CorrelationGroup) -> BTreeSet<String> {
        told(
            part(group, i64::MIN..i64::MAX),
            &CrossingPairs::default(),
            i64::MIN..i64::MAX,
        )
        .0
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(2_000))]

        #[test]
        fn the_fast_join_decides_as_the_simple_one(group in any_group(0..16, 14)) {
            let mut sorted = part(&group, 0..16);
            sorted.sort();
            let join = decide(&sorted, &CrossingPairs::default(), EventTime(i64::MIN));
            prop_assert_eq!(Decisions::of(&join), Decisions::simply(&group));
        }

        #[test]
        fn pieces_of_any_length_give_what_the_whole_gives(
            group in any_group(0..400, 200),
            lengths in proptest::collection::vec(1_i64..150, 1..6),
        ) {
            let mut found = BTreeSet::new();
            let (mut from, mut crossing) = (-1, CrossingPairs::default());
            for length in lengths.iter().cycle() {
                let to = from + length;
                let around = from - PAIRING_TOLERANCE_SECS..to + SETTLE_MARGIN_SECS + 1;
                let (mut rows, next) = told(part(&group, around), &crossing, from..to);
                prop_assert!(found.is_disjoint(&rows));
                found.append(&mut rows);
                (from, crossing) = (to, next);
                if from > 400 {
                    break;
                }
            }
            prop_assert_eq!(found, everything(&group));
        }

        #[test]
        fn nothing_depends_on_what_is_before_a_cut(
            group in any_group(0..60, 40),
            before in any_group(0..60, 40),
            hidden in 0_i64..20,
        ) {
            // Only what is near the cut is looked at.
            let seen = part(&group, hidden..i64::MAX);
            let earliest = hidden + 2 * PAIRING_TOLERANCE_SECS;
            let Some(cut) = latest_cut(seen, EventTime(earliest)..=EventTime(50)) else {
                return Ok(());
            };
            let from = cut.0;
            let mut other = part(&before, i64::MIN..hidden);
            let same = part(&group, hidden..i64::MAX);
            let renamed = |id: &str| -> Arc<str> { format!("{id}-other").into() };
            for read in &mut other.reads {
                let head = Arc::make_mut(&mut Arc::make_mut(read).head);
                head.event_id = renamed(&head.event_id);
            }
            for used in &mut other.kms_decrypts {
                let head = Arc::make_mut(&mut Arc::make_mut(used).head);
                head.event_id = renamed(&head.event_id);
            }
            other.reads.extend(same.reads);
            other.kms_decrypts.extend(same.kms_decrypts);
            other.changes.extend(same.changes);
            let around = from - PAIRING_TOLERANCE_SECS..i64::MAX;
            let alone = told(part(&group, around), &CrossingPairs::default(), from..i64::MAX).0;
            let whole = |group: CorrelationGroup| {
                let always = EventTime(i64::MIN)..EventTime(i64::MAX);
                let (result, _) = correlate_within(group, &CrossingPairs::default(), always);
                let later = result.rows.iter().filter(|row| row.access.head.time >= cut);
                let explained = result.explained.iter().filter(|head| head.time >= cut);
                let rows = later.map(|row| format!("{row:?}"));
                rows.chain(explained.map(|head| format!("{head:?}"))).collect::<BTreeSet<_>>()
            };
            prop_assert_eq!(&alone, &whole(part(&group, i64::MIN..i64::MAX)));
            prop_assert_eq!(&alone, &whole(other));
        }
    }

    /// Many events of one kind; the number is that of the reads.
    fn busy(
        reads: i64,
        seconds: i64,
        request: impl Fn(i64) -> (&'static str, ReadRequest),
        of: impl Fn(i64) -> SecretRef,
    ) -> CorrelationGroup {
        let mut group = CorrelationGroup::default();
        for index in 0..reads {
            let (secs, (api, request)) = (index % seconds, request(index));
            let mut event = read(&format!("r{index:06}"), api, secs, request);
            if index % 3 == 0 {
                let head = Arc::make_mut(&mut event.head);
                Arc::make_mut(&mut head.principal).via = Some("ssm.amazonaws.com".into());
            }
            group.reads.push(Arc::new(event));
            let mut used = decrypt_secret(&format!("k{index:06}"), (index * 7) % seconds, "x");
            used.secret = Some(of(index));
            used.version_id = Some(format!("v{}", index / 2).into());
            group.kms_decrypts.push(Arc::new(used));
            let change = put_secret(&format!("c{index:06}"), secs, "x");
            group.changes.push(Arc::new(change));
        }
        group
    }

    fn steps_of(group: CorrelationGroup) -> u64 {
        let before = steps::counted();
        let (result, _) = correlate_within(
            group,
            &CrossingPairs::default(),
            EventTime(i64::MIN)..EventTime(i64::MAX),
        );
        assert!(!result.rows.is_empty());
        steps::counted() - before
    }

    /// The call of each read, by its number.
    type Request = fn(i64) -> (&'static str, ReadRequest);

    /// What one actor may do all at once.
    fn shapes() -> [(&'static str, Request); 9] {
        [
            ("one secret", |_| {
                (
                    "GetSecretValue",
                    ReadRequest::Named(vec![SecretRef::secret("x", HOME)]),
                )
            }),
            ("another secret", |_| {
                (
                    "GetSecretValue",
                    ReadRequest::Named(vec![SecretRef::secret("y", HOME)]),
                )
            }),
            ("a version each", |index| {
                let version_id = Some(format!("v{index}").into());
                let secret = SecretRef {
                    version_id,
                    ..SecretRef::secret("x", HOME)
                };
                ("GetSecretValue", ReadRequest::Named(vec![secret]))
            }),
            ("references", |_| {
                let reference = SecretRef::parameter("/aws/reference/secretsmanager/x", HOME);
                ("GetParameter", ReadRequest::Named(vec![reference]))
            }),
            ("batches by id", |index| {
                if index % 2 == 0 {
                    return (
                        "GetSecretValue",
                        ReadRequest::Named(vec![SecretRef::secret("x", HOME)]),
                    );
                }
                let names = ["x", "y", "z"].map(|name| SecretRef::secret(name, HOME));
                ("BatchGetSecretValue", ReadRequest::Batch(names.into()))
            }),
            ("batches by filters", |index| {
                if index % 2 == 0 {
                    return (
                        "GetSecretValue",
                        ReadRequest::Named(vec![SecretRef::secret("x", HOME)]),
                    );
                }
                ("BatchGetSecretValue", ReadRequest::BatchFilters)
            }),
            ("pages of a path", |_| {
                let path = SecretRef::path("/app", HOME);
                (
                    "GetParametersByPath",
                    ReadRequest::Path {
                        path,
                        recursive: true,
                    },
                )
            }),
            ("histories", |_| {
                (
                    "GetParameterHistory",
                    ReadRequest::History(SecretRef::parameter("/app/x", HOME)),
                )
            }),
            ("mixed", |index| match index % 3 {
                0 => (
                    "GetParameterHistory",
                    ReadRequest::History(SecretRef::parameter("/app/x", HOME)),
                ),
                1 => ("BatchGetSecretValue", ReadRequest::BatchFilters),
                _ => (
                    "GetSecretValue",
                    ReadRequest::Named(vec![SecretRef::secret("x", HOME)]),
                ),
            }),
        ]
    }

    #[test]
    fn the_cost_grows_with_the_events_whatever_one_actor_does() {
        let secret = |_: i64| SecretRef::secret("x", HOME);
        for (name, request) in shapes() {
            for seconds in [5, 600] {
                let parameter = |_: i64| SecretRef::parameter("/app/x", HOME);
                for of in [secret as fn(i64) -> SecretRef, parameter] {
                    let few = steps_of(busy(400, seconds, request, of));
                    let many = steps_of(busy(4_000, seconds, request, of));
                    assert!(
                        many <= 11 * few,
                        "{name} in {seconds} s: {few} and {many} steps"
                    );
                }
            }
        }
    }
}
