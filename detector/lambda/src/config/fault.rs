//! Errors in settings, each with its remedy.

use crate::config::settings::{MODE, TOPICS};

/// All errors in the settings.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("errors in the settings ({}):\n{}", .0.len(), lines(.0))]
pub struct ConfigError(
    /// The errors, at least one.
    pub Vec<SettingFault>,
);

fn lines(faults: &[SettingFault]) -> String {
    let lines: Vec<String> = faults.iter().map(SettingFault::to_string).collect();
    lines.join("\n")
}

/// An error in a setting.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum SettingFault {
    /// A required setting is not set.
    #[error("{name} is not set; set it to the {help}")]
    Missing {
        /// Name of the setting.
        name: &'static str,
        /// Its description.
        help: &'static str,
    },
    /// The mode is not known.
    #[error("{setting} is `{0}`; write alerts or extract", setting = MODE)]
    Mode(String),
    /// The value is not a time span.
    #[error("{name} is `{value}`; write a time span such as 15m, 12h or 90d")]
    TimeSpan {
        /// Name of the setting.
        name: &'static str,
        /// Its value.
        value: String,
    },
    /// The value is not a number, or too small.
    #[error("{name} is `{value}`; write a number of at least {least}")]
    Number {
        /// Name of the setting.
        name: &'static str,
        /// Its value.
        value: String,
        /// The smallest allowed value.
        least: u64,
    },
    /// The value is neither true nor false.
    #[error("{name} is `{value}`; write true or false")]
    Flag {
        /// Name of the setting.
        name: &'static str,
        /// Its value.
        value: String,
    },
    /// The value is not a location of files.
    #[error("{name} is `{value}`; {why}")]
    Place {
        /// Name of the setting.
        name: &'static str,
        /// Its value.
        value: String,
        /// The error.
        why: LocationFault,
    },
    /// A topic is invalid.
    #[error("{setting} has `{topic}`; {why}", setting = TOPICS)]
    Topic {
        /// The topic with its options, as written.
        topic: String,
        /// The error.
        why: TopicFault,
    },
    /// There are too many topics.
    #[error("{setting} has more than {0} topics; list fewer", setting = TOPICS)]
    TooManyTopics(usize),
}

/// An error in a location.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum LocationFault {
    /// A URL other than `s3://…`.
    #[error("write s3://bucket/key, or a path in the package")]
    OtherScheme,
    /// The bucket or the key is missing.
    #[error("write s3://bucket/key")]
    Incomplete,
}

/// An error in a topic.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum TopicFault {
    /// Neither the ARN of an SNS topic nor that of Security Hub's product.
    #[error(
        "write the ARN of an SNS topic: arn:aws:sns:REGION:ACCOUNT:NAME, or of Security Hub: \
             arn:aws:securityhub:REGION:ACCOUNT:product/ACCOUNT/default"
    )]
    NotATopic,
    /// An option that Security Hub has no use for.
    #[error("`{0}` is not for Security Hub, which gets incidents; use min-level=… only")]
    NotForSecurityHub(String),
    /// The format is not known.
    #[error("`{0}` is not a format; use standard, chat or ocsf")]
    Format(String),
    /// What is delivered is not known.
    #[error("`{0}` is not delivered; use deliver=alerts, incidents or both")]
    Kinds(String),
    /// The level is not known; the text lists the known ones.
    #[error("{0}")]
    Level(String),
    /// The number of messages a minute is not in the range.
    #[error("`{0}` is not a number of messages a minute; write 1 to 60")]
    Rate(String),
    /// The option is not known.
    #[error(
        "`{0}` is not an option; use format=…, deliver=…, min-level=…, \
             digest-below=… or max-per-minute=…"
    )]
    Option(String),
}
