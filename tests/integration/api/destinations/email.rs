//! Email destinations: they need an SMTP server, refuse events that would flood a mailbox, and send a test mail.

use super::{check_wrong, create, desk, desk_with_mail, mails};
use serde_json::{Value, json};
use system_tests::mailbox::{Mailbox, Protection};

fn on_call(events: &[&str]) -> Value {
    let mut body = mails();
    body["events"] = json!(events);
    body
}

#[tokio::test]
async fn without_a_mail_server_the_missing_setting_is_named() {
    let (service, list) = desk("email-none").await;
    let refused = service.send_json("POST", &list, &mails()).await;
    check_wrong(&refused, &["kind"]);
    let detail = refused.body.to_string();
    assert!(
        detail.contains("`mail.url` (SETTLE_MAIL_URL)") && detail.contains("SETTLE_MAIL_FROM"),
        "{detail}"
    );
}

#[tokio::test]
async fn a_mailbox_is_not_flooded() {
    let (service, list) =
        desk_with_mail("email-events", "smtps://user:hunter2@mail.example.com").await;
    for event in [
        "*",
        "user.*",
        "user.subscription.*",
        "device.*",
        "device.impression",
    ] {
        check_wrong(
            &service
                .send_json("POST", &list, &on_call(&["destination.*", event]))
                .await,
            &["events"],
        );
    }
    let mut without = on_call(&[]);
    without.as_object_mut().expect("fields").remove("events");
    check_wrong(
        &service.send_json("POST", &list, &without).await,
        &["events"],
    );
    let (path, created) = create(
        &service,
        &list,
        &on_call(&["destination.*", "user.subscription.expired"]),
    )
    .await;
    assert_eq!(
        (&created["rate"], &created["subject_prefix"]),
        (&json!(1), &json!("[settle]"))
    );
    check_wrong(
        &service
            .send_json("PATCH", &path, &json!({ "events": ["*"] }))
            .await,
        &["events"],
    );
    check_wrong(
        &service
            .send_json("PATCH", &path, &json!({ "to": [] }))
            .await,
        &["to"],
    );
    let faster = service
        .send_json("PATCH", &path, &json!({ "rate": 5, "to": ["a@b.example"] }))
        .await;
    assert_eq!(
        (faster.status, &faster.body["rate"], &faster.body["to"]),
        (200, &json!(5), &json!(["a@b.example"]))
    );
    let kinds = service.get("/v1/destinations/kinds").await.body;
    let form = kinds["items"]
        .as_array()
        .expect("kinds")
        .iter()
        .find(|form| form["name"] == "email")
        .expect("it");
    let events = form["fields"]
        .as_array()
        .expect("fields")
        .iter()
        .find(|one| one["name"] == "events")
        .expect("it");
    assert_eq!(
        events["wildcards"]
            .as_array()
            .map(|all| all.contains(&json!("*"))),
        Some(false),
        "{events}"
    );
    assert!(
        !events["choices"].to_string().contains("device."),
        "{events}"
    );
}

#[tokio::test]
async fn an_app_has_twenty_destinations_of_mails() {
    let (service, list) =
        desk_with_mail("email-number", "smtps://user:hunter2@mail.example.com").await;
    let named = |number: usize| {
        let mut body = mails();
        body["name"] = json!(format!("on-call {number}"));
        body
    };
    let mut path = String::new();
    for number in 0..20 {
        path = create(&service, &list, &named(number)).await.0;
    }
    let refused = service.send_json("POST", &list, &named(20)).await;
    assert_eq!(refused.status, 409, "{}", refused.body);
    assert!(
        refused.body.to_string().contains("20 of the kind `email`"),
        "{}",
        refused.body
    );
    assert_eq!(
        service.send_json("DELETE", &path, &json!({})).await.status,
        204
    );
    create(&service, &list, &named(20)).await;
}

#[tokio::test]
async fn the_password_is_not_among_the_shown_settings() {
    let (service, list) =
        desk_with_mail("email-about", "smtps://user:hunter2@mail.example.com").await;
    let (path, created) = create(&service, &list, &mails()).await;
    let about = service.get("/v1/about").await.body;
    for shown in [&about, &created, &service.get(&path).await.body] {
        assert!(!shown.to_string().contains("hunter2"), "{shown}");
    }
    let settings = about["settings"].as_array().expect("settings");
    let value = |name: &str| {
        settings
            .iter()
            .find(|one| one["name"] == name)
            .map(|one| one["value"].clone())
    };
    assert_eq!(value("mail.url"), Some(json!("set (a secret)")));
    assert_eq!(value("mail.from"), Some(json!("settle@example.com")));
}

#[tokio::test]
async fn a_test_sends_a_mail() {
    let mailbox = Mailbox::start(Protection::None);
    let (service, list) = desk_with_mail(
        "email-test",
        &format!("smtp://{}?tls=none", mailbox.address()),
    )
    .await;
    let (path, _) = create(&service, &list, &mails()).await;
    let tested = service
        .send_json("POST", &format!("{path}/test"), &json!({}))
        .await
        .body;
    assert_eq!(
        tested,
        json!({ "ok": true, "detail": "the mail server answered 250: queued" })
    );
    let sample = json!({ "event_type": "destination.failing" });
    assert_eq!(
        service
            .send_json("POST", &format!("{path}/test"), &sample)
            .await
            .body["ok"],
        true
    );
    let subjects: Vec<String> = mailbox
        .mails()
        .iter()
        .map(|mail| mail.header("Subject").to_owned())
        .collect();
    assert_eq!(subjects[0], "[settle] Test");
    assert!(subjects[1].starts_with("[settle] Test: "), "{subjects:?}");
    mailbox.answer_next("RCPT", "550 5.1.1 no such user");
    let refused = service
        .send_json("POST", &format!("{path}/test"), &json!({}))
        .await
        .body;
    assert_eq!(
        refused,
        json!({ "ok": false, "detail": "the mail server answered 550: 5.1.1 no such user" })
    );
}

#[tokio::test]
async fn tests_do_not_flood_a_mailbox() {
    let mailbox = Mailbox::start(Protection::None);
    let (service, list) = desk_with_mail(
        "email-tests",
        &format!("smtp://{}?tls=none", mailbox.address()),
    )
    .await;
    let (path, _) = create(&service, &list, &mails()).await;
    let test = format!("{path}/test");
    for _ in 0..5 {
        assert_eq!(
            service.send_json("POST", &test, &json!({})).await.body["ok"],
            true
        );
    }
    let refused = service.send_json("POST", &test, &json!({})).await;
    assert_eq!(
        (refused.status, mailbox.mails().len()),
        (429, 5),
        "{}",
        refused.body
    );
    let mut other = mails();
    other["name"] = json!("others");
    let (path, _) = create(&service, &list, &other).await;
    assert_eq!(
        service
            .send_json("POST", &format!("{path}/test"), &json!({}))
            .await
            .body["ok"],
        true
    );
}
