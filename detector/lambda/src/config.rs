//! Settings from the environment. Everything that is wrong with them is told at once.

use std::collections::BTreeMap;
use std::time::Duration;

use secretrail_aws::dynamodb::Retention;
use secretrail_aws::sns::{Destination, Format};
use secretrail_engine::limits::{HORIZON_SECS, SEEN_LEARNING_SECS, SEEN_MEMORY_SECS};
use secretrail_engine::rule::RuleSet;
use secretrail_engine::rule_meta::{Level, timespan_secs};
use secretrail_engine::seen::Memory;

/// A setting: its name, whether it must be there, what it holds.
#[derive(Debug, Clone, Copy)]
pub struct Setting {
    /// Name of the environment variable.
    pub name: &'static str,
    /// What it holds when it is not set; `None` when it must be.
    pub default: Option<&'static str>,
    /// What it is for.
    pub help: &'static str,
}

/// Name of the table.
pub const TABLE: &str = "SECRETRAIL_TABLE";
/// Topics.
pub const TOPICS: &str = "SECRETRAIL_TOPICS";
/// Rules.
pub const RULES: &str = "SECRETRAIL_RULES";
/// Access policy.
pub const POLICY: &str = "SECRETRAIL_POLICY";
/// Horizon.
pub const HORIZON: &str = "SECRETRAIL_HORIZON";
/// Memory.
pub const MEMORY: &str = "SECRETRAIL_MEMORY";
/// Learning time.
pub const LEARNING: &str = "SECRETRAIL_LEARNING";
/// Largest object.
pub const MAX_OBJECT_BYTES: &str = "SECRETRAIL_MAX_OBJECT_BYTES";
/// Objects read at the same time.
pub const PARALLEL: &str = "SECRETRAIL_PARALLEL";
/// Path style.
pub const PATH_STYLE: &str = "SECRETRAIL_S3_PATH_STYLE";

/// Longest time for one try of a call.
pub const CALL_TIMEOUT: &str = "SECRETRAIL_CALL_TIMEOUT";

/// Time for which an alert is left to whoever created it.
pub const LEASE: &str = "SECRETRAIL_LEASE";

/// Whether secrets that the policy does not speak of count as unexpected.
pub const STRICT: &str = "SECRETRAIL_STRICT";
/// Values of placeholders in rules.
pub const VARS: &str = "SECRETRAIL_VARS";

/// What the function does.
pub const MODE: &str = "SECRETRAIL_MODE";

/// Every setting.
pub const SETTINGS: [Setting; 15] = [
    Setting {
        name: MODE,
        default: Some("alerts"),
        help: "alerts, or extract: batches of a job, without table and topics",
    },
    Setting {
        name: TABLE,
        default: None,
        help: "name of the DynamoDB table that holds the state",
    },
    Setting {
        name: TOPICS,
        default: None,
        help: "ARNs of SNS topics, separated by spaces; each may end in ?format=standard|chat|ocsf and &min-level=LEVEL",
    },
    Setting {
        name: RULES,
        default: Some(""),
        help: "s3://bucket/prefix/ or a folder of the package; empty for the built-in pack",
    },
    Setting {
        name: POLICY,
        default: Some(""),
        help: "s3://bucket/key or a file of the package; empty for no access policy",
    },
    Setting {
        name: STRICT,
        default: Some("false"),
        help: "whether secrets that the policy does not speak of are unexpected",
    },
    Setting {
        name: VARS,
        default: Some(""),
        help: "s3://bucket/key or a file of the package with values for rules with |expand; empty for none",
    },
    Setting {
        name: HORIZON,
        default: Some("15m"),
        help: "how long the other half of a read may still arrive",
    },
    Setting {
        name: MEMORY,
        default: Some("90d"),
        help: "how long it is remembered who read what",
    },
    Setting {
        name: LEARNING,
        default: Some("7d"),
        help: "how long logs must go back before anything is called new",
    },
    Setting {
        name: MAX_OBJECT_BYTES,
        default: Some("67108864"),
        help: "objects with more bytes are not read",
    },
    Setting {
        name: PARALLEL,
        default: Some("4"),
        help: "objects that are read at the same time",
    },
    Setting {
        name: CALL_TIMEOUT,
        default: Some("5s"),
        help: "how long one try of a call to AWS may take",
    },
    Setting {
        name: LEASE,
        default: Some("60s"),
        help: "how long an alert is left to the invocation that created it before the sweep publishes it",
    },
    Setting {
        name: PATH_STYLE,
        default: Some("false"),
        help: "whether S3 is addressed by path, as stand-ins want it",
    },
];

