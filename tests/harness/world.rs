//! A complete installation: Temporal, a database, the processes, a webhook receiver, and one app with one platform and
//! one destination, created through the public API.
//!
//! Every test ends with [`World::finish`], which checks what must always hold; a test that forgets it fails.

use super::appstore::{self, AppStore, AppStorePlatform};
use super::clock::Clock;
use super::http::{Answer, Api, post_as_sns, text};
use super::play::{self, Play, PlayPlatform};
use super::process::{Backend, Installation, Process, Variable};
use super::receiver::{Received, Receiver};
use super::rvs::{self, Rvs};
use super::sns::{Message, PACKAGE, Rtn, Sns, TOPIC};
use super::subscription::Subscription;
use super::temporal::{Memory, Temporal};
use super::wait;
use domain::{CollapseKey, PlatformId, Timestamp};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

/// Time limit for anything that is in progress, on a busy machine with debug binaries.
pub const SOON: Duration = Duration::from_secs(300);

/// Number of messages that [`World::post_all`] posts concurrently.
const AT_ONCE: usize = 16;

#[derive(Debug, Clone)]
pub struct Setting {
    /// SQLite with one process, or PostgreSQL with two.
    pub backend: Backend,
    /// URL of a database with settle's tables in a test's own PostgreSQL. It may name several hosts.
    pub database: Option<String>,
    /// A namespace in the shared Temporal Server, or the test's own server.
    pub memory: Memory,
    /// Dynamic settings of the test's own server, such as `limit.historyCount.suggestContinueAsNew=80`.
    pub temporal: Vec<String>,
    /// Round-trip time added between settle's processes and Temporal; `None` adds nothing.
    pub temporal_distance: Option<Duration>,
    pub window_seconds: u64,
    /// The platform's `max_wait`, which bounds the window.
    pub max_wait_seconds: Option<u64>,
    /// Event types to which the destination subscribes.
    pub events: Vec<String>,
    /// How requests to all of the world's destinations are signed: `v1`, `v1a` or `v1,v1a`.
    pub signature: &'static str,
    /// Whether receipts are verified at a fake of RVS.
    pub rvs: bool,
    /// How the app uses Google Play, on a second platform with a fake of it; `None` if it does not.
    pub play: Option<play::Choices>,
    /// How the app uses the App Store, on a further platform with a fake of it; `None` if it does not.
    pub appstore: Option<appstore::Choices>,
    /// The platform's environment: `sandbox` or `production`.
    pub environment: &'static str,
    /// Maximum number of file descriptors of each process.
    pub descriptors: Option<u32>,
    /// A program to run in place of the one under test, for comparisons.
    pub program: Option<PathBuf>,
    /// Environment variables of every process, such as `FAILPOINTS`. [`World::start_with`] adds more.
    pub variables: Vec<(String, String)>,
}

impl Default for Setting {
    fn default() -> Self {
        Self {
            backend: Backend::Sqlite,
            database: None,
            memory: Memory::Shared,
            temporal: Vec::new(),
            temporal_distance: None,
            window_seconds: 120,
            max_wait_seconds: None,
            events: vec!["purchase.updated".to_owned()],
            signature: "v1",
            rvs: false,
            play: None,
            appstore: None,
            environment: "sandbox",
            descriptors: None,
            program: None,
            variables: Vec::new(),
        }
    }
}

pub struct World {
    // Fields are dropped in this order: settle's processes first, then the services that they use.
    processes: Vec<Process>,
    pub temporal: Temporal,
    pub receiver: Receiver,
    pub sns: Sns,
    pub(super) rvs: Option<Rvs>,
    pub(super) play: Option<PlayPlatform>,
    pub(super) appstore: Option<AppStorePlatform>,
    pub installation: Installation,
    pub api: Api,
    pub app_id: String,
    pub platform_id: PlatformId,
    /// URL to which notifications are posted.
    pub notification_url: String,
    pub destination_id: String,
    pub(super) setting: Setting,
    pub(super) accepted: Vec<String>,
    pub(super) is_finished: bool,
    /// Why the sweep may be needed; `None` if it may not.
    pub(super) sweep_helps: Option<&'static str>,
    /// Destinations whose deliveries may be pending at the end, with the reasons.
    pub(super) pending_at_end: BTreeMap<String, &'static str>,
}

