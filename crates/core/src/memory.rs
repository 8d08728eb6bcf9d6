//! How much memory this process may use, and how its parts share it.
//!
//! What takes memory has a bound, and the bounds together must fit what there is: the least of the machine's memory and the
//! limits of the control groups that the process is in. Where the configuration names no bound, it is a share of that, up to
//! a size beyond which more is of no use. So the defaults fit a container of any sensible size, and [`Shares::rest`] stays for
//! code, buffers, and what the allocator has not given back yet.

use std::fs;
use std::path::{Path, PathBuf};

const MIB: u64 = 1 << 20;

/// Below this the shares are as for this much: a gateway does not run in less.
const LEAST: u64 = 64 * MIB;
/// A limit at or above it leaves room for what the allocator keeps for later.
const AMPLE: u64 = 2 << 30;
/// What an idle connection with TLS takes, rounded up.
pub const CONNECTION: u64 = 64 << 10;
/// Decoding one upload takes most of its memory: one at a time for each so many bytes.
const PER_TURN: u64 = 128 * MIB;

/// How the parts of a gateway share what memory there is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Shares {
    limit: u64,
}

impl Shares {
    /// Of what this process may use.
    pub fn here() -> Self {
        Self::of(limit(Path::new("/")))
    }

    /// Of so many bytes.
    pub fn of(limit: u64) -> Self {
        Self { limit: limit.max(LEAST) }
    }

    /// All of it.
    pub fn limit(&self) -> u64 {
        self.limit
    }

    /// Bodies of uploads, of all listeners together.
    pub fn bodies(&self) -> u64 {
        (self.limit / 8 * 3).min(256 * MIB)
    }

    /// What uploads take beside their bodies on their way to the spool.
    pub fn work(&self) -> u64 {
        (self.limit / 8).min(64 * MIB)
    }

    /// Keys of events that were seen.
    pub fn keys(&self) -> u64 {
        (self.limit / 8).min(64 * MIB)
    }

    /// Batches on their way to outputs, of all outputs together.
    pub fn batches(&self) -> u64 {
        self.limit / 8
    }

    /// Connections to one of so many listeners.
    pub fn connections(&self, listeners: usize) -> usize {
        let all = usize::try_from(self.limit / 8 / CONNECTION).unwrap_or(usize::MAX);
        (all / listeners.max(1)).min(2048)
    }

    /// What is left for code, threads and everything small.
    pub fn rest(&self) -> u64 {
        self.limit / 8
    }

    /// Uploads that are decoded at once.
    pub fn turns(&self) -> usize {
        usize::try_from(self.limit / PER_TURN).unwrap_or(usize::MAX).max(1)
    }

    /// Whether freed memory must go back to the system at once to be of use to other parts.
    pub fn is_scarce(&self) -> bool {
        self.limit < AMPLE
    }
}

/// The least of all limits that bind this process. `root` is `/` but for tests.
fn limit(root: &Path) -> u64 {
    let machine = total(&read(root, "proc/meminfo"));
    let groups = read(root, "proc/self/cgroup");
    groups.lines().flat_map(|line| limits_of(root, line)).chain(machine).min().unwrap_or(u64::MAX)
}

/// The limits along one line of `/proc/self/cgroup`: `number:controllers:path`, where version 2 names no controllers.
fn limits_of(root: &Path, line: &str) -> Vec<u64> {
    let mut fields = line.splitn(3, ':').skip(1);
    let (Some(controllers), Some(path)) = (fields.next(), fields.next()) else { return Vec::new() };
    let (mounts, files): (&[&str], &[&str]) = if controllers.is_empty() {
        (&["sys/fs/cgroup", "sys/fs/cgroup/unified"], &["memory.max", "memory.high"])
    } else if controllers.split(',').any(|controller| controller == "memory") {
        (&["sys/fs/cgroup/memory"], &["memory.limit_in_bytes"])
    } else {
        return Vec::new();
    };
    // A group is bound by those it is in. In a container the path may be that of outside, and only its end, the mount, is here.
    let groups: Vec<PathBuf> = Path::new(path.trim_start_matches('/')).ancestors().map(Path::to_owned).collect();
    let places = mounts.iter().flat_map(|mount| groups.iter().map(move |group| Path::new(mount).join(group)));
    places
        .flat_map(|place| files.iter().filter_map(move |file| read(root, place.join(file)).trim().parse().ok()))
        .collect()
}

