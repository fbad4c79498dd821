//! An installation with many apps: two `serve` and two `worker`, with a PostgreSQL at a distance.

use super::Options;
use super::receiver::{DOWN, Receiver};
use domain::CollapseKey;
use futures::{StreamExt, stream};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::time::Duration;
use system_tests::distance::Distance;
use system_tests::http::{Api, text};
use system_tests::load::{Load, Message, Pace, quantile};
use system_tests::process::{Backend, Installation, Process};
use system_tests::raw::Raw;
use system_tests::sns::{PACKAGE, Rtn, Sns, TOPIC};
use system_tests::temporal::{Memory, Temporal};
use system_tests::wait;
use tokio::time::Instant;

/// Number of destinations per app.
const DESTINATIONS: usize = 3;
/// Number of apps created concurrently.
const AT_ONCE: usize = 16;
/// Maximum number of the generator's connections to each `serve`.
const CONNECTIONS: usize = 32;
/// Maximum time from the end of a window to a purchase's last webhook.
const PATIENCE: Duration = Duration::from_secs(300);

pub struct Tenant {
    pub app_id: String,
    pub platform_id: String,
    /// Path of the platform's notification URL.
    path: String,
    pub publishable_key: String,
    pub destinations: Vec<String>,
}

pub struct Installed {
    // Fields are dropped in this order: settle's processes first, then the services that they use.
    processes: Vec<Process>,
    temporal: Temporal,
    installation: Installation,
    pub api: Api,
    sns: Sns,
    pub receiver: Receiver,
    others: Vec<Tenant>,
    pub troubled: Tenant,
    window: Duration,
    rate: f64,
    seconds: u64,
    sent: usize,
}

/// Times from the end of a window to each of its webhooks, in milliseconds.
#[derive(Debug, Clone, Copy)]
pub struct Lags {
    pub p50: f64,
    pub p99: f64,
    /// Time until a notification was acknowledged: the 99th percentile.
    pub acknowledged: f64,
    /// Number of purchases that lack webhooks at the end.
    pub missing: usize,
}

impl Installed {
    pub async fn start(options: &Options) -> Self {
        let temporal = Temporal::start_with(Memory::File, &[]).await;
        let (sns, receiver) = (Sns::new(), Receiver::start().await);
        let installation = Installation::new(Backend::Postgres, &temporal.address(), &sns);
        let installation = installation.in_namespace(temporal.namespace());
        let each_way = Duration::from_micros(options.round_trip / 2);
        let (_, far) = Distance::before_url(installation.database(), each_way).expect("a proxy");
        let variables = [
            ("SETTLE_DATABASE", far.as_str()),
            ("SETTLE_DEVICES_REQUESTS_PER_SECOND", "1000"),
            ("SETTLE_DEVICES_REQUESTS_PER_SECOND_AND_ADDRESS", "1000"),
        ];
        let mut processes = vec![
            installation.start(&["serve"], &variables),
            installation.serve_beside(&variables),
            installation.start(&["worker"], &variables),
            installation.start(&["worker"], &variables),
        ];
        for process in &mut processes[..2] {
            process.wait_ready().await;
            process.wait_connected().await;
        }
        let api = installation.api();
        let began = Instant::now();
        let created = stream::iter(0..=options.apps)
            .map(|number| tenant(&api, &receiver, number, options.window));
        let mut others: Vec<Tenant> = created.buffer_unordered(AT_ONCE).collect().await;
        println!(
            "{} apps with {DESTINATIONS} destinations each after {:.0?}",
            options.apps,
            began.elapsed()
        );
        let place = others
            .iter()
            .position(|tenant| tenant.destinations.is_empty())
            .expect("the troubled one");
        let mut troubled = others.swap_remove(place);
        for number in 0..DESTINATIONS {
            let url = receiver.url(&format!("{DOWN}{number}"));
            troubled
                .destinations
                .push(destination(&api, &troubled.app_id, number, &url).await);
        }
        let (window, rate, seconds) = (
            Duration::from_secs(options.window),
            options.rate,
            options.seconds,
        );
        let sent = 0;
        Self {
            processes,
            temporal,
            installation,
            api,
            sns,
            receiver,
            others,
            troubled,
            window,
            rate,
            seconds,
            sent,
        }
    }

