//! Settings from environment variables. All invalid settings are reported together.

mod fault;
mod memory;
mod settings;

use std::{
    collections::{BTreeMap, HashMap},
    ops::RangeInclusive,
    str::FromStr,
    time::Duration,
};

use secretrail_aws::{
    dynamodb::{FactRetention, Retention},
    security_hub,
    sightings::kept_secs,
    sns::{MessageFormat, TopicDestination},
};
use secretrail_engine::{
    ids::SharedStr,
    limits::{ALLOWED_LATENESS_SECS, SEEN_LOOKBACK_SECS, SEEN_WARM_UP_SECS},
    outbox::{DeliveredKinds, Destination},
    rule::RuleSet,
    rule_meta::{RuleLevel, timespan_secs},
    seen::LookbackPeriods,
};

pub use self::{
    fault::{ConfigError, LocationFault, SettingFault, TopicFault},
    memory::{MEMORY_SIZE, MemoryBudget},
    settings::{
        ALLOWED_LATENESS, CALL_TIMEOUT, CHECK_EVENTS, DIGESTS, LEASE, LOOKBACK, MAX_OBJECT_BYTES,
        MODE, NETWORKS, PARALLEL, PATH_STYLE, POLICY, RULES, SETTINGS, STRICT, SettingSpec, TABLE,
        TOPICS, VARS, WARM_UP,
    },
};

/// Most topics: the notes of an alert for all of them are written in one transaction.
const MAX_TOPICS: usize = 50;

/// Messages a minute to which a topic may be limited. SNS suspends a mail address at ten a second.
const RATES: RangeInclusive<usize> = 1..=60;

/// What the function does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FunctionMode {
    /// Alerts on new log files.
    Alerts,
    /// Extract files for the batches of a backfill.
    Extract,
}

impl FunctionMode {
    fn read(value: Option<String>) -> Result<Self, SettingFault> {
        match value.as_deref().map(str::trim) {
            None | Some("" | "alerts") => Ok(Self::Alerts),
            Some("extract") => Ok(Self::Extract),
            Some(other) => Err(SettingFault::Mode(other.to_owned())),
        }
    }
}

/// Location of rules, access policy or placeholder values.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum FileLocation {
    /// Not set: the built-in rules, or nothing.
    None,
    /// A path in the deployment package.
    Path(String),
    /// An object or prefix in S3.
    S3 {
        /// Name of the bucket.
        bucket: String,
        /// Key, or prefix of keys.
        key: String,
    },
}

/// Location of lists of networks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NetworkLocation {
    /// The label of the only list there; `None` where each file is a list, whose label is the name
    /// of the file up to its first dot.
    pub label: Option<String>,
    /// The file, or the folder or prefix.
    pub place: FileLocation,
}

/// The settings of the function.
#[derive(Debug, Clone, PartialEq)]
pub struct FunctionConfig {
    /// What the function does.
    pub mode: FunctionMode,
    /// Name of the DynamoDB table.
    pub table: String,
    /// SNS topics for alerts and incidents, and Security Hub for incidents.
    pub destinations: Vec<TopicDestination>,
    /// Sigma rules; [`FileLocation::None`] for the built-in rules.
    pub rules: FileLocation,
    /// Access policy; [`FileLocation::None`] for none.
    pub policy: FileLocation,
    /// Whether secrets that no grant covers count as unexpected.
    pub strict: bool,
    /// Values of placeholders in rules (`|expand`).
    pub vars: FileLocation,
    /// Lists of networks that rules name by label; empty for none.
    pub networks: Vec<NetworkLocation>,
    /// Allowed lateness in seconds.
    pub allowed_lateness_secs: i64,
    /// Lookback and warm-up of `seen.*`.
    pub lookback: LookbackPeriods,
    /// Size in bytes above which objects are not read.
    pub max_object_bytes: u64,
    /// Objects that are read at the same time.
    pub parallel: usize,
    /// How much of its work the function holds in memory at a time.
    pub memory: MemoryBudget,
    /// Whether requests to S3 use path-style addressing.
    pub path_style: bool,
    /// Timeout of one try of a call to AWS, after which it is retried.
    pub call_timeout: Duration,
    /// Whether events that EventBridge has sent are looked for in the log files.
    pub checks_direct: bool,
    /// Whether digests are compared with the log files that were processed.
    pub checks_digests: bool,
    /// Seconds for which an alert is left to the invocation that created it; after that the sweep
    /// publishes it.
    pub lease_secs: i64,
}

