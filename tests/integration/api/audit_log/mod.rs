//! The audit log: each route that changes something writes one entry, with actor, operation and reason and without
//! secrets, in the transaction of its change. If the entry cannot be written, nothing is changed.

mod changes;

use super::edge::{Answer, Service, TOKEN};
use super::test_notifications::{STORES, TESTED};
use api::route::Access;
use api::routes::routes;
use axum::body::{Body, to_bytes};
use axum::http::Request;
use diesel::{QueryableByName, RunQueryDsl, SqliteConnection};
use domain::{AppId, DutyId, ReviewId, UserId};
use secrecy::SecretString;
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::time::Duration;
use storage::{Person, Role, TopicRequest};
use system_tests::raw::Raw;
use system_tests::wait;
use system_tests::world::SOON;
use tower::ServiceExt;

/// Routes that send a signal. The activity that carries it out writes the audit entry: `tests/e2e/audit_log.rs`.
const SIGNALS: [&str; 6] = [
    "/v1/purchases/{collapse_key}/flush",
    "/v1/purchases/{collapse_key}/hold",
    "/v1/purchases/{collapse_key}/release",
    "/v1/purchases/{collapse_key}/discard",
    "/v1/destinations/{destination_id}/enable",
    "/v1/destinations/{destination_id}/disable",
];
/// Only `settle run` accepts samples: `tests/e2e/first_steps.rs` checks the audit entry.
const SAMPLE: (&str, &str) = ("POST", "/v1/platforms/{platform_id}/sample");
/// Texts that no audit entry may contain: secrets, and a customer's names.
const HIDDEN: [&str; 7] = [
    "a-shared-secret",
    "whsec_",
    "sk_",
    "pk_",
    "ls_",
    "anna",
    "otto",
];

/// A change by a route, and the operation in its audit entry.
struct Change {
    route: (&'static str, &'static str),
    path: String,
    body: String,
    operation: &'static str,
}

fn change(
    route: (&'static str, &'static str),
    path: String,
    body: Value,
    operation: &'static str,
) -> Change {
    let body = match body {
        Value::Null => String::new(),
        Value::String(csv) => csv,
        json => json.to_string(),
    };
    Change {
        route,
        path,
        body,
        operation,
    }
}

struct Office {
    service: Service,
    key: String,
    bearer: String,
    app: String,
    platform: String,
    destination: String,
}

#[derive(QueryableByName)]
struct Version {
    #[diesel(sql_type = diesel::sql_types::BigInt)]
    data_version: i64,
}

/// Returns a number that changes with each commit of another connection.
fn version(connection: &mut SqliteConnection) -> i64 {
    let rows: Vec<Version> = diesel::sql_query("PRAGMA data_version")
        .load(connection)
        .expect("a version");
    rows[0].data_version
}

impl Office {
    async fn open(name: &str) -> Self {
        let service = Service::knowing(name, &STORES).await;
        let (app, platform) = service.platform().await;
        let hook =
            json!({ "kind": "webhook", "name": "hook", "url": "https://receiver.invalid/hooks" });
        let hook = service
            .send_json("POST", &format!("/v1/apps/{app}/destinations"), &hook)
            .await;
        service.seed(&["a receipt"]).await;
        service.seed_events();
        let key = service
            .send_json(
                "POST",
                "/v1/keys",
                &json!({ "name": "deploy", "role": "admin" }),
            )
            .await;
        let text =
            |answer: &Answer, field: &str| answer.body[field].as_str().expect("a text").to_owned();
        Self {
            key: text(&key, "id"),
            bearer: format!("Bearer {}", text(&key, "key")),
            destination: text(&hook, "id"),
            platform: platform.to_string(),
            app,
            service,
        }
    }

    /// Returns the id of a review that asks whether purchases may move between two customers.
    fn review(&self) -> ReviewId {
        let [from, to] =
            ["former", "present"].map(|name| UserId::anonymous(self.app_id(), "amazon", name));
        let id = ReviewId::of(from, to);
        let Self { app, platform, .. } = self;
        for user in [from, to] {
            self.service.raw(&format!(
                "INSERT OR IGNORE INTO users (id, app_id, revision, created_at) VALUES ('{user}', '{app}', 0, 1)"
            ));
        }
        self.service.raw(&format!(
            "INSERT OR IGNORE INTO transfer_reviews (id, app_id, platform_id, from_user_id, to_user_id, requested_at)
                 VALUES ('{id}', '{app}', '{platform}', '{from}', '{to}', 1)"
        ));
        id
    }

    /// Returns the id of an open question about a refund.
    fn duty(&self) -> DutyId {
        let id = DutyId::answer(self.platform.parse().expect("an id"), "a question");
        self.service.raw(&format!(
            "INSERT OR IGNORE INTO duties (id, kind, platform_id, created_at, answer_by)
                 VALUES ('{id}', 'refund_review', '{}', 1, 1)",
            self.platform
        ));
        id
    }

