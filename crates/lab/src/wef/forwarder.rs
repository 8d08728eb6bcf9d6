//! One host that forwards.

use std::time::Duration;

use anyhow::{Context as _, bail};
use bytes::Bytes;

use super::super::events::SimulatedEvent;
use super::log::{Log, Place, event_111};
use super::sldc;
use super::soap::{self, Message, Start, Told};
use gatepost_net::net::upload_client::{Answer, Client};

/// How long an answer is waited for.
const TIMEOUT: Duration = Duration::from_secs(60);
/// Deliveries that fail in a row before a subscription lapses.
const RETRIES: u32 = 5;

/// Who a host is and where it forwards to.
pub struct Setting {
    /// Its name.
    pub host: String,
    /// The address of its subscription manager, `https://gateway:5986/wsman/SubscriptionManager/WEC`.
    pub manager: String,
    /// Shows its certificate.
    pub client: Client,
}

/// What goes wrong on the host's side of the wire.
#[derive(Debug, Clone, Copy, Default)]
pub struct Faults {
    /// The share of the answers that never arrive.
    pub lost_answers: f64,
    /// The share of the deliveries before which a subscription begins anew, from the bookmark that the collector has.
    pub forgetfulness: f64,
}

/// A host that forwards.
pub struct Forwarder {
    setting: Setting,
    faults: Faults,
    log: Log,
    subscriptions: Vec<Subscribed>,
    rng: fastrand::Rng,
    #[cfg(feature = "kerberos")]
    line: Option<super::kerberos::Line>,
}

/// A subscription that lives.
struct Subscribed {
    told: Told,
    place: Place,
    failures: u32,
    /// Whether the event that begins it is still to be sent.
    begins: bool,
}

impl Forwarder {
    /// A host with an empty log and no subscription.
    pub fn new(setting: Setting, faults: Faults, seed: u64) -> Self {
        Self {
            setting,
            faults,
            log: Log::default(),
            subscriptions: Vec::new(),
            rng: fastrand::Rng::with_seed(seed),
            #[cfg(feature = "kerberos")]
            line: None,
        }
    }

    /// The same, which shows tickets in place of a certificate.
    #[cfg(feature = "kerberos")]
    #[must_use]
    pub fn on(self, line: super::kerberos::Line) -> Self {
        Self { line: Some(line), ..self }
    }

    /// Shows another certificate from now on: with its next connection.
    pub fn show(&mut self, client: Client) {
        self.setting.client = client;
    }

    /// Reaches another collector from now on, with its next enumeration.
    pub fn turn_to(&mut self, setting: Setting) {
        self.setting = setting;
    }

    /// Writes an event into its log.
    pub fn log(&mut self, event: &SimulatedEvent) {
        self.log.push(event);
    }

    /// The names of its subscriptions, with the thumbprint of the authority that each asks for.
    pub fn subscriptions(&self) -> impl Iterator<Item = (&str, &str)> {
        self.subscriptions.iter().map(|subscribed| (subscribed.told.name.as_str(), subscribed.told.thumbprint.as_str()))
    }

    /// Asks for its subscriptions. What it has in the same version lives on; all else begins anew.
    ///
    /// # Errors
    ///
    /// When there is no answer, or not the one that Windows needs.
    pub async fn enumerate(&mut self) -> anyhow::Result<()> {
        let url = self.setting.manager.clone();
        let (id, answer) = self.send(&Message::Enumerate, &url, "", false).await?;
        if answer.status != 200 {
            bail!("the enumeration is answered with {}: {}", answer.status, String::from_utf8_lossy(&answer.body));
        }
        let told = soap::subscriptions(&soap::narrow(&answer.body)?, &id)?;
        let before = std::mem::take(&mut self.subscriptions);
        for told in told {
            let same = |subscribed: &&Subscribed| subscribed.told.version == told.version;
            let lives = before.iter().find(same).filter(|subscribed| subscribed.failures <= RETRIES);
            let subscribed = match lives {
                Some(lives) => {
                    Subscribed { told, place: lives.place.clone(), failures: lives.failures, begins: lives.begins }
                }
                None => self.begin(told),
            };
            self.subscriptions.push(subscribed);
        }
        self.send(&Message::End, &url, "", false).await?;
        Ok(())
    }

    fn begin(&self, told: Told) -> Subscribed {
        let (place, begins) = match &told.start {
            Start::At(place) => (place.clone(), false),
            Start::Earliest => (Place::default(), false),
            Start::Now => (self.log.end(&told.channels), true),
        };
        Subscribed { told, place, failures: 0, begins }
    }

    /// Says of each subscription that it is there.
    ///
    /// # Errors
    ///
    /// When one is not acknowledged.
    pub async fn heartbeat(&mut self) -> anyhow::Result<()> {
        for told in self.subscriptions.iter().map(|subscribed| subscribed.told.clone()).collect::<Vec<_>>() {
            let (id, answer) =
                self.send(&Message::Heartbeat, &told.notify_to, &told.identifier, told.compressed).await?;
            acknowledged(&answer, &id)?;
        }
        Ok(())
    }

