//! Credentials as analysts have them: in the environment, in profiles of every kind, from
//! containers and instances.

use aws_config::{
    SdkConfig, default_provider::credentials::DefaultCredentialsChain, ecs::EcsCredentialsProvider,
    environment::EnvironmentVariableCredentialsProvider,
    imds::credentials::ImdsCredentialsProvider, meta::credentials::CredentialsProviderChain,
    profile::ProfileFileCredentialsProvider, provider_config::ProviderConfig,
};
use aws_credential_types::provider::{
    self, ProvideCredentials, SharedCredentialsProvider, error::CredentialsError,
    future::ProvideCredentials as Provided,
};

use super::{GLOBAL_REGION, profiles::SelectedProfile};

/// The variable that names the file of a web identity token.
const TOKEN_FILE: &str = "AWS_WEB_IDENTITY_TOKEN_FILE";

/// The credentials of a run. The SDK requests them again before they expire; each error names the
/// profile and the remedy.
#[derive(Debug)]
pub(super) struct RunCredentials {
    /// Keys in the environment; `None` if a profile was named, which then counts alone.
    environment: Option<EnvironmentVariableCredentialsProvider>,
    /// The profile, or why it cannot be used.
    profile: Result<SelectedProfile, String>,
    provider: SharedCredentialsProvider,
}

impl RunCredentials {
    /// Credentials for a configuration; makes no calls yet.
    pub(super) async fn new(config: &SdkConfig, named: Option<&str>) -> Self {
        // The services that give credentials are regional; without a region they are global.
        let region = config.region().cloned();
        let region = region.unwrap_or(aws_config::Region::from_static(GLOBAL_REGION));
        let settings = ProviderConfig::default()
            .with_region(Some(region.clone()))
            .with_use_fips(config.use_fips())
            .with_use_dual_stack(config.use_dual_stack());
        let provider = match named {
            Some(name) => SharedCredentialsProvider::new(of_profile(&settings, name)),
            None => {
                let chain = DefaultCredentialsChain::builder()
                    .region(region)
                    .configure(settings);
                SharedCredentialsProvider::new(chain.build().await)
            }
        };
        Self {
            environment: named
                .is_none()
                .then(EnvironmentVariableCredentialsProvider::new),
            profile: SelectedProfile::load(named).await,
            provider,
        }
    }

    async fn load(&self) -> provider::Result {
        // Keys in the environment count before a broken profile, which they may not need.
        if let Some(environment) = &self.environment
            && let Ok(credentials) = environment.provide_credentials().await
        {
            return Ok(credentials);
        }
        let profile = self.profile.as_ref();
        let profile = profile.map_err(|why| CredentialsError::provider_error(why.as_str()))?;
        let provided = self.provider.provide_credentials().await;
        provided.map_err(|error| {
            let by_variables = self.environment.is_some() && profile.leaves_it_to_variables();
            let token = token_file_problem().filter(|_| by_variables);
            CredentialsError::provider_error(token.unwrap_or_else(|| profile.explained(&error)))
        })
    }
}

/// Why the file of a web identity token cannot be read that the environment names; `None` if it
/// can be, or if none is named.
fn token_file_problem() -> Option<String> {
    let file = std::env::var_os(TOKEN_FILE).filter(|file| !file.is_empty())?;
    let error = std::fs::read(&file).err()?;
    Some(format!(
        "the web identity token of {TOKEN_FILE}={} cannot be read: {error}; put the token there, \
         or unset the variable",
        file.display()
    ))
}

impl ProvideCredentials for RunCredentials {
    fn provide_credentials<'a>(&'a self) -> Provided<'a>
    where
        Self: 'a,
    {
        Provided::new(self.load())
    }
}

/// A profile that was named, before containers and instances: keys in the environment do not
/// replace it, as in the AWS CLI.
fn of_profile(settings: &ProviderConfig, name: &str) -> CredentialsProviderChain {
    let profile = ProfileFileCredentialsProvider::builder()
        .configure(settings)
        .profile_name(name);
    let container = EcsCredentialsProvider::builder().configure(settings);
    let instance = ImdsCredentialsProvider::builder().configure(settings);
    CredentialsProviderChain::first_try("Profile", profile.build())
        .or_else("EcsContainer", container.build())
        .or_else("Ec2InstanceMetadata", instance.build())
}
