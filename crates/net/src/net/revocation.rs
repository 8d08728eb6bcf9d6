//! Revocation lists (CRL) of the authorities of client certificates.
//!
//! They fail closed: where a listener has any, it takes a client certificate only when a list that is not past its time says
//! nothing against it, and against the authorities between it and `client_ca`. A list that was forgotten would else let in
//! whom it was made against, and nobody would notice. What is missing or too old is told with each refusal.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, CertificateRevocationListDer};
use x509_parser::prelude::{ASN1Time, CertificateRevocationList, FromDer, ParsedExtension, X509Certificate};

use super::tls_error::TlsError;
use super::tls_files::{date, read};

/// The number of the extension that makes a list one of changes only.
const DELTA: &str = "2.5.29.27";

/// Choices of one key for each authority; more than anybody has who renews a key every few years.
const CHOICES_MAX: usize = 32;

/// A list in DER form.
pub(super) type List = CertificateRevocationListDer<'static>;

/// An authority's name, and the key that it signs with. Its lists may not tell the key.
type Signer = (Vec<u8>, Option<Vec<u8>>);

/// The lists of these files in each choice of one key for each authority, the newest first. Without files there is one choice
/// without lists.
pub(super) fn choices(files: &[PathBuf]) -> Result<Vec<Vec<List>>, TlsError> {
    let lists: Vec<(Option<Signer>, List)> = lists(files)?.into_iter().map(|list| (signer(&list), list)).collect();
    let mut keys: BTreeMap<&[u8], BTreeSet<Option<&[u8]>>> = BTreeMap::new();
    for (name, key) in lists.iter().filter_map(|(signer, _)| signer.as_ref()) {
        keys.entry(name).or_default().insert(key.as_deref());
    }
    let mut choices = vec![BTreeMap::new()];
    for (name, keys) in keys {
        let with = |choice: &BTreeMap<_, _>, key| choice.iter().map(|(n, k)| (*n, *k)).chain([(name, key)]).collect();
        choices = choices.iter().flat_map(|choice| keys.iter().map(move |key| with(choice, *key))).collect();
        if choices.len() > CHOICES_MAX {
            let file = files.first().map(PathBuf::as_path).unwrap_or(Path::new(""));
            return Err(content(
                file,
                "lists of too many keys of the same authorities; leave out those of keys that signed \
                                      no certificate in use",
            ));
        }
    }
    Ok(choices.iter().map(|choice| chosen(&lists, choice)).collect())
}

fn chosen(lists: &[(Option<Signer>, List)], choice: &BTreeMap<&[u8], Option<&[u8]>>) -> Vec<List> {
    let is_chosen = |signer: &Option<Signer>| {
        signer.as_ref().is_some_and(|(name, key)| choice.get(&name[..]) == Some(&key.as_deref()))
    };
    lists.iter().filter(|(signer, _)| is_chosen(signer)).map(|(_, list)| list.clone()).collect()
}

fn signer(list: &List) -> Option<Signer> {
    let (_, list) = CertificateRevocationList::from_der(list).ok()?;
    let key = list.extensions().iter().find_map(|extension| match extension.parsed_extension() {
        ParsedExtension::AuthorityKeyIdentifier(of) => of.key_identifier.as_ref().map(|key| key.0.to_vec()),
        _ => None,
    });
    Some((list.issuer().as_raw().to_vec(), key))
}

/// All lists of these files, each with one in DER form or with any number in PEM form; the newest first, which is the one that
/// counts where an authority has several.
pub(super) fn lists(files: &[PathBuf]) -> Result<Vec<CertificateRevocationListDer<'static>>, TlsError> {
    let mut found = Vec::new();
    for file in files {
        for list in lists_of(file)? {
            let issued = parsed(&list, file)?.last_update().timestamp();
            found.push((issued, list));
        }
    }
    found.sort_by_key(|(issued, _)| std::cmp::Reverse(*issued));
    Ok(found.into_iter().map(|(_, list)| list).collect())
}

