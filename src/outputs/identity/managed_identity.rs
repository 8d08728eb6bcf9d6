//! The managed identity of an Azure virtual machine: its metadata service knows who is asking.

use futures_util::FutureExt;
use futures_util::future::BoxFuture;

use super::IdentityError;
use super::answer;
use super::metadata::Metadata;
use super::source::{Failure, Fetched, Source};

/// Where the service is on every virtual machine of Azure.
const ENDPOINT: &str = "http://169.254.169.254";
const API_VERSION: &str = "2018-02-01";

/// By what a user-assigned identity is named.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Identifier {
    Client,
    Object,
    Resource,
}

/// Asks the metadata service.
pub(super) struct ManagedIdentity {
    metadata: Metadata,
    /// How the identity is called in advice.
    shown: String,
}

impl ManagedIdentity {
    /// `which` names a user-assigned identity; the machine's own when there is none.
    ///
    /// # Errors
    ///
    /// When `endpoint` is no address.
    pub(super) fn new(
        endpoint: Option<&str>,
        which: Option<(Identifier, String)>,
        scope: &str,
    ) -> Result<Self, IdentityError> {
        let mut query = vec![("api-version", API_VERSION)];
        if let Some((kind, id)) = &which {
            let key = match kind {
                Identifier::Client => "client_id",
                Identifier::Object => "object_id",
                Identifier::Resource => "msi_res_id",
            };
            query.push((key, id));
        }
        let metadata = Metadata::new(endpoint.unwrap_or(ENDPOINT), scope, &query)?;
        let shown =
            which.map_or_else(|| "a system-assigned identity".to_owned(), |(_, id)| format!("the identity {id}"));
        Ok(Self { metadata, shown })
    }

    async fn ask(&self) -> Result<Fetched, Failure> {
        let answer = self.metadata.ask(None).await?;
        let asked = self.metadata.shown();
        answer::read(&asked, &answer, &[])?.map_err(|refusal| {
            let advice = match refusal.status {
                400 => Some(format!("Give this virtual machine {} in Azure.", self.shown)),
                403 => Some("Let Gatepost reach the metadata service: something between blocks it.".to_owned()),
                _ => None,
            };
            refusal.into_failure(&asked, &answer, advice)
        })
    }
}

impl Source for ManagedIdentity {
    fn fetch(&self) -> BoxFuture<'_, Result<Fetched, Failure>> {
        self.ask().boxed()
    }
}
