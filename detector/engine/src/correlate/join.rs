//! Assigns KMS Decrypts to reads, step by step: the most certain pairs first.

use crate::correlate::correlation_group::{
    CorrelationGroup, CorrelationIndex, IndexedDecrypt, fits, get_secret_value,
    is_of_secrets_manager, is_under,
};
use crate::ids::SecretRef;
use crate::observation::{ReadRequest, SecretRead};
use crate::time::EventTime;

/// What a KMS Decrypt is assigned to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct PairAssignment {
    pub(super) read: usize,
    /// Index of the secret among those that the read names; 0 when it names none.
    pub(super) target: usize,
}

/// The assignments so far. Reads and KMS Decrypts are indices in the group.
pub(super) struct JoinState<'s> {
    pub(super) index: CorrelationIndex<'s>,
    /// For each read, for each secret that it names: its KMS Decrypt.
    taken: Vec<Vec<Option<usize>>>,
    /// For each read that does not name the returned secrets: the KMS Decrypts that do.
    many: Vec<Vec<usize>>,
    /// For each KMS Decrypt, its read.
    assignment: Vec<Option<PairAssignment>>,
    /// For each read, the batch that caused it.
    batch: Vec<Option<usize>>,
    /// For each batch, which of its secrets have a read of their own.
    claimed: Vec<Vec<bool>>,
}

/// A possible pair. Sorts first what should be paired first.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct PairCandidate<'s> {
    // Time comes first: the halves of a real pair are nearly always in one second, while one actor
    // may read the same secret again within a few.
    distance: i64,
    /// Whether the read does not name the secret: of equally near reads, one that names it wins.
    unspecific: bool,
    // The remaining fields do not make a pair more likely. They only make the order deterministic,
    // so that a sweep, a replay and the other part of a split history make the same pairs.
    earlier: EventTime,
    read_id: &'s str,
    use_id: &'s str,
    assignment: PairAssignment,
    kms_decrypt: usize,
}

impl<'s> PairCandidate<'s> {
    pub(super) fn named(
        assignment: PairAssignment,
        read: &'s SecretRead,
        used: IndexedDecrypt<'s>,
    ) -> Self {
        let (index, kms_decrypt) = used;
        Self {
            distance: read.head.time.distance(kms_decrypt.head.time),
            unspecific: false,
            earlier: read.head.time.min(kms_decrypt.head.time),
            read_id: &read.head.event_id,
            use_id: &kms_decrypt.head.event_id,
            assignment,
            kms_decrypt: index,
        }
    }

    fn unspecific(index: usize, read: &'s SecretRead, used: IndexedDecrypt<'s>) -> Self {
        let assignment = PairAssignment {
            read: index,
            target: 0,
        };
        Self {
            unspecific: true,
            ..Self::named(assignment, read, used)
        }
    }
}

/// A read that a batch may have caused. Sorts first what should be claimed first.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
struct BatchChild<'s> {
    distance: i64,
    batch_id: &'s str,
    read_id: &'s str,
    batch: usize,
    /// Index of the secret among those that the batch names; `None` when it names none.
    target: Option<usize>,
    read: usize,
}

impl<'s> JoinState<'s> {
    pub(super) fn new(correlation_group: &'s CorrelationGroup) -> Self {
        let reads = &correlation_group.reads;
        Self {
            index: CorrelationIndex::new(correlation_group),
            taken: reads.iter().map(|r| vec![None; named(r).len()]).collect(),
            many: vec![Vec::new(); reads.len()],
            assignment: vec![None; correlation_group.kms_decrypts.len()],
            batch: vec![None; reads.len()],
            claimed: reads.iter().map(|r| vec![false; named(r).len()]).collect(),
        }
    }

