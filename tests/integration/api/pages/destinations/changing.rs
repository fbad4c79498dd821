//! A destination's settings and actions, by role.

use super::{Desk, REASON};
use serde_json::{Value, json};

#[tokio::test]
async fn each_action_is_that_of_the_api() {
    let desk = Desk::open("destination-actions").await;
    let (id, _) = desk.webhook("Billing", "https://example.com/hooks").await;
    let path = format!("/ui/destinations/{id}");
    for action in ["retry", "probe", "disable", "enable"] {
        assert_eq!(
            desk.post(&format!("{path}/{action}"), &[]).await.status,
            400,
            "{action} needs a reason"
        );
        let taken = desk.post(&format!("{path}/{action}"), &[REASON]).await;
        assert_eq!(
            (taken.status, taken.header("location")),
            (303, format!("{path}?done={action}").as_str()),
            "{action}"
        );
        let notice = desk.get(taken.header("location")).await;
        assert!(
            notice.contains("class=\"notice good\""),
            "{action}: {notice}"
        );
    }
    let signals: Vec<_> = desk
        .service
        .engine
        .destination_signals()
        .iter()
        .map(|(_, signal)| signal.name())
        .collect();
    assert_eq!(signals, ["probe", "probe", "disable", "enable"]);
}

#[tokio::test]
async fn settings_change_where_different_and_a_name_confirms_deletion() {
    let desk = Desk::open("destination-settings").await;
    let (id, _) = desk.webhook("Billing", "https://example.com/hooks").await;
    let path = format!("/ui/destinations/{id}");
    let page = desk.get(&format!("{path}/settings")).await;
    assert!(
        page.contains("value=\"https://example.com/hooks\"") && page.contains("New secret"),
        "{page}"
    );
    let stored = desk
        .service
        .get(&format!("/v1/destinations/{id}"))
        .await
        .body;
    let fields = |name: &'static str| {
        [
            ("name", name),
            ("url", "https://example.com/hooks"),
            ("enabled", "true"),
            ("events", "*"),
            REASON,
        ]
    };
    let choices = [
        ("body", "event"),
        ("without_external_id", "send"),
        ("signature", "v1"),
    ];
    let numbers = [("concurrency", "32"), ("device_batch", "1")];
    let sent = |name| [&fields(name)[..], &choices, &numbers].concat();
    let same = desk
        .post(&format!("{path}/settings"), &sent("Billing"))
        .await;
    assert_eq!(
        same.header("location"),
        format!("{path}/settings?done=nothing"),
        "{stored}: {}",
        same.text
    );
    let changed = desk
        .post(&format!("{path}/settings"), &sent("Accounting"))
        .await;
    assert_eq!(
        changed.header("location"),
        format!("{path}/settings?done=settings"),
        "{}",
        changed.text
    );
    let after = desk
        .service
        .get(&format!("/v1/destinations/{id}"))
        .await
        .body;
    let mut expected: Value = stored;
    expected["name"] = json!("Accounting");
    assert_eq!(after, expected);
    let wrong = desk
        .post(
            &format!("{path}/settings"),
            &[&fields("x")[..], &[("rate", "0")]].concat(),
        )
        .await;
    assert_eq!(
        (wrong.status, wrong.text.contains("id=\"wrong-rate\"")),
        (400, true),
        "{}",
        wrong.text
    );
    let unsure = desk
        .post(&format!("{path}/delete"), &[("name", "Billing"), REASON])
        .await;
    assert_eq!(
        (unsure.status, unsure.text.contains("id=\"wrong-name\"")),
        (400, true),
        "{}",
        unsure.text
    );
    let deleted = desk
        .post(&format!("{path}/delete"), &[("name", "Accounting"), REASON])
        .await;
    let list = format!("/ui/destinations?deleted={id}");
    assert_eq!(
        (deleted.status, deleted.header("location")),
        (303, list.as_str()),
        "{}",
        deleted.text
    );
    assert!(desk.get(&list).await.contains("Accounting was deleted."));
    assert!(
        desk.get(&path).await.contains("Deleted at")
            || desk.get(&path).await.contains("deleted at")
    );
}

#[tokio::test]
async fn who_may_not_change_a_destination_sees_no_form_for_it() {
    let desk = Desk::open("destination-roles").await;
    let (id, _) = desk.webhook("Billing", "https://example.com/hooks").await;
    let path = format!("/ui/destinations/{id}");
    for (role, seen) in [
        ("read", &[][..]),
        ("support", &["test", "resend"]),
        ("operator", &["test", "disable"]),
    ] {
        let visitor = desk.of_role(role).await;
        let mut pages = String::new();
        for end in ["", "/settings", "/resend"] {
            pages.push_str(
                &visitor
                    .get(&desk.service, &format!("{path}{end}"))
                    .await
                    .text,
            );
        }
        for action in ["test", "resend", "disable", "rotate-secret", "delete"] {
            let is_seen = pages.contains(&format!("action=\"{path}/{action}\""));
            let may = match role {
                "read" => false,
                "support" => ["test", "resend"].contains(&action),
                _ => true,
            };
            assert_eq!(is_seen, may, "{role} {action}");
            assert!(is_seen || !seen.contains(&action), "{role} {action}");
        }
        for which in ["failed", "range", "behind", "missing", "all"] {
            assert_eq!(
                pages.contains(&format!("value=\"{which}\"")),
                role != "read",
                "{role} {which}"
            );
        }
        assert_eq!(
            pages.contains("<button>Save</button>"),
            role == "operator",
            "{role}"
        );
        for idle in ["retry", "probe"] {
            assert!(
                !pages.contains(&format!("action=\"{path}/{idle}\"")),
                "nothing is pending, and it answers: {idle}"
            );
        }
        let disabled = visitor
            .post(&desk.service, &format!("{path}/disable"), &[REASON])
            .await;
        assert_eq!(
            disabled.status,
            if role == "operator" { 303 } else { 403 },
            "{role}"
        );
    }
}
