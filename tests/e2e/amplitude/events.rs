//! Each event of a subscription as received by Amplitude, with Amplitude's answer.

use super::{Analysts, KEY, MINUTE, requests_with, text};
use domain::event::{PURCHASE_UPDATED, REVENUE_ADJUSTED};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use system_tests::calendar::Step;
use system_tests::sns::Rtn;
use system_tests::subscription::{Subscription, at};

/// All types: the documented list `*`, and the events that must be named explicitly.
pub const CHOSEN: [&str; 4] = [
    "*",
    "purchase.updated",
    "user.subscription.sku_change",
    "user.subscription.pending_sku_change",
];

/// The types of these events that a subscription can cause.
const TYPES: [&str; 14] = [
    PURCHASE_UPDATED,
    REVENUE_ADJUSTED,
    "user.journey.trial.converted",
    "user.journey.trial.did_not_convert",
    "user.journey.trial.started",
    "user.subscription.cancelled",
    "user.subscription.expired",
    "user.subscription.in_grace_period",
    "user.subscription.pending_sku_change",
    "user.subscription.purchased",
    "user.subscription.renewal_in_grace_period",
    "user.subscription.renewed",
    "user.subscription.resumed",
    "user.subscription.sku_change",
];

/// One customer's payments: the end of the trial, the recovery in the grace period, the immediate change of plan, and
/// the renewal into the deferred plan, which is refunded when it ends within its term.
const PAID: [(&str, f64); 5] = [
    ("user.journey.trial.converted", 9.99),
    ("user.subscription.renewal_in_grace_period", 9.99),
    ("user.subscription.sku_change", 19.99),
    ("user.subscription.renewed", 9.99),
    (REVENUE_ADJUSTED, -9.99),
];

const ANNA: &str = "amzn1.account.ANNA";
const BERT: &str = "amzn1.account.BERT";

/// Returns the steps of one customer with every kind of event, and of another whose trial does not convert.
fn lives() -> Vec<Step> {
    let mut steps = Vec::new();
    let mut step = |time: &str, shown: &[&Subscription], notifications: Vec<Rtn>| {
        steps.push(Step {
            at: at(time),
            shown: shown.iter().copied().cloned().collect(),
            notifications,
        });
    };
    let (mut old, notifications) =
        Subscription::begin("anna-1", ANNA, at("2027-02-01T10:00"), Some(2));
    step("2027-02-01T10:00", &[&old], notifications);
    let (mut bert, notifications) =
        Subscription::begin("bert-1", BERT, at("2027-02-01T10:00"), Some(2));
    step("2027-02-01T10:00", &[&bert], notifications);
    let notifications = bert.switch_off(at("2027-02-02T10:00"));
    step("2027-02-02T10:00", &[&bert], notifications);
    let notifications = old.renew(at("2027-02-03T10:00"));
    step("2027-02-03T10:00", &[&old], notifications);
    let notifications = bert.expire(at("2027-02-03T10:00"));
    step("2027-02-03T10:00", &[&bert], notifications);
    let notifications = old.switch_off(at("2027-02-04T10:00"));
    step("2027-02-04T10:00", &[&old], notifications);
    let notifications = old.switch_on(at("2027-02-05T10:00"));
    step("2027-02-05T10:00", &[&old], notifications);
    let notifications = old.fail_payment(at("2027-02-06T10:00"));
    step("2027-02-06T10:00", &[&old], notifications);
    let notifications = old.renew(at("2027-02-07T10:00"));
    step("2027-02-07T10:00", &[&old], notifications);
    let (mut new, notifications) = old.change("anna-2", "platinum.monthly", at("2027-02-08T10:00"));
    step("2027-02-08T10:00", &[&old, &new], notifications);
    let notifications = new.defer("gold.monthly", at("2027-02-09T10:00"));
    step("2027-02-09T10:00", &[&new], notifications);
    let notifications = new.renew(at("2027-02-10T10:00"));
    step("2027-02-10T10:00", &[&new], notifications);
    let notifications = new.switch_off(at("2027-02-11T10:00"));
    step("2027-02-11T10:00", &[&new], notifications);
    let notifications = new.expire(at("2027-02-12T10:00"));
    step("2027-02-12T10:00", &[&new], notifications);
    steps
}

