//! Where an address is registered: its country and its autonomous system, from databases in MaxMind
//! format that the user provides. Nothing is downloaded.
//!
//! Source: MaxMind DB file format specification 2.0; GeoIP2 and GeoLite2 Country, City, ASN and
//! Enterprise, and the databases of others that have the same fields or those of `country` and
//! `asn` as text, checked 2026-11.

use std::{
    collections::BTreeMap,
    fmt,
    net::{IpAddr, Ipv4Addr},
    sync::Arc,
};

use ipnet::IpNet;
use maxminddb::{MaxMindDbError, Reader};
use serde::{Deserialize, Serialize};

use crate::ids::SharedStr;

/// What databases tell of an address. `None` for what they do not.
#[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct SourceGeo {
    /// Country code, ISO 3166-1 alpha-2: `NL`.
    pub country: Option<SharedStr>,
    /// Number of the autonomous system.
    pub asn: Option<u32>,
    /// Organisation that runs the autonomous system.
    pub as_org: Option<SharedStr>,
}

impl fmt::Display for SourceGeo {
    /// `NL, AS64500 Example Hosting`; empty when nothing is known.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let number = self.asn.map(|asn| format!("AS{asn}"));
        let system = [number.as_deref(), self.as_org.as_deref()];
        let system = system.into_iter().flatten().collect::<Vec<_>>().join(" ");
        let country = self.country.as_deref().unwrap_or_default();
        let parts = [country, system.as_str()].into_iter();
        let parts: Vec<&str> = parts.filter(|part| !part.is_empty()).collect();
        f.write_str(&parts.join(", "))
    }
}

/// Databases, asked in their order; what an earlier one tells counts.
#[derive(Clone, Default)]
pub struct GeoDatabases {
    databases: Vec<Arc<Reader<Vec<u8>>>>,
    /// Networks of an example.
    listed: Vec<(IpNet, SourceGeo)>,
}

impl fmt::Debug for GeoDatabases {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let databases = self.databases.iter();
        let types = databases.map(|database| &database.metadata().database_type);
        f.debug_list().entries(types).entries(&self.listed).finish()
    }
}

/// Why a file is no database.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum GeoFault {
    /// It has another format.
    #[error("is no database in MaxMind format ({0}); use a file such as GeoLite2-Country.mmdb")]
    Format(String),
    /// The key of an example is no network.
    #[error("`{0}` is no network; write one as in `203.0.113.0/24`")]
    Network(String),
}

impl From<MaxMindDbError> for GeoFault {
    fn from(error: MaxMindDbError) -> Self {
        Self::Format(error.to_string())
    }
}

/// A record of a database, with the fields of those that are known:
///
/// - GeoIP2 and GeoLite2 Country, City, Enterprise: `country.iso_code`, else that of the country in
///   which the network is registered, `registered_country.iso_code`.
/// - GeoLite2 ASN, GeoIP2 ISP: `autonomous_system_number`, `autonomous_system_organization`; in
///   Enterprise below `traits`.
/// - Others: `country` or `country_code` as two letters, `asn` as `AS64500`, `as_name`.
#[derive(Deserialize)]
struct GeoRecord {
    country: Option<GeoCountry>,
    registered_country: Option<GeoCountry>,
    country_code: Option<String>,
    autonomous_system_number: Option<AsNumber>,
    autonomous_system_organization: Option<String>,
    asn: Option<AsNumber>,
    as_name: Option<String>,
    traits: Option<GeoTraits>,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum GeoCountry {
    Code { iso_code: Option<String> },
    Text(String),
}

impl GeoCountry {
    fn code(self) -> Option<String> {
        match self {
            Self::Code { iso_code } => iso_code,
            // Others write a name here, and the code beside it.
            Self::Text(text) => (text.len() == 2).then_some(text),
        }
    }
}

#[derive(Deserialize)]
#[serde(untagged)]
enum AsNumber {
    Number(u32),
    /// `AS64500`.
    Text(String),
}

impl AsNumber {
    fn number(self) -> Option<u32> {
        match self {
            Self::Number(number) => Some(number),
            Self::Text(text) => text.trim_start_matches("AS").parse().ok(),
        }
    }
}

/// Of databases that tell everything at once.
#[derive(Default, Deserialize)]
struct GeoTraits {
    autonomous_system_number: Option<AsNumber>,
    autonomous_system_organization: Option<String>,
}

impl GeoRecord {
    fn into_geo(self) -> SourceGeo {
        let country = self.country_code.or_else(|| self.country?.code());
        let country = country.or_else(|| self.registered_country?.code());
        let traits = self.traits.unwrap_or_default();
        let asn = self.autonomous_system_number;
        let asn = asn.or(traits.autonomous_system_number).or(self.asn);
        let as_org = self.autonomous_system_organization;
        let as_org = as_org.or(traits.autonomous_system_organization);
        SourceGeo {
            country: country.map(|code| code.to_uppercase().into()),
            asn: asn.and_then(AsNumber::number),
            as_org: as_org.or(self.as_name).map(SharedStr::from),
        }
    }
}

impl GeoDatabases {
    /// Adds a database, from the bytes of its file.
    ///
    /// # Errors
    ///
    /// [`GeoFault::Format`].
    pub fn add(&mut self, bytes: Vec<u8>) -> Result<(), GeoFault> {
        let database = Reader::from_source(bytes)?;
        self.databases.push(Arc::new(database));
        Ok(())
    }

