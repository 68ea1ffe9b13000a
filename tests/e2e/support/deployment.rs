//! What a deployment has, on stand-ins: a bucket for logs, a table for state, a topic for alerts,
//! and a queue that hears it.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::atomic::{AtomicUsize, Ordering},
};

use serde_json::{Value, json};

use crate::{
    cloud::{LOCAL_ACCOUNT, LOCAL_REGION, config, make_table, runtime},
    http::{Exchange, send},
    local::Server,
};

/// The stand-ins.
pub struct Cloud {
    /// S3, SQS, SNS.
    pub stack: Server,
    /// DynamoDB.
    pub dynamodb: Server,
    names: AtomicUsize,
}

/// The things of one deployment.
#[derive(Debug, Clone)]
pub struct Deployment {
    stack: String,
    /// Bucket of the logs.
    pub bucket: String,
    /// Table of the state.
    pub table: String,
    /// Topic of the alerts.
    pub topic: String,
    /// Queue that the topic delivers to.
    queue: String,
}

impl Cloud {
    /// Starts them.
    #[must_use]
    pub fn start() -> Self {
        Self {
            stack: Server::stack(),
            dynamodb: Server::dynamodb(),
            names: AtomicUsize::new(0),
        }
    }

    /// Makes a deployment of its own.
    #[must_use]
    pub fn deploy(&self) -> Deployment {
        self.deploy_with("")
    }

    /// Makes a deployment with a FIFO topic.
    #[must_use]
    pub fn deploy_fifo(&self) -> Deployment {
        self.deploy_with(".fifo")
    }

    fn deploy_with(&self, suffix: &str) -> Deployment {
        let name = format!("run{}", self.names.fetch_add(1, Ordering::Relaxed));
        let stack = self.stack.url.clone();
        let fifo = if suffix.is_empty() {
            json!({})
        } else {
            json!({"FifoQueue": "true"})
        };
        let queue = sqs(
            &stack,
            "CreateQueue",
            &json!({"QueueName": format!("{name}{suffix}"), "Attributes": fifo}),
        );
        let queue = queue["QueueUrl"]
            .as_str()
            .expect("a queue has a URL")
            .to_owned();
        let fifo = if suffix.is_empty() {
            ""
        } else {
            "&Attributes.entry.1.key=FifoTopic&Attributes.entry.1.value=true"
        };
        sns(
            &stack,
            &format!("Action=CreateTopic&Name={name}{suffix}{fifo}"),
        );
        let topic = format!("arn:aws:sns:{LOCAL_REGION}:{LOCAL_ACCOUNT}:{name}{suffix}");
        let endpoint = format!("arn:aws:sqs:{LOCAL_REGION}:{LOCAL_ACCOUNT}:{name}{suffix}");
        sns(
            &stack,
            &format!(
                "Action=Subscribe&TopicArn={topic}&Protocol=sqs&Endpoint={endpoint}\
                 &Attributes.entry.1.key=RawMessageDelivery&Attributes.entry.1.value=true"
            ),
        );
        s3(&stack, "PUT", &format!("/{name}"), Vec::new());
        runtime().block_on(make_table(
            &config(&self.dynamodb.url),
            &format!("{name}-state"),
        ));
        Deployment {
            stack,
            bucket: name.clone(),
            table: format!("{name}-state"),
            topic,
            queue,
        }
    }
}

impl Deployment {
    /// Puts an object into the bucket.
    pub fn put(&self, key: &str, bytes: &[u8]) {
        s3(
            &self.stack,
            "PUT",
            &format!("/{}/{key}", self.bucket),
            bytes.to_vec(),
        );
    }

    /// Deletes an object of the bucket.
    pub fn delete(&self, key: &str) {
        let path = format!("/{}/{key}", self.bucket);
        s3(&self.stack, "DELETE", &path, Vec::new());
    }

