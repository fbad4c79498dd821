//! The fake of Google Play answers as Google does, and its verdict names what Google would not understand.

use axum::http::Method;
use domain::time::DAY;
use protocols::stores::google::account::ServiceAccount;
use secrecy::ExposeSecret as _;
use serde_json::{Value, json};
use system_tests::http::{Answer, send_raw, text};
use system_tests::play::{Bought, Call, Fault, Play, Resource, Voided, access};

const API: &str = "androidpublisher/v3/applications/com.example.settle";
const TOKEN: &str = "token.AO-J1Oy-of-the-purchase-of-these-tests";
const GRANT: &str = "urn%3Aietf%3Aparams%3Aoauth%3Agrant-type%3Ajwt-bearer";
const AUDIENCE: &str = "https://oauth2.googleapis.com/token";
const SCOPE: &str = "https://www.googleapis.com/auth/androidpublisher";

/// A client with an access token.
struct Client {
    play: Play,
    bearer: String,
}

/// Requests an access token for this audience.
async fn exchange(play: &Play, audience: &str) -> Answer {
    let file = access::key_file().into();
    let account = ServiceAccount::parse(&file).expect("an account");
    let assertion = account.assertion(audience, SCOPE, play.now());
    let assertion = assertion.expect("an assertion");
    let body = format!("grant_type={GRANT}&assertion={}", assertion.expose_secret());
    let url = format!("{}/token", play.url());
    let answer = send_raw(Method::POST, &url, &[], body.into_bytes()).await;
    answer.expect("an answer")
}

impl Client {
    async fn start() -> Self {
        let play = Play::start().await;
        let issued = exchange(&play, AUDIENCE).await.ok();
        let bearer = format!("Bearer {}", text(&issued, "access_token"));
        Self { play, bearer }
    }

    async fn send(&self, method: Method, path: &str) -> Answer {
        let url = format!("{}/{API}/{path}", self.play.url());
        let headers = [("authorization", self.bearer.clone())];
        let answer = send_raw(method, &url, &headers, b"{}".to_vec()).await;
        answer.expect("an answer")
    }

    async fn get(&self, path: &str) -> Answer {
        self.send(Method::GET, path).await
    }

    async fn status(&self, path: &str) -> u16 {
        self.get(path).await.status
    }
}

fn subscription_path(token: &str) -> String {
    format!("purchases/subscriptionsv2/tokens/{token}")
}

#[tokio::test]
async fn google_plays_fake_knows_what_a_test_shows() {
    let client = Client::start().await;
    let now = client.play.now();
    let bought = Bought::trial(TOKEN, "gold:monthly", now, DAY * 7).of("customer");
    client.play.show(&bought);
    let shown = client.get(&subscription_path(TOKEN)).await.ok();
    assert_eq!(shown["subscriptionState"], "SUBSCRIPTION_STATE_ACTIVE");
    let item = &shown["lineItems"][0];
    assert_eq!(item["latestSuccessfulOrderId"], json!(bought.order_id(1)));
    assert_eq!(item["offerPhase"], json!({ "freeTrial": {} }));
    let products = format!("purchases/productsv2/tokens/{TOKEN}");
    assert_eq!(client.status(&products).await, 404, "the other kind");
    for (token, status) in [("short", 400), ("unknown-but-long-enough-to-be-one", 404)] {
        let answer = client.get(&subscription_path(token)).await;
        assert_eq!(answer.status, status, "{token}");
        assert_eq!(answer.body["error"]["code"], json!(status));
    }
    let order = client.get(&format!("orders/{}", bought.order_id(1))).await;
    let phase = &order.ok()["lineItems"][0]["subscriptionDetails"]["offerPhaseDetails"];
    assert_eq!(*phase, json!({ "freeTrialDetails": {} }));

    client.play.follow(move || now.plus(DAY * 70));
    assert_eq!(client.status(&subscription_path(TOKEN)).await, 200);
    let mut over = bought.clone();
    over.expire(now.plus(DAY * 7));
    client.play.show(&over);
    let gone = client.get(&subscription_path(TOKEN)).await;
    assert_eq!(gone.status, 410, "after 60 days");
    assert_eq!(client.play.verdict(), Ok(()));
}