    /// What an example says of networks.
    ///
    /// # Errors
    ///
    /// [`GeoFault::Network`].
    pub(crate) fn of_example(networks: &BTreeMap<String, SourceGeo>) -> Result<Self, GeoFault> {
        let mut listed = Vec::with_capacity(networks.len());
        for (text, geo) in networks {
            let network = text.parse().map_err(|_| GeoFault::Network(text.clone()))?;
            listed.push((network, geo.clone()));
        }
        Ok(Self {
            listed,
            ..Self::default()
        })
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.databases.is_empty() && self.listed.is_empty()
    }

    /// What the databases tell of an address; nothing of a private one, or of a text that is none.
    #[must_use]
    pub fn find(&self, ip: &str) -> SourceGeo {
        let mut found = SourceGeo::default();
        if self.is_empty() {
            return found;
        }
        let Ok(address) = ip.parse::<IpAddr>() else {
            return found;
        };
        let address = address.to_canonical();
        if is_private(address) {
            return found;
        }
        let listed = self.listed.iter().filter(|(net, _)| net.contains(&address));
        let listed = listed.map(|(_, geo)| geo.clone());
        let databases = self.databases.iter();
        // A damaged record tells nothing; the others of its database do.
        let records = databases.filter_map(|database| {
            let record = database.lookup(address).ok()?;
            record.decode::<GeoRecord>().ok()?
        });
        for geo in listed.chain(records.map(GeoRecord::into_geo)) {
            found.country = found.country.or(geo.country);
            found.asn = found.asn.or(geo.asn);
            found.as_org = found.as_org.or(geo.as_org);
        }
        found
    }
}

/// Whether an address is private, shared, link-local or of the machine itself.
pub(crate) fn is_private(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(v4) => is_private_v4(v4),
        IpAddr::V6(v6) => v6.is_loopback() || v6.is_unique_local() || v6.is_unicast_link_local(),
    }
}

fn is_private_v4(v4: Ipv4Addr) -> bool {
    // 100.64.0.0/10 is shared by carriers and used within clusters.
    let [first, second, ..] = v4.octets();
    let is_shared = first == 100 && (64..128).contains(&second);
    v4.is_private() || v4.is_loopback() || v4.is_link_local() || is_shared
}

#[cfg(test)]
mod tests {
    use super::*;

    fn example(net: &str, geo: SourceGeo) -> Result<GeoDatabases, GeoFault> {
        GeoDatabases::of_example(&BTreeMap::from([(net.to_owned(), geo)]))
    }

    fn hosting() -> SourceGeo {
        SourceGeo {
            country: Some("NL".into()),
            asn: Some(64_500),
            as_org: Some("Example Hosting".into()),
        }
    }

    #[test]
    fn only_a_public_address_is_looked_up() {
        let geo = example("0.0.0.0/0", hosting()).unwrap();
        for (ip, expected) in [
            ("203.0.113.7", hosting()),
            ("::ffff:203.0.113.7", hosting()),
            ("10.0.0.1", SourceGeo::default()),
            ("2001:db8::1", SourceGeo::default()),
            ("secretsmanager.amazonaws.com", SourceGeo::default()),
        ] {
            assert_eq!(geo.find(ip), expected, "{ip}");
        }
        let error = example("here", hosting()).unwrap_err().to_string();
        assert!(error.starts_with("`here` is no network"), "{error}");
    }

    #[test]
    fn what_is_known_is_written_in_one_line() {
        assert_eq!(hosting().to_string(), "NL, AS64500 Example Hosting");
        let country = SourceGeo {
            country: Some("NL".into()),
            ..SourceGeo::default()
        };
        assert_eq!(country.to_string(), "NL");
        assert_eq!(SourceGeo::default().to_string(), "");
    }

    #[test]
    fn records_of_several_makers_are_read() {
        let read = |json: &str| {
            let record: GeoRecord = serde_json::from_str(json).unwrap();
            record.into_geo().to_string()
        };
        for (json, expected) in [
            (
                r#"{"country":{"iso_code":"NL"},"continent":{"code":"EU"}}"#,
                "NL",
            ),
            (r#"{"registered_country":{"iso_code":"DE"}}"#, "DE"),
            (
                r#"{"autonomous_system_number":64500,"autonomous_system_organization":"Example"}"#,
                "AS64500 Example",
            ),
            (
                r#"{"country":"nl","asn":"AS64500","as_name":"Example"}"#,
                "NL, AS64500 Example",
            ),
            (r#"{"country":"Netherlands","country_code":"NL"}"#, "NL"),
            (
                r#"{"traits":{"autonomous_system_number":64500,"is_anycast":true}}"#,
                "AS64500",
            ),
            (r#"{"is_anonymous":true}"#, ""),
        ] {
            assert_eq!(read(json), expected, "{json}");
        }
    }

    #[test]
    fn what_is_no_database_is_refused() {
        let error = GeoDatabases::default().add(b"x".to_vec()).unwrap_err();
        assert!(error.to_string().contains("MaxMind format"), "{error}");
    }
}
