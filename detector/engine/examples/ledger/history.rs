//! The reads of the history, each with its KMS Decrypt.

/// Roles.
pub(crate) const PRINCIPALS: u64 = 3_000;
/// Secrets.
pub(crate) const SECRETS: u64 = 20_000;
/// Teams, each with as many roles and secrets.
pub(crate) const TEAMS: u64 = 200;
/// Addresses, most of them in private networks.
const SOURCES: u64 = 50_000;

/// 2026-03-02T10:00:00Z.
const START: u64 = 1_772_445_600;
const SPAN: u64 = 90 * 86_400;

const CLIENTS: [&str; 4] = [
    "aws-sdk-go-v2/1.32.6 os/linux lang/go#1.23.4 md/GOOS#linux api/secretsmanager#1.34.1",
    "Boto3/1.35.10 md/Botocore#1.35.10 ua/2.0 os/linux#6.1 lang/python#3.12.4",
    "aws-sdk-java/2.28.1 Linux/6.1 OpenJDK_64-Bit_Server_VM/21 Java/21.0.4 vendor/Amazon",
    "aws-sdk-nodejs/2.1691.0 linux/v20.17.0 promise",
];

/// Numbers that look random, and are the same in every run (splitmix64).
struct Draws(u64);

impl Draws {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    fn unit(&mut self) -> f64 {
        (self.next() >> 11) as f64 / (1_u64 << 53) as f64
    }

    /// A rank below `of`, Zipf-distributed with an exponent other than 1.
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "ranks are small and positive"
    )]
    fn rank(&mut self, of: u64, exponent: f64) -> u64 {
        let least = 1.0 - exponent;
        let span = 1.0 - (of as f64 + 1.0).powf(least);
        let rank = self.unit().mul_add(-span, 1.0).powf(1.0 / least);
        (rank as u64).clamp(1, of) - 1
    }
}

/// What one read is about.
struct Story {
    role: String,
    session: String,
    secret: String,
    /// Number of the secret.
    secret_number: u64,
    source: String,
    client: &'static str,
    is_denied: bool,
    time: String,
    n: u64,
}

/// A second of the history as RFC 3339.
fn time_text(secs: u64) -> String {
    let (days, second) = (secs / 86_400, secs % 86_400);
    // Days to a date, by Howard Hinnant's `civil_from_days`, for years after 1970.
    let shifted = days + 719_468;
    let (era, day_of_era) = (shifted / 146_097, shifted % 146_097);
    let year_of_era =
        (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted_month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * shifted_month + 2) / 5 + 1;
    let month = if shifted_month < 10 {
        shifted_month + 3
    } else {
        shifted_month - 9
    };
    let year = era * 400 + year_of_era + u64::from(month <= 2);
    let (hour, minute, second) = (second / 3_600, second / 60 % 60, second % 60);
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}Z")
}

/// When the object with a read is delivered.
pub(crate) fn delivered(n: u64, reads: u64) -> String {
    time_text(START + n * SPAN / reads + 240)
}

fn story(n: u64, reads: u64) -> Story {
    let mut draws = Draws(n);
    let principal = draws.rank(PRINCIPALS, 1.01);
    let team = principal % TEAMS;
    let is_foreign = draws.next().is_multiple_of(1_000);
    let owner = if is_foreign {
        draws.next() % TEAMS
    } else {
        team
    };
    // Each role has its own favourites among the secrets of the team, and its own addresses.
    let of_team = (principal / TEAMS * 7 + draws.rank(SECRETS / TEAMS, 1.6)) % (SECRETS / TEAMS);
    let source = (principal * 17 + draws.rank(SOURCES, 1.8)) % SOURCES;
    let (high, low) = (source / 250, source % 250 + 1);
    let source = if source.is_multiple_of(500) {
        format!("198.51.100.{low}")
    } else {
        format!("10.{}.{}.{low}", high / 100, high % 100)
    };
    Story {
        role: format!("team-{team}-app-{principal}"),
        session: format!("run-{:016x}", draws.next()),
        secret: format!("team-{owner}/db-{of_team}"),
        secret_number: owner * (SECRETS / TEAMS) + of_team,
        source,
        client: CLIENTS
            .get((principal % 4) as usize)
            .copied()
            .unwrap_or_default(),
        is_denied: draws.next().is_multiple_of(100),
        time: time_text(START + n * SPAN / reads),
        n,
    }
}

