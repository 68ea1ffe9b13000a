//! All settings: name, default and description.

/// Name, default and description of a setting.
#[derive(Debug, Clone, Copy)]
pub struct SettingSpec {
    /// Name of the environment variable.
    pub name: &'static str,
    /// Default value; `None` when the setting is required.
    pub default: Option<&'static str>,
    /// Description.
    pub help: &'static str,
}

/// Name of the DynamoDB table.
pub const TABLE: &str = "SECRETRAIL_TABLE";
/// ARNs of SNS topics, separated by spaces.
pub const TOPICS: &str = "SECRETRAIL_TOPICS";
/// Location of the Sigma rules.
pub const RULES: &str = "SECRETRAIL_RULES";
/// Location of the access policy.
pub const POLICY: &str = "SECRETRAIL_POLICY";
/// Allowed lateness: a time span.
pub const ALLOWED_LATENESS: &str = "SECRETRAIL_ALLOWED_LATENESS";
/// Lookback of `seen.*`: a time span.
pub const LOOKBACK: &str = "SECRETRAIL_LOOKBACK";
/// Warm-up of `seen.*`: a time span.
pub const WARM_UP: &str = "SECRETRAIL_WARM_UP";
/// Size in bytes above which objects are not read.
pub const MAX_OBJECT_BYTES: &str = "SECRETRAIL_MAX_OBJECT_BYTES";
/// Number of objects that are read at the same time.
pub const PARALLEL: &str = "SECRETRAIL_PARALLEL";
/// Whether requests to S3 use path-style addressing.
pub const PATH_STYLE: &str = "SECRETRAIL_S3_PATH_STYLE";

/// Timeout of one try of a call to AWS: a time span.
pub const CALL_TIMEOUT: &str = "SECRETRAIL_CALL_TIMEOUT";

/// Time span for which an alert is left to the invocation that created it.
pub const LEASE: &str = "SECRETRAIL_LEASE";

/// Whether secrets that no grant covers count as unexpected.
pub const STRICT: &str = "SECRETRAIL_STRICT";
/// Location of the values of placeholders in rules.
pub const VARS: &str = "SECRETRAIL_VARS";

/// Locations of the lists of networks that rules name.
pub const NETWORKS: &str = "SECRETRAIL_NETWORKS";

/// Whether events of EventBridge are looked for in the files.
pub const CHECK_EVENTS: &str = "SECRETRAIL_CHECK_EVENTS";

/// Whether digests of CloudTrail are compared with the files that were processed.
pub const DIGESTS: &str = "SECRETRAIL_DIGESTS";

/// Mode of the function: `alerts` or `extract`.
pub const MODE: &str = "SECRETRAIL_MODE";

/// Every setting.
pub const SETTINGS: [SettingSpec; 18] = [
    SettingSpec {
        name: MODE,
        default: Some("alerts"),
        help: "alerts, or extract for a backfill, which needs no table and no topics",
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
            each may end in ?format=standard|chat|ocsf, &min-level=LEVEL and &max-per-minute=N",
    },
    SettingSpec {
        name: RULES,
        default: Some(""),
        help: "s3://bucket/prefix/ or a folder of the package; empty for the built-in rules",
    },
    SettingSpec {
        name: POLICY,
        default: Some(""),
        help: "s3://bucket/key or a file of the package; empty for no access policy",
    },
    SettingSpec {
        name: STRICT,
        default: Some("false"),
        help: "whether secrets that no grant of the policy covers count as unexpected",
    },
    SettingSpec {
        name: VARS,
        default: Some(""),
        help: "s3://bucket/key or a file of the package with values for rules with |expand; \
            empty for none",
    },
    SettingSpec {
        name: NETWORKS,
        default: Some(""),
        help: "lists of networks that rules name by label: s3://bucket/prefix/ or a folder of the \
            package, with a file for each label, or LABEL=s3://bucket/key, separated by spaces; \
            empty for none",
    },
    SettingSpec {
        name: ALLOWED_LATENESS,
        default: Some("15m"),
        help: "allowed lateness: how long the other half of a read may still arrive",
    },
    SettingSpec {
        name: LOOKBACK,
        default: Some("90d"),
        help: "lookback: how long it is remembered which principal read which secret",
    },
    SettingSpec {
        name: WARM_UP,
        default: Some("7d"),
        help: "warm-up: how far back an account's logs must reach before anything is new",
    },
    SettingSpec {
        name: MAX_OBJECT_BYTES,
        default: Some("67108864"),
        help: "objects with more bytes are not read",
    },
    SettingSpec {
        name: PARALLEL,
        default: Some("4"),
        help: "number of objects that are read at the same time",
    },
    SettingSpec {
        name: CALL_TIMEOUT,
        default: Some("5s"),
        help: "timeout of one try of a call to AWS",
    },
    SettingSpec {
        name: LEASE,
        default: Some("60s"),
        help: "how long an alert is left to the invocation that created it \
            before the sweep publishes it",
    },
    SettingSpec {
        name: CHECK_EVENTS,
        default: Some("true"),
        help: "whether events that EventBridge has sent are looked for in the log files, and \
            reported when a day later no file has them",
    },
    SettingSpec {
        name: DIGESTS,
        default: Some("false"),
        help: "whether digest files of CloudTrail are compared with the log files that were \
            processed; files that are left are fetched, or reported",
    },
    SettingSpec {
        name: PATH_STYLE,
        default: Some("false"),
        help: "whether S3 is addressed by path, for emulators of S3",
    },
];
