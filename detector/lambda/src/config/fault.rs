//! What may be wrong with settings, each with its remedy.

use crate::config::settings::{MODE, TOPICS};

/// Everything that is wrong with the settings.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("{} faults in the settings:\n{}", .0.len(), lines(.0))]
pub struct ConfigError(
    /// The faults, one at least.
    pub Vec<SettingFault>,
);

fn lines(faults: &[SettingFault]) -> String {
    let lines: Vec<String> = faults.iter().map(SettingFault::to_string).collect();
    lines.join("\n")
}

/// What is wrong with a setting.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum SettingFault {
    /// It must be there, and is not.
    #[error("{name} is not set; set it to the {help}")]
    Missing {
        /// Name of the setting.
        name: &'static str,
        /// What it is for.
        help: &'static str,
    },
    /// It names no mode.
    #[error("{setting} is `{0}`; write alerts or extract", setting = MODE)]
    Mode(String),
    /// It is no time span.
    #[error("{name} is `{value}`; write a time span such as 15m, 12h or 90d")]
    TimeSpan {
        /// Name of the setting.
        name: &'static str,
        /// What it holds.
        value: String,
    },
    /// It is no number, or too small.
    #[error("{name} is `{value}`; write a number of at least {least}")]
    Number {
        /// Name of the setting.
        name: &'static str,
        /// What it holds.
        value: String,
        /// The smallest that is taken.
        least: u64,
    },
    /// It is neither true nor false.
    #[error("{name} is `{value}`; write true or false")]
    Flag {
        /// Name of the setting.
        name: &'static str,
        /// What it holds.
        value: String,
    },
    /// It names no place where files could be.
    #[error("{name} is `{value}`; {why}")]
    Place {
        /// Name of the setting.
        name: &'static str,
        /// What it holds.
        value: String,
        /// What is wrong with it.
        why: LocationFault,
    },
    /// One of the topics is none.
    #[error("{setting} has `{topic}`; {why}", setting = TOPICS)]
    Topic {
        /// The topic with its options, as it stands there.
        topic: String,
        /// What is wrong with it.
        why: TopicFault,
    },
}

/// What is wrong with the name of a place.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum LocationFault {
    /// It is a URL of something else than S3.
    #[error("write s3://bucket/key, or a path in the package")]
    OtherScheme,
    /// The bucket or the key is missing.
    #[error("write s3://bucket/key")]
    Incomplete,
}

/// What is wrong with a topic.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum TopicFault {
    /// It is not the ARN of one.
    #[error("write the ARN of an SNS topic: arn:aws:sns:REGION:ACCOUNT:NAME")]
    NotATopic,
    /// There is no such format.
    #[error("`{0}` is no format; use standard, chat or ocsf")]
    Format(String),
    /// There is no such level; the text says which there are.
    #[error("{0}")]
    Level(String),
    /// There is no such option.
    #[error("`{0}` is not known; use format=… or min-level=…")]
    Option(String),
}