impl World {
    /// Starts everything and waits until notifications are accepted and Temporal is connected.
    ///
    /// # Panics
    /// When a program does not start; the message contains its output.
    pub async fn start(setting: Setting) -> Self {
        Self::start_at(setting, None).await
    }

    /// Like [`Self::start`], with fakes of the stores that follow this clock from the start.
    pub(super) async fn start_at(mut setting: Setting, clock: Option<&Clock>) -> Self {
        let rvs = if setting.rvs {
            let fake = Rvs::start().await;
            if let Some(clock) = clock {
                fake.follow(clock.reader());
            }
            Some(fake)
        } else {
            None
        };
        setting.variables.extend(
            rvs.iter()
                .map(|rvs| ("SETTLE_AMAZON_RVS_URL".to_owned(), rvs.url())),
        );
        let play = Play::begin(&mut setting, clock).await;
        let appstore = AppStore::begin(&mut setting, clock).await;
        let temporal = Temporal::start_with(setting.memory, &setting.temporal).await;
        let (sns, receiver) = (Sns::new(), Receiver::start().await);
        let distance = setting
            .temporal_distance
            .map(|round_trip| temporal.at_a_distance(round_trip));
        let address = distance.map_or_else(|| temporal.address(), |distance| distance.address());
        let installation =
            Installation::on(setting.database.clone(), setting.backend, &address, &sns);
        let installation = installation.in_namespace(temporal.namespace());
        let installation = installation
            .with_descriptors(setting.descriptors)
            .with_program(setting.program.clone());
        let mut processes = launch(&installation, &setting, &[]);
        wait_all(&mut processes).await;
        let api = installation.api();
        let app_id = text(
            &api.post("/v1/apps", &json!({ "name": "tests" })).await.ok(),
            "id",
        );
        let platform = add_platform(&api, &app_id, &setting).await;
        let platform_id = text(&platform, "id").parse().expect("a platform id");
        let notification_url = text(&platform, "notification_url");
        let window = setting.window_seconds;
        let play = PlayPlatform::create_begun(play, &api, &app_id, window).await;
        let appstore = AppStorePlatform::create_begun(appstore, &api, &app_id, window).await;
        let destination_id = add_destination(&api, &app_id, &receiver, &setting).await;
        expect_schemas(&api, &receiver).await;
        Self {
            processes,
            temporal,
            receiver,
            sns,
            rvs,
            play,
            appstore,
            installation,
            api,
            app_id,
            platform_id,
            notification_url,
            destination_id,
            setting,
            accepted: Vec::new(),
            is_finished: false,
            sweep_helps: None,
            pending_at_end: BTreeMap::new(),
        }
    }

    /// Adds a destination whose receiver checks the schemas of its events, and returns its id.
    pub async fn add_destination(&self, receiver: &Receiver, events: &[String]) -> String {
        expect_schemas(&self.api, receiver).await;
        let setting = Setting {
            events: events.to_vec(),
            ..self.setting.clone()
        };
        add_destination(&self.api, &self.app_id, receiver, &setting).await
    }

    /// Returns whether receipts are verified at a fake of RVS.
    pub const fn has_rvs(&self) -> bool {
        self.rvs.is_some()
    }

    /// Returns the fake of RVS.
    ///
    /// # Panics
    /// When the setting has none.
    pub fn rvs(&self) -> &Rvs {
        self.rvs.as_ref().expect("a setting with `rvs`")
    }

    /// Returns the fake of RVS, to close its port.
    ///
    /// # Panics
    /// When the setting has none.
    pub fn rvs_mut(&mut self) -> &mut Rvs {
        self.rvs.as_mut().expect("a setting with `rvs`")
    }

    /// Makes the fake of RVS show a subscription in its current state.
    pub fn show(&self, subscription: &Subscription) {
        self.rvs()
            .know(&subscription.receipt_id, self.receipt(subscription));
    }

