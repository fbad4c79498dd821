//! A test notification that settle requests of a store: the API and the page show whether it arrived, or why it was not
//! sent.

use super::edge::{Service, TOKEN};
use super::pages::visitor::Visitor;
use api::stores::{LAST_WITHOUT_SIGNS, StoreEntry, amazon, google};
use domain::time::{HOUR, MINUTE};
use domain::{Outcome, PlatformId};
use protocols::form::{Form, SetupEvidence, Step};
use serde_json::{Value, json};
use storage::{Handling, NewNotification, RepairKind, RepairLease};

/// A store that sends a test notification on request, and that only these tests know.
pub const TESTED: &str = "tested";
/// Why the store declines a request.
const NO_URL: &str = "the store has no URL: enter it in the store's console";
const STEP: &str = "Request a test notification";

fn form() -> Form {
    let step = Step {
        title: STEP,
        text: "Press the button.",
        place: "settle",
        copy: None,
        url: None,
        evidence: Some(SetupEvidence::RequestedTest("TEST", &[NO_URL])),
    };
    Form {
        name: TESTED,
        label: "the Tested Store",
        guide: vec![step],
        ..(amazon::ENTRY.form)()
    }
}

pub static STORES: [StoreEntry; 3] = [
    amazon::ENTRY,
    google::ENTRY,
    StoreEntry {
        name: TESTED,
        title: "Tested Store",
        since: LAST_WITHOUT_SIGNS,
        form,
        ..amazon::ENTRY
    },
];

/// A service with a platform of the store.
struct Testing {
    service: Service,
    visitor: Visitor,
    id: PlatformId,
}

impl Testing {
    async fn begin(name: &str) -> Self {
        let service = Service::knowing(name, &STORES).await;
        let app = json!({ "name": "reader" });
        let app = service.send_json("POST", "/v1/apps", &app).await.body["id"].clone();
        let path = format!("/v1/apps/{}/platforms", app.as_str().expect("an id"));
        let body = json!({ "store": TESTED, "name": "t", "package_name": "com.example.radio" });
        let created = service.send_json("POST", &path, &body).await;
        assert_eq!(created.status, 201, "{}", created.body);
        let id = created.body["id"].as_str().expect("an id");
        let visitor = Visitor::with_key(&service, TOKEN).await.expect("a sign-in");
        Self {
            id: id.parse().expect("an id"),
            service,
            visitor,
        }
    }

    fn path(&self) -> String {
        format!("/v1/platforms/{}", self.id)
    }

    /// Returns the status of a request for a test notification, and its answer's sentence.
    async fn request(&self) -> (u16, String) {
        let path = format!("{}/test", self.path());
        let answer = self.service.send_json("POST", &path, &Value::Null).await;
        let sentence = match answer.status {
            202 => &answer.body["next"],
            _ => &answer.body["detail"],
        };
        let sentence = sentence.as_str().expect("a sentence").to_owned();
        (answer.status, sentence)
    }

    async fn page(&self) -> String {
        let console = format!("/ui/connect/platforms/{}", self.id);
        self.visitor.get(&self.service, &console).await.text
    }

    /// Returns the state of the step, what was last seen of it, and what to do next, after a check that the page shows
    /// the same.
    async fn step(&self) -> [String; 3] {
        let steps = self.service.get(&format!("{}/steps", self.path())).await;
        let step = &steps.body["items"][0];
        let shown = ["state", "last_seen", "next"];
        let shown = shown.map(|field| step[field].as_str().unwrap_or_default().to_owned());
        let page = self.page().await;
        for text in &shown[1..] {
            let text = text.split(['\'', '`']).next().unwrap_or_default();
            assert!(page.contains(text.trim_end()), "{text}: {page}");
        }
        shown
    }

    /// Takes the requested test, as the worker does.
    async fn lease(&self) -> RepairLease {
        let store = &self.service.store;
        let leased = store.lease_requested_repair(self.id, MINUTE).await;
        let leased = leased.expect("a database").expect("a requested test");
        assert_eq!(leased.kind, RepairKind::Test);
        leased
    }

    /// Ends the requested test because of a failure, and returns the step.
    async fn fail(&self, why: &str) -> [String; 3] {
        let run = self.lease().await;
        let failed = self.service.store.restart_repair(&run, HOUR, why).await;
        assert!(failed.expect("a database"));
        self.step().await
    }
}

