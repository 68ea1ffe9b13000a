//! Stands in for S3 on 127.0.0.1: the listing of an organisation, made for each request, and a
//! bucket of which only the index is kept.

use std::{
    fmt::Write as _,
    io::{BufRead, BufReader, Read, Write},
    net::{TcpListener, TcpStream},
    sync::{Arc, Mutex},
    thread,
};

/// Most keys of a page.
const PAGE: u64 = 1_000;

/// Days of each month.
const DAYS: u64 = 28;

/// Files of each day in each region of each account, of months from January 2025 on.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Organisation {
    pub(crate) accounts: u64,
    pub(crate) regions: u64,
    pub(crate) months: u64,
    pub(crate) files: u64,
    /// Each so many objects, one is archived; 0 for none.
    pub(crate) archived_every: u64,
}

impl Organisation {
    fn of_region(self) -> u64 {
        self.months * DAYS * self.files
    }

    pub(crate) fn objects(self) -> u64 {
        self.accounts * self.regions * self.of_region()
    }

    /// The folders below a prefix; none below that of a region.
    fn folders(self, prefix: &str) -> Vec<String> {
        let depth = prefix.matches('/').count();
        let below = |names: Vec<String>| {
            let folders = names.into_iter().map(|name| format!("{prefix}{name}/"));
            folders.collect()
        };
        match depth {
            0 => below(vec!["AWSLogs".to_owned()]),
            1 => below((0..self.accounts).map(account).collect()),
            2 => below(vec![
                "CloudTrail".to_owned(),
                "CloudTrail-Digest".to_owned(),
            ]),
            3 => below((0..self.regions).map(region).collect()),
            _ => Vec::new(),
        }
    }

    /// Key and time of an object of a region.
    fn key(self, prefix: &str, index: u64) -> String {
        let (day, file) = (index / self.files, index % self.files);
        let (month, day) = (1 + day / DAYS, 1 + day % DAYS);
        let mut segments = prefix.split('/').skip(1);
        let account = segments.next().unwrap_or_default();
        let region = segments.nth(1).unwrap_or_default();
        let (hour, minute) = (file / 60 % 24, file % 60);
        format!(
            "{prefix}2025/{month:02}/{day:02}/{account}_CloudTrail_{region}_2025{month:02}{day:02}T\
             {hour:02}{minute:02}Z_{file:016}.json.gz"
        )
    }

    /// A page of the objects of a region.
    fn page(self, prefix: &str, start_after: Option<&str>, token: Option<&str>) -> String {
        let all = self.of_region();
        let first = match (token, start_after) {
            (Some(token), _) => token.parse().expect("it fits"),
            (None, Some(after)) => (0..all)
                .find(|index| *self.key(prefix, *index) > *after)
                .unwrap_or(all),
            (None, None) => 0,
        };
        let end = (first + PAGE).min(all);
        let mut xml = String::from("<ListBucketResult>");
        for index in first..end {
            let is_archived = self.archived_every > 0 && index.is_multiple_of(self.archived_every);
            let class = if is_archived {
                "DEEP_ARCHIVE"
            } else {
                "STANDARD"
            };
            let key = self.key(prefix, index);
            write!(
                xml,
                "<Contents><Key>{key}</Key><ETag>&quot;{index:032x}&quot;</ETag>\
                 <Size>100000</Size><StorageClass>{class}</StorageClass></Contents>"
            )
            .expect("it fits");
        }
        if end < all {
            write!(xml, "<NextContinuationToken>{end}</NextContinuationToken>").expect("it fits");
        }
        xml.push_str("</ListBucketResult>");
        xml
    }
}

fn account(index: u64) -> String {
    format!("{:012}", 111_122_223_333 + index)
}

fn region(index: u64) -> String {
    format!("eu-west-{:02}", index + 1)
}

/// What was written to the job.
#[derive(Debug, Clone, Default)]
pub(crate) struct Written {
    pub(crate) index: String,
    /// Bytes of all manifests.
    pub(crate) manifests: usize,
    /// Objects in all manifests.
    pub(crate) objects: u64,
    /// Objects in the lists of what was left out.
    pub(crate) left_out: u64,
}

#[derive(Default)]
struct State {
    lists: u64,
    written: Written,
}

/// The stand-in.
pub(crate) struct Listings {
    pub(crate) url: String,
    state: Arc<Mutex<State>>,
}

