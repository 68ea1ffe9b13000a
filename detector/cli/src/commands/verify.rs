//! The `verify` command: whether digests and logs are what CloudTrail wrote.

pub mod chain;
pub mod digest;
pub mod keys;

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Instant;

use ahash::HashSet;
use secretrail_engine::gunzip::{self, Scratch};
use secretrail_engine::object::{self, ObjectKind};
use secretrail_engine::parallel;
use secretrail_engine::time::EventTime;
use sha2::{Digest, Sha256};

use self::chain::{Evidence, Finding, Verdict, tree_key};
use self::digest::{DigestFile, Keys};
use self::keys::list_public_keys;
use crate::args::settings::{Settings, only_rows};
use crate::args::{self, Format};
use crate::exit;
use crate::host::{Failure, Host, say};
use crate::input::aws::{self, Connection};
use crate::input::object::{Object, Place, Problem};
use crate::input::progress::bytes_bar;
use crate::input::s3::store;
use crate::input::store::Fetched;
use crate::input::{session, walk};
use crate::output::out::Out;
use crate::output::run_summary::input_code;
use crate::output::{csv, table};
use crate::text::number;

/// Name and version of the form of its lines.
const SCHEMA: &str = "secretrail.verification/1";

/// Runs the command and gives its exit code.
///
/// # Errors
///
/// [`Failure`].
pub fn run(args: &args::Verify, host: &mut Host) -> Result<u8, Failure> {
    let started = Instant::now();
    let settings = Settings::new(&args.input, &args.output, host)?;
    settings.must_be_rows("verify")?;
    if settings.reads_stdin() {
        return Err(Failure::Usage(
            "verify reads trees of digests and logs, not standard input".to_owned(),
        ));
    }
    let connection = aws::connect(&settings, args.fetch_keys)?;
    let store = store(connection.as_ref(), &settings.aws);
    let mut keys = match &args.public_keys {
        Some(path) => keys_from(path)?,
        None => Keys::default(),
    };
    let mut out = Out::open(&settings)?;
    let mut found = session::walk(&settings, &*store, true);
    // CloudTrail vouches for what it wrote, where it wrote it.
    found.objects.retain(|object| object.in_tree);
    let progress = bytes_bar(&settings, &found.objects);
    let read = parallel::map(settings.threads, &found.objects, |object| {
        let result = object.place.fetch(&*store).map(|fetched| {
            progress.inc(fetched.bytes.len() as u64);
            content(object, fetched)
        });
        (tree_key_of(object), result)
    });
    progress.finish_and_clear();
    let mut evidence = Evidence::default();
    let mut problems = found.problems;
    for ((key, result), object) in read.into_iter().zip(&found.objects) {
        match result {
            Ok(Content::Digest(read)) => drop(evidence.digests.insert(key, *read)),
            Ok(Content::Spoiled(why)) => drop(evidence.spoiled.insert(key, why)),
            Ok(Content::Log(hash)) => drop(evidence.logs.insert(key, hash)),
            Err(error) => {
                problems.push(Problem::new(&*object.name, error));
                evidence.unread.insert(key);
            }
        }
    }
    problems.sort();
    if let Some(connection) = connection.filter(|_| args.public_keys.is_none()) {
        fetch_keys(&evidence, &connection, &mut keys, &mut problems);
    }
    let findings = chain::judge(&evidence, &keys, &settings.selection);
    write(&findings, args.all, settings.format, &mut out)?;
    out.finish(host)?;
    let code = input_code(&problems, host);
    if !settings.quiet {
        say(host, &words(&findings, &evidence, &keys, started));
    }
    let bad = findings
        .iter()
        .any(|f| matches!(f.verdict, Verdict::Altered | Verdict::Missing));
    Ok(code.max(if bad { exit::FINDINGS } else { exit::DONE }))
}

fn keys_from(path: &Path) -> Result<Keys, Failure> {
    let failure =
        |message: String| Failure::Usage(format!("--public-keys {}: {message}", path.display()));
    let text = std::fs::read_to_string(path).map_err(|error| failure(error.to_string()))?;
    Keys::read(&text).map_err(failure)
}

/// Asks CloudTrail for its keys, in each region of the digests.
fn fetch_keys(
    evidence: &Evidence,
    connection: &Connection,
    keys: &mut Keys,
    problems: &mut Vec<Problem>,
) {
    let mut spans: BTreeMap<String, (EventTime, EventTime)> = BTreeMap::new();
    for (key, read) in &evidence.digests {
        if let (Some((_, region)), Some(start), Some(end)) =
            (chain::place(key), read.file.start(), read.file.end())
        {
            let span = spans.entry(region).or_insert((start, end));
            *span = (span.0.min(start), span.1.max(end));
        }
    }
    for (region, (start, end)) in spans {
        let listed = list_public_keys(connection, &region, start, end);
        let added = listed
            .map_err(|error| error.to_string())
            .and_then(|listed| {
                listed
                    .iter()
                    .try_for_each(|key| keys.add(&key.fingerprint, &key.der))
            });
        if let Err(message) = added {
            let message = format!(
                "{message}; save `aws cloudtrail list-public-keys` and name it with --public-keys"
            );
            problems.push(Problem::new(format!("public keys of {region}"), message));
        }
    }
}

