//! Where `gatepost send` uploads: where it is told, else at the first listener of the configuration, else at the default one.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, anyhow};

use super::uploader::Target;
use super::{Args, Global};
use crate::cli::admin_plane::reachable;
use crate::config::Config;
use crate::faults::unread;
use crate::inputs;
use crate::net::tls_server::Mode;
use crate::net::upload_client::Client;

/// Where a gateway without a configuration takes uploads.
const DEFAULT_TO: &str = "https://127.0.0.1:8443";

/// The certificate that `gatepost run` makes for itself when it has no configuration.
const DEFAULT_CA: &str = "gatepost-state/tls/cert.pem";

/// Where to, and with whom.
pub(super) struct Door {
    /// What is posted to.
    pub(super) target: Target,
    /// Who posts.
    pub(super) client: Client,
}

impl Door {
    /// The one that arguments and configuration mean.
    ///
    /// # Errors
    ///
    /// When there is none, or its certificate cannot be read.
    pub(super) fn find(args: &Args, global: &Global) -> anyhow::Result<Self> {
        match (&args.to, &global.config) {
            (None, Some(_)) => Self::of(&global.load()?, args.ca.as_deref()),
            (to, _) => {
                let ca = args.ca.clone().or_else(|| Some(PathBuf::from(DEFAULT_CA)).filter(|path| path.exists()));
                let pem = ca.as_deref().map(read).transpose()?;
                let target = Target::parse(to.as_deref().unwrap_or(DEFAULT_TO))?;
                Ok(Self { target, client: Client::new(pem.as_deref())? })
            }
        }
    }

    /// That of the first listener of a configuration that takes events as `send` writes them. It is on this machine, so the very certificate that it uses is believed,
    /// whatever names stand in it.
    fn of(config: &Config, ca: Option<&Path>) -> anyhow::Result<Self> {
        let takes_events = |listener: &&inputs::Config| listener.protocols.events.enabled;
        let listener = config.listeners.iter().find(takes_events);
        let listener = listener.context(
            "no listener of the configuration has events.enabled = true; enable it on one, or say with --to what to post to",
        )?;
        let is_tls = listener.tls.mode == Mode::On;
        let scheme = if is_tls { "https" } else { "http" };
        let target = Target::parse(&format!("{scheme}://{}", reachable(listener.listen)))?;
        let own = || listener.tls.certificate.clone().unwrap_or_else(|| config.state_dir.join("tls/cert.pem"));
        let client = match (ca, is_tls) {
            (Some(ca), _) => Client::new(Some(&read(ca)?))?,
            (None, true) => Client::of_own(&[read(&own())?])?,
            (None, false) => Client::new(None)?,
        };
        Ok(Self { target, client })
    }
}

fn read(path: &Path) -> anyhow::Result<Vec<u8>> {
    std::fs::read(path).map_err(|error| anyhow!("certificate {} {}", path.display(), unread(&error)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(text: &str, dir: &Path) -> anyhow::Result<Door> {
        Door::of(&crate::config::parse("test", text, dir, &|_| None)?, None)
    }

    #[test]
    fn the_first_listener_of_the_configuration_is_meant_with_its_own_certificate() {
        let dir = tempfile::tempdir().expect("a folder");
        std::fs::create_dir_all(dir.path().join("state/tls")).expect("made");
        let made = rcgen::generate_simple_self_signed(["gate.plant.example".to_owned()]).expect("a certificate");
        std::fs::write(dir.path().join("state/tls/cert.pem"), made.cert.pem()).expect("written");
        std::fs::write(dir.path().join("own.pem"), made.cert.pem()).expect("written");
        let rest = "[[listeners]]\nname = 'b'\nlisten = '127.0.0.1:2'\n";
        for (listener, url) in [
            ("listen = '127.0.0.1:9443'", "https://127.0.0.1:9443/v1/events"),
            ("listen = '[::]:9443'\nauth = { networks = ['10.0.0.0/8'] }", "https://[::1]:9443/v1/events"),
            ("listen = '127.0.0.1:9443'\ntls = { mode = 'off' }", "http://127.0.0.1:9443/v1/events"),
            (
                "listen = '127.0.0.1:1'\ntls = { certificate = 'own.pem', key = 'k.pem' }",
                "https://127.0.0.1:1/v1/events",
            ),
        ] {
            let door = of(&format!("state_dir = 'state'\n[[listeners]]\n{listener}\n{rest}"), dir.path());
            assert_eq!(door.expect(listener).target.url(), url);
        }
        let closed = of("[[listeners]]\nevents = { enabled = false }\n", dir.path()).err().expect("no door");
        assert!(closed.to_string().contains("--to"), "{closed}");
        let missing = of("state_dir = 'elsewhere'\n", dir.path()).err().expect("no certificate");
        assert!(missing.to_string().contains("elsewhere/tls/cert.pem"), "{missing}");
    }
}