    /// What has been published since it was last asked for: the bodies by the ids of their alerts.
    #[must_use]
    pub fn published(&self) -> BTreeMap<String, Vec<Value>> {
        let mut found: BTreeMap<String, Vec<Value>> = BTreeMap::new();
        let ask = json!({"QueueUrl": self.queue, "MaxNumberOfMessages": 10, "MessageAttributeNames": ["All"]});
        loop {
            let answer = sqs(&self.stack, "ReceiveMessage", &ask);
            let messages = answer["Messages"].as_array().cloned().unwrap_or_default();
            if messages.is_empty() {
                return found;
            }
            for message in messages {
                let body: Value = serde_json::from_str(message["Body"].as_str().unwrap())
                    .expect("the body is JSON");
                let id = body["id"]
                    .as_str()
                    .or(body["finding_info"]["uid"].as_str())
                    .expect("it has an id")
                    .to_owned();
                found.entry(id).or_default().push(body);
                let receipt =
                    json!({"QueueUrl": self.queue, "ReceiptHandle": message["ReceiptHandle"]});
                sqs(&self.stack, "DeleteMessage", &receipt);
            }
        }
    }

    /// What was published of one schema, by id.
    #[must_use]
    pub fn of_schema(
        published: &BTreeMap<String, Vec<Value>>,
        schema: &str,
    ) -> BTreeMap<String, Vec<Value>> {
        let mut found: BTreeMap<String, Vec<Value>> = BTreeMap::new();
        for (id, bodies) in published {
            let of_it = bodies.iter().filter(|body| body["schema"] == schema);
            let of_it: Vec<Value> = of_it.cloned().collect();
            if !of_it.is_empty() {
                found.insert(id.clone(), of_it);
            }
        }
        found
    }

    /// The ids of the published incidents, and of those that became parts of them.
    #[must_use]
    pub fn incident_ids(published: &BTreeMap<String, Vec<Value>>) -> BTreeSet<String> {
        let incidents = Self::of_schema(published, "secretrail.incident/1");
        let merged = incidents
            .values()
            .flatten()
            .flat_map(|body| body["merged"].as_array().unwrap())
            .map(|id| id.as_str().unwrap().to_owned());
        merged.chain(incidents.keys().cloned()).collect()
    }

    /// The ids of the published incidents that stand: that became no part of another one, and were
    /// not withdrawn, after they were opened for the last time.
    #[must_use]
    pub fn standing(published: &BTreeMap<String, Vec<Value>>) -> BTreeSet<String> {
        let incidents = Self::of_schema(published, "secretrail.incident/1");
        let merged: BTreeSet<&str> = incidents
            .values()
            .flatten()
            .flat_map(|body| body["merged"].as_array().unwrap())
            .map(|id| id.as_str().unwrap())
            .collect();
        let stands = |bodies: &&Vec<Value>| {
            let last = bodies
                .iter()
                .max_by_key(|body| body["news"]["message"].as_u64());
            let kind = last.unwrap()["news"]["kind"].as_str().unwrap();
            !["merged", "withdrawn"].contains(&kind)
        };
        incidents
            .iter()
            .filter(|(id, bodies)| stands(bodies) && !merged.contains(id.as_str()))
            .map(|(id, _)| id.clone())
            .collect()
    }

    /// Settings of a function that works on it through a proxy, or directly.
    #[must_use]
    pub fn settings(&self, endpoint: &str) -> Vec<(&'static str, String)> {
        vec![
            ("AWS_ENDPOINT_URL", endpoint.to_owned()),
            ("SECRETRAIL_TABLE", self.table.clone()),
            ("SECRETRAIL_TOPICS", self.topic.clone()),
            ("SECRETRAIL_S3_PATH_STYLE", "true".to_owned()),
            ("SECRETRAIL_ALLOWED_LATENESS", "1s".to_owned()),
            ("SECRETRAIL_CALL_TIMEOUT", "1s".to_owned()),
            ("SECRETRAIL_LEASE", "1s".to_owned()),
        ]
    }

    /// A message of a queue about objects of the bucket, as S3 sends it.
    #[must_use]
    pub fn message(&self, id: &str, keys: &[&str]) -> Value {
        let record = |key: &&str| {
            json!({"eventSource": "aws:s3", "eventName": "ObjectCreated:Put",
                   "s3": {"bucket": {"name": self.bucket}, "object": {"key": encoded(key), "eTag": format!("etag-of-{key}")}}})
        };
        let body = json!({"Records": keys.iter().map(record).collect::<Vec<_>>()}).to_string();
        json!({"eventSource": "aws:sqs", "messageId": id, "body": body})
    }
}

