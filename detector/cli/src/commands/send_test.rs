//! `send-test`: a made-up log file through a deployment, from the bucket to every destination, and
//! how long each step took. What it creates, it removes.

mod listener;
mod object;

use std::{
    collections::BTreeSet,
    sync::Arc,
    thread,
    time::{Duration, Instant},
};

use secretrail_aws::names::{ALONE, DETAILS, STATE, object};
use secretrail_engine::{ids::ArnParts, sanitize};

use self::{listener::TestQueue, object::TestFile};
use crate::{
    args::deployment::SendTestArgs,
    aws_api::AwsApi,
    deployment::{Deployment, aws_of, bucket::TrailBucket, logical, settings, table::StateTable},
    exit,
    host::{ProcessHost, RunFailure, print, say},
    input::aws::{Connection, connect_to},
};

/// Pause between two looks.
const PAUSE: Duration = Duration::from_millis(200);

/// How often it is looked, after the alert, whether the function has noted the object.
const NOTE_TRIES: usize = 25;

/// A test in progress.
struct SentTest<'t> {
    api: &'t AwsApi,
    stack: &'t Deployment,
    table: StateTable<'t>,
    bucket: TrailBucket,
    file: TestFile,
    wait: Duration,
    started: Instant,
}

/// Runs the command and returns its exit code.
///
/// # Errors
///
/// [`RunFailure`]: the run ended early.
pub fn run(args: &SendTestArgs, host: &mut ProcessHost) -> Result<u8, RunFailure> {
    let connection = connect_to(&aws_of(&args.stack))?;
    match prepared(&connection, args) {
        Ok((api, stack, topics)) => {
            let bucket = TrailBucket::new(connection, stack.parameter("TrailBucket"));
            // Two tests of one second are still two tests.
            let seed = format!("{} {}", host.now, std::process::id());
            let test = SentTest {
                table: StateTable::new(&api, stack.physical(logical::TABLE).unwrap_or_default()),
                file: TestFile::new(&stack, host.now, &seed),
                api: &api,
                stack: &stack,
                bucket,
                wait: Duration::from_secs(args.wait.unsigned_abs()),
                started: Instant::now(),
            };
            test.run(&topics, host)
        }
        Err(why) => Ok(not_tested(&why, host)),
    }
}

/// The services, the stack, and the topics that can be listened to.
fn prepared(
    connection: &Arc<Connection>,
    args: &SendTestArgs,
) -> Result<(AwsApi, Deployment, Vec<String>), String> {
    let api = AwsApi::new(Arc::clone(connection)).map_err(|error| error.to_string())?;
    let stack = Deployment::named(&api, &args.stack).map_err(|error| error.to_string())?;
    let name = stack.physical(logical::DETECTOR).unwrap_or_default();
    let found = settings::configuration(&api, name).map_err(|error| error.to_string())?;
    let variables = settings::variables(&found)?;
    let topics = variables
        .get("SECRETRAIL_TOPICS")
        .map_or("", String::as_str);
    let topics = settings::topics(topics).into_iter().map(str::to_owned);
    let topics: Vec<String> = topics.collect();
    match topics.is_empty() {
        true => Err("the function has no topics; see secretrail doctor".to_owned()),
        false => Ok((api, stack, topics)),
    }
}

fn not_tested(why: &str, host: &mut ProcessHost) -> u8 {
    say(host, &format!("secretrail: {}\n", sanitize::line(why)));
    exit::NOT_CHECKED
}

