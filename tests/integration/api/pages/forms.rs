//! Forms about destinations and deliveries that are submitted twice, are refused, or have no effect.

use super::destinations::{Desk, REASON, hidden, hidden_copy};
use super::screens::purchase;
use serde_json::json;

#[tokio::test]
async fn a_secret_is_replaced_once_by_a_form_that_is_sent_twice() {
    let desk = Desk::open("rotated-once").await;
    let (id, _) = desk.webhook("Billing", "https://example.com/hooks").await;
    let (settings, path) = (
        format!("/ui/destinations/{id}/settings"),
        format!("/ui/destinations/{id}/rotate-secret"),
    );
    // The settings form also has a `based_on`, and precedes this form.
    let based_on = || async {
        let page = desk.get(&settings).await;
        hidden(
            page.split(&format!("action=\"{path}\""))
                .nth(1)
                .expect("the form"),
            "based_on",
        )
    };
    let first = based_on().await;
    let form = [("overlap_hours", "0"), ("based_on", first.as_str()), REASON];
    let rotated = desk.post(&path, &form).await;
    assert_eq!(rotated.status, 200, "{}", rotated.text);
    let secret = hidden_copy(&rotated.text, "whsec_");
    let again = desk.post(&path, &form).await;
    assert_eq!(
        (again.status, again.text.contains("whsec_")),
        (409, false),
        "{}",
        again.text
    );
    assert!(
        again
            .text
            .contains("Nothing was changed: its secrets were changed"),
        "{}",
        again.text
    );
    assert!(
        again.text.contains("value=\"ticket 4711\""),
        "{}",
        again.text
    );
    let second = based_on().await;
    assert_ne!(second, first);
    let same = [
        ("secret", secret.as_str()),
        ("based_on", second.as_str()),
        REASON,
    ];
    let current = desk.post(&path, &same).await;
    assert_eq!(
        (
            current.status,
            current.text.contains("one other than the one in use")
        ),
        (400, true)
    );
}

#[tokio::test]
async fn a_form_that_sends_again_queues_once() {
    let desk = Desk::open("again-once").await;
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
    let one = desk.service.get("/v1/deliveries").await.body["items"][0].clone();
    let text = |name: &str| one[name].as_str().expect("an id").to_owned();
    let (event, purchase) = (
        format!("/ui/events/{}", text("event_id")),
        format!("/ui/purchases/{}", text("collapse_key")),
    );
    let destination = text("destination_id");
    let queued = || desk.service.count("deliveries");
    for (page, form, to, before) in [
        (
            format!("/ui/deliveries/{}", text("id")),
            &event,
            destination.as_str(),
            1,
        ),
        (event.clone(), &event, "all", 2),
        (purchase.clone(), &purchase, "all", 3),
    ] {
        let run = hidden(&desk.get(&page).await, "run");
        for _ in 0..2 {
            let fields = [("run", run.as_str()), ("destination_id", to), REASON];
            let sent = desk.post(&format!("{form}/resend"), &fields).await;
            assert!(
                sent.status == 303 && sent.header("location").contains("?pending=1"),
                "{page}: {}",
                sent.text
            );
            assert_eq!(queued(), before + 1, "{page}");
            desk.service
                .raw("UPDATE deliveries SET status = 'delivered' WHERE status = 'pending'");
        }
        assert_ne!(
            hidden(&desk.get(&page).await, "run"),
            run,
            "a page that is loaded anew sends anew"
        );
    }
}

