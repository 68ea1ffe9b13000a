//! Stands in for AWS on 127.0.0.1.

use std::{
    io::{BufReader, Write},
    net::{TcpListener, TcpStream},
    process::{Command, Output},
    sync::{Arc, Mutex},
    thread,
};

use serde_json::Value;

use crate::{
    request::{Request, received},
    signature,
};

/// Stands for the id of the last `send-test` in answers.
pub(crate) const ID: &str = "ID-OF-THE-TEST";

/// What stands before that id in requests.
const TEST: &str = "secretrail-send-test-";

impl Request {
    /// A part of the scope of the signature: 0 is the date, 1 the region, 2 the service.
    pub(crate) fn scope(&self, part: usize) -> &str {
        let credential = self.header("authorization").split_once("Credential=");
        let scope = credential.map_or("", |(_, rest)| rest);
        scope.split('/').nth(part + 1).unwrap_or_default()
    }

    /// Service and operation, as in `sqs GetQueueUrl`; of REST services, method and path.
    pub(crate) fn operation(&self) -> String {
        let target = self.header("x-amz-target").rsplit('.').next();
        let action = self
            .body
            .split('&')
            .find_map(|field| field.strip_prefix("Action="));
        let name = action.or(target.filter(|target| !target.is_empty()));
        match name {
            Some(name) => format!("{} {name}", self.scope(2)),
            None => format!("{} {} {}", self.scope(2), self.method, self.target),
        }
    }
}

/// An answer: status and body.
#[derive(Clone, Debug)]
pub(crate) struct Answer(pub(crate) u16, pub(crate) String);

impl Answer {
    pub(crate) fn json(body: &Value) -> Self {
        Self(200, body.to_string())
    }

    /// The answer of a query service.
    pub(crate) fn xml(operation: &str, result: &str) -> Self {
        Self(
            200,
            format!(
                "<{operation}Response xmlns=\"http://example.com/doc/\"><{operation}Result>\
                 {result}</{operation}Result><ResponseMetadata><RequestId>1</RequestId>\
                 </ResponseMetadata></{operation}Response>"
            ),
        )
    }

    pub(crate) fn xml_error(status: u16, code: &str, message: &str) -> Self {
        Self(
            status,
            format!(
                "<ErrorResponse><Error><Type>Sender</Type><Code>{code}</Code><Message>{message}\
                 </Message></Error></ErrorResponse>"
            ),
        )
    }

    pub(crate) fn json_error(status: u16, code: &str, message: &str) -> Self {
        let body =
            serde_json::json!({"__type": format!("com.amazonaws#{code}"), "message": message});
        Self(status, body.to_string())
    }
}

/// Which requests it answers, and how often (`None` for always).
struct Canned {
    operation: String,
    /// What target or body of the request contain.
    about: String,
    answer: Answer,
    left: Option<usize>,
}

#[derive(Default)]
struct State {
    canned: Vec<Canned>,
    requests: Vec<Request>,
    wrong: Vec<String>,
}

/// AWS as the command sees it.
pub(crate) struct Cloud {
    url: String,
    state: Arc<Mutex<State>>,
}

