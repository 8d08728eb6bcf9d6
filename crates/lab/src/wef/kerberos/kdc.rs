//! A real KDC in a folder, as an ordinary process: Debian's krb5-kdc, with nothing of the system's configuration.

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use anyhow::{Context as _, ensure};
use tokio::time::Instant;

use super::{Account, Scheme, Ticket};

/// Its realm.
pub const REALM: &str = "EXAMPLE.TEST";
/// The services that the gateway's keytab holds.
pub const SERVICES: [&str; 2] = ["HTTP/gate.example.test", "HOST/gate.example.test"];
/// The types of keys that every Windows since 2008 has.
pub const SHA1: [&str; 2] = ["aes256-cts-hmac-sha1-96", "aes128-cts-hmac-sha1-96"];
/// How long it may take to start.
const PATIENCE: Duration = Duration::from_secs(30);

/// A KDC that runs. It is killed when nobody needs it.
pub struct Kdc {
    dir: PathBuf,
    gatepost: PathBuf,
    process: Child,
}

impl Kdc {
    /// One in an empty folder, at this port, with keys of these types: it knows the services, another one that is in no keytab,
    /// and the computers `PC0$` to so many. `gatepost` is the program whose hidden command shows tickets.
    ///
    /// # Errors
    ///
    /// When its programs are not there, or do not do what they should.
    pub fn start(
        dir: &Path,
        port: u16,
        kinds: &[&str],
        computers: usize,
        gatepost: impl Into<PathBuf>,
    ) -> anyhow::Result<Self> {
        configure(dir, port, kinds)?;
        let made = command(dir, "kdb5_util")?.args(["-r", REALM, "create", "-s", "-P", "any"]).output()?;
        ensure!(made.status.success(), "kdb5_util: {}", String::from_utf8_lossy(&made.stderr));
        let process = command(dir, "krb5kdc")?
            .args(["-r", REALM, "-n", "-P"])
            .arg(dir.join("kdc.pid"))
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()?;
        let kdc = Self { dir: dir.to_owned(), gatepost: gatepost.into(), process };
        kdc.admin(&accounts(dir, computers))?;
        let until = Instant::now() + PATIENCE;
        while std::net::TcpStream::connect(("127.0.0.1", port)).is_err() {
            ensure!(Instant::now() < until, "the KDC does not start");
            std::thread::sleep(Duration::from_millis(10));
        }
        Ok(kdc)
    }

    /// Runs commands of kadmin.
    ///
    /// # Errors
    ///
    /// When one of them fails.
    pub fn admin(&self, commands: &[String]) -> anyhow::Result<()> {
        let mut admin = command(&self.dir, "kadmin.local")?;
        let admin = admin.args(["-r", REALM]).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut admin = admin.spawn()?;
        admin.stdin.take().context("it has no input")?.write_all(commands.join("\n").as_bytes())?;
        let done = admin.wait_with_output()?;
        let told = String::from_utf8_lossy(&done.stderr);
        ensure!(done.status.success() && !told.contains("while"), "kadmin.local: {told}");
        Ok(())
    }

    /// A file in its folder.
    pub fn path(&self, name: &str) -> PathBuf {
        self.dir.join(name)
    }

    /// The keytab of the gateway.
    pub fn keytab(&self) -> PathBuf {
        self.path("gateway.keytab")
    }

    /// An account that asks for a service.
    pub fn account(&self, name: &str, service: &str, scheme: Scheme) -> Account {
        let variables = [
            ("KRB5_CONFIG", self.path("krb5.conf").display().to_string()),
            ("KRB5_CLIENT_KTNAME", format!("FILE:{}", self.path(&format!("{name}.keytab")).display())),
            ("KRB5CCNAME", "MEMORY:own".to_owned()),
        ];
        Account {
            program: self.gatepost.clone(),
            args: vec!["show-tickets".to_owned()],
            variables: variables.map(|(name, value)| (name.to_owned(), value)).into(),
            principal: None,
            service: format!("{service}@{REALM}"),
            scheme,
        }
    }

