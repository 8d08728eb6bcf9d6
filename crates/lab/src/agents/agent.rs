//! One agent.

use std::time::Duration;

use anyhow::{Context as _, bail, ensure};
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use bytes::Bytes;
use time::OffsetDateTime;

use super::buffer::{Budget, Buffer, Chunk, Lost, Upload};
use super::certificate::OwnCertificate;
use super::{Kind, messages};
use crate::events::SimulatedEvent;
use gatepost_net::net::upload_client::{Answer, Client};

/// How long an answer is waited for.
const TIMEOUT: Duration = Duration::from_secs(60);
const JSON: &str = "/OperationalData.svc/PostJsonDataItems";
const XML: &str = "/EventDataService.svc/PostDataItems?api-version=2016-04-01";

/// Who an agent is and where it sends.
#[derive(Debug, Clone)]
pub struct Setting {
    /// Which agent it is.
    pub kind: Kind,
    /// The gateway, such as `https://127.0.0.1:8443`.
    pub gateway: String,
    /// The gateway's certificate, or that of its authority, in PEM form.
    pub ca: Option<Vec<u8>>,
    /// The workspace.
    pub workspace: String,
    /// One of its keys, in base64.
    pub key: String,
    /// The computer that it runs on.
    pub computer: String,
    /// Its GUID.
    pub agent: String,
    /// Whether its events tell their record id and the time of their log, as some senders' do.
    pub with_record_ids: bool,
    /// Whether its certificate is so old that the gateway asks for another one.
    pub renews_soon: bool,
}

/// What a refresh told an agent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Told {
    /// Whether to renew the certificate.
    pub renew: bool,
    /// Where.
    pub renewal_address: String,
    /// How often to refresh, as it was written.
    pub refresh_every: String,
}

/// An agent.
pub struct Agent {
    setting: Setting,
    certificate: OwnCertificate,
    client: Client,
    buffer: Buffer,
    /// The share of the answers that never arrive.
    lost_answers: f64,
    rng: fastrand::Rng,
    /// The time of its last sign of life.
    alive_s: i64,
}

impl Agent {
    /// One that has made its certificate and is not registered yet.
    ///
    /// # Errors
    ///
    /// When the certificate of the gateway cannot be used.
    pub fn new(setting: Setting, lost_answers: f64, seed: u64) -> anyhow::Result<Self> {
        let make = if setting.renews_soon { OwnCertificate::near_its_end } else { OwnCertificate::new };
        let certificate = make(setting.kind, &setting.workspace, &setting.agent)?;
        let client = Client::showing(setting.ca.as_deref(), certificate.shown())?;
        let buffer = Buffer::new(Budget::of(setting.kind));
        let (rng, alive_s) = (fastrand::Rng::with_seed(seed), OffsetDateTime::now_utc().unix_timestamp());
        Ok(Self { setting, certificate, client, buffer, lost_answers, rng, alive_s })
    }

    /// Registers with the key of the workspace.
    ///
    /// # Errors
    ///
    /// When it is not taken, with the reason, or the answer lacks what an agent needs.
    pub async fn register(&self) -> anyhow::Result<Told> {
        let body = self.topology();
        let key = BASE64_STANDARD.decode(&self.setting.key).context("the key of the workspace")?;
        let signed = messages::signed(&self.setting.workspace, &key, &body);
        let mut headers = vec![("x-ms-version", "August, 2014"), ("Accept-Language", "en-US")];
        headers.extend(signed.iter().map(|(name, value)| (*name, &**value)));
        told(&self.post(&self.topology_path(), &headers, body.into()).await?)
    }

    /// Refreshes the registration, known by the certificate alone.
    ///
    /// # Errors
    ///
    /// As [`Self::register`].
    pub async fn refresh(&self) -> anyhow::Result<Told> {
        let date = now();
        let headers = [("x-ms-Date", &*date), ("Accept-Language", "en-US")];
        told(&self.post(&self.topology_path(), &headers, self.topology().into()).await?)
    }