    /// Assigns one KMS Decrypt to each named secret, and any number to a path or a history.
    pub(super) fn match_nearest(&mut self) {
        let mut candidates = Vec::new();
        for (index, read) in self.index.correlation_group.reads.iter().enumerate() {
            // A read that is logged twice must not compete with itself for its only KMS Decrypt.
            if read.decrypts && !self.index.is_pass_through(read) {
                self.add_candidates(index, read, &mut candidates);
            }
        }
        self.take(candidates);
    }

    fn add_candidates(
        &self,
        index: usize,
        read: &'s SecretRead,
        candidates: &mut Vec<PairCandidate<'s>>,
    ) {
        let time = read.head.time;
        match &read.request {
            ReadRequest::Named(_) => {
                assignments(index, read)
                    .for_each(|assignment| self.add_named(assignment, read, candidates));
            }
            ReadRequest::History(secret) => {
                // Every version of the parameter is decrypted, each by a KMS Decrypt of its own.
                let uses = self.index.uses_of(secret, time);
                candidates.extend(uses.map(|used| PairCandidate::unspecific(index, read, used)));
            }
            ReadRequest::Path { path, recursive } => {
                let uses = self.index.uses_near(time);
                let under = uses.filter(|(_, kms_decrypt)| is_under(kms_decrypt, path, *recursive));
                candidates.extend(under.map(|used| PairCandidate::unspecific(index, read, used)));
            }
            // Batches follow in `match_batches`, after their children have taken their KMS
            // Decrypts.
            ReadRequest::Batch(_) | ReadRequest::BatchFilters => {}
        }
    }

    fn add_named(
        &self,
        assignment: PairAssignment,
        read: &'s SecretRead,
        candidates: &mut Vec<PairCandidate<'s>>,
    ) {
        let Some(secret) = named(read).get(assignment.target) else {
            return;
        };
        let uses = self.index.uses_of(secret, read.head.time);
        let fitting = uses.filter(|(_, kms_decrypt)| fits(kms_decrypt, secret));
        candidates.extend(fitting.map(|used| PairCandidate::named(assignment, read, used)));
    }

    /// Finds the `GetSecretValue` events that batches have caused: nearest first, one for each
    /// secret that the batch names.
    pub(super) fn fold_children(&mut self) {
        let mut children = Vec::new();
        for (index, batch) in self.index.correlation_group.reads.iter().enumerate() {
            match &batch.request {
                ReadRequest::Batch(secrets) => {
                    self.add_children(index, batch, Some(secrets), &mut children)
                }
                ReadRequest::BatchFilters => self.add_children(index, batch, None, &mut children),
                _ => {}
            }
        }
        // Nearest first, as with Decrypts: two batches of one actor may be seconds apart.
        children.sort_unstable();
        for child in children {
            self.claim(&child);
        }
    }

    fn add_children(
        &self,
        index: usize,
        batch: &'s SecretRead,
        listed: Option<&[SecretRef]>,
        children: &mut Vec<BatchChild<'s>>,
    ) {
        // No record says that a batch caused it. The child looks like a read of the same actor in
        // the same seconds, so that only time and secret can link them.
        for (read_index, read) in self.index.reads_near(batch.head.time) {
            let Some(secret) = get_secret_value(read) else {
                continue;
            };
            let target = listed.map(|l| l.iter().position(|s| s.agrees_with(secret)));
            // A batch that lists its secrets did not cause the read of a different one.
            if target == Some(None) {
                continue;
            }
            children.push(BatchChild {
                distance: read.head.time.distance(batch.head.time),
                batch_id: &batch.head.event_id,
                read_id: &read.head.event_id,
                batch: index,
                target: target.flatten(),
                read: read_index,
            });
        }
    }

    fn claim(&mut self, child: &BatchChild<'_>) {
        let claimed = child
            .target
            .and_then(|target| self.claimed.get_mut(child.batch)?.get_mut(target));
        // A second read of the secret, in the same seconds, is an independent one.
        if claimed.as_deref() == Some(&true) {
            return;
        }
        if let Some(batch @ None) = self.batch.get_mut(child.read) {
            *batch = Some(child.batch);
            if let Some(claimed) = claimed {
                *claimed = true;
            }
        }
    }

