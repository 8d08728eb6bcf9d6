//! A program of this machine as a child: started, killed, started again.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use anyhow::{Context as _, bail};
use tokio::net::TcpStream;
use tokio::time::{Instant, sleep};

/// How long a program may take to listen, and anything else that must happen.
pub(super) const PATIENCE: Duration = Duration::from_secs(30);

/// How often is looked whether it has.
pub(super) const LOOK: Duration = Duration::from_millis(20);

/// One program. It is killed when this is dropped.
pub(super) struct Program {
    name: String,
    path: PathBuf,
    arguments: Vec<String>,
    variables: Vec<(String, String)>,
    folder: PathBuf,
    port: u16,
    child: Option<Child>,
}

impl Program {
    /// One that listens on this port of 127.0.0.1 once it runs. It runs in `folder`, where `<name>.log` has what it says.
    pub(super) fn new(name: &str, path: PathBuf, arguments: Vec<String>, folder: &Path, port: u16) -> Self {
        let (name, folder) = (name.to_owned(), folder.to_owned());
        Self { name, path, arguments, variables: Vec::new(), folder, port, child: None }
    }

    /// With these in its environment.
    pub(super) fn with_variables(mut self, variables: Vec<(String, String)>) -> Self {
        self.variables = variables;
        self
    }

    pub(super) fn port(&self) -> u16 {
        self.port
    }

    /// The number of its process, while it has one.
    pub(super) fn id(&self) -> Option<u32> {
        self.child.as_ref().map(Child::id)
    }

    /// Starts it, and waits until it takes connections.
    pub(super) async fn start(&mut self) -> anyhow::Result<()> {
        let path = self.folder.join(format!("{}.log", self.name));
        let log = File::options().create(true).append(true).open(&path)?;
        let mut command = Command::new(&self.path);
        command.args(&self.arguments).envs(self.variables.iter().cloned()).current_dir(&self.folder);
        command.stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log);
        self.child = Some(command.spawn().with_context(|| format!("{} cannot be started", self.path.display()))?);
        let until = Instant::now() + PATIENCE;
        while TcpStream::connect(("127.0.0.1", self.port)).await.is_err() {
            if self.has_ended()? || Instant::now() > until {
                let said = std::fs::read_to_string(&path).unwrap_or_default();
                bail!("{} does not listen on port {}:\n{said}", self.name, self.port);
            }
            sleep(LOOK).await;
        }
        Ok(())
    }

    /// Whether it has ended by itself.
    pub(super) fn has_ended(&mut self) -> anyhow::Result<bool> {
        Ok(match &mut self.child {
            Some(child) => child.try_wait()?.is_some(),
            None => true,
        })
    }

    /// kill -9.
    pub(super) fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            // One that has ended by itself is as dead.
            child.kill().ok();
            child.wait().ok();
        }
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        self.kill();
    }
}

/// Where the first of these programs is that this machine has.
pub(super) fn found(names: &[&str], package: &str) -> anyhow::Result<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    // Where this project's own tests put what Debian has too old a version of.
    let cached = std::env::var_os("HOME").map(|home| PathBuf::from(home).join(".cache/gatepost/nats/bin"));
    let folders: Vec<PathBuf> = std::env::split_paths(&path).chain(["/usr/sbin".into()]).chain(cached).collect();
    let candidates = names.iter().flat_map(|name| folders.iter().map(move |folder| folder.join(name)));
    let found = candidates.into_iter().find(|path| path.is_file());
    found.with_context(|| format!("{} is missing; install the Debian package {package}", names.join(" or ")))
}

/// A port that nobody listens on.
pub(super) fn free_port() -> std::io::Result<u16> {
    Ok(std::net::TcpListener::bind("127.0.0.1:0")?.local_addr()?.port())
}
