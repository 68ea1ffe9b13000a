//! What a resource policy, a grant or a share allows, and to whom.
//!
//! Sources: IAM user guide, "IAM JSON policy elements" and "Global condition context keys"; KMS
//! developer guide, "Condition keys for AWS KMS". What cannot be decided is unknown, never nobody.

mod condition;

use std::{borrow::Cow, collections::BTreeSet};

use self::condition::{confinements, confines_by_denial};
use crate::{
    document::JsonNode,
    glob::GlobPattern,
    ids::{ArnParts, is_account},
    observation::SourceKind,
};

/// To whom a policy opens a resource, beside its own account. A later one is worse.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum PolicyOpens {
    /// To no other.
    #[default]
    Nobody,
    /// To AWS services.
    Service,
    /// To an AWS organization, or a part of one.
    Organization,
    /// That cannot be decided.
    Unknown,
    /// To other accounts that the access policy does not trust.
    ForeignAccount,
    /// To everyone.
    Public,
}

impl PolicyOpens {
    /// The value in rules.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Nobody => "nobody",
            Self::Service => "service",
            Self::Organization => "organization",
            Self::Unknown => "unknown",
            Self::ForeignAccount => "foreign_account",
            Self::Public => "public",
        }
    }
}

/// Some callers: whom a policy opens a resource to.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Callers {
    opens: PolicyOpens,
    accounts: BTreeSet<String>,
}

impl Callers {
    fn only(opens: PolicyOpens) -> Self {
        let accounts = BTreeSet::new();
        Self { opens, accounts }
    }

    /// One account.
    fn account(account: &str, ours: &OwnAccounts<'_>) -> Self {
        if ours.include(account) {
            return Self::default();
        }
        Self {
            opens: PolicyOpens::ForeignAccount,
            accounts: BTreeSet::from([account.to_owned()]),
        }
    }

    fn join(mut self, other: Self) -> Self {
        self.opens = self.opens.max(other.opens);
        self.accounts.extend(other.accounts);
        self
    }

    /// These callers where all of some conditions hold. An account that is named counts, whatever
    /// else must hold.
    fn confined<'c>(self, left: impl Iterator<Item = &'c Self>) -> Self {
        let left: Vec<&Self> = left.collect();
        let is_account = |callers: &Self| {
            [PolicyOpens::Nobody, PolicyOpens::ForeignAccount].contains(&callers.opens)
        };
        let accounts = left.iter().copied().filter(|callers| is_account(callers));
        let by_account = accounts.min_by_key(|callers| callers.opens);
        match (self.opens, by_account) {
            (PolicyOpens::ForeignAccount | PolicyOpens::Nobody, _) => self,
            (PolicyOpens::Service, Some(named)) if named.opens == PolicyOpens::Nobody => self,
            (_, Some(named)) => named.clone(),
            (opens, None) => {
                let narrowest = left.into_iter().min_by_key(|callers| callers.opens);
                narrowest
                    .filter(|narrowest| narrowest.opens < opens)
                    .cloned()
                    .unwrap_or(self)
            }
        }
    }

    /// All of several callers.
    fn all(many: impl Iterator<Item = Self>) -> Self {
        many.fold(Self::default(), Self::join)
    }
}

/// The accounts that count as one's own: that of the resource, and those that are trusted.
pub struct OwnAccounts<'a> {
    /// Account that owns the resource, twelve digits.
    pub owner: &'a str,
    /// Whether the access policy trusts an account.
    pub trusts: &'a dyn Fn(&str) -> bool,
}

impl OwnAccounts<'_> {
    fn include(&self, account: &str) -> bool {
        account == self.owner || (self.trusts)(account)
    }
}

/// What a policy allows.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct PolicyReach {
    /// To whom it opens the resource.
    pub opens: PolicyOpens,
    /// The other accounts that it names, twelve digits each.
    pub accounts: BTreeSet<String>,
    /// The condition keys that confine who may call, as in `aws:PrincipalOrgID`.
    pub confined_by: BTreeSet<String>,
    /// Whether what it opens includes reading or decrypting; `None` when it allows nothing.
    pub reads: Option<bool>,
    /// Whether it has a statement that denies.
    pub denies: bool,
}

/// Actions that reveal a value, or let the caller allow that.
const READS: [&str; 12] = [
    "secretsmanager:getsecretvalue",
    "ssm:getparameter",
    "ssm:getparameters",
    "ssm:getparametersbypath",
    "ssm:getparameterhistory",
    "kms:decrypt",
    "kms:reencryptfrom",
    "kms:creategrant",
    "kms:putkeypolicy",
    "secretsmanager:putresourcepolicy",
    "secretsmanager:associatecrossaccountreplica",
    "ssm:putresourcepolicy",
];

