//! `gatepost password`: hashes a password for `tunnel.users`. The password is read where nobody looks on: from a
//! terminal without showing it, or from a pipe, never from an argument, which `ps` would show.

use std::io::{self, BufRead, IsTerminal, Read, Write};
use std::process::ExitCode;

use anyhow::{Context, bail, ensure};
use argon2::Argon2;
use argon2::password_hash::PasswordHasher;
use argon2::password_hash::phc::PasswordHash;
use rustix::termios::{LocalModes, OptionalActions, Termios, tcgetattr, tcsetattr};
use serde_json::json;

use super::{Global, print};

/// Longer lines are no password but the wrong file.
const PASSWORD_MAX_BYTES: usize = 1_024;

/// Hash a password for the configuration.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The user's name, for the lines to paste
    #[arg(long, default_value = "NAME", value_parser = user_name)]
    user: String,
}

/// Runs the command.
pub fn run(args: Args, global: &Global) -> anyhow::Result<ExitCode> {
    let hash = hash(&password()?)?;
    print(&if global.json {
        format!("{}\n", json!({ "user": args.user, "password_hash": hash }))
    } else {
        format!("{hash}\n\n{}", lines(&args.user, &hash)?)
    })?;
    Ok(ExitCode::SUCCESS)
}

/// What HTTP Basic can carry.
fn user_name(text: &str) -> Result<String, String> {
    if text.is_empty() || text.contains(|c: char| c == ':' || c.is_control()) {
        return Err("a user name is not empty and has no \":\" and no control characters".to_owned());
    }
    Ok(text.to_owned())
}

fn lines(user: &str, hash: &str) -> anyhow::Result<String> {
    let mut table = toml::Table::new();
    table.insert("name".to_owned(), user.into());
    table.insert("password_hash".to_owned(), hash.into());
    Ok(format!("[[tunnel.users]]\n{}", toml::to_string(&table)?))
}

/// Argon2id with the parameters that OWASP names: 19 MiB, two passes. They stand in the hash.
fn hash(password: &str) -> anyhow::Result<String> {
    let hash: PasswordHash = Argon2::default()
        .hash_password(password.as_bytes())
        .map_err(|error| anyhow::anyhow!("the password cannot be hashed: {error}"))?;
    Ok(hash.to_string())
}

fn password() -> anyhow::Result<String> {
    let stdin = io::stdin();
    if !stdin.is_terminal() {
        return line(&mut stdin.lock());
    }
    let _hidden = Hidden::on(&stdin)?;
    let first = ask("Password: ")?;
    if first != ask("Once more: ")? {
        bail!("the two differ; nothing was hashed");
    }
    Ok(first)
}

/// Asks on standard error: standard output is for the result.
fn ask(question: &str) -> anyhow::Result<String> {
    let mut err = io::stderr();
    err.write_all(question.as_bytes())?;
    err.flush()?;
    let answer = line(&mut io::stdin().lock());
    // The line feed that ended the answer was not shown either.
    err.write_all(b"\n")?;
    answer
}

fn line(input: &mut impl BufRead) -> anyhow::Result<String> {
    let mut line = String::new();
    input.take(PASSWORD_MAX_BYTES as u64 + 2).read_line(&mut line).context("reading the password")?;
    let password = line.trim_end_matches(['\r', '\n']);
    ensure!(!password.is_empty(), "standard input holds no password");
    ensure!(password.len() <= PASSWORD_MAX_BYTES, "a password has at most {PASSWORD_MAX_BYTES} bytes");
    Ok(password.to_owned())
}

/// A terminal that does not show what is typed, until this is dropped.
struct Hidden<'a> {
    terminal: &'a io::Stdin,
    before: Termios,
}

impl<'a> Hidden<'a> {
    fn on(terminal: &'a io::Stdin) -> io::Result<Self> {
        let before = tcgetattr(terminal)?;
        let mut hidden = before.clone();
        hidden.local_modes.remove(LocalModes::ECHO);
        tcsetattr(terminal, OptionalActions::Flush, &hidden)?;
        Ok(Self { terminal, before })
    }
}

impl Drop for Hidden<'_> {
    fn drop(&mut self) {
        // Nothing more can be done for a terminal that has gone.
        tcsetattr(self.terminal, OptionalActions::Now, &self.before).ok();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use argon2::PasswordVerifier;

    #[test]
    fn a_hash_is_argon2id_and_opens_with_its_password_only() {
        let hash = hash("sesame").expect("a hash");
        assert!(hash.starts_with("$argon2id$v=19$m=19456,t=2,p=1$"), "{hash}");
        let parsed = PasswordHash::new(&hash).expect("a hash");
        assert!(Argon2::default().verify_password(b"sesame", &parsed).is_ok());
        assert!(Argon2::default().verify_password(b"Sesame", &parsed).is_err());
    }

    #[test]
    fn one_line_is_the_password() {
        assert_eq!(line(&mut &b" two words \r\nmore\n"[..]).expect("a line"), " two words ");
        assert!(line(&mut &b"\n"[..]).is_err() && line(&mut &b""[..]).is_err());
        assert_eq!(line(&mut "x".repeat(1_024).as_bytes()).expect("just short enough").len(), 1_024);
        assert!(line(&mut "x".repeat(1_025).as_bytes()).is_err());
    }

    #[test]
    fn the_lines_to_paste_are_toml_for_any_name() {
        let name = user_name("the \"new\" one").expect("a name");
        let table: toml::Table = lines(&name, "$argon2id$x").expect("lines").parse().expect("TOML");
        assert_eq!(table["tunnel"]["users"][0]["name"].as_str(), Some("the \"new\" one"));
        assert!(user_name("a:b").is_err() && user_name("").is_err() && user_name("a\n").is_err());
    }
}
