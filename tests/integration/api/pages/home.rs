//! The home page, and the state of a destination on every page.

use super::destinations::in_order;
use super::screens::{purchase, signed_in};
use crate::api::edge::Service;
use domain::{DestinationId, PlatformId, Timestamp};
use serde_json::{Value, json};
use storage::{About, Counted, Series};

/// Starts a service with a purchase whose only delivery, to `billing`, has this status, and was queued in the future.
async fn with_delivery(name: &str, status: &str) -> (Service, String, DestinationId) {
    let service = Service::start(name).await;
    let (app, platform): (String, PlatformId) = service.platform().await;
    purchase(&service, &app, platform, "billing").await;
    service.raw(&format!(
        "UPDATE deliveries SET status = '{status}', created_at = 9000000000000000"
    ));
    let overview = service.get("/v1/overview").await.body;
    let id = overview["destinations"][0]["id"]
        .as_str()
        .expect("an id")
        .parse()
        .expect("an id");
    (service, app, id)
}

#[tokio::test]
async fn a_new_destination_is_not_tried_yet_on_every_screen() {
    let (service, app, id) = with_delivery("home-untried", "pending").await;
    let list = service
        .get(&format!("/v1/apps/{app}/destinations"))
        .await
        .body["items"][0]
        .clone();
    let one = service.get(&format!("/v1/destinations/{id}")).await.body;
    let overview = service.get("/v1/overview").await.body["destinations"][0].clone();
    for shown in [list, one, overview] {
        assert_eq!(
            (&shown["state"], &shown["shown_state"]),
            (&json!("healthy"), &json!("not_tried")),
            "{shown}"
        );
    }
    let visitor = signed_in(&service).await;
    let page = format!("/ui/destinations/{id}");
    for path in [
        "/ui/",
        "/ui/destinations",
        &page,
        &format!("{page}/settings"),
        &format!("/ui/connect/apps/{app}"),
    ] {
        let text = visitor.get(&service, path).await.text;
        assert!(
            text.contains("no event sent yet") && !text.contains("healthy"),
            "{path}: {text}"
        );
    }
}

#[tokio::test]
async fn a_destination_that_skips_everything_shows_why() {
    let (service, app, id) = with_delivery("home-skipping", "skipped").await;
    let visitor = signed_in(&service).await;
    let page = format!("/ui/destinations/{id}");
    let skipped = format!("href=\"{page}/deliveries?status=skipped\"");
    for path in [
        "/ui/",
        "/ui/destinations",
        &page,
        &format!("{page}/resend"),
        &format!("/ui/connect/apps/{app}"),
    ] {
        let text = visitor.get(&service, path).await.text;
        assert!(
            text.contains("skips everything") && text.contains(&skipped),
            "{path}: {text}"
        );
    }
    let text = visitor.get(&service, "/ui/").await.text;
    assert!(text.contains("billing is skipping everything."), "{text}");
    let text = visitor
        .get(&service, &format!("{page}/deliveries?status=skipped"))
        .await
        .text;
    assert!(
        text.contains("purchase.updated") && text.contains("not sent"),
        "{text}"
    );
    let explained = service
        .get(&format!("/v1/explain/destinations/{id}"))
        .await
        .body;
    let summary = explained["summary"].as_str().expect("a sentence");
    assert!(
        summary.contains("skips everything; no event of the last 24 hours was sent"),
        "{explained}"
    );
}

#[tokio::test]
async fn a_failing_destination_has_one_time_on_all_pages() {
    let (service, app, id) = with_delivery("home-open", "pending").await;
    let now: Timestamp = service.get("/v1/overview").await.body["now"]
        .as_str()
        .expect("a time")
        .parse()
        .expect("a time");
    let [first, opened] = [-600_000, -588_000].map(|millis| now.plus_millis(millis));
    service.raw(&format!(
        "UPDATE destinations SET state = 'open', since = {1};
         UPDATE health SET failures = 10, first_failure_at = {0}, last_failure_at = {0}, opened_at = {1}",
        first.micros(),
        opened.micros()
    ));
    let visitor = signed_in(&service).await;
    let page = format!("/ui/destinations/{id}");
    for path in [
        "/ui/",
        "/ui/destinations",
        &page,
        &format!("{page}/deliveries"),
        &format!("{page}/settings"),
        &format!("{page}/resend"),
        &format!("/ui/connect/apps/{app}"),
    ] {
        let text = visitor.get(&service, path).await.text;
        for part in [
            "failing, checked every 30 s",
            "settle sends what waits by itself",
            &first.to_string(),
        ] {
            assert!(text.contains(part), "{path}: {part}: {text}");
        }
        assert!(
            !text.contains("retries paused") && !text.contains(&opened.to_string()),
            "{path}: {text}"
        );
    }
    let overview = visitor.get(&service, &page).await.text;
    let sentence = "; settle checks it every 30 s and sends what waits by itself";
    assert!(overview.contains(sentence), "{overview}");
}

