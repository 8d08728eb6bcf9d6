//! The secret of the installation, with a checksum and a copy.
//!
//! Event keys and batch ids are made with it. Another secret makes every event of the dedup window new: what agents repeat is
//! forwarded again. So it must neither change in silence nor keep the gateway from starting. The file and its copy stand in
//! for each other; when neither is good, a new secret is made, and that is told loudly: refusing to start would take tunnels
//! and forwarding down, and refusing uploads would lose what agents cannot keep, while a new secret costs repetitions at worst.
//! A file that is whole counts even where it differs from its copy: a person put it there.

use std::io::{self, ErrorKind};
use std::path::Path;

use anyhow::Context as _;

use crate::fs::{self, Fs, Readers};
use crate::metrics;

/// The secret.
pub(in crate::app) type Secret = [u8; 32];

const FILE: &str = "secret.key";
const COPY: &str = "secret.copy";

/// A longer file is another one.
const FILE_MAX: u64 = 4 << 10;

/// What stands behind the secret: the mark, then the CRC-32 of the secret. A former version wrote and read the secret alone.
const MARK: &[u8; 4] = b"GPs2";

/// What one of the two files holds.
#[derive(Debug, PartialEq, Eq)]
enum Found {
    /// A secret that is as it was written.
    Whole(Secret),
    /// One that a former version wrote.
    Bare(Secret),
    Missing,
    Damaged(String),
}

impl Found {
    fn secret(&self) -> Option<&Secret> {
        match self {
            Self::Whole(secret) | Self::Bare(secret) => Some(secret),
            Self::Missing | Self::Damaged(_) => None,
        }
    }
}

/// The secret of a state directory; made at the first start. `is_used` tells whether the directory holds events already.
///
/// # Errors
///
/// When a new one is needed and cannot be made or kept.
pub(super) fn open(fs: &dyn Fs, dir: &Path, is_used: bool) -> anyhow::Result<Secret> {
    let (file, copy) = (read(fs, &dir.join(FILE)), read(fs, &dir.join(COPY)));
    let secret = match (file.secret(), copy.secret()) {
        (Some(file), Some(copy)) if file != copy => {
            tracing::warn!("secret.key has changed; every event counts as new again");
            *file
        }
        (Some(file), _) => *file,
        (None, Some(copy)) => {
            damaged(&file, "made anew from its copy; nothing is lost");
            *copy
        }
        (None, None) => {
            if is_used || file != Found::Missing {
                damaged(
                    &file,
                    "and so is its copy: a new one is made. What agents repeat of the dedup window is forwarded again",
                );
            }
            return make(fs, dir);
        }
    };
    if let Found::Damaged(reason) = &copy {
        tracing::warn!(reason, "the copy of secret.key was damaged and restored");
    }
    for (name, found) in [(FILE, file), (COPY, copy)] {
        if found != Found::Whole(secret)
            && let Err(error) = write(fs, dir, name, &secret)
        {
            tracing::warn!(file = name, %error, "the secret cannot be written; the gateway continues with the one it has read");
        }
    }
    Ok(secret)
}

fn damaged(found: &Found, what_now: &str) {
    metrics::STATE_DAMAGED.add(&["secret"], 1);
    let reason = match found {
        Found::Damaged(reason) => reason,
        _ => "it is gone",
    };
    tracing::error!(reason, "secret.key is damaged or lost, {what_now}");
}

fn make(fs: &dyn Fs, dir: &Path) -> anyhow::Result<Secret> {
    let mut secret = [0; 32];
    aws_lc_rs::rand::fill(&mut secret).map_err(|_| anyhow::anyhow!("no random bytes can be had"))?;
    for name in [FILE, COPY] {
        // Whatever it holds may still be of use to a person.
        drop(fs.rename(&dir.join(name), &dir.join(name).with_added_extension("damaged")));
        write(fs, dir, name, &secret).with_context(|| format!("{} cannot be written", dir.join(name).display()))?;
    }
    Ok(secret)
}

fn read(fs: &dyn Fs, path: &Path) -> Found {
    match fs::read(fs, path, FILE_MAX) {
        Ok(bytes) => parse(&bytes),
        Err(error) if error.kind() == ErrorKind::NotFound => Found::Missing,
        Err(error) => Found::Damaged(error.to_string()),
    }
}

fn parse(bytes: &[u8]) -> Found {
    let Some((secret, behind)) = bytes.split_first_chunk::<32>() else {
        return Found::Damaged(format!("it holds {} bytes instead of 40", bytes.len()));
    };
    match behind.strip_prefix(MARK) {
        Some(sum) if sum.len() == 4 && sum == crc32fast::hash(secret).to_le_bytes() => Found::Whole(*secret),
        Some(sum) if sum.len() == 4 => Found::Damaged("its checksum is wrong".to_owned()),
        // Cut behind the secret, or never longer.
        _ => Found::Bare(*secret),
    }
}