impl FunctionConfig {
    /// Reads the settings; `get` returns the value of an environment variable.
    ///
    /// # Errors
    ///
    /// All invalid settings, one on each line, with the name of the variable and the remedy.
    pub fn read(get: impl Fn(&str) -> Option<String>) -> Result<Self, ConfigError> {
        let memory = MemoryBudget::of(get(MEMORY_SIZE).as_deref());
        let mut settings = SettingReader::new(get);
        let config = Self {
            memory,
            mode: settings.mode,
            table: settings.value(TABLE).to_owned(),
            allowed_lateness_secs: settings.span(ALLOWED_LATENESS, ALLOWED_LATENESS_SECS),
            lookback: LookbackPeriods {
                lookback_secs: settings.span(LOOKBACK, SEEN_LOOKBACK_SECS),
                warm_up_secs: settings.span(WARM_UP, SEEN_WARM_UP_SECS),
            },
            lease_secs: settings.span(LEASE, 60),
            call_timeout: Duration::from_secs(settings.span(CALL_TIMEOUT, 5).unsigned_abs()),
            max_object_bytes: settings.number(MAX_OBJECT_BYTES, 1),
            parallel: usize::try_from(settings.number(PARALLEL, 1)).unwrap_or(1),
            path_style: settings.flag(PATH_STYLE),
            checks_direct: settings.flag(CHECK_EVENTS),
            checks_digests: settings.flag(DIGESTS),
            strict: settings.flag(STRICT),
            rules: settings.place(RULES),
            policy: settings.place(POLICY),
            vars: settings.place(VARS),
            networks: settings.networks(),
            destinations: settings.destinations(),
        };
        settings.checked().map(|()| config)
    }

    /// What the store knows of the destinations.
    #[must_use]
    pub fn outbox(&self) -> Vec<Destination> {
        let topics = self.destinations.iter();
        let topics = topics.map(TopicDestination::destination);
        topics.chain([Destination::grouping()]).collect()
    }

    /// How long state is kept.
    #[must_use]
    pub fn retention(&self) -> Retention {
        let default = Retention::default();
        Retention {
            // The TTL is written with the item: it must outlast every later read.
            ends_secs: self.allowed_lateness_secs.saturating_add(default.ends_secs),
            seen_secs: kept_secs(self.lookback),
            ..default
        }
    }

    /// How long facts are kept with these rules: each as long as it is read, plus the time in which
    /// late deliveries still count.
    #[must_use]
    pub fn facts_kept(&self, rules: &RuleSet) -> FactRetention {
        let late_secs = Retention::default().facts_secs;
        let of_rules = rules.windows.iter().map(|window| {
            let secs = rules.looks_back_secs(window).saturating_add(late_secs);
            (window.meta.id.as_str().into(), secs)
        });
        let of_rules: HashMap<SharedStr, i64> = of_rules.collect();
        let longest = of_rules.values().copied().max();
        FactRetention {
            others: longest.unwrap_or(late_secs),
            of_rules,
        }
    }
}

/// Reads settings one by one and collects all errors: one error at each start would need one
/// deployment for each.
struct SettingReader {
    mode: FunctionMode,
    values: BTreeMap<&'static str, String>,
    faults: Vec<SettingFault>,
}

impl SettingReader {
    fn new(get: impl Fn(&str) -> Option<String>) -> Self {
        let mut faults = Vec::new();
        // First: extraction needs no table and no topics.
        let mode = FunctionMode::read(get(MODE)).unwrap_or_else(|fault| {
            faults.push(fault);
            FunctionMode::Alerts
        });
        let mut values = BTreeMap::new();
        for setting in SETTINGS {
            let SettingSpec { name, help, .. } = setting;
            // CloudFormation passes an empty string for a parameter that is not set.
            let given = get(name).filter(|value| !value.trim().is_empty());
            match given.or_else(|| setting.default.map(str::to_owned)) {
                Some(value) => drop(values.insert(name, value.trim().to_owned())),
                None if mode == FunctionMode::Extract => {}
                None => faults.push(SettingFault::Missing { name, help }),
            }
        }
        Self {
            mode,
            values,
            faults,
        }
    }

    /// The value of a setting; empty when it is not set.
    fn value(&self, name: &str) -> &str {
        self.values.get(name).map_or("", String::as_str)
    }

    /// Records an error. The value that replaces the invalid one is never used.
    fn fault(&mut self, name: &str, fault: impl Fn(String) -> SettingFault) {
        let value = self.value(name).to_owned();
        self.faults.push(fault(value));
    }

