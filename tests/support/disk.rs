//! A disk that is soon full.

#![allow(unreachable_pub, clippy::print_stdout, clippy::allow_attributes, reason = "suites share this")]

use std::fs::File;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;

/// A small file system of its own; unmounted at the end.
pub struct SmallDisk {
    path: PathBuf,
}

impl SmallDisk {
    /// `None` when the person who runs the test says that mounting is not possible here.
    pub fn mount(path: &Path, size: &str) -> Option<Self> {
        if std::env::var_os("GATEPOST_SKIP_MOUNT").is_some_and(|value| value == "1") {
            println!("skipped: GATEPOST_SKIP_MOUNT=1, so no small disk can be mounted");
            return None;
        }
        std::fs::create_dir_all(path).expect("it can be made");
        let options = format!("size={size},mode=0700");
        let mount = ["-t", "tmpfs", "-o", &options, "tmpfs"];
        let mounted = Command::new("mount").args(mount).arg(path).output().expect("mount is there");
        assert!(
            mounted.status.success(),
            "this test needs the right to mount a small tmpfs (root); set GATEPOST_SKIP_MOUNT=1 to leave it out: {}",
            String::from_utf8_lossy(&mounted.stderr)
        );
        Some(Self { path: path.to_owned() })
    }

    /// Fills what is left of it with a file of somebody else's.
    pub fn fill(&self) -> PathBuf {
        let path = self.path.join("somebody-elses.log");
        let mut file = File::create(&path).expect("it can be made");
        while file.write_all(&[b'x'; 4096]).is_ok() {}
        path
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        drop(Command::new("umount").arg("-l").arg(&self.path).status());
    }
}
