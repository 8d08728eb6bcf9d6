//! Keytabs: the keys of services in a file, as `ktpass`, `ktutil` and Samba write them (format 2, numbers most significant
//! first).

use std::io::{self, Read as _};
use std::path::Path;

use super::cipher::Key;

/// The largest file that is read: some ten thousand keys.
const SIZE_MAX: u64 = 1 << 20;
/// Most keys that are tried for one ticket.
const KEYS_MAX: usize = 1024;

/// Why a keytab cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum KeytabError {
    /// It cannot be read.
    #[error("it cannot be read: {0}")]
    Unreadable(#[from] io::Error),
    /// It is none.
    #[error("it is no keytab, which begins with the bytes 05 02")]
    NoKeytab,
    /// It ends too early, or is not made as one.
    #[error("it is damaged at byte {0}")]
    Damaged(usize),
    /// It is larger than any.
    #[error("it is larger than 1 MiB or holds more than 1024 keys")]
    TooLarge,
}

/// A key of a service.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// The service, such as `HTTP/gateway.plant.example`.
    pub service: String,
    /// Its realm.
    pub realm: String,
    /// The version of the key.
    pub version: u32,
    /// Its type, by the number that it has in Kerberos.
    pub enctype: i64,
    bytes: Vec<u8>,
}

impl Entry {
    /// Its key, if it is one with AES.
    pub fn key(&self) -> Option<Key> {
        Key::new(self.enctype, &self.bytes).ok()
    }

    /// Whether it is the service of this name, with or without a realm.
    pub fn is_of(&self, service: &str) -> bool {
        let (name, realm) = service.split_once('@').unwrap_or((service, &self.realm));
        self.service.eq_ignore_ascii_case(name) && self.realm == realm
    }
}

/// The keys of a file.
///
/// # Errors
///
/// When it cannot be read or is no keytab.
pub fn load(path: &Path) -> Result<Vec<Entry>, KeytabError> {
    let file = std::fs::File::open(path)?;
    if !file.metadata()?.is_file() {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "it is no file").into());
    }
    let mut bytes = Vec::new();
    file.take(SIZE_MAX + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > SIZE_MAX { Err(KeytabError::TooLarge) } else { read(&bytes) }
}

/// The keys that these bytes hold.
///
/// # Errors
///
/// When they are no keytab.
pub fn read(bytes: &[u8]) -> Result<Vec<Entry>, KeytabError> {
    let Some(mut rest) = bytes.strip_prefix(&[5, 2]) else { return Err(KeytabError::NoKeytab) };
    let mut entries = Vec::new();
    while !rest.is_empty() {
        let damaged = KeytabError::Damaged(bytes.len() - rest.len());
        let Some((length, behind)) = rest.split_first_chunk() else { return Err(damaged) };
        let length = i32::from_be_bytes(*length);
        // Some writers leave zeros at the end.
        if length == 0 {
            break;
        }
        let Some((entry, behind)) = behind.split_at_checked(length.unsigned_abs() as usize) else {
            return Err(damaged);
        };
        // What was removed leaves a hole, which has its length below zero.
        if length > 0 {
            entries.push(Fields(entry).entry().ok_or(damaged)?);
        }
        if entries.len() > KEYS_MAX {
            return Err(KeytabError::TooLarge);
        }
        rest = behind;
    }
    Ok(entries)
}

/// What is left of an entry.
struct Fields<'a>(&'a [u8]);

impl<'a> Fields<'a> {
    fn entry(mut self) -> Option<Entry> {
        let names = self.short()?;
        let realm = self.text()?;
        let service: Option<Vec<String>> = (0..names).map(|_| self.text()).collect();
        self.bytes(8)?;
        let short_version = self.bytes(1)?[0];
        let enctype = i64::from(self.short()?);
        let length = self.short()?;
        let bytes = self.bytes(length.into())?.to_vec();
        let long_version = self.bytes(4).and_then(|bytes| Some(u32::from_be_bytes(bytes.try_into().ok()?)));
        let version = long_version.filter(|version| *version != 0).unwrap_or(short_version.into());
        Some(Entry { service: service?.join("/"), realm, version, enctype, bytes })
    }

    fn bytes(&mut self, length: usize) -> Option<&'a [u8]> {
        let (bytes, rest) = self.0.split_at_checked(length)?;
        self.0 = rest;
        Some(bytes)
    }

    fn short(&mut self) -> Option<u16> {
        Some(u16::from_be_bytes(self.bytes(2)?.try_into().ok()?))
    }

    fn text(&mut self) -> Option<String> {
        let length = self.short()?;
        Some(String::from_utf8_lossy(self.bytes(length.into())?).into_owned())
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// A keytab with these keys.
    pub(crate) fn written(entries: &[(&str, &str, u32, u16, &[u8])]) -> Vec<u8> {
        let mut file = vec![5, 2];
        for (service, realm, version, enctype, key) in entries {
            let text = |text: &str| [&(text.len() as u16).to_be_bytes()[..], text.as_bytes()].concat();
            let names: Vec<&str> = service.split('/').collect();
            let mut entry = (names.len() as u16).to_be_bytes().to_vec();
            entry.extend(text(realm));
            names.iter().for_each(|name| entry.extend(text(name)));
            entry.extend([0, 0, 0, 1, 0, 0, 0, 0, version.to_be_bytes()[3]]);
            entry.extend(enctype.to_be_bytes());
            entry.extend((key.len() as u16).to_be_bytes());
            entry.extend(*key);
            entry.extend(version.to_be_bytes());
            file.extend((entry.len() as i32).to_be_bytes());
            file.extend(entry);
        }
        file
    }

    #[test]
    fn keys_are_read_with_their_names_and_holes_are_passed_over() {
        let (service, realm) = ("HTTP/gate.example.test", "EXAMPLE.TEST");
        let mut file = written(&[(service, realm, 300, 18, &[7; 32]), ("GATE$", realm, 2, 23, &[1; 16])]);
        file.extend([0xff, 0xff, 0xff, 0xfe, 9, 9]);
        let entries = read(&file).expect("it is one");
        let told: Vec<_> = entries.iter().map(|entry| (entry.service.as_str(), entry.version, entry.enctype)).collect();
        assert_eq!(told, [(service, 300, 18), ("GATE$", 2, 23)]);
        assert!(entries[0].is_of("http/GATE.example.test") && entries[0].is_of(&format!("{service}@{realm}")));
        assert!(!entries[0].is_of(&format!("{service}@OTHER.TEST")));
        assert!(entries[0].key().is_some() && entries[1].key().is_none(), "RC4 is not taken");
    }

    #[test]
    fn what_is_no_keytab_or_cut_anywhere_is_told() {
        assert!(matches!(read(b"hello"), Err(KeytabError::NoKeytab)));
        let file = written(&[("HTTP/a", "R", 1, 18, &[7; 32])]);
        for end in 3..file.len() - 4 {
            assert!(matches!(read(&file[..end]), Err(KeytabError::Damaged(2))), "{end}");
        }
        let many = written(&vec![("a", "R", 1, 18, &[7; 32][..]); 1025]);
        assert!(matches!(read(&many), Err(KeytabError::TooLarge)));
        assert!(matches!(load(Path::new("/proc")), Err(KeytabError::Unreadable(_))));
    }
}
