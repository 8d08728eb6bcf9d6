//! The package holds what an operator needs, and its unit starts what it installs.

use std::path::{Path, PathBuf};
use std::process::Command;

use crate::tools::{both, of_checkout, run};

/// The package of the binary under test, unpacked.
fn unpacked(folder: &Path) -> PathBuf {
    // Without what a debugger needs: packing that would take most of the test's time.
    let binary = folder.join("gatepost");
    let stripped = run(Command::new("strip").arg("-o").arg(&binary).arg(env!("CARGO_BIN_EXE_gatepost")), b"");
    assert!(stripped.status.success(), "{}", both(&stripped));
    let mut pack = Command::new(of_checkout("scripts/package.sh"));
    let packed = run(pack.arg(&binary).arg(folder), b"");
    assert!(packed.status.success(), "{}", both(&packed));
    let files: Vec<PathBuf> = String::from_utf8_lossy(&packed.stdout).lines().map(PathBuf::from).collect();
    let [package, archive] = &files[..] else { panic!("a package and an archive: {}", both(&packed)) };
    assert!(archive.to_str().is_some_and(|name| name.ends_with(".tar.gz")), "{archive:?}");
    let root = folder.join("root");
    let unpacked = run(Command::new("dpkg-deb").arg("--extract").arg(package).arg(&root), b"");
    assert!(unpacked.status.success(), "{}", both(&unpacked));
    root
}

#[test]
fn the_package_installs_what_its_unit_starts_and_starts_nothing_itself() {
    let folder = tempfile::tempdir().expect("a temporary directory");
    let root = unpacked(folder.path());
    let unit = std::fs::read_to_string(root.join("usr/lib/systemd/system/gatepost.service")).expect("the unit");
    let start = unit.lines().find_map(|line| line.strip_prefix("ExecStart=/")).expect("it starts something");
    let binary = root.join(start.split(' ').next().expect("a path"));
    let said = run(Command::new(binary).arg("--version"), b"");
    assert!(both(&said).starts_with(concat!("gatepost ", env!("CARGO_PKG_VERSION"))), "{}", both(&said));
    assert!(!unit.contains("/usr/local/"), "of another installation: {unit}");

    let control = run(Command::new("dpkg-deb").arg("--ctrl-tarfile").arg(only_package(folder.path())), b"");
    for script in ["postinst", "preinst", "prerm", "postrm"] {
        assert!(!String::from_utf8_lossy(&control.stdout).contains(script), "{script} would do something by itself");
    }
}

fn only_package(folder: &Path) -> PathBuf {
    let entries = std::fs::read_dir(folder).expect("it is there").filter_map(Result::ok).map(|entry| entry.path());
    entries.into_iter().find(|path| path.extension().is_some_and(|end| end == "deb")).expect("a package")
}
