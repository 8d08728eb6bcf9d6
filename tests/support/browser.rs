//! A headless Chromium that a test steers over its debugging pipe: no port, no library, every answer waited for.

#![allow(dead_code, unreachable_pub, clippy::allow_attributes, reason = "each suite uses its own part of this")]

use std::fs::File;
use std::io::{BufRead as _, BufReader, Write as _};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use tokio::time::Instant;

use base64::Engine as _;
use serde_json::{Value, json};

use crate::tools::tool;

/// How long a page has for what it is waited for.
const PATIENCE: Duration = Duration::from_secs(60);

/// A browser with one page.
pub struct Browser {
    child: Child,
    to: File,
    from: BufReader<File>,
    session: Option<String>,
    asked: u64,
}

impl Browser {
    /// Starts it with a new profile in this folder. Its calls block, so tests keep them off the runtime.
    pub fn start(folder: &Path) -> Self {
        std::fs::create_dir_all(folder).expect("a folder");
        let made =
            Command::new("mkfifo").arg(folder.join("to")).arg(folder.join("from")).status().expect("mkfifo is there");
        assert!(made.success(), "the pipes cannot be made");
        // Chromium listens on descriptor 3 and answers on 4.
        let child = Command::new("sh")
            .args(["-c", "exec \"$@\" 3<to 4>from", "sh"])
            .arg(tool("chromium", "chromium"))
            .args([
                "--headless=new",
                "--no-sandbox",
                "--disable-gpu",
                "--hide-scrollbars",
                "--remote-debugging-pipe",
                "--user-data-dir=profile",
            ])
            .current_dir(folder)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(File::create(folder.join("browser.log")).expect("a log"))
            .spawn()
            .expect("a shell");
        let to = File::options().write(true).open(folder.join("to")).expect("the browser listens");
        let from = BufReader::new(File::open(folder.join("from")).expect("the browser answers"));
        let mut browser = Self { child, to, from, session: None, asked: 0 };
        let target = browser.call("Target.createTarget", json!({ "url": "about:blank" }))["targetId"].clone();
        let session = browser.call("Target.attachToTarget", json!({ "targetId": target, "flatten": true }));
        browser.session = session["sessionId"].as_str().map(str::to_owned);
        browser.call("Page.enable", json!({}));
        browser
    }

    /// Asks for something of the debugging protocol and waits for the answer; what it tells unasked is passed over.
    pub fn call(&mut self, method: &str, params: Value) -> Value {
        self.asked += 1;
        let mut message = json!({ "id": self.asked, "method": method, "params": params });
        if let Some(session) = &self.session {
            message["sessionId"] = json!(session);
        }
        self.to.write_all(format!("{message}\0").as_bytes()).expect("the browser runs");
        loop {
            let mut said = Vec::new();
            self.from.read_until(0, &mut said).expect("the browser runs");
            assert_eq!(said.pop(), Some(0), "the browser has ended");
            let said: Value = serde_json::from_slice(&said).expect("JSON");
            if said["id"] == self.asked {
                assert!(said["error"].is_null(), "{method}: {said}");
                return said["result"].clone();
            }
        }
    }

    /// Shows a page in a window of this size, light or dark.
    pub fn open(&mut self, url: &str, (width, height): (u32, u32), theme: &str) {
        self.look(width, height, theme);
        self.call("Page.navigate", json!({ "url": url }));
        self.until("document.readyState === 'complete'");
    }

    /// Changes the window and the theme of the page that is shown.
    pub fn look(&mut self, width: u32, height: u32, theme: &str) {
        let phone = width < 600;
        let size = json!({ "width": width, "height": height, "deviceScaleFactor": 1, "mobile": phone });
        self.call("Emulation.setDeviceMetricsOverride", size);
        let media = json!({ "features": [{ "name": "prefers-color-scheme", "value": theme }] });
        self.call("Emulation.setEmulatedMedia", media);
    }

    /// The value of an expression; of a promise what it comes to.
    pub fn value(&mut self, expression: &str) -> Value {
        let how = json!({ "expression": expression, "returnByValue": true, "awaitPromise": true });
        let answer = self.call("Runtime.evaluate", how);
        assert!(answer["exceptionDetails"].is_null(), "{expression}: {answer}");
        answer["result"]["value"].clone()
    }

    /// Waits until an expression is true, and says how long that took.
    pub fn until(&mut self, expression: &str) -> Duration {
        let began = Instant::now();
        while self.value(&format!("!!({expression})")) != true {
            let page = || "document.body ? document.body.innerText : ''";
            if began.elapsed() > PATIENCE {
                let shown = self.value(page());
                panic!("{expression} does not come true: {shown}");
            }
            std::thread::sleep(Duration::from_millis(50));
        }
        began.elapsed()
    }

    /// Presses a key, and lets it go.
    pub fn press(&mut self, key: &str) {
        let code = if key == "Enter" { 13 } else { 9 };
        let text = if key == "Enter" { "\r" } else { "" };
        for kind in ["keyDown", "keyUp"] {
            let event = json!({ "type": kind, "key": key, "code": key, "windowsVirtualKeyCode": code, "text": text });
            self.call("Input.dispatchKeyEvent", event);
        }
    }

    /// Writes what is to be seen as a PNG.
    pub fn screenshot(&mut self, to: &Path) {
        let answer = self.call("Page.captureScreenshot", json!({ "format": "png" }));
        let data = base64::engine::general_purpose::STANDARD.decode(answer["data"].as_str().expect("a picture"));
        std::fs::write(to, data.expect("base64")).expect("the picture can be written");
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}