    /// Assigns the KMS Decrypts that no child of a batch took: one for each named secret; for
    /// filters, all that are near.
    pub(super) fn match_batches(&mut self) {
        let mut candidates = Vec::new();
        for (index, read) in self.index.correlation_group.reads.iter().enumerate() {
            match &read.request {
                ReadRequest::Batch(_) if read.decrypts => {
                    let assignments =
                        assignments(index, read).filter(|assignment| !self.is_claimed(*assignment));
                    assignments
                        .for_each(|assignment| self.add_named(assignment, read, &mut candidates));
                }
                ReadRequest::BatchFilters if read.decrypts => {
                    // The request does not say what it returned, and a batch never decrypts a
                    // parameter.
                    let uses = self.index.uses_near(read.head.time);
                    let uses = uses.filter(|(_, kms_decrypt)| is_of_secrets_manager(kms_decrypt));
                    candidates
                        .extend(uses.map(|used| PairCandidate::unspecific(index, read, used)));
                }
                _ => {}
            }
        }
        self.take(candidates);
    }

    /// Makes the pairs whose halves are still free. Taking the sorted candidates one by one equals
    /// choosing the best of the remaining ones again and again.
    pub(super) fn take(&mut self, mut candidates: Vec<PairCandidate<'s>>) {
        candidates.sort_unstable();
        for candidate in candidates {
            let PairCandidate {
                assignment,
                kms_decrypt,
                unspecific,
                ..
            } = candidate;
            // A path, a history or a filter returns any number of secrets: such a read is never
            // full.
            let read_is_free = unspecific || self.use_taken_by(assignment).is_none();
            if read_is_free && self.assignment_of(kms_decrypt).is_none() {
                self.give(kms_decrypt, assignment, unspecific);
            }
        }
    }

    pub(super) fn give(
        &mut self,
        kms_decrypt: usize,
        assignment: PairAssignment,
        unspecific: bool,
    ) {
        if let Some(slot) = self.assignment.get_mut(kms_decrypt) {
            *slot = Some(assignment);
        }
        if unspecific {
            if let Some(many) = self.many.get_mut(assignment.read) {
                many.push(kms_decrypt);
            }
            return;
        }
        let targets = self.taken.get_mut(assignment.read);
        if let Some(taken) = targets.and_then(|targets| targets.get_mut(assignment.target)) {
            *taken = Some(kms_decrypt);
        }
    }

    /// The read that a KMS Decrypt is assigned to.
    pub(super) fn assignment_of(&self, kms_decrypt: usize) -> Option<PairAssignment> {
        self.assignment.get(kms_decrypt).copied().flatten()
    }

    /// The KMS Decrypt that is assigned to a secret that a read names.
    pub(super) fn use_taken_by(&self, assignment: PairAssignment) -> Option<usize> {
        let targets = self.taken.get(assignment.read)?;
        targets.get(assignment.target).copied().flatten()
    }

    /// Whether a KMS Decrypt is assigned to any secret that a read names.
    pub(super) fn has_taken_any(&self, read: usize) -> bool {
        self.taken
            .get(read)
            .is_some_and(|taken| taken.iter().any(Option::is_some))
    }

    /// The KMS Decrypts that show what a read of a path, a history or filters returned.
    pub(super) fn uses_given_to(&self, read: usize) -> &[usize] {
        self.many.get(read).map(Vec::as_slice).unwrap_or_default()
    }

    /// Whether a read was caused by a batch.
    pub(super) fn is_child(&self, read: usize) -> bool {
        self.batch.get(read).is_some_and(Option::is_some)
    }

    /// Whether a batch caused any read.
    pub(super) fn has_children(&self, batch: usize) -> bool {
        self.batch.contains(&Some(batch))
    }