    /// Returns the id of a new platform with credentials, whose store is also queried apart from purchases.
    async fn queried(&self) -> String {
        let body = json!({
            "store": "google", "name": "play", "package_name": "com.example.radio", "no_older_process": true,
        });
        let path = format!("/v1/apps/{}/platforms", self.app);
        let created = self.service.send_json("POST", &path, &body).await;
        let id = created.body["id"].as_str().expect("an id").to_owned();
        self.service.raw(&format!(
            "UPDATE platforms SET store_credentials = 'sealed', store_credentials_at = 1 WHERE id = '{id}'"
        ));
        id
    }

    /// Returns the id of a new platform with credentials, whose store sends test notifications on request.
    async fn tested(&self) -> String {
        let body = json!({
            "store": TESTED, "name": "tested", "package_name": "com.example.radio", "shared_secret": "a-shared-secret",
        });
        let path = format!("/v1/apps/{}/platforms", self.app);
        let created = self.service.send_json("POST", &path, &body).await;
        created.body["id"].as_str().expect("an id").to_owned()
    }

    fn app_id(&self) -> AppId {
        self.app.parse().expect("an id")
    }

    /// Sends a change with the key and a reason; returns the status and the body.
    async fn send(&self, change: &Change) -> (u16, Value) {
        let media = if change.body.starts_with('{') {
            "application/json"
        } else {
            "text/csv"
        };
        let request = Request::builder().method(change.route.0).uri(&change.path);
        let request = request
            .header("authorization", &self.bearer)
            .header("settle-reason", "ticket 4711");
        let request = request
            .header("content-type", media)
            .body(Body::from(change.body.clone()))
            .expect("a request");
        let answer = self
            .service
            .router
            .clone()
            .oneshot(request)
            .await
            .expect("an answer");
        let status = answer.status().as_u16();
        let body = to_bytes(answer.into_body(), usize::MAX)
            .await
            .expect("a body");
        (status, serde_json::from_slice(&body).unwrap_or_default())
    }

    fn count(&self) -> i64 {
        self.service.count("audit_log")
    }

    async fn newest(&self) -> Value {
        self.service.get("/v1/audit-log?limit=1").await.body["items"][0].clone()
    }

    async fn pending(&self, name: &str) -> String {
        let platform = self.platform.parse().expect("an id");
        let arn = format!("arn:aws:sns:us-east-1:123456789012:{name}");
        let url = format!(
            "https://sns.us-east-1.amazonaws.com/?Action=ConfirmSubscription&TopicArn={arn}&Token=1234"
        );
        let expires = api::clock::now().plus_millis(600_000);
        self.service
            .store
            .add_pending_topic(TopicRequest::new(
                platform,
                &arn,
                SecretString::from(url),
                expires,
            ))
            .await
            .expect("a topic");
        self.service
            .store
            .topics(platform)
            .await
            .expect("topics")
            .last()
            .expect("a topic")
            .id
            .to_string()
    }

    async fn sign_in(&self) -> String {
        let person = Person {
            name: "Carla".to_owned(),
            role: Role::Read,
            app_id: None,
            key_id: Some(self.key.parse().expect("an id")),
            token_hash: None,
        };
        let secret = SecretString::from("0".repeat(64));
        let sign_in = self
            .service
            .store
            .new_sign_in(person, secret, Duration::from_secs(60))
            .await;
        sign_in.expect("a sign-in").id.to_string()
    }
}

const REFUSE: &str = "CREATE TRIGGER no_entries BEFORE INSERT ON audit_log \
    BEGIN SELECT RAISE(ABORT, 'no audit entry can be written'); END";