/// What the function does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// Alerts about new files.
    Alerts,
    /// Observation parts of the batches of a job.
    Extract,
}

impl Mode {
    fn read(value: Option<String>) -> Result<Self, String> {
        match value.as_deref().map(str::trim) {
            None | Some("" | "alerts") => Ok(Self::Alerts),
            Some("extract") => Ok(Self::Extract),
            Some(other) => Err(format!("{MODE} is `{other}`; write alerts or extract")),
        }
    }
}

/// Where files are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Place {
    /// In the binary, or nowhere.
    None,
    /// In the package.
    Path(String),
    /// In a bucket.
    S3 {
        /// Bucket.
        bucket: String,
        /// Key, or prefix of keys.
        key: String,
    },
}

/// What the function is set to.
#[derive(Debug, Clone, PartialEq)]
pub struct Config {
    /// What the function does.
    pub mode: Mode,
    /// Name of the table.
    pub table: String,
    /// Topics.
    pub destinations: Vec<Destination>,
    /// Rules; none for the pack.
    pub rules: Place,
    /// Access policy.
    pub policy: Place,
    /// Whether secrets that the policy does not speak of are unexpected.
    pub strict: bool,
    /// Values of placeholders in rules.
    pub vars: Place,
    /// Seconds in which the other half of a read may arrive.
    pub horizon_secs: i64,
    /// Memory of who read what.
    pub memory: Memory,
    /// Bytes of the largest object that is read.
    pub max_object_bytes: u64,
    /// Objects that are read at the same time.
    pub parallel: usize,
    /// Whether S3 is addressed by path.
    pub path_style: bool,
    /// Longest time for one try of a call to AWS, before it is tried again.
    pub call_timeout: Duration,
    /// Seconds for which an alert is left to the invocation that created it; after that the sweep publishes it.
    pub lease_secs: i64,
}

impl Config {
    /// Reads settings by their names.
    ///
    /// # Errors
    ///
    /// Every fault, one on each line, with the name of the variable and the remedy.
    pub fn read(get: impl Fn(&str) -> Option<String>) -> Result<Self, String> {
        let mut faults = Vec::new();
        let mut values: BTreeMap<&str, String> = BTreeMap::new();
        let mode = Mode::read(get(MODE)).unwrap_or_else(|fault| {
            faults.push(fault);
            Mode::Alerts
        });
        for Setting {
            name,
            default,
            help,
        } in SETTINGS
        {
            match get(name)
                .filter(|value| !value.trim().is_empty())
                .or_else(|| default.map(str::to_owned))
            {
                Some(value) => drop(values.insert(name, value.trim().to_owned())),
                None if mode == Mode::Extract => {}
                None => faults.push(format!("{name} is not set; set it to the {help}")),
            }
        }
        let value = |name: &str| values.get(name).cloned().unwrap_or_default();
        let mut span = |name: &str, default: i64| {
            timespan_secs(&value(name)).unwrap_or_else(|| {
                faults.push(format!(
                    "{name} is `{}`; write a time span such as 15m, 12h or 90d",
                    value(name)
                ));
                default
            })
        };
        let horizon_secs = span(HORIZON, HORIZON_SECS);
        let memory = Memory {
            memory_secs: span(MEMORY, SEEN_MEMORY_SECS),
            learning_secs: span(LEARNING, SEEN_LEARNING_SECS),
        };
        let lease_secs = span(LEASE, 60);
        let call_timeout = Duration::from_secs(span(CALL_TIMEOUT, 5).unsigned_abs());
        let mut number = |name: &str, least: u64| {
            value(name)
                .parse::<u64>()
                .ok()
                .filter(|number| *number >= least)
                .unwrap_or_else(|| {
                    faults.push(format!(
                        "{name} is `{}`; write a number of at least {least}",
                        value(name)
                    ));
                    least
                })
        };
        let max_object_bytes = number(MAX_OBJECT_BYTES, 1);
        let parallel = usize::try_from(number(PARALLEL, 1)).unwrap_or(1);
        let mut flag = |name: &str| match value(name).as_str() {
            "true" => true,
            "false" => false,
            other => {
                faults.push(format!("{name} is `{other}`; write true or false"));
                false
            }
        };
        let (path_style, strict) = (flag(PATH_STYLE), flag(STRICT));
        let mut place = |name: &str| {
            Place::read(&value(name)).unwrap_or_else(|why| {
                faults.push(format!("{name} is `{}`; {why}", value(name)));
                Place::None
            })
        };
        let (rules, policy, vars) = (place(RULES), place(POLICY), place(VARS));
        let topics = value(TOPICS);
        let mut destinations = Vec::new();
        for topic in topics.split_whitespace() {
            match destination(topic) {
                Ok(destination) => destinations.push(destination),
                Err(why) => faults.push(format!("{TOPICS} has `{topic}`; {why}")),
            }
        }
        if !faults.is_empty() {
            return Err(format!(
                "{} faults in the settings:\n{}",
                faults.len(),
                faults.join("\n")
            ));
        }
        let table = value(TABLE);
        Ok(Self {
            mode,
            table,
            destinations,
            rules,
            policy,
            strict,
            vars,
            horizon_secs,
            memory,
            max_object_bytes,
            parallel,
            path_style,
            call_timeout,
            lease_secs,
        })
    }

