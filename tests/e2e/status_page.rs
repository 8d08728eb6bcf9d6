//! The status page in a browser: what it shows is what `/status` says, and what needs a person stands on it.

use std::process::Command;
use std::time::Duration;

use gatepost::lab::collector::{Collector, Memory};

use crate::support::{Site, workspace};
use crate::tools::{run_well, tool};

/// The page as a browser has it some seconds after it was opened, without its script.
fn shown(site: &Site) -> String {
    let profile = site.dir.join("browser");
    let mut browser = Command::new(tool("chromium", "chromium"));
    browser.args(["--headless=new", "--no-sandbox", "--disable-gpu", "--virtual-time-budget=5000", "--dump-dom"]);
    browser.arg(format!("--user-data-dir={}", profile.display())).arg(format!("http://127.0.0.1:{}/", site.admin));
    let page = run_well(&mut browser);
    let (page, _) = page.split_once("<script>").expect("the script stands at the end");
    page.to_owned()
}

/// The part of the page that begins with the element of this id.
fn part<'p>(page: &'p str, id: &str, end: &str) -> &'p str {
    let (_, from) = page.split_once(&format!("id=\"{id}\"")).unwrap_or_else(|| panic!("there is no {id}: {page}"));
    from.split_once(end).map_or(from, |(part, _)| part)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_page_shows_what_the_status_says_and_what_needs_a_person() {
    let collector = Collector::start(Memory::Identities).await.unwrap();
    let outputs = [workspace("soc", &[&collector]), workspace("lake", &[&collector])].concat();
    let site = Site::new(&outputs, "");
    assert!(site.start().await.stop().success());
    // A position that cannot be opened.
    let position = site.state().join("outputs/lake.cursor");
    std::fs::remove_file(&position).unwrap();
    std::fs::create_dir(&position).unwrap();
    let _running = site.start().await;
    let client = site.client();
    let event = |n: u32| format!("{{\"Computer\":\"PLANT-{n}\",\"Channel\":\"Security\",\"EventID\":4624,\"n\":{n}}}");
    let events = (0..37).map(event).collect::<Vec<_>>().join(",");
    assert_eq!(site.upload(&client, format!("[{events},17]")).await.unwrap().status, 204);
    site.until_drained().await;

    let site = std::sync::Arc::new(site);
    let page = {
        let site = std::sync::Arc::clone(&site);
        tokio::task::spawn_blocking(move || shown(&site)).await.unwrap()
    };
    let status = site.status().await;
    assert_eq!(status["outputs"][0]["forwarded"], 37, "{status:#}");
    assert!(page.contains("Ready for uploads."), "{page}");
    let needs = part(&page, "needs", "</ul>");
    assert!(needs.contains("Output lake: cannot start") && needs.contains("lake.cursor"), "{needs}");
    assert!(needs.contains("1 dead letters wait"), "{needs}");
    let outputs = part(&page, "outputs", "</tbody>");
    assert!(
        outputs.contains(">running<") && outputs.contains(">37<") && outputs.contains(">cannot start<"),
        "{outputs}"
    );
    assert!(part(&page, "letters", "</tbody>").contains("uploads"), "{page}");
    let hosts = part(&page, "hosts", "</tbody>");
    assert_eq!(hosts.matches("plant-").count().max(hosts.matches("PLANT-").count()), 37, "{hosts}");
    assert!(part(&page, "expiry", "</tbody>").contains("upload uploads"), "{page}");

    // It is mended, and nobody has to do anything more.
    std::fs::remove_dir(&position).unwrap();
    let until = tokio::time::Instant::now() + crate::support::PATIENCE;
    let is_mended = |status: &serde_json::Value| {
        let warns =
            status["warnings"].as_array().is_some_and(|all| all.iter().any(|one| one == "an output cannot start"));
        status["outputs"][1]["state"] == "running" && !warns
    };
    while !is_mended(&site.status().await) {
        assert!(tokio::time::Instant::now() < until, "{}", site.log());
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    let page = tokio::task::spawn_blocking(move || shown(&site)).await.unwrap();
    assert!(!page.contains("cannot start"), "{page}");
}
