//! `gatepost import-oms`: from the settings of an OMS (Log Analytics) gateway to a configuration of Gatepost.
//!
//! Reads what the original's cmdlets print: `Get-OMSGatewayConfig`, `Get-OMSGatewayRelayProxy`,
//! `Get-OMSGatewayAllowedHost`, `Get-OMSGatewayAllowedClientCertificate`. How exactly they print it is documented nowhere,
//! so every form that PowerShell gives to objects is taken: tables, lists of `Key : Value`, bare lines under the command as
//! in a transcript. A line that is not understood is told on standard error and never guessed at. What is printed can be
//! loaded as it is; its comments say what a person must decide.

mod read;
mod write;

use std::io::{self, Read as _};
use std::process::ExitCode;

use anyhow::Context;
use serde_json::json;

use super::{Global, print};
use read::Reading;

/// Nobody's list of hosts is longer; a wrong file is noticed before it fills the memory.
const BYTES_MAX: u64 = 4 << 20;

/// Turn the settings of an OMS (Log Analytics) gateway into a configuration.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Files with what the Get-OMSGateway… cmdlets printed; - for standard input
    #[arg(required = true, value_name = "FILE")]
    files: Vec<String>,
}

/// Runs the command: configuration on standard output, what was not understood on standard error.
pub fn run(args: Args, global: &Global) -> anyhow::Result<ExitCode> {
    let mut reading = Reading::default();
    for file in &args.files {
        let bytes = load(file).with_context(|| format!("{file} cannot be read"))?;
        reading.take(file, &decoded(&bytes));
    }
    let settings = reading.settings;
    anyhow::ensure!(
        !settings.is_empty(),
        "nothing here is a setting of an OMS gateway; give what Get-OMSGatewayConfig, Get-OMSGatewayRelayProxy, \
         Get-OMSGatewayAllowedHost and Get-OMSGatewayAllowedClientCertificate print, each below its name"
    );
    let mut warnings = reading.warnings;
    let toml = write::toml(&settings, &mut warnings);
    if global.json {
        print(&format!("{}\n", json!({ "toml": toml, "warnings": warnings })))?;
        return Ok(ExitCode::SUCCESS);
    }
    for warning in &warnings {
        // Nothing can be done about a closed terminal.
        io::Write::write_fmt(&mut io::stderr(), format_args!("{warning}\n")).ok();
    }
    print(&toml)?;
    Ok(ExitCode::SUCCESS)
}

fn load(file: &str) -> io::Result<Vec<u8>> {
    let source: Box<dyn io::Read> = match file {
        "-" => Box::new(io::stdin().lock()),
        path => Box::new(std::fs::File::open(path)?),
    };
    let mut bytes = Vec::new();
    source.take(BYTES_MAX + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > BYTES_MAX {
        return Err(io::Error::new(io::ErrorKind::FileTooLarge, "it is larger than 4 MiB"));
    }
    Ok(bytes)
}

/// Windows PowerShell redirects output as UTF-16.
fn decoded(bytes: &[u8]) -> String {
    let units = |unit: fn([u8; 2]) -> u16| {
        let units: Vec<u16> = bytes[2..].chunks_exact(2).map(|pair| unit([pair[0], pair[1]])).collect();
        String::from_utf16_lossy(&units)
    };
    match bytes {
        [0xff, 0xfe, ..] => units(u16::from_le_bytes),
        [0xfe, 0xff, ..] => units(u16::from_be_bytes),
        [0xef, 0xbb, 0xbf, rest @ ..] => String::from_utf8_lossy(rest).into_owned(),
        bytes => String::from_utf8_lossy(bytes).into_owned(),
    }
}

#[cfg(test)]
mod tests;
