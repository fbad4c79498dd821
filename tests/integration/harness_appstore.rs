//! The fake of the App Store answers as Apple does: tokens, errors, pages, and several purchases of one customer.

use axum::http::Method;
use domain::Timestamp;
use domain::time::{DAY, HOUR};
use protocols::stores::apple::chain::Chains;
use protocols::stores::apple::jws;
use serde_json::{Value, json};
use std::time::Duration;
use system_tests::appstore::access::{self, Key};
use system_tests::appstore::{AppStore, Bought, Call, Fault, Notice, Resource, millis};
use system_tests::http::{Answer, send_raw};

const GOLD: &str = "gold_monthly";
const STATUSES: &str = "inApps/v1/subscriptions";
const NOTIFICATIONS: &str = "inApps/v1/notifications/history";

async fn send_as(
    fake: &AppStore,
    bearer: String,
    path: &str,
    body: &Value,
) -> Result<Answer, String> {
    let url = format!("{}/{path}", fake.url());
    let headers = [("authorization", bearer)];
    if body.is_null() {
        return send_raw(Method::GET, &url, &headers, Vec::new()).await;
    }
    send_raw(Method::POST, &url, &headers, body.to_string().into_bytes()).await
}

async fn get(fake: &AppStore, path: &str) -> Answer {
    let answer = send_as(fake, access::bearer(fake.now()), path, &Value::Null).await;
    answer.expect("an answer")
}

async fn post(fake: &AppStore, path: &str, body: &Value) -> Answer {
    let answer = send_as(fake, access::bearer(fake.now()), path, body).await;
    answer.expect("an answer")
}

/// Returns the members of a text that the fake signed.
fn signed(fake: &AppStore, text: &Value) -> Value {
    let chains = Chains::under(&[fake.chain().root().to_vec()]);
    let text = text.as_str().expect("a signed text");
    match jws::verify(&chains, text, fake.now()) {
        Ok(verified) => Value::Object(verified.members),
        Err(refusal) => panic!("{refusal:?}: {text}"),
    }
}

/// Returns a subscription with this number of periods, the last of which runs now.
fn renewed(now: Timestamp, periods: u32) -> Bought {
    let begun_at = now.minus(DAY * 30 * (periods - 1)).minus(HOUR);
    let mut bought = Bought::subscription(GOLD, begun_at);
    for _ in 1..periods {
        bought.renew(now);
    }
    bought
}

/// Returns the dates of a request for all notifications.
fn all_time(fake: &AppStore) -> Value {
    let now = fake.now();
    json!({ "startDate": millis(now.minus(DAY * 170)), "endDate": millis(now.plus(HOUR)) })
}

#[tokio::test]
async fn an_answer_has_all_purchases_of_one_customer() {
    let fake = AppStore::start().await;
    let gold = Bought::subscription(GOLD, fake.now());
    let news = Bought::subscription("news", fake.now()).beside(&gold);
    let news = news.in_group("21000002");
    let other = Bought::subscription(GOLD, fake.now());
    let tester = Bought::subscription(GOLD, fake.now())
        .beside(&gold)
        .in_sandbox();
    for bought in [&gold, &news, &other, &tester] {
        fake.show(bought);
    }
    let shown = get(&fake, &format!("{STATUSES}/{}", gold.id)).await.ok();
    let groups = shown["data"].as_array().expect("groups");
    let last = groups.iter().map(|group| &group["lastTransactions"][0]);
    let ids: Vec<&Value> = last
        .clone()
        .map(|one| &one["originalTransactionId"])
        .collect();
    assert_eq!(ids, [&json!(gold.id), &json!(news.id)]);
    for one in last {
        let transaction = signed(&fake, &one["signedTransactionInfo"]);
        let renewal = signed(&fake, &one["signedRenewalInfo"]);
        assert_eq!(one["status"], 1);
        assert_eq!(transaction["price"], 4990);
        assert_eq!(
            transaction["originalTransactionId"],
            renewal["originalTransactionId"]
        );
    }
    let sandbox = get(&fake, &format!("sandbox/{STATUSES}/{}", tester.id)).await;
    assert_eq!(sandbox.ok()["environment"], "Sandbox");
    for (path, code) in [
        (format!("{STATUSES}/{}", tester.id), 4_040_010),
        (format!("sandbox/{STATUSES}/{}", gold.id), 4_040_010),
        (format!("{STATUSES}/no-id"), 4_000_006),
    ] {
        let answer = get(&fake, &path).await;
        assert_eq!(answer.body["errorCode"], code, "{path}");
        assert_eq!(u32::from(answer.status), code / 10_000);
    }
    assert_eq!(fake.count(Resource::Statuses), 5);
    fake.verdict().expect("what Apple understands");
}

