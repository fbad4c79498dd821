//! Google Play, which the earlier release may not know: its first platform, and purchases that wait while the earlier
//! release runs again. If the earlier release knows the store, nothing is refused, and the purchases need not wait.

use crate::filled::act;
use crate::site::Site;
use serde_json::Value;
use std::collections::BTreeMap;
use system_tests::http::Api;
use system_tests::load::store::RECOVERED;
use system_tests::play::push::PURCHASED;
use system_tests::play::{Bought, Choices, Fault, Notice, Play, Push, Resource};
use system_tests::process::Backend;
use system_tests::raw::Raw;
use system_tests::receiver::Receiver;
use system_tests::wait;
use system_tests::world::{SOON, World};

const STORE: &str = "google";
const PRODUCT: &str = "gold";
const PLAN: &str = "monthly";
/// Window of the platform that is refused.
const WINDOW_SECONDS: u64 = 60;

// The purchases that wait while the earlier release runs again.
/// A settled purchase, whose events an endpoint refuses.
const SETTLED: &str = "settled";
/// A purchase about which the store does not answer.
const UNANSWERED: &str = "unanswered";
/// A purchase with an open window.
const OPEN: &str = "open";
/// A purchase whose notification is refused.
const REFUSED: &str = "refused";

pub struct Google {
    /// The fake, until the platform is created.
    fake: Option<Play>,
    /// Variables with which a process uses the fake.
    pub variables: Vec<(String, String)>,
    is_known_before: bool,
    /// Message ids of the purchases' notifications, by the purchases' names.
    messages: BTreeMap<&'static str, String>,
    /// The message that the earlier release refused.
    refused: Option<Push>,
    /// The stored purchases when the later release stopped.
    stored: Vec<String>,
}

/// Returns a purchase's token, in Google's form.
fn token(name: &str) -> String {
    format!("{name}.AO-J1OySettleTestsWhoseTokensAreAsLongAsGooglesOwnTokens")
}

impl Google {
    /// Starts the fake. `service` is the API of the earlier release.
    pub async fn start(service: &Api) -> Self {
        let fake = Play::start().await;
        fake.sell(PRODUCT, PLAN, "P1M");
        let stores = service.get("/v1/stores").await.ok();
        let mut known = stores["items"].as_array().into_iter().flatten();
        Self {
            variables: fake.variables(Choices::default()),
            fake: Some(fake),
            is_known_before: known.any(|store| store["name"] == STORE),
            messages: BTreeMap::new(),
            refused: None,
            stored: Vec::new(),
        }
    }

    /// Waits until each purchase is settled and its only revision has arrived.
    pub async fn check(&self, world: &World) {
        for (name, message_id) in &self.messages {
            let all = world.wait_outcome(message_id).await;
            let is_settled = all.iter().all(|one| one["outcome"] == "settled");
            assert!(is_settled, "{name}: {all:?}");
            let key = world.play_key(&token(name)).to_string();
            let what = format!("the record of {name}");
            let arrived = wait::until(SOON, &what, async || {
                let revisions = world.receiver.revisions(&key);
                if revisions.is_empty() {
                    Err("nothing".to_owned())
                } else {
                    Ok(revisions)
                }
            })
            .await;
            assert_eq!(arrived, [1], "{name}");
        }
    }

    /// Checks the `user.*` events at an endpoint, once nothing is pending.
    pub fn check_received(&self, receiver: &Receiver) {
        for name in self.messages.keys() {
            let types = receiver.event_types(&token(name));
            assert_eq!(types, ["user.subscription.purchased"], "{name}");
        }
    }
}

impl Site {
    /// Checks that a process refuses the store's first platform with this status, and the store's messages. Does
    /// nothing if the earlier release knows the store.
    pub async fn refuse_google(&mut self, name: &str, status: u16) {
        if self.google.is_known_before {
            return;
        }
        let index = self.index(name);
        let process = &self.world.processes()[index];
        let (url, public_url) = (process.url().to_owned(), process.public_url().to_owned());
        let service = Api::new(&url, &self.world.installation.token);
        let mut new = Choices::default().new_platform(WINDOW_SECONDS);
        new["no_older_process"] = Value::Bool(false);
        let path = format!("/v1/apps/{}/platforms", self.world.app_id);
        let answer = service.post(&path, &new).await;
        let detail = answer.body["detail"].as_str().unwrap_or_default();
        let names_store = detail.contains(&format!("`{STORE}`"));
        assert!(
            answer.status == status && names_store,
            "{name} answered {answer:?}"
        );
        let key = self.world.notification_url.rsplit('/').next();
        let url = format!("{public_url}/v1/stores/{STORE}/{}", key.unwrap_or_default());
        let now = api::clock::now();
        let pushed = Notice::test(now).message().post(&url, now).await;
        let pushed = pushed.expect("an answer").status;
        assert!(pushed >= 400, "{name} answered {pushed} to a push");
    }