impl PolicyReach {
    /// What a policy document allows: an object, or its text, which may be escaped once more.
    #[must_use]
    pub fn of_document(document: &JsonNode<'_>, ours: &OwnAccounts<'_>) -> Self {
        let unknown = Self::undecided();
        let Some(document) = parsed(document) else {
            return unknown;
        };
        let statements = match element(&document, "Statement") {
            Some(JsonNode::List(many)) => many.as_slice(),
            Some(one @ JsonNode::Map(_)) => std::slice::from_ref(one),
            _ => return unknown,
        };
        let effect = |statement| element(statement, "Effect").and_then(JsonNode::as_text);
        let denials: Vec<&JsonNode<'_>> = statements
            .iter()
            .filter(|statement| effect(statement) == Some("Deny"))
            .collect();
        let mut reach = Self {
            denies: !denials.is_empty(),
            ..Self::default()
        };
        for statement in statements {
            match effect(statement) {
                Some("Deny") => {}
                Some("Allow") => reach.allow(statement, &denials, ours),
                _ => reach.add(Callers::only(PolicyOpens::Unknown), true),
            }
        }
        reach
    }

    /// What may allow reading, to whom is not known.
    #[must_use]
    pub fn undecided() -> Self {
        Self {
            opens: PolicyOpens::Unknown,
            reads: Some(true),
            ..Self::default()
        }
    }

    /// What a grant or a share allows these principals.
    #[must_use]
    pub fn of_principals(principals: &JsonNode<'_>, reads: bool, ours: &OwnAccounts<'_>) -> Self {
        let mut reach = Self::default();
        let named = texts(principals).into_iter();
        reach.add(
            Callers::all(named.map(|name| aws_principal(&name, ours))),
            reads,
        );
        reach
    }

    fn allow(
        &mut self,
        statement: &JsonNode<'_>,
        denials: &[&JsonNode<'_>],
        ours: &OwnAccounts<'_>,
    ) {
        let callers = allowed(statement, ours);
        let mut found = confinements(statement, ours);
        let denied = denials
            .iter()
            .filter(|denial| actions_within(statement, denial))
            .filter_map(|denial| confines_by_denial(denial, ours));
        found.extend(denied);
        let callers = callers.confined(found.iter().filter_map(|c| c.callers.as_ref()));
        self.confined_by.extend(found.into_iter().map(|c| c.key));
        self.add(callers, allows_reading(statement));
    }

    /// Adds what a statement allows. What it opens for reading counts before what it opens for
    /// other calls.
    fn add(&mut self, callers: Callers, reads: bool) {
        let opens_reading = |opens: PolicyOpens, reads| reads && opens > PolicyOpens::Nobody;
        let known = self.reads.unwrap_or_default();
        let (ours, theirs) = (
            (opens_reading(self.opens, known), self.opens),
            (opens_reading(callers.opens, reads), callers.opens),
        );
        if self.reads.is_none() || theirs > ours {
            (self.opens, self.reads) = (callers.opens, Some(reads));
        } else if theirs == ours {
            self.reads = Some(known || reads);
        }
        self.accounts.extend(callers.accounts);
    }
}

/// The callers that a statement names.
fn allowed(statement: &JsonNode<'_>, ours: &OwnAccounts<'_>) -> Callers {
    match element(statement, "Principal") {
        Some(principal) => principals(principal, ours),
        // Everyone but those that it names.
        None if element(statement, "NotPrincipal").is_some() => Callers::only(PolicyOpens::Public),
        None => Callers::only(PolicyOpens::Unknown),
    }
}

/// The callers in a `Principal` element.
fn principals(principal: &JsonNode<'_>, ours: &OwnAccounts<'_>) -> Callers {
    let JsonNode::Map(kinds) = principal else {
        let named = texts(principal);
        // Nothing but `*` stands outside of a kind, and AWS refuses what names nobody.
        return match named.as_slice() {
            [] => Callers::only(PolicyOpens::Unknown),
            named => Callers::all(named.iter().map(|name| aws_principal(name, ours))),
        };
    };
    let of_kind = |(kind, named): &(Cow<'_, str>, JsonNode<'_>)| {
        let named = texts(named);
        if named.is_empty() {
            return Callers::only(PolicyOpens::Unknown);
        }
        Callers::all(named.iter().map(|name| match &**kind {
            "Service" => Callers::only(PolicyOpens::Service),
            "Federated" => by_arn(name, ours),
            "AWS" | "*" => aws_principal(name, ours),
            _ => Callers::only(PolicyOpens::Unknown),
        }))
    };
    match kinds.as_slice() {
        [] => Callers::only(PolicyOpens::Unknown),
        kinds => Callers::all(kinds.iter().map(of_kind)),
    }
}

/// `*`, an account id, an ARN, or a service.
fn aws_principal(name: &str, ours: &OwnAccounts<'_>) -> Callers {
    if name == "*" {
        return Callers::only(PolicyOpens::Public);
    }
    if is_account(name) {
        return Callers::account(name, ours);
    }
    if let Some((account, rest)) = name.split_once(':')
        && is_account(account)
        && rest.starts_with("aws:")
    {
        return Callers::account(account, ours);
    }
    // `AWS Internal` stands in KMS grants that services make for themselves.
    if matches!(
        SourceKind::of(Some(name)),
        SourceKind::Service | SourceKind::Internal
    ) {
        return Callers::only(PolicyOpens::Service);
    }
    by_arn(name, ours)
}

/// A principal by the account in its ARN; for an organization, or a unit of one, that.
fn by_arn(arn: &str, ours: &OwnAccounts<'_>) -> Callers {
    let Some(parts) = ArnParts::parse(arn) else {
        return Callers::only(PolicyOpens::Unknown);
    };
    if parts.service == "organizations" {
        Callers::only(PolicyOpens::Organization)
    } else if is_account(parts.account) {
        Callers::account(parts.account, ours)
    } else {
        Callers::only(PolicyOpens::Unknown)
    }
}

/// Whether a statement allows an action that reveals a value.
fn allows_reading(statement: &JsonNode<'_>) -> bool {
    if let Some(excluded) = patterns(statement, "NotAction") {
        return !READS.iter().all(|action| matches_any(&excluded, action));
    }
    // Without actions AWS refuses a policy: what is left out here may be anything.
    patterns(statement, "Action")
        .is_none_or(|patterns| READS.iter().any(|action| matches_any(&patterns, action)))
}

/// Whether a statement that denies covers every action and resource of one that allows.
fn actions_within(allowed: &JsonNode<'_>, denial: &JsonNode<'_>) -> bool {
    let (denied, spared) = (patterns(denial, "Action"), patterns(denial, "NotAction"));
    let spared_actions = element(denial, "NotAction").map(texts).unwrap_or_default();
    let covers = |action: &str| match (&denied, &spared) {
        (Some(denied), _) => matches_any(denied, action),
        // Of what a pattern allows, nothing may be spared.
        (None, Some(spared)) => {
            let allowed = GlobPattern::new(action);
            let mut actions = spared_actions.iter();
            !matches_any(spared, action)
                && !actions.any(|spared| allowed.matches(&spared.to_ascii_lowercase()))
        }
        (None, None) => false,
    };
    let actions = element(allowed, "Action").map(texts).unwrap_or_default();
    let within = |resources: &JsonNode<'_>| {
        let resources = texts(resources);
        resources.iter().any(|resource| resource == "*")
            || element(allowed, "Resource").map(texts) == Some(resources)
    };
    !actions.is_empty()
        && actions
            .iter()
            .all(|action| covers(&action.to_ascii_lowercase()))
        && element(denial, "Resource").is_some_and(within)
}