#[tokio::test]
async fn a_history_has_pages_and_filters() {
    let fake = AppStore::start().await;
    let bought = renewed(fake.now(), 43);
    fake.show(&bought);
    fake.set_pages(20, 1);
    let ids = async |filter: &str| {
        let mut ids = Vec::new();
        let mut revision = String::new();
        loop {
            let path = format!("inApps/v2/history/{}?{filter}{revision}", bought.id);
            let page = get(&fake, &path).await.ok();
            for one in page["signedTransactions"].as_array().expect("a page") {
                let id = signed(&fake, one)["transactionId"].clone();
                ids.push(id.as_str().expect("an id").to_owned());
            }
            if page["hasMore"] == false {
                return ids;
            }
            let next = page["revision"].as_str().expect("a revision");
            revision = format!("&revision={next}");
        }
    };
    let mut all = ids("productType=AUTO_RENEWABLE").await;
    assert_eq!(all.len(), 45, "each further page repeats one");
    all.dedup();
    let own = bought.transactions.iter().map(|one| one.id.clone());
    assert_eq!(all, own.collect::<Vec<_>>());
    let since = bought.transactions[40].bought_at;
    let newest = ids(&format!("startDate={}&sort=DESCENDING", millis(since))).await;
    assert_eq!(
        newest,
        [42, 41, 40].map(|at| bought.transactions[at].id.clone())
    );
    assert!(ids("productType=CONSUMABLE").await.is_empty());
    assert!(ids("revoked=true").await.is_empty());
    fake.verdict().expect("what Apple understands");
}

#[tokio::test]
async fn the_history_of_notifications_has_those_of_an_environment() {
    let fake = AppStore::start().await;
    let bought = renewed(fake.now(), 30);
    for days in 0..25 {
        let notice = Notice::of("DID_RENEW", &bought, fake.now().minus(DAY * days));
        let message = fake.lose(&notice);
        if days % 2 == 0 {
            fake.record(&message, "SUCCESS");
        }
    }
    let tester = Bought::subscription(GOLD, fake.now()).in_sandbox();
    fake.lose(&Notice::of("SUBSCRIBED/INITIAL_BUY", &tester, fake.now()));
    let mut body = all_time(&fake);
    let first = post(&fake, NOTIFICATIONS, &body).await.ok();
    let listed = first["notificationHistory"].as_array().expect("a page");
    assert_eq!((listed.len(), &first["hasMore"]), (20, &json!(true)));
    let newest = signed(&fake, &listed[0]["signedPayload"]);
    assert_eq!(newest["notificationType"], "DID_RENEW");
    assert_eq!(
        listed[0]["sendAttempts"][0]["sendAttemptResult"],
        "NO_RESPONSE"
    );
    let token = first["paginationToken"].as_str().expect("a token");
    let path = format!("{NOTIFICATIONS}?paginationToken={token}");
    let second = post(&fake, &path, &body).await.ok();
    assert_eq!(
        second["notificationHistory"].as_array().map(Vec::len),
        Some(5)
    );
    assert_eq!(second["hasMore"], false);

    body["onlyFailures"] = json!(true);
    let failed = post(&fake, NOTIFICATIONS, &body).await.ok();
    assert_eq!(
        failed["notificationHistory"].as_array().map(Vec::len),
        Some(12)
    );
    let early = post(&fake, &format!("sandbox/{NOTIFICATIONS}"), &body).await;
    assert_eq!(early.body["errorCode"], 4_000_012);
    body["startDate"] = json!(millis(fake.now().minus(DAY)));
    let sandbox = post(&fake, &format!("sandbox/{NOTIFICATIONS}"), &body).await;
    let listed = sandbox.ok()["notificationHistory"].clone();
    let content = signed(&fake, &listed[0]["signedPayload"]);
    assert_eq!(content["subtype"], "INITIAL_BUY");
    fake.verdict().expect("what Apple understands");
}

