//! A destination's deliveries and resends.

use super::{Desk, REASON, hidden};
use crate::api::pages::screens::{HOSTILE, is_harmless, purchase};

/// Checks that a range needs both ends.
async fn check_range(desk: &Desk, path: &str, id: &str) {
    let range = [("which", "range"), ("from", "1970-01-01T00:00"), REASON];
    let wrong = desk.post(&format!("{path}/resend"), &range).await;
    assert_eq!(
        (wrong.status, wrong.text.contains("id=\"wrong-until\"")),
        (400, true),
        "{}",
        wrong.text
    );
    let range = [&range[..], &[("until", "2026-01-01T00:00")]].concat();
    let counted = desk.post(&format!("{path}/resend"), &range).await;
    assert!(
        counted.text.contains(&format!(
            "settle resend range --destination {id} --from 1970-"
        )),
        "{}",
        counted.text
    );
}

#[tokio::test]
async fn what_is_sent_again_is_counted_first_and_queued_once() {
    let desk = Desk::open("resend").await;
    let platforms = desk
        .service
        .get(&format!("/v1/apps/{}/platforms", desk.app))
        .await
        .body;
    let platform = platforms["items"][0]["id"]
        .as_str()
        .expect("an id")
        .parse()
        .expect("an id");
    purchase(&desk.service, &desk.app, platform, "receipt").await;
    let id = desk.service.get("/v1/overview").await.body["destinations"][0]["id"]
        .as_str()
        .expect("an id")
        .to_owned();
    let path = format!("/ui/destinations/{id}");
    let deliveries = || desk.service.count("deliveries");
    assert_eq!(
        desk.post(&format!("{path}/resend"), &[("which", "failed")])
            .await
            .status,
        400,
        "a reason is needed"
    );
    let counted = desk
        .post(&format!("{path}/resend"), &[("which", "failed"), REASON])
        .await;
    assert_eq!(counted.status, 200, "{}", counted.text);
    assert!(counted.text.contains(
        "<span class=\"figure\">1</span> delivery would be sent; 1 failed delivery was checked."
    ));
    assert!(
        counted.text.contains(&format!(
            "settle resend failed --destination {id} --dry-run"
        )),
        "{}",
        counted.text
    );
    assert_eq!(deliveries(), 1, "counting changes nothing");
    let run = hidden(&counted.text, "run");
    let confirmed = [
        ("which", "failed"),
        ("confirmed", "yes"),
        ("run", run.as_str()),
        REASON,
    ];
    for _ in 0..2 {
        let done = desk.post(&format!("{path}/resend"), &confirmed).await;
        assert!(
            done.text.contains("1 delivery was queued."),
            "{}",
            done.text
        );
        assert_eq!(deliveries(), 2, "the same page of the same run queues once");
    }
    let none = desk
        .post(&format!("{path}/resend"), &[("which", "failed"), REASON])
        .await;
    assert!(
        none.text.contains("<span class=\"figure\">0</span>"),
        "{}",
        none.text
    );
    assert!(
        !none.text.contains("name=\"confirmed\""),
        "nothing to confirm: {}",
        none.text
    );
    check_range(&desk, &path, &id).await;
    for which in ["behind", "all", "missing"] {
        let counted = desk
            .post(&format!("{path}/resend"), &[("which", which), REASON])
            .await;
        assert_eq!(
            (
                counted.status,
                counted.text.contains("would be sent; 1 purchase was")
            ),
            (200, true),
            "{which}"
        );
        assert!(
            counted
                .text
                .contains(&format!("settle resend {which} --destination {id}")),
            "{}",
            counted.text
        );
    }
    assert_eq!(deliveries(), 2);
}

#[tokio::test]
async fn a_delivery_shows_its_answers_and_to_support_its_body() {
    let desk = Desk::open("delivery-page").await;
    let platforms = desk
        .service
        .get(&format!("/v1/apps/{}/platforms", desk.app))
        .await
        .body;
    let platform = platforms["items"][0]["id"]
        .as_str()
        .expect("an id")
        .parse()
        .expect("an id");
    purchase(&desk.service, &desk.app, platform, HOSTILE).await;
    desk.service
        .raw("UPDATE deliveries SET body = '{\"frozen\":1}'");
    let one = desk.service.get("/v1/deliveries").await.body["items"][0].clone();
    let (id, to) = (
        one["id"].as_str().expect("an id"),
        one["destination_id"].as_str().expect("an id"),
    );
    let list = format!("/ui/destinations/{to}/deliveries?status=failed");
    for path in [
        list.as_str(),
        &format!("/ui/deliveries/{id}"),
        &format!("/ui/destinations/{to}"),
        "/ui/destinations",
    ] {
        let answer = desk.visitor.get(&desk.service, path).await;
        is_harmless(&answer, path);
        assert!(
            answer.text.contains("&#60;script&#62;alert(1)"),
            "{path}: {}",
            answer.text
        );
    }
    assert!(
        desk.get(&list)
            .await
            .contains(&format!("/ui/deliveries/{id}"))
    );
    assert!(
        desk.get(&format!("/ui/destinations/{to}/deliveries?status=pending"))
            .await
            .contains("No deliveries match")
    );
    let page = desk.get(&format!("/ui/deliveries/{id}")).await;
    for part in ["webhook-id", "x-answer", "Not retried", "/resend\""] {
        assert!(page.contains(part), "{part}: {page}");
    }
    let reader = desk
        .of_role("read")
        .await
        .get(&desk.service, &format!("/ui/deliveries/{id}"))
        .await;
    assert!(
        reader.text.contains("x-answer") && !reader.text.contains("webhook-id"),
        "{}",
        reader.text
    );
    assert!(!reader.text.contains("/resend\""), "{}", reader.text);
    let path = format!(
        "/ui/events/{}/resend",
        one["event_id"].as_str().expect("an id")
    );
    let to_one = format!("<input type=\"hidden\" name=\"destination_id\" value=\"{to}\">");
    assert!(
        page.contains(&format!("action=\"{path}\"")) && page.contains(&to_one),
        "{page}"
    );
    assert_eq!(
        desk.post(&path, &[("destination_id", to)]).await.status,
        400
    );
    let again = desk.post(&path, &[("destination_id", to), REASON]).await;
    assert_eq!(again.status, 303, "{}", again.text);
    assert!(
        again.header("location").contains("?pending=1"),
        "{}",
        again.header("location")
    );
    assert!(
        desk.get(again.header("location"))
            .await
            .contains("1 delivery was queued.")
    );
}
