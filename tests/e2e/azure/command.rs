//! `gatepost simulate workspace`: what it prints can be pasted, and what is sent there is in its file.

use std::process::{Command, Stdio};
use std::time::Duration;

use gatepost::lab::events::{Host, Shape};
use tokio::time::Instant;

use crate::support::{PATIENCE, Site};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_gateway_with_the_printed_output_delivers_into_the_file_of_rows() {
    let dir = tempfile::tempdir().unwrap();
    let folder = dir.path().join("azure");
    let printed = std::fs::File::create(dir.path().join("printed")).unwrap();
    let mut simulated = Command::new(env!("CARGO_BIN_EXE_gatepost"))
        .args(["simulate", "workspace", "--fail", "503:0.2", "--dir"])
        .arg(&folder)
        .stdout(printed)
        .stdin(Stdio::null())
        .spawn()
        .unwrap();
    let until = Instant::now() + PATIENCE;
    let output = loop {
        let printed = std::fs::read_to_string(dir.path().join("printed")).unwrap();
        if let Some((introduction, _)) = printed.split_once("\nRequests:\n") {
            break introduction.split_once("[[outputs]]").map(|(_, table)| format!("[[outputs]]{table}")).unwrap();
        }
        assert!(Instant::now() < until, "it does not start: {printed}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    };
    assert_eq!(output, std::fs::read_to_string(folder.join("output.toml")).unwrap());
    let site = Site::new(&output, "");
    let running = site.start().await;
    let events: Vec<Vec<u8>> =
        Host::new("PASTED.plant.example", 5).take(80).map(|event| event.render(Shape::Row)).collect();
    let body = [b"[".as_slice(), &events.join(&b','), b"]"].concat();
    assert_eq!(site.upload(&site.client(), body).await.unwrap().status, 204);
    site.until_drained().await;
    assert!(running.stop().success());
    let rows = std::fs::read_to_string(folder.join("rows.ndjson")).unwrap();
    let rows: Vec<serde_json::Value> = rows.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(rows.len(), 80);
    assert!(rows.iter().all(|row| row["row"]["Computer"] == "PASTED.plant.example"));
    let interrupted = Command::new("kill").args(["-INT", &simulated.id().to_string()]).status().unwrap();
    assert!(interrupted.success());
    assert!(simulated.wait().unwrap().success(), "Ctrl-C ends it well");
}