fn total(meminfo: &str) -> Option<u64> {
    let line = meminfo.lines().find_map(|line| line.strip_prefix("MemTotal:"))?;
    line.split_whitespace().next()?.parse::<u64>().ok().map(|kib| kib << 10)
}

/// What cannot be read sets no limit.
fn read(root: &Path, path: impl AsRef<Path>) -> String {
    fs::read_to_string(root.join(path)).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A machine made of these files.
    fn limit_with(files: &[(&str, &str)]) -> u64 {
        let root = tempfile::tempdir().expect("a folder");
        for (path, text) in files {
            let path = root.path().join(path);
            fs::create_dir_all(path.parent().expect("it is in a folder")).expect("a folder");
            fs::write(path, text).expect("a file");
        }
        limit(root.path())
    }

    const MEMINFO: (&str, &str) = ("proc/meminfo", "MemTotal:        8388608 kB\nMemFree: 1 kB\n");

    #[test]
    fn without_a_control_group_it_is_the_machines_memory() {
        assert_eq!(limit_with(&[MEMINFO]), 8 << 30);
        assert_eq!(limit_with(&[MEMINFO, ("proc/self/cgroup", "0::/\nnonsense\n4:memory\n")]), 8 << 30);
        assert_eq!(limit_with(&[]), u64::MAX);
    }

    #[test]
    fn the_least_limit_of_the_groups_binds_be_it_a_parents() {
        let v2 = ("proc/self/cgroup", "0::/system.slice/gatepost.service\n");
        let own = ("sys/fs/cgroup/system.slice/gatepost.service/memory.max", "max\n");
        let parent = ("sys/fs/cgroup/system.slice/memory.max", "536870912\n");
        let high = ("sys/fs/cgroup/system.slice/gatepost.service/memory.high", "268435456\n");
        assert_eq!(limit_with(&[MEMINFO, v2, own]), 8 << 30);
        assert_eq!(limit_with(&[MEMINFO, v2, own, parent]), 512 << 20);
        assert_eq!(limit_with(&[MEMINFO, v2, own, parent, high]), 256 << 20);
        let v1 = ("proc/self/cgroup", "5:cpu,cpuacct:/x\n4:memory:/docker/abc\n0::/\n");
        let inside = ("sys/fs/cgroup/memory/memory.limit_in_bytes", "134217728\n");
        assert_eq!(limit_with(&[MEMINFO, v1, inside]), 128 << 20, "the path of outside is not here");
        let endless = ("sys/fs/cgroup/memory/docker/abc/memory.limit_in_bytes", "9223372036854771712\n");
        assert_eq!(limit_with(&[MEMINFO, v1, endless]), 8 << 30);
    }

    #[test]
    fn the_shares_fit_whatever_there_is() {
        for mib in [64, 100, 256, 512, 683, 1024, 4096, 1 << 20] {
            let shares = Shares::of(mib * MIB);
            let connections = shares.connections(1) as u64 * CONNECTION;
            let sum = [shares.bodies(), shares.work(), shares.keys(), shares.batches(), connections, shares.rest()];
            assert!(sum.iter().sum::<u64>() <= shares.limit(), "{mib} MiB: {sum:?}");
        }
        let ample = Shares::of(4 << 30);
        assert_eq!((ample.bodies(), ample.work(), ample.keys()), (256 * MIB, 64 * MIB, 64 * MIB));
        assert_eq!((ample.connections(3), ample.turns(), ample.is_scarce()), (2048, 32, false));
    }
}