impl Cloud {
    /// Answers nothing yet.
    pub(crate) fn new() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let url = format!("http://{}", listener.local_addr().expect("an address"));
        let state = Arc::new(Mutex::new(State::default()));
        let shared = Arc::clone(&state);
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let state = Arc::clone(&shared);
                thread::spawn(move || serve(stream, &state));
            }
        });
        Self { url, state }
    }

    /// Answers an operation whose target or body contains a text; counts before earlier answers.
    pub(crate) fn answer(&self, operation: &str, about: &str, answer: Answer) -> &Self {
        self.canned(operation, about, answer, None)
    }

    /// Answers so many times.
    pub(crate) fn answer_times(&self, operation: &str, answer: Answer, times: usize) -> &Self {
        self.canned(operation, "", answer, Some(times))
    }

    /// Answers so many times, if target or body contain a text.
    pub(crate) fn answer_about_times(
        &self,
        operation: &str,
        about: &str,
        answer: Answer,
        times: usize,
    ) -> &Self {
        self.canned(operation, about, answer, Some(times))
    }

    fn canned(&self, operation: &str, about: &str, answer: Answer, left: Option<usize>) -> &Self {
        let canned = Canned {
            operation: operation.to_owned(),
            about: about.to_owned(),
            answer,
            left,
        };
        self.state.lock().expect("state").canned.push(canned);
        self
    }

    pub(crate) fn requests(&self) -> Vec<Request> {
        self.state.lock().expect("state").requests.clone()
    }

    /// The requests of an operation.
    pub(crate) fn asked(&self, operation: &str) -> Vec<Request> {
        let requests = self.requests().into_iter();
        requests
            .filter(|request| request.operation() == operation)
            .collect()
    }

    /// The command, with nothing of the environment of the tests.
    pub(crate) fn secretrail(&self, words: &str) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_secretrail"));
        command
            .env_clear()
            .env("HOME", "/nonexistent")
            .env("AWS_ENDPOINT_URL", &self.url)
            .env("AWS_REGION", "eu-west-1")
            .env("AWS_ACCESS_KEY_ID", "AKIATEST0001")
            .env("AWS_SECRET_ACCESS_KEY", signature::SECRET)
            .env("AWS_EC2_METADATA_DISABLED", "true")
            .args(words.split_whitespace());
        command
    }

    pub(crate) fn url(&self) -> &str {
        &self.url
    }

    /// Exit code, standard output and standard error. Every request must have been answered and
    /// signed.
    pub(crate) fn run(&self, words: &str) -> (i32, String, String) {
        let ran = output(&mut self.secretrail(words));
        let wrong = &self.state.lock().expect("state").wrong;
        assert!(wrong.is_empty(), "{wrong:#?}\n{}", ran.2);
        ran
    }
}

/// Exit code, standard output and standard error of a command.
pub(crate) fn output(command: &mut Command) -> (i32, String, String) {
    let Output {
        status,
        stdout,
        stderr,
    } = command.output().expect("runs");
    let text = |bytes| String::from_utf8(bytes).expect("UTF-8");
    (status.code().expect("a code"), text(stdout), text(stderr))
}

fn serve(stream: TcpStream, state: &Mutex<State>) {
    let mut reader = BufReader::new(stream.try_clone().expect("a socket"));
    while let Some(request) = received(&mut reader) {
        let answer = {
            let mut state = state.lock().expect("state");
            // The SDK signs requests to S3 itself.
            if request.scope(2) != "s3" && !signature::is_right(&request) {
                state.wrong.push(format!("not signed: {request:?}"));
            }
            state.requests.push(request.clone());
            answer(&request, &mut state)
        };
        if send(&stream, &answer).is_err() {
            return;
        }
    }
}

fn answer(request: &Request, state: &mut State) -> Answer {
    let operation = request.operation();
    let found = state.canned.iter_mut().rev().find(|canned| {
        canned.left != Some(0)
            && operation.starts_with(&canned.operation)
            && (request.body.contains(&canned.about) || request.target.contains(&canned.about))
    });
    let Some(found) = found else {
        state
            .wrong
            .push(format!("not answered: {operation} {}", request.body));
        return Answer(400, String::new());
    };
    found.left = found.left.map(|left| left - 1);
    let Answer(status, body) = found.answer.clone();
    let mut tests = state.requests.iter().rev();
    let id = tests.find_map(|request| request.body.split_once(TEST)?.1.get(..12));
    Answer(status, body.replace(ID, id.unwrap_or_default()))
}

fn send(mut stream: &TcpStream, Answer(status, body): &Answer) -> std::io::Result<()> {
    // Of a HEAD request, the body stands for the headers.
    let answer = match body.strip_prefix("HEAD ") {
        Some(headers) => format!("HTTP/1.1 {status} X\r\n{headers}\r\n"),
        None => format!(
            "HTTP/1.1 {status} X\r\ncontent-length: {}\r\n\r\n{body}",
            body.len()
        ),
    };
    stream.write_all(answer.as_bytes())
}
