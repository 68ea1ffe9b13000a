//! Where addresses are registered, from files in MaxMind format.

use secretrail_engine::geo::GeoDatabases;
use serde_json::json;
use test_support::mmdb::mmdb;

#[test]
fn databases_complete_each_other_and_the_first_counts() {
    let countries = mmdb(
        "GeoLite2-Country",
        &[
            (
                "203.0.113.0/24",
                json!({"country": {"iso_code": "NL", "names": {"en": "x"}}}),
            ),
            (
                "198.51.100.0/25",
                json!({"registered_country": {"iso_code": "DE"}}),
            ),
        ],
    );
    let number = json!({"autonomous_system_number": 64_500,
        "autonomous_system_organization": "Example Hosting"});
    let systems = mmdb("GeoLite2-ASN", &[("203.0.113.0/25", number)]);
    let other = json!({"country": "FR", "asn": "AS64501", "as_name": "Other"});
    let others = mmdb(
        "other",
        &[("192.0.2.0/24", other.clone()), ("203.0.113.0/24", other)],
    );
    let mut databases = GeoDatabases::default();
    for bytes in [countries, systems, others] {
        databases.add(bytes).unwrap();
    }
    for (ip, expected) in [
        ("203.0.113.9", "NL, AS64500 Example Hosting"),
        ("::ffff:203.0.113.9", "NL, AS64500 Example Hosting"),
        ("203.0.113.200", "NL, AS64501 Other"),
        ("198.51.100.1", "DE"),
        ("198.51.100.200", ""),
        ("192.0.2.1", "FR, AS64501 Other"),
        ("10.0.0.1", ""),
        ("2001:db8::1", ""),
    ] {
        assert_eq!(databases.find(ip).to_string(), expected, "{ip}");
    }
}

#[test]
fn a_damaged_database_is_refused_or_tells_what_it_still_can() {
    let country = json!({"country": "NL"});
    let whole = mmdb("GeoLite2-Country", &[("203.0.113.0/24", country)]);
    let found = |bytes: Vec<u8>| {
        let mut databases = GeoDatabases::default();
        let added = databases.add(bytes);
        added.map(|()| databases.find("203.0.113.9").to_string())
    };
    assert_eq!(found(whole.clone()).as_deref(), Ok("NL"));
    let mut refused = 0;
    for at in 0..whole.len() {
        refused += u32::from(found(whole[..at].to_vec()).is_err());
        // Whatever it says, it says it without a panic.
        let mut bent = whole.clone();
        bent[at] ^= 0x55;
        refused += u32::from(found(bent).is_err());
    }
    assert!(refused > 100, "{refused}");
}