impl SentTest<'_> {
    /// Makes the test, and removes what it has created, whatever comes of it.
    fn run(mut self, topics: &[String], host: &mut ProcessHost) -> Result<u8, RunFailure> {
        let created = TestQueue::create(self.api, self.stack, &self.file.id, topics);
        let (mut queue, arn) = match created {
            Ok(created) => created,
            Err(error) => return Ok(not_tested(&error.to_string(), host)),
        };
        self.subscribe(&mut queue, &arn, topics, host)?;
        self.started = Instant::now();
        let key = self.file.key.clone();
        let put = self.bucket.put(&key, &self.file.bytes, host.now);
        let (result, mut left) = match put {
            Ok(written) => {
                let place = format!("s3://{}/{key}", self.bucket.name);
                let result = self
                    .step("object", &format!("{place} is written"), host)
                    .and_then(|()| self.observe(&queue, host));
                let removed = self.bucket.delete(&key, written.version.as_deref());
                let left = removed.err().map(|error| format!("{place}: {error}"));
                (result, Vec::from_iter(left))
            }
            Err(error) => (Ok(not_tested(&error.to_string(), host)), Vec::new()),
        };
        left.extend(queue.remove(self.api));
        for what in &left {
            let text = sanitize::line(what);
            say(
                host,
                &format!("secretrail: not removed, delete it: {text}\n"),
            );
        }
        if left.is_empty() {
            self.step("removed", "object, queue and subscriptions", host)?;
        }
        result
    }

    fn subscribe(
        &self,
        queue: &mut TestQueue,
        arn: &str,
        topics: &[String],
        host: &mut ProcessHost,
    ) -> Result<(), RunFailure> {
        for topic in topics {
            // Only a FIFO queue may listen there.
            let why = match topic.ends_with(".fifo") {
                true => "a FIFO topic, not listened to".to_owned(),
                false => match queue.subscribe(self.api, topic, arn) {
                    Ok(()) => continue,
                    Err(error) => error.to_string(),
                },
            };
            self.step("skipped", &format!("{}: {why}", short(topic)), host)?;
        }
        Ok(())
    }

    /// Prints a step with the seconds since the object was written.
    fn step(&self, what: &str, text: &str, host: &mut ProcessHost) -> Result<(), RunFailure> {
        let secs = self.started.elapsed().as_secs_f64();
        print(
            host,
            &format!("{secs:>6.1} s  {what:<8} {}\n", sanitize::line(text)),
        )
    }

    /// Waits for the function and for the alert on each topic.
    fn observe(&self, queue: &TestQueue, host: &mut ProcessHost) -> Result<u8, RunFailure> {
        let mut waiting = queue.topics();
        if waiting.is_empty() {
            return Ok(not_tested("no topic could be listened to", host));
        }
        let mut is_read = false;
        while self.started.elapsed() < self.wait {
            if !is_read {
                is_read = self.is_read(host)?;
            }
            let heard = match queue.hear(self.api, &self.file.id) {
                Ok(heard) => heard,
                Err(error) => return Ok(not_tested(&error.to_string(), host)),
            };
            for message in heard {
                if waiting.remove(&message.topic) {
                    let text = format!("{}: {}", short(&message.topic), message.subject);
                    self.step("alert", &text, host)?;
                }
            }
            if waiting.is_empty() {
                self.await_note(is_read, host)?;
                return Ok(exit::DONE);
            }
            thread::sleep(PAUSE);
        }
        say(host, &self.missing(is_read, &waiting));
        Ok(exit::FINDINGS)
    }

    /// The function publishes alerts before it notes that it has read their object.
    fn await_note(&self, mut is_read: bool, host: &mut ProcessHost) -> Result<(), RunFailure> {
        for _ in 0..NOTE_TRIES {
            if is_read {
                break;
            }
            thread::sleep(PAUSE);
            is_read = self.is_read(host)?;
        }
        Ok(())
    }

    /// Whether the state table says that the function has read the object.
    fn is_read(&self, host: &mut ProcessHost) -> Result<bool, RunFailure> {
        let (bucket, key) = (&self.bucket.name, &self.file.key);
        let places = [(object(bucket, key), ALONE.to_owned())];
        // Without the permission, only the alert is waited for.
        let items = self.table.items(&places).unwrap_or_default();
        let Some(item) = items.into_values().next() else {
            return Ok(false);
        };
        let state = item.text(STATE).unwrap_or_default().to_owned();
        let details = item.text(DETAILS).unwrap_or_default();
        self.step(
            "noted",
            &format!("by the function as {state}: {details}"),
            host,
        )?;
        Ok(true)
    }

    fn missing(&self, is_read: bool, waiting: &BTreeSet<String>) -> String {
        let topics: Vec<&str> = waiting.iter().map(|topic| short(topic)).collect();
        let why = match is_read {
            true => {
                "the function has read the object; see whether your rules report reads by root, \
                 and the destinations in secretrail doctor"
            }
            false => "the function has not read the object; see secretrail doctor",
        };
        let secs = self.wait.as_secs();
        format!(
            "secretrail: no alert within {secs} s on {}: {why}\n",
            topics.join(", ")
        )
    }
}

fn short(arn: &str) -> &str {
    ArnParts::parse(arn).map_or(arn, |parts| parts.resource)
}
