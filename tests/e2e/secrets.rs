//! No secret and no user's identifier is in a process's log, a workflow's history, Temporal's file, `/metrics` or a
//! refusal, and no secret is in plain text in the database.
//!
//! Two values are in plain text in the database on purpose: `app_user_id` and the external id, by which purchases are
//! looked up. Those of an erased customer remain in the database's log until it is written back: `erased` checks that.

use super::seeds::{Seeds, cover_each_column};
use reqwest::Method;
use serde_json::json;
use std::path::Path;
use system_tests::collector::Collector;
use system_tests::decoded;
use system_tests::http::{Api, post_as_sns};
use system_tests::receiver::Reply;
use system_tests::rvs::{self, Receipt};
use system_tests::sns::{Message, Rtn, TOPIC};
use system_tests::temporal::Memory;
use system_tests::wait;
use system_tests::world::{SOON, Setting, World};

const CUSTOMER: &str = "amzn1.account.CUSTOMER7K2PAXQ9";
const SHARED_SECRET: &str = "shared-secret-4f6d1c0b9e";
const EXTERNAL: &str = "customer-51d0c7a98e";
const TOKEN: &str = "subscribe-token-77b1e0a3c5d2";
const STRANGER: &str = "arn:aws:sns:us-east-1:999999999999:stranger";
const RECEIPT: &str = "secrets";

