//! The setup steps of a platform: the API and the page show the same of each, in each of its states.

use super::edge::{Service, TOKEN};
use super::pages::visitor::Visitor;
use domain::{Outcome, PlatformId};
use protocols::stores::google::response::AccessProblem;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use storage::{Handling, NewNotification};

const DUTY: &str = "6b275a67-0bbb-4f3a-99b9-6600bf711993";
const SUBSCRIPTION: &str = "projects/example-project/subscriptions/play";
const ACCOUNT: &str = "push@example-project.iam.gserviceaccount.com";
const SUBSCRIPTION_STEP: &str = "Create a push subscription";
const RIGHTS: &str = "Give the account its rights";
const API: &str = "Turn on the API";
const TEST: &str = "Send a test notification";

/// A service with a platform of Google Play.
struct Connecting {
    service: Service,
    visitor: Visitor,
    id: PlatformId,
}

impl Connecting {
    async fn begin(name: &str) -> Self {
        let service = Service::start(name).await;
        let app = json!({ "name": "reader" });
        let app = service.send_json("POST", "/v1/apps", &app).await.body["id"].clone();
        let path = format!("/v1/apps/{}/platforms", app.as_str().expect("an id"));
        let body = json!({
            "store": "google", "name": "play", "package_name": "com.example.radio", "no_older_process": true,
        });
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

    /// Returns the steps by their titles, after a check that the page shows the same.
    async fn steps(&self) -> BTreeMap<String, Value> {
        let path = format!("/v1/platforms/{}/steps", self.id);
        let answer = self.service.get(&path).await;
        assert_eq!(answer.status, 200, "{}", answer.body);
        let console = format!("/ui/connect/platforms/{}", self.id);
        let page = self.visitor.get(&self.service, &console).await.text;
        let items = answer.body["items"].as_array().expect("steps");
        for text in items
            .iter()
            .flat_map(|step| [&step["last_seen"], &step["next"]])
        {
            // Quotation marks and code are escaped and marked up on the page.
            let text = text.as_str().unwrap_or_default();
            let text = text.split(['"', '\'', '`']).next().unwrap_or_default();
            assert!(page.contains(text.trim_end()), "{text}: {page}");
        }
        let problems = items.iter().filter(|step| step["state"] == "problem");
        let shown = page.matches("problem</span>");
        assert_eq!(problems.count(), shown.count(), "{page}");
        let named = items.iter().map(|step| {
            let title = step["title"].as_str().expect("a title");
            (title.to_owned(), step.clone())
        });
        named.collect()
    }

    /// Counts a response to the store, with the reason of a refusal.
    async fn arrive(&self, reason: &'static str) {
        self.service.store.count_arrival(self.id, reason);
        let written = self.service.store.write_arrivals().await;
        written.expect("arrivals");
    }

    async fn set(&self, fields: Value) {
        let path = format!("/v1/platforms/{}", self.id);
        let body = json!({ "store_settings": fields });
        let changed = self.service.send_json("PATCH", &path, &body).await;
        assert_eq!(changed.status, 200, "{}", changed.body);
    }

    /// Changes the platform's row, for a state that otherwise only a query produces.
    fn change(&self, columns: &str) {
        let id = self.id;
        self.service
            .raw(&format!("UPDATE platforms SET {columns} WHERE id = '{id}'"));
    }
}

fn states(steps: &BTreeMap<String, Value>) -> BTreeMap<&str, usize> {
    let mut counts = BTreeMap::new();
    for step in steps.values() {
        *counts
            .entry(step["state"].as_str().expect("a state"))
            .or_default() += 1;
    }
    counts
}

#[tokio::test]
async fn the_steps_show_what_was_last_received() {
    let connecting = Connecting::begin("steps-received").await;
    let steps = connecting.steps().await;
    assert_eq!(
        states(&steps),
        BTreeMap::from([("open", 12), ("unknown", 1)])
    );
    let expiry = &steps["Let the subscription never expire"];
    assert_eq!(expiry["last_seen"], Value::Null);
    assert!(
        expiry["next"]
            .as_str()
            .is_some_and(|next| next.contains("cannot see"))
    );

    let settings = json!({ "subscription": SUBSCRIPTION, "push_account": ACCOUNT });
    connecting.set(settings).await;
    let steps = connecting.steps().await;
    for title in ["Enter the subscription", "Create the push account"] {
        assert_eq!(steps[title]["state"], "done", "{title}");
    }

    connecting
        .arrive("bearer token is for another audience")
        .await;
    let steps = connecting.steps().await;
    let refused = &steps[SUBSCRIPTION_STEP];
    assert_eq!(refused["state"], "problem", "{refused}");
    assert!(refused["last_seen_at"].is_string(), "{refused}");
    let next = refused["next"].as_str().unwrap_or_default();
    assert!(next.starts_with("Copy the audience"), "{refused}");
    assert_eq!(steps["Copy the notification URL"]["state"], "done");
    assert_eq!(steps[TEST]["state"], "problem");

    connecting.arrive("").await;
    let steps = connecting.steps().await;
    assert_eq!(steps[SUBSCRIPTION_STEP]["state"], "done");
    assert_eq!(steps["Check that it was accepted"]["state"], "done");
    let console = format!("/ui/connect/platforms/{}", connecting.id);
    let page = connecting.visitor.get(&connecting.service, &console).await;
    assert!(
        page.text.contains("Next: add a destination"),
        "{}",
        page.text
    );
    let others = steps[TEST]["last_seen"].as_str().unwrap_or_default();
    assert!(others.starts_with("No test notification"), "{others}");

    let reason = "a test notification of the Play Console".to_owned();
    let test = NewNotification {
        platform_id: connecting.id,
        message_id: "m1".to_owned(),
        receipt_id: String::new(),
        collapse_key: None,
        store_type: "TEST".to_owned(),
        store_time: None,
        app_user_id: None,
        body: "{}".to_owned(),
        handling: Handling::Final(Outcome::Unknown, reason),
        traceparent: None,
        duty: None,
        closes: None,
        order_id: None,
        duplicate_key: None,
    };
    let accepted = connecting.service.store.accept(vec![test]).await;
    accepted.expect("it is stored");
    let steps = connecting.steps().await;
    let tested = &steps[TEST];
    assert_eq!(
        tested["last_seen"], "A test notification was accepted",
        "{tested}"
    );
}

#[tokio::test]
async fn a_refused_message_shows_the_topic_and_its_publisher() {
    const TOPIC: &str = "Create a topic";
    const PUBLISHER: &str = "Let Google Play publish to it";
    for (name, reason, wrong) in [
        (
            "steps-account",
            "bearer token is of another account",
            "Create the push account",
        ),
        (
            "steps-audience",
            "bearer token is for another audience",
            SUBSCRIPTION_STEP,
        ),
        (
            "steps-subscription",
            "message of another subscription",
            "Enter the subscription",
        ),
        (
            "steps-package",
            "message of another app",
            "Turn on the notifications",
        ),
    ] {
        let connecting = Connecting::begin(name).await;
        let settings = json!({ "subscription": SUBSCRIPTION, "push_account": ACCOUNT });
        connecting.set(settings).await;
        connecting.arrive(reason).await;
        let steps = connecting.steps().await;
        for title in [TOPIC, PUBLISHER] {
            let step = &steps[title];
            assert_eq!(step["state"], "done", "{step}");
            assert_eq!(step["next"], Value::Null, "{step}");
            assert!(step["last_seen_at"].is_string(), "{step}");
            let last = format!("A message came this far, and was refused: {reason}");
            assert_eq!(step["last_seen"], last, "{step}");
        }
        let last = format!("A message was refused: {reason}");
        assert_eq!(steps[wrong]["state"], "problem", "{reason}");
        for title in [wrong, SUBSCRIPTION_STEP] {
            let step = &steps[title];
            assert_eq!(step["last_seen"], last, "{step}");
            assert!(step["next"].is_string(), "{step}");
        }
    }
}

#[tokio::test]
async fn a_message_of_another_publisher_shows_what_to_do() {
    for (name, reason, begins) in [
        (
            "steps-unreadable",
            "data is not a notification",
            "The message is no notification",
        ),
        (
            "steps-large",
            "body larger than 64 KiB",
            "The message is larger than any",
        ),
    ] {
        let connecting = Connecting::begin(name).await;
        connecting.arrive(reason).await;
        let steps = connecting.steps().await;
        let publisher = &steps["Let Google Play publish to it"];
        assert_eq!(publisher["state"], "problem", "{publisher}");
        let last = format!("A message was refused: {reason}");
        assert_eq!(publisher["last_seen"], last, "{publisher}");
        let next = publisher["next"].as_str().unwrap_or_default();
        assert!(next.starts_with(begins), "{publisher}");
    }
}

#[tokio::test]
async fn the_steps_show_whether_the_store_answers_queries() {
    let connecting = Connecting::begin("steps-queries").await;
    connecting.change("store_credentials = 'sealed', store_credentials_at = 1000000");
    let key = "Create a key of a second service account";
    let steps = connecting.steps().await;
    assert_eq!(
        (&steps[key]["state"], &steps[RIGHTS]["state"]),
        (&json!("done"), &json!("open"))
    );

    let id = connecting.id;
    connecting.service.raw(&format!(
        "INSERT INTO repairs (platform_id, kind, runs, due_at, failures, failure, failed_at)
         VALUES ('{id}', 'voids', 1, 1, 1, 'HTTP 500', 2000000)"
    ));
    let steps = connecting.steps().await;
    let failed = &steps[RIGHTS];
    assert_eq!(
        failed["last_seen"], "The last query failed: HTTP 500",
        "{failed}"
    );

    connecting.service.raw(
        "UPDATE repairs SET repaired_through = 3000000, failures = 0, failure = NULL, failed_at = NULL",
    );
    let steps = connecting.steps().await;
    for title in [API, RIGHTS] {
        let step = &steps[title];
        assert_eq!(step["last_seen"], "The store answered a query", "{step}");
    }

    for (problem, title) in [
        (AccessProblem::Right, RIGHTS),
        (AccessProblem::App, RIGHTS),
        (AccessProblem::ApiDisabled, API),
        (AccessProblem::Credential, key),
    ] {
        connecting.change("secret_refused_at = 4000000");
        let why = problem.refusal().why.replace('\'', "''");
        connecting.service.raw("DELETE FROM alarms");
        connecting.service.raw(&format!(
            "INSERT INTO alarms (id, at, last_at, times, platform_id, kind, detail)
             VALUES ('{id}', 1, 1, 1, '{id}', 'secret_refused', '{why}')"
        ));
        let steps = connecting.steps().await;
        let with_problem: Vec<_> = steps
            .values()
            .filter(|step| step["state"] == "problem")
            .map(|step| step["title"].as_str().expect("a title"))
            .collect();
        assert_eq!(with_problem, [title], "{problem:?}");
        let next = steps[title]["next"].as_str().unwrap_or_default();
        assert!(
            next.ends_with('.') && next[1..].starts_with(&problem.refusal().why[1..]),
            "{next}"
        );
    }
}

#[tokio::test]
async fn a_query_of_the_store_can_be_requested_a_few_times() {
    let connecting = Connecting::begin("steps-requested").await;
    let service = &connecting.service;
    let path = format!("/v1/platforms/{}/try-access", connecting.id);
    let request = async || service.send_json("POST", &path, &Value::Null).await.status;
    assert_eq!(request().await, 409, "without credentials");

    connecting.change(
        "store_credentials = 'sealed', store_credentials_at = 1000000, secret_refused_at = 4000000",
    );
    service.raw(&format!(
        "INSERT INTO repairs (platform_id, kind, runs, due_at, failures)
         VALUES ('{}', 'voids', 1, 1, 0)",
        connecting.id
    ));
    assert_eq!(request().await, 204);
    let steps = connecting.steps().await;
    let requested = "The store is about to be queried";
    for title in [API, RIGHTS] {
        assert_eq!(steps[title]["last_seen"], requested, "{title}");
    }
    let console = format!("/ui/connect/platforms/{}", connecting.id);
    let page = connecting.visitor.get(service, &console).await.text;
    let action = format!("action=\"{console}/try-access\"");
    assert!(page.contains(&action), "{page}");
    let further = [request().await, request().await, request().await];
    assert_eq!(further, [204, 204, 429]);
}

#[tokio::test]
async fn a_store_without_evidence_shows_its_steps_alone() {
    let service = Service::start("steps-plain").await;
    let (_, platform) = service.platform().await;
    let path = format!("/v1/platforms/{platform}/steps");
    let steps = service.get(&path).await.body;
    let items = steps["items"].as_array().expect("steps");
    assert!(items.len() > 3, "{steps}");
    let is_plain = |step: &Value| step["state"] == "unknown" && step["next"].is_null();
    assert!(items.iter().all(is_plain), "{steps}");
    let visitor = Visitor::with_key(&service, TOKEN).await.expect("a sign-in");
    let console = format!("/ui/connect/platforms/{platform}");
    let page = visitor.get(&service, &console).await.text;
    assert!(
        page.contains("Add an endpoint") && !page.contains("not visible"),
        "{page}"
    );
    let path = format!("/v1/platforms/{platform}/try-access");
    let request = service.send_json("POST", &path, &Value::Null).await;
    assert_eq!(request.status, 422, "{}", request.body);
    assert!(!page.contains("/try-access"), "{page}");
}

#[tokio::test]
async fn open_duties_stand_on_the_platforms_page_and_on_home() {
    let connecting = Connecting::begin("steps-duties").await;
    let (id, service) = (connecting.id, &connecting.service);
    let console = format!("/ui/connect/platforms/{id}");
    let page = async |path: &str| connecting.visitor.get(service, path).await.text;
    let counts = async || service.get("/v1/overview").await.body["duties"].clone();
    assert_eq!(counts().await, Value::Null);
    let plain = page(&console).await;
    assert!(!plain.contains("Open duties"), "{plain}");

    service.raw(&format!(
        "INSERT INTO duties (id, kind, platform_id, order_id, created_at, answer_by)
         VALUES ('{DUTY}', 'refund_review', '{id}', 'GPA.1', 1, 2)"
    ));
    assert_eq!(counts().await, json!({ "open": 1, "overdue": 1 }));
    let shown = page(&console).await;
    let sentence = "question about a refund of order GPA.1: open, although its deadline was";
    assert!(
        shown.contains("Open duties") && shown.contains(sentence),
        "{shown}"
    );
    let home = page("/ui/").await;
    let sentence =
        "1 duty to a store is open, 1 past the deadline: see the platforms under Connect.";
    assert!(home.contains(sentence), "{home}");

    let close = format!("/v1/duties/{DUTY}/close");
    let closed = service.send_json("POST", &close, &json!({})).await;
    assert_eq!(closed.status, 200, "{}", closed.body);
    assert_eq!(counts().await, Value::Null);
    let plain = page(&console).await;
    assert!(!plain.contains("Open duties"), "{plain}");
}
