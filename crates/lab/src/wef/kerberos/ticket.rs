//! The process that has the tickets of one host, seen from outside.

use std::process::Stdio;

use anyhow::{Context as _, bail};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Serialize};
use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::process::{Child, ChildStdin, ChildStdout, Command};

use super::Account;

/// How a ticket is shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Scheme {
    /// By itself.
    Kerberos,
    /// Inside of SPNEGO.
    Negotiate,
}

impl Scheme {
    /// Its name in HTTP.
    pub fn name(self) -> &'static str {
        if self == Self::Kerberos { "Kerberos" } else { "Negotiate" }
    }

    /// What a body sealed with it is called.
    pub fn protocol(self) -> &'static str {
        match self {
            Self::Kerberos => "application/HTTP-Kerberos-session-encrypted",
            Self::Negotiate => "application/HTTP-SPNEGO-session-encrypted",
        }
    }
}

/// What is asked of the process. Bytes stand in base64.
#[derive(Debug, Serialize, Deserialize)]
pub(super) enum Ask {
    Begin { principal: Option<String>, service: String, scheme: Scheme },
    GoOn(String),
    Seal(String),
    Open(String),
}

/// What it says.
#[derive(Debug, Serialize, Deserialize)]
pub(super) enum Said {
    Bytes(String),
    Nothing,
    Failed(String),
}

/// A process that has tickets. It is killed when nobody needs it.
pub struct Ticket {
    _child: Child,
    asks: ChildStdin,
    says: BufReader<ChildStdout>,
}

impl Ticket {
    /// Starts it.
    ///
    /// # Errors
    ///
    /// When the program is not there.
    pub fn start(account: &Account) -> anyhow::Result<Self> {
        let mut child = Command::new(&account.program)
            .args(&account.args)
            .envs(account.variables.iter().map(|(name, value)| (name, value)))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .with_context(|| format!("starting {}", account.program.display()))?;
        let (asks, says) = (child.stdin.take(), child.stdout.take());
        let (asks, says) = (asks.context("it has no input")?, says.context("it has no output")?);
        Ok(Self { _child: child, asks, says: BufReader::new(says) })
    }

    /// A new context with the service of an account; its first token.
    ///
    /// # Errors
    ///
    /// When there is no ticket for it.
    pub async fn begin(&mut self, account: &Account) -> anyhow::Result<Vec<u8>> {
        let Account { principal, service, scheme, .. } = account.clone();
        let token = self.ask(&Ask::Begin { principal, service, scheme }).await?;
        token.context("a context begins with a token")
    }

    /// Takes a token of the service; the next one, if there is any.
    ///
    /// # Errors
    ///
    /// When it is not the service's.
    pub async fn go_on(&mut self, token: &[u8]) -> anyhow::Result<Option<Vec<u8>>> {
        self.ask(&Ask::GoOn(STANDARD.encode(token))).await
    }

    /// Seals a message; the length of its signature stands in front.
    ///
    /// # Errors
    ///
    /// When the context is not complete.
    pub async fn seal(&mut self, message: &[u8]) -> anyhow::Result<Vec<u8>> {
        Ok(self.ask(&Ask::Seal(STANDARD.encode(message))).await?.unwrap_or_default())
    }

    /// Opens a sealed message.
    ///
    /// # Errors
    ///
    /// When it is not the service's next one.
    pub async fn open(&mut self, sealed: &[u8]) -> anyhow::Result<Vec<u8>> {
        Ok(self.ask(&Ask::Open(STANDARD.encode(sealed))).await?.unwrap_or_default())
    }

    async fn ask(&mut self, ask: &Ask) -> anyhow::Result<Option<Vec<u8>>> {
        let mut line = serde_json::to_string(ask)?;
        line.push('\n');
        self.asks.write_all(line.as_bytes()).await?;
        self.asks.flush().await?;
        line.clear();
        self.says.read_line(&mut line).await?;
        match serde_json::from_str(&line).context("the process of the tickets ended")? {
            Said::Bytes(bytes) => Ok(Some(STANDARD.decode(bytes)?)),
            Said::Nothing => Ok(None),
            Said::Failed(reason) => bail!("{reason}"),
        }
    }
}
