//! Who is behind the use of a key: the first person or software in the chain of calls that issued
//! it.

use std::sync::Arc;

use ahash::HashMap;

use super::{
    issue::{CallerStanding, CredentialIssue},
    search::LineageSearch,
};
use crate::{
    ids::SharedStr,
    limits::{LINEAGE_LINKS, LINEAGE_ORIGINS},
    principal::{Principal, PrincipalKind, role_of_session},
};

/// The use of an access key.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct KeyUse {
    /// `userIdentity.accessKeyId`.
    pub key: SharedStr,
    /// Who used it; `None` where it is not known.
    pub principal: Option<Arc<Principal>>,
}

/// What shows who the first is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum OriginEvidence {
    /// The record of the first call, or a key that belongs to nobody else.
    Record,
    /// The name of a session, or its source identity: no record shows who created it, and whoever
    /// did may have chosen the name.
    SessionName,
}

impl OriginEvidence {
    /// The name in JSON.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Record => "record",
            Self::SessionName => "session_name",
        }
    }
}

/// Who is behind the use of some keys.
#[derive(Debug, Clone, PartialEq)]
pub struct SessionOrigin {
    /// Stable identity of the first person or software, as [`IssueCaller::principal`]; of sessions
    /// that a service of AWS created, their role. `None` where the logs do not say.
    ///
    /// [`IssueCaller::principal`]: super::issue::IssueCaller::principal
    pub principal: Option<SharedStr>,
    /// Its kind; `Unknown` without a principal.
    pub kind: PrincipalKind,
    /// What shows that; `None` without a principal.
    pub evidence: Option<OriginEvidence>,
    /// Its full session; `None` without a principal, and for callers without an ARN.
    pub session: Option<SharedStr>,
    /// Where the first call came from: an address, or the service that created the session; `None`
    /// without a principal, and where the record does not say.
    pub source: Option<SharedStr>,
    /// Whether the first caller has proved a second factor; `None` where no record says.
    pub mfa: Option<bool>,
    /// The source identity that was set first in the chain; `None` without one.
    pub source_identity: Option<SharedStr>,
    /// The calls between it and the keys, the first one first; empty where the logs have none. Of
    /// several keys, those of the first.
    pub chain: Vec<Arc<CredentialIssue>>,
    /// The keys behind which it is.
    pub access_keys: Vec<SharedStr>,
}

/// Who is behind the use of many keys.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct SessionOrigins {
    /// Each once, with its keys: those that are known first, otherwise in the order of the keys. At
    /// most [`LINEAGE_ORIGINS`], each with so many keys.
    pub first: Vec<SessionOrigin>,
    /// Number of all of them.
    pub total: usize,
}

impl SessionOrigins {
    /// Who is behind the use of these keys.
    #[must_use]
    pub fn of(uses: &[KeyUse], search: &LineageSearch) -> Self {
        let mut all: Vec<SessionOrigin> = Vec::new();
        let mut known: HashMap<OriginId, usize> = HashMap::default();
        for used in uses {
            let origin = SessionOrigin::of(used, search);
            let index = *known.entry(origin.id()).or_insert(all.len());
            match all.get_mut(index) {
                None => all.push(origin),
                Some(same) => {
                    let new = origin.access_keys.into_iter();
                    let room = LINEAGE_ORIGINS.saturating_sub(same.access_keys.len());
                    let new: Vec<SharedStr> = new
                        .filter(|key| !same.access_keys.contains(key))
                        .take(room)
                        .collect();
                    same.access_keys.extend(new);
                }
            }
        }
        let total = all.len();
        all.sort_by_key(|origin| (origin.principal.is_none(), origin.chain.is_empty()));
        all.truncate(LINEAGE_ORIGINS);
        Self { first: all, total }
    }
}

impl SessionOrigins {
    /// Fewer origins, keys and calls, with shorter values: names in logs may be of any length.
    pub(crate) fn shorten(&mut self, chars: usize, most: usize) {
        self.first.truncate(most);
        for origin in &mut self.first {
            origin.access_keys.truncate(most);
            origin.chain.truncate(most);
            let texts = [
                &mut origin.principal,
                &mut origin.session,
                &mut origin.source,
                &mut origin.source_identity,
            ];
            let texts = texts.into_iter().flatten();
            texts
                .chain(&mut origin.access_keys)
                .for_each(|text| shorten(text, chars));
            for issue in &mut origin.chain {
                let issue = Arc::make_mut(issue);
                issue.texts().for_each(|text| shorten(text, chars));
            }
        }
    }
}