#[tokio::test]
async fn home_shows_the_largest_trouble_and_alarms_first() {
    let (service, app, id) = with_delivery("home-trouble", "pending").await;
    let now: Timestamp = service.get("/v1/overview").await.body["now"]
        .as_str()
        .expect("a time")
        .parse()
        .expect("a time");
    let first = now.plus_millis(-600_000).micros();
    service.raw(&format!(
        "UPDATE destinations SET state = 'failing';
         UPDATE health SET failures = 1, first_failure_at = {first}, last_failure_at = {first}"
    ));
    let visitor = signed_in(&service).await;
    let home = async || visitor.get(&service, "/ui/").await.text;
    let quiet = home().await;
    in_order(
        &quiet,
        &[
            "billing has been failing for 10 minutes. 1 delivery is pending.",
            "No open alarms.",
        ],
    );
    assert!(
        quiet.contains("1 delivery pending, no purchases waiting to settle."),
        "{quiet}"
    );
    service
        .store
        .alarm(
            About::Destination(id),
            "destination_failing",
            "requests keep failing; `settle status` shows why",
        )
        .await
        .expect("an alarm");
    let hook = json!({ "kind": "webhook", "name": "other", "url": "https://example.com/hooks" });
    assert_eq!(
        service
            .send_json("POST", &format!("/v1/apps/{app}/destinations"), &hook)
            .await
            .status,
        201
    );
    service.raw("UPDATE destinations SET state = 'failing'");
    let busy = home().await;
    in_order(
        &busy,
        &[
            "2 destinations are failing. 1 delivery is pending.",
            "Open alarms",
            "destination failing",
            "<p>requests keep failing.</p>",
            "For the operator: <code>settle status</code> shows why.",
            "Pending deliveries",
            "Failed deliveries",
            "Notifications per minute",
            "accepted",
            "an hour ago",
            "Events sent per minute",
            "Settling delay",
            "Response time",
        ],
    );
    assert!(
        !busy.contains("No open alarms") && busy.contains("class=\"tile zero\""),
        "{busy}"
    );
    let alarms = service.get("/v1/alarms?open=true").await.body["items"].clone();
    assert_eq!(alarms.as_array().map(Vec::len), Some(1), "{alarms}");
    assert_ne!(alarms[0]["about"], Value::Null);
}

#[tokio::test]
async fn the_actions_of_temporal_are_on_the_home_of_all_apps() {
    let (service, app, _) = with_delivery("home-actions", "delivered").await;
    let visitor = signed_in(&service).await;
    let home = async |query: &str| visitor.get(&service, &format!("/ui/{query}")).await.text;
    in_order(&home("").await, &["Temporal actions", "last 24 hours"]);
    assert!(
        !home(&format!("?app_id={app}"))
            .await
            .contains("Temporal actions"),
        "they belong to no app"
    );

    let (service, _, _) = with_delivery("home-metered", "delivered").await;
    let visitor = signed_in(&service).await;
    for _ in 0..13 {
        service.store.count(Series::Actions, Counted::default());
        service
            .store
            .count(Series::PurchaseActions, Counted::default());
    }
    (0..8640).for_each(|_| service.store.count(Series::Actions, Counted::default()));
    (0..3).for_each(|_| service.store.count(Series::Lag, Counted::default()));
    let text = visitor.get(&service, "/ui/").await.text;
    in_order(&text, &["Temporal actions", ">8,653<", "last 24 hours"]);
    assert!(
        !text.contains("per settled purchase"),
        "wakes cost actions, too, and are no settlings: {text}"
    );
    let now: Timestamp = service.get("/v1/overview").await.body["now"]
        .as_str()
        .expect("a time")
        .parse()
        .expect("a time");
    let path = format!(
        "/v1/series?what=actions&step=86400&from={}",
        now.plus_millis(-7 * 86_400_000)
    );
    let points = service.get(&path).await.body["items"].clone();
    assert!(
        points.as_array().is_some_and(|days| days.len() >= 8),
        "a week and today: {points}"
    );
    let count: i64 = points
        .as_array()
        .expect("points")
        .iter()
        .filter_map(|point| point["count"].as_i64())
        .sum();
    assert_eq!(count, 8653, "{points}");
}

#[tokio::test]
async fn what_the_demo_created_is_no_first_step() {
    let service = Service::start("home-demo").await;
    let app = service
        .send_json("POST", "/v1/apps", &json!({ "name": "demo" }))
        .await
        .body;
    let app = app["id"].as_str().expect("an id").to_owned();
    let body = json!({ "store": "amazon", "name": "demo", "package_name": "com.example.demo" });
    let platform = service
        .send_json("POST", &format!("/v1/apps/{app}/platforms"), &body)
        .await
        .body;
    let platform: PlatformId = platform["id"]
        .as_str()
        .expect("an id")
        .parse()
        .expect("a platform id");
    purchase(&service, &app, platform, "built-in").await;
    let visitor = signed_in(&service).await;
    let home = async |query: &str| visitor.get(&service, &format!("/ui/{query}")).await.text;
    let begin = home("").await;
    in_order(
        &begin,
        &[
            "First steps",
            "Create an app",
            "Connect its store",
            "Add a destination",
            "Wait for the first",
        ],
    );
    assert!(!begin.contains("(done)"), "{begin}");
    let of_demo = home(&format!("?app_id={app}")).await;
    assert!(!of_demo.contains("First steps"), "{of_demo}");
    let (own, platform) = service.platform().await;
    assert_eq!(
        home("").await.matches("(done)").count(),
        2,
        "an app and its platform"
    );
    let hook = json!({ "kind": "webhook", "name": "own", "url": "https://example.com/hooks" });
    assert_eq!(
        service
            .send_json("POST", &format!("/v1/apps/{own}/destinations"), &hook)
            .await
            .status,
        201
    );
    assert!(
        home("").await.contains("First steps"),
        "no notification came"
    );
    // As the store's route records it.
    service.raw(&format!(
        "INSERT INTO arrivals (platform_id, reason, times, first_at, last_at) VALUES ('{platform}', '', 1, 1, 1)"
    ));
    service
        .send_json(
            "PATCH",
            &format!("/v1/apps/{own}"),
            &json!({ "name": "reader" }),
        )
        .await;
    let done = home("").await;
    assert!(!done.contains("First steps"), "all is done: {done}");
}
