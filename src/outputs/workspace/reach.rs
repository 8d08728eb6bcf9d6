//! What a check from outside needs of a workspace output: the very client, tokens and addresses that the output would use.

use std::time::Duration;

use bytes::Bytes;
use http::Uri;

use super::Config;
use super::client::{headers, http_client, upload_urls};
use crate::net::http_client::{Answer, HttpClient, SendError};
use crate::outputs::config::specs;
use crate::outputs::identity::{Token, Tokens};
use crate::outputs::{BuildError, outcome};

/// Most bytes of an answer that are shown.
const SHOWN_MAX: usize = 400;

/// The way of one output to Azure.
#[derive(Debug)]
pub struct Reach {
    client: HttpClient,
    timeout: Duration,
    /// Each endpoint's name and where events would be uploaded to.
    pub endpoints: Vec<(String, Uri)>,
    /// The tokens for uploads.
    pub uploads: Tokens,
    /// The tokens of the same identity for Azure Resource Manager.
    pub management: Tokens,
}

impl Reach {
    /// For a configuration without problems. Reads certificate files.
    ///
    /// # Errors
    ///
    /// When the identity's files or the trusted certificates cannot be used.
    pub fn new(config: &Config) -> Result<Self, BuildError> {
        let client = http_client(config)?;
        let tokens = |audience: &str| {
            Tokens::new(&config.identity, config.cloud, &format!("{audience}/.default"), client.clone())
                .map_err(|source| BuildError::Identity { output: config.name.clone(), source })
        };
        let names = specs(&config.endpoints).into_iter().map(|endpoint| endpoint.name);
        Ok(Self {
            endpoints: names.zip(upload_urls(config)).collect(),
            uploads: tokens(config.cloud.monitor())?,
            management: tokens(config.cloud.resource_manager())?,
            timeout: config.timeout.get(),
            client,
        })
    }

    /// Uploads nothing: an empty array, which Azure answers as it would answer events.
    pub async fn upload_nothing(&self, url: &Uri, token: Option<&Token>) -> Result<Answer, SendError> {
        self.client.post(url, headers(token), Bytes::from_static(b"[]"), self.timeout).await
    }

    /// Asks for a resource.
    pub async fn get(&self, url: &Uri, token: Option<&Token>) -> Result<Answer, SendError> {
        self.client.get(url, headers(token), self.timeout).await
    }
}

/// Status, Azure's error code and the start of the body, safe to show.
pub fn said(answer: &Answer) -> String {
    outcome::detail(answer, SHOWN_MAX)
}