/// What is to be said about a file whose list is past its time.
pub(super) fn out_of_time(file: &Path) -> Option<String> {
    let now = ASN1Time::now();
    lists_of(file).ok()?.iter().find_map(|list| {
        let (_, list) = CertificateRevocationList::from_der(list).ok()?;
        let until = list.next_update().filter(|until| *until < now)?;
        Some(format!(
            "the revocation list of {} in tls.client_crl expired on {}: no certificate of that authority is taken; put its \
             current list in the place of this one",
            list.issuer(),
            date(until)
        ))
    })
}

/// When the first of the lists that count is to be renewed, in seconds since 1970.
pub(super) fn next_update(files: &[PathBuf]) -> Option<i64> {
    let mut ends = BTreeMap::new();
    for list in lists(files).ok()? {
        let (_, list) = CertificateRevocationList::from_der(&list).ok()?;
        let end = list.next_update().map(|until| until.timestamp());
        // The newest list of an authority comes first.
        ends.entry(list.issuer().as_raw().to_owned()).or_insert(end);
    }
    ends.into_values().flatten().min()
}

/// What is to be said about authorities of which there is no list, where there are lists of others.
pub(super) fn unlisted(files: &[PathBuf], authorities: &[CertificateDer<'_>]) -> Vec<String> {
    let Ok(lists) = lists(files) else { return Vec::new() };
    let parsed = |list| CertificateRevocationList::from_der(list).ok().map(|(_, list)| list);
    let issuers: Vec<Vec<u8>> =
        lists.iter().filter_map(|list| parsed(list)).map(|list| list.issuer().as_raw().to_vec()).collect();
    let told = |authority: &CertificateDer<'_>| {
        let (_, authority) = X509Certificate::from_der(authority).ok()?;
        let is_listed = issuers.iter().any(|issuer| issuer == authority.subject().as_raw());
        (!is_listed).then(|| {
            format!(
                "tls.client_crl has no list of {}, so none of its certificates is taken; add its list, or take it out of \
                 tls.client_ca",
                authority.subject()
            )
        })
    };
    if lists.is_empty() { Vec::new() } else { authorities.iter().filter_map(told).collect() }
}

fn lists_of(file: &Path) -> Result<Vec<CertificateRevocationListDer<'static>>, TlsError> {
    let bytes = read(file)?;
    // A sequence, which is what a list in DER form is.
    if bytes.first() == Some(&0x30) {
        return Ok(vec![CertificateRevocationListDer::from(bytes)]);
    }
    let lists: Result<Vec<_>, _> = CertificateRevocationListDer::pem_slice_iter(&bytes).collect();
    match lists {
        Ok(lists) if !lists.is_empty() => Ok(lists),
        Ok(_) => Err(content(file, "no revocation list (X509 CRL) in PEM or DER form")),
        Err(error) => Err(content(file, &format!("no revocation list in PEM form: {error}"))),
    }
}

fn parsed<'l>(
    list: &'l CertificateRevocationListDer<'_>,
    file: &Path,
) -> Result<CertificateRevocationList<'l>, TlsError> {
    let (rest, parsed) = CertificateRevocationList::from_der(list)
        .map_err(|error| content(file, &format!("no revocation list in DER form: {error}")))?;
    if !rest.is_empty() {
        return Err(content(
            file,
            "bytes follow the revocation list in DER form; write each in a file of its own, or PEM",
        ));
    }
    if parsed.extensions().iter().any(|extension| extension.oid.to_id_string() == DELTA) {
        return Err(content(file, "a list of changes only (delta CRL) is not taken; name the authority's base list"));
    }
    Ok(parsed)
}

fn content(file: &Path, reason: &str) -> TlsError {
    TlsError::Content { path: file.to_owned(), reason: reason.to_owned() }
}

#[cfg(test)]
#[path = "revocation_tests.rs"]
mod tests;
