//! Testing a destination from its page.

use super::{Desk, REASON};
use crate::api::edge::Service;
use serde_json::json;
use system_tests::mailbox::{Mailbox, Protection};
use system_tests::receiver::{Receiver, Reply};

#[tokio::test]
async fn a_test_answers_on_the_page() {
    let desk = Desk::local("test-page").await;
    let receiver = Receiver::start().await;
    let (id, secret) = desk.webhook("Billing", &receiver.url()).await;
    receiver.trust(&secret);
    let path = format!("/ui/destinations/{id}/test");
    let well = desk
        .post(&path, &[("event_type", "purchase.updated"), REASON])
        .await;
    assert_eq!(
        (well.status, well.text.contains("Test succeeded.")),
        (200, true),
        "{}",
        well.text
    );
    assert!(
        !well.text.contains("data-live"),
        "no part of an answer to a form is read again: {}",
        well.text
    );
    receiver.answer_next(1, &Reply::Status(418));
    let ill = desk.post(&path, &[REASON]).await;
    assert_eq!(
        (ill.status, ill.text.contains("Test failed.")),
        (200, true),
        "{}",
        ill.text
    );
    assert!(ill.text.contains("418"), "{}", ill.text);
    assert_eq!(
        desk.post(&path, &[]).await.status,
        400,
        "a reason is needed"
    );
    let strange = desk.post(&path, &[("event_type", "nothing"), REASON]).await;
    assert_eq!(
        (
            strange.status,
            strange.text.contains("id=\"wrong-event_type\"")
        ),
        (400, true),
        "{}",
        strange.text
    );
    assert_eq!(receiver.all().len(), 2);
}

impl Desk {
    /// Returns a desk whose service may deliver to this machine.
    async fn local(name: &str) -> Self {
        let here = [
            ("SETTLE_DESTINATIONS_ALLOWED_NETWORKS", "127.0.0.0/8"),
            ("SETTLE_DESTINATIONS_ALLOW_HTTP", "true"),
        ];
        Self::of(Service::with(name, &here).await).await
    }
}

#[tokio::test]
async fn a_test_too_many_is_refused_on_the_page() {
    let mailbox = Mailbox::start(Protection::None);
    let url = format!("smtp://{}?tls=none", mailbox.address());
    let mail = [
        ("SETTLE_MAIL_URL", url.as_str()),
        ("SETTLE_MAIL_FROM", "settle@example.com"),
    ];
    let desk = Desk::of(Service::with("test-rate", &mail).await).await;
    let body = json!({ "kind": "email", "name": "on-call", "to": ["ops@example.com"], "events": ["alarm.*"] });
    let created = desk
        .service
        .send_json(
            "POST",
            &format!("/v1/apps/{}/destinations", desk.app),
            &body,
        )
        .await
        .body;
    let path = format!(
        "/ui/destinations/{}/test",
        created["id"].as_str().expect("an id")
    );
    for _ in 0..5 {
        assert_eq!(desk.post(&path, &[REASON]).await.status, 200);
    }
    let refused = desk.post(&path, &[REASON]).await;
    let is_shown = refused
        .text
        .contains("this destination can be tested again in 5 min");
    assert_eq!(
        (refused.status, is_shown, mailbox.mails().len()),
        (429, true, 5),
        "{}",
        refused.text
    );
}
