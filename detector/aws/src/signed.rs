//! Calls to AWS services for which no SDK client is in the tree: requests are signed with SigV4,
//! sent, and repeated when they failed for a passing reason.

mod endpoint;
pub mod json;
pub mod service;

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, SystemTime},
};

use aws_credential_types::{
    Credentials,
    provider::{ProvideCredentials, error::CredentialsError},
};
use aws_sdk_s3::{
    config::http::{HttpRequest, HttpResponse},
    error::ConnectorError,
    primitives::{ByteStream, SdkBody},
};
use aws_sigv4::{
    http_request::{SignableBody, SignableRequest, SigningSettings, sign},
    sign::v4,
};
use aws_smithy_http_client::default_connector;
use aws_smithy_runtime_api::client::http::{
    HttpConnector, HttpConnectorSettings, SharedHttpConnector,
};
use aws_types::SdkConfig;
use tokio::time::timeout;

use self::service::AwsService;
use crate::{
    cause::FailureCause,
    retry::{FailedCall, RetryPolicy},
};

const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// Credentials are asked for again this long before they expire.
const EXPIRY_MARGIN: Duration = Duration::from_secs(300);
/// Longest answer that is read, in bytes.
const LONGEST_ANSWER: usize = 64 * 1024 * 1024;

/// A request before it is signed.
#[derive(Debug)]
pub struct ApiRequest<'r> {
    /// The service.
    pub service: &'r AwsService,
    /// Name of the region.
    pub region: &'r str,
    /// As in `POST`.
    pub method: &'static str,
    /// Path and query, escaped.
    pub path: &'r str,
    /// Names in lower case.
    pub headers: Vec<(&'static str, String)>,
    /// The body; may be empty.
    pub body: String,
    /// The error in an answer of this protocol.
    pub failed: fn(&ApiAnswer) -> FailedCall,
}

/// An answer.
#[derive(Debug)]
pub struct ApiAnswer {
    /// HTTP status.
    pub status: u16,
    /// Names in lower case.
    pub headers: Vec<(String, String)>,
    /// The body; may be empty.
    pub body: Vec<u8>,
}

impl ApiAnswer {
    /// A header by its name in lower case; `None` where it is missing.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&str> {
        let found = self.headers.iter().find(|(known, _)| known == name);
        found.map(|(_, value)| value.as_str())
    }
}

/// The client of all services. Clones share connections and credentials.
#[derive(Debug, Clone)]
pub struct SignedClient {
    config: SdkConfig,
    limits: CallLimits,
    connector: Option<SharedHttpConnector>,
    credentials: Arc<Mutex<Option<Credentials>>>,
}

/// How long calls may take, and how often they are tried.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CallLimits {
    /// Longest wait for credentials.
    pub credentials: Duration,
    /// Longest wait for the answer of one try, its body included.
    pub answer: Duration,
    /// Tries, and the waits before them.
    pub retry: RetryPolicy,
}

impl SignedClient {
    /// A client with the region, credentials and endpoints of a configuration; makes no calls yet.
    #[must_use]
    pub fn new(config: &SdkConfig, limits: CallLimits) -> Self {
        let settings = HttpConnectorSettings::builder()
            .connect_timeout(CONNECT_TIMEOUT)
            .read_timeout(limits.answer)
            .build();
        let connector = default_connector(&settings, config.sleep_impl());
        Self {
            config: config.clone(),
            limits,
            connector,
            credentials: Arc::default(),
        }
    }

    /// Sends a request, several times if it fails for a passing reason. All requests made here may
    /// be repeated.
    ///
    /// # Errors
    ///
    /// [`FailedCall`]: why the last try failed.
    pub async fn send(&self, request: &ApiRequest<'_>) -> Result<ApiAnswer, FailedCall> {
        let mut tries = self.limits.retry.tries();
        loop {
            let failed = match self.once(request).await {
                Ok(answer) => return Ok(answer),
                Err(failed) => failed,
            };
            if !failed.retry || !tries.again() {
                return Err(failed);
            }
            tries.wait().await;
        }
    }

    async fn once(&self, request: &ApiRequest<'_>) -> Result<ApiAnswer, FailedCall> {
        let credentials = self.credentials().await?;
        let signed = self.signed(request, credentials)?;
        let connector = self.connector.as_ref().ok_or_else(|| {
            FailedCall::interrupted("this build has no HTTP client with TLS".to_owned())
        })?;
        // The connector's own limit ends with the headers of the answer.
        let exchange = async { read(connector.call(signed).await.map_err(unreachable)?).await };
        let answer = timeout(self.limits.answer, exchange).await;
        let answer = answer.map_err(|late| unanswered(&late))??;
        match answer.status {
            200..=299 => Ok(answer),
            _ => Err((request.failed)(&answer)),
        }
    }

