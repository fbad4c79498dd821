//! The secrets for which `secrets` searches: each with which a process is started, and one in each encrypted column. A
//! column without one fails the test.

use super::secrets::{Place, Secret, is_sought};
use diesel::connection::SimpleConnection as _;
use diesel::sql_types::Text;
use diesel::{Connection as _, QueryableByName, RunQueryDsl as _, SqliteConnection};
use reqwest::Method;
use ring::aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use serde_json::json;
use system_tests::amplitude::Amplitude;
use system_tests::devices::{Device, Devices};
use system_tests::http::{Answer, text};
use system_tests::receiver::{Receiver, Reply};
use system_tests::rvs::Receipt;
use system_tests::sns::Rtn;
use system_tests::wait;
use system_tests::world::{SOON, World};

/// An erased customer, by the store's id and the external id.
const ERASED: &str = "amzn1.account.ERASED3W8LD";
const ERASED_EXTERNAL: &str = "erased-c41a90e7d2";
const RECEIPT: &str = "erased";
/// The private key of a webhook's `v1a` signatures, and its beginning without the public half.
const PRIVATE_KEY: &str =
    "whsk_6Xb/dCcHpPea21PS1N9VY/NZW723CEc77N4rJCubMbfVKIDij2HKpMKkioLlX0dRqSKJp4AJ6p9lMicMFs6Kvg==";
const PRIVATE_PART: &str = "6Xb/dCcHpPea21PS1N9VY/NZW723CEc77N4rJCub";
const HEADER: &str = "header-value-0e8d5b7a41";
/// A part of the webhook's URL.
const URL_TOKEN: &str = "url-token-5c90b7e2fa13";
const AMPLITUDE_KEY: &str = "a6f0c2d8b94e17350a6f0c2dapikey";
const AMPLITUDE_SANDBOX_KEY: &str = "b7e1d3c9a85f26441b7e1d3csandbox";
const AMPLITUDE_SECRET_KEY: &str = "c8f2e4dab96037552c8f2e4dsecret";
const DEVICE: Device = Device(0x7a31_55c9);
const OTLP_TOKEN: &str = "otlp-token-93fe20c7b5";
/// `SETTLE_KEY` of the installation.
const KEY: [u8; 32] = [7; 32];

/// The secrets in each column with secrets.
const COLUMNS: [(&str, &str, &[&str]); 9] = [
    ("installation", "names_key", &["the key of tombstones"]),
    ("platforms", "ingress_key", &["the new ingress key"]),
    ("platforms", "old_ingress_key", &["the ingress key"]),
    (
        "platforms",
        "shared_secret",
        &["the platform's shared secret"],
    ),
    (
        "platforms",
        "login_secret",
        &["the platform's login secret"],
    ),
    (
        "destinations",
        "secret",
        &[
            "the destination's secret",
            "the private key of a webhook",
            "the value of a header",
            "a part of a URL",
            "Amplitude's API key",
            "Amplitude's API key of the sandbox",
            "Amplitude's secret key",
        ],
    ),
    ("topics", "subscribe_url", &["the token of a SubscribeURL"]),
    ("tombstones", "sealed", &["an erased customer"]),
    ("erasures", "names", &["an erased customer's own id"]),
];

/// Encrypted columns used only by stores that this program does not include.
const OF_OTHER_STORES: [(&str, &str); 1] = [("platforms", "store_credentials")];

/// The additional servers and secrets of a world.
pub struct Seeds {
    amplitude: Amplitude,
    second: Receiver,
    api_key: String,
    login_secret: String,
    ingress_key: String,
}

#[derive(QueryableByName)]
struct Row {
    #[diesel(sql_type = Text)]
    value: String,
}

impl Seeds {
    /// Starts the servers that must run before the world.
    pub async fn start() -> Self {
        let amplitude = Amplitude::start().await;
        amplitude.project(AMPLITUDE_SANDBOX_KEY, AMPLITUDE_SECRET_KEY);
        let (api_key, login_secret, ingress_key) = Default::default();
        Self {
            amplitude,
            second: Receiver::start().await,
            api_key,
            login_secret,
            ingress_key,
        }
    }

    /// Returns the variables of the world's processes.
    pub fn variables(&self) -> Vec<(String, String)> {
        vec![
            (
                "OTEL_EXPORTER_OTLP_HEADERS".to_owned(),
                format!("authorization=Bearer%20{OTLP_TOKEN}"),
            ),
            (
                "SETTLE_AMPLITUDE_ALLOWED_URLS".to_owned(),
                self.amplitude.url(),
            ),
        ]
    }

