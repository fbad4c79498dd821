//! The audit log: every route that changes something leaves one entry, with who, what and why and without secrets, in
//! the transaction of its change: where no audit entry can be written nothing is changed.

use super::edge::{Answer, Service, TOKEN};
use api::route::Access;
use api::routes::routes;
use axum::body::{Body, to_bytes};
use axum::http::Request;
use diesel::{QueryableByName, RunQueryDsl, SqliteConnection};
use domain::{AlarmId, AppId, PlatformId, ReviewId, UserId};
use secrecy::SecretString;
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::time::Duration;
use storage::{Person, Role, TopicRequest};
use system_tests::raw::Raw;
use system_tests::wait;
use system_tests::world::SOON;
use tower::ServiceExt;

/// Routes that send a signal. The activity that carries it out leaves the audit entry: `tests/e2e/audit_log.rs`.
const SIGNALS: [&str; 6] = [
    "/v1/purchases/{collapse_key}/flush",
    "/v1/purchases/{collapse_key}/hold",
    "/v1/purchases/{collapse_key}/release",
    "/v1/purchases/{collapse_key}/discard",
    "/v1/destinations/{destination_id}/enable",
    "/v1/destinations/{destination_id}/disable",
];
/// Only `settle run` takes samples: `tests/e2e/first_steps.rs` looks for its audit entry.
const SAMPLE: (&str, &str) = ("POST", "/v1/platforms/{platform_id}/sample");
/// Texts that no audit entry may have: secrets, and the names of a customer.
const HIDDEN: [&str; 7] = [
    "a-shared-secret",
    "whsec_",
    "sk_",
    "pk_",
    "ls_",
    "anna",
    "otto",
];

/// One change by a route, and the operation of its audit entry.
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

/// A number that differs after each commit of another connection.
fn version(connection: &mut SqliteConnection) -> i64 {
    let rows: Vec<Version> = diesel::sql_query("PRAGMA data_version")
        .load(connection)
        .expect("a version");
    rows[0].data_version
}

