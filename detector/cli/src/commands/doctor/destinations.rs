//! Who gets alerts and alarms: topics, their subscriptions, and destinations that fail.

use secretrail_aws::names::{DESTINATIONS, FAILURES, RETRY_AT, SK};
use secretrail_engine::{ids::ArnParts, time::EventTime};

use super::{Checkup, findings::first_of, function::KnownFunction};
use crate::{
    aws_api::{SECURITY_HUB, SNS, xml::XmlElement},
    deployment::logical,
    text::plural,
};

const ALERTS: &str = "subscribers";
const ALARMS: &str = "alarm mail";
const DESTINATION: &str = "destination";

/// Most names in a line.
const NAMED: usize = 5;

/// Most destinations that are looked up; the function accepts fewer.
const MOST: usize = 200;

/// Subscriptions of a topic.
#[derive(Default)]
struct Subscribers {
    confirmed: Vec<String>,
    pending: Vec<String>,
}

pub(super) fn check(checkup: &mut Checkup<'_>, function: &KnownFunction) {
    let topics = function.topics();
    let known = checkup.stack.outputs.get("AlertTopic").cloned();
    let topics: Vec<String> = match topics.is_empty() {
        // The settings may not be read, but the stack names its own topic.
        true => known.into_iter().collect(),
        false => topics.into_iter().map(str::to_owned).collect(),
    };
    for topic in &topics {
        if let Some(found) = subscribers(checkup, ALERTS, topic) {
            let name = short(topic);
            named(checkup, ALERTS, name, &found);
            if found.confirmed.is_empty() {
                let what = format!("nobody gets what is sent to {name}");
                checkup.findings.fail(ALERTS, what, subscribe(topic));
            }
        }
    }
    if let Some(topic) = checkup.stack.physical(logical::ALARMS).map(str::to_owned)
        && let Some(found) = subscribers(checkup, ALARMS, &topic)
    {
        named(checkup, ALARMS, short(&topic), &found);
        if found.confirmed.is_empty() {
            let what = "nobody gets the alarms about Secretrail itself";
            checkup.findings.warn(ALARMS, what, subscribe(&topic));
        }
    }
    if let Some(product) = function.product() {
        security_hub(checkup, product);
    }
    failing(checkup);
}

/// Whether Security Hub is enabled where findings are imported.
fn security_hub(checkup: &mut Checkup<'_>, product: &str) {
    let region = ArnParts::parse(product).map_or("", |parts| parts.region);
    let there = checkup.api.in_region(region);
    let answer = there.get(&SECURITY_HUB, "DescribeHub", "/accounts");
    // The code of an account that is not subscribed.
    if let Err(error) = &answer
        && error.denied().is_none()
        && ["InvalidAccessException", "ResourceNotFoundException"].contains(&error.code())
    {
        checkup.findings.fail(
            ALERTS,
            format!("Security Hub is not enabled in {region}: it takes no findings"),
            format!("aws securityhub enable-security-hub --region {region}"),
        );
    } else if checkup
        .findings
        .known(ALERTS, "Security Hub", answer)
        .is_some()
    {
        let what = format!("Security Hub in {region}: incidents are imported as findings");
        checkup.findings.ok(ALERTS, what);
    }
}

fn short(arn: &str) -> &str {
    ArnParts::parse(arn).map_or(arn, |parts| parts.resource)
}

fn subscribe(topic: &str) -> String {
    format!(
        "aws sns subscribe --topic-arn {topic} --protocol email --notification-endpoint ADDRESS, \
         and confirm the mail"
    )
}

fn subscribers(checkup: &mut Checkup<'_>, part: &'static str, topic: &str) -> Option<Subscribers> {
    let input = [("TopicArn", topic)];
    let region = ArnParts::parse(topic).map_or("", |parts| parts.region);
    // A topic of another region is asked there.
    let answer = match region == checkup.api.region() || region.is_empty() {
        true => checkup
            .api
            .query_pages(&SNS, "ListSubscriptionsByTopic", &input),
        false => {
            let there = checkup.api.in_region(region);
            there.query_pages(&SNS, "ListSubscriptionsByTopic", &input)
        }
    };
    let pages = checkup
        .findings
        .known(part, &format!("topic {topic}"), answer)?;
    let all = pages.iter().flat_map(|page| page.members("Subscriptions"));
    let mut found = Subscribers::default();
    for one in all {
        match one.text("SubscriptionArn") {
            Some("PendingConfirmation") => found.pending.push(name(one)),
            Some("Deleted") | None => {}
            Some(_) => found.confirmed.push(name(one)),
        }
    }
    Some(found)
}

/// Protocol and endpoint, as in `email ana@example.com`.
fn name(subscription: &XmlElement) -> String {
    let protocol = subscription.text_or_empty("Protocol");
    let endpoint = subscription.text_or_empty("Endpoint");
    format!("{protocol} {}", short(&endpoint))
}

fn named(checkup: &mut Checkup<'_>, part: &'static str, topic: &str, found: &Subscribers) {
    let findings = &mut checkup.findings;
    if !found.confirmed.is_empty() {
        let names = first_of(&found.confirmed, NAMED);
        findings.ok(part, format!("{topic}: {names}"));
    }
    for pending in found.pending.iter().take(NAMED) {
        findings.warn(
            part,
            format!("{topic}: {pending} is not confirmed, and gets nothing"),
            "confirm by the link in the mail (after three days, subscribe again)",
        );
    }
    if found.pending.len() > NAMED {
        let more = plural((found.pending.len() - NAMED) as u64, "more subscription");
        findings.warn(
            part,
            format!("{topic}: {more} not confirmed"),
            "confirm them",
        );
    }
}

/// Destinations that have failed again and again, from the state of the function.
fn failing(checkup: &mut Checkup<'_>) {
    let answer = checkup.table.partition(DESTINATIONS, "0", MOST, false);
    let what = "states of destinations";
    let Some(states) = checkup.findings.known(DESTINATION, what, answer) else {
        return;
    };
    let mut failing = 0;
    for state in &states {
        let failures = state.number(FAILURES).unwrap_or(0);
        let Some(id) = state.text(SK).filter(|_| failures > 0) else {
            continue;
        };
        failing += 1;
        let again = state.number(RETRY_AT).map_or(checkup.now, EventTime);
        let count = u64::try_from(failures).unwrap_or(0);
        checkup.findings.fail(
            DESTINATION,
            format!(
                "{id} has failed {}, next try {again}",
                plural(count, "time")
            ),
            "read `destination failed` in the log, and mend the topic, its key or its policy; what \
             waits is sent then",
        );
    }
    if failing == 0 {
        let known = plural(states.len() as u64, "destination");
        checkup
            .findings
            .ok(DESTINATION, format!("{known}, none fails"));
    }
}
