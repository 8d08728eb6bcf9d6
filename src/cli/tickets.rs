//! The two hidden commands that run MIT's library of Kerberos in processes of their own: one accepts tickets for a gateway, the
//! other shows them for a simulated host. Nobody calls them by hand: they speak lines of JSON with whoever started them.

use std::process::ExitCode;

use anyhow::Context as _;

/// Accepts tickets with the keytab that the gateway has put into the environment.
pub(super) fn accept() -> anyhow::Result<ExitCode> {
    let keytab = std::env::var("KRB5_KTNAME").context("a gateway starts this, and names the keytab in KRB5_KTNAME")?;
    // As in a gateway it is better to run with open memory than not at all; the gateway has told of it.
    super::run::close_memory().ok();
    let path = keytab.strip_prefix("FILE:").unwrap_or(&keytab);
    crate::net::gss::worker::run(path.into())?;
    Ok(ExitCode::SUCCESS)
}

/// Shows tickets with the keytab of the environment.
#[cfg(feature = "lab")]
pub(super) fn show() -> anyhow::Result<ExitCode> {
    crate::lab::wef::kerberos::show_tickets()?;
    Ok(ExitCode::SUCCESS)
}
