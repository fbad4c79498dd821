//! An installation with a receiver, an app's server, a gate between the app and settle, and a browser.

use super::site::Site;
use system_tests::browser::Browser;
use system_tests::gate::{Gate, Seen};
use system_tests::receiver::Received;
use system_tests::wait;
use system_tests::world::{SOON, Setting, World};

pub const EVENTS: &str = "/v1/device/events";

/// Everything that a test of the page needs.
pub struct Stage {
    /// The installation; its destination receives `device.*`.
    pub world: World,
    pub site: Site,
    /// The gate whose URL the page uses as settle's.
    pub gate: Gate,
    pub browser: Browser,
    key: String,
}

impl Stage {
    pub async fn start() -> Self {
        let world = World::start(Setting {
            events: vec!["device.*".to_owned()],
            ..Setting::default()
        })
        .await;
        let shown = world
            .api
            .get(&format!("/v1/platforms/{}", world.platform_id))
            .await
            .ok();
        let key = shown["publishable_key"]
            .as_str()
            .expect("a publishable key")
            .to_owned();
        let gate = Gate::start(&world.installation.public_url()).await;
        Self {
            world,
            site: Site::start().await,
            gate,
            browser: Browser::start().await,
            key,
        }
    }

    pub async fn open(&self) {
        self.browser
            .open(&self.site.page(&self.gate.url(), &self.key))
            .await;
    }

    /// Waits until events of exactly these types were received, each once and in this order; returns them.
    pub async fn wait_types(&self, expected: &[&str]) -> Vec<Received> {
        let received = wait::until(SOON, &format!("{expected:?}"), async || {
            let received: Vec<Received> = self
                .world
                .receiver
                .all()
                .into_iter()
                .filter(Received::is_acked)
                .collect();
            let types: Vec<&str> = received.iter().map(Received::event_type).collect();
            if types.len() >= expected.len() {
                Ok(received)
            } else {
                Err(format!("{types:?}"))
            }
        })
        .await;
        assert_eq!(
            received
                .iter()
                .map(Received::event_type)
                .collect::<Vec<_>>(),
            expected
        );
        received
    }

    /// Returns the page's reports so far.
    pub fn reports(&self) -> Vec<Seen> {
        let line = format!("POST {EVENTS}");
        self.gate
            .seen()
            .into_iter()
            .filter(|one| one.line == line)
            .collect()
    }

    /// Checks that the page's queue contains this number of events.
    pub async fn queued(&self, expected: u64) -> Result<(), String> {
        let queued = self.browser.run("return client.state().queued").await;
        if queued == expected {
            Ok(())
        } else {
            Err(queued.to_string())
        }
    }

    /// Closes the browser, and checks what must always hold.
    pub async fn finish(self) {
        self.browser.quit().await;
        self.world
            .receiver
            .check_no_duplicates()
            .expect("each event once");
        self.world.finish().await;
    }
}
