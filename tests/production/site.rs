//! The running services with a sending store and a receiving endpoint, in phases whose figures are printed.

use crate::fleet::{Fleet, TEMPORAL};
use crate::verdict;
use diesel::dsl::sql;
use diesel::sql_types::BigInt;
use diesel::{Connection, RunQueryDsl};
use domain::PlatformId;
use serde_json::{Value, json};
use std::time::Duration;
use system_tests::compose::{Compose, Texts};
use system_tests::folder::Folder;
use system_tests::http::Api;
use system_tests::load::store::{Arrivals, Phase, RECOVERED, Store, print_figures};
use system_tests::postgres::PgConnection;
use system_tests::receiver::Receiver;
use system_tests::sns::{PACKAGE, Sns, TOPIC};
use system_tests::wait;
use tokio::time::Instant;

/// Number of purchases in the messages.
const PURCHASES: usize = 300;
const WINDOW: Duration = Duration::from_secs(2);
/// Name of the Temporal Server that joins later.
const SECOND: &str = "temporal-2";
const PUBLIC_URL: &str = "https://settle.example.com";

pub struct Site {
    pub fleet: Fleet,
    /// The endpoint of the only destination.
    pub receiver: Receiver,
    /// A client of `serve-a`.
    pub api: Api,
    /// Id of the platform to which the store sends.
    pub platform_id: PlatformId,
    pub token: String,
    load: Store,
    phases: Vec<Phase>,
}

impl Site {
    /// Starts the services of the compose file, sets up an app, and begins to send.
    pub async fn start(per_second: f64) -> Self {
        let (folder, sns) = (Folder::new("production"), Sns::new());
        let variables = variables();
        let compose =
            Compose::read(&variables).unwrap_or_else(|error| panic!("the compose file: {error:#}"));
        let added = configuration(&folder, &sns);
        let mut fleet = Fleet::new(compose, added, folder).await;
        fleet.start_all().await;
        let [admin, public, other] = [("serve-a", 8081), ("serve-a", 8080), ("serve-b", 8080)]
            .map(|(name, port)| fleet.port(name, port));
        let token = variables["SETTLE_ADMIN_TOKEN"].clone();
        let api = Api::new(&format!("http://127.0.0.1:{admin}"), &token);
        let receiver = Receiver::start().await;
        let platform = set_up(&api, &receiver).await;
        let notification_url = platform["notification_url"]
            .as_str()
            .expect("a notification URL");
        let at =
            |port: u16| notification_url.replace(PUBLIC_URL, &format!("http://127.0.0.1:{port}"));
        let urls = vec![at(public), at(other)];
        assert!(
            urls.iter().all(|url| url.starts_with("http://127.0.0.1:")),
            "{urls:?}"
        );
        let platform_id = platform["id"]
            .as_str()
            .and_then(|id| id.parse().ok())
            .expect("a platform id");
        let load = Store::start(urls, sns, per_second, PURCHASES);
        Self {
            fleet,
            receiver,
            api,
            platform_id,
            token,
            load,
            phases: Vec::new(),
        }
    }

    /// Runs a part of the story, and records its duration.
    pub async fn phase(&mut self, name: &str, part: impl AsyncFnOnce(&mut Self)) {
        println!("== {name}");
        let began = Instant::now();
        part(self).await;
        self.load.flows(&self.receiver).await;
        self.phases.push((name.to_owned(), began, began.elapsed()));
    }

    pub async fn pass(&mut self, time: Duration) {
        wait::pass(time).await;
    }

    pub async fn restart(&mut self, name: &str) {
        self.fleet.restart(name).await;
    }

    /// Starts another Temporal Server with the first one's variables, and waits until it has history shards.
    pub async fn join_temporal(&mut self) {
        let before = self.acquisitions();
        self.fleet.join(SECOND, TEMPORAL.0).await;
        let moved = wait::until(
            RECOVERED,
            "history shards of the second server",
            async || {
                let moved = self.acquisitions() - before;
                if moved > 0 {
                    Ok(moved)
                } else {
                    Err("none".to_owned())
                }
            },
        )
        .await;
        println!("the first of {moved} history shards moved");
        self.load.flows(&self.receiver).await;
        println!(
            "{} history shards were acquired",
            self.acquisitions() - before
        );
    }