    /// How long state is kept.
    #[must_use]
    pub fn retention(&self) -> Retention {
        let default = Retention::default();
        Retention {
            ends_secs: self.horizon_secs.saturating_add(default.ends_secs),
            seen_secs: self.memory.memory_secs.saturating_add(10 * 86_400),
            ..default
        }
    }

    /// How long facts are kept with these rules: the longest window, and as long again as late deliveries count.
    #[must_use]
    pub fn facts_secs(&self, rules: &RuleSet) -> i64 {
        let stored = rules
            .windows
            .iter()
            .filter(|window| !window.is_filled_by_one());
        let longest = stored.map(|window| window.span_secs).max().unwrap_or(0);
        longest.saturating_add(Retention::default().facts_secs)
    }
}

impl Place {
    fn read(text: &str) -> Result<Self, String> {
        match text.strip_prefix("s3://") {
            None if text.is_empty() => Ok(Self::None),
            None if text.contains("://") => {
                Err("write s3://bucket/key, or a path in the package".to_owned())
            }
            None => Ok(Self::Path(text.to_owned())),
            Some(rest) => match rest.split_once('/') {
                Some((bucket, key)) if !bucket.is_empty() && !key.is_empty() => Ok(Self::S3 {
                    bucket: bucket.to_owned(),
                    key: key.to_owned(),
                }),
                _ => Err("write s3://bucket/key".to_owned()),
            },
        }
    }
}

/// `arn:…[?format=…][&min-level=…]`
fn destination(text: &str) -> Result<Destination, String> {
    let (arn, options) = text.split_once('?').unwrap_or((text, ""));
    let is_topic = arn.starts_with("arn:")
        && arn.split(':').nth(2) == Some("sns")
        && arn.split(':').count() == 6;
    if !is_topic {
        return Err("write the ARN of an SNS topic: arn:aws:sns:REGION:ACCOUNT:NAME".to_owned());
    }
    let mut destination = Destination {
        topic_arn: arn.to_owned(),
        min_level: Level::Informational,
        format: Format::Standard,
    };
    for option in options.split('&').filter(|option| !option.is_empty()) {
        match option.split_once('=') {
            Some(("format", name)) => {
                let known = Format::ALL
                    .into_iter()
                    .find(|format| format.as_str() == name);
                destination.format = known
                    .ok_or_else(|| format!("`{name}` is no format; use standard, chat or ocsf"))?;
            }
            Some(("min-level", level)) => destination.min_level = level.parse()?,
            _ => {
                return Err(format!(
                    "`{option}` is not known; use format=… or min-level=…"
                ));
            }
        }
    }
    Ok(destination)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(pairs: &[(&str, &str)]) -> Result<Config, String> {
        let map: BTreeMap<&str, &str> = pairs.iter().copied().collect();
        Config::read(|name| map.get(name).map(|value| (*value).to_owned()))
    }

    #[test]
    fn every_fault_is_told_at_once() {
        let faults = read(&[
            (TOPICS, "arn:aws:sns:eu-west-1:111122223333:a?format=xml my-topic arn:aws:sns:eu-west-1:111122223333:b?level=high"),
            (HORIZON, "soon"),
            (PARALLEL, "0"),
            (PATH_STYLE, "yes"),
            (MODE, "both"),
            (RULES, "https://example.com/rules"),
            (POLICY, "s3://bucket"),
        ])
        .unwrap_err();
        for part in [
            "10 faults",
            "SECRETRAIL_MODE is `both`",
            "SECRETRAIL_TABLE is not set",
            "`xml` is no format",
            "`my-topic`; write the ARN",
            "`level=high` is not known",
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
        assert_eq!((config.mode, config.parallel), (Mode::Extract, 16));
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
                (Level::High, Format::Ocsf),
                (Level::Informational, Format::Standard)
            ]
        );
        assert_eq!((config.horizon_secs, config.parallel), (900, 4));
    }
}
