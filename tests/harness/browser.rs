//! Debian's Chromium, driven by its chromedriver (<https://www.w3.org/TR/webdriver2/>). Nothing is downloaded:
//! `.ci/run` installs both.
//!
//! The WebDriver client is written here, because the libraries would change the program under test: `thirtyfour`
//! enables `serde_json`'s feature `preserve_order`, which Cargo would then unify into settle, so that the fields of its
//! bodies would have another order than in the release.

use super::folder::Folder;
use super::reaper::{self, Watched};
use super::{http, ports, wait};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};
use std::process::{Command, Stdio};
use std::time::Duration;

const START: Duration = Duration::from_secs(180);

/// The browser's arguments. Its sandbox does not work as root, and `/dev/shm` is small in containers. No host name
/// resolves, so that a page that contacts another machine fails.
const ARGUMENTS: [&str; 5] = [
    "--headless=new",
    "--no-sandbox",
    "--disable-dev-shm-usage",
    "--disable-gpu",
    "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1",
];

/// The key of an element's reference in WebDriver's answers.
const ELEMENT: &str = "element-6066-11e4-a52e-4f735466cecf";

/// A browser with one page and an empty profile.
pub struct Browser {
    session: String,
    process: u64,
    // Dropped in this order: the browser uses the profile in the folder.
    _chromedriver: Watched,
    _folder: Folder,
}

impl Browser {
    /// Starts a browser.
    ///
    /// # Panics
    /// When Debian's packages are missing.
    pub async fn start() -> Self {
        let port = ports::free();
        let mut command = Command::new("chromedriver");
        command
            .arg(format!("--port={port}"))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        let chromedriver =
            Watched::spawn(&mut command).expect("chromedriver of the package chromium-driver");
        let url = format!("http://127.0.0.1:{port}");
        let status = format!("{url}/status");
        wait::until(START, "chromedriver", async || {
            http::send_raw(reqwest::Method::GET, &status, &[], Vec::new())
                .await
                .map(drop)
        })
        .await;
        let folder = Folder::new("browser");
        let mut arguments = ARGUMENTS.map(str::to_owned).to_vec();
        arguments.push(format!("--user-data-dir={}", folder.path().display()));
        let wanted = json!({ "goog:chromeOptions": { "args": arguments } });
        let session = call(
            &format!("{url}/session"),
            &json!({ "capabilities": { "alwaysMatch": wanted } }),
        )
        .await;
        let id = session["sessionId"].as_str().expect("the id of a session");
        let process = session["capabilities"]["goog:processID"]
            .as_u64()
            .expect("the browser's process id");
        reaper::kill_at_end(process);
        Self {
            session: format!("{url}/session/{id}"),
            process,
            _chromedriver: chromedriver,
            _folder: folder,
        }
    }

    pub async fn quit(self) {
        self.delete("").await;
    }

    async fn command(&self, path: &str, body: &Value) -> Value {
        call(&format!("{}/{path}", self.session), body).await
    }

    /// Opens a URL in place of the current page.
    pub async fn open(&self, url: &str) {
        self.command("url", &json!({ "url": url })).await;
    }

    pub async fn reload(&self) {
        self.command("refresh", &json!({})).await;
    }

    /// Runs a function's body in the page, and returns its result, or that of its promise.
    ///
    /// # Panics
    /// When the script throws.
    pub async fn run(&self, script: &str) -> Value {
        self.command("execute/sync", &json!({ "script": script, "args": [] }))
            .await
    }

    /// Clicks on the element that a selector finds.
    ///
    /// # Panics
    /// When no element matches.
    pub async fn click(&self, selector: &str) {
        let id = self.element(selector).await;
        self.command(&format!("element/{id}/click"), &json!({}))
            .await;
    }

    /// Types a text into the element that a selector finds.
    ///
    /// # Panics
    /// When no element matches.
    pub async fn enter(&self, selector: &str, text: &str) {
        let id = self.element(selector).await;
        self.command(&format!("element/{id}/value"), &json!({ "text": text }))
            .await;
    }

    /// Presses keys one after the other in the focused element. `\u{e004}` is Tab, `\u{e007}` Enter.
    pub async fn press(&self, keys: &str) {
        let strokes = keys.chars().flat_map(|key| {
            ["keyDown", "keyUp"].map(|stroke| json!({ "type": stroke, "value": key }))
        });
        let keyboard =
            json!({ "type": "key", "id": "keyboard", "actions": strokes.collect::<Vec<_>>() });
        self.command("actions", &json!({ "actions": [keyboard] }))
            .await;
    }

