//! Debian's Chromium, driven by its chromedriver (<https://www.w3.org/TR/webdriver2/>). Nothing is downloaded: `.ci/run`
//! installs both.
//!
//! A client of our own, because the libraries change the program under test: `thirtyfour` turns on `preserve_order` of
//! `serde_json`, which Cargo then builds into settle, too, so that its bodies have another order than in the release.

use serde_json::{Value, json};
use std::process::{Command, Stdio};
use std::time::Duration;
use system_tests::folder::Folder;
use system_tests::reaper::{self, Watched};
use system_tests::{http, ports, wait};

const START: Duration = Duration::from_secs(60);

/// The browser's arguments. Its sandbox needs a user that is not root, and /dev/shm is small in containers. No name
/// resolves: a page that calls another machine fails.
const ARGUMENTS: [&str; 5] = [
    "--headless=new",
    "--no-sandbox",
    "--disable-dev-shm-usage",
    "--disable-gpu",
    "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1",
];

/// The name of an element's reference in an answer.
const ELEMENT: &str = "element-6066-11e4-a52e-4f735466cecf";

/// A browser with one page and an empty profile.
pub struct Browser {
    /// The URL of its session.
    session: String,
    /// Its process id.
    process: u64,
    // Dropped in this order: the profile is in the folder.
    _chromedriver: Watched,
    _folder: Folder,
}

impl Browser {
    /// Starts a browser.
    pub async fn start() -> Self {
        let port = ports::free();
        let mut command = Command::new("chromedriver");
        command.arg(format!("--port={port}")).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        let chromedriver = Watched::spawn(&mut command).expect("chromedriver of the package chromium-driver");
        let url = format!("http://127.0.0.1:{port}");
        let status = format!("{url}/status");
        wait::until(START, "chromedriver", async || {
            http::send_raw(reqwest::Method::GET, &status, &[], Vec::new()).await.map(drop)
        })
        .await;
        let folder = Folder::new("browser");
        let mut arguments = ARGUMENTS.map(str::to_owned).to_vec();
        arguments.push(format!("--user-data-dir={}", folder.path().display()));
        let wanted = json!({ "goog:chromeOptions": { "args": arguments } });
        let session = call(&format!("{url}/session"), &json!({ "capabilities": { "alwaysMatch": wanted } })).await;
        let id = session["sessionId"].as_str().expect("the id of a session");
        let process = session["capabilities"]["goog:processID"].as_u64().expect("the browser's process id");
        reaper::kill_at_end(process);
        Self { session: format!("{url}/session/{id}"), process, _chromedriver: chromedriver, _folder: folder }
    }

    /// Ends the browser.
    pub async fn quit(self) {
        self.delete("").await;
    }

    async fn command(&self, path: &str, body: &Value) -> Value {
        call(&format!("{}/{path}", self.session), body).await
    }

    /// Opens a URL. The page before it ends.
    pub async fn open(&self, url: &str) {
        self.command("url", &json!({ "url": url })).await;
    }

    /// Loads the page again.
    pub async fn reload(&self) {
        self.command("refresh", &json!({})).await;
    }

    /// Runs a function's body in the page, and returns its result, or that of its promise.
    pub async fn run(&self, script: &str) -> Value {
        self.command("execute/sync", &json!({ "script": script, "args": [] })).await
    }

    /// Clicks on the element that a selector finds.
    pub async fn click(&self, selector: &str) {
        let element = self.command("element", &json!({ "using": "css selector", "value": selector })).await;
        let id = element[ELEMENT].as_str().expect("an element");
        self.command(&format!("element/{id}/click"), &json!({})).await;
    }

    /// Runs a script in each page before its own.
    pub async fn run_first(&self, script: &str) {
        let params = json!({ "source": script });
        let command = json!({ "cmd": "Page.addScriptToEvaluateOnNewDocument", "params": params });
        self.command("goog/cdp/execute", &command).await;
    }

    /// Separates the browser from the network, as a pulled plug does.
    pub async fn unplug(&self) {
        let conditions = json!({ "offline": true, "latency": 0, "throughput": 0 });
        self.command("chromium/network_conditions", &json!({ "network_conditions": conditions })).await;
    }

    /// Connects it again.
    pub async fn plug_in(&self) {
        self.delete("/chromium/network_conditions").await;
    }

    async fn delete(&self, path: &str) {
        let url = format!("{}{path}", self.session);
        http::send_raw(reqwest::Method::DELETE, &url, &[], Vec::new()).await.expect("an answer of chromedriver");
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        // After `quit` there is none. Before it, chromedriver alone would leave it behind.
        let process = self.process.to_string();
        drop(Command::new("kill").args(["-s", "KILL", &process]).stderr(Stdio::null()).status());
        reaper::spare(self.process);
    }
}

/// Sends a command, and returns the value of the answer.
async fn call(url: &str, body: &Value) -> Value {
    let headers = [("content-type", "application/json".to_owned())];
    let answer = http::send_raw(reqwest::Method::POST, url, &headers, body.to_string().into_bytes()).await;
    let mut answer = answer.unwrap_or_else(|error| panic!("{url}: {error}"));
    assert_eq!(answer.status, 200, "{url}: {body}: {}", answer.body);
    answer.body["value"].take()
}