    /// The credentials of the run, as long as they last.
    async fn credentials(&self) -> Result<Credentials, FailedCall> {
        let known = self.credentials.lock();
        let known = known.unwrap_or_else(PoisonError::into_inner).clone();
        if let Some(known) = known.filter(|known| lasts(known, SystemTime::now())) {
            return Ok(known);
        }
        let provider = self.config.credentials_provider();
        let provider = provider.ok_or_else(|| {
            let none = CredentialsError::not_loaded("there are no AWS credentials");
            FailedCall::unanswered(FailureCause::NoCredentials, &none)
        })?;
        let provided = timeout(self.limits.credentials, provider.provide_credentials()).await;
        let provided = provided.map_err(|late| unanswered(&late))?;
        let provided = provided
            .map_err(|error| FailedCall::unanswered(FailureCause::NoCredentials, &error))?;
        let mut known = self.credentials.lock();
        let known = known.as_deref_mut();
        if let Ok(known) = known {
            *known = Some(provided.clone());
        }
        Ok(provided)
    }

    fn signed(
        &self,
        request: &ApiRequest<'_>,
        credentials: Credentials,
    ) -> Result<HttpRequest, FailedCall> {
        let base = endpoint::url(&self.config, request.service, request.region);
        let url = format!("{base}{}", request.path);
        let added = signature(request, &url, credentials)?;
        let mut signed = HttpRequest::new(SdkBody::from(request.body.clone()));
        let target = signed.set_method(request.method);
        target.map_err(|error| unsigned(&error))?;
        signed.set_uri(url).map_err(|error| unsigned(&error))?;
        for (name, value) in &request.headers {
            signed.headers_mut().insert(*name, value.clone());
        }
        for (name, value) in added {
            signed.headers_mut().insert(name, value);
        }
        Ok(signed)
    }
}

/// The headers that sign a request: its time, the session token and the signature.
fn signature(
    request: &ApiRequest<'_>,
    url: &str,
    credentials: Credentials,
) -> Result<Vec<(&'static str, String)>, FailedCall> {
    let identity = credentials.into();
    let parameters = v4::SigningParams::builder()
        .identity(&identity)
        .region(request.region)
        .name(request.service.signing)
        .time(SystemTime::now())
        .settings(SigningSettings::default())
        .build()
        .map_err(|error| unsigned(&error))?
        .into();
    let headers = request.headers.iter();
    let signable = SignableRequest::new(
        request.method,
        url,
        headers.map(|(name, value)| (*name, value.as_str())),
        SignableBody::Bytes(request.body.as_bytes()),
    );
    let signable = signable.map_err(|error| unsigned(&error))?;
    let output = sign(signable, &parameters).map_err(|error| unsigned(&error))?;
    let (added, _) = output.into_parts().0.into_parts();
    let added = added.iter();
    Ok(added
        .map(|header| (header.name(), header.value().to_owned()))
        .collect())
}

async fn read(response: HttpResponse) -> Result<ApiAnswer, FailedCall> {
    let status = response.status().as_u16();
    let headers = response.headers().iter();
    let headers = headers.map(|(name, value)| (name.to_ascii_lowercase(), value.to_owned()));
    let headers = headers.collect();
    let mut stream = ByteStream::new(response.into_body());
    let mut body = Vec::new();
    while let Some(piece) = stream.next().await {
        let piece = piece.map_err(|error| unanswered(&error))?;
        if body.len() + piece.len() > LONGEST_ANSWER {
            let message = format!("the answer is longer than {LONGEST_ANSWER} bytes");
            return Err(FailedCall {
                retry: false,
                ..FailedCall::interrupted(message)
            });
        }
        body.extend_from_slice(&piece);
    }
    Ok(ApiAnswer {
        status,
        headers,
        body,
    })
}

fn lasts(credentials: &Credentials, now: SystemTime) -> bool {
    let expiry = credentials.expiry();
    expiry.is_none_or(|expiry| expiry > now + EXPIRY_MARGIN)
}

fn unreachable(error: ConnectorError) -> FailedCall {
    unanswered(&error)
}

fn unanswered(error: &(dyn std::error::Error + 'static)) -> FailedCall {
    FailedCall::unanswered(FailureCause::Unreachable, error)
}

fn unsigned(error: &(dyn std::error::Error + 'static)) -> FailedCall {
    FailedCall::unanswered(FailureCause::Other, error)
}
