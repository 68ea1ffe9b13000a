//! A proxy between a function and what stands in for AWS, which knows every call and can spoil each
//! of them.

use std::{
    io::Write,
    net::{TcpListener, TcpStream},
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use serde_json::{Value, json};

use crate::{
    http::{Exchange, send},
    units::Units,
};

/// A call of the function.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Call {
    /// Its place among all calls since the plan was made.
    pub index: usize,
    /// `dynamodb`, `s3`, `securityhub` or `sns`.
    pub service: &'static str,
    /// As in `PutItem`, `GetObject` or `PublishBatch`.
    pub operation: String,
    /// Path and query of its URL.
    pub path: String,
    /// Bytes of its body.
    pub bytes: usize,
    /// Its body; empty where it is no text.
    pub body: String,
}

impl Call {
    /// Whether it publishes to this topic.
    #[must_use]
    pub fn publishes_to(&self, topic_arn: &str) -> bool {
        let topic = format!("TopicArn={}&", topic_arn.replace(':', "%3A"));
        self.operation == "PublishBatch" && format!("{}&", self.body).contains(&topic)
    }
}

/// What happens to a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// Nothing.
    None,
    /// It fails with this status before anything is done.
    Refused(u16),
    /// It fails with this status and code before anything is done.
    Failed(u16, &'static str),
    /// It is throttled before anything is done.
    Throttled,
    /// It is done, and the answer is lost.
    AnswerLost,
    /// Nothing is done, and no answer comes for so many milliseconds.
    Hangs(u64),
    /// It is done, and half of the answer's body comes.
    Truncated,
    /// It is done, and after half of the answer's body nothing more comes for so many milliseconds.
    Stalls(u64),
}

/// Half of the time that the functions of the tests give a call.
const LATE: Duration = Duration::from_millis(500);

/// Decides what happens to a call.
pub type Plan = Box<dyn FnMut(&Call) -> Fault + Send>;

struct Shared {
    upstream: String,
    dynamodb: String,
    plan: Mutex<Plan>,
    calls: Mutex<Vec<Call>>,
    units: Mutex<Units>,
    findings: Mutex<Vec<Value>>,
    late: AtomicUsize,
    closed: AtomicBool,
}

/// The proxy. It listens on a free loopback port until it is dropped.
pub struct Proxy {
    /// Where functions find it.
    pub url: String,
    shared: Arc<Shared>,
}

impl Proxy {
    /// A proxy that spoils nothing yet.
    #[must_use]
    pub fn start(upstream: &str, dynamodb: &str) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port can be had");
        let url = format!(
            "http://{}",
            listener.local_addr().expect("it has an address")
        );
        let shared = Arc::new(Shared {
            upstream: upstream.to_owned(),
            dynamodb: dynamodb.to_owned(),
            plan: Mutex::new(Box::new(|_| Fault::None)),
            calls: Mutex::default(),
            units: Mutex::default(),
            findings: Mutex::default(),
            late: AtomicUsize::new(0),
            closed: AtomicBool::new(false),
        });
        let serving = shared.clone();
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                if serving.closed.load(Ordering::Relaxed) {
                    return;
                }
                let serving = serving.clone();
                // A function that is killed leaves its connections broken, and nobody misses them.
                std::thread::spawn(move || serving.serve(stream).ok());
            }
        });
        Self { url, shared }
    }

    /// Makes a new plan, counts from the beginning, and gives the calls that were made under the
    /// old one.
    pub fn plan(&self, plan: impl FnMut(&Call) -> Fault + Send + 'static) -> Vec<Call> {
        *self.shared.plan.lock().expect("no plan panicked") = Box::new(plan);
        std::mem::take(&mut *self.shared.calls.lock().expect("nothing panicked"))
    }

    /// What calls to DynamoDB have cost since this was last asked.
    #[must_use]
    pub fn take_units(&self) -> Units {
        std::mem::take(&mut *self.shared.units.lock().expect("nothing panicked"))
    }

    /// Findings that Security Hub got since this was last asked, in their order.
    ///
    /// # Panics
    ///
    /// A handler panicked.
    #[must_use]
    pub fn take_findings(&self) -> Vec<Value> {
        std::mem::take(&mut *self.shared.findings.lock().expect("nothing panicked"))
    }

    /// Publications since this was last asked whose answer came so late that the function may have
    /// given it up, and may have published once more: this machine had too much to do.
    #[must_use]
    pub fn take_late_publications(&self) -> usize {
        self.shared.late.swap(0, Ordering::Relaxed)
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.shared.closed.store(true, Ordering::Relaxed);
        // Wakes the listener, so that it sees that it is closed.
        TcpStream::connect(self.url.trim_start_matches("http://")).ok();
    }
}

