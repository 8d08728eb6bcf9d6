//! `gatepost ca trust`: what to do on a machine so that it trusts the authority, and how to take that back.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use serde_json::json;

use crate::cli::{Global, print};
use crate::tunnel::take_over::{Facts, facts_of};

/// Options of the command.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Files with an authority's certificate. Default: those of the configuration
    #[arg(value_name = "FILE")]
    files: Vec<PathBuf>,
}

/// How one kind of machine learns to trust, and to forget.
struct Way {
    machine: &'static str,
    trust: String,
    forget: String,
}

pub(super) fn run(args: &Args, global: &Global) -> anyhow::Result<ExitCode> {
    let files = super::files(&args.files, global)?;
    let mut text = String::new();
    let mut shown = Vec::new();
    for file in &files {
        let ways = ways(&facts_of(file)?, file);
        shown.push(json!({
            "file": file,
            "ways": ways.iter().map(|way| json!({"machine": way.machine, "trust": way.trust, "forget": way.forget})).collect::<Vec<_>>(),
        }));
        text += &told(file, &ways);
    }
    print(&if global.json { format!("{}\n", json!({"authorities": shown})) } else { text })?;
    Ok(ExitCode::SUCCESS)
}

fn told(file: &Path, ways: &[Way]) -> String {
    let each = ways.iter().map(|way| {
        let lines = |text: &str| text.lines().map(|line| format!("  {line}\n")).collect::<String>();
        format!("{}\n{}  # no longer:\n{}\n", way.machine, lines(&way.trust), lines(&way.forget))
    });
    format!(
        "Take {} (the certificate, never the key) to the machines that are to be taken over, and to no others.\n\n{}",
        file.display(),
        each.collect::<String>()
    )
}

fn ways(facts: &Facts, file: &Path) -> Vec<Way> {
    let name = file.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let stem = file.file_stem().unwrap_or_default().to_string_lossy().into_owned();
    let thumbprint = &facts.thumbprint;
    let way = |machine, trust: String, forget: String| Way { machine, trust, forget };
    vec![
        way(
            "Windows, as administrator: the MMA and scripts of PowerShell use the machine's store",
            format!("certutil -addstore -f Root {name}"),
            format!("certutil -delstore Root {thumbprint}"),
        ),
        way(
            "Windows, by group policy: Computer Configuration > Policies > Windows Settings > Security Settings > Public Key Policies",
            format!("Trusted Root Certification Authorities > Import: {name}"),
            format!("delete the certificate {thumbprint} there"),
        ),
        way(
            "Debian, Ubuntu, SUSE's /etc/pki/trust/anchors likewise",
            format!("cp {name} /usr/local/share/ca-certificates/gatepost-{stem}.crt && update-ca-certificates"),
            format!("rm /usr/local/share/ca-certificates/gatepost-{stem}.crt && update-ca-certificates --fresh"),
        ),
        way(
            "Red Hat, CentOS, Oracle Linux",
            format!("cp {name} /etc/pki/ca-trust/source/anchors/gatepost-{stem}.pem && update-ca-trust"),
            format!("rm /etc/pki/ca-trust/source/anchors/gatepost-{stem}.pem && update-ca-trust"),
        ),
        way(
            "One script only",
            format!(
                "curl --cacert {name}    # Python's requests: REQUESTS_CA_BUNDLE={name}; Ruby and OpenSSL: SSL_CERT_FILE={name}"
            ),
            "leave that out".to_owned(),
        ),
    ]
}