    /// Stops the first Temporal Server, so that the second one takes over its history shards.
    pub async fn leave_temporal(&mut self) {
        let before = self.acquisitions();
        let stopped = self.fleet.stop(TEMPORAL.0).await;
        self.load.flows(&self.receiver).await;
        let moved = self.acquisitions() - before;
        println!("the first server stopped in {stopped:.1?}; {moved} history shards were acquired");
        assert!(
            moved > 0,
            "the second server has the shards of the first one"
        );
    }

    /// Returns how often Temporal Servers have acquired history shards.
    fn acquisitions(&mut self) -> i64 {
        let url = self.fleet.database("temporal-postgresql", "temporal");
        let mut connection = PgConnection::establish(&url).expect("Temporal's database");
        let sum = diesel::select(sql::<BigInt>("(SELECT sum(range_id)::bigint FROM shards)"));
        sum.get_result(&mut connection).expect("the history shards")
    }

    /// Ends the load, waits until everything is settled and delivered, and checks that nothing is lost or duplicated.
    pub async fn finish(self) {
        let Self {
            fleet,
            receiver,
            api,
            platform_id,
            token,
            load,
            phases,
        } = self;
        let accepted = load.finish().await;
        let finished_at = Instant::now();
        let checked = verdict::Checked {
            api: &api,
            receiver: &receiver,
            accepted: &accepted,
            platform_id,
        };
        checked.check().await;
        println!(
            "settled and delivered {:.1?} after the last message",
            finished_at.elapsed()
        );
        let check = fleet.settle(
            &["check"],
            &[("SETTLE_URL", api.url()), ("SETTLE_ADMIN_TOKEN", &token)],
        );
        let text = String::from_utf8_lossy(&check.stdout);
        assert!(
            check.status.success(),
            "settle check: {text}{}",
            String::from_utf8_lossy(&check.stderr)
        );
        println!("settle check: {}", text.lines().last().unwrap_or_default());
        print_figures(
            &phases,
            &accepted,
            Arrivals {
                receiver: &receiver,
                platform_id,
                window: WINDOW,
            },
        );
    }
}

/// Returns values for the variables that the compose file takes from its environment.
fn variables() -> Texts {
    let secret = || format!("{:0>32}", api::clock::random_uuid().simple()).repeat(2);
    let public = ("SETTLE_PUBLIC_URL".to_owned(), PUBLIC_URL.to_owned());
    let secrets = [
        "SETTLE_POSTGRES_PASSWORD",
        "TEMPORAL_POSTGRES_PASSWORD",
        "SETTLE_KEY",
        "SETTLE_ADMIN_TOKEN",
    ]
    .into_iter();
    secrets
        .map(|name| (name.to_owned(), secret()))
        .chain([public])
        .collect()
}

/// Returns the variables that settle's services get in addition to the file's.
fn configuration(folder: &Folder, sns: &Sns) -> Texts {
    let (certificate, file) = (
        folder.path().join("certificate.pem"),
        folder.path().join("settle.toml"),
    );
    sns.write_certificate(&certificate);
    let settings = format!(
        "[[amazon.certificates]]\nurl = {:?}\nfile = {certificate:?}\n\
         [destinations]\nallowed_networks = [\"127.0.0.0/8\"]\nallow_http = true\n",
        sns.certificate_url()
    );
    std::fs::write(&file, settings).expect("the settings file");
    Texts::from([("SETTLE_CONFIG".to_owned(), file.display().to_string())])
}

/// Creates an app with a platform and a destination, and returns the platform.
async fn set_up(api: &Api, receiver: &Receiver) -> Value {
    let app = api
        .post("/v1/apps", &json!({ "name": "production" }))
        .await
        .ok();
    let app_id = app["id"].as_str().expect("an app id");
    let url = receiver.url();
    let destination =
        json!({ "kind": "webhook", "name": "tests", "url": url, "events": ["purchase.updated"] });
    let created = api
        .post(&format!("/v1/apps/{app_id}/destinations"), &destination)
        .await
        .ok();
    receiver.trust_shown(&created);
    receiver.keep_alive();
    let platform = json!({
        "store": "amazon", "name": "tests", "package_name": PACKAGE, "environment": "sandbox", "topic_arn": TOPIC,
        "window_seconds": WINDOW.as_secs(),
    });
    api.post(&format!("/v1/apps/{app_id}/platforms"), &platform)
        .await
        .ok()
}
