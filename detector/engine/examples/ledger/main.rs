//! Writes a generated history of reads and KMS Decrypts as CloudTrail delivers it, with an access
//! policy beside it, to measure commands on: `cargo run --release -p secretrail-engine --example
//! ledger -- FOLDER READS`.
//!
//! 3,000 roles of 200 teams read 20,000 secrets from 50,000 addresses over 90 days, Zipf-distributed
//! and each mostly its own. One read in a hundred is denied, one in a thousand is of another team's
//! secret. Sessions, access keys and ids are all different, as in real logs.

use std::{fmt::Write as _, fs, io, io::Write as _, path::Path};

mod history;

use history::{PRINCIPALS, SECRETS, TEAMS, read};

/// Reads of an object.
const OBJECT: u32 = 2_000;

fn main() -> io::Result<()> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let [folder, reads] = args.as_slice() else {
        return Err(io::Error::other("ledger FOLDER READS"));
    };
    let reads: u64 = reads.parse().map_err(io::Error::other)?;
    let folder = Path::new(folder);
    for first in (0..reads).step_by(OBJECT as usize) {
        object(folder, first, reads)?;
    }
    fs::write(folder.join("policy.yaml"), policy())
}

/// One object, named as CloudTrail names it.
fn object(folder: &Path, first: u64, reads: u64) -> io::Result<()> {
    let last = reads.min(first + u64::from(OBJECT));
    let records: Vec<String> = (first..last).flat_map(|n| read(n, reads)).collect();
    let text = format!("{{\"Records\":[{}]}}", records.join(","));
    let time = history::delivered(last - 1, reads);
    let (day, stamp) = (
        time.get(..10).unwrap_or_default(),
        time.replace(['-', ':'], ""),
    );
    let folder = folder.join("AWSLogs/111122223333/CloudTrail/eu-west-1");
    let folder = folder.join(day.replace('-', "/"));
    fs::create_dir_all(&folder)?;
    let stamp = stamp.get(..13).unwrap_or_default();
    let name = format!("111122223333_CloudTrail_eu-west-1_{stamp}Z_{first:016}.json.gz");
    let file = fs::File::create(folder.join(name))?;
    let mut encoder = flate2::write::GzEncoder::new(file, flate2::Compression::new(4));
    encoder.write_all(text.as_bytes())?;
    encoder.finish().map(drop)
}

/// Each team may read its own secrets, from its own networks.
fn policy() -> String {
    let mut text = String::from("version: 1\ngrants:\n");
    for team in 0..TEAMS {
        let secrets = format!("arn:aws:secretsmanager:*:111122223333:secret:team-{team}/*");
        let principals = format!("arn:aws:iam::111122223333:role/team-{team}-*");
        // Writing to a string does not fail.
        _ = write!(
            text,
            "  - secrets: [\"{secrets}\"]\n    principals: [\"{principals}\"]\n    \
             regions: [eu-west-1]\n    sources: [10.0.0.0/8]\n"
        );
    }
    debug_assert_eq!((PRINCIPALS % TEAMS, SECRETS % TEAMS), (0, 0));
    text
}