enum Content {
    Digest(Box<chain::Read>),
    Log(String),
    /// No digest, although it stands where one should.
    Spoiled(String),
}

fn content(object: &Object, fetched: Fetched) -> Content {
    let Fetched { bytes, signature } = fetched;
    let is_digest = object::parse(&tree_key_of(object)).kind == ObjectKind::Digest;
    let mut hash = Sha256::new();
    let mut text = Vec::new();
    let mut take = |bytes: &[u8]| {
        hash.update(bytes);
        if is_digest {
            text.extend_from_slice(bytes);
        }
    };
    let inflated = gunzip::inflate(&bytes, &mut Scratch::default(), &mut take);
    let hash = hex(&hash.finalize());
    match (inflated, is_digest) {
        (Ok(()), false) => Content::Log(hash),
        // What is no gzip any more is not what CloudTrail wrote, and no digest has this hash.
        (Err(_), false) => Content::Log(hex(&Sha256::digest(&bytes))),
        (Err(error), true) => Content::Spoiled(error.to_string()),
        (Ok(()), true) => match serde_json::from_slice::<DigestFile>(&text) {
            Ok(file) => Content::Digest(Box::new(chain::Read {
                file,
                hash,
                signature,
            })),
            Err(error) => Content::Spoiled(format!("it is not a digest: {error}")),
        },
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Its key in any copy of the tree.
fn tree_key_of(object: &Object) -> String {
    match &object.place {
        Place::S3(remote) => tree_key(&remote.key).to_owned(),
        Place::File(path) => tree_key(&walk::tree_path(path)).to_owned(),
        Place::Stdin => String::new(),
    }
}

fn write(
    findings: &[Finding],
    all: bool,
    format: Format,
    out: &mut Out<'_>,
) -> Result<(), Failure> {
    let shown: Vec<&Finding> = findings
        .iter()
        .filter(|f| all || f.verdict != Verdict::Intact)
        .collect();
    let kind = |finding: &Finding| if finding.digest { "digest" } else { "log" };
    let row = |f: &&Finding| [f.verdict.as_str(), kind(f), &f.key, &f.why].map(str::to_owned);
    match format {
        Format::Table if shown.is_empty() && !findings.is_empty() => {
            out.raw("everything is intact\n")
        }
        Format::Table if shown.is_empty() => out.raw("nothing to verify\n"),
        Format::Table => {
            let rows: Vec<_> = shown.iter().map(row).collect();
            out.raw(&table::columns(["VERDICT", "KIND", "OBJECT", "WHY"], &rows))
        }
        Format::Json | Format::Jsonl => {
            let value = |f: &&Finding| serde_json::json!({"schema": SCHEMA, "verdict": f.verdict.as_str(), "kind": kind(f), "object": f.key, "why": f.why});
            out.values(&shown.iter().map(value).collect::<Vec<_>>())
        }
        Format::Csv => out.raw(&csv::rows(
            ["verdict", "kind", "object", "why"],
            shown.iter().map(row),
        )?),
        Format::Ocsf | Format::Html | Format::Parquet => Err(only_rows("verify")),
    }
}

fn words(findings: &[Finding], evidence: &Evidence, keys: &Keys, started: Instant) -> String {
    let count = |digest: bool, verdict: Verdict| {
        findings
            .iter()
            .filter(|f| f.digest == digest && f.verdict == verdict)
            .count() as u64
    };
    let line = |name: &str, digest: bool| {
        let of = |verdict: Verdict| number(count(digest, verdict));
        format!(
            "  {name:<8}{} intact, {} altered, {} missing, {} unproven\n",
            of(Verdict::Intact),
            of(Verdict::Altered),
            of(Verdict::Missing),
            of(Verdict::Unproven)
        )
    };
    let restarted = number(count(true, Verdict::Restarted));
    let places: HashSet<_> = evidence
        .digests
        .keys()
        .filter_map(|key| chain::place(key))
        .collect();
    let mut text = format!(
        "secretrail: verified {} digests and {} logs of {} accounts and regions in {:.2} s\n{}{}  chains  {restarted} restarted\n",
        number(evidence.digests.len() as u64),
        number(evidence.logs.len() as u64),
        number(places.len() as u64),
        started.elapsed().as_secs_f64(),
        line("digests", true),
        line("logs", false),
    );
    if keys.is_empty() && !evidence.digests.is_empty() {
        text.push_str(
            "  no public keys at hand: save `aws cloudtrail list-public-keys --start-time …` of each region and name it with \
             --public-keys, or use --fetch-keys\n",
        );
    }
    text
}
