//! Where alerts and incidents go: to topics, and to Security Hub.

use std::time::Duration;

use aws_types::SdkConfig;

use crate::{
    retry::RetryPolicy,
    security_hub::{self, SecurityHub},
    sns::{EntryError, Publication, Published, SnsSink, TopicDestination},
};

/// Publishes to all kinds of destinations.
#[derive(Debug, Clone)]
pub struct AlertSink {
    topics: SnsSink,
    security_hub: SecurityHub,
}

impl AlertSink {
    /// A sink with clients for all kinds; makes no calls yet. `call_timeout` is for one try.
    #[must_use]
    pub fn new(config: &SdkConfig, retry: RetryPolicy, call_timeout: Duration) -> Self {
        Self {
            topics: SnsSink::new(aws_sdk_sns::Client::new(config), retry),
            security_hub: SecurityHub::new(config, retry, call_timeout),
        }
    }

    /// Publishes messages to a destination, in their order, until it fails; the result of each.
    pub async fn publish(
        &self,
        destination: &TopicDestination,
        publications: &[Publication<'_>],
    ) -> Vec<Published> {
        if !security_hub::is_product(&destination.topic_arn) {
            return self.topics.publish(destination, publications).await;
        }
        let incidents = publications.iter().filter_map(|what| match what {
            Publication::Incident(incident) => Some(*incident),
            Publication::Alert(_) | Publication::Digest(_) => None,
        });
        let incidents: Vec<_> = incidents.collect();
        let imported = self
            .security_hub
            .import(&destination.topic_arn, &incidents)
            .await;
        let mut imported = imported.into_iter();
        let results = publications.iter().map(|what| match what {
            Publication::Incident(_) => imported.next().unwrap_or(Published::NotSent),
            // The settings allow neither for Security Hub.
            Publication::Alert(_) | Publication::Digest(_) => {
                Published::Refused(EntryError::Refused {
                    code: "NotAnIncident".to_owned(),
                    message: "Security Hub gets incidents".to_owned(),
                })
            }
        });
        results.collect()
    }
}
