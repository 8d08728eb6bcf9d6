//! `gatepost ca init`: a new authority in a folder.

use std::fs::{self, File, OpenOptions};
use std::io::Write as _;
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context as _, ensure};
use serde_json::json;

use crate::cli::{Global, print};
use crate::tunnel::allow_list::{Covers, Pattern};
use crate::tunnel::config::Config;
use crate::tunnel::take_over::make::{Kind, Made, Wish, make};

/// What an authority may sign for where nothing else is said: the hosts of old agents and of the HTTP Data Collector API.
const DOMAINS: [&str; 2] = ["ods.opinsights.azure.com", "oms.opinsights.azure.com"];

/// Options of the command.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// The folder that gets the files. It is made where it is not there; files that are there are never replaced
    #[arg(value_name = "FOLDER")]
    folder: PathBuf,
    /// The kind of key: p256 for all that know ECDSA, rsa for those that do not, both for two authorities of one name
    #[arg(long, value_enum, default_value_t = Keys::P256, value_name = "KIND")]
    key: Keys,
    /// A name that it may sign for, with everything below. Default: those of the hosts that the configuration takes over, else
    /// ods.opinsights.azure.com and oms.opinsights.azure.com
    #[arg(long = "domain", value_name = "NAME")]
    domains: Vec<String>,
    /// Let it sign for every name. Machines that trust it then believe this gateway whatever it says it is
    #[arg(long, conflicts_with = "domains")]
    any_name: bool,
    /// How long it is good
    #[arg(long, default_value_t = 1825, value_parser = clap::value_parser!(u32).range(1..=7300), value_name = "DAYS")]
    days: u32,
    /// Its name in lists of trusted authorities
    #[arg(long, default_value = "Gatepost take-over CA", value_name = "TEXT")]
    name: String,
}

#[derive(Debug, Clone, Copy, clap::ValueEnum)]
enum Keys {
    P256,
    Rsa,
    Both,
}

/// One authority, and where its files go.
struct Place {
    certificate: PathBuf,
    key: PathBuf,
    made: Made,
}

pub(super) fn run(args: &Args, global: &Global) -> anyhow::Result<ExitCode> {
    let domains = if args.any_name { Vec::new() } else { domains(&args.domains, global)? };
    let kinds: &[(Kind, &str)] = match args.key {
        Keys::P256 => &[(Kind::P256, "ca")],
        Keys::Rsa => &[(Kind::Rsa, "ca")],
        Keys::Both => &[(Kind::P256, "ca"), (Kind::Rsa, "ca-rsa")],
    };
    let folder = std::path::absolute(&args.folder).unwrap_or_else(|_| args.folder.clone());
    let place = |&(kind, stem): &(Kind, &str)| -> anyhow::Result<Place> {
        let wish = Wish { name: args.name.clone(), kind, domains: domains.clone(), days: args.days };
        let made = make(&wish).context("the authority cannot be made")?;
        Ok(Place { certificate: folder.join(format!("{stem}.pem")), key: folder.join(format!("{stem}-key.pem")), made })
    };
    let places = kinds.iter().map(place).collect::<anyhow::Result<Vec<_>>>()?;
    for path in places.iter().flat_map(|place| [&place.certificate, &place.key]) {
        ensure!(
            !path.exists(),
            "{} is there; machines may trust it, so it is not replaced: name another folder",
            path.display()
        );
    }
    write(&folder, &places)?;
    let shown: Vec<_> =
        places.iter().map(|place| json!({"certificate": place.certificate, "key": place.key})).collect();
    print(&match global.json {
        true => format!("{}\n", json!({"authorities": shown, "domains": domains})),
        false => told(&places, &domains),
    })?;
    Ok(ExitCode::SUCCESS)
}

/// The names that are given, or those that the configuration needs.
fn domains(given: &[String], global: &Global) -> anyhow::Result<Vec<String>> {
    if given.is_empty() {
        // A configuration that names the files which are made here is wrong until they are.
        let tunnel = global.load_text().map(|loaded| loaded.config.tunnel).unwrap_or_default();
        let taken = of_configuration(&tunnel);
        return Ok(if taken.is_empty() { DOMAINS.map(str::to_owned).to_vec() } else { taken });
    }
    let name = |text: &String| match Pattern::parse(text) {
        Ok(Pattern { host: Covers::Name(name), port: None }) if name.contains('.') => Ok(name),
        _ => anyhow::bail!(
            "--domain {text:?} is no name; write one such as ods.opinsights.azure.com, which means all below too"
        ),
    };
    given.iter().map(name).collect()
}

fn of_configuration(tunnel: &Config) -> Vec<String> {
    let hosts = tunnel.take_over.iter().flat_map(|table| &table.hosts);
    let mut names: Vec<String> = hosts
        .filter_map(|host| match Pattern::parse(host).ok()?.host {
            Covers::Name(name) => Some(name),
            Covers::Below(parent) | Covers::Label { parent, .. } => Some(parent),
            Covers::Address(_) => None,
        })
        .collect();
    names.sort();
    names.dedup();
    names
}

fn write(folder: &Path, places: &[Place]) -> anyhow::Result<()> {
    let failed = || format!("{} cannot be made", folder.display());
    fs::DirBuilder::new().recursive(true).mode(0o700).create(folder).with_context(failed)?;
    for Place { certificate, key, made } in places {
        // The key first: a certificate that somebody has seen has its key.
        write_new(key, &made.key, 0o600)?;
        write_new(certificate, &made.certificate, 0o644)?;
    }
    File::open(folder).and_then(|folder| folder.sync_all()).with_context(failed)
}

fn write_new(path: &Path, text: &str, mode: u32) -> anyhow::Result<()> {
    let write = || {
        let mut file = OpenOptions::new().write(true).create_new(true).mode(mode).open(path)?;
        file.write_all(text.as_bytes())?;
        file.sync_all()
    };
    write().with_context(|| format!("{} cannot be written", path.display()))
}

fn told(places: &[Place], domains: &[String]) -> String {
    let keys = [("certificate", "key"), ("second_certificate", "second_key")];
    let lines = places.iter().zip(keys).map(|(place, (certificate, key))| {
        format!("{certificate} = {:?}\n{key} = {:?}\n", place.certificate.display(), place.key.display())
    });
    let may = match domains {
        [] => "It may sign for every name: guard its key as you guard your domain's.".to_owned(),
        domains => format!("It may sign for {}, and for what is below, and nothing else.", domains.join(" and ")),
    };
    let first = &places[0];
    format!(
        "{may} Its key never leaves this machine; let the gateway's user own it:\n\n    chown gatepost: {key}\n\n\
         Write into the configuration:\n\n[tunnel.ca]\n{lines}\n\
         Then let the machines trust it that are to be taken over, and no others: gatepost ca trust {certificate}\n",
        key = places.iter().map(|place| place.key.display().to_string()).collect::<Vec<_>>().join(" "),
        lines = lines.collect::<String>(),
        certificate = first.certificate.display(),
    )
}