#[tokio::test]
async fn a_requested_test_notification_is_shown_arriving() {
    let testing = Testing::begin("test-arriving").await;
    let store = &testing.service.store;
    let [state, last, next] = testing.step().await;
    assert_eq!(
        (&*state, &*last),
        ("open", "No test notification was requested yet")
    );
    assert!(next.starts_with("Enter the credentials"), "{next}");
    let (status, why) = testing.request().await;
    assert!(status == 409 && why.contains("no credentials"), "{why}");
    let action = format!("action=\"/ui/connect/platforms/{}/test\"", testing.id);
    assert!(!testing.page().await.contains(&action));

    let secret = json!({ "shared_secret": "a-shared-secret" });
    let changed = testing
        .service
        .send_json("PATCH", &testing.path(), &secret)
        .await;
    assert_eq!(changed.status, 200, "{}", changed.body);
    assert!(testing.page().await.contains(&action));
    let (status, next) = testing.request().await;
    assert!(
        status == 202 && next.contains("settle platform steps"),
        "{next}"
    );
    let [state, last, _] = testing.step().await;
    assert_eq!(
        (&*state, &*last),
        ("open", "A test notification is about to be requested")
    );

    let run = testing.lease().await;
    let second = store.lease_requested_repair(testing.id, MINUTE).await;
    assert_eq!(second.expect("a database"), None, "it is requested once");
    assert!(store.finish_repair(&run, HOUR).await.expect("a database"));
    let [state, last, _] = testing.step().await;
    let waiting = "A test notification was requested, and has not arrived yet";
    assert_eq!((&*state, &*last), ("open", waiting));

    let test = NewNotification {
        platform_id: testing.id,
        message_id: "m1".to_owned(),
        receipt_id: String::new(),
        collapse_key: None,
        store_type: "TEST".to_owned(),
        store_time: None,
        app_user_id: None,
        body: "{}".to_owned(),
        handling: Handling::Final(Outcome::Unknown, "a test notification".to_owned()),
        traceparent: None,
        duty: None,
        closes: None,
        order_id: None,
        duplicate_key: None,
    };
    store.accept(vec![test]).await.expect("it is stored");
    let [state, last, _] = testing.step().await;
    assert_eq!(
        (&*state, &*last),
        ("done", "A test notification was accepted")
    );
}

#[tokio::test]
async fn a_test_notification_that_was_not_sent_is_explained() {
    let testing = Testing::begin("test-failing").await;
    let id = testing.id;
    let set = |columns: &str| {
        let statement = format!("UPDATE platforms SET {columns} WHERE id = '{id}'");
        testing.service.raw(&statement);
    };
    set("shared_secret = 'sealed'");
    assert_eq!(testing.request().await.0, 202);
    let [state, last, next] = testing.fail(NO_URL).await;
    assert_eq!(
        (&*state, &*last),
        ("problem", "The store sends no test notification")
    );
    assert_eq!(
        next,
        "The store has no URL: enter it in the store's console."
    );

    assert_eq!(testing.request().await.0, 202);
    let [state, last, next] = testing.fail("HTTP 503").await;
    assert_eq!((&*state, &*last), ("open", "The request failed: HTTP 503"));
    assert_eq!(next, "Request another one.");

    // The store sent it to this URL, where it was refused.
    assert_eq!(testing.request().await.0, 202);
    let run = testing.lease().await;
    let store = &testing.service.store;
    assert!(store.finish_repair(&run, HOUR).await.expect("a database"));
    store.count_arrival(id, "notification about another app");
    store.write_arrivals().await.expect("arrivals");
    let [state, last, _] = testing.step().await;
    let refused = "A message was refused: notification about another app";
    assert_eq!((&*state, &*last), ("problem", refused));

    assert_eq!(testing.request().await.0, 429, "after three requests");
    set("secret_refused_at = 4000000");
    let (status, why) = testing.request().await;
    assert!(status == 409 && why.contains("refuses"), "{why}");
}

#[tokio::test]
async fn a_store_without_test_notifications_has_no_button() {
    let service = Service::start("test-none").await;
    let (_, platform) = service.platform().await;
    let path = format!("/v1/platforms/{platform}/test");
    let refused = service.send_json("POST", &path, &Value::Null).await;
    assert_eq!(refused.status, 422, "{}", refused.body);
    let why = refused.body["detail"].as_str().expect("a sentence");
    assert!(why.contains("settle platform steps"), "{why}");
    let visitor = Visitor::with_key(&service, TOKEN).await.expect("a sign-in");
    let console = format!("/ui/connect/platforms/{platform}");
    let page = visitor.get(&service, &console).await.text;
    assert!(!page.contains(&format!("{console}/test")), "{page}");
}