    fn span(&mut self, name: &'static str, default: i64) -> i64 {
        timespan_secs(self.value(name)).unwrap_or_else(|| {
            self.fault(name, |value| SettingFault::TimeSpan { name, value });
            default
        })
    }

    fn number(&mut self, name: &'static str, least: u64) -> u64 {
        let number = self.value(name).parse::<u64>().ok();
        number.filter(|number| *number >= least).unwrap_or_else(|| {
            self.fault(name, |value| SettingFault::Number { name, value, least });
            least
        })
    }

    fn flag(&mut self, name: &'static str) -> bool {
        match self.value(name) {
            "true" => true,
            "false" => false,
            _ => {
                self.fault(name, |value| SettingFault::Flag { name, value });
                false
            }
        }
    }

    fn place(&mut self, name: &'static str) -> FileLocation {
        FileLocation::read(self.value(name)).unwrap_or_else(|why| {
            self.fault(name, |value| SettingFault::Place { name, value, why });
            FileLocation::None
        })
    }

    fn networks(&mut self) -> Vec<NetworkLocation> {
        self.items(NETWORKS, NetworkLocation::read, |value, why| {
            SettingFault::Place {
                name: NETWORKS,
                value,
                why,
            }
        })
    }

    fn destinations(&mut self) -> Vec<TopicDestination> {
        let mut topics = self.items(TOPICS, destination, |topic, why| SettingFault::Topic {
            topic,
            why,
        });
        if topics.len() > MAX_TOPICS {
            self.faults.push(SettingFault::TooManyTopics(MAX_TOPICS));
        }
        number(&mut topics);
        topics
    }

    /// The items of a setting, separated by white space. An invalid one is an error, and left out.
    fn items<T, E>(
        &mut self,
        name: &str,
        read: impl Fn(&str) -> Result<T, E>,
        fault: impl Fn(String, E) -> SettingFault,
    ) -> Vec<T> {
        let text = self.value(name).to_owned();
        let mut items = Vec::new();
        for item in text.split_whitespace() {
            match read(item) {
                Ok(item) => items.push(item),
                Err(why) => self.faults.push(fault(item.to_owned(), why)),
            }
        }
        items
    }

    fn checked(self) -> Result<(), ConfigError> {
        if self.faults.is_empty() {
            Ok(())
        } else {
            Err(ConfigError(self.faults))
        }
    }
}

impl NetworkLocation {
    /// Parses `[LABEL=]place`. A key in S3 may hold `=` too.
    fn read(text: &str) -> Result<Self, LocationFault> {
        let labelled = text
            .split_once('=')
            .filter(|(label, _)| !label.contains('/'));
        let (label, place) = match labelled {
            Some((label, place)) => (Some(label.to_owned()), place),
            None => (None, text),
        };
        let place = match FileLocation::read(place)? {
            FileLocation::None => return Err(LocationFault::Incomplete),
            place => place,
        };
        Ok(Self { label, place })
    }
}

impl FileLocation {
    fn read(text: &str) -> Result<Self, LocationFault> {
        match text.strip_prefix("s3://") {
            None if text.is_empty() => Ok(Self::None),
            None if text.contains("://") => Err(LocationFault::OtherScheme),
            None => Ok(Self::Path(text.to_owned())),
            Some(rest) => match rest.split_once('/') {
                Some((bucket, key)) if !bucket.is_empty() && !key.is_empty() => Ok(Self::S3 {
                    bucket: bucket.to_owned(),
                    key: key.to_owned(),
                }),
                _ => Err(LocationFault::Incomplete),
            },
        }
    }
}

/// Gives a topic that is listed several times, as for several formats, several ids.
fn number(topics: &mut [TopicDestination]) {
    let mut listed: BTreeMap<String, usize> = BTreeMap::new();
    for topic in topics {
        let times = listed.entry(topic.topic_arn.clone()).or_default();
        *times += 1;
        if *times > 1 {
            topic.id = format!("{}#{times}", topic.topic_arn).into();
        }
    }
}

