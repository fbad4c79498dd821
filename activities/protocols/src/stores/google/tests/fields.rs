//! Compares the fields that are parsed with Google's machine-readable description of the API. `androidpublisher.json`
//! has the members and types of the resources from the discovery document of revision 20261026.

use super::at;
use crate::http::Reply;
use crate::stores::google::batch::OrderBatches;
use crate::stores::google::customer::Accounts;
use crate::stores::google::order::Order;
use crate::stores::google::plans::plans;
use crate::stores::google::product::Product;
use crate::stores::google::subscription::Subscription;
use crate::stores::google::voided::page;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};
use std::collections::BTreeSet;
use std::fmt::Write as _;

const DESCRIPTION: &str = include_str!("androidpublisher.json");
/// Groups of mutually exclusive members, with their nesting depth in other groups: nested groups are chosen
/// independently.
const EXCLUSIVE: &[(usize, &[&str])] = &[
    (
        0,
        &[
            "basePrice",
            "freeTrial",
            "introductoryPrice",
            "prorationPeriod",
        ],
    ),
    (
        0,
        &[
            "userInitiatedCancellation",
            "systemInitiatedCancellation",
            "developerInitiatedCancellation",
            "replacementCancellation",
        ],
    ),
    (0, &["autoRenewingPlan", "prepaidPlan"]),
    (0, &["deferredItemReplacement", "deferredItemRemoval"]),
    (0, &["onHoldStateContext", "inGracePeriodStateContext"]),
    (0, &["processTime", "createTime"]),
    (
        0,
        &[
            "autoRenewingBasePlanType",
            "installmentsBasePlanType",
            "prepaidBasePlanType",
        ],
    ),
    (0, &["subscriptionDetails", "oneTimePurchaseDetails"]),
    (1, &["offerPhaseDetails", "offerPhase"]),
    (
        2,
        &[
            "baseDetails",
            "freeTrialDetails",
            "introductoryPriceDetails",
            "prorationPeriodDetails",
        ],
    ),
];
/// Number of samples after which each exclusive member has occurred in one.
const SAMPLES: usize = 16;

/// Returns a sample of a resource with all its members. `pick` selects among exclusive members and enumeration names.
fn sample(description: &Map<String, Value>, name: &str, pick: usize) -> Value {
    let members = description[name].as_object().expect("a resource");
    let is_chosen = |member: &str| {
        let groups = EXCLUSIVE
            .iter()
            .filter(|(_, group)| group.contains(&member));
        groups.into_iter().all(|(depth, group)| {
            let present = group.iter().filter(|one| members.contains_key(**one));
            let present: Vec<&&str> = present.collect();
            *present[(pick >> depth) % present.len()] == member
        })
    };
    let chosen = members.iter().filter(|(member, _)| is_chosen(member));
    let sampled = chosen.map(|(member, kind)| {
        let (kind, is_list) = match kind {
            Value::Array(list) => (&list[0], true),
            one => (one, false),
        };
        let value = value(description, member, kind.as_str().expect("a type"), pick);
        let value = if is_list {
            Value::Array(vec![value])
        } else {
            value
        };
        (member.clone(), value)
    });
    Value::Object(sampled.collect())
}

fn value(description: &Map<String, Value>, member: &str, kind: &str, pick: usize) -> Value {
    if let Some(name) = kind.strip_prefix('$') {
        return sample(description, name, pick);
    }
    let names: Vec<&str> = kind.split('|').collect();
    match kind {
        "boolean" => true.into(),
        "object" => Map::new().into(),
        "int32" => 7.into(),
        "int64" => "7".into(),
        "google-datetime" => "2026-09-01T10:00:00.123456789Z".into(),
        "string" if member.ends_with("Country") || member == "regionCode" => "DE".into(),
        "string" if member.ends_with("Duration") => "P7D".into(),
        "string" if member == "currencyCode" => "EUR".into(),
        "string" => format!("{member}-1").into(),
        // The first name of an enumeration means "unspecified".
        _ => names[1 + pick % (names.len() - 1)].into(),
    }
}

