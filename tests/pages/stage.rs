//! An installation with purchases, a browser that is signed in to its dashboard, and checks for every page: CSP
//! reports, requests to other servers, sideways scrolling, and findings of axe.

use super::axe;
use serde_json::{Value, json};
use std::path::PathBuf;
use system_tests::browser::Browser;
use system_tests::wait;
use system_tests::world::{SOON, Setting, World};

/// A script that runs in each page before its own scripts, and records what the CSP blocks.
const WATCH: &str = "addEventListener('securitypolicyviolation', (event) => {
    const seen = JSON.parse(sessionStorage.getItem('reports') || '[]');
    seen.push(`${location.pathname}: ${event.violatedDirective} ${event.blockedURI}`);
    sessionStorage.setItem('reports', JSON.stringify(seen));
});";

/// Everything that a test of the page needs.
pub struct Stage {
    pub world: World,
    pub browser: Browser,
}

impl Stage {
    /// Starts everything, and signs in with a link.
    pub async fn start() -> Self {
        Self::with(Setting::default()).await
    }

    /// Starts everything with this setting, and signs in with a link.
    pub async fn with(setting: Setting) -> Self {
        let world = World::start(setting).await;
        // It does not subscribe to `purchase.updated`, so the page must explain why nothing arrived there.
        let analytics = json!({
            "kind": "webhook", "name": "Analytics", "url": "https://analytics.example.com/hook",
            "events": ["user.subscription.expired"],
        });
        world.add(&analytics).await;
        let browser = Browser::start().await;
        browser.run_first(WATCH).await;
        let stage = Self { world, browser };
        stage.sign_in("Anna", "admin").await;
        stage
    }

    pub async fn sign_in(&self, name: &str, role: &str) {
        let body = json!({ "name": name, "role": role });
        let link = self.world.api.post("/v1/sign-in-links", &body).await.ok();
        self.open(link["path"].as_str().expect("a path")).await;
        self.browser.click("main button").await;
        self.wait_path("/ui/").await;
    }

    /// Settles a purchase of a receipt.
    pub async fn purchase(&mut self, receipt: &str) {
        let message = self.world.send("SUBSCRIPTION_PURCHASED", receipt).await;
        self.world.settle(receipt, &message).await;
    }

    pub async fn open(&self, path: &str) {
        self.browser
            .open(&format!("{}{path}", self.world.api.url()))
            .await;
    }

    /// Enters a text into the field with this label; in a choice, selects the option that begins with the text.
    pub async fn fill(&self, label: &str, text: &str) {
        let selector = self.labelled(label).await;
        self.browser.enter(&selector, text).await;
    }

