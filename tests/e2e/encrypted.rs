//! With a key of payloads nothing of a purchase, a receipt or a customer is readable in Temporal, the road works
//! whole, and the Temporal command line reads it all again through `settle codec`.

use super::secrets::{Place, absent, files, present};
use activities::engine::Codec;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use reqwest::Method;
use serde_json::{Value, json};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;
use system_tests::http::{self, Answer};
use system_tests::process::{Backend, Process};
use system_tests::receiver::Reply;
use system_tests::rvs::{self, Receipt};
use system_tests::sns::Rtn;
use system_tests::temporal::Memory;
use system_tests::world::{SOON, Setting, World};
use system_tests::{documents, ports, wait};
use temporalio_client::WorkflowHistory;
use temporalio_common::protos::temporal::api::common::v1::WorkflowExecution;
use temporalio_sdk::workflow_replayer::{WorkflowReplayer, WorkflowReplayerOptions};
use workflows::{Destination, Purchase, Sweep};

const CUSTOMER: &str = "amzn1.account.CUSTOMER5R9QZ";
const RECEIPT: &str = "receipt-4e1b7f";
const UI: &str = "http://localhost:8233";
/// Maximum number of payloads that one settling encrypts, with its deliveries: with failures, of one destination.
const PAYLOADS: usize = 30;
const OLD: u8 = 0x21;
const NEW: u8 = 0x22;

/// A key that is 32 equal bytes, in hex.
fn key(byte: u8) -> String {
    format!("{byte:02x}").repeat(32)
}

/// The histories of all runs, with payloads as Temporal stores them.
async fn histories(world: &World) -> Vec<(WorkflowExecution, Vec<u8>)> {
    let mut all = Vec::new();
    for info in world.temporal.list("WorkflowType IN ('purchase', 'sweep', 'destination')").await {
        let run = info.execution.expect("a run");
        let json = world.temporal.run_history_json(&run).await;
        all.push((run, json));
    }
    assert!(all.len() >= 2, "{} runs are too few", all.len());
    all
}

/// The stored bytes of a history: each text, and what it is in base64.
fn bytes(json: &Value, found: &mut Vec<u8>) {
    match json {
        Value::String(text) => {
            found.extend(text.bytes().chain(*b" "));
            found.extend(STANDARD.decode(text).unwrap_or_default());
        }
        Value::Array(items) => items.iter().for_each(|item| bytes(item, found)),
        Value::Object(fields) => fields.values().for_each(|field| bytes(field, found)),
        Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
}

fn places(histories: &[(WorkflowExecution, Vec<u8>)]) -> Vec<Place> {
    let place = |(run, json): &(WorkflowExecution, Vec<u8>)| {
        let mut found = Vec::new();
        bytes(&serde_json::from_slice(json).expect("a history as JSON"), &mut found);
        (format!("the history of {}", run.workflow_id), found)
    };
    histories.iter().map(place).collect()
}

/// The run of the purchase.
fn purchase_of<'a>(world: &World, histories: &'a [(WorkflowExecution, Vec<u8>)]) -> &'a (WorkflowExecution, Vec<u8>) {
    histories.iter().find(|(run, _)| run.workflow_id == world.workflow(RECEIPT)).expect("its run")
}

/// Checks that a purchase with failures takes as few nonces as the page about turning the key says.
fn check_cost(world: &World, history: &[u8]) {
    let encoded = STANDARD.encode("binary/encrypted").into_bytes();
    let payloads = history.windows(encoded.len()).filter(|part| *part == encoded).count();
    println!("{payloads} payloads of {}", world.workflow(RECEIPT));
    assert!((5..=PAYLOADS).contains(&payloads), "{payloads} payloads");
}

