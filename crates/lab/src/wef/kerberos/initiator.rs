//! The process that has the tickets of one host, from inside: MIT's library fetches, shows, seals and opens.

use std::io::{self, BufRead as _, Write as _};

use anyhow::{Context as _, bail};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use libgssapi::context::{ClientCtx, CtxFlags, SecurityContext as _};
use libgssapi::credential::{Cred, CredUsage};
use libgssapi::name::Name;
use libgssapi::oid::{GSS_MECH_KRB5, GSS_MECH_SPNEGO, GSS_NT_KRB5_PRINCIPAL};
use libgssapi::util::{GssIov, GssIovType};

use super::ticket::{Ask, Said, Scheme};

/// Answers lines until the input ends.
///
/// # Errors
///
/// When the pipes break.
pub fn run() -> io::Result<()> {
    let mut context = None;
    let mut output = io::stdout().lock();
    for line in io::stdin().lock().lines() {
        let said = match answered(&mut context, &line?) {
            Ok(Some(bytes)) => Said::Bytes(STANDARD.encode(bytes)),
            Ok(None) => Said::Nothing,
            Err(error) => Said::Failed(format!("{error:#}")),
        };
        serde_json::to_writer(&mut output, &said)?;
        output.write_all(b"\n")?;
        output.flush()?;
    }
    Ok(())
}

fn answered(context: &mut Option<ClientCtx>, line: &str) -> anyhow::Result<Option<Vec<u8>>> {
    let ask = serde_json::from_str(line)?;
    if let Ask::Begin { principal, service, scheme } = ask {
        let begun = context.insert(begin(principal.as_deref(), &service, scheme)?);
        return Ok(begun.step(None, None)?.map(|token| token.to_vec()));
    }
    let context = context.as_mut().context("nothing has begun")?;
    Ok(match ask {
        Ask::GoOn(token) => {
            let token = context.step(Some(&STANDARD.decode(token)?), None)?;
            token.map(|token| token.to_vec()).filter(|token| !token.is_empty())
        }
        Ask::Seal(message) => Some(sealed(context, STANDARD.decode(message)?)?),
        Ask::Open(sealed) => Some(opened(context, STANDARD.decode(sealed)?)?),
        Ask::Begin { .. } => None,
    })
}

fn begin(principal: Option<&str>, service: &str, scheme: Scheme) -> anyhow::Result<ClientCtx> {
    let name = |name: &str| Name::new(name.as_bytes(), Some(GSS_NT_KRB5_PRINCIPAL));
    let own = principal.map(name).transpose()?;
    let cred = Cred::acquire(own.as_ref(), None, CredUsage::Initiate, None)?;
    let name = name(service)?;
    let flags = CtxFlags::GSS_C_MUTUAL_FLAG
        | CtxFlags::GSS_C_CONF_FLAG
        | CtxFlags::GSS_C_INTEG_FLAG
        | CtxFlags::GSS_C_REPLAY_FLAG
        | CtxFlags::GSS_C_SEQUENCE_FLAG;
    let mechanism = if scheme == Scheme::Kerberos { GSS_MECH_KRB5 } else { GSS_MECH_SPNEGO };
    Ok(ClientCtx::new(Some(cred), name, flags, Some(mechanism)))
}

/// As Windows seals: a signature, the message as long as before, and nothing behind it.
fn sealed(context: &mut ClientCtx, mut message: Vec<u8>) -> anyhow::Result<Vec<u8>> {
    let mut parts = [
        GssIov::new_alloc(GssIovType::Header),
        GssIov::new(GssIovType::Data, &mut message),
        GssIov::new_alloc(GssIovType::Padding),
    ];
    context.wrap_iov(true, &mut parts)?;
    if !parts[2].is_empty() {
        bail!("AES needs no padding");
    }
    let length = u32::try_from(parts[0].len())?.to_le_bytes();
    Ok([&length[..], &parts[0], &parts[1]].concat())
}

fn opened(context: &mut ClientCtx, mut sealed: Vec<u8>) -> anyhow::Result<Vec<u8>> {
    let (length, rest) = sealed.split_first_chunk_mut().context("there is no length")?;
    let length = usize::try_from(u32::from_le_bytes(*length))?;
    if ![60, 64, 72].contains(&length) || rest.len() < length {
        bail!("a signature of {length} bytes");
    }
    let (signature, message) = rest.split_at_mut(length);
    let mut parts = [GssIov::new(GssIovType::Header, signature), GssIov::new(GssIovType::Data, message)];
    context.unwrap_iov(&mut parts)?;
    Ok(parts[1].to_vec())
}
