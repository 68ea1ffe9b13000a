//! The names of all settings, what each is for, and what it holds when it is not set.

/// A setting: its name, whether it must be there, what it holds.
#[derive(Debug, Clone, Copy)]
pub struct SettingSpec {
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
pub const ALLOWED_LATENESS: &str = "SECRETRAIL_ALLOWED_LATENESS";
/// Memory.
pub const LOOKBACK: &str = "SECRETRAIL_LOOKBACK";
/// Learning time.
pub const WARM_UP: &str = "SECRETRAIL_WARM_UP";
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
pub const SETTINGS: [SettingSpec; 15] = [
    SettingSpec {
        name: MODE,
        default: Some("alerts"),
        help: "alerts, or extract: batches of a job, without table and topics",
    },
    SettingSpec {
        name: TABLE,
        default: None,
        help: "name of the DynamoDB table that holds the state",
    },
    SettingSpec {
        name: TOPICS,
        default: None,
        help: "ARNs of SNS topics, separated by spaces; \
            each may end in ?format=standard|chat|ocsf and &min-level=LEVEL",
    },
    SettingSpec {
        name: RULES,
        default: Some(""),
        help: "s3://bucket/prefix/ or a folder of the package; empty for the built-in pack",
    },
    SettingSpec {
        name: POLICY,
        default: Some(""),
        help: "s3://bucket/key or a file of the package; empty for no access policy",
    },
    SettingSpec {
        name: STRICT,
        default: Some("false"),
        help: "whether secrets that the policy does not speak of are unexpected",
    },
    SettingSpec {
        name: VARS,
        default: Some(""),
        help: "s3://bucket/key or a file of the package with values for rules with |expand; \
            empty for none",
    },
    SettingSpec {
        name: ALLOWED_LATENESS,
        default: Some("15m"),
        help: "how long the other half of a read may still arrive",
    },
    SettingSpec {
        name: LOOKBACK,
        default: Some("90d"),
        help: "how long it is remembered who read what",
    },
    SettingSpec {
        name: WARM_UP,
        default: Some("7d"),
        help: "how long logs must go back before anything is called new",
    },
    SettingSpec {
        name: MAX_OBJECT_BYTES,
        default: Some("67108864"),
        help: "objects with more bytes are not read",
    },
    SettingSpec {
        name: PARALLEL,
        default: Some("4"),
        help: "objects that are read at the same time",
    },
    SettingSpec {
        name: CALL_TIMEOUT,
        default: Some("5s"),
        help: "how long one try of a call to AWS may take",
    },
    SettingSpec {
        name: LEASE,
        default: Some("60s"),
        help: "how long an alert is left to the invocation that created it \
            before the sweep publishes it",
    },
    SettingSpec {
        name: PATH_STYLE,
        default: Some("false"),
        help: "whether S3 is addressed by path, as stand-ins want it",
    },
];