fn matches_any(patterns: &[GlobPattern], action: &str) -> bool {
    let mut patterns = patterns.iter();
    patterns.any(|pattern| pattern.matches(action))
}

/// The patterns of an element, in lower case: actions have no case.
fn patterns(statement: &JsonNode<'_>, name: &str) -> Option<Vec<GlobPattern>> {
    let element = element(statement, name)?;
    let patterns = texts(element).into_iter();
    Some(
        patterns
            .map(|pattern| GlobPattern::new(&pattern.to_ascii_lowercase()))
            .collect(),
    )
}

/// An element of a document, by its name in any case.
fn element<'n, 'a>(node: &'n JsonNode<'a>, name: &str) -> Option<&'n JsonNode<'a>> {
    let JsonNode::Map(entries) = node else {
        return None;
    };
    let mut latest = entries.iter().rev();
    latest
        .find(|(key, _)| key.eq_ignore_ascii_case(name))
        .map(|(_, value)| value)
}

/// One text or many. Numbers are account ids without quotes; what is neither is left as a text
/// that names nothing.
fn texts<'n>(node: &'n JsonNode<'_>) -> Vec<Cow<'n, str>> {
    let one = |node: &'n JsonNode<'_>| match node {
        JsonNode::Str(text) => Cow::Borrowed(&**text),
        JsonNode::Int(number) => Cow::Owned(number.to_string()),
        JsonNode::Bool(value) => Cow::Owned(value.to_string()),
        _ => Cow::Borrowed(""),
    };
    match node {
        JsonNode::List(many) => many.iter().map(one).collect(),
        JsonNode::Null | JsonNode::Map(_) => Vec::new(),
        single => vec![one(single)],
    }
}

/// The document as an object; `None` for text that is none, as where CloudTrail hides or cuts it.
fn parsed(document: &JsonNode<'_>) -> Option<JsonNode<'static>> {
    let mut node = document.clone().into_owned();
    // A document in a text in a text is as deep as anybody writes it.
    for _ in 0..3 {
        let JsonNode::Str(inner) = &node else { break };
        let whole = JsonNode::parse(inner).map(JsonNode::into_owned);
        node = whole.or_else(|_| unescaped(inner)).ok()?;
    }
    matches!(node, JsonNode::Map(_)).then_some(node)
}

/// Text whose quotes are escaped although no quotes are around it.
fn unescaped(text: &str) -> Result<JsonNode<'static>, serde_json::Error> {
    let quoted = format!("\"{text}\"");
    JsonNode::parse(&quoted).map(JsonNode::into_owned)
}

#[cfg(test)]
mod tests;