#[tokio::test]
async fn a_test_notification_is_shown_by_its_token() {
    let fake = AppStore::start().await;
    let path = "inApps/v1/notifications/test";
    let begun = post(&fake, path, &json!({})).await.ok();
    let token = begun["testNotificationToken"].as_str().expect("a token");
    fake.record_test(token, "SUCCESS");
    let shown = get(&fake, &format!("{path}/{token}")).await.ok();
    let content = signed(&fake, &shown["signedPayload"]);
    assert_eq!(content["notificationType"], "TEST");
    assert_eq!(shown["sendAttempts"][0]["sendAttemptResult"], "SUCCESS");
    let unknown = get(&fake, &format!("{path}/unknown")).await;
    assert_eq!(unknown.body["errorCode"], 4_040_008);
}

#[tokio::test]
async fn a_wrong_token_is_answered_without_a_body() {
    let fake = AppStore::start().await;
    let bought = Bought::subscription(GOLD, fake.now());
    fake.show(&bought);
    let path = format!("{STATUSES}/{}", bought.id);
    let now = fake.now();
    let wrong = [
        Key::generate().bearer(now),
        access::bearer(now.minus(HOUR)),
        access::bearer(now.plus(HOUR)),
        "Bearer nothing".to_owned(),
    ];
    for bearer in wrong {
        let answer = send_as(&fake, bearer, &path, &Value::Null).await;
        let answer = answer.expect("an answer");
        assert_eq!((answer.status, &answer.body), (401, &json!("")));
    }
    fake.verdict().expect_err("wrong tokens");
    fake.let_tokens_be_wrong();
    fake.verdict().expect("wrong tokens are allowed");
    get(&fake, "inApps/v1/unknown").await;
    fake.verdict().expect_err("a path that Apple does not have");
}

#[tokio::test]
async fn it_fails_as_a_test_scripts() {
    let fake = AppStore::start().await;
    let bought = Bought::subscription(GOLD, fake.now());
    fake.show(&bought);
    let path = format!("{STATUSES}/{}", bought.id);
    let faults = [
        Fault::Code(5_000_001),
        Fault::Empty(401),
        Fault::Throttled(fake.now().plus(HOUR)),
        Fault::Body(200, "{".to_owned()),
        Fault::Late(Duration::from_millis(1)),
    ];
    fake.answer_next(Resource::Statuses, faults);
    for status in [500, 401, 429, 200, 200, 200] {
        assert_eq!(get(&fake, &path).await.status, status);
    }
    fake.answer(&Resource::ALL, &Fault::Cut);
    let cut = send_as(&fake, access::bearer(fake.now()), &path, &Value::Null).await;
    cut.expect_err("half a body");
    fake.answer_truly();
    assert_eq!(get(&fake, &path).await.status, 200);
    let is_of_purchase = |call: &Call| call.id == bought.id;
    let exchanges = fake.exchanges();
    assert!(exchanges.iter().all(|one| is_of_purchase(&one.call)));
    assert_eq!(fake.about(&bought.id).len(), 8);
}
