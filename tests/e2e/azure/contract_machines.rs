//! The fake metadata services: of virtual machines, and of the agent of Azure Arc.

use std::path::PathBuf;
use std::time::Duration;

use gatepost::lab::azure::{FakeAzure, Machine, UserAssigned};
use gatepost::net::upload_client::Client;
use serde_json::Value;

use super::scene::{RULE, STREAM, azure, client, stream_url};

const RESOURCE: &str = "resource=https%3A%2F%2Fmonitor.azure.com";

async fn get(url: String, headers: &[(&str, &str)]) -> (u16, Value) {
    let answer = Client::new(None).unwrap().get_with(&url, headers, Duration::from_secs(5)).await.unwrap();
    (answer.status, serde_json::from_slice(&answer.body).unwrap())
}

/// What an endpoint says to a token.
async fn sent_with(azure: &FakeAzure, token: &Value) -> u16 {
    let bearer = format!("Bearer {}", token.as_str().unwrap());
    let url = stream_url(azure, 0, RULE, STREAM);
    let headers = [("authorization", bearer.as_str())];
    client(azure).post(&url, &headers, "[]".into(), Duration::from_secs(5)).await.unwrap().status
}

#[tokio::test]
async fn a_virtual_machine_gets_tokens_of_its_identities_with_times_as_text() {
    let azure = azure(1).await;
    azure.workspace().change_rule(RULE, |rule| rule.grant_after_requests("by-hand", 0));
    let base = format!("{}/metadata/identity/oauth2/token?api-version=2018-02-01", azure.imds_door().url());
    let metadata = [("metadata", "true")];
    assert_eq!(get(format!("{base}&{RESOURCE}"), &metadata).await.0, 400, "it has no identity yet");
    azure.imds().set_machine(Machine {
        system_assigned: Some("of-the-system".to_owned()),
        user_assigned: vec![UserAssigned {
            client_id: "by-hand".to_owned(),
            object_id: "object".to_owned(),
            resource_id: "/subscriptions/s/resourceGroups/g".to_owned(),
        }],
    });
    assert_eq!(get(format!("{base}&{RESOURCE}"), &[]).await.0, 400, "without the header");
    assert_eq!(get(base.clone(), &metadata).await.0, 400, "without a resource");
    assert_eq!(get(format!("{base}&{RESOURCE}&client_id=unknown"), &metadata).await.0, 400);
    let forwarded = [("metadata", "true"), ("x-forwarded-for", "10.0.0.1")];
    assert_eq!(get(format!("{base}&{RESOURCE}"), &forwarded).await.0, 400, "through a proxy");
    let (status, body) = get(format!("{base}&{RESOURCE}"), &metadata).await;
    assert_eq!((status, body["client_id"].as_str()), (200, Some("of-the-system")));
    assert_eq!((body["expires_in"].as_str(), body["expires_on"].is_string()), (Some("3599"), true));
    assert_eq!(sent_with(&azure, &body["access_token"]).await, 403, "it has no role");
    for asked in ["client_id=by-hand", "object_id=object", "msi_res_id=%2Fsubscriptions%2Fs%2FresourceGroups%2Fg"] {
        let (status, body) = get(format!("{base}&{RESOURCE}&{asked}"), &metadata).await;
        assert_eq!((status, body["client_id"].as_str()), (200, Some("by-hand")));
        assert_eq!(sent_with(&azure, &body["access_token"]).await, 204);
    }
}

/// The header of a challenge; the client of the product reads no such header.
async fn challenge(azure: &FakeAzure, path: &str) -> String {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    let mut stream = tokio::net::TcpStream::connect(azure.himds_door().address()).await.unwrap();
    let request = format!("GET {path} HTTP/1.1\r\nHost: localhost\r\nMetadata: true\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 401 "), "{answer}");
    let line = answer.lines().find(|line| line.to_ascii_lowercase().starts_with("www-authenticate:")).unwrap();
    line.split_once("Basic realm=").unwrap().1.to_owned()
}

#[tokio::test]
async fn an_arc_machine_proves_with_a_key_file_that_it_is_one_and_each_key_opens_once() {
    let azure = azure(1).await;
    let dir = tempfile::tempdir().unwrap();
    azure.himds().connect("machine", dir.path());
    azure.workspace().change_rule(RULE, |rule| rule.grant_after_requests("machine", 0));
    let path = format!("/metadata/identity/oauth2/token?api-version=2020-06-01&{RESOURCE}");
    let file = PathBuf::from(challenge(&azure, &path).await);
    assert_eq!((file.parent(), file.extension().unwrap().to_str()), (Some(dir.path()), Some("key")));
    let key = format!("Basic {}", std::fs::read_to_string(&file).unwrap());
    let headers = [("metadata", "true"), ("authorization", key.as_str())];
    let url = format!("{}{path}", azure.himds_door().url());
    let (status, body) = get(url.clone(), &headers).await;
    assert_eq!((status, body["expires_in"].as_str()), (200, Some("3599")));
    assert_eq!(sent_with(&azure, &body["access_token"]).await, 204);
    assert_eq!(get(url.clone(), &headers).await.0, 401, "the key was used");
    let wrong = [("metadata", "true"), ("authorization", "Basic wrong")];
    assert_eq!(get(url, &wrong).await.0, 403);
    assert_eq!(azure.himds().challenges(), 2);
    azure.himds().name_instead(Some(PathBuf::from("/etc/hostname")));
    assert_eq!(challenge(&azure, &path).await, "/etc/hostname");
}