#[tokio::test]
async fn every_state_of_google_plays_fake_is_as_described() {
    let client = Client::start().await;
    let now = client.play.now();
    let mut bought = Bought::pending(TOKEN, "gold:monthly", now);
    let changes: [fn(&mut Bought); 10] = [
        |_| {},
        |one| one.pay(one.paid_until()),
        |one| one.fail_payment(one.paid_until(), DAY),
        |one| one.hold(one.paid_until()),
        |one| one.renew(one.paid_until()),
        |one| one.pause(one.paid_until(), one.paid_until().plus(DAY)),
        |one| one.cancel(one.paid_until()),
        |one| one.end_hold(one.paid_until()),
        |one| one.replace(one.paid_until()),
        |one| one.expire(one.paid_until()),
    ];
    for change in changes {
        change(&mut bought);
        client.play.show(&bought);
        assert_eq!(client.status(&subscription_path(TOKEN)).await, 200);
    }
    let former = Bought::subscription("former", "gold:monthly", now).of("customer");
    let outside = Bought::subscription(TOKEN, "gold:monthly", now).in_instalments(12);
    let outside = outside.outside_the_app(&former).continuing(&former);
    client.play.forget(TOKEN);
    client.play.show(&outside.unacknowledged());
    let shown = client.get(&subscription_path(TOKEN)).await.ok();
    let context = &shown["outOfAppPurchaseContext"];
    assert_eq!(context["expiredPurchaseToken"], "former", "{shown}");
    client.play.sell("gold", "monthly", "P1M");
    assert_eq!(client.status("subscriptions/gold").await, 200);

    let mut coins = Bought::one_time(TOKEN, "coins", 3, now);
    let order = format!("orders/{}", coins.order_id(1));
    for (pieces, state) in [(0, "PROCESSED"), (1, "PARTIALLY_REFUNDED"), (2, "REFUNDED")] {
        if pieces > 0 {
            coins.return_pieces(pieces, now);
        }
        client.play.show(&coins);
        let products = format!("purchases/productsv2/tokens/{TOKEN}");
        assert_eq!(client.status(&products).await, 200);
        assert_eq!(client.get(&order).await.ok()["state"], state);
    }
    assert_eq!(client.play.verdict(), Ok(()));
}

#[tokio::test]
async fn a_prepaid_plan_of_google_plays_fake_has_its_countrys_money() {
    let client = Client::start().await;
    let now = client.play.now();
    let bought = Bought::subscription(TOKEN, "gold:prepaid", now).prepaid();
    let mut bought = bought.in_country("DE", "EUR").at_price(500);
    client.play.show(&bought);
    let shown = client.get(&subscription_path(TOKEN)).await.ok();
    assert_eq!(shown["regionCode"], "DE");
    let item = &shown["lineItems"][0];
    assert!(item["prepaidPlan"].is_object(), "{shown}");
    assert_eq!(item["autoRenewingPlan"], Value::Null, "{shown}");
    let order = bought.order_id(1);
    let path = format!("orders/{order}");
    let total = json!({ "currencyCode": "EUR", "units": "5" });
    let shown = client.get(&path).await.ok();
    assert_eq!(shown["total"], total, "{shown}");
    bought.refund_part(&order, 150, now);
    client.play.show(&bought);
    let shown = client.get(&path).await.ok();
    let part = json!({ "currencyCode": "EUR", "units": "1", "nanos": 500_000_000 });
    let refunds = &shown["orderHistory"]["partialRefundEvents"];
    assert_eq!(refunds[0]["refundDetails"]["total"], part, "{shown}");
    assert_eq!(shown["state"], "PARTIALLY_REFUNDED");
    bought.refund(&order, now);
    client.play.show(&bought);
    let shown = client.get(&path).await.ok();
    assert_eq!(shown["state"], "REFUNDED");
    let whole = &shown["orderHistory"]["refundEvent"]["refundDetails"];
    assert_eq!(whole["total"], total, "{shown}");
    assert_eq!(client.play.verdict(), Ok(()));
}

