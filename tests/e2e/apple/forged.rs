//! What Apple did not sign is refused and not stored; what it signed about another app is stored as refused.

use super::{GOLD, Shop};
use api::stores::apple::signer::Chain;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Value, json};
use system_tests::appstore::{Bought, Notice, Resource, account};

/// Returns the body with this text as the signed payload.
fn body(payload: &str) -> String {
    json!({ "signedPayload": payload }).to_string()
}

/// Returns a signed text with another payload.
fn with_payload(signed: &str, content: &Value) -> String {
    let parts: Vec<&str> = signed.split('.').collect();
    let payload = URL_SAFE_NO_PAD.encode(content.to_string());
    format!("{}.{payload}.{}", parts[0], parts[2])
}

/// Returns bodies that Apple did not sign, with what is wrong with each.
fn forgeries(shop: &Shop, notice: &Notice) -> Vec<(&'static str, String)> {
    let chain = shop.fake().chain();
    let other_chain = Chain::generate().expect("a chain");
    let content = notice.content(chain);
    let genuine = chain.sign(&content).expect("a signed content");
    let header = genuine.split('.').next().unwrap_or_default();
    let header = URL_SAFE_NO_PAD.decode(header).expect("a header");
    let header: Value = serde_json::from_slice(&header).expect("a header");
    let mut short = header.clone();
    let certificates = short["x5c"].as_array_mut();
    certificates.expect("certificates").truncate(1);
    let mut unsigned = header.clone();
    unsigned["alg"] = json!("none");
    let signed = |header: &Value| chain.sign_text(&header.to_string(), &content.to_string());
    let mut other = content.clone();
    other["subtype"] = json!("RESUBSCRIBE");
    let mut inner = content.clone();
    let transaction = notice.transaction.as_ref().expect("a transaction");
    let forged = other_chain.sign(transaction).expect("a signed content");
    inner["data"]["signedTransactionInfo"] = json!(forged);
    let [foreign, inner] = [(&other_chain, &content), (chain, &inner)].map(|(chain, content)| {
        let signed = chain.sign(content);
        body(&signed.expect("a signed content"))
    });
    vec![
        ("another root", foreign),
        ("another payload", body(&with_payload(&genuine, &other))),
        ("one certificate", body(&signed(&short).expect("a text"))),
        ("no algorithm", body(&signed(&unsigned).expect("a text"))),
        ("an inner part of another root", inner),
    ]
}

#[tokio::test(flavor = "multi_thread")]
async fn what_apple_did_not_sign_is_refused_and_not_stored() {
    let mut shop = Shop::open().await;
    let bought = Bought::subscription(GOLD, shop.now()).of(&account("forged"));
    shop.fake().show(&bought);
    let notice = shop.notice("SUBSCRIBED/INITIAL_BUY", &bought);
    for (what, body) in forgeries(&shop, &notice) {
        let answer = shop.world().post_to_appstore(&body).await;
        let answer = answer.expect("an answer");
        assert_eq!(answer.status, 403, "{what}: {answer:?}");
    }
    let path = format!("/v1/notifications/{}", notice.uuid);
    assert_eq!(shop.world().api.get(&path).await.status, 404);
    let key = shop.world().appstore_key(&bought.id);
    let path = format!("/v1/purchases/{key}");
    assert_eq!(shop.world().api.get(&path).await.status, 404);
    assert!(shop.fake().about(&bought.id).is_empty());

    shop.notify_all(&[notice]).await;
    shop.check_events(&bought, &["subscription.purchased"])
        .await;
    shop.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_notification_about_another_app_is_stored_as_refused() {
    let mut shop = Shop::open().await;
    let bought = Bought::subscription(GOLD, shop.now()).of(&account("foreign"));
    shop.fake().show(&bought);
    let notice = |name: &str, value: Value| {
        let notice = shop.notice("SUBSCRIBED/INITIAL_BUY", &bought);
        notice.with_data(name, value)
    };
    let foreign = [
        notice("bundleId", json!("com.example.other")),
        notice("appAppleId", json!(987_654_321)),
    ];
    for message in shop.notify_all(&foreign).await {
        assert_eq!(shop.outcomes(&message).await, [json!("refused")]);
    }
    shop.check_events(&bought, &[]).await;
    assert!(shop.updates(&bought).is_empty());
    assert_eq!(shop.fake().count(Resource::Statuses), 0);
    shop.finish().await;
}