    /// Stores the secrets, and uses each of them.
    pub async fn sow(&mut self, world: &mut World) {
        let key = world
            .api
            .post("/v1/keys", &json!({ "name": "a reader", "role": "read" }))
            .await
            .ok();
        self.api_key = text(&key, "key");
        assert_eq!(
            world
                .api
                .with_token(&self.api_key)
                .get("/v1/apps")
                .await
                .status,
            200
        );
        assert_eq!(
            world
                .api
                .with_token(&self.api_key)
                .post("/v1/apps", &json!({ "name": "x" }))
                .await
                .status,
            403
        );
        let path = format!("/v1/platforms/{}/login-secret", world.platform_id);
        self.login_secret = text(
            &world.api.post(&path, &json!({})).await.ok(),
            "login_secret",
        );
        // The world continues with the old URL.
        let path = format!("/v1/platforms/{}/rotate-ingress-key", world.platform_id);
        let url = text(
            &world.api.post(&path, &json!({})).await.ok(),
            "notification_url",
        );
        self.ingress_key = url.rsplit('/').next().unwrap_or_default().to_owned();
        let integration = json!({
            "kind": "amplitude", "name": "Analytics", "endpoint": self.amplitude.url(), "api_key": AMPLITUDE_KEY,
            "sandbox_api_key": AMPLITUDE_SANDBOX_KEY, "secret_key": AMPLITUDE_SECRET_KEY,
        });
        let integration = world.create_destination(&integration).await;
        let webhook = json!({
            "kind": "webhook", "name": "second", "url": format!("{}?token={URL_TOKEN}", self.second.url()),
            "secret_url": true, "headers": { "x-token": HEADER }, "signature": "v1a", "private_key": PRIVATE_KEY,
        });
        let webhook = world.create_destination(&webhook).await;
        self.second.trust_shown(&webhook);
        for destination in [&integration, &webhook] {
            world.let_be_pending(
                &text(destination, "id"),
                "its server ends before the story does",
            );
        }
        self.second.answer_next(1, &Reply::Status(500));
    }

    /// Uses a device's secret, correctly and wrongly; returns the answers, and what settle shows afterwards.
    pub async fn show_secret(&self, world: &World) -> Vec<Place> {
        let devices = Devices::of(world).await;
        let [device, stranger] = [DEVICE, Device(DEVICE.0 + 1)];
        let wrong = devices.client(stranger);
        let malformed = devices
            .client(device)
            .with_header("settle-device-secret", device.secret());
        let body = device.body(&[]);
        let mut answers = vec![
            devices.report(device, &[]).await,
            devices.login(device, "anna").await,
            devices.logout(device).await,
            wrong.post("/v1/device/events", &body).await,
            malformed.post("/v1/device/events", &body).await,
        ];
        assert_eq!(
            answers.iter().map(|one| one.status).collect::<Vec<_>>(),
            [200, 403, 200, 403, 400],
            "{answers:?}"
        );
        for path in [
            "/v1/audit-log",
            "/v1/alarms",
            "/v1/device-events",
            "/v1/about",
            "/v1/overview",
        ] {
            answers.push(world.api.get(path).await);
        }
        let shown = |(number, answer): (usize, &Answer)| {
            (
                format!("answer {number}, {}", answer.status),
                answer.body.to_string().into_bytes(),
            )
        };
        answers.iter().enumerate().map(shown).collect()
    }