    /// Makes the fake of RVS show a subscription later: each group of fields at a time that `at` returns, or all fields
    /// of a new receipt at once.
    pub fn show_late(&self, subscription: &Subscription, mut at: impl FnMut() -> Timestamp) {
        let (rvs, receipt) = (self.rvs(), self.receipt(subscription));
        if !rvs.is_known(&subscription.receipt_id) {
            return rvs.know_at(&subscription.receipt_id, &receipt, at());
        }
        for group in rvs::GROUPS {
            let fields = group
                .iter()
                .map(|name| ((*name).to_owned(), receipt.fields[*name].clone()));
            let part = rvs::Receipt {
                fields: Value::Object(fields.collect()),
                ..receipt.clone()
            };
            rvs.know_at(&subscription.receipt_id, &part, at());
        }
    }

    fn receipt(&self, subscription: &Subscription) -> rvs::Receipt {
        rvs::Receipt {
            environment: self.setting.environment.parse().expect("an environment"),
            app_user_id: subscription.app_user_id.clone(),
            fields: subscription.shown.clone(),
        }
    }

    /// Returns the body of the newest acknowledged `purchase.updated` of a receipt.
    ///
    /// # Panics
    /// When no such event was acknowledged.
    pub fn newest_acked(&self, receipt_id: &str) -> Value {
        let received = self.receiver.about(&self.key(receipt_id).to_string());
        let acked = received
            .into_iter()
            .filter(Received::is_acked)
            .max_by_key(Received::revision);
        acked
            .unwrap_or_else(|| panic!("nothing was received of {receipt_id}"))
            .body
    }

    /// Returns the collapse key of a receipt.
    pub fn key(&self, receipt_id: &str) -> CollapseKey {
        CollapseKey::of(self.platform_id, receipt_id)
    }

    /// Returns the workflow id of a receipt's purchase.
    pub fn workflow(&self, receipt_id: &str) -> String {
        workflows::contract::workflow_id(self.key(receipt_id))
    }

    /// Sends a notification of this type in the way of SNS, and returns its message id.
    pub async fn send(&mut self, kind: &str, receipt_id: &str) -> String {
        self.send_rtn(&Rtn::new(kind, receipt_id)).await
    }

    /// Like [`Self::send`], for a complete notification.
    ///
    /// # Panics
    /// When the answer is not 200.
    pub async fn send_rtn(&mut self, rtn: &Rtn) -> String {
        let message = self.sns.notification(rtn);
        assert_eq!(
            self.post(&message).await.map(|answer| answer.status),
            Ok(200),
            "{rtn:?}"
        );
        message.id
    }

    /// Posts a message and returns any answer. If the answer is 200, the message must have an outcome at the end.
    ///
    /// # Errors
    /// When nothing answers.
    pub async fn post(&mut self, message: &Message) -> Result<Answer, String> {
        let url = self.notification_url.clone();
        self.post_at(&url, message).await
    }

    /// Like [`Self::post`], to the notification URL of another process.
    ///
    /// # Errors
    /// When nothing answers.
    pub async fn post_at(
        &mut self,
        notification_url: &str,
        message: &Message,
    ) -> Result<Answer, String> {
        let answer = post_as_sns(notification_url, &message.body).await?;
        if answer.status == 200 && !self.accepted.contains(&message.id) {
            self.accepted.push(message.id.clone());
        }
        Ok(answer)
    }

    /// Requires these messages, sent by another sender and accepted, to have an outcome at the end.
    pub fn expect_outcomes(&mut self, message_ids: impl IntoIterator<Item = String>) {
        self.accepted.extend(message_ids);
    }

    /// Posts messages, several concurrently.
    ///
    /// # Panics
    /// When an answer is not 200.
    pub async fn post_all(&mut self, messages: &[Message]) {
        for together in messages.chunks(AT_ONCE) {
            let posts = together
                .iter()
                .map(|message| post_as_sns(&self.notification_url, &message.body));
            for answer in futures::future::join_all(posts).await {
                let status = answer.map(|answer| answer.status);
                assert_eq!(status, Ok(200), "a message that is not accepted");
            }
        }
        self.accepted
            .extend(messages.iter().map(|message| message.id.clone()));
    }

    /// Posts a message repeatedly, like SNS, until it is answered 200.
    ///
    /// # Panics
    /// When the deadline passes.
    pub async fn post_until_accepted(&mut self, message: &Message) {
        wait::until(SOON, "a 200", async || match self.post(message).await {
            Ok(answer) if answer.status == 200 => Ok(()),
            other => Err(format!("{other:?}")),
        })
        .await;
    }

