//! Assigns KMS Decrypts to reads, nearest first.
//!
//! A pair is two events of one secret that are at most the tolerance apart, in whole seconds. For
//! each distance, from none to the tolerance, the reads are walked in the order in which pairs are
//! made, and each takes the first free KMS Decrypt from the queue of its secret and second. That
//! gives what choosing the best of all pairs again and again would give, without a list of them: a
//! busy actor has as many pairs as the square of its events.

use ahash::HashMap;

use crate::{
    correlate::{
        correlation_group::{is_of_secrets_manager, is_plain, named},
        join::{JoinState, PairAssignment},
        near::{at_distance, distances},
        paths::{FolderAbove, FolderId, FolderTree},
        queues::Queues,
        spelling::{Spelling, SpellingIds, asked, filed},
        steps,
    },
    ids::SecretRef,
    observation::{KmsDecrypt, ReadRequest, SecretRead},
    time::EventTime,
};

/// Reads that look for KMS Decrypts, and the KMS Decrypts that are free.
#[derive(Default)]
pub(super) struct DecryptSearch<'s> {
    spellings: SpellingIds<'s>,
    /// In time order.
    named: Vec<NamedSearch<'s>>,
    /// Whether any of them asks for a version.
    asks_version: bool,
    listing: ListingReads,
    folders: FolderTree<'s>,
    free: Queues<UseKey<'s>>,
    /// Those that a listing read may take.
    listed: Vec<ListedUse>,
}

/// A secret that a read names.
struct NamedSearch<'s> {
    assignment: PairAssignment,
    time: EventTime,
    spellings: [Option<usize>; 3],
    version: Option<&'s str>,
}

/// Where a KMS Decrypt is filed: spelling, version, time.
type UseKey<'s> = (usize, VersionKey<'s>, EventTime);

/// What a key says about the version.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum VersionKey<'s> {
    /// Any version, or none.
    Any,
    /// KMS Decrypts of parameters have none.
    Unknown,
    Is(&'s str),
}

/// The first read of each second that lists secrets without naming them.
#[derive(Default)]
struct ListingReads {
    /// By spelling: reads of all versions of a parameter.
    histories: HashMap<(usize, EventTime), usize>,
    /// By folder and whether it is read with all that is below.
    paths: HashMap<(FolderId, bool, EventTime), usize>,
    /// Batches that choose their secrets by filters.
    filters: HashMap<EventTime, usize>,
}

/// A KMS Decrypt that a listing read may take.
struct ListedUse {
    kms_decrypt: usize,
    time: EventTime,
    spelling: Option<usize>,
    folders: Vec<FolderAbove>,
    of_secrets_manager: bool,
}

/// Receives a possible pair. What was assigned is no longer searched.
pub(super) trait PairSink {
    fn pair(&mut self, join: &mut JoinState<'_>, assignment: PairAssignment, kms_decrypt: usize);
}

/// Makes every pair.
pub(super) struct MakePairs;

impl PairSink for MakePairs {
    fn pair(&mut self, join: &mut JoinState<'_>, assignment: PairAssignment, kms_decrypt: usize) {
        join.give(kms_decrypt, assignment);
    }
}

impl<'s> DecryptSearch<'s> {
    /// All reads except batches, whose children come first.
    pub(super) fn of_reads(join: &JoinState<'s>) -> Self {
        let mut search = Self::default();
        for (index, read) in join.reads() {
            // A read that is logged twice must not compete with itself for its only KMS Decrypt.
            if read.decrypts && !join.is_pass_through(index) {
                search.add_read(index, read);
            }
        }
        search.file(join);
        search
    }

