//! `gatepost token`: makes bearer tokens, and the hashes under which the configuration keeps them.

use std::io::{self, BufRead};
use std::process::ExitCode;

use anyhow::Context;
use aws_lc_rs::digest::{SHA256, digest};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::json;

use super::{Global, print};

/// Random bytes of a token: beyond guessing, and its hash needs no salt.
const TOKEN_BYTES: usize = 32;

/// Make a token, or hash one for the configuration.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Hash the token on the first line of standard input instead of making one (an argument would show in `ps`)
    #[arg(long)]
    hash: bool,
    /// Print the entry of a client of the local Entra, with a fresh secret
    #[arg(long, value_name = "ID", conflicts_with = "hash")]
    for_client: Option<String>,
}

/// Runs the command.
pub fn run(args: Args, global: &Global) -> anyhow::Result<ExitCode> {
    if args.hash {
        let mut line = String::new();
        io::stdin().lock().read_line(&mut line).context("reading the token")?;
        let token = line.trim_end_matches(['\r', '\n']);
        anyhow::ensure!(!token.is_empty(), "standard input holds no token");
        let hash = sha256(token);
        print(&if global.json { format!("{}\n", json!({ "sha256": hash })) } else { format!("{hash}\n") })?;
        return Ok(ExitCode::SUCCESS);
    }
    let token = fresh()?;
    let hash = sha256(&token);
    if let Some(id) = &args.for_client {
        print(&if global.json {
            format!("{}\n", json!({ "client_id": id, "client_secret": token, "sha256": hash }))
        } else {
            let quoted = toml::Value::String(id.clone());
            format!(
                "client_secret  {token}\n\nGive the secret to the client; the configuration needs only this:\n\n\
                 [[listeners.entra.clients]]\nid = {quoted}\nsecrets = [{{ sha256 = \"{hash}\" }}]\n"
            )
        })?;
        return Ok(ExitCode::SUCCESS);
    }
    print(&if global.json {
        format!("{}\n", json!({ "token": token, "sha256": hash }))
    } else {
        format!(
            "token   {token}\nsha256  {hash}\n\nGive the token to the client; the configuration needs only the sha256.\n"
        )
    })?;
    Ok(ExitCode::SUCCESS)
}

fn fresh() -> anyhow::Result<String> {
    let mut bytes = [0; TOKEN_BYTES];
    aws_lc_rs::rand::fill(&mut bytes).ok().context("the system gives no random bytes")?;
    Ok(URL_SAFE_NO_PAD.encode(bytes))
}

/// Lower-case hexadecimal SHA-256, as the configuration keeps tokens.
fn sha256(token: &str) -> String {
    hex::encode(digest(&SHA256, token.as_bytes()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_are_long_new_and_hash_as_sha256sum_does() {
        let (one, two) = (fresh().expect("random"), fresh().expect("random"));
        assert_ne!(one, two);
        assert_eq!(one.len(), 43);
        assert_eq!(sha256("abc"), "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
    }
}