#[tokio::test]
async fn a_taken_name_leaves_what_was_entered_but_secrets() {
    let desk = Desk::open("taken-name").await;
    desk.webhook("Billing", "https://example.com/hooks").await;
    let form = [
        ("kind", "webhook"),
        ("name", "Billing"),
        ("url", "https://example.com/other"),
        ("rate", "7"),
        ("events", "*"),
        ("headers", "Authorization: sesame"),
        REASON,
    ];
    let taken = desk.add(&form).await;
    assert_eq!(taken.status, 409, "{}", taken.text);
    for part in [
        "Nothing was changed: ",
        "https://example.com/other",
        "value=\"7\"",
        "ticket 4711",
        "Enter the headers again",
    ] {
        assert!(taken.text.contains(part), "{part}: {}", taken.text);
    }
    assert!(!taken.text.contains("sesame"), "{}", taken.text);
    let wrong = [
        &form[..5],
        &[
            ("name", "Other"),
            ("headers", "X-Team: a\r\nsesame"),
            REASON,
        ],
    ]
    .concat();
    let wrong: Vec<_> = wrong
        .into_iter()
        .filter(|field| *field != ("name", "Billing"))
        .collect();
    let refused = desk.add(&wrong).await;
    assert_eq!(
        (refused.status, refused.text.contains("sesame")),
        (400, false),
        "{}",
        refused.text
    );
    assert!(
        refused.text.contains("`Name: value` in line 2"),
        "{}",
        refused.text
    );
}

#[tokio::test]
async fn a_conflict_is_shown_at_the_form_with_what_was_entered() {
    let desk = Desk::open("conflict").await;
    let (id, _) = desk.webhook("Billing", "https://example.com/hooks").await;
    let path = format!("/ui/destinations/{id}/settings");
    let based_on = hidden(&desk.get(&path).await, "based_on");
    let changed = desk
        .service
        .send_json(
            "PATCH",
            &format!("/v1/destinations/{id}"),
            &json!({ "rate": 5 }),
        )
        .await;
    assert_eq!(changed.status, 200, "{}", changed.body);
    let form = [
        ("name", "Accounting"),
        ("url", "https://example.com/hooks"),
        ("based_on", based_on.as_str()),
        REASON,
    ];
    let refused = desk.post(&path, &form).await;
    assert_eq!(
        (
            refused.status,
            refused.text.contains("value=\"Accounting\"")
        ),
        (409, true),
        "{}",
        refused.text
    );
    assert!(refused.text.contains(
        "Nothing was changed: someone else changed it after you opened the form. Open it"
    ));
    assert!(
        !refused.text.contains("href=\"#settings\""),
        "{}",
        refused.text
    );
}

#[tokio::test]
async fn without_states_no_state_is_offered_to_be_sent() {
    let desk = Desk::open("no-states").await;
    let body = json!({ "kind": "webhook", "name": "Users", "url": "https://example.com/hooks", "events": ["user.*"] });
    let created = desk
        .service
        .send_json(
            "POST",
            &format!("/v1/apps/{}/destinations", desk.app),
            &body,
        )
        .await;
    let path = format!(
        "/ui/destinations/{}",
        created.body["id"].as_str().expect("an id")
    );
    let page = desk.get(&format!("{path}/resend")).await;
    assert!(
        page.contains("is not subscribed to purchase.updated, so there is no latest state to send"),
        "{page}"
    );
    for which in ["behind", "missing", "all"] {
        assert!(!page.contains(&format!("value=\"{which}\"")), "{page}");
    }
    let refused = desk
        .post(&format!("{path}/resend"), &[("which", "behind"), REASON])
        .await;
    assert_eq!(
        (refused.status, refused.text.contains("choose it first")),
        (422, true),
        "{}",
        refused.text
    );
}

#[tokio::test]
async fn a_test_that_needs_a_missing_key_leads_to_the_settings() {
    let desk = Desk::open("test-without-key").await;
    let body = json!({
        "kind": "amplitude", "name": "analytics", "endpoint": "eu", "api_key": "0123456789abcdef0123456789abcdef",
    });
    let created = desk
        .service
        .send_json(
            "POST",
            &format!("/v1/apps/{}/destinations", desk.app),
            &body,
        )
        .await;
    let path = format!(
        "/ui/destinations/{}",
        created.body["id"].as_str().expect("an id")
    );
    let page = desk.get(&path).await;
    let link = format!(
        "The test needs the Secret Key, which is missing. <a href=\"{path}/settings\">Settings</a>"
    );
    assert!(
        page.contains(&link) && !page.contains("event_type"),
        "{page}"
    );
    let key = json!({ "secret_key": "fedcba9876543210fedcba9876543210" });
    assert_eq!(
        desk.service
            .send_json("PATCH", &path.replace("/ui/", "/v1/"), &key)
            .await
            .status,
        200
    );
    assert!(!desk.get(&path).await.contains("which is missing"));
}