    /// Batches: one KMS Decrypt for each named secret that has no child; for filters, all that are
    /// near.
    pub(super) fn of_batches(join: &JoinState<'s>) -> Self {
        let mut search = Self::default();
        for (index, read) in join.reads().filter(|(_, read)| read.decrypts) {
            match &read.request {
                ReadRequest::Batch(_) => {
                    search.add_named(index, read, |assignment| !join.is_claimed(assignment))
                }
                ReadRequest::BatchFilters => {
                    let first = search.listing.filters.entry(read.head.time);
                    first.or_insert(index);
                }
                _ => {}
            }
        }
        search.file(join);
        search
    }

    /// Assigns what is near, nearest first.
    pub(super) fn assign(mut self, join: &mut JoinState<'s>) {
        for distance in distances() {
            self.visit(distance, join, &mut MakePairs);
        }
    }

    /// Passes every read and KMS Decrypt that fit at a distance to a sink, in the order in which
    /// pairs are made. A read that names the secret comes before one that lists it.
    pub(super) fn visit(
        &mut self,
        distance: i64,
        join: &mut JoinState<'s>,
        sink: &mut impl PairSink,
    ) {
        let times: Vec<EventTime> = self.named.iter().map(|search| search.time).collect();
        for (index, time) in at_distance(&times, distance) {
            let Some(search) = self.named.get(index) else {
                continue;
            };
            if join.use_taken_by(search.assignment).is_some() {
                continue;
            }
            if let Some(kms_decrypt) = first_fitting(search, time, &mut self.free, join) {
                sink.pair(join, search.assignment, kms_decrypt);
            }
        }
        self.visit_listed(distance, join, sink);
        // What is left is walked once more for each distance.
        self.named
            .retain(|search| join.use_taken_by(search.assignment).is_none());
        self.listed.retain(|used| join.is_free(used.kms_decrypt));
    }

    fn visit_listed(&mut self, distance: i64, join: &mut JoinState<'s>, sink: &mut impl PairSink) {
        for used in &self.listed {
            // Of equally near reads the earlier one takes it. A listing read takes any number, so
            // that the order among the KMS Decrypts does not matter.
            for time in [used.time.plus(-distance), used.time.plus(distance)] {
                if !join.is_free(used.kms_decrypt) {
                    break;
                }
                if let Some(read) = self.listing.first(used, time) {
                    let assignment = PairAssignment { read, target: 0 };
                    sink.pair(join, assignment, used.kms_decrypt);
                }
            }
        }
    }

    fn add_read(&mut self, index: usize, read: &'s SecretRead) {
        let time = read.head.time;
        match &read.request {
            ReadRequest::Named(_) => self.add_named(index, read, |_| true),
            ReadRequest::History(secret) => {
                // Every version of the parameter is decrypted, each by a KMS Decrypt of its own.
                let places = std::iter::once(secret.place()).chain(secret.partial_place());
                for place in places {
                    let spelling = self.spellings.ask(Spelling::of_place(place));
                    let first = self.listing.histories.entry((spelling, time));
                    first.or_insert(index);
                }
            }
            ReadRequest::Path { path, recursive } => {
                let folder = self.folders.add(path);
                let first = self.listing.paths.entry((folder, *recursive, time));
                first.or_insert(index);
            }
            ReadRequest::Batch(_) | ReadRequest::BatchFilters => {}
        }
    }

    fn add_named(
        &mut self,
        read_index: usize,
        read: &'s SecretRead,
        takes: impl Fn(PairAssignment) -> bool,
    ) {
        for (target, secret) in named(read).iter().enumerate() {
            let assignment = PairAssignment {
                read: read_index,
                target,
            };
            if takes(assignment) {
                let version = secret.version_id.as_deref();
                self.asks_version |= version.is_some();
                self.named.push(NamedSearch {
                    assignment,
                    time: read.head.time,
                    spellings: ask_spellings(&mut self.spellings, secret),
                    version,
                });
            }
        }
    }