#[tokio::test]
async fn orders_and_voids_of_google_plays_fake_come_in_parts() {
    let client = Client::start().await;
    let now = client.play.now();
    let mut bought = Bought::subscription(TOKEN, "gold:monthly", now);
    bought.renew(now);
    client.play.show(&bought);
    let batch = |ids: &[&str]| {
        let ids = ids.iter().map(|id| format!("orderIds={id}"));
        format!("orders:batchGet?{}", ids.collect::<Vec<_>>().join("&"))
    };
    let [first, second] = [1, 2].map(|number| bought.order_id(number));
    let both = client.get(&batch(&[&first, &second])).await.ok();
    assert_eq!(both["orders"][1]["orderId"], json!(second));
    let cases = [([&*first, "GPA.9"], 404), ([&*first, &*first], 400)];
    for (ids, status) in cases {
        assert_eq!(client.status(&batch(&ids)).await, status, "{ids:?}");
    }

    for number in 0..5 {
        client.play.void(Voided {
            token: TOKEN.to_owned(),
            order_id: format!("GPA.{number}"),
            is_subscription: number > 0,
            bought_at: now,
            voided_at: now,
            reason: 1,
            pieces: None,
        });
    }
    let (mut found, mut path) = (Vec::new(), "purchases/voidedpurchases?type=1".to_owned());
    loop {
        let page = client.get(&path).await.ok();
        let entries = page["voidedPurchases"].as_array().expect("a list");
        found.extend(entries.iter().map(|entry| entry["orderId"].clone()));
        match page["tokenPagination"]["nextPageToken"].as_str() {
            Some(next) => path = format!("purchases/voidedpurchases?type=1&token={next}"),
            None => break,
        }
    }
    let all = ["GPA.0", "GPA.1", "GPA.2", "GPA.3", "GPA.4"];
    assert_eq!(found, all.map(Value::from));
    let one_time = client.get("purchases/voidedpurchases").await.ok();
    let listed = one_time["voidedPurchases"].as_array().map(Vec::len);
    assert_eq!(listed, Some(1), "without subscriptions");
    let early = client.status("purchases/voidedpurchases?startTime=0").await;
    assert_eq!(early, 400, "more than 30 days ago");
    assert_eq!(client.play.verdict(), Ok(()));
}

#[tokio::test]
async fn google_plays_fake_takes_one_acknowledgement() {
    let client = Client::start().await;
    let now = client.play.now();
    let bought = Bought::subscription(TOKEN, "gold:monthly", now).unacknowledged();
    client.play.show(&bought);
    for (product, status) in [("silver", 400), ("gold", 204), ("gold", 400)] {
        let path = format!("purchases/subscriptions/{product}/tokens/{TOKEN}:acknowledge");
        let answer = client.send(Method::POST, &path).await;
        assert_eq!(answer.status, status, "{product}");
    }
    assert_eq!(client.play.acknowledgements(TOKEN).len(), 1);
    // An earlier state, shown again, has the acknowledgement.
    client.play.show(&bought);
    let shown = client.get(&subscription_path(TOKEN)).await.ok();
    assert_eq!(
        shown["acknowledgementState"],
        "ACKNOWLEDGEMENT_STATE_ACKNOWLEDGED"
    );
    assert_eq!(client.play.count(Resource::Acknowledge), 3);
    let calls = client.play.about(TOKEN).into_iter().map(|one| one.call);
    let reads = calls.filter(|call| matches!(call, Call::Subscription(_)));
    assert_eq!(reads.count(), 1);
}

#[tokio::test]
async fn google_plays_fake_fails_as_scripted_and_checks_access() {
    let client = Client::start().await;
    client.play.show(&Bought::subscription(
        TOKEN,
        "gold:monthly",
        client.play.now(),
    ));
    let path = subscription_path(TOKEN);
    let faults = [Fault::Status(429), Fault::Body(200, "{\"a\":".to_owned())];
    client.play.answer_next(Resource::Subscriptions, faults);
    client.play.answer(&Resource::API, &Fault::Status(503));
    let mut statuses = Vec::new();
    for _ in 0..3 {
        statuses.push(client.status(&path).await);
    }
    assert_eq!(statuses, [429, 200, 503]);
    client.play.answer_truly();
    assert_eq!(client.status(&path).await, 200);
    client.play.withdraw_access();
    assert_eq!(client.status(&path).await, 401);
    assert_eq!(client.play.verdict(), Ok(()));

    let refused = exchange(&client.play, "https://elsewhere.example/token").await;
    assert_eq!(
        (refused.status, &refused.body["error"]),
        (400, &json!("invalid_grant"))
    );
    client.status("purchases/subscriptions/gold").await;
    let strange = client.play.verdict().expect_err("two strange requests");
    for part in ["`aud` is", "purchases/subscriptions/gold"] {
        assert!(strange.contains(part), "{part}: {strange}");
    }
}
