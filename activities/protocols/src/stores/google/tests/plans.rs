//! Base plans: their request, and every form of a duration.

use super::{
    ORDER, PACKAGE, TOKEN, answered, at, error, google, item, order, subject, subscription,
};
use crate::stores::google::plans::{BasePlan, plans};
use crate::stores::google::request::{PackageName, PlanId, Query, request};
use crate::stores::google::response::ReadError;
use crate::stores::google::{Google, Settings};
use crate::stores::{Answer, CheckStep, Replied, StoreProtocol};
use domain::time::{HOUR, MINUTE};
use domain::verification::Term;
use domain::{Timestamp, Verification};
use serde_json::{Value, json};

fn read(plan: Value) -> BasePlan {
    let body = json!({ "basePlans": [super::merged(json!({ "basePlanId": "monthly" }), plan)] });
    plans(&answered(200, body).reply).unwrap().remove(0)
}

#[test]
fn the_request_leaves_out_the_prices_of_all_countries() {
    let package = PackageName::new(PACKAGE).unwrap();
    let settings = Settings::default();
    let of = |product_id: &str| {
        Query::Plans(PlanId {
            product_id: product_id.to_owned(),
            plan_id: "monthly".to_owned(),
        })
    };
    let (sent, bucket) = request(&settings, &package, &of("premium")).unwrap();
    assert_eq!(bucket.name, "publishing");
    assert!(
        sent.url
            .path()
            .ends_with("/com.example.app/subscriptions/premium")
    );
    let fields = "basePlans(basePlanId,autoRenewingBasePlanType,installmentsBasePlanType,prepaidBasePlanType)";
    let parameters: Vec<_> = sent.url.query_pairs().into_owned().collect();
    assert_eq!(parameters, [("fields".to_owned(), fields.to_owned())]);
    for id in ["", ".", "..", "a b"] {
        assert!(request(&settings, &package, &of(id)).is_none(), "{id}");
    }
}

#[test]
fn the_lengths_of_a_plan_are_read() {
    let plan = read(json!({ "autoRenewingBasePlanType": {
        "billingPeriodDuration": "P1M", "gracePeriodDuration": "P7D", "accountHoldDuration": "P0D",
        "prorationMode": "SUBSCRIPTION_PRORATION_MODE_CHARGE_FULL_PRICE_IMMEDIATELY",
    } }));
    assert_eq!(
        (plan.id.as_str(), plan.term.map(Term::iso).as_deref()),
        ("monthly", Some("P1M"))
    );
    assert_eq!((plan.grace_days, plan.hold_days), (Some(7), Some(0)));
    for kind in ["installmentsBasePlanType", "prepaidBasePlanType"] {
        let plan = read(json!({ kind: { "billingPeriodDuration": "P1W" } }));
        assert_eq!(
            (
                plan.term.map(Term::iso).as_deref(),
                plan.grace_days,
                plan.hold_days
            ),
            (Some("P1W"), None, None)
        );
    }
    assert_eq!(read(json!({})).term, None);
}

#[test]
fn a_duration_of_another_form_is_absent() {
    let term = |text: &str| {
        let plan = read(json!({ "prepaidBasePlanType": { "billingPeriodDuration": text } }));
        plan.term.map(Term::iso)
    };
    for text in ["P3D", "P4W", "P6M", "P1Y"] {
        assert_eq!(term(text).as_deref(), Some(text));
    }
    for text in [
        "", "P", "1M", "P0M", "PT1H", "P1M2D", "P-1M", "P99999D", "P1",
    ] {
        assert_eq!(term(text), None, "{text}");
    }
}

#[test]
fn a_product_that_is_not_known_has_no_plans() {
    assert_eq!(
        plans(&error(404, "notFound").reply),
        Err(ReadError::Unknown)
    );
    assert_eq!(plans(&answered(200, "{}").reply), Ok(Vec::new()));
}

/// Returns the next step of a check at this time that has read a purchase of this product and its order, and perhaps
/// its plan.
fn step(google: &Google, product: &str, now: Timestamp, plan: Option<Replied>) -> CheckStep {
    let items = json!({ "lineItems": [item("monthly", json!({ "productId": product }))] });
    let replies = [
        answered(200, subscription(items)),
        answered(200, order(ORDER, json!({}))),
    ];
    let replies = replies.into_iter().chain(plan);
    let replies: Vec<Replied> = replies.map(|one| Replied { at: now, ..one }).collect();
    google.next(&subject(TOKEN), &replies)
}

/// Returns whether a check at this time requests the plans of this product. If not, it shows the purchase.
fn is_requested(google: &Google, product: &str, now: Timestamp) -> bool {
    match step(google, product, now, None) {
        CheckStep::Send(_, bucket) => bucket.name == "publishing",
        CheckStep::Done(Answer::Verification(Verification::Verified(_))) => false,
        CheckStep::Done(answer) => panic!("{answer:?}"),
    }
}

#[test]
fn plans_that_cannot_be_read_are_requested_again_after_minutes() {
    for failed in [answered(503, ""), error(404, "notFound")] {
        let google = google();
        assert!(is_requested(&google, "premium", at()));
        let shown = step(&google, "premium", at(), Some(failed));
        assert!(
            matches!(
                shown,
                CheckStep::Done(Answer::Verification(Verification::Verified(_)))
            ),
            "{shown:?}"
        );
        assert!(!is_requested(&google, "premium", at().plus(MINUTE)));
        assert!(is_requested(&google, "other", at().plus(MINUTE)));
        assert!(is_requested(&google, "premium", at().plus(HOUR)));
    }
}

#[test]
fn a_throttled_request_for_plans_ends_the_check_once() {
    for failed in [answered(429, ""), error(403, "rateLimitExceeded")] {
        let google = google();
        let throttled = step(&google, "premium", at(), Some(failed));
        assert!(
            matches!(&throttled, CheckStep::Done(Answer::Retry(retry)) if retry.is_throttled),
            "{throttled:?}"
        );
        for product in ["premium", "other"] {
            assert!(!is_requested(&google, product, at().plus(MINUTE)));
            assert!(is_requested(&google, product, at().plus(HOUR)));
        }
    }
}
