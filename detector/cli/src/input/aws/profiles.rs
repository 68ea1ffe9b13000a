//! The profile of a run: where its credentials come from, and what to do when they do not come.

use std::collections::BTreeSet;

use aws_config::profile::{self, Profile, ProfileSet};
use aws_credential_types::provider::error::CredentialsError;
use aws_sdk_s3::error::ConnectorError;
use secretrail_aws::plain::{causes, plain};

/// Names of profiles that a message lists.
const NAMES: usize = 20;

/// Key of the profile from which the role of another one is assumed.
const SOURCE_PROFILE: &str = "source_profile";

/// The profile that counts, and the source of its credentials.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct SelectedProfile {
    name: String,
    /// The role that it assumes.
    role: Option<String>,
    /// The profile at the end of its `source_profile`s, with the first credentials.
    base: String,
    source: CredentialSource,
    /// Names of all profiles.
    names: Vec<String>,
}

/// Where a profile has its credentials from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum CredentialSource {
    /// A session of IAM Identity Center.
    IdentityCenter,
    /// A session of `aws login`.
    Login,
    /// The output of a command.
    Process,
    /// A web identity token in a file.
    WebIdentity,
    /// Keys, or a role of the container or instance.
    Other,
}

impl SelectedProfile {
    /// The profile of `--profile`, of `AWS_PROFILE`, or the default one.
    ///
    /// # Errors
    ///
    /// Why it cannot be used, and the remedy.
    pub(super) async fn load(named: Option<&str>) -> Result<Self, String> {
        let named = named.map(|name| name.to_owned().into());
        let (disk, environment, files) = Default::default();
        let set = profile::load(&disk, &environment, &files, named)
            .await
            .map_err(|error| format!("the AWS configuration cannot be used: {}", plain(&error)))?;
        Self::of(&set)
    }

    fn of(set: &ProfileSet) -> Result<Self, String> {
        let name = set.selected_profile();
        let mut selected = Self {
            name: name.to_owned(),
            role: None,
            base: name.to_owned(),
            source: CredentialSource::Other,
            names: names(set),
        };
        let Some(mut profile) = set.get_profile(name) else {
            // Without a default profile, credentials may still come from elsewhere.
            return match name {
                "default" => Ok(selected),
                _ => Err(selected.is_missing(name)),
            };
        };
        selected.role = assumed_role(profile).map(str::to_owned);
        let mut visited = BTreeSet::from([name]);
        while let Some(next) = selected.next_profile(profile)? {
            // The SDK refuses circles, with the names.
            if !visited.insert(next) {
                break;
            }
            let there = set.get_profile(next);
            profile = there.ok_or_else(|| {
                let missing = selected.is_missing(next);
                format!("profile `{}`: {SOURCE_PROFILE}: {missing}", profile.name())
            })?;
        }
        selected.base = profile.name().to_owned();
        selected.source = source(profile)?;
        if selected.source == CredentialSource::IdentityCenter
            && let Some(session) = profile.get("sso_session")
            && set.sso_session(session).is_none()
        {
            return Err(without_session(profile.name(), session, set));
        }
        Ok(selected)
    }

