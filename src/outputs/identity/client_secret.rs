//! An application that proves itself with a secret.

use futures_util::FutureExt;
use futures_util::future::BoxFuture;

use super::entra::App;
use super::source::{Failure, Fetched, Source};
use crate::values::Secret;

/// Asks with the secret.
pub(super) struct ClientSecret {
    app: App,
    secret: Secret,
}

impl ClientSecret {
    pub(super) fn new(app: App, secret: Secret) -> Self {
        Self { app, secret }
    }
}

impl Source for ClientSecret {
    fn fetch(&self) -> BoxFuture<'_, Result<Fetched, Failure>> {
        async { self.app.fetch(&[("client_secret", self.secret.reveal())]).await }.boxed()
    }
}