async fn replays(history: &[u8], codec: &Codec) -> Result<(), String> {
    let mut options = WorkflowReplayerOptions::new()
        .register_workflow::<Purchase>()
        .and_then(|options| options.register_workflow::<Destination>())
        .and_then(|options| options.register_workflow::<Sweep>())
        .expect("our workflows")
        .build();
    options.data_converter = codec.converter();
    let history = WorkflowHistory::from_json(history).expect("a history of the SDK");
    let replayer = WorkflowReplayer::new(options).expect("a replayer");
    replayer.replay_workflow(history).await.map(drop).map_err(|error| error.to_string())
}

/// One purchase with a failure of the store and one of the destination on the way.
async fn go_the_road(world: &mut World, receipt_id: &str, revision: i64) {
    let rtn = |kind: &str| Rtn { app_user_id: CUSTOMER.to_owned(), ..Rtn::new(kind, receipt_id) };
    world
        .rvs()
        .know(receipt_id, Receipt { app_user_id: CUSTOMER.to_owned(), ..Receipt::subscription(api::clock::now()) });
    world.rvs().answer_next(1, &rvs::Reply::Status(500));
    world.receiver.answer_next(2, &Reply::Status(500));
    let message = world.sns.notification(&rtn("SUBSCRIPTION_PURCHASED"));
    world.post_until_accepted(&message).await;
    world.wait_outcome(&message.id).await;
    world.wait_acked(receipt_id, revision).await;
    let workflow = world.workflow(receipt_id);
    world.temporal.signal(&workflow, "hold", &json!({ "by": "a-plain-name", "reason": "a-plain-reason" })).await.ok();
}

/// A world whose payloads are encrypted with these keys, the newest first.
async fn started(backend: Backend, keys: &str, rvs: bool) -> World {
    let variables = vec![("SETTLE_ENGINE_KEY".to_owned(), keys.to_owned())];
    let events = vec!["*".to_owned()];
    let setting =
        Setting { backend, memory: Memory::File, window_seconds: 1, events, rvs, variables, ..Setting::default() };
    World::start(setting).await
}

/// A running `settle codec` with its URL.
async fn codec_server(world: &World, keys: &str) -> (Process, String) {
    let address = format!("127.0.0.1:{}", ports::free());
    let variables = [("SETTLE_ENGINE_KEY", keys)];
    let process = world.installation.start(&["codec", "--listen", &address, "--ui", UI], &variables);
    let url = format!("http://{address}");
    wait::until(SOON, "the codec server", async || post(&url, "decode", &[]).await.map(drop)).await;
    (process, url)
}

async fn post(url: &str, path: &str, headers: &[(&str, String)]) -> Result<Answer, String> {
    post_payloads(url, path, headers, &json!([])).await
}

async fn post_payloads(url: &str, path: &str, headers: &[(&str, String)], payloads: &Value) -> Result<Answer, String> {
    let headers: Vec<_> = headers.iter().cloned().chain([("content-type", "application/json".to_owned())]).collect();
    let body = json!({ "payloads": payloads }).to_string().into_bytes();
    http::send_raw(Method::POST, &format!("{url}/{path}"), &headers, body).await
}

/// Runs the one documented line about a purchase that contains `part`, and returns its output.
async fn run_documented(world: &World, replaced: &[(&str, &String)], part: &str) -> Vec<u8> {
    let is_wanted = |line: &String| line.contains("COLLAPSE_KEY") && line.contains(part);
    let lines: Vec<String> = documents::operators_lines().into_iter().filter(is_wanted).collect();
    let [line] = lines.as_slice() else { panic!("not one documented line with {part:?}: {lines:?}") };
    let line = replaced.iter().fold(line.clone(), |line, (name, value)| line.replace(name, value));
    world.temporal.run_line(&line).await.stdout
}

/// A key of the API with this role, of one app or of all.
async fn api_key(world: &World, role: &str, app: Option<&str>) -> String {
    static NUMBER: AtomicU32 = AtomicU32::new(0);
    let name = format!("key {}", NUMBER.fetch_add(1, Ordering::Relaxed));
    let created = world.api.post("/v1/keys", &json!({ "name": name, "role": role, "app_id": app })).await;
    assert_eq!(created.status, 201, "{}", created.body);
    created.body["key"].as_str().expect("a key").to_owned()
}

