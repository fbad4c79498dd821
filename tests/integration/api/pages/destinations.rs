//! The screens of destinations: a new one by the described form, secrets shown once, actions, and what is sent again.

use super::screens::{HOSTILE, is_harmless, purchase, signed_in};
use super::visitor::{Answer, Visitor};
use crate::api::edge::Service;
use serde_json::{Value, json};
use system_tests::mailbox::{Mailbox, Protection};
use system_tests::receiver::{Receiver, Reply};

pub const REASON: (&str, &str) = ("reason", "ticket 4711");

/// Somebody at the screens of destinations.
pub struct Desk {
    pub service: Service,
    pub visitor: Visitor,
    pub app: String,
}

impl Desk {
    /// A desk of a new service with an app.
    pub async fn open(name: &str) -> Self {
        Self::of(Service::start(name).await).await
    }

    async fn of(service: Service) -> Self {
        let (app, _) = service.platform().await;
        let visitor = signed_in(&service).await;
        Self {
            service,
            visitor,
            app,
        }
    }

    /// Sends the form of a new destination.
    pub async fn add(&self, fields: &[(&str, &str)]) -> Answer {
        let path = format!("/ui/apps/{}/destinations", self.app);
        self.visitor.post(&self.service, &path, fields).await
    }

    /// Adds a webhook by the API; its id and its secret.
    pub async fn webhook(&self, name: &str, url: &str) -> (String, String) {
        let body = json!({ "kind": "webhook", "name": name, "url": url });
        let created = self
            .service
            .send_json(
                "POST",
                &format!("/v1/apps/{}/destinations", self.app),
                &body,
            )
            .await;
        assert_eq!(created.status, 201, "{}", created.body);
        let text = |field: &str| created.body[field].as_str().expect("a text").to_owned();
        (text("id"), text("secret"))
    }

    pub async fn post(&self, path: &str, fields: &[(&str, &str)]) -> Answer {
        self.visitor.post(&self.service, path, fields).await
    }

    pub async fn get(&self, path: &str) -> String {
        let answer = self.visitor.get(&self.service, path).await;
        assert_eq!(answer.status, 200, "{path}: {}", answer.text);
        answer.text
    }

    async fn of_role(&self, role: &str) -> Visitor {
        let created = self
            .service
            .send_json("POST", "/v1/keys", &json!({ "name": role, "role": role }))
            .await;
        Visitor::with_key(&self.service, created.body["key"].as_str().expect("a key"))
            .await
            .expect("a sign-in")
    }
}

/// The places of these texts in a page, which must follow each other.
pub fn in_order(page: &str, texts: &[&str]) {
    let mut from = 0;
    for text in texts {
        let at = page[from..]
            .find(text)
            .unwrap_or_else(|| panic!("{text} is missing or too early: {page}"));
        from += at;
    }
}

/// The value of a hidden field of a form.
pub fn hidden(page: &str, name: &str) -> String {
    let mark = format!("name=\"{name}\" value=\"");
    let value = page
        .split(&mark)
        .nth(1)
        .and_then(|rest| rest.split('"').next());
    value
        .unwrap_or_else(|| panic!("no {name} in {page}"))
        .to_owned()
}

#[tokio::test]
async fn without_a_destination_the_page_offers_every_kind() {
    let desk = Desk::open("no-destination").await;
    let page = desk.get("/ui/destinations").await;
    for part in [
        "No destinations yet",
        "kind=webhook",
        "kind=amplitude",
        "data-live=\"destinations deliveries\"",
    ] {
        assert!(page.contains(part), "{part}: {page}");
    }
    let kinds = desk.get("/ui/destinations/new").await;
    assert!(
        kinds.contains("Add Webhook") && kinds.contains("Add Amplitude"),
        "{kinds}"
    );
    let reader = desk
        .of_role("read")
        .await
        .get(&desk.service, "/ui/destinations")
        .await;
    assert!(!reader.text.contains("kind=webhook"), "{}", reader.text);
    // Of several apps one is chosen.
    desk.service
        .send_json("POST", "/v1/apps", &json!({ "name": "second" }))
        .await;
    let choice = desk.get("/ui/destinations/new?kind=webhook").await;
    assert!(
        choice.contains("App</label>") && choice.contains("second"),
        "{choice}"
    );
    let form = desk
        .get(&format!(
            "/ui/destinations/new?kind=webhook&app_id={}",
            desk.app
        ))
        .await;
    assert!(
        form.contains(&format!("action=\"/ui/apps/{}/destinations\"", desk.app)),
        "{form}"
    );
}

