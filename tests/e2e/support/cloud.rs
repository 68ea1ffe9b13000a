//! Clients of a stand-in for AWS, and the things that a deployment has.

use std::{sync::Arc, time::Duration};

use aws_config::{BehaviorVersion, Region, SdkConfig};
use aws_sdk_dynamodb::types::{
    AttributeDefinition, BillingMode, KeySchemaElement, KeyType, ScalarAttributeType,
};
use secretrail_aws::{
    dynamodb::{DynamoStore, Retention},
    retry::RetryPolicy,
};
use secretrail_engine::{outbox::Destination, state::contract, time::EventTime};

/// The account of the stand-ins.
pub const LOCAL_ACCOUNT: &str = "000000000000";
/// Their region.
pub const LOCAL_REGION: &str = "us-east-1";

/// Few and short waits.
pub const QUICK: RetryPolicy = RetryPolicy {
    attempts: 12,
    base: Duration::from_millis(5),
    cap: Duration::from_millis(50),
};

/// A runtime for one test.
#[must_use]
pub fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .expect("a runtime starts")
}

/// Settings of clients of a stand-in.
#[must_use]
pub fn config(url: &str) -> SdkConfig {
    SdkConfig::builder()
        .behavior_version(BehaviorVersion::latest())
        .region(Region::new(LOCAL_REGION))
        .endpoint_url(url)
        .credentials_provider(aws_sdk_dynamodb::config::SharedCredentialsProvider::new(
            aws_sdk_dynamodb::config::Credentials::new("test", "test", None, None, "tests"),
        ))
        .build()
}

/// Makes a table for state.
pub async fn make_table(config: &SdkConfig, name: &str) {
    let attribute = |name: &str| {
        AttributeDefinition::builder()
            .attribute_name(name)
            .attribute_type(ScalarAttributeType::S)
            .build()
            .unwrap()
    };
    let key = |name: &str, kind| {
        KeySchemaElement::builder()
            .attribute_name(name)
            .key_type(kind)
            .build()
            .unwrap()
    };
    aws_sdk_dynamodb::Client::new(config)
        .create_table()
        .table_name(name)
        .billing_mode(BillingMode::PayPerRequest)
        .attribute_definitions(attribute("pk"))
        .attribute_definitions(attribute("sk"))
        .key_schema(key("pk", KeyType::Hash))
        .key_schema(key("sk", KeyType::Range))
        .send()
        .await
        .unwrap();
}

/// A store in a table, with the destinations of the contract.
#[must_use]
pub fn store(config: &SdkConfig, table: &str) -> DynamoStore {
    store_for(config, table, contract::destinations())
}

/// A store in a table, for alerts to these destinations.
#[must_use]
pub fn store_for(config: &SdkConfig, table: &str, destinations: Vec<Destination>) -> DynamoStore {
    let client = aws_sdk_dynamodb::Client::new(config);
    let clock = Arc::new(|| EventTime(1_790_000_000));
    let kept = Retention::default();
    DynamoStore::new(client, table.to_owned(), kept, QUICK, clock, destinations)
}
