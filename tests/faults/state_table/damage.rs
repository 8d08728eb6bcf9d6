//! What happens to files: lost, cut, one bit flipped, written by a former version, restored alone.

use std::fs;
use std::path::{Path, PathBuf};

use super::table::Damage;

/// The files of a state directory that a name of the table means: `dir/*.suffix`, and several with ` + ` between.
pub(crate) fn files(state: &Path, name: &str) -> Vec<PathBuf> {
    let mut found: Vec<PathBuf> = name.split(" + ").flat_map(|name| files_of(state, name)).collect();
    found.sort();
    found
}

fn files_of(state: &Path, name: &str) -> Vec<PathBuf> {
    let Some((before, suffix)) = name.split_once('*') else { return vec![state.join(name)] };
    let dir = state.join(before);
    let entries = fs::read_dir(&dir).unwrap_or_else(|error| panic!("{}: {error}", dir.display()));
    entries
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.file_name().is_some_and(|name| name.to_string_lossy().ends_with(suffix)))
        .collect()
}

/// Does it. `aside` is a folder to work in; `rng` chooses the bit.
pub(crate) fn inflict(state: &Path, aside: &Path, name: &str, damage: Damage, rng: &mut Option<fastrand::Rng>) {
    let files = files(state, name);
    assert!(!files.is_empty() && files.iter().all(|file| file.is_file()), "{name}: {files:?}");
    match damage {
        Damage::Lost => files.iter().for_each(|file| fs::remove_file(file).unwrap()),
        Damage::Cut => files.iter().for_each(|file| {
            let bytes = fs::read(file).unwrap();
            fs::write(file, &bytes[..content(&bytes).len() / 2]).unwrap();
        }),
        Damage::Flipped => files.iter().for_each(|file| flip(file, rng)),
        Damage::Older => files.iter().for_each(|file| as_before(file)),
        Damage::Alone => {
            fs::rename(state, aside).unwrap();
            for file in files {
                let kept = aside.join(file.strip_prefix(state).unwrap());
                private(file.parent().unwrap());
                fs::copy(kept, file).unwrap();
            }
        }
    }
}

pub(crate) fn private(dir: &Path) {
    use std::os::unix::fs::DirBuilderExt as _;
    fs::DirBuilder::new().recursive(true).mode(0o700).create(dir).unwrap();
}

/// What was written: files of the spool and of positions are longer than that.
fn content(bytes: &[u8]) -> &[u8] {
    let end = bytes.iter().rposition(|byte| *byte != 0).map_or(0, |at| at + 1);
    &bytes[..end]
}

/// Without a generator the bit is one well within what was written.
fn flip(file: &Path, rng: &mut Option<fastrand::Rng>) {
    let mut bytes = fs::read(file).unwrap();
    let bits = content(&bytes).len() * 8;
    if bits == 0 {
        return;
    }
    let bit = rng.as_mut().map_or(bits / 3, |rng| rng.usize(..bits));
    bytes[bit / 8] ^= 1 << (bit % 8);
    fs::write(file, bytes).unwrap();
}

/// As the former version wrote it: without checksums.
fn as_before(file: &Path) {
    let bytes = fs::read(file).unwrap();
    if file.ends_with("secret.key") {
        return fs::write(file, &bytes[..32]).unwrap();
    }
    let text = String::from_utf8(bytes).unwrap();
    let line = |line: &str| match line.rsplit_once(",\"crc32\":\"") {
        Some((before, _)) => format!("{before}}}"),
        None => line.to_owned(),
    };
    let end = if text.ends_with('\n') { "\n" } else { "" };
    let lines: Vec<String> = text.lines().map(line).collect();
    fs::write(file, lines.join("\n") + end).unwrap();
}

/// Makes a segment one of this format.
pub(crate) fn of_version(segment: &Path, version: u32) {
    let mut bytes = fs::read(segment).unwrap();
    bytes[12..16].copy_from_slice(&version.to_le_bytes());
    let sum = crc32fast::hash(&bytes[12..4096]);
    bytes[8..12].copy_from_slice(&sum.to_le_bytes());
    fs::write(segment, bytes).unwrap();
}