/// Parses the ARN of a topic, or of Security Hub's product:
/// `arn:…[?format=…][&deliver=…][&min-level=…][&digest-below=…][&max-per-minute=…]`.
fn destination(text: &str) -> Result<TopicDestination, TopicFault> {
    let (arn, options) = text.split_once('?').unwrap_or((text, ""));
    // The partition differs in China and GovCloud. A subscription's ARN has a seventh part.
    let is_topic = arn.starts_with("arn:")
        && arn.split(':').nth(2) == Some("sns")
        && arn.split(':').count() == 6;
    let is_hub = security_hub::is_product(arn);
    if !is_topic && !is_hub {
        return Err(TopicFault::NotATopic);
    }
    let mut destination = TopicDestination {
        id: arn.into(),
        topic_arn: arn.to_owned(),
        min_level: RuleLevel::Informational,
        kinds: match is_hub {
            true => DeliveredKinds::Incidents,
            false => usual_kinds(MessageFormat::Standard),
        },
        format: MessageFormat::Standard,
        max_per_minute: None,
        digest_below: None,
    };
    let options = options.split('&').filter(|option| !option.is_empty());
    // Whatever their order: what is delivered depends on the format, unless it is given.
    let mut refused = options
        .clone()
        .filter(|option| !option.starts_with("min-level="));
    if let Some(option) = refused.next().filter(|_| is_hub) {
        return Err(TopicFault::NotForSecurityHub(option.to_owned()));
    }
    let (formats, others): (Vec<&str>, Vec<&str>) =
        options.partition(|option| option.starts_with("format="));
    for option in formats.into_iter().chain(others) {
        set(&mut destination, option)?;
    }
    Ok(destination)
}

/// What a topic gets if that is not said: people read incidents, machines read alerts.
fn usual_kinds(format: MessageFormat) -> DeliveredKinds {
    match format {
        MessageFormat::Chat => DeliveredKinds::Incidents,
        MessageFormat::Standard | MessageFormat::Ocsf => DeliveredKinds::Alerts,
    }
}

fn level(text: &str) -> Result<RuleLevel, TopicFault> {
    let level = text.parse();
    level.map_err(|error: <RuleLevel as FromStr>::Err| TopicFault::Level(error.to_string()))
}