    /// Creates the platform, and buys a subscription there. On PostgreSQL, the later release refuses it without the
    /// confirmation that no process of the earlier one runs.
    pub async fn connect_google(&mut self) {
        if self.world.installation.backend() != Backend::Sqlite {
            let first = self.names()[0];
            self.refuse_google(first, 409).await;
        }
        let fake = self.google.fake.take().expect("no platform before");
        self.world.connect_play(fake, Choices::default()).await;
        self.buy(SETTLED).await;
    }

    /// Leaves purchases that wait: for an endpoint, for the store's answer, and for the end of a window.
    pub async fn leave_google_waiting(&mut self) {
        self.flush(SETTLED).await;
        let message_id = &self.google.messages[SETTLED];
        self.world.wait_outcome(message_id).await;
        let fake = &self.world.play().fake;
        fake.answer(&[Resource::Subscriptions], &Fault::Status(503));
        self.buy(UNANSWERED).await;
        self.flush(UNANSWERED).await;
        wait::until(SOON, "a query that fails", async || {
            let queries = self.world.play().fake.about(&token(UNANSWERED));
            let has_failed = queries.iter().any(|query| query.status == Some(503));
            if has_failed {
                Ok(())
            } else {
                Err(format!("{queries:?}"))
            }
        })
        .await;
        self.buy(OPEN).await;
    }

    /// Notes what the database has of the settled purchases, after the processes of the later release stopped.
    pub fn note_google(&mut self) {
        self.google.stored = self.stored();
        assert!(!self.google.stored.is_empty(), "a settled purchase");
    }

    /// Checks that the earlier release, which does not know the store, refuses its messages, raises an alarm about the
    /// purchases that it cannot settle, and settles none of them.
    pub async fn check_google_waits(&mut self) {
        let message = self.show(REFUSED).message();
        let answer = self.world.post_push(&message).await.expect("an answer");
        self.google.messages.insert(REFUSED, message.id.clone());
        self.google.refused = Some(message);
        if self.google.is_known_before {
            return;
        }
        assert!(answer.status >= 400, "{answer:?}");
        wait::until(RECOVERED, "the alarm of the earlier release", async || {
            let alarms = self.world.api.all("/v1/alarms").await;
            let is_raised = alarms.iter().any(|one| one["kind"] == "settling_fails");
            if is_raised {
                Ok(())
            } else {
                Err(format!("{alarms:?}"))
            }
        })
        .await;
        for name in [UNANSWERED, OPEN] {
            let path = format!("/v1/notifications/{}", self.google.messages[name]);
            let found = self.world.api.get(&path).await.ok();
            let outcome = &found["notifications"][0]["outcome"];
            assert_eq!(outcome, &Value::Null, "{name}: {found}");
        }
    }

    /// Checks that the earlier release, whose processes stopped, changed none of the settled purchases, and lets the
    /// store answer again.
    pub fn resume_google(&mut self) {
        if !self.google.is_known_before {
            assert_eq!(self.stored(), self.google.stored);
        }
        self.world.play().fake.answer_truly();
    }

    /// Pushes the refused message again, as Pub/Sub does.
    pub async fn push_again(&mut self) {
        let refused = self.google.refused.take().expect("a refused message");
        self.world.push_until_accepted(&refused).await;
    }

    /// Shows a subscription that is bought now. Returns the notification about it.
    fn show(&self, name: &str) -> Notice {
        let fake = &self.world.play().fake;
        let (token, now) = (token(name), fake.now());
        let bought = Bought::subscription(&token, &format!("{PRODUCT}:{PLAN}"), now);
        fake.show(&bought.of(&format!("customer-{name}")));
        Notice::subscription(PURCHASED, &token, now)
    }

    async fn buy(&mut self, name: &'static str) {
        let notice = self.show(name);
        let message_id = self.world.push(&notice).await;
        self.google.messages.insert(name, message_id);
    }

    /// Settles a purchase without waiting for the end of its window.
    async fn flush(&self, name: &str) {
        let key = self.world.play_key(&token(name));
        drop(act(&self.world, key, "flush").await);
    }

    /// Returns what the database has of the platform's settled purchases and their payments.
    fn stored(&self) -> Vec<String> {
        let platform_id = self.world.play().id;
        let query = format!(
            "SELECT p.collapse_key || ' ' || p.state || ' ' || p.revision || ' ' || p.purchase || ' '
                || (SELECT COUNT(*) FROM payments m WHERE m.collapse_key = p.collapse_key) AS value
            FROM purchases p
            WHERE p.platform_id = '{platform_id}' AND p.revision > 0
            ORDER BY p.collapse_key"
        );
        Raw::of(&self.world.installation.stored_in()).texts(&query)
    }
}
