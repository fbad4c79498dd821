//! Tokens that devices report: invented ones, and those that Google no longer shows.

use super::{GOLD, Shop, time, token};
use domain::time::DAY;
use serde_json::{Value, json};
use std::time::Duration;
use system_tests::devices::{Device, Devices};
use system_tests::play::push::EXPIRED;
use system_tests::play::{Bought, Fault, Resource};
use system_tests::wait;
use system_tests::world::SOON;

/// Maximum number of requests about an invented token: one of each kind of purchase.
const MAX_REQUESTS: usize = 2;
/// Number of claims that take longer than a page's first two rounds of four, each of which lasts 15 seconds.
const SLOW_CLAIMS: usize = 9;
/// How long nothing further may happen.
const SILENCE: Duration = Duration::from_secs(6);

/// Returns a device's report of a purchase. It names no customer, because the token alone proves the purchase.
fn bought(device: Device, event_id: &str, token: &str) -> Value {
    let transaction = json!({
        "kind": "purchased", "receipt_id": token, "sku": GOLD, "price": "4.99", "currency": "USD",
        "marketplace": "US",
    });
    device.event(
        event_id,
        "device.transaction",
        &json!({ "transaction": transaction }),
    )
}

async fn report(devices: &Devices, device: Device, reports: &[Value]) {
    let answer = devices.report(device, reports).await.ok();
    assert_eq!(answer["accepted"], json!(reports.len()), "{answer}");
}

/// Waits until the fake was requested about a token.
async fn wait_requested(shop: &Shop, token: &str) {
    let what = format!("a request about {token}");
    shop.sweep_until(&what, async || {
        if shop.fake().about(token).is_empty() {
            Err("none".to_owned())
        } else {
            Ok(())
        }
    })
    .await;
}

/// Returns the purchases of the Google platform.
async fn purchases(shop: &Shop) -> Vec<Value> {
    let platform = shop.world().play().id;
    let path = format!("/v1/purchases?platform_id={platform}");
    shop.world().api.all(&path).await
}

#[tokio::test(flavor = "multi_thread")]
async fn g25_invented_tokens_cost_little_and_grant_nothing() {
    let mut shop = Shop::open().await;
    let devices = Devices::of_platform(&shop.world().api, shop.world().play().id).await;
    let device = Device(1);
    let invented = [
        "abcdefghijklmnopqrstuvwx".to_owned(),
        "123456789012345".to_owned(),
        token("of-another-app"),
    ];
    let reports: Vec<Value> = invented
        .iter()
        .enumerate()
        .map(|(number, token)| bought(device, &format!("invented-{number}"), token))
        .collect();
    report(&devices, device, &reports).await;
    for token in &invented {
        wait_requested(&shop, token).await;
    }
    for _ in 0..3 {
        drop(devices.report(device, &reports).await.ok());
    }
    wait::throughout(SILENCE, "nothing is granted", async || {
        let counts = invented
            .each_ref()
            .map(|token| shop.fake().about(token).len());
        let found = purchases(&shop).await;
        if found.is_empty() && counts.iter().all(|count| *count <= MAX_REQUESTS) {
            Ok(())
        } else {
            Err(format!("{counts:?} requests, {found:?}"))
        }
    })
    .await;
    for token in &invented {
        shop.check_events(token, &[]).await;
        assert!(shop.updates(token).is_empty());
    }

    let real = shop.buy("real").await;
    report(&devices, device, &[bought(device, "real", &real.token)]).await;
    shop.sweep_until("access of the device", async || {
        let data = shop.data(&real.token);
        if data["devices_with_access"][0]["id"] == json!(device.id()) {
            Ok(())
        } else {
            Err(data["devices_with_access"].to_string())
        }
    })
    .await;
    shop.check_events(&real.token, &["subscription.purchased"])
        .await;
    shop.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn g27_a_token_that_is_no_longer_shown_changes_nothing() {
    let mut shop = Shop::open().await;
    let devices = Devices::of_platform(&shop.world().api, shop.world().play().id).await;
    let mut known = shop.buy("known").await;
    let unknown = Bought::subscription(&token("unknown"), GOLD, shop.now());
    let mut unknown = unknown.of("customer-8");
    shop.pass_days(5).await;
    known.cancel(shop.now());
    shop.pass_until(known.expires_at()).await;
    for bought in [&mut known, &mut unknown] {
        bought.expire(bought.expires_at());
    }
    shop.fake().show(&unknown);
    shop.happen(&known, &[EXPIRED]).await;
    let over_at = known.expires_at();
    let last = shop.data(&known.token);
    assert_eq!(last["is_active"], false);
    shop.pass_until(over_at.plus(DAY * 61)).await;
    shop.rest().await;
    let expected = shop.world().receiver.event_types(&known.token);

    for (number, one) in (1..).zip([&known, &unknown]) {
        let device = Device(number);
        report(&devices, device, &[bought(device, "gone", &one.token)]).await;
    }
    wait_requested(&shop, &unknown.token).await;
    wait::throughout(SILENCE, "silence", async || {
        let types = shop.world().receiver.event_types(&known.token);
        let of_unknown = shop.updates(&unknown.token);
        if types == expected && of_unknown.is_empty() {
            Ok(())
        } else {
            Err(format!("{types:?}, {of_unknown:?}"))
        }
    })
    .await;
    let data = shop.data(&known.token);
    assert_eq!(
        (&data["is_active"], time(&data["expires_at"])),
        (&json!(false), Some(over_at))
    );
    shop.check_events(&unknown.token, &[]).await;
    let answered = shop.fake().about(&unknown.token);
    let is_gone = answered.iter().any(|one| one.status == Some(410));
    assert!(is_gone, "{answered:?}");
    shop.finish().await;
}

/// The store does not respond about claims, so a run that verifies them is under way for minutes.
#[tokio::test(flavor = "multi_thread")]
async fn a_requested_query_waits_for_no_claim() {
    let shop = Shop::open().await;
    let platform = shop.world().play().id;
    let lists = || shop.fake().count(Resource::Voided);
    shop.sweep_until("the first list", async || match lists() {
        0 => Err("no list".to_owned()),
        _ => Ok(()),
    })
    .await;
    let late = Fault::Late(SOON);
    shop.fake()
        .answer(&[Resource::Subscriptions, Resource::OneTime], &late);
    let tokens: Vec<String> = (0..SLOW_CLAIMS)
        .map(|number| token(&format!("slow-{number}")))
        .collect();
    let devices = Devices::of_platform(&shop.world().api, platform).await;
    let device = Device(1);
    let reports: Vec<Value> = tokens
        .iter()
        .enumerate()
        .map(|(number, token)| bought(device, &format!("slow-{number}"), token))
        .collect();
    report(&devices, device, &reports).await;
    let begun = || {
        let all = tokens.iter();
        all.filter(|token| !shop.fake().about(token).is_empty())
            .count()
    };
    shop.sweep_until("a claim", async || match begun() {
        0 => Err("no request".to_owned()),
        _ => Ok(()),
    })
    .await;

    let before = lists();
    let path = format!("/v1/platforms/{platform}/try-access");
    let requested = shop.world().api.post(&path, &json!({})).await;
    assert_eq!(requested.status, 204, "{requested:?}");
    wait::until(SOON, "a list", async || match lists() {
        found if found > before => Ok(()),
        found => Err(format!("{found} lists")),
    })
    .await;
    let begun = begun();
    assert!(begun < tokens.len(), "{begun} claims came first");
    shop.fake().answer_truly();
    shop.finish().await;
}
