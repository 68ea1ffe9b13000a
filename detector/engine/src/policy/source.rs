//! `sources` of a grant: where calls may come from.

use std::{fmt, net::IpAddr, str::FromStr};

use ipnet::IpNet;

use crate::{glob::GlobPattern, observation::CallSource};

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
        Err(InvalidSource(text.to_owned()))
    }
}

/// A text that is not a valid source.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "`{0}` is not a source; write a CIDR (10.0.0.0/8, 2001:db8::/32), an address, vpce-…, \
     or a service such as cloudformation.amazonaws.com"
)]
pub struct InvalidSource(pub(super) String);

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
    fn what_is_no_source_is_refused_with_what_would_be_one() {
        for text in ["", "10.0.0.0/33", "10.0.0", "office", "example.com"] {
            let error = text.parse::<SourcePattern>().unwrap_err().to_string();
            let begins = format!("`{text}` is not a source; write a CIDR (10.0.0.0/8, ");
            assert!(error.starts_with(&begins), "{error}");
        }
    }
}
