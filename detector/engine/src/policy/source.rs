//! `sources` of a grant: where calls may come from.

use std::{borrow::Cow, fmt, net::IpAddr, str::FromStr};

use ipnet::IpNet;

use crate::{
    glob::GlobPattern,
    network::{NetworkLists, SourceClass, is_from_private},
    observation::CallSource,
};

/// An allowed source of calls.
#[derive(Debug, Clone)]
pub enum SourcePattern {
    /// A network (CIDR) or a single address.
    Net(IpNet),
    /// Pattern of a VPC endpoint id or the name of a service.
    Name(GlobPattern),
}

impl SourcePattern {
    /// Whether the pattern matches the address, the service or the VPC endpoint of a call.
    #[must_use]
    pub fn matches(&self, source: &CallSource) -> bool {
        match self {
            Self::Net(net) => source
                .ip
                .as_deref()
                .and_then(|ip| ip.parse().ok())
                .is_some_and(|ip| net.contains::<&IpAddr>(&ip)),
            Self::Name(name) => [&source.ip, &source.vpc_endpoint]
                .into_iter()
                .flatten()
                .any(|s| name.matches(s)),
        }
    }
}

impl fmt::Display for SourcePattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Net(net) => net.fmt(f),
            Self::Name(name) => f.write_str(name.as_str()),
        }
    }
}

impl FromStr for SourcePattern {
    type Err = InvalidSource;

    fn from_str(text: &str) -> Result<Self, InvalidSource> {
        if let Ok(net) = text.parse::<IpNet>() {
            return Ok(Self::Net(net));
        }
        if let Ok(address) = text.parse::<IpAddr>() {
            return Ok(Self::Net(address.into()));
        }
        // Anything else is most likely a typing error, and would match no call.
        if text.starts_with("vpce-")
            || text.contains(".amazonaws.com")
            || text == "AWS Internal"
            || text == "*"
        {
            return Ok(Self::Name(GlobPattern::new(text)));
        }
        Err(InvalidSource::Source(text.to_owned()))
    }
}

/// An allowed source in a grant.
#[derive(Debug, Clone)]
pub(super) enum GrantSource {
    /// A network, service or VPC endpoint.
    Pattern(SourcePattern),
    /// `class:…`: every source of a class.
    Class(SourceClass),
    /// `list:…`: every address in the lists of networks with this label.
    List(String),
}

/// What sources mean in a policy.
#[derive(Debug)]
pub(super) struct OwnSources {
    /// The lists of networks.
    pub(super) networks: NetworkLists,
    /// VPC endpoints in networks of ours.
    pub(super) endpoints: Vec<GlobPattern>,
}

impl OwnSources {
    /// The source as it counts for patterns of addresses. Anybody may number a network like ours:
    /// a private address counts only without an endpoint, or through one of ours. `None` where only
    /// the endpoint counts.
    pub(super) fn as_address<'s>(&self, source: &'s CallSource) -> Option<Cow<'s, CallSource>> {
        let endpoint = source.vpc_endpoint.as_deref();
        let Some(endpoint) = endpoint.filter(|_| is_from_private(source)) else {
            return Some(Cow::Borrowed(source));
        };
        let mut ours = self.endpoints.iter();
        ours.any(|one| one.matches(endpoint)).then(|| {
            let vpc_endpoint = None;
            Cow::Owned(CallSource {
                vpc_endpoint,
                ..source.clone()
            })
        })
    }
}

impl GrantSource {
    /// Whether it is meant, given the source and what counts as its address.
    pub(super) fn matches(
        &self,
        (source, address): (&CallSource, Option<&CallSource>),
        lists: &NetworkLists,
    ) -> bool {
        if let Self::Pattern(name @ SourcePattern::Name(_)) = self {
            return name.matches(source);
        }
        address.is_some_and(|source| match self {
            Self::Pattern(pattern) => pattern.matches(source),
            Self::Class(class) => SourceClass::of(source, lists) == Some(*class),
            Self::List(label) => lists.containing(source).any(|list| list == label),
        })
    }

    /// The label of the list of networks that it needs.
    pub(super) fn label(&self) -> Option<&str> {
        match self {
            Self::Pattern(_) => None,
            Self::Class(class) => class.label(),
            Self::List(label) => Some(label),
        }
    }
}

impl fmt::Display for GrantSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Pattern(pattern) => pattern.fmt(f),
            Self::Class(class) => write!(f, "class:{}", class.as_str()),
            Self::List(label) => write!(f, "list:{label}"),
        }
    }
}

impl FromStr for GrantSource {
    type Err = InvalidSource;

    fn from_str(text: &str) -> Result<Self, InvalidSource> {
        if let Some(class) = text.strip_prefix("class:") {
            let mut classes = GRANTED_CLASSES.iter();
            let known = classes.find(|known| known.as_str() == class);
            return known
                .map(|class| Self::Class(*class))
                .ok_or_else(|| InvalidSource::Class(text.to_owned()));
        }
        match text.strip_prefix("list:") {
            Some("") => Err(InvalidSource::Source(text.to_owned())),
            Some(label) => Ok(Self::List(label.to_owned())),
            None => text.parse().map(Self::Pattern),
        }
    }
}

/// Classes that a grant may allow. Not VPC endpoints and services: anybody has some, so that a
/// grant names which.
const GRANTED_CLASSES: [SourceClass; 6] = [
    SourceClass::Private,
    SourceClass::Own,
    SourceClass::AwsPublic,
    SourceClass::HostedCi,
    SourceClass::Anonymizer,
    SourceClass::Public,
];