    /// Reports about itself.
    ///
    /// # Errors
    ///
    /// When it is not taken.
    pub async fn telemetry(&self) -> anyhow::Result<()> {
        let body = serde_json::json!({ "OSType": "Linux", "QoS": [] }).to_string();
        let answer =
            self.post("/AgentService.svc/AgentTelemetry", &[("Content-Type", "application/json")], body.into());
        taken(&answer.await?)
    }

    /// Makes another certificate, has it taken by showing the one before, and refreshes with the new one. Whatever fails, it goes
    /// on with the one that it had.
    ///
    /// # Errors
    ///
    /// When a step failed.
    pub async fn renew(&mut self, address: &str) -> anyhow::Result<()> {
        let Setting { kind, workspace, agent, ca, .. } = &self.setting;
        let new = OwnCertificate::new(*kind, workspace, agent)?;
        let client = Client::showing(ca.as_deref(), new.shown())?;
        // The address names the gateway as it was asked.
        let path = address.find("/ConfigurationService").map(|at| &address[at..]);
        let path = path.context("the address of renewals is none")?;
        taken(&self.post(path, &[], messages::renewal(new.der()).into()).await?)?;
        let before = (std::mem::replace(&mut self.certificate, new), std::mem::replace(&mut self.client, client));
        let refreshed = self.refresh().await.and_then(|told| {
            ensure!(!told.renew, "told to renew a certificate that is new: the agent would do so for ever");
            Ok(())
        });
        if refreshed.is_err() {
            (self.certificate, self.client) = before;
        }
        refreshed
    }

    /// Puts a sign of life and these events into the buffer, as one chunk.
    pub fn collect(&mut self, events: &[SimulatedEvent]) {
        // A minute lies between two signs of life.
        self.alive_s += 60;
        let seconds = self.alive_s;
        let computer = &self.setting.computer;
        let heartbeat =
            messages::json("HEALTH_ASSESSMENT_BLOB", "LogManagement", &[messages::heartbeat(computer, seconds)]);
        let mut uploads = vec![json(heartbeat, 1)];
        match self.setting.kind {
            Kind::Linux => {
                let line = |event: &SimulatedEvent| {
                    let ticks = event.ticks();
                    messages::syslog(computer, event.record_id(), ticks.div_euclid(crate::events::TICKS_PER_SECOND))
                };
                let lines: Vec<_> = events.iter().map(line).collect();
                uploads.push(json(messages::json("LINUX_SYSLOGS_BLOB", "LOGMANAGEMENT", &lines), events.len()));
            }
            Kind::Windows => uploads.push(Upload {
                path: XML,
                content_type: "application/xml; charset=utf-8",
                body: messages::xml("SECURITY_EVENT_BLOB", events, self.setting.with_record_ids),
                items: events.len(),
            }),
        }
        self.buffer.push(Chunk { uploads, tries: 0 });
    }

    /// How many chunks wait.
    pub fn waiting(&self) -> usize {
        self.buffer.len()
    }

    /// What was given up.
    pub fn lost(&self) -> Lost {
        self.buffer.lost
    }

    /// Sends the first chunk, whole. How many items were taken; `Err` with how long the agent would wait now, and nothing where it
    /// has given the chunk up.
    pub async fn flush(&mut self) -> Result<usize, (Option<Duration>, anyhow::Error)> {
        let Some(chunk) = self.buffer.first().cloned() else { return Ok(0) };
        match self.send(&chunk).await {
            Ok(()) => {
                self.buffer.taken();
                Ok(chunk.uploads.iter().map(|upload| upload.items).sum())
            }
            // What was taken of it goes again with the rest.
            Err(error) => Err((self.buffer.failed(), error)),
        }
    }

