//! The added store: the real processes settle its purchases like those of any other store. A check takes two requests
//! with an access token, only the answer names the customer, and an ended purchase can become active again.

mod requested;
mod signed;

use crate::variables;
use api::clock;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, Method, StatusCode};
use axum::routing::get;
use axum::{Json, Router};
use domain::{CollapseKey, PlatformId};
use serde_json::{Value, json};
use std::sync::{Arc, Mutex, PoisonError};
use system_tests::decoded;
use system_tests::devices::{Device, Devices};
use system_tests::http::{Api, send_raw, text};
use system_tests::process::{Backend, Variable};
use system_tests::rvs::millis;
use system_tests::wait;
use system_tests::world::{SOON, Setting, World};
use workflows::contract;

const PACKAGE: &str = "com.example.proof";
/// The purchase. The store knows all purchases whose ids have the same beginning.
const PURCHASE: &str = "purchase-1";
/// Texts that must not be in any history or log.
const CUSTOMER: &str = "customer-of-the-proof-store";
const SECRET: &str = "account-key-of-the-proof-store";
const TOKEN: &str = "access-token-of-the-proof-store";
/// A key to sign access tokens, which begin with it.
const SIGNING: &str = "signing-key-of-the-proof-store";

/// The state that the store shows, and the requests that it has counted.
#[derive(Default)]
struct Shown {
    customer: Option<String>,
    expired_ms: Option<i64>,
    paid_until_ms: i64,
    /// Number of issued tokens. The first one is refused.
    issued: usize,
    /// Number of requests whose token was refused.
    refused: usize,
    orders: usize,
    /// Number of requests for unknown purchases.
    unknown: usize,
    /// Pages of the messages that the store could not deliver, the newest one first.
    failures: Vec<Value>,
    /// Number of requests for such a page.
    listed: usize,
    /// Number of requests for a test. The first one is declined.
    tests: usize,
}

type Shared = Arc<Mutex<Shown>>;

fn shown(shared: &Shared) -> std::sync::MutexGuard<'_, Shown> {
    shared.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Starts the store on a free port; returns its URL.
async fn serve(shared: Shared) -> String {
    let router = Router::new()
        .route("/token/{secret}", get(issue))
        .route("/purchases/{purchase}", get(purchase))
        .route("/orders/{order}", get(order))
        .route("/failures/{page}", get(failures))
        .route("/tests/new", get(requested::test))
        .with_state(shared);
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0")
        .await
        .expect("a port");
    let address = listener.local_addr().expect("its address");
    tokio::spawn(async move { axum::serve(listener, router).await.unwrap_or_default() });
    format!("http://{address}")
}

async fn issue(
    State(shared): State<Shared>,
    Path(secret): Path<String>,
) -> Result<Json<Value>, StatusCode> {
    if secret != SECRET {
        return Err(StatusCode::FORBIDDEN);
    }
    let mut shown = shown(&shared);
    shown.issued += 1;
    let token = format!("{TOKEN}-{}", shown.issued);
    Ok(Json(json!({ "token": token, "seconds": 3600 })))
}

/// Checks the token of a request: the first issued or signed token is refused, as if it had been revoked.
fn check(headers: &HeaderMap, shown: &mut Shown) -> Result<(), StatusCode> {
    let value = headers
        .get("authorization")
        .and_then(|value| value.to_str().ok());
    let valid = [TOKEN, SIGNING].map(|begin| format!("Bearer {begin}-"));
    let number = valid
        .iter()
        .find_map(|begin| value?.strip_prefix(begin.as_str()));
    if number.is_some_and(|number| number != "1") {
        return Ok(());
    }
    shown.refused += 1;
    Err(StatusCode::UNAUTHORIZED)
}

async fn purchase(
    State(shared): State<Shared>,
    Path(purchase): Path<String>,
    headers: HeaderMap,
) -> Result<Json<Value>, StatusCode> {
    let mut shown = shown(&shared);
    check(&headers, &mut shown)?;
    if !purchase.starts_with("purchase-") {
        shown.unknown += 1;
        return Err(StatusCode::NOT_FOUND);
    }
    Ok(Json(json!({
        "order": "order-1", "customer": shown.customer, "sku": "monthly", "began_ms": 1_700_000_000_000_i64,
        "expired_ms": shown.expired_ms,
    })))
}

