//! The spellings of a secret: where an event is filed, and where it is looked for.
//!
//! A record names a secret by its name, by a full ARN, or by an ARN that may be partial. Whether
//! two of them may mean one secret is a comparison ([`SecretRef::is_completed_by`] and
//! [`SecretRef::agrees_with`]). Comparing each with each is quadratic: here both are lists of
//! spellings, and two secrets fit exactly when the lists share one.

use ahash::HashMap;

use crate::ids::{SecretPlace, SecretRef};

/// One way in which a record may write a secret.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct Spelling<'s> {
    place: SecretPlace<'s>,
    arn: ArnSpelling<'s>,
}

/// What a spelling says about the ARN.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum ArnSpelling<'s> {
    /// Nothing: with any ARN or none.
    Any,
    /// The record has none.
    Unknown,
    /// This one.
    Is(&'s str),
    /// The name is the alternative one of an ARN that may be partial.
    Partial,
}

impl<'s> Spelling<'s> {
    fn new(place: SecretPlace<'s>, arn: ArnSpelling<'s>) -> Self {
        Self { place, arn }
    }

    /// The spelling by place alone.
    pub(super) fn of_place(place: SecretPlace<'s>) -> Self {
        Self::new(place, ArnSpelling::Any)
    }
}

/// Where a full reference is filed, so that those which it completes find it.
pub(super) fn filed(full: &SecretRef) -> [Spelling<'_>; 2] {
    let arn = full.arn.as_deref();
    let arn = arn.map_or(ArnSpelling::Unknown, ArnSpelling::Is);
    // Under both: some ask by place alone, others know an ARN.
    [ArnSpelling::Any, arn].map(|arn| Spelling::new(full.place(), arn))
}

/// Where a reference finds those that complete it: shares a spelling with [`filed`] exactly when
/// [`SecretRef::is_completed_by`] holds.
pub(super) fn asked(secret: &SecretRef) -> impl Iterator<Item = Spelling<'_>> {
    let arns = match secret.arn.as_deref() {
        // A full reference without an ARN may be any of that name.
        Some(arn) => [Some(ArnSpelling::Is(arn)), Some(ArnSpelling::Unknown)],
        None => [Some(ArnSpelling::Any), None],
    };
    let place = secret.place();
    let named = arns.into_iter().flatten();
    named
        .map(move |arn| Spelling::new(place, arn))
        .chain(secret.partial_place().map(Spelling::of_place))
}

/// Where any reference is filed, so that those which agree with it find it.
pub(super) fn filed_to_agree(secret: &SecretRef) -> impl Iterator<Item = Spelling<'_>> {
    let partial = secret.partial_place();
    let partial = partial.map(|place| Spelling::new(place, ArnSpelling::Partial));
    filed(secret).into_iter().chain(partial)
}

/// Where a reference finds those that agree with it: shares a spelling with [`filed_to_agree`]
/// exactly when [`SecretRef::agrees_with`] holds.
pub(super) fn asked_to_agree(secret: &SecretRef) -> impl Iterator<Item = Spelling<'_>> {
    // A partial one agrees with the name that it may stand for, too.
    let completes = Spelling::new(secret.place(), ArnSpelling::Partial);
    asked(secret).chain([completes])
}

/// Numbers for the spellings that are asked for. Events are filed under these only, and everything
/// else compares numbers.
#[derive(Default)]
pub(super) struct SpellingIds<'s>(HashMap<Spelling<'s>, usize>);

impl<'s> SpellingIds<'s> {
    /// The number of a spelling that is asked for.
    pub(super) fn ask(&mut self, spelling: Spelling<'s>) -> usize {
        // Numbers without gaps: they are positions in lists of events.
        let next = self.0.len();
        *self.0.entry(spelling).or_insert(next)
    }

    /// The number of a spelling; `None` when nobody asks for it.
    pub(super) fn known(&self, spelling: &Spelling<'_>) -> Option<usize> {
        self.0.get(spelling).copied()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::events_for_tests::HOME;

    /// Everything that one name can look like.
    fn references() -> Vec<SecretRef> {
        let ids = [
            "oauth",
            "oauth-client",
            "arn:aws:secretsmanager:eu-west-1:111122223333:secret:oauth",
            "arn:aws:secretsmanager:eu-west-1:111122223333:secret:oauth-client",
            "arn:aws:secretsmanager:eu-west-1:111122223333:secret:oauth-AbCdEf",
            "arn:aws:secretsmanager:eu-west-1:111122223333:secret:oauth-GhIjKl",
            "arn:aws:secretsmanager:eu-west-1:111122223333:secret:oauth-client-AbCdEf",
            "arn:aws:secretsmanager:us-east-1:111122223333:secret:oauth-AbCdEf",
        ];
        let mut references: Vec<_> = ids.map(|id| SecretRef::secret(id, HOME)).into();
        references.push(SecretRef::parameter("oauth", HOME));
        references.push(SecretRef::unnamed(crate::ids::SecretStore::Ssm, HOME));
        let bare = references.iter().map(|reference| SecretRef {
            arn: None,
            ..reference.clone()
        });
        let bare: Vec<_> = bare.collect();
        references.extend(bare);
        references
    }

    #[test]
    fn spellings_meet_exactly_where_the_comparison_holds() {
        let references = references();
        for a in &references {
            for b in &references {
                let completed = asked(a).any(|spelling| filed(b).contains(&spelling));
                assert_eq!(completed, a.is_completed_by(b), "{a:?} by {b:?}");
                let agrees = asked_to_agree(a)
                    .any(|spelling| filed_to_agree(b).any(|filed| filed == spelling));
                assert_eq!(agrees, a.agrees_with(b), "{a:?} and {b:?}");
            }
        }
    }
}