/// A description of a secret, and the secret itself, which must not be found.
pub type Secret = (&'static str, String);

pub use system_tests::decoded::Place;

#[tokio::test(flavor = "multi_thread")]
async fn no_secret_leaks() {
    let collector = Collector::start().await;
    let mut seeds = Seeds::start().await;
    let mut variables = collector.variables();
    variables.extend(seeds.variables());
    variables.push(("SETTLE_LOG".to_owned(), "debug".to_owned()));
    let setting = Setting {
        memory: Memory::File,
        window_seconds: 2,
        events: vec!["*".to_owned()],
        rvs: true,
        variables,
        ..Setting::default()
    };
    let mut world = World::start(setting).await;
    let patch = json!({ "shared_secret": SHARED_SECRET });
    let patched = world
        .api
        .call(
            Method::PATCH,
            &format!("/v1/platforms/{}", world.platform_id),
            &patch,
        )
        .await;
    assert_eq!(patched.status, 200, "{}", patched.body);
    world.rvs().trust(SHARED_SECRET);
    let named = json!({ "external_id": EXTERNAL, "app_user_id": CUSTOMER });
    let named = world
        .api
        .call(
            Method::PUT,
            &format!("/v1/apps/{}/customers", world.app_id),
            &named,
        )
        .await;
    assert_eq!(named.status, 200, "{}", named.body);
    seeds.sow(&mut world).await;
    let shown = seeds.show_secret(&world).await;
    let mut refusals = go_through_failures(&mut world).await;
    refusals.extend(request_wrongly(&world).await);
    refusals.extend(shown);
    let mut secrets = secrets(&world);
    secrets.extend(seeds.forget_somebody(&mut world).await);
    cover_each_column(&world, &secrets);
    let key = world.key(RECEIPT).to_string();

    absent(&secrets, &refusals);
    absent(
        &secrets,
        &[("/metrics".to_owned(), text(&world, "/metrics").await)],
    );
    absent(
        &secrets,
        &[("/readyz".to_owned(), text(&world, "/readyz").await)],
    );
    let spans = spans(&collector).await;
    present("RunActivity:verify", &spans);
    absent(&secrets, &spans);
    let histories = decoded::histories(&world).await;
    present(&key, &histories);
    absent(&secrets, &histories);
    let temporal = files(world.temporal.file().parent().expect("its folder"), "");
    present(&key, &temporal);
    absent(&secrets, &temporal);
    let logs = files(world.installation.folder(), ".log");
    present("attempted a delivery", &logs);
    absent(&secrets, &logs);
    let database: Vec<_> = files(world.installation.folder(), "")
        .into_iter()
        .filter(|(name, _)| name.contains("settle.sqlite"))
        .collect();
    present(CUSTOMER, &database);
    let in_clear = [
        "the customer",
        "the customer's own id",
        "an erased customer",
        "an erased customer's own id",
    ];
    let secrets: Vec<_> = secrets
        .into_iter()
        .filter(|(whose, _)| !in_clear.contains(whose))
        .collect();
    absent(&secrets, &database);
    world.finish().await;
}

/// Waits for the spans of the test's attempts, and returns everything that the collector received.
async fn spans(collector: &Collector) -> Vec<Place> {
    wait::until(SOON, "the spans of attempts", async || {
        let attempts = collector
            .spans()
            .iter()
            .filter(|span| span.name == "RunActivity:deliver")
            .count();
        if attempts >= 2 {
            Ok(())
        } else {
            Err(format!("{attempts} attempts"))
        }
    })
    .await;
    collector
        .bodies()
        .into_iter()
        .map(|body| ("an export of spans".to_owned(), body))
        .collect()
}

/// Returns all secrets and user identifiers of the test.
fn secrets(world: &World) -> Vec<Secret> {
    let signing = world.receiver.secret();
    let ingress_key = world
        .notification_url
        .rsplit('/')
        .next()
        .unwrap_or_default()
        .to_owned();
    assert!(
        ingress_key.len() >= 16 && signing.len() > 20,
        "{ingress_key} and {signing} are not what they should be"
    );
    vec![
        ("the customer", CUSTOMER.to_owned()),
        ("the customer's own id", EXTERNAL.to_owned()),
        ("the platform's shared secret", SHARED_SECRET.to_owned()),
        (
            "the destination's secret",
            signing.trim_start_matches("whsec_").to_owned(),
        ),
        ("the ingress key", ingress_key),
        ("the token of a SubscribeURL", TOKEN.to_owned()),
        ("the admin token", world.installation.token.clone()),
    ]
}

/// Returns whether the secret with this description is searched for. Short ones are left out, since they would be found
/// by chance.
pub fn is_sought(secrets: &[Secret], name: &str) -> bool {
    secrets
        .iter()
        .any(|(whose, secret)| *whose == name && secret.len() >= 10)
}

fn rtn(kind: &str) -> Rtn {
    Rtn {
        app_user_id: CUSTOMER.to_owned(),
        ..Rtn::new(kind, RECEIPT)
    }
}

/// Settles and delivers a purchase with every kind of failure on the way, and returns the refusals.
async fn go_through_failures(world: &mut World) -> Vec<Place> {
    let receipt = Receipt {
        app_user_id: CUSTOMER.to_owned(),
        ..Receipt::subscription(api::clock::now())
    };
    world.rvs().know(RECEIPT, receipt);
    world.rvs().answer_next(1, &rvs::Reply::Status(500));
    world.rvs().answer_next(
        1,
        &rvs::Reply::Body(format!("about {CUSTOMER}, and no JSON")),
    );
    world.receiver.answer_next(1, &Reply::Status(500));
    let bought = world.sns.notification(&rtn("SUBSCRIPTION_PURCHASED"));
    world.post_until_accepted(&bought).await;
    let mut refusals = post_wrongly(world, &bought).await;
    world.wait_outcome(&bought.id).await;
    let workflow = world.workflow(RECEIPT);
    wait::until(SOON, "an attempt that failed", async || {
        let failed = world
            .temporal
            .pending_activities(&workflow)
            .await
            .into_iter()
            .any(|one| one.last_failure.is_some());
        if failed {
            Ok(())
        } else {
            Err("none".to_owned())
        }
    })
    .await;
    world
        .temporal
        .signal(&workflow, "hold", &json!({ "by": 5 }))
        .await
        .expect("a signal");
    world.wait_acked(RECEIPT, 1).await;
    world.receiver.refuse().await;
    world.temporal.kill9();
    let stopped = world
        .sns
        .notification(&rtn("SUBSCRIPTION_AUTO_RENEWAL_OFF"));
    world.post_until_accepted(&stopped).await;
    refusals.push(
        answer(
            "flush without Temporal",
            world,
            &format!("/v1/purchases/{}/flush", world.key(RECEIPT)),
        )
        .await,
    );
    world.temporal.restart().await;
    world.wait_outcome(&stopped.id).await;
    world.wait_back_off(RECEIPT).await;
    world.receiver.accept().await;
    world.resend(RECEIPT).await;
    world.wait_acked(RECEIPT, 2).await;
    refusals
}

/// Posts messages that SNS would not send, or that come from another topic, and returns the refusals.
async fn post_wrongly(world: &mut World, genuine: &Message) -> Vec<Place> {
    let unreadable = world
        .sns
        .message(TOPIC, &format!("about {CUSTOMER}, and no JSON"));
    let too_long = Rtn {
        app_user_id: format!("{CUSTOMER}{}", "x".repeat(2000)),
        ..rtn("SUBSCRIPTION_PURCHASED")
    };
    let foreign = Rtn {
        package_name: "com.example.other".to_owned(),
        ..rtn("SUBSCRIPTION_PURCHASED")
    };
    let [too_long, foreign] = [too_long, foreign].map(|rtn| world.sns.notification(&rtn.later(1)));
    for message in [&unreadable, &foreign] {
        world.post_until_accepted(message).await;
    }
    let url = world.notification_url.clone();
    let waiting = world
        .sns
        .message(STRANGER, &rtn("SUBSCRIPTION_PURCHASED").later(2).message());
    let bodies = [
        (
            "a stranger's topic",
            url.clone(),
            world.sns.subscription(STRANGER, TOKEN).body,
        ),
        ("a stranger's notification", url.clone(), waiting.body),
        (
            "a changed message",
            url.clone(),
            genuine.body.replace(CUSTOMER, &format!("{CUSTOMER}0")),
        ),
        (
            "a cut message",
            url.clone(),
            genuine.body.chars().take(genuine.body.len() / 2).collect(),
        ),
        ("too long an id", url.clone(), too_long.body),
        (
            "a wrong ingress key",
            format!("{url}0"),
            genuine.body.clone(),
        ),
    ];
    let mut refusals = Vec::new();
    for (what, url, body) in bodies {
        let answer = post_as_sns(&url, &body).await.expect("an answer");
        refusals.push((
            format!("the answer {} to {what}", answer.status),
            answer.body.to_string().into_bytes(),
        ));
    }
    refusals
}

async fn answer(what: &str, world: &World, path: &str) -> Place {
    let answer = world.api.post(path, &json!({ "reason": "a test" })).await;
    (
        format!("the answer {} to {what}", answer.status),
        answer.body.to_string().into_bytes(),
    )
}

/// Sends admin requests that contain secrets and are refused, and returns the refusals.
async fn request_wrongly(world: &World) -> Vec<Place> {
    let secret = world.receiver.secret();
    let destinations = format!("/v1/apps/{}/destinations", world.app_id);
    let platforms = format!("/v1/apps/{}/platforms", world.app_id);
    let answers = [
        (
            destinations.clone(),
            json!({ "kind": "webhook", "name": "x", "url": "no url", "secret": secret }),
        ),
        (
            destinations,
            json!({ "kind": secret, "name": "x", "url": "http://127.0.0.1:1/" }),
        ),
        (
            platforms.clone(),
            json!({ "store": "amazon", "name": "x", "shared_secret": [SHARED_SECRET] }),
        ),
        (
            platforms,
            json!({ "store": "amazon", "name": "x", "sharedsecret": SHARED_SECRET }),
        ),
    ];
    let mut refusals = Vec::new();
    for (path, body) in answers {
        let answer = world.api.post(&path, &body).await;
        assert!(
            answer.status >= 400,
            "{path} took {body}: {}",
            answer.status
        );
        // A refusal may repeat the value of `kind`, which the sender chose.
        if body["kind"] != secret.as_str() {
            refusals.push((
                format!("the answer {} to {path}", answer.status),
                answer.body.to_string().into_bytes(),
            ));
        }
    }
    let stranger = Api::new(
        &world.installation.url(),
        &format!("{}0", world.installation.token),
    );
    let answer = stranger.get("/v1/apps").await;
    assert_eq!(answer.status, 401, "a wrong token");
    refusals.push((
        "the answer to a wrong token".to_owned(),
        answer.body.to_string().into_bytes(),
    ));
    refusals
}

async fn text(world: &World, path: &str) -> Vec<u8> {
    world.api.get(path).await.ok().to_string().into_bytes()
}

/// Returns the files of a folder whose names end with `ending`.
pub fn files(folder: &Path, ending: &str) -> Vec<Place> {
    let entries = std::fs::read_dir(folder)
        .expect("a folder")
        .filter_map(Result::ok);
    let read = |entry: std::fs::DirEntry| {
        let name = entry.file_name().to_string_lossy().into_owned();
        let is_wanted = name.ends_with(ending) && entry.path().is_file();
        is_wanted.then(|| (name, std::fs::read(entry.path()).expect("a file")))
    };
    entries.filter_map(read).collect()
}

fn holds(bytes: &[u8], needle: &str) -> bool {
    bytes
        .windows(needle.len())
        .any(|part| part == needle.as_bytes())
}

/// Checks that the search finds a text that must be present.
pub fn present(needle: &str, places: &[Place]) {
    assert!(
        places.iter().any(|(_, bytes)| holds(bytes, needle)),
        "{needle} is not found: the search is blind"
    );
}

pub fn absent(secrets: &[Secret], places: &[Place]) {
    for (place, bytes) in places {
        for (whose, secret) in secrets {
            assert!(
                !holds(bytes, secret),
                "{whose} is in the clear in {place}:\n{}",
                around(bytes, secret)
            );
        }
    }
}

/// Returns the bytes around a secret.
fn around(bytes: &[u8], secret: &str) -> String {
    let at = bytes
        .windows(secret.len())
        .position(|part| part == secret.as_bytes())
        .unwrap_or(0);
    let part = bytes
        .get(at.saturating_sub(300)..bytes.len().min(at + 300))
        .unwrap_or_default();
    String::from_utf8_lossy(part).into_owned()
}