#[tokio::test]
async fn no_change_without_its_audit_entry() {
    let office = Office::open("audit-log").await;
    let (mut seen, mut transfer, mut other_key) = (BTreeSet::new(), String::new(), String::new());
    let Raw::Sqlite(mut watching) = office.service.connection() else {
        panic!("a file")
    };
    // The key's first use is recorded meanwhile. Later uses are recorded only after a minute, which may pass on a slow
    // machine, so the first use is then moved years ahead.
    let used = async || match office
        .service
        .raw_number("SELECT COUNT(last_used_at) AS value FROM api_keys")
    {
        1 => Ok(()),
        count => Err(format!("{count} keys")),
    };
    office
        .send(&change(
            ("GET", "/v1/apps"),
            "/v1/apps".to_owned(),
            Value::Null,
            "",
        ))
        .await;
    wait::until(SOON, "the use of the key is noted", used).await;
    office
        .service
        .raw("UPDATE api_keys SET last_used_at = 9000000000000000");
    for mut change in office.changes().await {
        change.path = change
            .path
            .replace("LAST", &transfer)
            .replace("OTHER", &other_key);
        let what = format!("{} {}", change.route.0, change.path);
        office.service.raw(REFUSE);
        let before = (version(&mut watching), office.count());
        let (status, body) = office.send(&change).await;
        assert!(
            status >= 500,
            "{what} answered {status} although no entry could be written: {body}"
        );
        assert_eq!(
            (version(&mut watching), office.count()),
            before,
            "{what} changed something without its audit entry"
        );
        office.service.raw("DROP TRIGGER no_entries");
        let (status, body) = office.send(&change).await;
        assert!((200..300).contains(&status), "{what}: {status} {body}");
        assert_eq!(office.count(), before.1 + 1, "{what}");
        let entry = office.newest().await;
        let found = (&entry["operation"], &entry["key_id"], &entry["reason"]);
        assert_eq!(
            found,
            (
                &json!(change.operation),
                &json!(office.key),
                &json!("ticket 4711")
            ),
            "{what}"
        );
        assert!(
            entry["actor"]
                .as_str()
                .is_some_and(|actor| actor.contains("deploy")),
            "{what}: {entry}"
        );
        for hidden in HIDDEN {
            assert!(
                !entry.to_string().contains(hidden),
                "{what} shows {hidden}: {entry}"
            );
        }
        match change.operation {
            "customer.move" => transfer = body["transfer_id"].as_str().expect("an id").to_owned(),
            "key.create" => other_key = body["id"].as_str().expect("an id").to_owned(),
            _ => {}
        }
        seen.insert(change.route);
    }
    let signals = SIGNALS.map(|path| ("POST", path));
    let listed: BTreeSet<_> = seen.into_iter().chain(signals).chain([SAMPLE]).collect();
    // The page uses the same handlers: each of its changes corresponds to one of these.
    let is_change = |route: &api::route::Route| route.method != "GET" && !route.is_query;
    let guarded = routes()
        .into_iter()
        .filter(|route| route.access == Access::Admin && is_change(route));
    let changing: BTreeSet<_> = guarded.map(|route| (route.method, route.path)).collect();
    assert_eq!(
        listed, changing,
        "each route that changes something is walked"
    );
}

#[tokio::test]
async fn an_audit_entry_has_the_changed_fields_before_and_after() {
    let office = Office::open("fields").await;
    let path = format!("/v1/destinations/{}", office.destination);
    office
        .send(&change(
            ("PATCH", ""),
            path.clone(),
            json!({ "rate": 7, "name": "hook" }),
            "",
        ))
        .await;
    let entry = office.newest().await;
    assert_eq!(
        (&entry["before"], &entry["after"]),
        (&json!({ "rate": null }), &json!({ "rate": 7 }))
    );
    assert_eq!(
        (&entry["subject"], &entry["app_id"]),
        (&json!(office.destination), &json!(office.app))
    );
    let rotate = change(
        ("POST", ""),
        format!("{path}/rotate-secret"),
        Value::Null,
        "",
    );
    assert_eq!(office.send(&rotate).await.0, 200);
    assert_eq!(office.newest().await["after"]["secret"], "replaced");
    for (query, count) in [
        (format!("subject={}", office.destination), 3),
        (format!("key_id={}", office.key), 2),
        ("operation=app.create".to_owned(), 1),
        (
            format!("app_id={}&operation=platform.create", office.app),
            1,
        ),
    ] {
        let found = office.service.get(&format!("/v1/audit-log?{query}")).await;
        assert_eq!(
            found.body["items"].as_array().map(Vec::len),
            Some(count),
            "{query}: {}",
            found.body
        );
    }
    let first = office.service.get("/v1/audit-log?limit=1").await;
    let next = first.body["next_cursor"]
        .as_str()
        .expect("a cursor")
        .to_owned();
    let second = office
        .service
        .get(&format!("/v1/audit-log?limit=1&cursor={next}"))
        .await;
    assert_ne!(first.body["items"], second.body["items"]);
    let conflict = office.count();
    assert_eq!(
        office
            .service
            .send_json("POST", "/v1/apps", &json!({ "name": "reader" }))
            .await
            .status,
        409
    );
    assert_eq!(
        office.count(),
        conflict,
        "a refused change leaves no audit entry"
    );
    let by_token = office
        .service
        .send(
            "PATCH",
            &path,
            Some(&format!("Bearer {TOKEN}")),
            b"{\"rate\":8}".to_vec(),
        )
        .await;
    assert_eq!(by_token.status, 200);
    let entry = office.newest().await;
    assert_eq!(
        (&entry["key_id"], &entry["actor"]),
        (&Value::Null, &json!("admin token"))
    );
}