impl Listings {
    pub(crate) fn of(organisation: Organisation) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("it fits");
        let url = format!("http://{}", listener.local_addr().expect("it fits"));
        let state: Arc<Mutex<State>> = Arc::default();
        let shared = Arc::clone(&state);
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let state = Arc::clone(&shared);
                // A connection that breaks is made again by the command.
                thread::spawn(move || serve(stream, organisation, &state).ok());
            }
        });
        Self { url, state }
    }

    pub(crate) fn lists(&self) -> u64 {
        self.state.lock().expect("it fits").lists
    }

    pub(crate) fn written(&self) -> Written {
        self.state.lock().expect("it fits").written.clone()
    }
}

/// Answers the requests of one connection.
fn serve(
    stream: TcpStream,
    organisation: Organisation,
    state: &Mutex<State>,
) -> std::io::Result<()> {
    let mut reader = BufReader::new(stream.try_clone()?);
    let mut stream = stream;
    stream.set_nodelay(true)?;
    loop {
        let mut start = String::new();
        if reader.read_line(&mut start)? == 0 {
            return Ok(());
        }
        let (mut length, mut chunked) = (0, false);
        loop {
            let mut line = String::new();
            reader.read_line(&mut line)?;
            let line = line.trim().to_ascii_lowercase();
            if line.is_empty() {
                break;
            }
            if let Some(value) = line.strip_prefix("content-length:") {
                length = value.trim().parse().expect("it fits");
            }
            chunked |=
                line == "x-amz-trailer: x-amz-checksum-crc32" || line.contains("aws-chunked");
        }
        let mut body = vec![0; length];
        reader.read_exact(&mut body)?;
        if chunked {
            body = unchunked(&body);
        }
        let mut parts = start.split(' ');
        let (method, target) = (
            parts.next().unwrap_or_default(),
            parts.next().unwrap_or_default(),
        );
        let answer = match method {
            "GET" => listed(target, organisation, state),
            "PUT" => written(target, &body, state),
            _ => String::new(),
        };
        let length = answer.len();
        write!(
            stream,
            "HTTP/1.1 200 OK\r\ncontent-length: {length}\r\netag: \"e\"\r\n\r\n{answer}"
        )?;
    }
}

/// The content of a body in signed chunks.
fn unchunked(mut body: &[u8]) -> Vec<u8> {
    let mut content = Vec::new();
    while let Some(end) = body.windows(2).position(|two| two == b"\r\n") {
        let head = std::str::from_utf8(&body[..end]).unwrap_or_default();
        let size = head.split(';').next().unwrap_or_default();
        let size = usize::from_str_radix(size, 16).unwrap_or(0);
        if size == 0 {
            break;
        }
        content.extend_from_slice(&body[end + 2..end + 2 + size]);
        body = &body[end + 2 + size + 2..];
    }
    content
}

fn listed(target: &str, organisation: Organisation, state: &Mutex<State>) -> String {
    state.lock().expect("it fits").lists += 1;
    let query = target.split_once('?').map_or("", |(_, query)| query);
    let value = |name: &str| {
        let mut pairs = query.split('&').filter_map(|pair| pair.split_once('='));
        let found = pairs.find(|(key, _)| *key == name);
        found.map(|(_, value)| value.replace("%2F", "/"))
    };
    let prefix = value("prefix").unwrap_or_default();
    if value("delimiter").is_none() {
        let (after, token) = (value("start-after"), value("continuation-token"));
        return organisation.page(&prefix, after.as_deref(), token.as_deref());
    }
    let folders = organisation.folders(&prefix).into_iter();
    let folders =
        folders.map(|folder| format!("<CommonPrefixes><Prefix>{folder}</Prefix></CommonPrefixes>"));
    format!(
        "<ListBucketResult>{}</ListBucketResult>",
        folders.collect::<String>()
    )
}

fn written(target: &str, body: &[u8], state: &Mutex<State>) -> String {
    let text = std::str::from_utf8(body).expect("it fits");
    let mut state = state.lock().expect("it fits");
    let written = &mut state.written;
    let name = target.split('?').next().unwrap_or_default();
    match name.strip_prefix("/work/job/") {
        Some("manifest.jsonl") => text.clone_into(&mut written.index),
        Some(name) if name.starts_with("objects/") => {
            written.manifests += text.len();
            written.objects += text.matches("\"key\":").count() as u64;
        }
        Some(name) if name.starts_with("left-out-") => {
            written.left_out += text.lines().count() as u64;
        }
        other => panic!("{other:?} was written"),
    }
    String::new()
}