fn set(destination: &mut TopicDestination, option: &str) -> Result<(), TopicFault> {
    match option.split_once('=') {
        Some(("format", name)) => {
            destination.format = MessageFormat::ALL
                .into_iter()
                .find(|format| format.as_str() == name)
                .ok_or_else(|| TopicFault::Format(name.to_owned()))?;
            destination.kinds = usual_kinds(destination.format);
        }
        Some(("deliver", name)) => {
            destination.kinds = DeliveredKinds::ALL
                .into_iter()
                .find(|kinds| kinds.as_str() == name)
                .ok_or_else(|| TopicFault::Kinds(name.to_owned()))?;
        }
        Some(("min-level", text)) => destination.min_level = level(text)?,
        Some(("digest-below", text)) => destination.digest_below = Some(level(text)?),
        Some(("max-per-minute", most)) => {
            let number = most.parse().ok();
            let number = number.filter(|number| RATES.contains(number));
            let number = number.ok_or_else(|| TopicFault::Rate(most.to_owned()))?;
            destination.max_per_minute = Some(number);
        }
        _ => return Err(TopicFault::Option(option.to_owned())),
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(pairs: &[(&str, &str)]) -> Result<FunctionConfig, ConfigError> {
        let map: BTreeMap<&str, &str> = pairs.iter().copied().collect();
        FunctionConfig::read(|name| map.get(name).map(|value| (*value).to_owned()))
    }

    #[test]
    fn every_error_is_reported_at_once() {
        let topics = "arn:aws:sns:eu-west-1:111122223333:a?format=xml my-topic \
            arn:aws:sns:eu-west-1:111122223333:b?level=high \
            arn:aws:sns:eu-west-1:111122223333:d?deliver=mail \
            arn:aws:sns:eu-west-1:111122223333:c?max-per-minute=0";
        let faults = read(&[
            (TOPICS, topics),
            (ALLOWED_LATENESS, "soon"),
            (PARALLEL, "0"),
            (PATH_STYLE, "yes"),
            (MODE, "both"),
            (RULES, "https://example.com/rules"),
            (POLICY, "s3://bucket"),
        ])
        .unwrap_err()
        .to_string();
        for part in [
            "errors in the settings (12):",
            "SECRETRAIL_MODE is `both`",
            "SECRETRAIL_TABLE is not set",
            "`xml` is not a format",
            "`my-topic`; write the ARN",
            "`level=high` is not an option",
            "`mail` is not delivered; use deliver=alerts",
            "`0` is not a number of messages",
            "`soon`; write a time span",
            "SECRETRAIL_PARALLEL is `0`",
            "write true or false",
            "`https://example.com/rules`; write s3://",
            "`s3://bucket`; write s3://bucket/key",
        ] {
            assert!(faults.contains(part), "{part}: {faults}");
        }
    }

    #[test]
    fn whoever_extracts_needs_no_table_and_no_topics() {
        let config = read(&[(MODE, "extract"), (PARALLEL, "16")]).unwrap();
        assert_eq!((config.mode, config.parallel), (FunctionMode::Extract, 16));
    }

    #[test]
    fn topics_have_forms_and_levels() {
        let arn = "arn:aws:sns:eu-west-1:111122223333:alerts.fifo";
        let config = read(&[
            (TABLE, "state"),
            (TOPICS, &format!("{arn}?min-level=high&format=ocsf {arn}")),
        ])
        .unwrap();
        let all: Vec<_> = config
            .destinations
            .iter()
            .map(|d| (d.min_level, d.format))
            .collect();
        assert_eq!(
            all,
            [
                (RuleLevel::High, MessageFormat::Ocsf),
                (RuleLevel::Informational, MessageFormat::Standard)
            ]
        );
        assert_eq!((config.allowed_lateness_secs, config.parallel), (900, 4));
    }

    #[test]
    fn security_hub_gets_incidents_and_nothing_else() {
        let product = "arn:aws:securityhub:eu-west-1:111122223333:product/111122223333/default";
        let hub = destination(&format!("{product}?min-level=high")).unwrap();
        assert_eq!(
            (hub.kinds, hub.min_level),
            (DeliveredKinds::Incidents, RuleLevel::High)
        );
        for option in [
            "deliver=both",
            "format=ocsf",
            "digest-below=high",
            "max-per-minute=5",
        ] {
            let fault = TopicFault::NotForSecurityHub(option.to_owned());
            assert_eq!(
                destination(&format!("{product}?min-level=low&{option}")),
                Err(fault)
            );
        }
        let foreign = product.replace("product/111122223333", "product/444455556666");
        assert_eq!(destination(&foreign), Err(TopicFault::NotATopic));
    }

    #[test]
    fn topics_have_a_rate_and_an_id_of_their_own() {
        let arn = "arn:aws:sns:eu-west-1:111122223333:alerts";
        let topics =
            format!("{arn}?max-per-minute=5 {arn}?format=chat {arn}-b {arn}?digest-below=medium");
        let config = read(&[(TABLE, "state"), (TOPICS, &topics)]).unwrap();
        let digests = config.destinations.iter().map(|topic| topic.digest_below);
        let digests: Vec<Option<RuleLevel>> = digests.collect();
        assert_eq!(digests, [None, None, None, Some(RuleLevel::Medium)]);
        let all: Vec<_> = config
            .destinations
            .iter()
            .map(|topic| (topic.id.trim_start_matches(arn), topic.max_per_minute))
            .collect();
        let expected = [("", Some(5)), ("#2", None), ("-b", None), ("#3", None)];
        assert_eq!(all, expected);
        let many = vec![arn; MAX_TOPICS + 1].join(" ");
        let fault = read(&[(TABLE, "state"), (TOPICS, &many)]).unwrap_err();
        assert_eq!(fault.0, [SettingFault::TooManyTopics(MAX_TOPICS)]);
    }

    #[test]
    fn people_get_incidents_machines_get_alerts_unless_the_topic_says_what() {
        let kinds = |options: &str| destination(&format!("{TOPIC}{options}")).unwrap().kinds;
        assert_eq!(kinds(""), DeliveredKinds::Alerts);
        assert_eq!(kinds("?deliver=both"), DeliveredKinds::Both);
        assert_eq!(kinds("?format=chat"), DeliveredKinds::Incidents);
        assert_eq!(kinds("?format=ocsf"), DeliveredKinds::Alerts);
        assert_eq!(kinds("?deliver=alerts&format=chat"), DeliveredKinds::Alerts);
        assert_eq!(
            kinds("?format=ocsf&deliver=incidents"),
            DeliveredKinds::Incidents
        );
    }

    const TOPIC: &str = "arn:aws:sns:eu-west-1:111122223333:alerts";

    #[test]
    fn what_is_set_to_nothing_is_not_set() {
        let config = read(&[
            (TABLE, " state "),
            (TOPICS, TOPIC),
            (ALLOWED_LATENESS, " "),
            (RULES, ""),
        ]);
        let config = config.unwrap();
        assert_eq!(
            (&*config.table, config.allowed_lateness_secs),
            ("state", 900)
        );
        assert_eq!(config.rules, FileLocation::None);
        let fault = read(&[(TABLE, "  "), (TOPICS, TOPIC)]).unwrap_err();
        let [SettingFault::Missing { name, .. }] = fault.0.as_slice() else {
            panic!("{fault}")
        };
        assert_eq!(*name, TABLE);
    }

    #[test]
    fn a_place_is_nowhere_in_the_package_or_in_a_bucket() {
        let s3 = |bucket: &str, key: &str| FileLocation::S3 {
            bucket: bucket.to_owned(),
            key: key.to_owned(),
        };
        assert_eq!(FileLocation::read("s3://b/rules/"), Ok(s3("b", "rules/")));
        assert_eq!(FileLocation::read("s3://b/a/b=c?d"), Ok(s3("b", "a/b=c?d")));
        assert_eq!(
            FileLocation::read("rules"),
            Ok(FileLocation::Path("rules".to_owned()))
        );
        assert_eq!(
            FileLocation::read("s3:///key"),
            Err(LocationFault::Incomplete)
        );
        assert_eq!(
            FileLocation::read("s3://b/"),
            Err(LocationFault::Incomplete)
        );
        assert_eq!(
            FileLocation::read("file:///rules"),
            Err(LocationFault::OtherScheme)
        );
    }

    #[test]
    fn lists_of_networks_have_a_label_or_lie_in_a_folder() {
        let set = "own=s3://b/nets/office=1.txt vpn=lists/vpn.txt s3://b/networks/x=y/";
        let config = read(&[(TABLE, "t"), (TOPICS, TOPIC), (NETWORKS, set)]).unwrap();
        let places: Vec<_> = config
            .networks
            .iter()
            .map(|location| (location.label.as_deref(), location.place.clone()))
            .collect();
        let s3 = |key: &str| FileLocation::read(&format!("s3://b/{key}")).unwrap();
        assert_eq!(
            places,
            [
                (Some("own"), s3("nets/office=1.txt")),
                (Some("vpn"), FileLocation::Path("lists/vpn.txt".to_owned())),
                (None, s3("networks/x=y/")),
            ]
        );
        for wrong in ["own=", "own=s3://b", "https://example.com/x"] {
            assert!(NetworkLocation::read(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn only_the_arn_of_a_topic_is_one() {
        for arn in [TOPIC, "arn:aws-cn:sns:cn-north-1:111122223333:alerts"] {
            assert_eq!(destination(arn).unwrap().topic_arn, arn);
        }
        for text in [
            "alerts",
            "arn:aws:sqs:eu-west-1:111122223333:alerts",
            "arn:aws:sns:eu-west-1:111122223333:alerts:0b5f0b9e",
        ] {
            assert_eq!(destination(text), Err(TopicFault::NotATopic), "{text}");
        }
        let level = destination(&format!("{TOPIC}?min-level=loud"));
        assert!(matches!(level, Err(TopicFault::Level(_))), "{level:?}");
    }

    #[test]
    fn state_is_kept_longer_than_it_is_asked_for() {
        let config = read(&[
            (TABLE, "t"),
            (TOPICS, TOPIC),
            (ALLOWED_LATENESS, "30d"),
            (LOOKBACK, "400d"),
        ]);
        let kept = config.unwrap().retention();
        assert!(kept.ends_secs > 30 * 86_400);
        assert!(kept.seen_secs > 400 * 86_400);
    }

    #[test]
    fn facts_are_kept_for_the_rules_that_their_correlation_covers() {
        let text = "title: Alone
id: alone
logsource: {product: aws, category: secret_access}
detection: {read: {access.outcome: success}, condition: read}
level: medium
secretrail: {suppress: 30d, group-by: [secret.account], covered-by: many}
---
title: Many
id: many
correlation:
  type: value_count
  rules: [alone]
  group-by: [secret.account]
  timespan: 10m
  condition: {field: principal.arn, gte: 3}
secretrail: {suppress: 1h}
";
        let (rules, _) = secretrail_engine::rule::load::load([("rules.yml", text)]).unwrap();
        let config = read(&[(TABLE, "t"), (TOPICS, TOPIC)]).unwrap();
        let kept = config.facts_kept(&rules);
        let late = Retention::default().facts_secs;
        // Its alert may be decided by all facts of its 30 days.
        let span = 600 + 2 * 30 * 86_400;
        assert_eq!(kept.of_rules.get("many"), Some(&(late + span)));
    }
}