    /// Files the KMS Decrypts that are free, where they are looked for.
    fn file(&mut self, join: &JoinState<'s>) {
        if self.named.is_empty() && self.listing.is_empty() {
            return;
        }
        for (index, kms_decrypt) in join.kms_decrypts() {
            let Some(secret) = &kms_decrypt.secret else {
                continue;
            };
            if !is_plain(kms_decrypt) || !join.is_free(index) {
                continue;
            }
            for spelling in filed(secret) {
                self.file_under(&spelling, index, kms_decrypt);
            }
            if !self.listing.is_empty() {
                self.list(index, kms_decrypt, secret);
            }
        }
    }

    fn file_under(&mut self, spelling: &Spelling<'_>, index: usize, kms_decrypt: &'s KmsDecrypt) {
        let Some(spelling) = self.spellings.known(spelling) else {
            return;
        };
        let time = kms_decrypt.head.time;
        self.free.push((spelling, VersionKey::Any, time), index);
        // Few reads name a version, and nothing else needs the second entry.
        if self.asks_version {
            let version = VersionKey::of(kms_decrypt);
            self.free.push((spelling, version, time), index);
        }
    }

    fn list(&mut self, kms_decrypt: usize, event: &KmsDecrypt, secret: &SecretRef) {
        let used = ListedUse {
            kms_decrypt,
            time: event.head.time,
            spelling: self.spellings.known(&Spelling::of_place(secret.place())),
            folders: self.folders.above(secret),
            of_secrets_manager: is_of_secrets_manager(event),
        };
        self.listed.push(used);
    }
}

impl ListingReads {
    fn is_empty(&self) -> bool {
        self.histories.is_empty() && self.paths.is_empty() && self.filters.is_empty()
    }

    /// The first read of a second that may have returned this.
    fn first(&self, used: &ListedUse, time: EventTime) -> Option<usize> {
        let history = used.spelling.and_then(|spelling| {
            steps::count();
            self.histories.get(&(spelling, time))
        });
        let paths = used.folders.iter().flat_map(|above| {
            steps::count();
            let deep = self.paths.get(&(above.folder, true, time));
            let direct = self.paths.get(&(above.folder, false, time));
            [deep, direct.filter(|_| above.is_parent)]
        });
        let filters = self.filters.get(&time);
        // Reads are in the order of their event ids within a second.
        paths
            .chain([history, filters.filter(|_| used.of_secrets_manager)])
            .flatten()
            .min()
            .copied()
    }
}

impl<'s> VersionKey<'s> {
    /// The version of a KMS Decrypt.
    pub(super) fn of(kms_decrypt: &'s KmsDecrypt) -> Self {
        let version = kms_decrypt.version_id.as_deref();
        version.map_or(Self::Unknown, Self::Is)
    }

    /// The versions that fit a request. A missing version fits any: few reads name one, and KMS
    /// Decrypts of parameters have none.
    pub(super) fn fitting(asked: Option<&'s str>) -> impl Iterator<Item = Self> + use<'s> {
        let keys = match asked {
            Some(version) => [Some(Self::Is(version)), Some(Self::Unknown)],
            None => [Some(Self::Any), None],
        };
        keys.into_iter().flatten()
    }
}

/// The numbers of the spellings of what completes a secret.
pub(super) fn ask_spellings<'s>(
    ids: &mut SpellingIds<'s>,
    secret: &'s SecretRef,
) -> [Option<usize>; 3] {
    let mut spellings = asked(secret).map(|spelling| ids.ask(spelling));
    [spellings.next(), spellings.next(), spellings.next()]
}

/// The first free KMS Decrypt of a second that fits.
fn first_fitting<'s>(
    search: &NamedSearch<'s>,
    time: EventTime,
    free: &mut Queues<UseKey<'s>>,
    join: &JoinState<'_>,
) -> Option<usize> {
    let keys = search.spellings.into_iter().flatten().flat_map(|spelling| {
        VersionKey::fitting(search.version).map(move |version| (spelling, version, time))
    });
    free.first_of(keys, |used| join.is_free(used))
}
