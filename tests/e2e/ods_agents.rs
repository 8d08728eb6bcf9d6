//! Who an agent is, over the wire: renewals that the gateway asks for, tokens in the place of certificates, certificates of others,
//! and clones.

use gatepost::lab::agents::{Agent, Kind, OwnCertificate, Setting};
use gatepost::net::upload_client::Client;

use crate::ods::{AGENT, COMPUTER, JSON, Scene, WORKSPACE, json, post, reason, registration, signed};

const REGISTER: &str = "/AgentService.svc/AgentTopologyRequest";
/// An item that tells no time, as some senders' do.
const TIMELESS: &str = "[{\"Rule\":\"baseline\",\"Result\":\"passed\"}]";

async fn is_told_to_renew(agent: &Agent) -> bool {
    agent.refresh().await.expect("it is known").renew
}

#[tokio::test(flavor = "multi_thread")]
async fn an_agent_whose_certificate_ends_soon_is_told_to_renew_it_and_never_at_once_or_again() {
    let scene = Scene::new("").await;
    let mut running = scene.site.start().await;
    for (at, kind) in [(1, Kind::Linux), (2, Kind::Windows)] {
        let setting = scene.setting(kind, &format!("host{at}.plant.example"), at);
        let mut agent = Agent::new(Setting { renews_soon: true, ..setting }, 0.0, 1).expect("it is made");
        assert!(!agent.register().await.expect("it is taken").renew, "it would renew for ever");
        assert!(!is_told_to_renew(&agent).await, "nor with the first refresh");
        assert!(is_told_to_renew(&agent).await, "eleven months are over");
        running.kill();
        running = scene.site.start().await;
        assert!(!is_told_to_renew(&agent).await, "the first after a start");
        let told = agent.refresh().await.expect("it is known");
        assert!(told.renew && told.renewal_address.starts_with(&scene.site.url("")), "{told:?}");
        agent.renew(&told.renewal_address).await.expect("it is taken, and the agent is not told again");
        running.kill();
        running = scene.site.start().await;
        assert!(!is_told_to_renew(&agent).await && !is_told_to_renew(&agent).await, "it is good for a year");
    }
    scene
        .site
        .until("the old certificates go", async || scene.site.status().await["agents"]["known"].as_u64() == Some(2))
        .await;
    scene.ends_well(running).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn agents_in_containers_upload_with_a_token_in_the_place_of_a_certificate_and_do_nothing_else_with_it() {
    // The SHA-256 of "test".
    const TOKEN: &str = "auth.tokens = [{ name = \"cluster\", sha256 = \"9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08\" }]\n";
    let scene = Scene::with("", TOKEN).await;
    let running = scene.site.start().await;
    let client = scene.site.client();
    let items = r#"[{"Origin":"container.azm.ms/telegraf","Namespace":"prometheus","Name":"up","Value":1,"CollectionTime":"2026-11-30T06:00:00Z","Computer":"kube-node-1"}]"#;
    let body = json("INSIGHTS_METRICS_BLOB", items);
    let send = async |path: &str, token: &str| {
        let shown = [("Authorization", format!("Bearer {token}")), ("Content-Type", "application/json".to_owned())];
        post(&client, &scene.site.url(path), &shown, body.as_str()).await
    };
    assert_eq!(send(JSON, "test").await.status, 200, "{}", scene.site.log());
    running.kill();
    let running = scene.site.start().await;
    assert_eq!(send(JSON, "test").await.status, 200, "it is tried again after the answer was lost");
    assert_eq!(scene.spooled().await, 0, "that added nothing");
    let wrong = send(JSON, "tset").await;
    assert_eq!(wrong.status, 403);
    reason(&wrong);
    for path in [REGISTER, "/AgentService.svc/AgentTelemetry", "/ConfigurationService.Svc/RenewCertificate"] {
        assert_eq!(send(path, "test").await.status, 403, "{path}");
    }
    assert_eq!(scene.site.status().await["agents"]["known"].as_u64(), Some(0));
    scene.until_accounted(1).await;
    scene.ends_well(running).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_certificate_of_another_agent_is_not_taken_from_it_by_who_has_only_seen_it() {
    let scene = Scene::new("").await;
    let running = scene.site.start().await;
    let pem = std::fs::read(scene.site.state().join("tls/cert.pem")).expect("the certificate of the first start");
    let [own, thief] = [(); 2].map(|()| OwnCertificate::new(Kind::Linux, WORKSPACE, AGENT).expect("it is made"));
    let client = Client::showing(Some(&pem), own.shown()).expect("a client");
    let body = registration(own.der());
    assert_eq!(post(&client, &scene.site.url(REGISTER), &signed(&body, 0), body.as_str()).await.status, 200);

    // He has a key of the workspace, as each of its machines has.
    let as_another = body.replace(COMPUTER, "thief.plant.example").replace(AGENT, WORKSPACE);
    let answer =
        post(&scene.site.client(), &scene.site.url(REGISTER), &signed(&as_another, 0), as_another.as_str()).await;
    assert_eq!((answer.status, reason(&answer).contains("another agent")), (403, true), "{}", reason(&answer));
    let his = registration(thief.der()).replace(COMPUTER, "thief.plant.example").replace(AGENT, WORKSPACE);
    let showing = Client::showing(Some(&pem), thief.shown()).expect("a client");
    assert_eq!(post(&showing, &scene.site.url(REGISTER), &signed(&his, 0), his.as_str()).await.status, 200);
    let (_, certificate) = body.split_once("<AuthenticationCertificate>").expect("there is one");
    let (certificate, _) = certificate.split_once('<').expect("it ends");
    let renewal =
        format!("<CertificateUpdateRequest><NewCertificate>{certificate}</NewCertificate></CertificateUpdateRequest>");
    let answer = post(&showing, &scene.site.url("/ConfigurationService.Svc/RenewCertificate"), &[], renewal).await;
    assert_eq!((answer.status, reason(&answer).contains("another agent")), (403, true));

    assert_eq!(post(&client, &scene.site.url(JSON), &[], json("OPERATION_BLOB", TIMELESS)).await.status, 200);
    let agents = scene.site.status().await["agents"].clone();
    let busiest = &agents["first"][0];
    assert_eq!((busiest["computer"].as_str(), busiest["events"].as_u64()), (Some(COMPUTER), Some(1)), "{agents:#}");
    scene.ends_well(running).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn equal_uploads_without_a_time_are_one_when_the_agent_tried_again_and_two_when_clones_or_it_began_anew() {
    let scene = Scene::new("").await;
    let running = scene.site.start().await;
    let pem = std::fs::read(scene.site.state().join("tls/cert.pem")).expect("the certificate of the first start");
    let clone = async |computer: &str| {
        let own = OwnCertificate::new(Kind::Linux, WORKSPACE, AGENT).expect("it is made");
        let client = Client::showing(Some(&pem), own.shown()).expect("a client");
        let body = registration(own.der()).replace(COMPUTER, computer);
        let answer = post(&client, &scene.site.url(REGISTER), &signed(&body, 0), body.as_str()).await;
        assert_eq!(answer.status, 200, "{}", scene.site.log());
        client
    };
    let (first, second) = (clone("web01.plant.example").await, clone("web02.plant.example").await);
    let send = async |client: &Client, tries: &str| {
        let tries = [("x-ms-client-request-retry-count", tries.to_owned())];
        let answer = post(client, &scene.site.url(JSON), &tries, json("SECURITY_BASELINE_BLOB", TIMELESS)).await;
        assert_eq!(answer.status, 200, "{}", scene.site.log());
        scene.spooled().await
    };
    assert_eq!(send(&first, "0").await, 1);
    assert_eq!(send(&first, "1").await, 1, "the answer was lost");
    assert_eq!(send(&second, "0").await, 2, "cloned machines share their GUID");
    assert_eq!(send(&first, "0").await, 3, "all is well for a second time");
    assert_eq!(send(&first, "1").await, 3);
    scene.ends_well(running).await;
}