    /// Whether a secret that a batch names has a read of its own.
    pub(super) fn is_claimed(&self, assignment: PairAssignment) -> bool {
        let targets = self.claimed.get(assignment.read);
        targets.and_then(|targets| targets.get(assignment.target)) == Some(&true)
    }
}

/// The secrets that a read names.
pub(super) fn named(read: &SecretRead) -> &[SecretRef] {
    match &read.request {
        ReadRequest::Named(secrets) | ReadRequest::Batch(secrets) => secrets,
        _ => &[],
    }
}

fn assignments(index: usize, read: &SecretRead) -> impl Iterator<Item = PairAssignment> + use<> {
    (0..named(read).len()).map(move |target| PairAssignment {
        read: index,
        target,
    })
}

#[cfg(test)]
pub(super) mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::access::DecryptStatus;
    use crate::correlate::{AccessRow, CorrelationResult, correlate};
    use crate::events_for_tests::{
        HOME, decrypt_parameter, decrypt_secret, get_secret, put_secret, read,
    };
    use crate::observation::{EventHeader, KmsDecrypt, SecretChange};

    fn correlation_group(
        reads: &[SecretRead],
        kms_decrypts: &[KmsDecrypt],
        changes: &[SecretChange],
    ) -> CorrelationGroup {
        CorrelationGroup {
            reads: reads.iter().cloned().map(Arc::new).collect(),
            kms_decrypts: kms_decrypts.iter().cloned().map(Arc::new).collect(),
            changes: changes.iter().cloned().map(Arc::new).collect(),
        }
    }

    /// One word for each access, and one for each explained KMS Decrypt: `read+decrypt`,
    /// `+decrypt`, `read-`, `(decrypt)`.
    fn reported(paired: &CorrelationResult) -> Vec<String> {
        let id = |head: &Option<Arc<EventHeader>>| head.as_ref().map(|h| h.event_id.to_string());
        let row = |row: &AccessRow| match (id(&row.read), id(&row.kms_decrypt)) {
            (Some(read), None) => format!("{read}-"),
            (read, kms_decrypt) => {
                format!(
                    "{}+{}",
                    read.unwrap_or_default(),
                    kms_decrypt.unwrap_or_default()
                )
            }
        };
        let explained = paired.explained.iter().map(|h| format!("({})", h.event_id));
        let mut reported: Vec<String> = paired.rows.iter().map(row).chain(explained).collect();
        reported.sort();
        reported
    }

    /// Checks the result for a group, with its events in several orders.
    pub(in crate::correlate) fn check(
        reads: &[SecretRead],
        kms_decrypts: &[KmsDecrypt],
        expected: &[&str],
    ) {
        for reads in turned(reads) {
            for kms_decrypts in turned(kms_decrypts) {
                assert_eq!(
                    reported(&correlate(correlation_group(&reads, &kms_decrypts, &[]))),
                    expected
                );
            }
        }
    }

    /// The same events, rotated to begin with each of them, forwards and backwards.
    fn turned<T: Clone>(events: &[T]) -> Vec<Vec<T>> {
        let mut orders = vec![events.to_vec()];
        for start in 0..events.len() {
            let mut order = events.to_vec();
            order.rotate_left(start);
            orders.push(order.clone());
            order.reverse();
            orders.push(order);
        }
        orders
    }

    fn batch(id: &str, secs: i64, names: &[&str]) -> SecretRead {
        let secrets = names.iter().map(|name| SecretRef::secret(name, HOME));
        read(
            id,
            "BatchGetSecretValue",
            secs,
            ReadRequest::Batch(secrets.collect()),
        )
    }

    fn by_path(id: &str, secs: i64, path: &str) -> SecretRead {
        let request = ReadRequest::Path {
            path: SecretRef::parameter(path, HOME),
            recursive: true,
        };
        read(id, "GetParametersByPath", secs, request)
    }

    fn get_parameter(id: &str, secs: i64, name: &str) -> SecretRead {
        let request = ReadRequest::Named(vec![SecretRef::parameter(name, HOME)]);
        read(id, "GetParameter", secs, request)
    }

    #[test]
    fn the_tolerance_is_the_last_second_that_pairs() {
        for secs in [95, 105] {
            let read = get_secret("r", 100, "x");
            check(&[read], &[decrypt_secret("k", secs, "x")], &["r+k"]);
        }
        for secs in [94, 106] {
            let read = get_secret("r", 100, "x");
            check(&[read], &[decrypt_secret("k", secs, "x")], &["+k", "r-"]);
        }
    }

    #[test]
    fn a_nearer_pair_is_made_although_a_farther_one_came_first() {
        // First fit would assign k2 to r1, and leave r2 with nothing.
        let reads = [get_secret("r1", 0, "x"), get_secret("r2", 3, "x")];
        check(&reads, &[decrypt_secret("k2", 3, "x")], &["r1-", "r2+k2"]);
    }

    #[test]
    fn of_equally_near_pairs_the_earlier_is_made_and_then_the_ids_decide() {
        let around = [get_secret("r1", 0, "x"), get_secret("r2", 4, "x")];
        check(&around, &[decrypt_secret("k", 2, "x")], &["r1+k", "r2-"]);
        let same_second = [get_secret("r1", 0, "x"), get_secret("r2", 0, "x")];
        check(
            &same_second,
            &[decrypt_secret("k", 0, "x")],
            &["r1+k", "r2-"],
        );
        let uses = [decrypt_secret("k1", 0, "x"), decrypt_secret("k2", 0, "x")];
        check(&same_second, &uses, &["r1+k1", "r2+k2"]);
    }

    #[test]
    fn only_the_version_that_a_read_names_is_its_own() {
        let mut read = get_secret("r", 0, "x");
        if let ReadRequest::Named(secrets) = &mut read.request {
            secrets[0].version_id = Some("v2".into());
        }
        let version = |id: &str, secs, version: &str| KmsDecrypt {
            version_id: Some(version.into()),
            ..decrypt_secret(id, secs, "x")
        };
        let uses = [version("k1", 0, "v1"), version("k2", 1, "v2")];
        check(&[read], &uses, &["+k1", "r+k2"]);
        check(&[get_secret("r", 0, "x")], &uses, &["+k2", "r+k1"]);
    }

    #[test]
    fn a_path_takes_all_that_is_under_it_except_what_a_read_names() {
        let reads = [by_path("p", 0, "/app"), get_parameter("g", 0, "/app/a")];
        let uses = [
            decrypt_parameter("k1", 0, "/app/a"),
            decrypt_parameter("k2", 0, "/app/b/c"),
            decrypt_parameter("k3", 0, "/apple"),
        ];
        check(&reads, &uses, &["+k3", "g+k1", "p+k2"]);
        // The read that names it is farther away.
        let reads = [by_path("p", 0, "/app"), get_parameter("g", 1, "/app/a")];
        check(&reads, &uses[..1], &["g-", "p+k1"]);
    }

    #[test]
    fn paths_near_each_other_share_what_is_under_both() {
        let reads = [by_path("p1", 0, "/app"), by_path("p2", 4, "/app")];
        let uses = [
            decrypt_parameter("k1", 0, "/app/a"),
            decrypt_parameter("k2", 2, "/app/b"),
            decrypt_parameter("k3", 3, "/app/c"),
        ];
        check(&reads, &uses, &["p1+k1", "p1+k2", "p2+k3"]);
    }

    #[test]
    fn a_batch_and_its_children_count_each_secret_once() {
        let uses = [decrypt_secret("k1", 0, "x"), decrypt_secret("k2", 0, "y")];
        let reads = [batch("b", 0, &["x", "y"]), get_secret("c", 1, "x")];
        check(&reads, &uses, &["b+k2", "c+k1"]);
        let paired = correlate(correlation_group(&reads, &uses, &[]));
        assert!(paired.rows.iter().all(|row| !row.absence_proves));
        // Two reads of one secret: the nearer is the child, and the other is an independent read.
        let reads = [
            batch("b", 0, &["x"]),
            get_secret("c", 0, "x"),
            get_secret("r", 1, "x"),
        ];
        let rows = correlate(correlation_group(&reads, &[], &[])).rows;
        let proves: Vec<_> = rows
            .iter()
            .map(|row| (&*row.access.head.event_id, row.absence_proves))
            .collect();
        assert_eq!(proves, [("c", false), ("r", true)]);
    }

    #[test]
    fn a_child_belongs_to_the_nearer_of_two_batches() {
        let reads = [
            batch("b1", 0, &["x"]),
            batch("b2", 3, &["x"]),
            get_secret("c", 2, "x"),
        ];
        check(&reads, &[], &["b1-", "c-"]);
    }

    #[test]
    fn a_batch_by_filters_keeps_the_kms_decrypts_that_no_child_took() {
        let reads = [
            read("b", "BatchGetSecretValue", 0, ReadRequest::BatchFilters),
            get_secret("c", 0, "x"),
        ];
        check(&reads, &[], &["c-"]);
        let uses = [
            decrypt_secret("k1", 0, "x"),
            decrypt_secret("k2", 1, "y"),
            decrypt_parameter("k3", 0, "/y"),
        ];
        check(&reads, &uses, &["+k3", "b+k2", "c+k1"]);
        check(&reads[..1], &[], &["b-"]);
    }

    #[test]
    fn a_read_that_parameter_store_passes_on_is_reported_once() {
        let reference = "/aws/reference/secretsmanager/x";
        let mut passed_on = get_secret("c", 0, "x");
        let mut head = (*passed_on.head).clone();
        Arc::make_mut(&mut head.principal).via = Some("ssm.amazonaws.com".into());
        passed_on.head = Arc::new(head);
        let uses = [decrypt_secret("k", 0, "x")];
        let reads = [get_parameter("r", 0, reference), passed_on.clone()];
        check(&reads, &uses, &["r+k"]);
        check(&[passed_on], &uses, &["c+k"]);
    }

    #[test]
    fn a_change_explains_kms_decrypts_up_to_the_tolerance_but_no_direct_one() {
        let direct = KmsDecrypt {
            direct: true,
            ..decrypt_secret("k3", 0, "x")
        };
        let uses = [
            decrypt_secret("k1", -5, "x"),
            decrypt_secret("k2", 6, "x"),
            direct,
            decrypt_secret("k4", 0, "y"),
        ];
        let paired = correlate(correlation_group(&[], &uses, &[put_secret("p", 0, "x")]));
        assert_eq!(reported(&paired), ["(k1)", "+k2", "+k3", "+k4"]);
        let ignored = SecretChange {
            decrypts: false,
            ..put_secret("p", 0, "x")
        };
        let paired = correlate(correlation_group(&[], &uses[..1], &[ignored]));
        assert_eq!(reported(&paired), ["+k1"]);
    }

    #[test]
    fn a_read_beside_a_change_keeps_its_kms_decrypt() {
        let (reads, uses) = ([get_secret("r", 1, "x")], [decrypt_secret("k", 0, "x")]);
        let paired = correlate(correlation_group(&reads, &uses, &[put_secret("p", 0, "x")]));
        assert_eq!(reported(&paired), ["r+k"]);
    }

    #[test]
    fn what_expects_no_kms_decrypt_takes_none() {
        let mut read = get_secret("r", 0, "x");
        read.decrypts = false;
        let paired = correlate(correlation_group(
            &[read],
            &[decrypt_secret("k", 0, "x")],
            &[],
        ));
        assert_eq!(reported(&paired), ["+k", "r-"]);
        let statuses = paired.rows.iter().map(|row| row.access.decrypt.status);
        assert_eq!(
            statuses.collect::<Vec<_>>(),
            [DecryptStatus::NotExpected; 2]
        );
    }
}