impl Shared {
    fn count(&self, call: &Call, request: &Exchange, answer: &Exchange) {
        if call.service == "dynamodb" {
            let json =
                |exchange: &Exchange| serde_json::from_slice(&exchange.body).unwrap_or(Value::Null);
            let units = Units::of(&call.operation, &json(request), &json(answer));
            *self.units.lock().expect("nothing panicked") += units;
        }
    }

    /// The answer of what stands in for AWS: for Security Hub, which the emulator does not have, this
    /// itself, by the API reference of `BatchImportFindings`.
    fn answer(&self, call: &Call, upstream: &str, request: &Exchange) -> std::io::Result<Exchange> {
        if call.service != "securityhub" {
            return send(upstream, request);
        }
        let signature = request.header("authorization").unwrap_or_default();
        if !signature.contains("/securityhub/aws4_request") {
            return Ok(failure(
                call.service,
                403,
                "MissingAuthenticationTokenException",
            ));
        }
        let body: Value = serde_json::from_slice(&request.body).unwrap_or_default();
        let given = body["Findings"].as_array().cloned().unwrap_or_default();
        let (taken, refused): (Vec<Value>, Vec<Value>) = given.into_iter().partition(|finding| {
            let account = finding["AwsAccountId"].as_str().unwrap_or_default();
            let product = finding["ProductArn"].as_str().unwrap_or_default();
            product.ends_with(&format!(":{account}:product/{account}/default"))
        });
        let refused: Vec<Value> = refused
            .iter()
            .map(|finding| {
                json!({"Id": finding["Id"], "ErrorCode": "InvalidInput",
                    "ErrorMessage": "the finding is of another account"})
            })
            .collect();
        let answer = json!({"SuccessCount": taken.len(), "FailedCount": refused.len(),
            "FailedFindings": refused});
        self.findings
            .lock()
            .expect("nothing panicked")
            .extend(taken);
        Ok(Exchange {
            start: "HTTP/1.1 200 OK".to_owned(),
            headers: vec![("content-type".to_owned(), "application/json".to_owned())],
            body: answer.to_string().into_bytes(),
        })
    }