    /// Delivers everything, in batches of so many events. How many events were acknowledged: those of several subscriptions
    /// count in each.
    ///
    /// # Errors
    ///
    /// When a delivery failed. It is tried again with the next call; a subscription for which too many failed begins anew.
    pub async fn deliver(&mut self, most: usize) -> anyhow::Result<usize> {
        let mut count = 0;
        for at in 0..self.subscriptions.len() {
            while let Some(sent) = self.deliver_one(at, most).await? {
                count += sent;
            }
        }
        Ok(count)
    }

    /// One delivery of one subscription; nothing when it has nothing to send.
    async fn deliver_one(&mut self, at: usize, most: usize) -> anyhow::Result<Option<usize>> {
        if self.subscriptions[at].failures > RETRIES || self.rng.f64() < self.faults.forgetfulness {
            self.subscriptions[at].failures = RETRIES + 1;
            self.enumerate().await?;
            return Ok(if at < self.subscriptions.len() { Some(0) } else { None });
        }
        let subscribed = &self.subscriptions[at];
        let told = subscribed.told.clone();
        let first = event_111(&self.setting.host);
        let (events, behind) = match subscribed.begins {
            true => (vec![first.as_str()], subscribed.place.clone()),
            false => {
                let batch = self.log.batch(&told.channels, &subscribed.place, most);
                (batch.events, batch.behind)
            }
        };
        if events.is_empty() {
            return Ok(None);
        }
        let begins = subscribed.begins;
        let count = if begins { 0 } else { events.len() };
        let message = Message::Events { bookmark: behind.written(begins), events };
        let body = self.body(&message, &told.notify_to, &told.identifier);
        let sent =
            self.post(&told.notify_to, body, told.compressed).await.and_then(|(id, answer)| acknowledged(&answer, &id));
        let lost = self.rng.f64() < self.faults.lost_answers;
        let subscribed = &mut self.subscriptions[at];
        if let Err(error) = sent.and_then(|()| if lost { bail!("the answer was lost") } else { Ok(()) }) {
            subscribed.failures += 1;
            return Err(error);
        }
        (subscribed.place, subscribed.failures, subscribed.begins) = (behind, 0, false);
        Ok(Some(count))
    }

    /// Gives up every subscription, as a host does whose query cannot be used.
    ///
    /// # Errors
    ///
    /// When there is no answer.
    pub async fn give_up(&mut self, code: u32) -> anyhow::Result<()> {
        for told in std::mem::take(&mut self.subscriptions).into_iter().map(|subscribed| subscribed.told) {
            self.send(&Message::SubscriptionEnd { code }, &told.notify_to, &told.identifier, told.compressed).await?;
            // Windows says of this one that it is compressed, and it is not.
            let (_, text) = self.body(&Message::End, &told.notify_to, "");
            self.exchange(&told.notify_to, soap::wide(&text).into(), true).await?;
        }
        Ok(())
    }

    async fn send(
        &self,
        message: &Message<'_>,
        url: &str,
        identifier: &str,
        compressed: bool,
    ) -> anyhow::Result<(String, Answer)> {
        self.post(url, self.body(message, url, identifier), compressed).await
    }

    /// A message id, and the message.
    fn body(&self, message: &Message<'_>, url: &str, identifier: &str) -> (String, String) {
        let hex = format!("{:032X}", fastrand::u128(..));
        let id = format!("uuid:{}-{}-{}-{}-{}", &hex[..8], &hex[8..12], &hex[12..16], &hex[16..20], &hex[20..]);
        let text = soap::written(message, &self.setting.host, url, &id, identifier);
        (id, text)
    }

    async fn post(
        &self,
        url: &str,
        (id, text): (String, String),
        compressed: bool,
    ) -> anyhow::Result<(String, Answer)> {
        let wide = soap::wide(&text);
        let body: Bytes = if compressed { sldc::compressed(&wide).into() } else { wide.into() };
        Ok((id, self.exchange(url, body, compressed).await?))
    }

    async fn exchange(&self, url: &str, body: Bytes, compressed: bool) -> anyhow::Result<Answer> {
        #[cfg(feature = "kerberos")]
        if let Some(line) = &self.line {
            return tokio::time::timeout(TIMEOUT, line.post(url, compressed, &body)).await?;
        }
        Ok(self.setting.client.post(url, &headers(compressed), body, TIMEOUT).await?)
    }
}

fn headers(compressed: bool) -> Vec<(&'static str, &'static str)> {
    let mut headers = vec![
        ("content-type", "application/soap+xml;charset=UTF-16"),
        ("user-agent", "Microsoft WinRM Client"),
        ("authorization", "http://schemas.dmtf.org/wbem/wsman/1/wsman/secprofile/https/mutual"),
    ];
    if compressed {
        headers.push(("content-encoding", "SLDC"));
    }
    headers
}

fn acknowledged(answer: &Answer, id: &str) -> anyhow::Result<()> {
    if answer.status != 200 {
        bail!("answered with {}: {}", answer.status, String::from_utf8_lossy(&answer.body));
    }
    let text = soap::narrow(&answer.body).context("the acknowledgement")?;
    soap::check_acknowledgement(&text, id)
}
