//! An installation with a receiver, a gate between the app and settle, and the app's folder.

use super::app::App;
use serde_json::Value;
use system_tests::folder::Folder;
use system_tests::gate::{Gate, Seen};
use system_tests::receiver::Received;
use system_tests::wait;
use system_tests::world::{SOON, Setting, World};

pub const EVENTS: &str = "/v1/device/events";

/// Everything that a test of the app needs.
pub struct Stage {
    /// The installation; its destination receives `device.*`.
    pub world: World,
    /// The gate whose URL the app uses as settle's.
    pub gate: Gate,
    folder: Folder,
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
            gate,
            folder: Folder::new("fire"),
            key,
        }
    }

    /// Starts the app, always on the same device.
    pub fn app(&self) -> App {
        App::start(&self.gate.url(), &self.key, self.folder.path())
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

    /// Returns the app's reports so far.
    pub fn reports(&self) -> Vec<Seen> {
        reports(&self.gate)
    }

    /// Checks what must always hold, and stops the installation.
    pub async fn finish(self) {
        self.world
            .receiver
            .check_no_duplicates()
            .expect("each event once");
        self.world.finish().await;
    }
}

/// Returns the reports that a gate has received so far.
pub fn reports(gate: &Gate) -> Vec<Seen> {
    let line = format!("POST {EVENTS}");
    gate.seen()
        .into_iter()
        .filter(|one| one.line == line)
        .collect()
}

/// Returns the paywalls in a report.
pub fn paywalls(report: &Seen) -> Vec<String> {
    let events = report.body["events"].as_array().into_iter().flatten();
    events
        .filter_map(|event| event["impression"]["paywall"].as_str())
        .map(str::to_owned)
        .collect()
}

/// Returns the number of events in an app's queue.
pub fn queued(app: &mut App) -> Value {
    app.run("state")["queued"].clone()
}
