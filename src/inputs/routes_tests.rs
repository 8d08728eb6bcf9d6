use std::path::Path;

use futures_util::future::BoxFuture;
use tokio::sync::mpsc::{Sender, channel};
use tower::ServiceExt as _;

use super::*;
use crate::ingest::Refusal;

/// Shows what it gets and never comes to an end.
struct Endless(Sender<Upload>);

impl Accept for Endless {
    fn accept(&self, upload: Upload) -> BoxFuture<'static, Result<Receipt, Refusal>> {
        self.0.try_send(upload).expect("there is room for one");
        Box::pin(std::future::pending())
    }
}

fn opened(config: &Config) -> Opened {
    Opened::new(config, None, &Shared::over(Path::new("/nonexistent")), &Opened::default()).expect("nothing is read")
}

fn post(body: Body) -> Request {
    let mut request = Request::post("/v1/events").body(body).expect("a request");
    request.extensions_mut().insert(Peer { address: [127, 0, 0, 1].into(), certificate: Arc::default(), leaf: None });
    request
}

#[tokio::test]
async fn a_body_that_is_not_compressed_may_take_all_memory() {
    let (shown, mut uploads) = channel(1);
    let router = router(&Config::default(), Arc::new(Endless(shown)), opened(&Config::default()), &Memory::new(4096));
    let text = format!("{{\"a\":\"{}\"}}", "x".repeat(3_000));
    let answering = tokio::spawn(router.oneshot(post(Body::from(text.clone()))));
    assert_eq!(uploads.recv().await.expect("it is handed on").body, text);
    answering.abort();
}

#[tokio::test]
async fn a_client_that_goes_away_is_known_to_have_gone() {
    let (shown, mut uploads) = channel(1);
    let router =
        router(&Config::default(), Arc::new(Endless(shown)), opened(&Config::default()), &Memory::new(1 << 30));
    let answering = tokio::spawn(router.oneshot(post(Body::from("{}"))));
    let upload = uploads.recv().await.expect("it is handed on");
    assert!(!upload.presence.has_gone());
    // What a connection does with a request whose client resets it.
    answering.abort();
    assert!(answering.await.is_err());
    assert!(upload.presence.has_gone());
}

#[tokio::test]
async fn a_form_for_a_token_takes_nothing_of_the_memory_of_uploads_and_waits_for_none_of_it() {
    let (shown, _uploads) = channel(1);
    let folder = tempfile::tempdir().expect("a folder");
    let issuer = Issuer::open(&entra::Config::default(), "uploads", folder.path(), None).expect("it opens");
    let bodies = Memory::new(4096);
    let mut all = bodies.share(&Who::default());
    all.grow_to(all.most()).expect("nobody else has any");
    let opened = Opened { issuer: Some(Arc::new(issuer)), ..Opened::default() };
    let router = router(&Config::default(), Arc::new(Endless(shown)), opened, &bodies);
    let ask = |path: &str| {
        let mut request = post(Body::from("x".repeat(3_000)));
        *request.uri_mut() = path.parse().expect("a path");
        request.headers_mut().insert(header::HOST, HeaderValue::from_static("gate"));
        router.clone().oneshot(request)
    };
    let answer = ask("/tenant.example/oauth2/v2.0/token").await.expect("an answer");
    assert_eq!(answer.status(), http::StatusCode::BAD_REQUEST, "the form was read, and says nothing");
}