    /// Erases a customer at whose destinations nothing answers, so that the names must be kept for the pending
    /// requests.
    pub async fn forget_somebody(self, world: &mut World) -> Vec<Secret> {
        wait::until(SOON, "a request with each secret", async || {
            let counts = (self.second.count(), self.amplitude.requests().len());
            if counts.0 > 0 && counts.1 > 0 {
                Ok(())
            } else {
                Err(format!("{counts:?}"))
            }
        })
        .await;
        self.second.check();
        let Self {
            amplitude,
            api_key,
            login_secret,
            ingress_key,
            ..
        } = self;
        drop(amplitude);
        let receipt = Receipt {
            app_user_id: ERASED.to_owned(),
            ..Receipt::subscription(api::clock::now())
        };
        world.rvs().know(RECEIPT, receipt);
        let customers = format!("/v1/apps/{}/customers", world.app_id);
        let name = json!({ "external_id": ERASED_EXTERNAL, "app_user_id": ERASED });
        drop(world.api.call(Method::PUT, &customers, &name).await.ok());
        let rtn = Rtn {
            app_user_id: ERASED.to_owned(),
            ..Rtn::new("SUBSCRIPTION_PURCHASED", RECEIPT)
        };
        let message_id = world.send_rtn(&rtn).await;
        world.wait_outcome(&message_id).await;
        world.wait_acked(RECEIPT, 1).await;
        let request =
            json!({ "external_id": ERASED_EXTERNAL, "by": "support", "reason": "a test" });
        drop(
            world
                .api
                .post(&format!("{customers}/erase"), &request)
                .await
                .ok(),
        );
        vec![
            ("an erased customer", ERASED.to_owned()),
            ("an erased customer's own id", ERASED_EXTERNAL.to_owned()),
            (
                "a key of the API",
                api_key.trim_start_matches("sk_").to_owned(),
            ),
            (
                "the platform's login secret",
                login_secret.trim_start_matches("ls_").to_owned(),
            ),
            ("the new ingress key", ingress_key),
            ("the private key of a webhook", PRIVATE_PART.to_owned()),
            ("the value of a header", HEADER.to_owned()),
            ("a part of a URL", URL_TOKEN.to_owned()),
            ("Amplitude's API key", AMPLITUDE_KEY.to_owned()),
            (
                "Amplitude's API key of the sandbox",
                AMPLITUDE_SANDBOX_KEY.to_owned(),
            ),
            ("Amplitude's secret key", AMPLITUDE_SECRET_KEY.to_owned()),
            ("a header of exports", OTLP_TOKEN.to_owned()),
            ("a device's secret", DEVICE.secret()),
            (
                "the secret of another device",
                Device(DEVICE.0 + 1).secret(),
            ),
            ("SETTLE_KEY", storage::hex(&KEY)),
            ("the key of tombstones", key_of_tombstones(world)),
        ]
    }
}

/// Checks that each encrypted column has a value, and a secret that is searched for.
pub fn cover_each_column(world: &World, secrets: &[Secret]) {
    let columns = storage::secret_columns();
    let (of_others, columns): (Vec<_>, Vec<_>) = columns
        .into_iter()
        .partition(|column| OF_OTHER_STORES.contains(column));
    assert_eq!(of_others, OF_OTHER_STORES, "a column is gone");
    let number = columns.len();
    for (table, column) in columns {
        let seeded = COLUMNS
            .iter()
            .find(|seeded| (seeded.0, seeded.1) == (table, column));
        let (_, _, names) =
            seeded.unwrap_or_else(|| panic!("{table}.{column} has no secret: seed one here"));
        names
            .iter()
            .for_each(|name| assert!(is_sought(secrets, name), "{name} is not among the secrets"));
        let query = format!("SELECT {column} AS value FROM {table} WHERE {column} LIKE 'v1:%'");
        assert!(
            !values(world, &query).is_empty(),
            "{table}.{column} has no value"
        );
    }
    assert_eq!(number, COLUMNS.len(), "a column is gone");
}

fn values(world: &World, query: &str) -> Vec<String> {
    let mut database =
        SqliteConnection::establish(world.installation.database()).expect("the database");
    database
        .batch_execute("PRAGMA busy_timeout = 5000")
        .expect("a setting");
    let rows: Vec<Row> = diesel::sql_query(query).load(&mut database).expect(query);
    rows.into_iter().map(|row| row.value).collect()
}

/// Returns the key of tombstones, which settle generates, decrypted as described in the storage's `db/secrets.rs`.
fn key_of_tombstones(world: &World) -> String {
    let sealed = values(world, "SELECT names_key AS value FROM installation").remove(0);
    let hex = sealed.rsplit(':').next().unwrap_or_default();
    let digits = hex
        .as_bytes()
        .chunks(2)
        .map(|pair| std::str::from_utf8(pair).expect("hex"));
    let mut bytes: Vec<u8> = digits
        .map(|pair| u8::from_str_radix(pair, 16).expect("hex"))
        .collect();
    let (nonce, sealed) = bytes.split_at_mut(NONCE_LEN);
    let key = LessSafeKey::new(UnboundKey::new(&AES_256_GCM, &KEY).expect("a key"));
    let nonce = Nonce::try_assume_unique_for_key(nonce).expect("a nonce");
    let plain = key
        .open_in_place(nonce, Aad::from("installation.names_key/1"), sealed)
        .expect("it is encrypted with KEY");
    String::from_utf8(plain.to_vec()).expect("a text")
}