async fn order(
    State(shared): State<Shared>,
    headers: HeaderMap,
) -> Result<Json<Value>, StatusCode> {
    let mut shown = shown(&shared);
    check(&headers, &mut shown)?;
    shown.orders += 1;
    Ok(Json(
        json!({ "country": "DE", "paid_until_ms": shown.paid_until_ms }),
    ))
}

/// Answers with a page of the messages that were not delivered. Each page is named by its number.
async fn failures(
    State(shared): State<Shared>,
    Path(page): Path<String>,
    headers: HeaderMap,
) -> Result<Json<Value>, StatusCode> {
    let mut shown = shown(&shared);
    check(&headers, &mut shown)?;
    shown.listed += 1;
    let number: usize = page.parse().unwrap_or(0);
    let messages = shown.failures.get(number).cloned();
    let next = (number + 1 < shown.failures.len()).then(|| (number + 1).to_string());
    Ok(Json(
        json!({ "messages": messages.unwrap_or_else(|| json!([])), "next": next }),
    ))
}

/// Returns the time `days` days from now, in milliseconds since 1970.
fn in_days(days: i64) -> i64 {
    millis(clock::now().plus_millis(days * 24 * 3_600_000))
}

/// Returns a message of the store.
fn message(purchase: &str, happened: &str, at_ms: i64) -> Value {
    json!({
        "id": format!("{purchase}-{happened}-{at_ms}"), "package": PACKAGE, "purchase": purchase,
        "happened": happened, "at_ms": at_ms,
    })
}

/// A platform of the store, and the purchase in the messages.
struct Proof {
    api: Api,
    id: PlatformId,
    url: String,
    key: CollapseKey,
}

impl Proof {
    async fn new(world: &World) -> Self {
        Self::with(world, &json!({ "shared_secret": SECRET })).await
    }

    /// Creates a platform with this credential.
    async fn with(world: &World, credential: &Value) -> Self {
        let mut platform = json!({
            "store": "proof", "name": "proof", "package_name": PACKAGE, "environment": "production",
            "window_seconds": 1, "no_older_process": true,
        });
        for (field, value) in credential.as_object().into_iter().flatten() {
            platform[field] = value.clone();
        }
        let path = format!("/v1/apps/{}/platforms", world.app_id);
        let created = world.api.post(&path, &platform).await.ok();
        let id: PlatformId = text(&created, "id").parse().expect("a platform");
        Self {
            api: world.api.clone(),
            id,
            url: text(&created, "notification_url"),
            key: CollapseKey::of(id, PURCHASE),
        }
    }

    /// Returns the status of the answer to a message about the purchase.
    async fn send(&self, happened: &str, at_ms: i64, sender: &str) -> u16 {
        self.send_about(PURCHASE, happened, at_ms, sender).await
    }

    async fn send_about(&self, purchase: &str, happened: &str, at_ms: i64, sender: &str) -> u16 {
        let body = message(purchase, happened, at_ms);
        self.post(&body, sender).await
    }

    async fn post(&self, body: &Value, sender: &str) -> u16 {
        let headers = [("proof-sender", sender.to_owned())];
        let body = body.to_string().into_bytes();
        let answer = send_raw(Method::POST, &self.url, &headers, body).await;
        answer.expect("an answer").status
    }

    /// Waits until the purchase has this state, and returns it.
    async fn wait_state(&self, state: &str) -> Value {
        self.wait_state_of(PURCHASE, state).await
    }

    async fn wait_state_of(&self, purchase: &str, state: &str) -> Value {
        let path = format!("/v1/purchases/{}", CollapseKey::of(self.id, purchase));
        wait::until(SOON, &format!("the state {state}"), async || {
            let purchase = self.api.try_get(&path).await?.body;
            if purchase["state"] == state {
                Ok(purchase)
            } else {
                Err(purchase.to_string())
            }
        })
        .await
    }
}