fn write(fs: &dyn Fs, dir: &Path, name: &str, secret: &Secret) -> io::Result<()> {
    let bytes = [&secret[..], MARK, &crc32fast::hash(secret).to_le_bytes()].concat();
    fs::replace(fs, &dir.join(name), &bytes, Readers::Owner)
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::PermissionsExt as _;
    use std::sync::Arc;

    use super::*;
    use crate::fs::trial::{self, Durable};
    use crate::fs::volatile::VolatileFs;
    use crate::fs::{Access, RealFs};

    /// One of the two files, as far as its bytes tell what it holds.
    struct OneFile;

    impl Durable for OneFile {
        fn write(&self, fs: &Arc<dyn Fs>, version: u8) -> io::Result<()> {
            write(&**fs, trial::folder(), FILE, &[version; 32])
        }

        fn read(&self, fs: &Arc<dyn Fs>) -> Result<Option<u8>, String> {
            match read(&**fs, &trial::path(FILE)) {
                Found::Missing => Ok(None),
                Found::Whole(secret) if secret == [secret[0]; 32] => Ok(Some(secret[0])),
                other => Err(format!("{other:?}")),
            }
        }
    }

    #[test]
    fn the_secret_survives_a_failing_disk_and_a_power_cut() {
        trial::pass(&OneFile);
    }

    #[test]
    fn the_power_may_go_while_the_secret_is_made_or_mended_and_one_that_was_used_stays() {
        for (nth, seed) in (0..24).flat_map(|nth| (0..8).map(move |seed| (nth, seed))) {
            let disk = VolatileFs::default();
            disk.create_dir(trial::folder()).unwrap();
            disk.cut_after(nth);
            let made = open(&disk, trial::folder(), false);
            let disk = disk.cut(&mut fastrand::Rng::with_seed(seed));
            let secret = open(&disk, trial::folder(), false).unwrap();
            assert!(made.is_err() || made.unwrap() == secret, "made: power cut at change {nth}, seed {seed}");
            // The copy is damaged, and the power goes while it is made anew.
            disk.open(&trial::path(COPY), Access::ReadWrite).unwrap().write_all_at(&[9], 3).unwrap();
            disk.cut_after(nth);
            let mended = open(&disk, trial::folder(), true);
            assert!(mended.is_err() || mended.unwrap() == secret);
            let disk = disk.cut(&mut fastrand::Rng::with_seed(seed));
            assert_eq!(open(&disk, trial::folder(), true).unwrap(), secret, "mended: power cut at {nth}, seed {seed}");
        }
    }

    fn both(dir: &Path) -> [Found; 2] {
        [FILE, COPY].map(|name| read(&RealFs, &dir.join(name)))
    }

    #[test]
    fn the_secret_stays_the_same_and_is_nobody_elses() {
        let dir = tempfile::tempdir().unwrap();
        let secret = open(&RealFs, dir.path(), false).unwrap();
        assert_eq!(open(&RealFs, dir.path(), true).unwrap(), secret);
        for name in [FILE, COPY] {
            let mode = fs::metadata(dir.path().join(name)).unwrap().permissions().mode();
            assert_eq!(mode & 0o777, 0o600);
        }
    }

    #[test]
    fn the_secret_of_a_former_version_is_kept_and_gets_a_checksum_and_a_copy() {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join(FILE), [7; 32]).unwrap();
        assert_eq!(open(&RealFs, dir.path(), true).unwrap(), [7; 32]);
        assert_eq!(both(dir.path()), [Found::Whole([7; 32]), Found::Whole([7; 32])]);
        let bytes = fs::read(dir.path().join(FILE)).unwrap();
        assert_eq!(bytes[..32], [7; 32], "a former version still reads it");
    }

    #[test]
    fn a_lost_cut_or_flipped_secret_is_made_anew_from_its_copy() {
        let dir = tempfile::tempdir().unwrap();
        let secret = open(&RealFs, dir.path(), false).unwrap();
        for name in [FILE, COPY] {
            let path = dir.path().join(name);
            let whole = fs::read(&path).unwrap();
            let cuts = (0..whole.len()).step_by(3).map(|len| whole[..len].to_vec());
            let flips = (0..whole.len() * 8).step_by(7).map(|bit| {
                let mut flipped = whole.clone();
                flipped[bit / 8] ^= 1 << (bit % 8);
                flipped
            });
            for damage in cuts.chain(flips) {
                fs::write(&path, &damage).unwrap();
                assert_eq!(open(&RealFs, dir.path(), true).unwrap(), secret, "{name}: {damage:?}");
                assert_eq!(both(dir.path()), [Found::Whole(secret), Found::Whole(secret)]);
            }
            fs::remove_file(&path).unwrap();
            assert_eq!(open(&RealFs, dir.path(), true).unwrap(), secret);
        }
    }

    #[test]
    fn with_neither_good_a_new_one_is_made_and_the_old_ones_are_put_aside() {
        let dir = tempfile::tempdir().unwrap();
        let secret = open(&RealFs, dir.path(), false).unwrap();
        for name in [FILE, COPY] {
            fs::write(dir.path().join(name), &secret[..31]).unwrap();
        }
        let another = open(&RealFs, dir.path(), true).unwrap();
        assert_ne!(another, secret);
        assert_eq!(open(&RealFs, dir.path(), true).unwrap(), another);
        assert_eq!(fs::read(dir.path().join("secret.key.damaged")).unwrap(), secret[..31]);
    }

    #[test]
    fn a_secret_that_a_person_put_there_counts() {
        let dir = tempfile::tempdir().unwrap();
        open(&RealFs, dir.path(), false).unwrap();
        fs::write(dir.path().join(FILE), [9; 32]).unwrap();
        assert_eq!(open(&RealFs, dir.path(), true).unwrap(), [9; 32]);
        assert_eq!(both(dir.path()), [Found::Whole([9; 32]), Found::Whole([9; 32])]);
    }
}