    /// Returns the addresses of both `serve` processes for stores and devices.
    pub fn public_urls(&self) -> [String; 2] {
        [0, 1].map(|number| self.processes[number].public_url().to_owned())
    }

    /// Returns a connection to the installation's database, without the distance.
    pub fn raw(&self) -> Raw {
        Raw::of(&self.installation.stored_in())
    }

    /// Returns a signed notification of a purchase of the troubled app.
    pub fn message(&self, receipt: &str, customer: &str) -> Message {
        signed(&self.sns, &self.troubled, receipt, customer)
    }

    /// Returns the key of a purchase of the troubled app.
    pub fn key(&self, receipt: &str) -> CollapseKey {
        CollapseKey::of(self.troubled.platform_id.parse().expect("an id"), receipt)
    }

    /// Sends a notification of each purchase of the other apps in rotation at the fixed rate, waits until each has its
    /// webhooks, and measures their lags.
    pub async fn measure(&mut self) -> Lags {
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "a small positive number"
        )]
        let count =
            (self.rate * f64::from(u32::try_from(self.seconds).unwrap_or(u32::MAX))) as usize;
        let numbers = self.sent..self.sent + count;
        self.sent += count;
        let receipts: Vec<String> = numbers
            .clone()
            .map(|number| format!("receipt-{number:07}"))
            .collect();
        let messages: Vec<Message> = numbers
            .zip(&receipts)
            .map(|(number, receipt)| {
                let tenant = &self.others[number % self.others.len()];
                signed(
                    &self.sns,
                    tenant,
                    receipt,
                    &format!("amzn1.account.{receipt}"),
                )
            })
            .collect();
        let (due, acknowledged) = self.send(&receipts, messages).await;
        let is_complete = |receipt: &String| self.receiver.arrivals(receipt).len() == DESTINATIONS;
        let missing = || due.keys().filter(|receipt| !is_complete(receipt)).count();
        let arrived = wait::within(
            self.window + PATIENCE,
            "every webhook",
            async || match missing() {
                0 => Ok(()),
                missing => Err(missing.to_string()),
            },
        );
        let missing = if arrived.await.is_ok() { 0 } else { missing() };
        let lags = due.iter().flat_map(|(receipt, due)| {
            let end = *due + self.window;
            self.receiver
                .arrivals(receipt)
                .into_iter()
                .map(move |arrived| arrived.saturating_duration_since(end))
        });
        let mut lags: Vec<Duration> = lags.collect();
        lags.sort_unstable();
        let lag = |part| quantile(&lags, part).map_or(0.0, |lag| lag.as_secs_f64() * 1000.0);
        Lags {
            p50: lag(0.5),
            p99: lag(0.99),
            acknowledged,
            missing,
        }
    }

    /// Sends the messages to both `serve` processes in rotation. Returns when each was due, and the 99th percentile of
    /// the milliseconds until the acknowledgement.
    async fn send(
        &self,
        receipts: &[String],
        messages: Vec<Message>,
    ) -> (BTreeMap<String, Instant>, f64) {
        // One connection for each message of two seconds: a server closes connections that are idle for longer.
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "a small positive number"
        )]
        let connections = (self.rate.ceil() as usize).clamp(1, CONNECTIONS);
        let [first, second] = self.public_urls().map(|url| Load::new(&url, connections));
        let half = |odd: usize| {
            let of = messages.iter().zip(receipts).skip(odd).step_by(2);
            of.map(|(message, receipt)| (message.clone(), receipt.clone()))
                .unzip::<_, _, Vec<_>, Vec<_>>()
        };
        let ((one, of_one), (other, of_other)) = (half(0), half(1));
        let (pace, at_most) = (Pace::PerSecond(self.rate / 2.0), Duration::from_secs(600));
        let (one, other) = tokio::join!(
            first.run(one, pace, at_most),
            second.run(other, pace, at_most)
        );
        let (mut due, mut latency) = (BTreeMap::new(), 0.0_f64);
        for (measured, receipts) in [(one, of_one), (other, of_other)] {
            measured.check();
            latency = latency.max(measured.latency_ms(0.99));
            due.extend(
                measured
                    .acknowledged()
                    .iter()
                    .map(|sent| (receipts[sent.number].clone(), sent.due)),
            );
        }
        (due, latency)
    }

    /// Returns how many messages per second a `serve` acknowledges while the keys of `apps` other apps are used in
    /// rotation, all of which it has seen before. Waits until their purchases are settled.
    pub async fn at_the_door(&mut self, apps: usize, messages: usize) -> f64 {
        let [url, _] = self.public_urls();
        let load = Load::new(&url, CONNECTIONS);
        let nonsense = |tenant: &Tenant| Message {
            id: String::new(),
            request: request(&tenant.path, "").into(),
        };
        let seen: Vec<Message> = self.others.iter().take(apps).map(nonsense).collect();
        load.run(seen, Pace::Saturate, PATIENCE).await;
        let numbers = self.sent..self.sent + messages;
        self.sent += messages;
        let receipts: Vec<String> = numbers
            .map(|number| format!("receipt-{number:07}"))
            .collect();
        let tenants = self.others.iter().take(apps).cycle();
        let all = receipts.iter().zip(tenants);
        let all = all.map(|(receipt, tenant)| {
            signed(
                &self.sns,
                tenant,
                receipt,
                &format!("amzn1.account.{receipt}"),
            )
        });
        let measured = load.run(all.collect(), Pace::Saturate, PATIENCE).await;
        measured.check();
        wait::until(
            self.window + PATIENCE,
            "every webhook",
            async || match receipts
                .iter()
                .filter(|receipt| self.receiver.arrivals(receipt).len() < DESTINATIONS)
                .count()
            {
                0 => Ok(()),
                missing => Err(missing.to_string()),
            },
        )
        .await;
        measured.rate()
    }

    pub fn finish(mut self) {
        for process in &mut self.processes {
            process.kill9();
        }
        drop(self.temporal);
    }
}

