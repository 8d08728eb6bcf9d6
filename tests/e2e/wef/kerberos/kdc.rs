//! A real KDC in a temporary directory, as an ordinary process: Debian's krb5-kdc, with nothing of the system's configuration.

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use gatepost::lab::wef::kerberos::{Account, Scheme, Ticket};
use tokio::time::Instant;

use crate::support::{PATIENCE, free_port};
use crate::tools::tool;

pub(crate) const REALM: &str = "EXAMPLE.TEST";
/// The services that the gateway's keytab holds.
pub(crate) const SERVICES: [&str; 2] = ["HTTP/gate.example.test", "HOST/gate.example.test"];

/// A KDC that runs.
pub(crate) struct Kdc {
    dir: tempfile::TempDir,
    process: Child,
}

impl Kdc {
    /// One that knows the services, another one that is in no keytab, and the computers `PC0$` to so many.
    pub(crate) fn start(computers: usize) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let (path, port) = (dir.path().display().to_string(), free_port());
        let kinds = "aes256-cts-hmac-sha1-96:normal aes128-cts-hmac-sha1-96:normal";
        let client = |more: &str| {
            format!(
                "[libdefaults]\n default_realm = {REALM}\n dns_lookup_kdc = false\n dns_lookup_realm = false\n \
                 dns_canonicalize_hostname = false\n rdns = false\n udp_preference_limit = 0\n{more}\
                 [realms]\n {REALM} = {{\n  kdc = 127.0.0.1:{port}\n }}\n"
            )
        };
        std::fs::write(dir.path().join("krb5.conf"), client("")).unwrap();
        std::fs::write(dir.path().join("short.conf"), client(" ticket_lifetime = 60s\n")).unwrap();
        std::fs::write(dir.path().join("strict.conf"), client(" clockskew = 1\n")).unwrap();
        let server = format!(
            "[kdcdefaults]\n kdc_listen = 127.0.0.1:{port}\n kdc_tcp_listen = 127.0.0.1:{port}\n[realms]\n {REALM} = {{\n  \
             database_name = {path}/principal\n  key_stash_file = {path}/stash\n  acl_file = {path}/acl\n  \
             supported_enctypes = {kinds}\n }}\n[logging]\n kdc = FILE:{path}/kdc.log\n"
        );
        std::fs::write(dir.path().join("kdc.conf"), server).unwrap();
        let made = command(dir.path(), "kdb5_util").args(["-r", REALM, "create", "-s", "-P", "any"]).output().unwrap();
        assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
        let process = command(dir.path(), "krb5kdc")
            .args(["-r", REALM, "-n", "-P"])
            .arg(dir.path().join("kdc.pid"))
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let kdc = Self { dir, process };
        let mut commands: Vec<String> = SERVICES.iter().map(|service| format!("addprinc -randkey {service}")).collect();
        commands.push("addprinc -randkey HTTP/other.example.test".to_owned());
        commands.push("addprinc -randkey someone".to_owned());
        commands.push(format!("ktadd -norandkey -k {path}/someone.keytab someone"));
        commands.push(format!("ktadd -norandkey -k {path}/gateway.keytab {}", SERVICES.join(" ")));
        for n in 0..computers {
            commands.push(format!("addprinc -randkey PC{n}$"));
            commands.push(format!("ktadd -norandkey -k {path}/PC{n}$.keytab PC{n}$"));
        }
        kdc.admin(&commands);
        let until = Instant::now() + PATIENCE;
        while std::net::TcpStream::connect(("127.0.0.1", port)).is_err() {
            assert!(Instant::now() < until, "the KDC does not start");
            std::thread::sleep(Duration::from_millis(10));
        }
        kdc
    }

    /// Runs commands of kadmin.
    pub(crate) fn admin(&self, commands: &[String]) {
        let mut admin = command(self.dir.path(), "kadmin.local");
        let admin = admin.args(["-r", REALM]).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut admin = admin.spawn().unwrap();
        admin.stdin.take().unwrap().write_all(commands.join("\n").as_bytes()).unwrap();
        let done = admin.wait_with_output().unwrap();
        let told = String::from_utf8_lossy(&done.stderr);
        assert!(done.status.success() && !told.contains("while"), "{told}");
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// The keytab of the gateway.
    pub(crate) fn keytab(&self) -> PathBuf {
        self.path("gateway.keytab")
    }

    /// An account that asks for a service.
    pub(crate) fn account(&self, name: &str, service: &str, scheme: Scheme) -> Account {
        let variables = [
            ("KRB5_CONFIG", self.path("krb5.conf").display().to_string()),
            ("KRB5_CLIENT_KTNAME", format!("FILE:{}", self.path(&format!("{name}.keytab")).display())),
            ("KRB5CCNAME", "MEMORY:own".to_owned()),
        ];
        Account {
            program: env!("CARGO_BIN_EXE_gatepost").into(),
            args: vec!["show-tickets".to_owned()],
            variables: variables.map(|(name, value)| (name.to_owned(), value)).into(),
            service: format!("{service}@{REALM}"),
            scheme,
        }
    }

    /// A computer's tickets, and its first token for the first service.
    pub(crate) async fn token(&self, name: &str, scheme: Scheme) -> (Ticket, Vec<u8>) {
        self.token_for(name, SERVICES[0], scheme).await
    }

    pub(crate) async fn token_for(&self, name: &str, service: &str, scheme: Scheme) -> (Ticket, Vec<u8>) {
        let account = self.account(name, service, scheme);
        let mut ticket = Ticket::start(&account).unwrap();
        let token = ticket.begin(&account.service, scheme).await.unwrap();
        (ticket, token)
    }
}

impl Drop for Kdc {
    fn drop(&mut self) {
        drop(self.process.kill());
        drop(self.process.wait());
    }
}

fn command(dir: &Path, name: &str) -> Command {
    let mut command = Command::new(tool(name, "krb5-kdc"));
    command.env("KRB5_CONFIG", dir.join("krb5.conf")).env("KRB5_KDC_PROFILE", dir.join("kdc.conf"));
    command
}