#[tokio::test]
async fn the_documented_labels_alone_create_the_integration() {
    let desk = Desk::open("documented-form").await;
    let page = desk.get("/ui/destinations/new?kind=amplitude").await;
    let labels = [
        "Enable Integration",
        ">Name",
        ">URL",
        "API Key",
        "User ID",
        "Events",
    ];
    in_order(&page, &labels);
    for part in [
        "Standard Endpoint",
        "EU Residency Endpoint",
        "External ID",
        "of 8 chosen",
        "Organization Settings",
    ] {
        assert!(page.contains(part), "{part}: {page}");
    }
    let created = desk
        .add(&[
            ("kind", "amplitude"),
            ("enabled", "true"),
            ("name", "analytics"),
            ("endpoint", "eu"),
            ("api_key", "0123456789abcdef0123456789abcdef"),
            ("user_id", "external_id"),
            ("events", "user.subscription.renewed"),
            ("events", "user.subscription.expired"),
            REASON,
        ])
        .await;
    assert_eq!(created.status, 201, "{}", created.text);
    assert!(
        !created.text.contains("0123456789abcdef"),
        "an entered key is not shown: {}",
        created.text
    );
    assert!(
        created.text.contains("<title>Saved") && !created.text.contains("shown once"),
        "{}",
        created.text
    );
    let listed = desk
        .service
        .get(&format!("/v1/apps/{}/destinations", desk.app))
        .await
        .body["items"][0]
        .clone();
    assert_eq!(
        (&listed["endpoint"], &listed["enabled"]),
        (&json!("eu"), &json!(true)),
        "{listed}"
    );
    assert_eq!(
        listed["events"],
        json!(["user.subscription.renewed", "user.subscription.expired"])
    );
    let entry = desk
        .service
        .get("/v1/audit-log?operation=destination.create")
        .await
        .body["items"][0]
        .clone();
    assert_eq!(
        (&entry["actor"], &entry["reason"]),
        (&json!("admin token"), &json!("ticket 4711")),
        "{entry}"
    );
}

#[tokio::test]
async fn a_secret_is_on_the_answer_to_its_form_alone() {
    let desk = Desk::open("secret-once").await;
    let fields = [
        ("kind", "webhook"),
        ("name", "Billing"),
        ("url", "https://example.com/hooks"),
        ("enabled", "true"),
        REASON,
    ];
    let created = desk.add(&[&fields[..], &[("events", "*")]].concat()).await;
    assert_eq!(
        (created.status, created.header("cache-control")),
        (201, "no-store"),
        "{}",
        created.text
    );
    let secret = hidden_copy(&created.text, "whsec_");
    for part in [
        "<title>Copy what is shown once",
        "You won't see it again",
        "Verify a request",
        "Send a test",
    ] {
        assert!(created.text.contains(part), "{part}: {}", created.text);
    }
    let id = desk.service.get("/v1/overview").await.body["destinations"][0]["id"]
        .as_str()
        .expect("an id")
        .to_owned();
    let path = format!("/ui/destinations/{id}");
    for page in [
        path.clone(),
        format!("{path}/settings"),
        format!("{path}/settings?as=json"),
    ] {
        assert!(!desk.get(&page).await.contains("whsec_"), "{page}");
    }
    let rotated = desk
        .post(
            &format!("{path}/rotate-secret"),
            &[("overlap_hours", "1"), REASON],
        )
        .await;
    assert_eq!(rotated.status, 200, "{}", rotated.text);
    assert_ne!(hidden_copy(&rotated.text, "whsec_"), secret);
}

/// What a page offers to copy, by its beginning.
pub fn hidden_copy(page: &str, beginning: &str) -> String {
    let mark = format!("data-copy=\"{beginning}");
    let rest = page
        .split(&mark)
        .nth(1)
        .and_then(|rest| rest.split('"').next());
    format!(
        "{beginning}{}",
        rest.unwrap_or_else(|| panic!("no {beginning}: {page}"))
    )
}

#[tokio::test]
async fn a_wrong_form_names_each_field_and_repeats_no_secret() {
    let desk = Desk::open("wrong-destination").await;
    let wrong = [
        ("kind", "webhook"),
        ("name", HOSTILE),
        ("url", "ftp://example.com"),
        ("rate", "many"),
        ("secret", "whsec_wrong"),
    ];
    let refused = desk.add(&wrong).await;
    assert_eq!(refused.status, 400, "{}", refused.text);
    assert!(
        refused.text.contains("id=\"wrong-reason\""),
        "a reason is needed: {}",
        refused.text
    );
    let refused = desk.add(&[&wrong[..], &[REASON]].concat()).await;
    assert_eq!(refused.status, 400, "{}", refused.text);
    for part in [
        "id=\"wrong-rate\"",
        "value=\"many\"",
        "value=\"ftp://example.com\"",
        "value=\"ticket 4711\"",
        "href=\"#rate\"",
    ] {
        assert!(refused.text.contains(part), "{part}: {}", refused.text);
    }
    assert!(!refused.text.contains("whsec_wrong"), "{}", refused.text);
    is_harmless(
        &Answer {
            status: 200,
            ..refused
        },
        "a wrong form",
    );
    let unknown = desk.add(&[("kind", "pigeon"), ("name", "x"), REASON]).await;
    assert_eq!(unknown.status, 400, "{}", unknown.text);
    assert_eq!(
        desk.service.get("/v1/overview").await.body["destinations"],
        json!([])
    );
}

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
    /// A desk whose destinations may be on this machine.
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