fn shorten(text: &mut SharedStr, chars: usize) {
    if let Some((end, _)) = text.char_indices().nth(chars) {
        *text = text.get(..end).unwrap_or_default().into();
    }
}

/// What distinguishes origins: principal and session; where they are not known, those of the caller
/// before whom they are not.
type OriginId = [Option<SharedStr>; 4];

impl SessionOrigin {
    /// Who is behind the use of one key.
    fn of(used: &KeyUse, search: &LineageSearch) -> Self {
        let chain = chain(&used.key, search);
        let mut identities = chain.iter().map(|issue| &issue.caller.source_identity);
        let mut origin = Self {
            principal: None,
            kind: PrincipalKind::Unknown,
            evidence: None,
            session: None,
            source: None,
            mfa: None,
            source_identity: identities.find_map(Clone::clone),
            chain: Vec::new(),
            access_keys: vec![used.key.clone()],
        };
        match chain.first() {
            Some(first) => origin.take_first(first),
            None => {
                if let Some(principal) = &used.principal {
                    origin.take_user(principal);
                }
            }
        }
        origin.chain = chain;
        origin
    }

    fn id(&self) -> OriginId {
        let first = self.chain.first().filter(|_| self.principal.is_none());
        let caller = first.map(|issue| &issue.caller);
        [
            self.principal.clone(),
            self.session.clone(),
            caller.and_then(|caller| caller.principal.clone()),
            caller.and_then(|caller| caller.session.clone()),
        ]
    }

    /// Takes the caller of the first call, if somebody is known to be there.
    fn take_first(&mut self, first: &CredentialIssue) {
        let caller = &first.caller;
        // Of a caller that is not known, or is not the first, it says nothing.
        let is_first = caller.standing.is_somebody() || caller.kind == PrincipalKind::Service;
        self.mfa = caller.mfa.filter(|_| is_first);
        if caller.kind == PrincipalKind::Service {
            let session = first.session.as_deref();
            let role = session.and_then(role_of_session).map(SharedStr::from);
            self.principal = first.role.clone().or(role);
            self.session.clone_from(&first.session);
            self.source = caller.principal.clone().or_else(|| caller.source.clone());
            if self.principal.is_some() {
                self.kind = PrincipalKind::Workload;
                self.evidence = Some(OriginEvidence::Record);
            }
        } else if caller.standing.is_somebody() {
            self.principal.clone_from(&caller.principal);
            self.session.clone_from(&caller.session);
            self.source.clone_from(&caller.source);
            self.take_kind(caller.kind, caller.standing);
        }
    }

    /// Takes the user of a key that no call of the logs has issued.
    fn take_user(&mut self, user: &Principal) {
        let standing = CallerStanding::of(user);
        if standing.is_somebody() {
            self.principal.clone_from(&user.id);
            self.session.clone_from(&user.actor);
            self.take_kind(user.kind, standing);
        }
    }

    fn take_kind(&mut self, kind: PrincipalKind, standing: CallerStanding) {
        if self.principal.is_some() {
            self.kind = kind;
            self.evidence = Some(match standing {
                CallerStanding::Named => OriginEvidence::SessionName,
                _ => OriginEvidence::Record,
            });
        }
    }
}

/// The calls that issued a key, the first one first. A chain that leads back to itself ends there.
fn chain(key: &SharedStr, search: &LineageSearch) -> Vec<Arc<CredentialIssue>> {
    let mut chain: Vec<Arc<CredentialIssue>> = Vec::new();
    let mut next = Some(key.clone());
    while let Some(key) = next.take() {
        let Some(issue) = search.issue(&key) else {
            break;
        };
        let is_met = chain.iter().any(|met| met.key == key);
        if is_met || chain.len() == LINEAGE_LINKS {
            break;
        }
        next.clone_from(&issue.caller.access_key);
        chain.push(issue.clone());
    }
    chain.reverse();
    chain
}
