//! Tools that tests run as a person would: found, or named with their package; and curl, with its answer taken apart.

#![allow(dead_code, unreachable_pub, clippy::allow_attributes, reason = "each suite uses its own part of this")]

use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

/// The path of a tool. Fails with the Debian package to install.
pub fn tool(name: &str, package: &str) -> PathBuf {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let folders = std::env::split_paths(&path).chain(["/usr/sbin".into(), "/sbin".into()]);
    let found = folders.map(|folder| folder.join(name)).find(|path| path.is_file());
    found.unwrap_or_else(|| panic!("{name} is missing; install the Debian package {package} (scripts/tools.sh test)"))
}

/// Runs a command to its end, with this as its standard input.
pub fn run(command: &mut Command, input: &[u8]) -> Output {
    let mut child = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap_or_else(|error| panic!("{command:?}: {error}"));
    let mut stdin = child.stdin.take().expect("it is piped");
    let input = input.to_vec();
    // Beside the reading, so that neither side waits for the other; a tool that has seen enough may hang up.
    let writing = std::thread::spawn(move || drop(std::io::Write::write_all(&mut stdin, &input)));
    let output = child.wait_with_output().expect("it was started here");
    writing.join().expect("writing does not panic");
    output
}

/// Runs a command that must succeed; returns its standard output.
pub fn run_well(command: &mut Command) -> String {
    let output = run(command, b"");
    assert!(output.status.success(), "{command:?}: {}\n{}", output.status, both(&output));
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// What a command printed, on either channel.
pub fn both(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr)
}

/// A file of this checkout.
pub fn of_checkout(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
}

/// What curl got.
#[derive(Debug, Clone)]
pub struct Reply {
    pub status: u16,
    pub head: String,
    pub body: String,
}

impl Reply {
    /// The value of a header, or nothing.
    pub fn header(&self, name: &str) -> Option<&str> {
        let mut fields = self.head.lines().filter_map(|line| line.split_once(':'));
        fields.find(|(field, _)| field.eq_ignore_ascii_case(name)).map(|(_, value)| value.trim())
    }
}

/// curl with these arguments and this on its standard input. `Err` holds curl's own exit code and complaint.
pub fn curl(args: &[&str], input: &[u8]) -> Result<Reply, (i32, String)> {
    let output = run(Command::new(tool("curl", "curl")).args(["-sS", "-i", "--max-time", "30"]).args(args), input);
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    if !output.status.success() {
        let complaint = String::from_utf8_lossy(&output.stderr).into_owned();
        return Err((output.status.code().unwrap_or(-1), complaint + &text));
    }
    let mut rest = text.as_str();
    loop {
        let (head, body) = rest.split_once("\r\n\r\n").unwrap_or((rest, ""));
        let status = head.split(' ').nth(1).and_then(|status| status.parse().ok());
        let status: u16 = status.unwrap_or_else(|| panic!("curl shows no status: {text}"));
        if status >= 200 {
            return Ok(Reply { status, head: head.to_owned(), body: body.to_owned() });
        }
        rest = body;
    }
}