    fn serve(&self, mut stream: TcpStream) -> std::io::Result<()> {
        let begun = Instant::now();
        stream.set_nodelay(true)?;
        let Some(request) = Exchange::read(&mut stream)? else {
            return Ok(());
        };
        let (service, operation) = named(&request);
        let call = {
            let mut calls = self.calls.lock().expect("nothing panicked");
            let call = Call {
                index: calls.len(),
                service,
                operation,
                path: request
                    .start
                    .split(' ')
                    .nth(1)
                    .unwrap_or_default()
                    .to_owned(),
                bytes: request.body.len(),
                body: if service == "sns" {
                    request.text()
                } else {
                    String::new()
                },
            };
            calls.push(call.clone());
            call
        };
        let fault = (self.plan.lock().expect("no plan panicked"))(&call);
        let upstream = if service == "dynamodb" {
            &self.dynamodb
        } else {
            &self.upstream
        };
        match fault {
            Fault::None => {
                let answer = self.answer(&call, upstream, &request)?;
                self.count(&call, &request, &answer);
                let is_late = call.operation == "PublishBatch" && begun.elapsed() > LATE;
                self.late.fetch_add(usize::from(is_late), Ordering::Relaxed);
                stream.write_all(&answer.bytes())
            }
            Fault::Refused(status) => {
                stream.write_all(&failure(service, status, "InternalServerError").bytes())
            }
            Fault::Failed(status, code) => {
                stream.write_all(&failure(service, status, code).bytes())
            }
            Fault::Throttled => {
                let (status, code) = match service {
                    "dynamodb" => (400, "ProvisionedThroughputExceededException"),
                    "s3" => (503, "SlowDown"),
                    _ => (400, "Throttling"),
                };
                stream.write_all(&failure(service, status, code).bytes())
            }
            Fault::AnswerLost => self.answer(&call, upstream, &request).map(drop),
            Fault::Hangs(ms) => {
                std::thread::sleep(Duration::from_millis(ms));
                Ok(())
            }
            Fault::Truncated => half(upstream, &request, &mut stream),
            Fault::Stalls(ms) => {
                half(upstream, &request, &mut stream)?;
                std::thread::sleep(Duration::from_millis(ms));
                Ok(())
            }
        }
    }
}

/// Answers with half of the body.
fn half(upstream: &str, request: &Exchange, stream: &mut TcpStream) -> std::io::Result<()> {
    let answer = send(upstream, request)?;
    let bytes = answer.bytes();
    let kept = bytes.len() - answer.body.len().div_ceil(2);
    stream.write_all(bytes.get(..kept).unwrap_or_default())
}

/// Service and operation of a request.
fn named(request: &Exchange) -> (&'static str, String) {
    let target = request.header("x-amz-target").unwrap_or_default();
    if let Some(operation) = target.strip_prefix("DynamoDB_20120810.") {
        return ("dynamodb", operation.to_owned());
    }
    let form = request.text();
    let action = form
        .split('&')
        .find_map(|pair| pair.strip_prefix("Action="));
    if let Some(action) = action.filter(|_| request.start.starts_with("POST / ")) {
        return ("sns", action.to_owned());
    }
    if request.start.starts_with("POST /findings/import ") {
        return ("securityhub", "BatchImportFindings".to_owned());
    }
    let method = request.start.split(' ').next().unwrap_or_default();
    let list = request.start.contains("list-type=2");
    (
        "s3",
        if list {
            "ListObjectsV2".to_owned()
        } else {
            format!("{}Object", capital(method))
        },
    )
}

fn capital(word: &str) -> String {
    let mut letters = word.chars();
    letters
        .next()
        .into_iter()
        .chain(letters.flat_map(char::to_lowercase))
        .collect()
}

fn failure(service: &str, status: u16, code: &str) -> Exchange {
    let body = match service {
        "dynamodb" => {
            format!(r#"{{"__type":"com.amazonaws.dynamodb.v20120810#{code}","message":"spoiled"}}"#)
        }
        "securityhub" => format!(r#"{{"Code":"{code}","Message":"spoiled"}}"#),
        "s3" => format!("<Error><Code>{code}</Code><Message>spoiled</Message></Error>"),
        _ => format!(
            "<ErrorResponse><Error><Type>Receiver</Type><Code>{code}</Code><Message>spoiled</Message></Error></ErrorResponse>"
        ),
    };
    let kind = match service {
        "dynamodb" => "application/x-amz-json-1.0",
        "securityhub" => "application/json",
        _ => "text/xml",
    };
    let mut headers = vec![("content-type".to_owned(), kind.to_owned())];
    if service == "securityhub" {
        headers.push(("x-amzn-errortype".to_owned(), code.to_owned()));
    }
    Exchange {
        start: format!("HTTP/1.1 {status} Spoiled"),
        headers,
        body: body.into_bytes(),
    }
}
