//! Stands in for AWS on 127.0.0.1: S3 with one log, and the services that give credentials.

use std::{
    fs,
    io::{BufReader, Write},
    net::{TcpListener, TcpStream},
    path::{Path, PathBuf},
    process::{Command, Output},
    sync::{Arc, Mutex},
    thread,
};

use chrono::{Duration, SecondsFormat, Utc};
use serde_json::json;
use tempfile::TempDir;

use crate::request::{Request, received};

const LOG: &str = "AWSLogs/111122223333/CloudTrail/eu-west-1/2026/03/02/\
    111122223333_CloudTrail_eu-west-1_20260302T0920Z_VrZomN3i5eSKEXvV.json.gz";

impl Request {
    /// The access key of the signature.
    fn key(&self) -> String {
        let signed = self.header("authorization");
        let key = signed.split_once("Credential=");
        let key = key.and_then(|(_, rest)| rest.split_once('/'));
        key.map_or_else(String::new, |(key, _)| key.to_owned())
    }
}

/// An answer: status, headers, body.
pub(crate) struct Answer(
    pub(crate) u16,
    pub(crate) Vec<(&'static str, String)>,
    pub(crate) Vec<u8>,
);

impl Answer {
    pub(crate) fn ok(body: impl Into<Vec<u8>>) -> Self {
        Self(200, Vec::new(), body.into())
    }

    pub(crate) fn json(body: &serde_json::Value) -> Self {
        let headers = vec![("content-type", "application/json".to_owned())];
        Self(200, headers, body.to_string().into_bytes())
    }

    /// An error of S3.
    pub(crate) fn s3(status: u16, code: &str, message: &str) -> Self {
        let body = format!("<Error><Code>{code}</Code><Message>{message}</Message></Error>");
        Self(status, Vec::new(), body.into_bytes())
    }
}

/// Answers before the usual ones do.
type Special = Box<dyn Fn(&Request) -> Option<Answer> + Send>;

struct State {
    requests: Vec<Request>,
    /// Credentials given so far.
    given: usize,
    /// Whether the first credentials expire at once.
    short: bool,
    special: Option<Special>,
}

/// A home directory of an analyst, and the AWS that the command sees.
pub(crate) struct Analyst {
    home: TempDir,
    url: String,
    state: Arc<Mutex<State>>,
}

impl Analyst {
    /// With this `~/.aws/config`.
    pub(crate) fn with_config(config: &str) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let url = format!("http://{}", listener.local_addr().expect("an address"));
        let state = Arc::new(Mutex::new(State {
            requests: Vec::new(),
            given: 0,
            short: false,
            special: None,
        }));
        let shared = Arc::clone(&state);
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let state = Arc::clone(&shared);
                thread::spawn(move || serve(stream, &state));
            }
        });
        let home = tempfile::tempdir().expect("a folder");
        let analyst = Self { home, url, state };
        analyst.write(".aws/config", config);
        analyst
    }

    /// The first credentials that are given expire within the run.
    pub(crate) fn with_short_credentials(self) -> Self {
        self.state.lock().expect("state").short = true;
        self
    }

    /// Answers these requests, before the usual answers.
    pub(crate) fn answering(
        self,
        special: impl Fn(&Request) -> Option<Answer> + Send + 'static,
    ) -> Self {
        self.state.lock().expect("state").special = Some(Box::new(special));
        self
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.home.path().join(name)
    }

    pub(crate) fn url(&self) -> &str {
        &self.url
    }

    /// Writes a file below the home directory.
    pub(crate) fn write(&self, name: &str, text: &str) {
        let path = self.path(name);
        fs::create_dir_all(path.parent().expect("a folder")).expect("folder");
        fs::write(path, text).expect("file");
    }

    /// The command, with nothing of the environment of the tests.
    pub(crate) fn secretrail(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_secretrail"));
        command
            .env_clear()
            .env("HOME", self.home.path())
            .env("PATH", "/usr/local/bin:/usr/bin:/bin")
            .env("AWS_REGION", "eu-west-1")
            .env("AWS_EC2_METADATA_DISABLED", "true")
            .args(arguments);
        for service in ["S3", "SFN", "SIGNIN", "SSO", "SSO_OIDC", "STS"] {
            command.env(format!("AWS_ENDPOINT_URL_{service}"), &self.url);
        }
        command
    }

    /// `accesses s3://logs/` with more arguments.
    pub(crate) fn accesses(&self, arguments: &[&str]) -> Command {
        let mut command = self.secretrail(&["accesses", "s3://logs/", "-f", "jsonl", "-q"]);
        command.args(arguments);
        command
    }

    pub(crate) fn requests(&self) -> Vec<Request> {
        self.state.lock().expect("state").requests.clone()
    }

    /// The access keys of the requests to S3, in order.
    pub(crate) fn keys(&self) -> Vec<String> {
        let requests = self.requests().into_iter();
        let of_s3 = requests.filter(|request| request.target.starts_with("/logs"));
        of_s3.map(|request| request.key()).collect()
    }
}

/// Exit code and standard error of a command.
pub(crate) fn run(command: &mut Command) -> (i32, String) {
    let Output { status, stderr, .. } = command.output().expect("runs");
    let stderr = String::from_utf8(stderr).expect("UTF-8");
    (status.code().expect("a code"), stderr)
}

/// In this many seconds, as in `2026-03-02T11:00:00Z`.
pub(crate) fn in_seconds(seconds: i64) -> String {
    let then = Utc::now() + Duration::seconds(seconds);
    then.to_rfc3339_opts(SecondsFormat::Secs, true)
}