/// Starts an installation with the store in this state.
async fn start(backend: Backend, shared: &Shared) -> World {
    {
        let mut shown = shown(shared);
        shown.paid_until_ms = in_days(20);
        shown.customer = Some(CUSTOMER.to_owned());
    }
    let url = serve(Arc::clone(shared)).await;
    let mut added = variables();
    added.push(("SETTLE_PROOF_URL".to_owned(), url));
    let setting = Setting {
        backend,
        variables: added,
        ..Setting::default()
    };
    World::start(setting).await
}

async fn is_settled_as_any_other(backend: Backend) {
    let shared = Shared::default();
    let world = start(backend, &shared).await;
    let proof = Proof::new(&world).await;

    assert_eq!(
        proof
            .send("BOUGHT", 1_700_000_000_000, "somebody else")
            .await,
        401
    );
    assert_eq!(
        proof.send("BOUGHT", 1_700_000_000_000, "genuine").await,
        204
    );
    let bought = proof.wait_state("active").await;
    assert!(bought.to_string().contains(CUSTOMER), "{bought}");
    let counts = {
        let shown = shown(&shared);
        (shown.issued, shown.orders)
    };
    assert_eq!(counts, (2, 1), "one token was refused");

    // An answer with exact dates ends the purchase at once.
    shown(&shared).expired_ms = Some(in_days(-1));
    assert_eq!(proof.send("ENDED", in_days(-1), "genuine").await, 204);
    proof.wait_state("expired").await;

    // According to the answer, the purchase is active again.
    shown(&shared).expired_ms = None;
    assert_eq!(proof.send("PAID", in_days(0), "genuine").await, 204);
    proof.wait_state("active").await;
    assert_eq!(shown(&shared).issued, 2, "the token serves all checks");

    let histories = decoded::histories(&world).await;
    let workflow = contract::workflow_id(proof.key);
    let own = histories.iter().find(|(name, _)| name.contains(&workflow));
    assert!(own.is_some(), "the history of {workflow}");
    for (name, history) in &histories {
        let history = String::from_utf8_lossy(history);
        for hidden in [CUSTOMER, SECRET, TOKEN] {
            assert!(!history.contains(hidden), "{hidden} is in {name}");
        }
    }
    world.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_store_of_the_tests_is_settled_on_sqlite() {
    is_settled_as_any_other(Backend::Sqlite).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_store_of_the_tests_is_settled_on_postgres() {
    is_settled_as_any_other(Backend::Postgres).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn both_environments_of_a_platform_have_their_tokens() {
    let shared = Shared::default();
    let mut world = start(Backend::Sqlite, &shared).await;
    world.let_sweep_help("a change of the platform rechecks its purchases");
    let proof = Proof::new(&world).await;
    let second = "purchase-2";
    assert_eq!(
        proof.send("BOUGHT", 1_700_000_000_000, "genuine").await,
        204
    );
    proof.wait_state("active").await;
    let path = format!("/v1/platforms/{}", proof.id);
    let sandbox = json!({ "environment": "sandbox" });
    drop(world.api.call(Method::PATCH, &path, &sandbox).await.ok());

    // The first purchase stays in its environment, and both are checked in turn.
    let bought = proof.send_about(second, "BOUGHT", 1_700_000_000_000, "genuine");
    assert_eq!(bought.await, 204);
    proof.wait_state_of(second, "active").await;
    shown(&shared).expired_ms = Some(in_days(-1));
    for purchase in [PURCHASE, second] {
        let end = proof.send_about(purchase, "ENDED", in_days(-1), "genuine");
        assert_eq!(end.await, 204);
        proof.wait_state_of(purchase, "expired").await;
    }
    assert_eq!(shown(&shared).issued, 3, "the first one was refused");
    world.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_that_settle_signs_needs_no_request() {
    let shared = Shared::default();
    let world = start(Backend::Sqlite, &shared).await;
    let proof = Proof::with(&world, &json!({ "store_settings": { "key": SIGNING } })).await;
    for (happened, at_ms, expired_ms, state) in [
        ("BOUGHT", 1_700_000_000_000, None, "active"),
        ("ENDED", in_days(-1), Some(in_days(-1)), "expired"),
    ] {
        shown(&shared).expired_ms = expired_ms;
        assert_eq!(proof.send(happened, at_ms, "genuine").await, 204);
        proof.wait_state(state).await;
    }
    let counts = {
        let shown = shown(&shared);
        (shown.issued, shown.refused, shown.orders)
    };
    assert_eq!(counts, (0, 1, 2), "one signed token was refused");
    for (name, history) in &decoded::histories(&world).await {
        let history = String::from_utf8_lossy(history);
        assert!(!history.contains(SIGNING), "the key is in {name}");
    }
    world.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_that_names_no_customer_removes_none() {
    let shared = Shared::default();
    let world = start(Backend::Sqlite, &shared).await;
    let proof = Proof::new(&world).await;
    assert_eq!(
        proof.send("BOUGHT", 1_700_000_000_000, "genuine").await,
        204
    );
    let bought = proof.wait_state("active").await;
    assert_eq!(bought["app_user_id"], CUSTOMER);

    {
        let mut shown = shown(&shared);
        shown.customer = None;
        shown.expired_ms = Some(in_days(-1));
    }
    assert_eq!(proof.send("ENDED", in_days(-1), "genuine").await, 204);
    let hidden = proof.wait_state("expired").await;
    assert_eq!(hidden["app_user_id"], CUSTOMER);

    // An answer that names another customer moves the purchase.
    {
        let mut shown = shown(&shared);
        shown.customer = Some("another-customer".to_owned());
        shown.expired_ms = None;
    }
    assert_eq!(proof.send("PAID", in_days(0), "genuine").await, 204);
    let moved = proof.wait_state("active").await;
    assert_eq!(moved["app_user_id"], "another-customer");
    world.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn messages_that_were_not_delivered_are_found_once() {
    let shared = Shared::default();
    let mut world = start(Backend::Sqlite, &shared).await;
    world.let_sweep_help("it starts the repair that reads the history");
    let (lost, bought_ms) = ("purchase-2", 1_700_000_000_000);
    shown(&shared).failures = vec![
        json!([
            message(lost, "REFUND_WANTED", bought_ms + 90_000),
            message(lost, "PAID", bought_ms + 60_000)
        ]),
        json!([
            message(lost, "BOUGHT", bought_ms),
            message(PURCHASE, "BOUGHT", bought_ms)
        ]),
    ];
    let proof = Proof::new(&world).await;
    assert_eq!(proof.send("BOUGHT", bought_ms, "genuine").await, 204);
    proof.wait_state("active").await;
    wait::until(SOON, "both pages", async || {
        if shown(&shared).listed > 1 {
            return Ok(());
        }
        world.temporal.skip_timer(contract::SWEEP, 31).await;
        Err("not listed yet".to_owned())
    })
    .await;
    proof.wait_state_of(lost, "active").await;

    // The store repeats what it could not deliver.
    let repeated = proof.send_about(lost, "BOUGHT", bought_ms, "genuine");
    assert_eq!(repeated.await, 204);
    let accepted = async |purchase: &str| {
        let key = CollapseKey::of(proof.id, purchase);
        let path = format!("/v1/purchases/{key}/notifications");
        let items = world.api.get(&path).await.ok()["items"].clone();
        items.as_array().map_or(0, Vec::len)
    };
    assert_eq!((accepted(PURCHASE).await, accepted(lost).await), (1, 3));

    // The question is open once, however often it is repeated, until the store decides it.
    let open = async || {
        let path = format!("/v1/platforms/{}/duties", proof.id);
        let items = world.api.get(&path).await.ok()["items"].clone();
        items.as_array().map_or(0, Vec::len)
    };
    let again = proof.send_about(lost, "REFUND_WANTED", bought_ms + 95_000, "genuine");
    assert_eq!((again.await, open().await), (204, 1));
    let denied = proof.send_about(lost, "REFUND_DENIED", bought_ms + 99_000, "genuine");
    assert_eq!((denied.await, open().await), (204, 0));
    world.finish().await;
}

/// Returns a claim of a purchase that contains only its id.
fn claim(device: Device, event: &str, purchase: &str) -> Value {
    let transaction = json!({ "kind": "purchased", "receipt_id": purchase, "sku": "monthly" });
    device.event(
        event,
        "device.transaction",
        &json!({ "transaction": transaction }),
    )
}

/// Returns a session start that lists the purchases on a device.
fn listed(device: Device, event: &str, receipts: &Value) -> Value {
    device.event(
        event,
        "device.session.start",
        &json!({ "receipts": receipts }),
    )
}

/// Waits until the device has the entitlement that the purchase grants.
async fn wait_access(devices: &Devices, device: Device) {
    let path = format!("/v1/device/entitlements?device_id={}", device.id());
    wait::until(SOON, "the entitlement", async || {
        let shown = devices.client(device).try_get(&path).await?.body;
        let granted = &shown["entitlements"][0]["entitlement_ref_id"];
        (granted == "premium")
            .then_some(())
            .ok_or(shown.to_string())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_purchase_is_claimed_by_possession_of_its_id() {
    let shared = Shared::default();
    let mut world = start(Backend::Sqlite, &shared).await;
    world.let_sweep_help("it starts the verification of claims that become due later");
    let proof = Proof::new(&world).await;
    let (granted, sold) = (
        json!({ "name": "Premium" }),
        json!({ "entitlements": ["premium"] }),
    );
    for (path, body) in [
        ("entitlements/premium", granted),
        ("products/monthly", sold),
    ] {
        let path = format!("/v1/apps/{}/{path}", world.app_id);
        drop(world.api.call(Method::PUT, &path, &body).await.ok());
    }
    let devices = Devices::of_platform(&world.api, proof.id).await;
    let (owner, guest) = (Device(1), Device(2));
    let of_owner = [claim(owner, "1", PURCHASE), claim(owner, "2", "invented")];
    let reported = devices.report(owner, &of_owner).await.ok();
    assert_eq!(
        reported,
        json!({ "accepted": 2, "repeated": 0, "rejected": [] })
    );

    let claimed = proof.wait_state("active").await;
    assert!(claimed.to_string().contains(CUSTOMER), "{claimed}");
    wait_access(&devices, owner).await;
    let invented = CollapseKey::of(proof.id, "invented");
    let path = format!("/v1/explain/purchases/{invented}");
    let wait_refused = async |count: usize| {
        wait::until(SOON, "the refusal of another id", async || {
            let explained = world.api.try_get(&path).await?.body.to_string();
            let is_refused = explained.matches("refused (invalid)").count() == count;
            is_refused.then_some(()).ok_or(explained)
        })
        .await;
    };
    wait_refused(1).await;
    // One answer refuses the id for all devices.
    let again = [claim(guest, "2", "invented")];
    assert_eq!(devices.report(guest, &again).await.ok()["accepted"], 1);
    wait_refused(2).await;
    assert_eq!(shown(&shared).unknown, 1);

    // In a list without customers, the customer that the store named applies.
    let receipts = json!([{ "receipt_id": PURCHASE }]);
    let list = [listed(owner, "3", &receipts)];
    assert_eq!(devices.report(owner, &list).await.ok()["accepted"], 1);
    wait_access(&devices, owner).await;

    // A customer named by a device is ignored.
    let receipts = json!([{ "receipt_id": PURCHASE, "app_user_id": "another customer" }]);
    let list = [listed(guest, "1", &receipts)];
    let left_out = devices.report(guest, &list).await.ok();
    assert_eq!(left_out["accepted"], 1, "{left_out}");
    assert_eq!(
        left_out["left_out"][0]["errors"][0]["field"], "receipts[0].app_user_id",
        "{left_out}"
    );
    wait_access(&devices, guest).await;

    let path = format!("/v1/platforms/{}/import", proof.id);
    let import = |purchase: Value| json!({ "purchases": [purchase] });
    let known = import(json!({ "receipt_id": PURCHASE }));
    assert_eq!(world.api.post(&path, &known).await.ok()["known"], 1);
    let named = import(json!({ "receipt_id": PURCHASE, "app_user_id": "another customer" }));
    let refused = world.api.post(&path, &named).await;
    assert_eq!(
        (refused.status, &refused.body["errors"][0]["field"]),
        (400, &json!("purchases[0].app_user_id"))
    );
    world.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_import_names_customers_of_its_platforms_store() {
    let shared = Shared::default();
    let world = start(Backend::Sqlite, &shared).await;
    let proof = Proof::new(&world).await;
    // The app's first platform belongs to another store.
    let path = format!("/v1/platforms/{}/import", proof.id);
    let named = json!({ "receipt_id": PURCHASE, "external_id": "anna" });
    let import = json!({ "purchases": [named] });
    let imported = world.api.post(&path, &import).await.ok();
    assert_eq!(
        (&imported["accepted"], &imported["unnamed"]),
        (&json!(1), &json!([]))
    );
    proof.wait_state("active").await;
    let path = format!("/v1/apps/{}/customers?external_id=anna", world.app_id);
    let anna = world.api.get(&path).await.ok();
    assert_eq!(anna["app_user_ids"], json!([CUSTOMER]));
    world.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_import_without_credentials_names_the_flags_of_the_store() {
    let world = start(Backend::Sqlite, &Shared::default()).await;
    let create = format!(
        "platform create --store proof --app {} --name own --package-name {PACKAGE} --no-older-process --json",
        world.app_id
    );
    let created = call(&world, &create).expect("a platform");
    let file = world.installation.folder().join("purchases.csv");
    std::fs::write(file, format!("receipt_id\n{PURCHASE}\n")).expect("a file");
    let id = text(&created, "id");
    let import = format!("app import purchases.csv --platform {id}");
    let refused = call(&world, &import).expect_err("an error");
    let expected = format!("`settle platform update {id} --store-setting key=@FILE`");
    assert!(refused.contains(&expected), "{refused}");
    world.finish().await;
}

/// The platform after a command about it, or the error of the command.
fn call(world: &World, line: &str) -> Result<Value, String> {
    let arguments: Vec<&str> = line.split(' ').collect();
    let variables = variables();
    let variables: Vec<Variable<'_>> = variables
        .iter()
        .map(|(name, value)| (name.as_str(), value.as_str()))
        .collect();
    let output = world.installation.call_with(&arguments, &variables);
    let text = String::from_utf8_lossy(&output.stdout);
    if output.status.success() {
        Ok(serde_json::from_str(&text).expect("a platform"))
    } else {
        Err(String::from_utf8_lossy(&output.stderr).into_owned())
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn own_fields_of_a_store_are_typed_by_their_names() {
    let world = start(Backend::Sqlite, &Shared::default()).await;
    std::fs::write(world.installation.folder().join("secret-key.txt"), SECRET).expect("a file");
    let create = format!(
        "platform create --store proof --app {} --name own --package-name {PACKAGE} --no-older-process --json \
         --store-setting region=eu --store-setting key=@secret-key.txt",
        world.app_id
    );
    let created = call(&world, &create).expect("a platform");
    assert_eq!(created["store_settings"], json!({ "region": "eu" }));
    assert!(created["store_credentials_at"].is_string(), "{created}");
    assert!(!created.to_string().contains(SECRET), "{created}");

    let update = format!("platform update {} --json", text(&created, "id"));
    let moved = call(&world, &format!("{update} --store-setting region=us")).expect("a platform");
    assert_eq!(moved["store_settings"], json!({ "region": "us" }));
    let at = &created["store_credentials_at"];
    assert_eq!(&moved["store_credentials_at"], at, "the key stays");
    for (pair, expected) in [
        ("colour=red", "--store-setting region: expected a region"),
        ("region", "expected NAME=VALUE"),
        ("key=@password.txt", "cannot read --store-setting key"),
    ] {
        let refused = call(&world, &format!("{update} --store-setting {pair}"));
        let refused = refused.expect_err("an error");
        assert!(refused.contains(expected), "{pair}: {refused}");
    }
    let removed = call(&world, &format!("{update} --store-setting region=")).expect("a platform");
    assert!(removed["store_settings"].is_null(), "{removed}");
    world.finish().await;
}
