//! Asks the running gateway over its admin plane: where it is, with which token, and by which certificate it is known.
//!
//! All of that stands in the configuration that the gateway runs with, so that a command needs nothing else.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, anyhow, bail, ensure};
use bytes::Bytes;
use serde_json::Value;

use crate::admin;
use crate::config::Config;
use crate::faults::unread;
use crate::net::upload_client::{Answer, Client};

/// Where the admin plane is, if not where the configuration says.
#[derive(Debug, Clone, Default, clap::Args)]
pub(super) struct At {
    /// The running gateway's admin plane [default: what the configuration says]
    #[arg(long, value_name = "URL")]
    admin: Option<String>,
    /// PEM file with the authority of its certificate, or with that certificate [default: the gateway's own certificate, or the
    /// authorities of the system]
    #[arg(long, value_name = "FILE", requires = "admin")]
    admin_ca: Option<PathBuf>,
}

impl At {
    /// Whether no configuration is needed to find it.
    pub(super) fn is_given(&self) -> bool {
        self.admin.is_some()
    }
}

/// The admin plane of a gateway.
pub(super) struct AdminPlane {
    url: String,
    bearer: Option<String>,
    client: Client,
}

impl AdminPlane {
    /// That of the configuration.
    pub(super) fn of(config: &Config) -> anyhow::Result<Self> {
        Self::at(&At::default(), config)
    }

    /// That which the command line names, or else the one of the configuration.
    pub(super) fn at(at: &At, config: &Config) -> anyhow::Result<Self> {
        let bearer = config.admin.token.as_ref().map(|token| format!("Bearer {}", token.reveal()));
        let (url, client) = match &at.admin {
            Some(url) => {
                let is_whole = url.starts_with("http://") || url.starts_with("https://");
                ensure!(is_whole, "{url:?} is no URL; write http://{url}, or https:// where it speaks TLS");
                (
                    url.trim_end_matches('/').to_owned(),
                    Client::new(at.admin_ca.as_ref().map(read).transpose()?.as_deref())?,
                )
            }
            None => (url(&config.admin), client(&config.admin, &config.state_dir)?),
        };
        Ok(Self { url, bearer, client })
    }

    /// What it answers to `GET`, whatever the status, and where that was asked.
    pub(super) fn look(&self, path: &str, within: Duration) -> (String, anyhow::Result<Answer>) {
        self.ask(path, None, within)
    }

    /// The JSON that it answers to `GET`.
    pub(super) fn get(&self, path: &str, within: Duration) -> anyhow::Result<Value> {
        understood(self.ask(path, None, within))
    }

    /// The JSON that it answers to `POST`.
    pub(super) fn post(&self, path: &str, body: Bytes, within: Duration) -> anyhow::Result<Value> {
        understood(self.ask(path, Some(body), within))
    }

    fn ask(&self, path: &str, body: Option<Bytes>, within: Duration) -> (String, anyhow::Result<Answer>) {
        let url = format!("{}/{path}", self.url);
        let mut headers = vec![("content-type", "application/json")];
        headers.extend(self.bearer.as_deref().map(|bearer| ("authorization", bearer)));
        let exchange = async {
            Ok(match body {
                Some(body) => self.client.post(&url, &headers, body, within).await?,
                None => self.client.get_with(&url, &headers, within).await?,
            })
        };
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        let answer = runtime.context("no runtime").and_then(|runtime| runtime.block_on(exchange));
        (url, answer)
    }
}

fn understood((url, answer): (String, anyhow::Result<Answer>)) -> anyhow::Result<Value> {
    let answer = answer.with_context(|| url.clone())?;
    let said = String::from_utf8_lossy(&answer.body);
    if answer.status == 401 {
        bail!("{url} needs admin.token: give the gateway's configuration, which has it, with --config");
    }
    if answer.status != 200 {
        bail!("{url} answers {}: {}", answer.status, said.trim());
    }
    serde_json::from_str(&said).with_context(|| format!("{url} does not answer as a gateway"))
}

fn url(admin: &admin::Config) -> String {
    format!("{}://{}", admin.scheme(), reachable(admin.listen))
}

fn read(path: &PathBuf) -> anyhow::Result<Vec<u8>> {
    std::fs::read(path).map_err(|error| anyhow!("{} {}", path.display(), unread(&error)))
}

/// A client that knows the gateway by the certificates that the configuration gives it.
fn client(admin: &admin::Config, state_dir: &Path) -> anyhow::Result<Client> {
    if admin.scheme() == "http" {
        return Ok(Client::new(None)?);
    }
    let files = admin.tls.certificate_files(state_dir);
    Ok(Client::of_own(&files.iter().map(read).collect::<Result<Vec<_>, _>>()?)?)
}

/// Where a listener on this address is reached from the same machine.
pub(super) fn reachable(listen: SocketAddr) -> SocketAddr {
    let ip = match listen.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => IpAddr::V4(Ipv4Addr::LOCALHOST),
        IpAddr::V6(ip) if ip.is_unspecified() => IpAddr::V6(Ipv6Addr::LOCALHOST),
        ip => ip,
    };
    SocketAddr::new(ip, listen.port())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_without_a_scheme_is_told_what_to_write() {
        let at = At { admin: Some("127.0.0.1:8449".to_owned()), admin_ca: None };
        let told = AdminPlane::at(&at, &Config::default()).err().expect("it is no URL").to_string();
        assert!(told.contains("write http://127.0.0.1:8449"), "{told}");
    }

    #[test]
    fn a_missing_token_is_told_with_where_it_stands() {
        let answer = Answer { status: 401, retry_after: None, body: Bytes::from_static(b"{\"error\":{}}") };
        let told = understood(("http://x/hosts".to_owned(), Ok(answer))).expect_err("it is refused").to_string();
        assert!(told.contains("needs admin.token") && told.contains("--config") && !told.contains('{'), "{told}");
    }

    #[test]
    fn a_listener_on_every_address_is_asked_on_loopback() {
        for (listen, asked) in [
            ("0.0.0.0:8449", "127.0.0.1:8449"),
            ("[::]:8449", "[::1]:8449"),
            ("10.1.2.3:8449", "10.1.2.3:8449"),
            ("127.0.0.1:1", "127.0.0.1:1"),
        ] {
            assert_eq!(reachable(listen.parse().expect("an address")).to_string(), asked);
        }
    }
}