    /// Skips windows until a message has its outcome, and returns its notifications. Up to two windows may be needed:
    /// only the first notification of a burst is signalled at once, and later ones may get a window of their own.
    pub async fn settle(&self, receipt_id: &str, message_id: &str) -> Vec<Value> {
        let workflow = self.workflow(receipt_id);
        let window = i64::try_from(self.setting.window_seconds).unwrap_or(i64::MAX);
        wait::until(SOON, &format!("the outcome of {message_id}"), async || {
            if let Ok(all) = self.outcome(message_id).await {
                return Ok(all);
            }
            self.temporal.skip_timer(&workflow, window + 1).await;
            self.outcome(message_id).await
        })
        .await
    }

    /// Waits until all notifications of a message have an outcome, and returns them.
    pub async fn wait_outcome(&self, message_id: &str) -> Vec<Value> {
        wait::until(SOON, &format!("the outcome of {message_id}"), async || {
            self.outcome(message_id).await
        })
        .await
    }

    pub(super) async fn outcome(&self, message_id: &str) -> Result<Vec<Value>, String> {
        let answer = self
            .api
            .try_get(&format!("/v1/notifications/{message_id}"))
            .await?;
        let all = answer.body["notifications"]
            .as_array()
            .cloned()
            .unwrap_or_default();
        let is_final = !all.is_empty() && all.iter().all(|one| !one["outcome"].is_null());
        if is_final {
            Ok(all)
        } else {
            Err(format!("{answer:?}"))
        }
    }

    /// Waits until there are at least `count` `purchase.updated` requests about a receipt's purchase, and returns them.
    pub async fn wait_received(&self, receipt_id: &str, count: usize) -> Vec<Received> {
        self.receiver
            .wait_for(&self.key(receipt_id).to_string(), count, SOON)
            .await
    }

    /// Waits until the receiver has acknowledged a revision of a receipt's purchase.
    pub async fn wait_acked(&self, receipt_id: &str, revision: i64) {
        let key = self.key(receipt_id).to_string();
        wait::until(
            SOON,
            &format!("revision {revision} of {receipt_id}"),
            async || {
                let revisions = self.receiver.revisions(&key);
                if revisions.contains(&revision) {
                    Ok(())
                } else {
                    Err(format!("{revisions:?}"))
                }
            },
        )
        .await;
    }

    /// Waits until the newest run of a receipt's purchase has ended.
    pub async fn wait_asleep(&self, receipt_id: &str) {
        let workflow = self.workflow(receipt_id);
        wait::until(SOON, &format!("the end of {workflow}"), async || match self
            .temporal
            .describe(&workflow)
            .await
        {
            Some(found)
                if found
                    .workflow_execution_info
                    .as_ref()
                    .is_some_and(|info| info.close_time.is_some()) =>
            {
                Ok(())
            }
            other => Err(format!("{other:?}")),
        })
        .await;
    }

    /// Waits until a destination is in this state, and returns the destination as shown by the API.
    ///
    /// # Panics
    /// When the deadline passes.
    pub async fn wait_state(&self, destination_id: &str, state: &str) -> Value {
        let path = format!("/v1/destinations/{destination_id}");
        wait::until(
            SOON,
            &format!("a destination that is {state}"),
            async || {
                let found = self.api.try_get(&path).await?;
                if found.body["state"] == state {
                    Ok(found.body)
                } else {
                    Err(format!("{found:?}"))
                }
            },
        )
        .await
    }

    /// Returns the purchase of a receipt as shown by the API.
    pub async fn purchase(&self, receipt_id: &str) -> Value {
        self.api
            .get(&format!("/v1/purchases/{}", self.key(receipt_id)))
            .await
            .ok()
    }

    /// Returns all deliveries of a receipt's purchase.
    pub async fn deliveries(&self, receipt_id: &str) -> Vec<Value> {
        self.api
            .all(&format!(
                "/v1/deliveries?collapse_key={}",
                self.key(receipt_id)
            ))
            .await
    }