    /// The profile whose credentials assume the role of this one.
    fn next_profile<'p>(&self, profile: &'p Profile) -> Result<Option<&'p str>, String> {
        let in_chain = profile.name() != self.name;
        // Further down the chain keys come first, as in the AWS CLI.
        if assumed_role(profile).is_none() || (in_chain && has_keys(profile)) {
            return Ok(None);
        }
        if let Some(device) = profile.get("mfa_serial") {
            return Err(self.needs_code(profile.name(), device));
        }
        let next = profile.get(SOURCE_PROFILE);
        Ok(next.filter(|next| *next != profile.name()))
    }

    fn needs_code(&self, profile: &str, device: &str) -> String {
        let name = &self.name;
        format!(
            "profile `{profile}` needs a one-time code of {device} (mfa_serial), and Secretrail \
             does not ask for codes; let the AWS CLI ask: \
             `eval \"$(aws configure export-credentials --profile {name} --format env)\"`, \
             then run this command without --profile"
        )
    }

    fn is_missing(&self, name: &str) -> String {
        if self.names.is_empty() {
            return format!(
                "there is no profile `{name}`, nor any other, in the AWS configuration; create \
                 one with `aws configure` or `aws configure sso`"
            );
        }
        format!(
            "there is no profile `{name}` in the AWS configuration; there are: {}",
            self.listed(name)
        )
    }

    /// The names of the profiles, the most similar ones first.
    fn listed(&self, name: &str) -> String {
        let mut names: Vec<&str> = self.names.iter().map(String::as_str).collect();
        names.sort_by_key(|known| strsim::damerau_levenshtein(known, name));
        let more = names.len().saturating_sub(NAMES);
        names.truncate(NAMES);
        let names = names.join(", ");
        match more {
            0 => names,
            more => format!("{names} and {more} more"),
        }
    }

    /// Whether the variables AWS_WEB_IDENTITY_TOKEN_FILE and AWS_ROLE_ARN count: the profile has
    /// nothing that comes before them.
    pub(super) fn leaves_it_to_variables(&self) -> bool {
        self.source == CredentialSource::Other && self.role.is_none()
    }

    /// Why the credentials of the profile did not come, and the remedy, on one line.
    pub(super) fn explained(&self, error: &CredentialsError) -> String {
        if matches!(error, CredentialsError::CredentialsNotLoaded(_)) {
            return self.without_credentials();
        }
        let (name, base, why) = (&self.name, &self.base, plain(error));
        // Before the source is looked at: without a network, a new login would not help.
        if causes(error).any(|cause| cause.is::<ConnectorError>()) {
            return format!(
                "the endpoint that gives credentials for profile `{name}` could not be reached: \
                 {why}; check the network"
            );
        }
        if let Some(role) = self
            .role
            .as_ref()
            .filter(|_| why.contains("sts:AssumeRole"))
        {
            return format!(
                "profile `{name}` cannot assume {role}: {why}; check role_arn, {SOURCE_PROFILE} \
                 and the trust policy of the role"
            );
        }
        match self.source {
            CredentialSource::IdentityCenter if why.contains("ForbiddenException") => format!(
                "IAM Identity Center denies the role of profile `{base}`: {why}; check \
                 sso_account_id and sso_role_name"
            ),
            CredentialSource::IdentityCenter => format!(
                "the IAM Identity Center session of profile `{base}` has expired or was not \
                 started: {why}; run `aws sso login --profile {base}`"
            ),
            CredentialSource::Login => format!(
                "the session of profile `{base}` has expired or was not started: {why}; run \
                 `aws login --profile {base}`"
            ),
            CredentialSource::Process => format!(
                "credential_process of profile `{base}` failed: {why}; run its command by itself \
                 to see what it needs"
            ),
            CredentialSource::WebIdentity => format!(
                "the web identity token of profile `{base}` was not accepted: {why}; check \
                 web_identity_token_file and role_arn"
            ),
            CredentialSource::Other => format!(
                "the credentials could not be loaded: {why}; check profile `{name}` and the \
                 variables AWS_*, or use --profile"
            ),
        }
    }

    /// The names of the other profiles.
    fn others(&self) -> Vec<String> {
        let names = self.names.iter().filter(|known| **known != self.name);
        names.cloned().collect()
    }

    fn without_credentials(&self) -> String {
        let name = &self.name;
        let places = "the environment, a container or an instance role";
        if self.names.iter().any(|known| known == name) {
            let others = Self {
                names: self.others(),
                ..self.clone()
            };
            let another = match others.names.is_empty() {
                true => String::new(),
                false => format!(", or use another --profile: {}", others.listed(name)),
            };
            return format!(
                "profile `{name}` has no credentials, and there are none in {places}; add some \
                 with `aws configure sso --profile {name}`{another}"
            );
        }
        let remedy = if self.names.is_empty() {
            "create a profile with `aws configure sso`, or set AWS_ACCESS_KEY_ID and \
             AWS_SECRET_ACCESS_KEY"
                .to_owned()
        } else {
            let profiles = self.listed(name);
            format!("use --profile or AWS_PROFILE with one of these profiles: {profiles}")
        };
        format!("there are no AWS credentials in a default profile, {places}; {remedy}")
    }
}

/// Why a profile cannot be used whose session of IAM Identity Center has no section of its own.
fn without_session(name: &str, session: &str, set: &ProfileSet) -> String {
    let mut sessions: Vec<&str> = set.sso_sessions().collect();
    sessions.sort_unstable();
    let there = match sessions.is_empty() {
        true => String::new(),
        false => format!(" (there are: {})", sessions.join(", ")),
    };
    format!(
        "profile `{name}` has sso_session = {session}, and the AWS configuration has no section \
         [sso-session {session}]{there}; run `aws configure sso --profile {name}`"
    )
}

fn names(set: &ProfileSet) -> Vec<String> {
    let mut names: Vec<String> = set.profiles().map(str::to_owned).collect();
    names.sort_unstable();
    names
}

/// The role that a profile assumes with the credentials of another. A role for a web identity
/// token needs none.
fn assumed_role(profile: &Profile) -> Option<&str> {
    match profile.get("web_identity_token_file") {
        Some(_) => None,
        None => profile.get("role_arn"),
    }
}

fn has_keys(profile: &Profile) -> bool {
    let keys = ["aws_access_key_id", "aws_secret_access_key"];
    keys.iter().all(|key| profile.get(key).is_some())
}

/// The source of the first credentials of a profile, in the order of the SDK.
fn source(profile: &Profile) -> Result<CredentialSource, String> {
    let is_set = |key: &str| profile.get(key).is_some();
    if is_set("credential_source") {
        return Ok(CredentialSource::Other);
    }
    if is_set("web_identity_token_file") {
        return Ok(CredentialSource::WebIdentity);
    }
    let identity_center = [
        "sso_session",
        "sso_start_url",
        "sso_account_id",
        "sso_role_name",
    ];
    if identity_center.into_iter().any(is_set) {
        let name = profile.name();
        return match ["sso_account_id", "sso_role_name"]
            .into_iter()
            .find(|key| !is_set(key))
        {
            Some(key) => Err(format!(
                "profile `{name}` has no {key}; run `aws configure sso --profile {name}`"
            )),
            None => Ok(CredentialSource::IdentityCenter),
        };
    }
    Ok(if is_set("login_session") {
        CredentialSource::Login
    } else if is_set("credential_process") {
        CredentialSource::Process
    } else {
        CredentialSource::Other
    })
}
