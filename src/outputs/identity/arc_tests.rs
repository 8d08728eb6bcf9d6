use std::path::PathBuf;
use std::time::Duration;

use super::super::issuer::{Issuer, answer, gives};
use super::super::{Cloud, Identity, TokenError, Tokens};
use super::*;
use crate::net::http_client::HttpClient;
use crate::net::tls_client::Trust;

const SCOPE: &str = "https://monitor.azure.com/.default";

struct Place {
    root: tempfile::TempDir,
    keys: PathBuf,
}

fn place() -> Place {
    let root = tempfile::tempdir().unwrap();
    let keys = root.path().join("tokens");
    std::fs::create_dir(&keys).unwrap();
    Place { root, keys }
}

fn challenge(file: &Path) -> Vec<u8> {
    answer(401, &format!("WWW-Authenticate: Basic realm={}\r\n", file.display()), "")
}

fn tokens(issuer: &Issuer, place: &Place) -> Tokens {
    let config = Identity::Arc { endpoint: Some(issuer.url.clone()), key_dir: Some(place.keys.clone()) };
    let outward = HttpClient::new(&Trust::Nobody, Duration::from_secs(5)).unwrap();
    Tokens::new(&config, Cloud::Public, SCOPE, outward).unwrap()
}

/// What comes of a challenge that names `file`, and what was sent after it.
async fn challenged(place: &Place, file: &Path) -> Result<String, TokenError> {
    let issuer = Issuer::start().await;
    issuer.will([challenge(file), gives("arc")]);
    let result = tokens(&issuer, place).token().await;
    let asked = issuer.take();
    assert_eq!(asked[0].header("authorization"), None);
    if result.is_err() {
        assert_eq!(asked.len(), 1, "nothing may be sent after a bad challenge");
    }
    result.map(|_| asked[1].header("authorization").unwrap().to_owned())
}

#[tokio::test]
async fn the_challenge_is_solved_with_the_content_of_the_file() {
    let place = place();
    let file = place.keys.join("a.key");
    std::fs::write(&file, "abc123\n").unwrap();
    assert_eq!(challenged(&place, &file).await.unwrap(), "Basic abc123");
    std::fs::write(&file, "x".repeat(4096)).unwrap();
    assert_eq!(challenged(&place, &file).await.unwrap().len(), 6 + 4096);
}

#[tokio::test]
async fn only_small_key_files_of_the_folder_are_read() {
    let place = place();
    let write = |path: PathBuf, content: &str| {
        std::fs::write(&path, content).unwrap();
        path
    };
    let outside = write(place.root.path().join("out.key"), "canary");
    let suffix = write(place.keys.join("a.txt"), "canary");
    let large = write(place.keys.join("large.key"), &"canary ".repeat(1000));
    let folder = place.keys.join("folder.key");
    std::fs::create_dir(&folder).unwrap();
    for (file, why) in [
        (outside, "is not in"),
        (place.keys.join("../out.key"), "leads out of"),
        (suffix, ".key file"),
        (large, "4,096 bytes"),
        (folder, "4,096 bytes"),
        (place.keys.join("absent.key"), "absent.key"),
        (PathBuf::from("a.key"), "is not in"),
    ] {
        let error = challenged(&place, &file).await.unwrap_err();
        assert!(error.detail.contains(why) && !format!("{error:?}").contains("canary "), "{error}");
    }
}

#[cfg(unix)]
#[tokio::test]
async fn links_out_of_the_folder_are_not_followed() {
    let place = place();
    let outside = place.root.path().join("out.key");
    std::fs::write(&outside, "canary").unwrap();
    let link = place.keys.join("link.key");
    std::os::unix::fs::symlink(&outside, &link).unwrap();
    let error = challenged(&place, &link).await.unwrap_err();
    assert!(error.detail.contains("leads out of") && error.detail.contains("not read"), "{error}");
    let other = place.keys.join("plain.txt");
    std::fs::write(&other, "canary").unwrap();
    let link = place.keys.join("renamed.key");
    std::os::unix::fs::symlink(&other, &link).unwrap();
    challenged(&place, &link).await.unwrap_err();
}

#[tokio::test]
async fn a_challenge_that_names_nothing_is_an_error() {
    for header in ["", "WWW-Authenticate: Bearer\r\n", "WWW-Authenticate: Basic realm=\r\n"] {
        let issuer = Issuer::start().await;
        issuer.will([answer(401, header, "")]);
        let error = tokens(&issuer, &place()).token().await.unwrap_err();
        assert!(error.detail.contains("no challenge"), "{error}");
    }
}

#[test]
fn the_agent_is_on_this_machine() {
    for endpoint in ["http://10.0.0.1:40342", "http://arc.example", "http://127.0.0.1.example", "https://localhost"] {
        let error = ArcServer::new(Some(endpoint), None, SCOPE).err().unwrap();
        assert_eq!(error.key, "endpoint", "{endpoint}");
    }
    for endpoint in ["http://localhost:40342", "http://127.0.0.1:1", "http://[::1]:1/"] {
        assert!(ArcServer::new(Some(endpoint), None, SCOPE).is_ok(), "{endpoint}");
    }
}

#[test]
fn who_may_not_read_the_folder_is_told_of_the_group() {
    // Root may read everything, so the refusal itself is made here.
    let denied = std::io::Error::from(ErrorKind::PermissionDenied);
    let failure = unreadable(Path::new("/x/a.key"), &denied);
    assert!(failure.error.advice.unwrap().contains("himds"));
    assert_eq!(unreadable(Path::new("/x"), &ErrorKind::NotFound.into()).error.advice, None);
}
