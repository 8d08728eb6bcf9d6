//! Documents that whoever runs the engine can neither read nor make: sealed with what only gateways have.
//!
//! The name and the revision of a document are part of its seal, so that none can be put in the place of another one. What is
//! left to him is to remove documents, and to put an older one in the place of a newer: its users notice that by its revision.

use std::sync::Arc;

use aws_lc_rs::aead::{AES_256_GCM, Aad, NONCE_LEN, Nonce, RandomizedNonceKey};
use aws_lc_rs::error::Unspecified;
use aws_lc_rs::hmac;
use futures_util::future::BoxFuture;
use tokio::sync::watch;

use super::{Away, Document, Revisions, Store};

/// What the key is made of beside the secret.
const LABEL: &[u8] = b"gatepost: documents that gateways share\n";

/// Documents in a store, sealed.
pub struct Sealed {
    store: Arc<dyn Store>,
    key: RandomizedNonceKey,
}

impl Sealed {
    /// Over a store, with the secret of the installation.
    ///
    /// # Errors
    ///
    /// When the cryptography refuses a key of the right length, which it never does.
    pub fn over(store: Arc<dyn Store>, secret: &[u8]) -> Result<Self, Unspecified> {
        let key = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, secret), LABEL);
        Ok(Self { store, key: RandomizedNonceKey::new(&AES_256_GCM, key.as_ref())? })
    }

    fn seal(&self, name: &str, document: &Document) -> Result<Document, Unspecified> {
        let mut sealed = document.content.clone();
        let nonce = self.key.seal_in_place_append_tag(of(name, &document.revision), &mut sealed)?;
        let content = [nonce.as_ref().as_slice(), &sealed].concat();
        Ok(Document { revision: document.revision.clone(), content })
    }

    fn open(&self, name: &str, document: Document) -> Result<Document, Unspecified> {
        let Document { revision, content } = document;
        let (nonce, sealed) = content.split_first_chunk::<NONCE_LEN>().ok_or(Unspecified)?;
        let mut sealed = sealed.to_vec();
        let nonce = Nonce::assume_unique_for_key(*nonce);
        let content = self.key.open_in_place(nonce, of(name, &revision), &mut sealed)?.to_vec();
        Ok(Document { revision, content })
    }
}

/// What stands in the clear and cannot be changed.
fn of(name: &str, revision: &str) -> Aad<Vec<u8>> {
    Aad::from([name.as_bytes(), revision.as_bytes()].join(&0))
}

fn foreign(name: &str) -> Away {
    Away(format!("the document {name:?} was not written by a gateway that has this secret"))
}

impl Store for Sealed {
    fn get<'a>(&'a self, name: &'a str) -> BoxFuture<'a, Result<Option<Document>, Away>> {
        Box::pin(async move {
            let found = self.store.get(name).await?;
            found.map(|document| self.open(name, document).map_err(|_| foreign(name))).transpose()
        })
    }

    fn compare_and_set<'a>(
        &'a self,
        name: &'a str,
        expected: Option<&'a str>,
        document: &'a Document,
    ) -> BoxFuture<'a, Result<bool, Away>> {
        Box::pin(async move {
            let sealed = self.seal(name, document).map_err(|_| Away("it cannot be sealed".to_owned()))?;
            self.store.compare_and_set(name, expected, &sealed).await
        })
    }

    fn watch(&self) -> watch::Receiver<Revisions> {
        self.store.watch()
    }
}

#[cfg(test)]
mod tests {
    use super::super::in_memory::InMemory;
    use super::*;

    #[tokio::test]
    async fn who_runs_the_engine_can_neither_read_a_document_nor_put_one_in_the_place_of_another() {
        let engine = Arc::new(InMemory::default());
        let gateway = Sealed::over(engine.clone(), b"the secret").unwrap();
        let document = Document::after("", b"a private key".to_vec());
        assert_eq!(gateway.compare_and_set("keys", None, &document).await, Ok(true));
        assert_eq!(gateway.get("keys").await, Ok(Some(document.clone())));
        let seen = engine.get("keys").await.unwrap().unwrap();
        assert_eq!(seen.revision, document.revision);
        assert!(!seen.content.windows(7).any(|part| part == b"private"), "it is sealed");

        engine.compare_and_set("agents", None, &seen).await.unwrap();
        assert!(gateway.get("agents").await.is_err(), "by another name");
        let later = Document { revision: Document::after(&seen.revision, Vec::new()).revision, ..seen.clone() };
        engine.compare_and_set("keys", Some(&seen.revision), &later).await.unwrap();
        assert!(gateway.get("keys").await.is_err(), "as a later one");
        let stranger = Sealed::over(engine.clone(), b"another secret").unwrap();
        engine.compare_and_set("keys", Some(&later.revision), &seen).await.unwrap();
        assert!(stranger.get("keys").await.is_err(), "with another secret");
        assert_eq!(gateway.get("keys").await, Ok(Some(document)));
    }

    #[tokio::test]
    async fn what_is_too_short_for_a_seal_is_refused() {
        let engine = Arc::new(InMemory::default());
        engine.compare_and_set("keys", None, &Document::after("", b"short".to_vec())).await.unwrap();
        assert!(Sealed::over(engine, b"the secret").unwrap().get("keys").await.is_err());
    }
}