    /// A computer's tickets, and its first token for a service.
    ///
    /// # Errors
    ///
    /// When it gets none.
    pub async fn token_for(&self, name: &str, service: &str, scheme: Scheme) -> anyhow::Result<(Ticket, Vec<u8>)> {
        let account = self.account(name, service, scheme);
        let mut ticket = Ticket::start(&account)?;
        let token = ticket.begin(&account).await?;
        Ok((ticket, token))
    }
}

impl Drop for Kdc {
    fn drop(&mut self) {
        self.process.kill().ok();
        self.process.wait().ok();
    }
}

/// What it and its clients read: `krb5.conf`, one whose tickets end soon, and one that takes none that is a second old.
fn configure(dir: &Path, port: u16, kinds: &[&str]) -> anyhow::Result<()> {
    let (path, permitted) = (dir.display(), kinds.join(" "));
    let client = |more: &str| {
        format!(
            "[libdefaults]\n default_realm = {REALM}\n dns_lookup_kdc = false\n dns_lookup_realm = false\n \
             dns_canonicalize_hostname = false\n rdns = false\n udp_preference_limit = 0\n permitted_enctypes = {permitted}\n{more}\
             [realms]\n {REALM} = {{\n  kdc = 127.0.0.1:{port}\n }}\n"
        )
    };
    std::fs::write(dir.join("krb5.conf"), client(""))?;
    std::fs::write(dir.join("short.conf"), client(" ticket_lifetime = 60s\n"))?;
    std::fs::write(dir.join("strict.conf"), client(" clockskew = 1\n"))?;
    let kinds: Vec<String> = kinds.iter().map(|kind| format!("{kind}:normal")).collect();
    let server = format!(
        "[kdcdefaults]\n kdc_listen = 127.0.0.1:{port}\n kdc_tcp_listen = 127.0.0.1:{port}\n[realms]\n {REALM} = {{\n  \
         database_name = {path}/principal\n  key_stash_file = {path}/stash\n  acl_file = {path}/acl\n  \
         supported_enctypes = {}\n }}\n[logging]\n kdc = FILE:{path}/kdc.log\n",
        kinds.join(" ")
    );
    Ok(std::fs::write(dir.join("kdc.conf"), server)?)
}

/// The commands that make its accounts. The keytab `fleet.keytab` has all of the computers, beside one of each.
fn accounts(dir: &Path, computers: usize) -> Vec<String> {
    let path = dir.display();
    let mut commands: Vec<String> = SERVICES.iter().map(|service| format!("addprinc -randkey {service}")).collect();
    commands.push("addprinc -randkey HTTP/other.example.test".to_owned());
    commands.push("addprinc -randkey someone".to_owned());
    commands.push(format!("ktadd -norandkey -k {path}/someone.keytab someone"));
    commands.push(format!("ktadd -norandkey -k {path}/gateway.keytab {}", SERVICES.join(" ")));
    for n in 0..computers {
        commands.push(format!("addprinc -randkey PC{n}$"));
        commands.push(format!("ktadd -norandkey -k {path}/PC{n}$.keytab PC{n}$"));
        commands.push(format!("ktadd -norandkey -k {path}/fleet.keytab PC{n}$"));
    }
    commands
}

fn command(dir: &Path, name: &str) -> anyhow::Result<Command> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let folders = std::env::split_paths(&path).chain(["/usr/sbin".into(), "/sbin".into()]);
    let found = folders.map(|folder| folder.join(name)).find(|path| path.is_file());
    let program = found.with_context(|| format!("{name} is missing; install the Debian package krb5-kdc"))?;
    let mut command = Command::new(program);
    command.env("KRB5_CONFIG", dir.join("krb5.conf")).env("KRB5_KDC_PROFILE", dir.join("kdc.conf"));
    Ok(command)
}