    /// Returns the text of the element that a selector finds, as rendered.
    ///
    /// # Panics
    /// When no element matches.
    pub async fn text(&self, selector: &str) -> String {
        let id = self.element(selector).await;
        self.read(&format!("element/{id}/text"))
            .await
            .as_str()
            .expect("a text")
            .to_owned()
    }

    /// Returns the page's URL.
    ///
    /// # Panics
    /// When there is no page.
    pub async fn address(&self) -> String {
        self.read("url")
            .await
            .as_str()
            .expect("an address")
            .to_owned()
    }

    /// Returns a screenshot of the page as PNG.
    ///
    /// # Panics
    /// When the browser returns no screenshot.
    pub async fn picture(&self) -> Vec<u8> {
        let picture = self.read("screenshot").await;
        STANDARD
            .decode(picture.as_str().expect("a picture"))
            .expect("base64")
    }

    /// Sends a command of Chromium's own protocol (<https://chromedevtools.github.io/devtools-protocol/>).
    async fn chromium(&self, command: &str, params: Value) {
        self.command(
            "goog/cdp/execute",
            &json!({ "cmd": command, "params": params }),
        )
        .await;
    }

    /// Sets the size of the page in pixels, whatever the size of the window.
    pub async fn resize(&self, width: u32, height: u32) {
        let params =
            json!({ "width": width, "height": height, "deviceScaleFactor": 1, "mobile": false });
        self.chromium("Emulation.setDeviceMetricsOverride", params)
            .await;
    }

    /// Sets the system's preferred colour scheme: `light` or `dark`.
    pub async fn prefer(&self, scheme: &str) {
        let features = json!([{ "name": "prefers-color-scheme", "value": scheme }]);
        self.chromium(
            "Emulation.setEmulatedMedia",
            json!({ "features": features }),
        )
        .await;
    }

    /// Sets the system's time zone, such as `America/New_York`.
    pub async fn set_zone(&self, zone: &str) {
        self.chromium(
            "Emulation.setTimezoneOverride",
            json!({ "timezoneId": zone }),
        )
        .await;
    }

    /// Disables or enables the scripts of all pages.
    pub async fn disable_scripts(&self, is_disabled: bool) {
        self.chromium(
            "Emulation.setScriptExecutionDisabled",
            json!({ "value": is_disabled }),
        )
        .await;
    }

    pub async fn forget_cookies(&self) {
        self.chromium("Network.clearBrowserCookies", json!({}))
            .await;
    }

    async fn element(&self, selector: &str) -> String {
        let element = self
            .command(
                "element",
                &json!({ "using": "css selector", "value": selector }),
            )
            .await;
        element[ELEMENT].as_str().expect("an element").to_owned()
    }

    async fn read(&self, path: &str) -> Value {
        let url = format!("{}/{path}", self.session);
        let answer = http::send_raw(reqwest::Method::GET, &url, &[], Vec::new()).await;
        let mut answer = answer.unwrap_or_else(|error| panic!("{url}: {error}"));
        assert_eq!(answer.status, 200, "{url}: {}", answer.body);
        answer.body["value"].take()
    }

    /// Runs a script in each page before its own.
    pub async fn run_first(&self, script: &str) {
        self.chromium(
            "Page.addScriptToEvaluateOnNewDocument",
            json!({ "source": script }),
        )
        .await;
    }

    /// Takes the browser offline, as if the cable were unplugged.
    pub async fn unplug(&self) {
        let conditions = json!({ "offline": true, "latency": 0, "throughput": 0 });
        self.command(
            "chromium/network_conditions",
            &json!({ "network_conditions": conditions }),
        )
        .await;
    }

    pub async fn plug_in(&self) {
        self.delete("/chromium/network_conditions").await;
    }

    async fn delete(&self, path: &str) {
        let url = format!("{}{path}", self.session);
        http::send_raw(reqwest::Method::DELETE, &url, &[], Vec::new())
            .await
            .expect("an answer of chromedriver");
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        // After `quit` the browser is gone. Before that, killing chromedriver alone would leave it running.
        let process = self.process.to_string();
        drop(
            Command::new("kill")
                .args(["-s", "KILL", &process])
                .stderr(Stdio::null())
                .status(),
        );
        reaper::spare(self.process);
    }
}

/// Sends a command, and returns the value of the answer.
async fn call(url: &str, body: &Value) -> Value {
    let headers = [("content-type", "application/json".to_owned())];
    let answer = http::send_raw(
        reqwest::Method::POST,
        url,
        &headers,
        body.to_string().into_bytes(),
    )
    .await;
    let mut answer = answer.unwrap_or_else(|error| panic!("{url}: {error}"));
    assert_eq!(answer.status, 200, "{url}: {body}: {}", answer.body);
    answer.body["value"].take()
}