impl Office {
    async fn open(name: &str) -> Self {
        let service = Service::start(name).await;
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

    /// A question about two customers, whether purchases may move.
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

    fn app_id(&self) -> AppId {
        self.app.parse().expect("an id")
    }

    /// Sends a request of the key, with a reason; returns the status and the body.
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

    /// Changes by each route but the last ones, in an order in which each changes something.
    #[expect(
        clippy::too_many_lines,
        reason = "a table: one entry for each route that changes something"
    )]
    async fn changes(&self) -> Vec<Change> {
        let Self {
            app,
            platform,
            destination,
            ..
        } = self;
        let (of_app, of_platform) = (
            format!("/v1/apps/{app}"),
            format!("/v1/platforms/{platform}"),
        );
        let of_hook = format!("/v1/destinations/{destination}");
        let named = json!({ "external_id": "anna", "app_user_id": "u1" });
        let moved = json!({ "from": { "app_user_id": "u1" }, "external_id": "otto", "reason": "ticket 4711" });
        let erased = json!({ "external_id": "otto", "by": "me", "reason": "ticket 4711" });
        let hook =
            json!({ "kind": "webhook", "name": "other", "url": "https://receiver.invalid/hooks" });
        let sandbox = json!({ "store": "amazon", "name": "sandbox", "package_name": "p", "shared_secret": "a-shared-secret" });
        let catalogue =
            json!({ "entitlements": [], "products": [{ "sku": "year", "entitlements": [] }] });
        let sales = "Transaction Id,Transaction Time,Transaction Type,Vendor SKU,Receipt ID,Marketplace Currency,Sales Price\n\
            t1,2026-01-31T12:00:00Z,Charge,month,a receipt,USD,9.99\n";
        let about: PlatformId = platform.parse().expect("an id");
        let alarm = AlarmId::of(Some(about.uuid()), "odd", "look");
        self.service
            .store
            .alarm(Some(about), "odd", "look")
            .await
            .expect("raised");
        let (approved, rejected) = (self.pending("one").await, self.pending("two").await);
        let topic = |id: &str, verb: &str| format!("{of_platform}/topics/{id}/{verb}");
        vec![
            change(
                ("POST", "/v1/apps"),
                "/v1/apps".to_owned(),
                json!({ "name": "second" }),
                "app.create",
            ),
            change(
                ("PATCH", "/v1/apps/{app_id}"),
                of_app.clone(),
                json!({ "name": "renamed" }),
                "app.update",
            ),
            change(
                ("POST", "/v1/keys"),
                "/v1/keys".to_owned(),
                json!({ "name": "k", "role": "read" }),
                "key.create",
            ),
            change(
                ("POST", "/v1/apps/{app_id}/platforms"),
                format!("{of_app}/platforms"),
                sandbox,
                "platform.create",
            ),
            change(
                ("PATCH", "/v1/platforms/{platform_id}"),
                of_platform.clone(),
                json!({ "window_seconds": 7, "shared_secret": "a-shared-secret" }),
                "platform.update",
            ),
            change(
                ("POST", "/v1/platforms/{platform_id}/rotate-ingress-key"),
                format!("{of_platform}/rotate-ingress-key"),
                Value::Null,
                "platform.rotate-ingress-key",
            ),
            change(
                ("POST", "/v1/platforms/{platform_id}/retire-old-ingress-key"),
                format!("{of_platform}/retire-old-ingress-key"),
                Value::Null,
                "platform.retire-old-ingress-key",
            ),
            change(
                ("POST", "/v1/platforms/{platform_id}/rotate-publishable-key"),
                format!("{of_platform}/rotate-publishable-key"),
                Value::Null,
                "platform.update",
            ),
            change(
                ("POST", "/v1/platforms/{platform_id}/login-secret"),
                format!("{of_platform}/login-secret"),
                Value::Null,
                "platform.login-secret",
            ),
            change(
                ("DELETE", "/v1/platforms/{platform_id}/login-secret"),
                format!("{of_platform}/login-secret"),
                Value::Null,
                "platform.login-secret",
            ),
            change(
                ("POST", "/v1/platforms/{platform_id}/retry-parked"),
                format!("{of_platform}/retry-parked"),
                Value::Null,
                "platform.retry-parked",
            ),
            change(
                ("POST", "/v1/platforms/{platform_id}/import"),
                format!("{of_platform}/import"),
                json!({ "purchases": [{ "receipt_id": "r", "app_user_id": "u1" }] }),
                "platform.import",
            ),
            change(
                (
                    "POST",
                    "/v1/platforms/{platform_id}/topics/{topic_id}/approve",
                ),
                topic(&approved, "approve"),
                Value::Null,
                "topic.approve",
            ),
            change(
                (
                    "POST",
                    "/v1/platforms/{platform_id}/topics/{topic_id}/reject",
                ),
                topic(&rejected, "reject"),
                Value::Null,
                "topic.reject",
            ),
            change(
                ("POST", "/v1/apps/{app_id}/destinations"),
                format!("{of_app}/destinations"),
                hook,
                "destination.create",
            ),
            change(
                ("PATCH", "/v1/destinations/{destination_id}"),
                of_hook.clone(),
                json!({ "rate": 7 }),
                "destination.update",
            ),
            change(
                ("POST", "/v1/destinations/{destination_id}/rotate-secret"),
                format!("{of_hook}/rotate-secret"),
                Value::Null,
                "destination.update",
            ),
            change(
                ("POST", "/v1/destinations/{destination_id}/test"),
                format!("{of_hook}/test"),
                Value::Null,
                "destination.test",
            ),
            change(
                ("POST", "/v1/destinations/{destination_id}/probe"),
                format!("{of_hook}/probe"),
                Value::Null,
                "destination.probe",
            ),
            change(
                ("POST", "/v1/destinations/{destination_id}/retry"),
                format!("{of_hook}/retry"),
                Value::Null,
                "destination.retry",
            ),
            change(
                ("POST", "/v1/resends"),
                "/v1/resends".to_owned(),
                json!({ "missing": true, "destination_id": self.destination }),
                "resend",
            ),
            change(
                ("POST", "/v1/resends"),
                "/v1/resends".to_owned(),
                json!({ "all": true, "destination_id": self.destination }),
                "resend",
            ),
            change(
                ("POST", "/v1/resends"),
                "/v1/resends".to_owned(),
                json!({ "failed": true }),
                "resend",
            ),
            change(
                ("PUT", "/v1/apps/{app_id}/entitlements/{ref}"),
                format!("{of_app}/entitlements/gold"),
                json!({ "name": "Gold" }),
                "entitlement.set",
            ),
            change(
                ("PUT", "/v1/apps/{app_id}/products/{sku}"),
                format!("{of_app}/products/month"),
                json!({ "entitlements": ["gold"] }),
                "product.set",
            ),
            change(
                ("DELETE", "/v1/apps/{app_id}/products/{sku}"),
                format!("{of_app}/products/month"),
                Value::Null,
                "product.delete",
            ),
            change(
                ("DELETE", "/v1/apps/{app_id}/entitlements/{ref}"),
                format!("{of_app}/entitlements/gold"),
                Value::Null,
                "entitlement.delete",
            ),
            change(
                ("PUT", "/v1/apps/{app_id}/catalogue"),
                format!("{of_app}/catalogue"),
                catalogue,
                "catalogue.replace",
            ),
            change(
                ("PUT", "/v1/apps/{app_id}/rates"),
                format!("{of_app}/rates"),
                json!({ "rates": [{ "day": "2026-01-31", "currency": "EUR", "usd": "1.1" }] }),
                "rates.put",
            ),
            change(
                ("POST", "/v1/apps/{app_id}/sales"),
                format!("{of_app}/sales"),
                json!(sales),
                "sales.import",
            ),
            change(
                ("PUT", "/v1/apps/{app_id}/customers"),
                format!("{of_app}/customers"),
                named,
                "customer.name",
            ),
            change(
                ("POST", "/v1/apps/{app_id}/customers/move"),
                format!("{of_app}/customers/move"),
                moved,
                "customer.move",
            ),
            change(
                ("POST", "/v1/transfers/{transfer_id}/undo"),
                "/v1/transfers/LAST/undo".to_owned(),
                json!({ "reason": "ticket 4711" }),
                "transfer.undo",
            ),
            change(
                ("POST", "/v1/transfer-reviews/{review_id}/refuse"),
                format!("/v1/transfer-reviews/{}/refuse", self.review()),
                json!({ "reason": "ticket 4711" }),
                "transfer.refuse",
            ),
            change(
                ("POST", "/v1/transfer-reviews/{review_id}/approve"),
                format!("/v1/transfer-reviews/{}/approve", self.review()),
                json!({ "reason": "ticket 4711" }),
                "transfer.approve",
            ),
            change(
                ("POST", "/v1/apps/{app_id}/customers/erase"),
                format!("{of_app}/customers/erase"),
                erased,
                "customer.erase",
            ),
            change(
                ("POST", "/v1/sign-in-links"),
                "/v1/sign-in-links".to_owned(),
                json!({ "name": "Carla", "role": "read" }),
                "sign_in.link",
            ),
            change(
                ("DELETE", "/v1/sign-ins/{sign_in_id}"),
                format!("/v1/sign-ins/{}", self.sign_in().await),
                Value::Null,
                "sign_in.end",
            ),
            change(
                ("POST", "/v1/alarms/{alarm_id}/acknowledge"),
                format!("/v1/alarms/{alarm}/acknowledge"),
                json!({ "note": "seen" }),
                "alarm.acknowledge",
            ),
            change(
                ("DELETE", "/v1/keys/{key_id}"),
                "/v1/keys/OTHER".to_owned(),
                Value::Null,
                "key.revoke",
            ),
            change(
                ("DELETE", "/v1/destinations/{destination_id}"),
                of_hook,
                Value::Null,
                "destination.delete",
            ),
            change(
                ("DELETE", "/v1/platforms/{platform_id}"),
                of_platform,
                Value::Null,
                "platform.delete",
            ),
            change(
                ("DELETE", "/v1/apps/{app_id}"),
                of_app,
                Value::Null,
                "app.delete",
            ),
        ]
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
    // The first use of the key is noted meanwhile. Later ones are noted after a minute, which a slow machine may need: so
    // the first one is then made one of years to come.
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
    // The page changes by the same handlers: each of its changes has a twin here.
    let is_change =
        |route: &api::route::Route| route.method != "GET" && !route.is_query && !route.is_page;
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