    async fn send(&mut self, chunk: &Chunk) -> anyhow::Result<()> {
        for upload in &chunk.uploads {
            let tries = chunk.tries.to_string();
            let id = format!("{:032x}", self.rng.u128(..));
            let packed = deflated(&upload.body);
            let headers = [
                ("Content-Type", upload.content_type),
                ("Content-Encoding", "deflate"),
                ("X-Request-ID", &*id),
                ("x-ms-client-request-retry-count", &tries),
                ("x-ms-client-version", "1.14.0"),
                ("x-ms-client-platform", if self.setting.kind == Kind::Linux { "Linux" } else { "Windows" }),
                ("x-ms-AzureRegion", "OnPremise"),
            ];
            let answer = self.post(upload.path, &headers, packed.into()).await?;
            if self.rng.f64() < self.lost_answers {
                bail!("the answer was lost");
            }
            taken(&answer)?;
        }
        Ok(())
    }

    fn topology(&self) -> String {
        let Setting { kind, computer, agent, .. } = &self.setting;
        messages::topology(*kind, computer, agent, self.certificate.der())
    }

    fn topology_path(&self) -> String {
        let kind = if self.setting.kind == Kind::Linux { "Linux" } else { "" };
        format!("/AgentService.svc/{kind}AgentTopologyRequest")
    }

    async fn post(&self, path: &str, headers: &[(&str, &str)], body: Bytes) -> anyhow::Result<Answer> {
        let name = match self.setting.kind {
            Kind::Linux => "LinuxMonitoringAgent/1.14.0-0",
            Kind::Windows => "MonitoringAgent/OneAgent",
        };
        // Each request is a connection of its own.
        let mut all = vec![("User-Agent", name), ("Connection", "close")];
        all.extend_from_slice(headers);
        let url = format!("{}{path}", self.setting.gateway.trim_end_matches('/'));
        Ok(self.client.post(&url, &all, body, TIMEOUT).await?)
    }
}

fn json(body: Vec<u8>, items: usize) -> Upload {
    Upload { path: JSON, content_type: "application/json", body, items }
}

/// In zlib's form, which is what they mean by deflate.
fn deflated(body: &[u8]) -> Vec<u8> {
    use std::io::Write as _;
    let mut packer = flate2::write::ZlibEncoder::new(Vec::new(), flate2::Compression::fast());
    packer.write_all(body).expect("memory takes what is written to it");
    packer.finish().expect("memory takes what is written to it")
}

fn now() -> String {
    let now = OffsetDateTime::now_utc();
    let (date, clock) = (now.date(), now.time());
    let (hour, minute, second) = clock.as_hms();
    format!("{date}T{hour:02}:{minute:02}:{second:02}.{:09}+00:00", clock.nanosecond())
}

fn taken(answer: &Answer) -> anyhow::Result<()> {
    ensure!((200..300).contains(&answer.status), "answered with {}: {}", answer.status, reason(answer));
    Ok(())
}

/// The one line that agents show.
fn reason(answer: &Answer) -> String {
    let text = String::from_utf8_lossy(&answer.body);
    let told = text.split_once("<Reason>").and_then(|(_, rest)| rest.split_once("</Reason>"));
    told.map_or_else(|| text.trim().to_owned(), |(reason, _)| reason.to_owned())
}

fn told(answer: &Answer) -> anyhow::Result<Told> {
    ensure!(answer.status == 200, "answered with {}: {}", answer.status, reason(answer));
    let text = String::from_utf8_lossy(&answer.body);
    let missing = |what: &str| format!("the answer has no {what}: {text}");
    messages::attribute(&text, "telemetryReportInterval").with_context(|| missing("telemetryReportInterval"))?;
    let renew = messages::attribute(&text, "updateCertificate").with_context(|| missing("updateCertificate"))?;
    let every = messages::attribute(&text, "queryInterval").with_context(|| missing("queryInterval"))?;
    let address = messages::renewal_address(&text).with_context(|| missing("address of renewals"))?;
    Ok(Told { renew: renew == "true", renewal_address: address.to_owned(), refresh_every: every.to_owned() })
}
