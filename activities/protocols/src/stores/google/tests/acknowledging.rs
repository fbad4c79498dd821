//! The request that acknowledges a purchase, and its answers.

use super::super::acknowledge::{Acknowledged, answer, request};
use super::super::request::PackageName;
use super::super::shown::PurchaseKind;
use super::{PACKAGE, Settings, TOKEN, answered, error, token};
use crate::http::{Method, Reply, Request};
use crate::stores::{AcknowledgeAnswer, Bucket};
use storage::AttemptClass;

fn sent(kind: PurchaseKind, product_id: &str) -> Option<(Request, Bucket)> {
    let token = token(TOKEN);
    let purchase = Acknowledged {
        kind,
        product_id,
        token: &token,
    };
    let package = PackageName::new(PACKAGE).expect("a package name");
    request(&Settings::default(), &package, purchase)
}

#[test]
fn each_kind_of_purchase_is_acknowledged_at_its_own_path() {
    let kinds = [
        (
            PurchaseKind::Subscription,
            "subscriptions",
            "subscription_updates",
        ),
        (PurchaseKind::OneTime, "products", "one_time"),
    ];
    for (kind, folder, expected) in kinds {
        let (request, bucket) = sent(kind, "premium.a/b").expect("a request");
        let expected_url = format!(
            "https://androidpublisher.googleapis.com/androidpublisher/v3/applications/{PACKAGE}/purchases/{folder}/\
             premium.a%2Fb/tokens/{TOKEN}:acknowledge"
        );
        assert_eq!(request.url.as_str(), expected_url);
        assert_eq!(bucket.name, expected);
        assert!(matches!(request.method, Method::Post));
        assert_eq!(request.body, b"{}");
        let content_type = ("content-type".to_owned(), "application/json".to_owned());
        assert!(request.headers.contains(&content_type));
    }
    assert!(sent(PurchaseKind::Subscription, "..").is_none());
}

#[test]
fn an_answer_shows_whether_to_check_to_wait_or_to_repeat() {
    let of = |status, reason: &str| answer(&error(status, reason).reply);
    for body in ["", "{}"] {
        assert_eq!(answer(&answered(200, body).reply), AcknowledgeAnswer::Done);
        assert_eq!(answer(&answered(204, body).reply), AcknowledgeAnswer::Done);
    }
    for status in [400, 404, 409, 410] {
        assert_eq!(of(status, "any"), AcknowledgeAnswer::Unclear, "{status}");
    }
    for status in [401, 403] {
        assert_eq!(of(status, "any"), AcknowledgeAnswer::Refused, "{status}");
    }
    let throttled = of(403, "rateLimitExceeded");
    assert!(matches!(throttled, AcknowledgeAnswer::Retry(retry) if retry.is_throttled));
    for status in [429, 500, 503] {
        let repeated = of(status, "any");
        assert!(matches!(repeated, AcknowledgeAnswer::Retry(_)), "{status}");
    }
}

#[test]
fn a_lost_connection_is_tried_again() {
    let lost = Reply::Failure {
        class: AttemptClass::Reset,
        message: "closed".to_owned(),
    };
    assert!(matches!(answer(&lost), AcknowledgeAnswer::Retry(_)));
}