/// Collects the paths of all members of a sample.
fn paths(value: &Value, path: &str, found: &mut Vec<String>) {
    match value {
        Value::Object(members) => {
            for (name, value) in members {
                let path = format!("{path}/{name}");
                found.push(path.clone());
                paths(value, &path, found);
            }
        }
        Value::Array(list) => paths(&list[0], &format!("{path}/0"), found),
        _ => {}
    }
}

fn without(mut sample: Value, path: &str) -> Value {
    let (parent, name) = path.rsplit_once('/').expect("a path");
    let parent = sample.pointer_mut(parent).and_then(Value::as_object_mut);
    parent.expect("a parent").remove(name);
    sample
}

/// Returns the paths of the members that affect the parsed result.
fn read(name: &str, reads: fn(&Value) -> String) -> BTreeSet<String> {
    let description: Map<String, Value> = serde_json::from_str(DESCRIPTION).expect("JSON");
    let mut read = BTreeSet::new();
    for pick in 0..SAMPLES {
        let sample = sample(&description, name, pick);
        let whole = reads(&sample);
        assert!(!whole.contains("no resource"), "{whole}: {sample}");
        let mut all = Vec::new();
        paths(&sample, "", &mut all);
        let changing = all
            .into_iter()
            .filter(|path| reads(&without(sample.clone(), path)) != whole);
        read.extend(changing.map(|path| path.replace("/0/", "[]/")));
    }
    read
}

fn parsed<T: DeserializeOwned>(sample: &Value) -> Option<T> {
    T::deserialize(sample).ok()
}

fn subscription(sample: &Value) -> String {
    let Some(read) = parsed::<Subscription>(sample) else {
        return "no resource".to_owned();
    };
    let accounts = read
        .accounts()
        .map(|one| one.and_then(Accounts::customer).map(|name| name.0));
    let Some(shown) = read.shown(at()) else {
        return "no resource".to_owned();
    };
    format!("{accounts:?} {shown:?}")
}

fn product(sample: &Value) -> String {
    let Some(read) = parsed::<Product>(sample) else {
        return "no resource".to_owned();
    };
    let account = read.customer().map(|name| name.0);
    let Some(shown) = read.shown(at()) else {
        return "no resource".to_owned();
    };
    format!("{account:?} {shown:?}")
}

fn order(sample: &Value) -> String {
    let shown = parsed::<Order>(sample).map(Order::shown);
    shown.map_or_else(|| "no resource".to_owned(), |shown| format!("{shown:?}"))
}

fn reply(sample: &Value) -> Reply {
    super::answered(200, sample).reply
}

fn orders(sample: &Value) -> String {
    let mut batches = OrderBatches::new(["orderId-1".to_owned()]);
    batches.read(&reply(sample)).expect("an answer");
    format!("{:?} {:?}", batches.found.len(), batches.unknown)
}

fn voided(sample: &Value) -> String {
    format!("{:?}", page(&reply(sample)))
}

fn base_plans(sample: &Value) -> String {
    format!("{:?}", plans(&reply(sample)))
}

#[test]
fn every_field_that_is_read_is_described_by_google() {
    let mut text = String::new();
    let mut all = BTreeSet::new();
    for (name, reads) in [
        (
            "SubscriptionPurchaseV2",
            subscription as fn(&Value) -> String,
        ),
        ("ProductPurchaseV2", product),
        ("Order", order),
        ("BatchGetOrdersResponse", orders),
        ("VoidedPurchasesListResponse", voided),
        ("Subscription", base_plans),
    ] {
        let read = read(name, reads);
        writeln!(text, "{name}").expect("a text");
        for path in &read {
            writeln!(text, "  {path}").expect("a text");
        }
        all.extend(read);
    }
    for personal in [
        "subscribeWithGoogleInfo",
        "cancelSurveyResult",
        "buyerState",
        "buyerPostcode",
        "obfuscatedExternalProfileId",
        "externalAccountId",
        "promotionCode",
    ] {
        let is_part = |path: &String| path.split('/').any(|part| part == personal);
        assert!(!all.iter().any(is_part), "{personal}");
    }
    insta::assert_snapshot!("fields", text);
}