/// A key as S3 writes it in notifications.
fn encoded(key: &str) -> String {
    key.replace('%', "%25")
        .replace('+', "%2B")
        .replace(' ', "+")
        .replace('=', "%3D")
}

fn authorization(service: &str) -> (String, String) {
    let scope = format!("test/20260101/{LOCAL_REGION}/{service}/aws4_request");
    (
        "authorization".to_owned(),
        format!("AWS4-HMAC-SHA256 Credential={scope}, SignedHeaders=host, Signature=0"),
    )
}

fn must(url: &str, request: &Exchange) -> Exchange {
    let answer = send(url, request).unwrap_or_else(|error| panic!("{}: {error}", request.start));
    assert!(
        answer.status() < 300,
        "{}: {} {}",
        request.start,
        answer.start,
        answer.text()
    );
    answer
}

/// Calls SQS.
pub fn sqs(url: &str, operation: &str, input: &Value) -> Value {
    json_call(url, "sqs", &format!("AmazonSQS.{operation}"), input)
}

/// Calls an operation of a service that takes JSON.
pub fn json_call(url: &str, service: &str, target: &str, input: &Value) -> Value {
    let headers = vec![
        ("host".to_owned(), "localhost".to_owned()),
        ("x-amz-target".to_owned(), target.to_owned()),
        (
            "content-type".to_owned(),
            "application/x-amz-json-1.0".to_owned(),
        ),
        authorization(service),
    ];
    let request = Exchange {
        start: "POST / HTTP/1.1".to_owned(),
        headers,
        body: input.to_string().into_bytes(),
    };
    let answer = must(url, &request).text();
    serde_json::from_str(&answer).unwrap_or(Value::Null)
}

/// Calls an operation of a service that takes JSON at a path; `null` is no body.
pub fn rest(url: &str, service: &str, method: &str, path: &str, input: &Value) -> Value {
    let headers = vec![
        ("host".to_owned(), "localhost".to_owned()),
        ("content-type".to_owned(), "application/json".to_owned()),
        authorization(service),
    ];
    let body = match input {
        Value::Null => Vec::new(),
        input => input.to_string().into_bytes(),
    };
    let request = Exchange {
        start: format!("{method} {path} HTTP/1.1"),
        headers,
        body,
    };
    let answer = must(url, &request).text();
    serde_json::from_str(&answer).unwrap_or(Value::Null)
}

/// Calls SNS.
pub fn sns(url: &str, form: &str) -> String {
    self::form(url, "sns", form, "2010-03-31")
}

/// Calls a service that takes forms.
pub fn form(url: &str, service: &str, form: &str, version: &str) -> String {
    let headers = vec![
        ("host".to_owned(), "localhost".to_owned()),
        (
            "content-type".to_owned(),
            "application/x-www-form-urlencoded".to_owned(),
        ),
        authorization(service),
    ];
    let body = format!("{form}&Version={version}").into_bytes();
    must(
        url,
        &Exchange {
            start: "POST / HTTP/1.1".to_owned(),
            headers,
            body,
        },
    )
    .text()
}

/// Calls a function, and gives its answer.
pub fn invoke(url: &str, function: &str, event: &Value) -> String {
    let headers = vec![
        ("host".to_owned(), "localhost".to_owned()),
        authorization("lambda"),
    ];
    let start = format!("POST /2015-03-31/functions/{function}/invocations HTTP/1.1");
    must(
        url,
        &Exchange {
            start,
            headers,
            body: event.to_string().into_bytes(),
        },
    )
    .text()
}

/// Calls S3.
pub fn s3(url: &str, method: &str, path: &str, body: Vec<u8>) -> Exchange {
    let path = path
        .replace('%', "%25")
        .replace(' ', "%20")
        .replace('+', "%2B");
    let headers = vec![
        ("host".to_owned(), "localhost".to_owned()),
        authorization("s3"),
    ];
    must(
        url,
        &Exchange {
            start: format!("{method} {path} HTTP/1.1"),
            headers,
            body,
        },
    )
}