    /// Returns all `purchase.updated` of a receipt's purchase: one for each revision.
    pub async fn events(&self, receipt_id: &str) -> Vec<Value> {
        self.api
            .all(&format!(
                "/v1/events?type=purchase.updated&collapse_key={}",
                self.key(receipt_id)
            ))
            .await
    }

    /// Adds a started process, and returns its index in [`Self::processes`].
    pub fn join(&mut self, process: Process) -> usize {
        self.processes.push(process);
        self.processes.len() - 1
    }

    /// Returns settle's started processes: `run`, or `serve` and `worker`, then those of [`Self::join`].
    pub fn processes(&mut self) -> &mut [Process] {
        &mut self.processes
    }

    /// Returns the last process, which runs Temporal's tasks.
    ///
    /// # Panics
    /// When no process is left.
    pub fn worker(&mut self) -> &mut Process {
        self.processes.last_mut().expect("a running process")
    }

    /// Returns the first process, which serves HTTP.
    ///
    /// # Panics
    /// When no process is left.
    pub fn serve(&mut self) -> &mut Process {
        self.processes.first_mut().expect("a running process")
    }

    pub fn kill9(&mut self) {
        self.processes.clear();
    }

    /// Kills all settle processes, starts them with more variables, and waits until they are ready.
    pub async fn start_with(&mut self, variables: &[Variable<'_>]) {
        self.kill9();
        self.processes = launch(&self.installation, &self.setting, variables);
        wait_all(&mut self.processes).await;
    }

    /// Kills all settle processes and restarts them with their original variables.
    pub async fn restart(&mut self) {
        self.start_with(&[]).await;
    }
}

impl Drop for World {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            let is_checked = self.is_finished || self.accepted.is_empty();
            assert!(
                is_checked,
                "{} messages were accepted and finish() was not called",
                self.accepted.len()
            );
        }
    }
}

fn launch(installation: &Installation, setting: &Setting, more: &[Variable<'_>]) -> Vec<Process> {
    let mut variables: Vec<Variable<'_>> = setting
        .variables
        .iter()
        .map(|(name, value)| (name.as_str(), value.as_str()))
        .collect();
    variables.extend(more);
    let commands: &[&str] = match setting.backend {
        Backend::Sqlite => &["run"],
        Backend::Postgres | Backend::SyncedPostgres => &["serve", "worker"],
    };
    commands
        .iter()
        .map(|command| installation.start(&[command], &variables))
        .collect()
}

/// Waits until the first process, the only one that serves HTTP, is ready and connected.
async fn wait_all(processes: &mut [Process]) {
    if let Some(first) = processes.first_mut() {
        first.wait_connected().await;
    }
}

async fn add_platform(api: &Api, app_id: &str, setting: &Setting) -> Value {
    let platform = json!({
        "store": "amazon", "name": "tests", "package_name": PACKAGE, "environment": setting.environment,
        "topic_arn": TOPIC, "window_seconds": setting.window_seconds, "max_wait_seconds": setting.max_wait_seconds,
        "shared_secret": setting.rvs.then_some(rvs::SECRET),
    });
    api.post(
        &format!("/v1/apps/{app_id}/platforms"),
        &without_nulls(platform),
    )
    .await
    .ok()
}

async fn add_destination(
    api: &Api,
    app_id: &str,
    receiver: &Receiver,
    setting: &Setting,
) -> String {
    let Setting {
        events, signature, ..
    } = setting;
    let url = receiver.url();
    let body = json!({ "kind": "webhook", "name": url, "url": url, "events": events, "signature": signature });
    let created = api
        .post(&format!("/v1/apps/{app_id}/destinations"), &body)
        .await
        .ok();
    receiver.trust_shown(&created);
    text(&created, "id")
}

/// Makes the receiver check every event against the schema that the service publishes.
pub async fn expect_schemas(api: &Api, receiver: &Receiver) {
    let index = api.get("/api/v1/events/schema/").await.ok();
    for event in index["events"].as_array().into_iter().flatten() {
        let event_type = text(event, "type");
        receiver.expect_schema(
            &event_type,
            &api.get(&format!("/api/v1/events/schema/{event_type}"))
                .await
                .ok(),
        );
    }
}

fn without_nulls(mut value: Value) -> Value {
    if let Some(object) = value.as_object_mut() {
        object.retain(|_, field| !field.is_null());
    }
    value
}