/// Creates an app with a platform and its destinations; the app with the first number gets its destinations later.
async fn tenant(api: &Api, receiver: &Receiver, number: usize, window: u64) -> Tenant {
    let app_id = text(
        &api.post("/v1/apps", &json!({ "name": format!("app {number}") }))
            .await
            .ok(),
        "id",
    );
    let platform = json!({
        "store": "amazon", "name": "fire", "package_name": PACKAGE, "environment": "sandbox", "topic_arn": TOPIC,
        "window_seconds": window,
    });
    let platform: Value = api
        .post(&format!("/v1/apps/{app_id}/platforms"), &platform)
        .await
        .ok();
    let mut destinations = Vec::new();
    for place in 0..if number == 0 { 0 } else { DESTINATIONS } {
        let url = receiver.url(&format!("/{number}/{place}"));
        destinations.push(destination(api, &app_id, place, &url).await);
    }
    let url = text(&platform, "notification_url");
    Tenant {
        app_id,
        platform_id: text(&platform, "id"),
        path: url.splitn(4, '/').nth(3).unwrap_or_default().to_owned(),
        publishable_key: text(&platform, "publishable_key"),
        destinations,
    }
}

async fn destination(api: &Api, app_id: &str, place: usize, url: &str) -> String {
    let hook = json!({ "kind": "webhook", "name": format!("hook {place}"), "url": url, "events": ["purchase.updated"] });
    text(
        &api.post(&format!("/v1/apps/{app_id}/destinations"), &hook)
            .await
            .ok(),
        "id",
    )
}

/// Returns a signed renewal as a complete HTTP request.
fn signed(sns: &Sns, tenant: &Tenant, receipt: &str, customer: &str) -> Message {
    let mut rtn = Rtn::new("SUBSCRIPTION_RENEWED", receipt);
    customer.clone_into(&mut rtn.app_user_id);
    let message = sns.notification(&rtn);
    Message {
        id: message.id,
        request: request(&tenant.path, &message.body).into(),
    }
}

fn request(path: &str, body: &str) -> Vec<u8> {
    let length = body.len();
    let head = format!(
        "POST /{path} HTTP/1.1\r\nhost: localhost\r\ncontent-type: text/plain; charset=UTF-8\r\n"
    );
    format!("{head}content-length: {length}\r\n\r\n{body}").into_bytes()
}