    async fn labelled(&self, label: &str) -> String {
        let script = format!(
            "const all = [...document.querySelectorAll('main label')];
             return all.find((one) => one.innerText.trim().split(/ [(]|[\\n]/)[0] === {label:?})?.htmlFor"
        );
        let id = self.browser.run(&script).await;
        let id = id
            .as_str()
            .unwrap_or_else(|| panic!("no field is called {label}"));
        format!("[id=\"{id}\"]")
    }

    /// Presses the button with this text in the page's main content.
    pub async fn press_button(&self, text: &str) {
        let script = format!(
            "const all = [...document.querySelectorAll('main button, main a.onward, main summary')];
             const found = all.find((one) => one.innerText.trim().startsWith({text:?}) && one.checkVisibility());
             found?.setAttribute('data-pressed', 'yes'); return Boolean(found)"
        );
        assert_eq!(
            self.browser.run(&script).await,
            true,
            "there is a button {text}"
        );
        self.browser.click("[data-pressed]").await;
        // If the page was not replaced, the next button may be another one.
        self.browser
            .run("document.querySelector('[data-pressed]')?.removeAttribute('data-pressed')")
            .await;
    }

    pub async fn path(&self) -> String {
        let address = self.browser.address().await;
        let path = address
            .strip_prefix(self.world.api.url())
            .unwrap_or_else(|| panic!("a foreign page: {address}"));
        path.split(['?', '#']).next().unwrap_or_default().to_owned()
    }

    /// Waits until the browser shows a page with this path.
    pub async fn wait_path(&self, expected: &str) {
        wait::until(SOON, expected, async || {
            let path = self.path().await;
            if path == expected { Ok(()) } else { Err(path) }
        })
        .await;
    }

    /// Waits until an element contains a text.
    pub async fn wait_text(&self, selector: &str, text: &str) {
        let script = format!("return document.querySelector({selector:?})?.innerText || ''");
        wait::until(SOON, &format!("{text} in {selector}"), async || {
            let shown = self.browser.run(&script).await;
            let shown = shown.as_str().unwrap_or_default().to_owned();
            if shown.contains(text) {
                Ok(())
            } else {
                Err(shown)
            }
        })
        .await;
    }

    /// Checks the text of an element while scripts are switched off.
    pub async fn check_plain_text(&self, selector: &str, text: &str) {
        let shown = self.browser.text(selector).await;
        assert!(shown.contains(text), "{text} in {shown}");
    }

    /// Waits until the page listens for changes.
    pub async fn wait_streaming(&self) {
        let script = "return document.getElementById('ticks')?._htmx?.sse?.reader ? 'yes' : ''";
        wait::until(SOON, "a stream", async || {
            let is_open = self.browser.run(script).await;
            if is_open == "yes" {
                Ok(())
            } else {
                Err(is_open.to_string())
            }
        })
        .await;
    }

    /// Waits until the operation has an audit entry, and returns the newest.
    pub async fn wait_act(&self, operation: &str) -> Value {
        let path = format!("/v1/audit-log?operation={operation}");
        wait::until(SOON, operation, async || {
            let found = self.world.api.try_get(&path).await?;
            let entry = found.body["items"][0].clone();
            if entry.is_null() {
                Err(found.body.to_string())
            } else {
                Ok(entry)
            }
        })
        .await
    }

    /// Checks the page: nothing was blocked, no other server was contacted, and the page is not wider than the window.
    pub async fn check(&self, what: &str) {
        let reports = self
            .browser
            .run("return sessionStorage.getItem('reports')")
            .await;
        assert_eq!(reports, Value::Null, "{what}");
        let foreign = "return performance.getEntriesByType('resource').map((one) => one.name)
            .filter((name) => !name.startsWith(location.origin))";
        assert_eq!(
            self.browser.run(foreign).await,
            json!([]),
            "{what} requests these elsewhere"
        );
        let wide =
            "const page = document.documentElement; return page.scrollWidth - page.clientWidth";
        assert_eq!(
            self.browser.run(wide).await,
            json!(0),
            "{what} scrolls sideways"
        );
        // In a narrow window, a row is a card; in a wide one, each screen has one line in the menu.
        let cut = "const all = (selector) => Array.from(document.querySelectorAll(selector));
             const cards = all('.scroll:has(> .cards)').filter((one) => one.scrollWidth > one.clientWidth);
             const screens = all('.side nav a span').filter((one) => one.getBoundingClientRect().height > 30);
             return (innerWidth < 832 ? cards : screens).map((one) => one.textContent.trim().slice(0, 60));";
        assert_eq!(
            self.browser.run(cut).await,
            json!([]),
            "{what} cuts or wraps these"
        );
    }

    pub async fn check_with_axe(&self, what: &str) {
        let found = self.browser.run(&axe::script()).await;
        assert_eq!(found, json!([]), "{what}");
    }

    /// Stores a screenshot of the whole page for people: `target/pages/NAME.png`.
    pub async fn store_picture(&self, name: &str, width: u32) {
        let height = self
            .browser
            .run("return document.documentElement.scrollHeight")
            .await;
        let height = height
            .as_u64()
            .and_then(|height| u32::try_from(height).ok())
            .unwrap_or(900);
        self.browser.resize(width, height.clamp(700, 6000)).await;
        let folder = target().join("pages");
        std::fs::create_dir_all(&folder).expect("a folder");
        std::fs::write(
            folder.join(format!("{name}.png")),
            self.browser.picture().await,
        )
        .expect("a file");
        self.browser.resize(width, 900).await;
    }

    /// Closes the browser, and checks what must always hold.
    pub async fn finish(self) {
        self.browser.quit().await;
        self.world.finish().await;
    }
}

/// Returns the target folder of the build.
pub fn target() -> PathBuf {
    let own = std::env::current_exe().expect("this executable");
    let found = own
        .ancestors()
        .find(|folder| folder.join("CACHEDIR.TAG").is_file());
    found.expect("the target folder").to_owned()
}