impl Story {
    fn identity(&self, key: char, via: &str) -> String {
        let Self {
            role, session, n, ..
        } = self;
        format!(
            r#"{{"type":"AssumedRole","principalId":"AROAEXAMPLE:{session}","arn":"arn:aws:sts::111122223333:assumed-role/{role}/{session}","accountId":"111122223333","accessKeyId":"ASIA{key}{n:015X}","sessionContext":{{"sessionIssuer":{{"type":"Role","principalId":"AROAEXAMPLE","arn":"arn:aws:iam::111122223333:role/{role}","accountId":"111122223333","userName":"{role}"}},"webIdFederationData":{{}},"attributes":{{"creationDate":"{}","mfaAuthenticated":"false"}}}}{via}}}"#,
            self.time
        )
    }

    fn record(&self, service: &str, api: &str, from: [&str; 2], about: &str, key: char) -> String {
        let [source, client] = from;
        let n = self.n;
        let via = if api == "Decrypt" {
            r#","invokedBy":"secretsmanager.amazonaws.com""#
        } else {
            ""
        };
        format!(
            r#"{{"eventVersion":"1.11","userIdentity":{},"eventTime":"{}","eventSource":"{service}.amazonaws.com","eventName":"{api}","awsRegion":"eu-west-1","sourceIPAddress":"{source}","userAgent":"{client}",{about},"requestID":"{key}0000000-0000-4000-8000-{n:012x}","eventID":"{key}1111111-0000-4000-8000-{n:012x}","readOnly":true,"eventType":"AwsApiCall","managementEvent":true,"recipientAccountId":"111122223333","eventCategory":"Management","tlsDetails":{{"tlsVersion":"TLSv1.3","cipherSuite":"TLS_AES_128_GCM_SHA256"}}}}"#,
            self.identity(key, via),
            self.time
        )
    }
}

/// The records of one read: with its KMS Decrypt, unless it is denied.
pub(crate) fn read(n: u64, reads: u64) -> Vec<String> {
    let story = story(n, reads);
    let Story {
        role,
        session,
        secret,
        ..
    } = &story;
    let arn = format!("arn:aws:secretsmanager:eu-west-1:111122223333:secret:{secret}-AbCdEf");
    let from = [story.source.as_str(), story.client];
    if story.is_denied {
        let about = format!(
            r#""errorCode":"AccessDenied","errorMessage":"User: arn:aws:sts::111122223333:assumed-role/{role}/{session} is not authorized to perform: secretsmanager:GetSecretValue on resource: {arn} because no identity-based policy allows the secretsmanager:GetSecretValue action","requestParameters":null,"responseElements":null"#
        );
        return vec![story.record("secretsmanager", "GetSecretValue", from, &about, 'a')];
    }
    let asked = format!(r#""requestParameters":{{"secretId":"{secret}"}},"responseElements":null"#);
    let key = story.secret_number % 50;
    let used = format!(
        r#""requestParameters":{{"encryptionContext":{{"SecretARN":"{arn}","SecretVersionId":"00000000-0000-4000-8000-{:012}"}},"encryptionAlgorithm":"SYMMETRIC_DEFAULT"}},"responseElements":null,"resources":[{{"accountId":"111122223333","type":"AWS::KMS::Key","ARN":"arn:aws:kms:eu-west-1:111122223333:key/00000000-0000-4000-8000-{key:012}"}}]"#,
        story.secret_number
    );
    let service = "secretsmanager.amazonaws.com";
    vec![
        story.record("secretsmanager", "GetSecretValue", from, &asked, 'a'),
        story.record("kms", "Decrypt", [service, service], &used, 'b'),
    ]
}