async fn nothing_is_readable_without_the_codec(backend: Backend) {
    let mut world = started(backend, &key(OLD), true).await;
    go_the_road(&mut world, RECEIPT, 1).await;
    let histories = histories(&world).await;
    let stored = places(&histories);
    let own = [
        ("the customer", CUSTOMER.to_owned()),
        ("the receipt", RECEIPT.to_owned()),
        ("a signal", "\"through\"".to_owned()),
        ("a summary", "one purchase".to_owned()),
        ("a failure", "answered 500".to_owned()),
    ];
    present("binary/encrypted", &stored);
    present("Encoded failure", &stored);
    absent(&own, &stored);
    let file = files(world.temporal.file().parent().expect("its folder"), "");
    present(&world.key(RECEIPT).to_string(), &file);
    absent(&own[..3], &file);
    let itself = [("SETTLE_ENGINE_KEY", key(OLD))];
    let logs = files(world.installation.folder(), ".log");
    [&stored, &file, &logs].into_iter().for_each(|places| absent(&itself, places));
    check_cost(&world, &purchase_of(&world, &histories).1);

    let codec = Codec::new([[OLD; 32]]);
    for (run, history) in &histories {
        replays(history, &codec).await.unwrap_or_else(|error| panic!("{}: {error}", run.workflow_id));
    }
    let plain = Codec::default();
    let purchase = purchase_of(&world, &histories);
    let missing = replays(&purchase.1, &plain).await.expect_err("no key");
    assert!(missing.contains(&storage::key_id(&[OLD; 32])), "the error names the key: {missing}");

    let (_server, url) = codec_server(&world, &key(OLD)).await;
    let support = api_key(&world, "support", None).await;
    let own_key = world.key(RECEIPT).to_string();
    let replaced = [("COLLAPSE_KEY", &own_key), ("http://127.0.0.1:8084", &url), ("API_KEY", &support)];
    let shown = run_documented(&world, &replaced, "workflow show").await;
    let shown = places(&[(purchase.0.clone(), shown)]);
    for (_, readable) in &own[2..] {
        present(readable, &shown);
    }
    let encrypted = ("an encrypted payload", "binary/encrypted".to_owned());
    absent(&[encrypted], &shown);
    let status = world.api.get(&format!("/v1/purchases/{}", world.key(RECEIPT))).await;
    assert_eq!(status.status, 200, "a query is read: {}", status.body);
    world.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_readable_without_the_codec_on_sqlite() {
    nothing_is_readable_without_the_codec(Backend::Sqlite).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_readable_without_the_codec_on_postgres() {
    nothing_is_readable_without_the_codec(Backend::Postgres).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn runs_go_on_when_encryption_begins_and_its_key_is_turned() {
    let mut world = started(Backend::Sqlite, "", false).await;
    world.send("SUBSCRIPTION_PURCHASED", "plain").await;
    world.wait_acked("plain", 1).await;
    let (old, both) = (key(OLD), format!("{},{}", key(NEW), key(OLD)));
    for (keys, receipt, revision) in [(&old, "old", 2), (&both, "new", 3)] {
        world.start_with(&[("SETTLE_ENGINE_KEY", keys)]).await;
        world.send("SUBSCRIPTION_RENEWED", "plain").await;
        world.wait_acked("plain", revision).await;
        world.send("SUBSCRIPTION_PURCHASED", receipt).await;
        world.wait_acked(receipt, 1).await;
    }
    let codec = Codec::new([[NEW; 32], [OLD; 32]]);
    for (run, history) in histories(&world).await {
        replays(&history, &codec).await.unwrap_or_else(|error| panic!("{}: {error}", run.workflow_id));
    }
    world.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_codec_server_answers_support_and_pages_of_the_ui_alone() {
    let world = started(Backend::Sqlite, &key(OLD), false).await;
    let (_server, url) = codec_server(&world, &key(OLD)).await;
    let bearer = |key: &str| vec![("authorization", format!("Bearer {key}"))];
    let app = world.app_id.clone();
    for (role, app, status) in [
        ("metrics", None, 403),
        ("read", None, 403),
        ("support", Some(app.as_str()), 403),
        ("support", None, 200),
        ("operator", None, 200),
        ("admin", None, 200),
    ] {
        let key = api_key(&world, role, app).await;
        for path in ["encode", "decode"] {
            let answer = post(&url, path, &bearer(&key)).await.expect("an answer");
            assert_eq!(answer.status, status, "{role} of {app:?}: {}", answer.body);
        }
    }
    let strangers = [(vec![], 401), (bearer("sk_nobody"), 401)];
    for (headers, status) in strangers {
        assert_eq!(post(&url, "decode", &headers).await.expect("an answer").status, status);
    }
    let support = bearer(&api_key(&world, "support", None).await);
    let payload =
        json!([{ "metadata": { "encoding": STANDARD.encode("json/plain") }, "data": STANDARD.encode("\"hello\"") }]);
    let encoded = post_payloads(&url, "encode", &support, &payload).await.expect("an answer").body["payloads"].clone();
    assert_eq!(encoded[0]["metadata"]["encoding"], STANDARD.encode("binary/encrypted"), "{encoded}");
    assert_ne!(encoded[0]["data"], payload[0]["data"]);
    let decoded = post_payloads(&url, "decode", &support, &encoded).await.expect("an answer");
    assert_eq!(decoded.body["payloads"], payload);
    let wrong = post_payloads(&url, "decode", &support, &json!([{ "data": "no base64!" }])).await.expect("an answer");
    assert!((400..500).contains(&wrong.status), "{wrong:?}");
    let foreign = Codec::new([[NEW; 32]]).encrypt(Default::default()).expect("encrypted");
    let metadata = foreign.metadata.iter().map(|(name, value)| (name.clone(), json!(STANDARD.encode(value))));
    let metadata: serde_json::Map<String, Value> = metadata.collect();
    let foreign = json!([{ "metadata": metadata, "data": STANDARD.encode(&foreign.data) }]);
    let missing = post_payloads(&url, "decode", &support, &foreign).await.expect("an answer");
    let named = missing.body["message"].as_str().is_some_and(|message| message.contains(&storage::key_id(&[NEW; 32])));
    assert!(missing.status == 400 && named, "{missing:?}");
    preflight(&url).await;
    world.finish().await;
}

/// What a browser requests before it lets a page call the server.
async fn preflight(url: &str) {
    for (origin, allowed) in [(UI, Some(UI)), ("http://evil.example", None)] {
        #[expect(clippy::disallowed_methods, reason = "the answer's headers are looked at")]
        let client = reqwest::Client::builder().no_proxy().timeout(Duration::from_secs(10));
        let request = client.build().expect("a client").request(Method::OPTIONS, format!("{url}/decode"));
        let request = request.header("origin", origin).header("access-control-request-method", "POST");
        let request = request.header("access-control-request-headers", "authorization,content-type,x-namespace");
        #[expect(clippy::disallowed_methods, reason = "the answer's headers are looked at")]
        let answer = request.send().await.expect("an answer");
        let header =
            |name: &str| answer.headers().get(name).and_then(|value| value.to_str().ok().map(str::to_lowercase));
        assert_eq!(header("access-control-allow-origin").as_deref(), allowed, "{origin}");
        let headers = header("access-control-allow-headers").unwrap_or_default();
        for name in ["authorization", "content-type", "x-namespace"] {
            assert!(headers.contains(name), "{name} in {headers}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_codec_server_without_a_key_ends_with_what_to_set() {
    let world = started(Backend::Sqlite, "", false).await;
    let output = world.installation.call(&["codec"]);
    let line = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.code() == Some(1) && line.contains("SETTLE_ENGINE_KEY"), "{line}");
    world.finish().await;
}
