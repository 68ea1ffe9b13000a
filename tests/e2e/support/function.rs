//! The real `bootstrap`, run by a Lambda runtime API of our own: events go in, answers come out,
//! and it can be killed.
//!
//! Source: AWS Lambda developer guide, "Using the Lambda runtime API", checked 2026-11.

use std::{
    io::{BufRead, BufReader, Write},
    net::{TcpListener, TcpStream},
    process::{Child, Command, Stdio},
    sync::{
        Arc, Mutex,
        mpsc::{Receiver, RecvTimeoutError, Sender, channel},
    },
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use serde_json::Value;

use crate::{http::Exchange, memory::MemoryLimit};

/// The memory of the function as `infra/template.yaml` sets it, in MiB.
pub const MEMORY_MIB: u64 = 512;

/// How an invocation ended.
#[derive(Debug, Clone, PartialEq)]
pub enum Ended {
    /// With an answer.
    Answer(Value),
    /// With an error.
    Error(Value),
    /// The process is gone.
    Died,
}

/// An event on its way: its body, and the time that the function has for it.
type Event = (String, Duration);

/// A process of the function.
pub struct Function {
    child: Arc<Mutex<Child>>,
    events: Sender<Event>,
    answers: Mutex<Receiver<Ended>>,
    printed: Arc<Mutex<String>>,
    /// What kills it when it takes more memory than the template gives it. None where this machine
    /// lets the test make none: then only [`peak_bytes`](Self::peak_bytes) tells.
    _limit: Option<MemoryLimit>,
    /// From the start of the process to its first question for an event.
    pub init: Duration,
}

impl Function {
    /// Starts the binary with these settings and waits until it asks for its first event.
    ///
    /// # Errors
    ///
    /// It ended before; the text is what it printed.
    pub fn start(binary: &str, settings: &[(&str, String)]) -> Result<Self, String> {
        let listener = TcpListener::bind("127.0.0.1:0").map_err(|error| error.to_string())?;
        let api = listener.local_addr().map_err(|error| error.to_string())?;
        let (events, queue) = channel::<Event>();
        let (answer, answers) = channel();
        let (ready, is_ready) = channel();
        let queue = Arc::new(Mutex::new(queue));
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let (queue, answer, ready) = (queue.clone(), answer.clone(), ready.clone());
                std::thread::spawn(move || serve(stream, &queue, &answer, &ready).ok());
            }
        });
        let started = Instant::now();
        let limit = MemoryLimit::of(MEMORY_MIB * 1024 * 1024);
        let mut command = command(binary, limit.as_ref());
        command
            .envs(settings.iter().map(|(name, value)| (*name, value.as_str())))
            .env("AWS_LAMBDA_RUNTIME_API", api.to_string());
        let child = command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .map_err(|error| error.to_string())?;
        let child = Arc::new(Mutex::new(child));
        let output = child.lock().ok().and_then(|mut child| child.stdout.take());
        let printed = Arc::new(Mutex::new(String::new()));
        let log = printed.clone();
        let reader = std::thread::spawn(move || {
            for line in output
                .map(BufReader::new)
                .into_iter()
                .flat_map(BufRead::lines)
                .map_while(Result::ok)
            {
                if let Ok(mut log) = log.lock() {
                    log.push_str(&line);
                    log.push('\n');
                }
            }
        });
        let until = started + Duration::from_secs(20);
        loop {
            match is_ready.recv_timeout(Duration::from_millis(20)) {
                Ok(()) => {
                    let (init, answers) = (started.elapsed(), Mutex::new(answers));
                    return Ok(Self {
                        child,
                        events,
                        answers,
                        printed,
                        _limit: limit,
                        init,
                    });
                }
                Err(RecvTimeoutError::Timeout) if Instant::now() < until => {
                    let ended = child
                        .lock()
                        .map(|mut child| child.try_wait())
                        .ok()
                        .and_then(Result::ok)
                        .flatten();
                    if ended.is_some() {
                        reader.join().ok();
                        return Err(printed.lock().map(|text| text.clone()).unwrap_or_default());
                    }
                }
                Err(_) => return Err("it does not ask for an event".to_owned()),
            }
        }
    }

    /// Sends an event and waits for what becomes of it.
    #[must_use]
    pub fn invoke(&self, event: &Value, time: Duration) -> Ended {
        let answers = self.answers.lock().expect("nothing panicked");
        while answers.try_recv().is_ok() {}
        if self.events.send((event.to_string(), time)).is_err() {
            return Ended::Died;
        }
        let until = Instant::now() + time + Duration::from_secs(30);
        while Instant::now() < until {
            match answers.recv_timeout(Duration::from_millis(20)) {
                Ok(ended) => return ended,
                Err(RecvTimeoutError::Disconnected) => return Ended::Died,
                Err(RecvTimeoutError::Timeout) if !self.is_alive() => return Ended::Died,
                Err(RecvTimeoutError::Timeout) => {}
            }
        }
        Ended::Died
    }

    /// The lines that it has printed so far.
    #[must_use]
    pub fn log(&self) -> Vec<Value> {
        // The answer may be here before the last line.
        std::thread::sleep(Duration::from_millis(50));
        let text = self
            .printed
            .lock()
            .map(|text| text.clone())
            .unwrap_or_default();
        text.lines()
            .map(|line| serde_json::from_str(line).unwrap_or_else(|_| panic!("not JSON: {line}")))
            .collect()
    }

    fn is_alive(&self) -> bool {
        self.child
            .lock()
            .is_ok_and(|mut child| matches!(child.try_wait(), Ok(None)))
    }

    /// What kills the process at once, from any thread.
    pub fn killer(&self) -> impl Fn() + Send + Sync + use<> {
        let child = self.child.clone();
        move || {
            if let Ok(mut child) = child.lock() {
                child.kill().ok();
            }
        }
    }

    /// The most memory that the process has had, in bytes.
    #[must_use]
    pub fn peak_bytes(&self) -> u64 {
        let id = self.child.lock().map(|child| child.id()).unwrap_or(0);
        let status = std::fs::read_to_string(format!("/proc/{id}/status")).unwrap_or_default();
        let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
        line.and_then(|line| line.trim().trim_end_matches(" kB").parse::<u64>().ok())
            .unwrap_or(0)
            * 1024
    }
}