fn serve(stream: TcpStream, state: &Mutex<State>) {
    let mut reader = BufReader::new(stream.try_clone().expect("a socket"));
    while let Some(request) = received(&mut reader) {
        let answer = {
            let mut state = state.lock().expect("state");
            state.requests.push(request.clone());
            let special = state.special.as_ref().and_then(|special| special(&request));
            special.unwrap_or_else(|| answer(&request, &mut state))
        };
        if send(&stream, answer).is_err() {
            return;
        }
    }
}

fn send(mut stream: &TcpStream, answer: Answer) -> std::io::Result<()> {
    let Answer(status, headers, body) = answer;
    let mut head = format!("HTTP/1.1 {status} X\r\ncontent-length: {}\r\n", body.len());
    for (name, value) in headers {
        head.push_str(&format!("{name}: {value}\r\n"));
    }
    head.push_str("\r\n");
    stream.write_all(head.as_bytes())?;
    stream.write_all(&body)
}

fn answer(request: &Request, state: &mut State) -> Answer {
    let target = request.target.as_str();
    match (request.method.as_str(), target) {
        ("GET", _) if target.starts_with("/logs") && target.contains("list-type=2") => listing(),
        ("GET", _) if target.starts_with("/logs") => Answer::ok(log()),
        ("GET", _) if target.starts_with("/federation/credentials") => role_credentials(state),
        ("POST", "/token") => Answer::json(&json!({
            "accessToken": "second-token", "expiresIn": 3600, "refreshToken": "second-refresh",
            "tokenType": "Bearer",
        })),
        ("POST", "/v1/token") => signed_in(state),
        ("POST", "/") => assumed(&request.body, state),
        ("GET", "/container") => of_container(state),
        ("PUT", "/latest/api/token") => {
            let ttl = ("x-aws-ec2-metadata-token-ttl-seconds", "21600".to_owned());
            Answer(200, vec![ttl], b"instance-token".to_vec())
        }
        ("GET", "/latest/meta-data/iam/security-credentials/") => Answer::ok("analysis"),
        ("GET", "/latest/meta-data/iam/security-credentials/analysis") => of_instance(state),
        _ => Answer(404, Vec::new(), Vec::new()),
    }
}

/// The next access key, and the seconds for which it is valid.
fn next(state: &mut State) -> (String, i64) {
    state.given += 1;
    let seconds = if state.short && state.given == 1 {
        3
    } else {
        3600
    };
    (format!("ASIATEST{:04}", state.given), seconds)
}

fn listing() -> Answer {
    let size = log().len();
    Answer::ok(format!(
        "<ListBucketResult><Name>logs</Name><KeyCount>1</KeyCount>\
         <IsTruncated>false</IsTruncated><Contents><Key>{LOG}</Key><Size>{size}</Size>\
         <ETag>\"e1\"</ETag></Contents></ListBucketResult>"
    ))
}

fn log() -> Vec<u8> {
    let examples = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/examples/logs");
    fs::read(examples.join(LOG)).expect("an example")
}

fn role_credentials(state: &mut State) -> Answer {
    let (key, seconds) = next(state);
    let expiration = (Utc::now() + Duration::seconds(seconds)).timestamp_millis();
    Answer::json(&json!({"roleCredentials": {
        "accessKeyId": key, "secretAccessKey": "s", "sessionToken": "t",
        "expiration": expiration,
    }}))
}

fn signed_in(state: &mut State) -> Answer {
    let (key, seconds) = next(state);
    Answer::json(&json!({
        "accessToken": {"accessKeyId": key, "secretAccessKey": "s", "sessionToken": "t"},
        "tokenType": "aws_sigv4", "expiresIn": seconds, "refreshToken": "second-refresh",
    }))
}

fn assumed(body: &str, state: &mut State) -> Answer {
    let action = match body {
        _ if body.contains("Action=AssumeRoleWithWebIdentity") => "AssumeRoleWithWebIdentity",
        _ if body.contains("Action=AssumeRole") => "AssumeRole",
        _ => return Answer(400, Vec::new(), Vec::new()),
    };
    let (key, seconds) = next(state);
    let expiration = in_seconds(seconds);
    Answer::ok(format!(
        "<{action}Response xmlns=\"https://sts.amazonaws.com/doc/2011-06-15/\"><{action}Result>\
         <AssumedRoleUser><Arn>arn:aws:sts::111122223333:assumed-role/reader/ana</Arn>\
         <AssumedRoleId>AROATEST:ana</AssumedRoleId></AssumedRoleUser>\
         <Credentials><AccessKeyId>{key}</AccessKeyId><SecretAccessKey>s</SecretAccessKey>\
         <SessionToken>t</SessionToken><Expiration>{expiration}</Expiration></Credentials>\
         </{action}Result></{action}Response>"
    ))
}

fn of_container(state: &mut State) -> Answer {
    let (key, seconds) = next(state);
    Answer::json(&json!({
        "AccessKeyId": key, "SecretAccessKey": "s", "Token": "t",
        "Expiration": in_seconds(seconds),
    }))
}

fn of_instance(state: &mut State) -> Answer {
    let (key, seconds) = next(state);
    Answer::json(&json!({
        "Code": "Success", "Type": "AWS-HMAC", "LastUpdated": in_seconds(-60),
        "AccessKeyId": key, "SecretAccessKey": "s", "Token": "t",
        "Expiration": in_seconds(seconds),
    }))
}
