//! Databases in MaxMind format, made for tests. Source: MaxMind DB file format specification 2.0.

use ipnet::Ipv4Net;
use serde_json::{Value, json};

/// Size of a record of the tree in bytes.
const RECORD: usize = 4;

/// A database of this type with what it tells of some IPv4 networks, none of which contains another.
///
/// # Panics
///
/// When a network is none, or a value is neither an object, a text nor a number.
#[must_use]
pub fn mmdb(database_type: &str, networks: &[(&str, Value)]) -> Vec<u8> {
    let mut data = Vec::new();
    // Of each node the next one, or the offset of data, by the next bit.
    let mut nodes: Vec<[Option<Next>; 2]> = vec![[None; 2]];
    for (network, value) in networks {
        let network: Ipv4Net = network.parse().expect("it is a network");
        let offset = data.len();
        encode("", value, &mut data);
        let bits = u32::from(network.network());
        let mut node = 0;
        for place in 0..network.prefix_len() {
            let bit = (bits >> (31 - place) & 1) as usize;
            if place + 1 == network.prefix_len() {
                nodes[node][bit] = Some(Next::Data(offset));
            } else if let Some(Next::Node(next)) = nodes[node][bit] {
                node = next;
            } else {
                nodes.push([None; 2]);
                let next = nodes.len() - 1;
                nodes[node][bit] = Some(Next::Node(next));
                node = next;
            }
        }
    }
    let count = nodes.len();
    let mut file = Vec::new();
    for next in nodes.iter().flatten() {
        let number = match next {
            Some(Next::Node(node)) => *node,
            None => count,
            Some(Next::Data(offset)) => count + 16 + offset,
        };
        let number = u32::try_from(number).expect("a test is small");
        file.extend(number.to_be_bytes());
    }
    file.extend([0; 16]);
    file.extend(data);
    file.extend(b"\xab\xcd\xefMaxMind.com");
    encode(
        "",
        &json!({
            "binary_format_major_version": 2, "binary_format_minor_version": 0,
            "build_epoch": 1_772_445_600_u64, "database_type": database_type,
            "description": {"en": "made for a test"}, "ip_version": 4, "languages": [],
            "node_count": count, "record_size": RECORD * 8,
        }),
        &mut file,
    );
    file
}

#[derive(Clone, Copy)]
enum Next {
    Node(usize),
    Data(usize),
}

fn encode(key: &str, value: &Value, out: &mut Vec<u8>) {
    match value {
        Value::String(text) => {
            control(2, text.len(), out);
            out.extend(text.as_bytes());
        }
        Value::Number(number) => {
            let bytes = number.as_u64().expect("it is whole").to_be_bytes();
            // Readers want each number in its own type: 64 bits (an extended one), 32 or 16.
            match key {
                "build_epoch" => out.extend([8, 2].iter().chain(&bytes)),
                "node_count" | "autonomous_system_number" => {
                    out.extend([6 << 5 | 4].iter().chain(&bytes[4..]));
                }
                _ => out.extend([5 << 5 | 2].iter().chain(&bytes[6..])),
            }
        }
        Value::Array(items) => {
            // An extended type, too; only empty ones are needed.
            assert!(items.is_empty());
            out.extend([0, 4]);
        }
        Value::Object(entries) => {
            control(7, entries.len(), out);
            for (key, value) in entries {
                encode("", &Value::String(key.clone()), out);
                encode(key, value, out);
            }
        }
        other => panic!("{other} is not needed"),
    }
}

fn control(kind: u8, size: usize, out: &mut Vec<u8>) {
    let size = u8::try_from(size).expect("a test is small");
    if size < 29 {
        out.push(kind << 5 | size);
    } else {
        out.extend([kind << 5 | 29, size - 29]);
    }
}