/// Checks that all events of both customers arrive once, under the webhook's ids, and that one request of each type,
/// with its answer, matches its snapshot.
pub async fn every_event_has_its_form(own: &mut Analysts) {
    own.name(ANNA, "anna@shop").await;
    for together in lives().chunk_by(|one, next| one.at == next.at) {
        own.live(together.to_vec()).await;
        // No event may be pending when time passes: the days are longer than a request may take.
        own.drain(MINUTE).await;
    }
    let count = own.same_events(KEY).await;
    let users = own.newest_profiles(KEY);
    println!("{count} events of {users} users");
    let anna = own
        .amplitude
        .profile(KEY, "anna@shop")
        .expect("a profile of the customer's own id");
    assert_eq!(anna.properties["namiml_former_subscriber"], true);
    assert!(own.amplitude.events(KEY).iter().all(|one| {
        one.event["device_id"]
            .as_str()
            .is_some_and(|id| id.len() == 36)
    }));
    for event_type in TYPES {
        insta::assert_json_snapshot!(event_type, exchange(own, event_type));
    }
    paid_once(own);
}

/// Returns a request with an event of this type, reduced to that event, with its answer: the named customer's first
/// event or, since newer `purchase.updated` supersede older ones, the last one of that type.
fn exchange(own: &Analysts, event_type: &str) -> Value {
    let mut found: Vec<_> = requests_with(&own.amplitude, event_type)
        .into_iter()
        .filter_map(|sent_exchange| {
            Some((
                sent_exchange
                    .events()
                    .iter()
                    .find(|event| event["event_type"] == event_type)?
                    .clone(),
                sent_exchange,
            ))
        })
        .collect();
    found.sort_by_key(|(event, _)| (event["user_id"].is_null(), event["time"].as_i64()));
    let of_anna = found
        .iter()
        .rfind(|(event, _)| event_type == PURCHASE_UPDATED && event["user_id"] == "anna@shop");
    let first = of_anna.or(found.first()).cloned();
    let (mut event, sent_exchange) = first.unwrap_or_else(|| panic!("no {event_type}"));
    if event_type == PURCHASE_UPDATED {
        // The time of recording differs in each run.
        event["time"] = json!("[time]");
    }
    if let Some(revision) = event["event_properties"].get_mut("user_revision") {
        // Either receipt of a change of plan may be settled first, so the number of revisions varies.
        *revision = json!("[user_revision]");
    }
    let mut body = sent_exchange.body.clone();
    body["events"] = json!([event]);
    let mut answer = sent_exchange.answer.clone();
    for (field, sent) in [
        ("events_ingested", sent_exchange.events().len()),
        ("payload_size_bytes", 0),
        ("server_upload_time", 0),
    ] {
        if field == "events_ingested" {
            assert_eq!(answer[field], json!(sent));
        }
        answer[field] = json!(format!("[{field}]"));
    }
    let mut names = BTreeMap::new();
    let all = json!({ "request": { "target": sent_exchange.target, "body": body }, "status": sent_exchange.status, "answer": answer });
    stable(&all, &mut names)
}

/// Returns the value without run-dependent parts: ids are replaced by numbers in order of appearance, and the version
/// by a placeholder.
fn stable(value: &Value, names: &mut BTreeMap<String, String>) -> Value {
    match value {
        Value::String(text) if uuid::Uuid::try_parse(text).is_ok() => {
            let next = format!("[id {}]", names.len() + 1);
            json!(names.entry(text.clone()).or_insert(next).clone())
        }
        Value::String(text) if text.starts_with("settle/") => json!("settle/[version]"),
        Value::Array(items) => items.iter().map(|item| stable(item, names)).collect(),
        Value::Object(fields) => {
            let version = |name: &str| (name == "source_version").then(|| json!("[version]"));
            let each = |(name, field): (&String, &Value)| {
                (
                    name.clone(),
                    version(name).unwrap_or_else(|| stable(field, names)),
                )
            };
            Value::Object(fields.iter().map(each).collect())
        }
        other => other.clone(),
    }
}

/// Checks that each payment with a known price is in one event, in the order of the payments, and that all amounts are
/// in USD.
fn paid_once(own: &Analysts) {
    let events = own.amplitude.events(KEY);
    let paid: Vec<(String, f64)> = events
        .iter()
        .filter_map(|one| {
            Some((
                text(&one.event["event_type"]),
                one.event["revenue"].as_f64()?,
            ))
        })
        .collect();
    assert!(
        events
            .iter()
            .all(|one| one.event["revenue"].is_null() || one.event["currency"] == "USD")
    );
    assert_eq!(
        paid,
        PAID.map(|(event_type, usd)| (event_type.to_owned(), usd))
    );
}