/// The binary within its limit, with what Lambda sets.
fn command(binary: &str, limit: Option<&MemoryLimit>) -> Command {
    let mut command = limit.map_or_else(|| Command::new(binary), |limit| limit.command(binary));
    command.env_clear().envs([
        ("AWS_LAMBDA_FUNCTION_NAME", "secretrail-under-test"),
        (
            "AWS_LAMBDA_FUNCTION_MEMORY_SIZE",
            MEMORY_MIB.to_string().as_str(),
        ),
        ("AWS_LAMBDA_FUNCTION_VERSION", "$LATEST"),
        ("AWS_ACCESS_KEY_ID", "test"),
        ("AWS_SECRET_ACCESS_KEY", "test"),
        ("AWS_REGION", crate::cloud::LOCAL_REGION),
    ]);
    command
}

impl Drop for Function {
    fn drop(&mut self) {
        if let Ok(mut child) = self.child.lock() {
            child.kill().ok();
            child.wait().ok();
        }
    }
}

fn serve(
    mut stream: TcpStream,
    queue: &Mutex<Receiver<Event>>,
    answer: &Sender<Ended>,
    ready: &Sender<()>,
) -> std::io::Result<()> {
    stream.set_nodelay(true)?;
    let Some(request) = Exchange::read(&mut stream)? else {
        return Ok(());
    };
    let reply = |status: &str, headers: Vec<(String, String)>, body: Vec<u8>| {
        Exchange {
            start: format!("HTTP/1.1 {status}"),
            headers,
            body,
        }
        .bytes()
    };
    let path = request
        .start
        .split(' ')
        .nth(1)
        .unwrap_or_default()
        .to_owned();
    if path.ends_with("/invocation/next") {
        ready.send(()).ok();
        let next = queue.lock().expect("nothing panicked").recv();
        let Ok((body, time)) = next else {
            return Ok(());
        };
        let deadline = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .unwrap_or_default()
            + time;
        let headers = [
            ("lambda-runtime-aws-request-id", "request".to_owned()),
            (
                "lambda-runtime-deadline-ms",
                deadline.as_millis().to_string(),
            ),
            (
                "lambda-runtime-invoked-function-arn",
                "arn:aws:lambda:us-east-1:000000000000:function:f".to_owned(),
            ),
            ("content-type", "application/json".to_owned()),
        ];
        let headers = headers
            .into_iter()
            .map(|(name, value)| (name.to_owned(), value))
            .collect();
        return stream.write_all(&reply("200 OK", headers, body.into_bytes()));
    }
    let body: Value = serde_json::from_slice(&request.body).unwrap_or(Value::Null);
    stream.write_all(&reply("202 Accepted", Vec::new(), b"{}".to_vec()))?;
    let ended = if path.ends_with("/response") {
        Ended::Answer(body)
    } else {
        Ended::Error(body)
    };
    answer.send(ended).ok();
    Ok(())
}