/// A list of networks that an access policy names, and that is not there.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`sources` names the list of networks `{0}`, which is not loaded")]
pub struct MissingList(pub String);

/// A text that is not a valid source.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InvalidSource {
    /// It is none of the forms.
    #[error(
        "`{0}` is not a source; write a CIDR (10.0.0.0/8, 2001:db8::/32), an address, vpce-…, \
         or a service such as cloudformation.amazonaws.com"
    )]
    Source(String),
    /// It begins with `class:`, and names no class that can be granted.
    #[error(
        "`{0}` is no class of sources that can be granted; write class:private, own, aws_public, \
         hosted_ci, anonymizer or public, or name VPC endpoints and services themselves"
    )]
    Class(String),
}

impl InvalidSource {
    /// The text.
    pub(super) fn text(&self) -> &str {
        match self {
            Self::Source(text) | Self::Class(text) => text,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::observation::SourceKind;

    fn matches(pattern: &str, ip: Option<&str>, vpc_endpoint: Option<&str>) -> bool {
        let source = CallSource {
            ip: ip.map(Into::into),
            kind: SourceKind::of(ip),
            user_agent: None,
            vpc_endpoint: vpc_endpoint.map(Into::into),
            geo: crate::geo::SourceGeo::default(),
        };
        pattern.parse::<SourcePattern>().unwrap().matches(&source)
    }

    #[test]
    fn a_source_is_meant_by_its_network_its_service_or_its_endpoint() {
        let (inside, outside) = (Some("10.1.2.3"), Some("198.51.100.7"));
        assert!(matches("10.0.0.0/8", inside, None));
        assert!(!matches("10.0.0.0/8", outside, None));
        assert!(!matches("10.0.0.0/8", None, None));
        assert!(matches("198.51.100.7", outside, None));
        assert!(matches("2001:db8::/32", Some("2001:DB8::1"), None));
        // An address of one family is never in a network of the other.
        assert!(!matches("::/0", inside, None));
        assert!(matches("vpce-0a*", outside, Some("vpce-0a1b")));
        assert!(!matches("vpce-0a*", outside, None));
        assert!(matches("*.amazonaws.com", Some("rds.amazonaws.com"), None));
        assert!(matches("AWS Internal", Some("AWS Internal"), None));
        // Any source, but not a missing one.
        assert!(matches("*", outside, None));
        assert!(!matches("*", None, None));
    }

    #[test]
    fn a_class_and_a_list_mean_what_the_lists_say() {
        let mut lists = NetworkLists::default();
        lists.add("hosted_ci", "198.51.100.0/24").unwrap();
        lists.add("office", "203.0.113.0/24").unwrap();
        let own = OwnSources {
            networks: lists,
            endpoints: vec![GlobPattern::new("vpce-9")],
        };
        let matches = |text: &str, ip: &str, endpoint: Option<&str>| {
            let source = CallSource {
                ip: Some(ip.into()),
                kind: SourceKind::of(Some(ip)),
                user_agent: None,
                vpc_endpoint: endpoint.map(Into::into),
                geo: crate::geo::SourceGeo::default(),
            };
            let address = own.as_address(&source);
            let pattern = text.parse::<GrantSource>().unwrap();
            pattern.matches((&source, address.as_deref()), &own.networks)
        };
        assert!(matches("class:hosted_ci", "198.51.100.7", None));
        assert!(!matches("class:hosted_ci", "203.0.113.7", None));
        assert!(matches("list:office", "203.0.113.7", None));
        assert!(!matches("list:office", "198.51.100.7", None));
        assert!(!matches("list:vpn", "203.0.113.7", None));
        assert!(matches("class:private", "10.0.0.1", None));
        // Anybody may number a network like ours behind an endpoint of their own.
        for text in ["class:private", "10.0.0.0/8"] {
            assert!(!matches(text, "10.0.0.1", Some("vpce-1")), "{text}");
            assert!(matches(text, "10.0.0.1", Some("vpce-9")), "{text}");
            assert!(!matches(text, "198.51.100.7", Some("vpce-9")), "{text}");
        }
        // A public address is somebody's own, whatever it came through.
        assert!(matches("list:office", "203.0.113.7", Some("vpce-1")));
        assert!(matches("vpce-9", "10.0.0.1", Some("vpce-9")));
        for text in ["class:private", "list:office", "10.0.0.0/8", "vpce-1"] {
            assert_eq!(text.parse::<GrantSource>().unwrap().to_string(), text);
        }
    }

    #[test]
    fn a_class_of_everybody_is_refused() {
        for text in [
            "class:vpc_endpoint",
            "class:aws_service",
            "class:office",
            "class:",
        ] {
            let error = text.parse::<GrantSource>().unwrap_err().to_string();
            assert!(
                error.contains("no class of sources that can be granted"),
                "{error}"
            );
        }
        assert!("list:".parse::<GrantSource>().is_err());
    }

    #[test]
    fn what_is_no_source_is_refused_with_what_would_be_one() {
        for text in ["", "10.0.0.0/33", "10.0.0", "office", "example.com"] {
            let error = text.parse::<SourcePattern>().unwrap_err().to_string();
            let begins = format!("`{text}` is not a source; write a CIDR (10.0.0.0/8, ");
            assert!(error.starts_with(&begins), "{error}");
        }
    }
}
