//! The pages of events: the list with its filter in the URL, one event with its recipients, and errors.

use super::screens::{HOSTILE, is_harmless, purchase, signed_in};
use super::visitor::{Answer, Visitor};
use crate::api::edge::Service;
use domain::PlatformId;
use serde_json::{Value, json};
use system_tests::rows;
use workflows::failing::FailingActivity;

async fn shop(name: &str, text: &str) -> (Service, String, PlatformId) {
    let service = Service::start(name).await;
    let (app, platform) = service.platform().await;
    purchase(&service, &app, platform, text).await;
    (service, app, platform)
}

#[tokio::test]
async fn what_fails_is_on_the_page_of_its_purchase() {
    let service = Service::start("page-failing").await;
    service.platform().await;
    let key = service.seed(&["receipt-1"]).await[0];
    let visitor = signed_in(&service).await;
    let failing = FailingActivity {
        activity: "record".to_owned(),
        attempts: 7,
        why: "a constraint forbids the change".to_owned(),
        next_at: None,
    };
    let run = (format!("purchase/{key}"), vec![failing]);
    *service.engine.failing.lock().expect("no test panicked") = Some(run);
    let shown = visitor.get(&service, &format!("/ui/purchases/{key}")).await;
    for part in [
        "recording what the store answered failed 7 times",
        "a constraint forbids the change",
    ] {
        assert!(shown.text.contains(part), "{part}: {}", shown.text);
    }
}

#[tokio::test]
async fn events_are_filtered_by_the_address() {
    let (service, app, platform) = shop("events", "receipt").await;
    let visitor = signed_in(&service).await;
    let event = service.get("/v1/events").await.body["items"][0]["id"]
        .as_str()
        .expect("an id")
        .to_owned();
    for (query, is_found) in [
        (String::new(), true),
        (
            "type=purchase.updated&environment=production".to_owned(),
            true,
        ),
        (format!("app_id={app}&platform_id={platform}"), true),
        ("type=user.*".to_owned(), false),
        ("environment=sandbox".to_owned(), false),
        (
            "from=1970-01-01T00:00&until=1970-01-02T00:00:00".to_owned(),
            true,
        ),
        ("from=2026-01-01T00:00".to_owned(), false),
    ] {
        let page = visitor.get(&service, &format!("/ui/events?{query}")).await;
        assert_eq!(page.status, 200, "{query}: {}", page.text);
        assert_eq!(
            page.text.contains(&format!("/ui/events/{event}")),
            is_found,
            "{query}: {}",
            page.text
        );
        let data = visitor
            .get(&service, &format!("/ui/events?{query}&as=json"))
            .await;
        let data: Value = serde_json::from_str(&data.text).expect("JSON");
        assert_eq!(
            data["items"].as_array().map(Vec::len),
            Some(usize::from(is_found)),
            "{query}: {data}"
        );
    }
    let page = visitor
        .get(
            &service,
            "/ui/events?type=purchase.updated&from=1970-01-01T00:00",
        )
        .await
        .text;
    for part in [
        "data-live=\"events\"",
        "value=\"1970-01-01T00:00:00\"",
        "type=purchase.updated&#38;from=1970-01-01T00%3A00%3A00Z",
    ] {
        assert!(page.contains(part), "{part}: {page}");
    }
    let key = service.get("/v1/purchases").await.body["items"][0]["collapse_key"]
        .as_str()
        .expect("a key")
        .to_owned();
    let narrow = visitor
        .get(&service, &format!("/ui/events?collapse_key={key}"))
        .await
        .text;
    let mark = format!("name=\"collapse_key\" value=\"{key}\"");
    assert!(
        narrow.contains(&mark) && narrow.contains(&format!("/ui/events/{event}")),
        "{narrow}"
    );
    for query in [
        "type=nothing",
        "from=yesterday",
        "platform_id=x",
        "cursor=x",
    ] {
        let wrong = visitor.get(&service, &format!("/ui/events?{query}")).await;
        assert_eq!(
            (wrong.status, wrong.text.contains("role=\"alert\"")),
            (400, true),
            "{query}: {}",
            wrong.text
        );
    }
}

#[tokio::test]
async fn a_filter_of_events_stays_chosen_and_has_its_command() {
    let (service, _, _) = shop("events-chosen", "receipt").await;
    let visitor = signed_in(&service).await;
    let right = visitor
        .get(&service, "/ui/events?type=user.*&from=1970-01-01T00:00")
        .await
        .text;
    let command = "settle event list --type &#39;user.*&#39; --from 1970-01-01T00:00:00Z\"";
    assert!(right.contains(command), "{right}");
    let wrong = visitor
        .get(&service, "/ui/events?from=yesterday")
        .await
        .text;
    for part in [
        "<li id=\"wrong-from\">From (UTC): expected ",
        "aria-describedby=\"wrong-from\"",
    ] {
        assert!(wrong.contains(part), "{part}: {wrong}");
    }
    for implied in ["profile.updated", "revenue.adjusted"] {
        let option = format!("<option value=\"{implied}\" selected>{implied}</option>");
        let listed = visitor
            .get(&service, &format!("/ui/events?type={implied}"))
            .await
            .text;
        assert!(listed.contains(&option), "{implied}: {listed}");
        assert!(
            right.contains(&option.replace(" selected", "")),
            "{implied} is offered: {right}"
        );
    }
    let several = visitor
        .get(&service, "/ui/events?type=user.*,purchase.updated")
        .await
        .text;
    let chosen = "<option value=\"user.*,purchase.updated\" selected>";
    assert!(
        several.contains(chosen),
        "what no list offers stays chosen: {several}"
    );
    let crafted = visitor
        .get(&service, "/ui/events?type=x%27;rm%20-rf%20~;%27")
        .await
        .text;
    assert!(
        crafted.contains("data-copy=\"settle event list\""),
        "{crafted}"
    );
}

#[tokio::test]
async fn pages_of_events_lead_to_older_ones_with_the_filter() {
    let service = Service::start("events-pages").await;
    service.platform().await;
    let visitor = signed_in(&service).await;
    let empty = visitor.get(&service, "/ui/events").await.text;
    assert!(
        empty.contains("No events yet") && empty.contains("href=\"/ui/connect\""),
        "{empty}"
    );
    let receipts: Vec<String> = (0..51).map(|number| format!("receipt-{number}")).collect();
    service
        .seed(&receipts.iter().map(String::as_str).collect::<Vec<_>>())
        .await;
    service.seed_events();
    let first = visitor
        .get(&service, "/ui/events?type=purchase.updated")
        .await
        .text;
    let older = first
        .split("href=\"")
        .filter_map(|rest| rest.split('"').next())
        .find(|path| path.contains("cursor="));
    let older = older
        .unwrap_or_else(|| panic!("no older ones: {first}"))
        .replace("&#38;", "&");
    assert!(older.contains("type=purchase.updated"), "{older}");
    let second = visitor.get(&service, &older).await.text;
    let rows = |page: &str| page.matches("<th scope=\"row\"").count();
    assert_eq!((rows(&first), rows(&second)), (50, 1), "{second}");
}

#[tokio::test]
async fn a_list_is_a_file_of_all_that_its_filter_finds() {
    let service = Service::start("events-csv").await;
    service.platform().await;
    let receipts: Vec<String> = (0..510).map(|number| format!("={number}")).collect();
    service
        .seed(&receipts.iter().map(String::as_str).collect::<Vec<_>>())
        .await;
    service.seed_events();
    let visitor = signed_in(&service).await;
    let page = visitor
        .get(&service, "/ui/events?type=purchase.updated")
        .await
        .text;
    assert!(
        page.contains("href=\"/ui/events?type=purchase.updated&#38;as=csv\""),
        "{page}"
    );
    let file = visitor
        .get(&service, "/ui/events?type=purchase.updated&as=csv")
        .await;
    assert_eq!(
        (file.status, file.header("content-type")),
        (200, "text/csv; charset=utf-8")
    );
    assert_eq!(
        file.header("content-disposition"),
        "attachment; filename=\"events.csv\""
    );
    let lines: Vec<&str> = file.text.lines().collect();
    let head =
        "\u{feff}id,collapse_key,app_id,user_id,Event,About,State afterwards,Environment,Recorded";
    assert_eq!((lines[0], lines.len()), (head, 511));
    let event = &service
        .get("/v1/events?type=purchase.updated&limit=1")
        .await
        .body["items"][0];
    let text = |name: &str| event[name].as_str().unwrap_or_default();
    let (id, at) = (text("id"), text("created_at"));
    let first = format!(
        "{id},{},{},,purchase.updated,Purchase,",
        text("collapse_key"),
        text("app_id")
    );
    assert!(lines[1].starts_with(&first), "{first}: {}", lines[1]);
    assert!(lines[1].ends_with(at), "{at}: {}", lines[1]);
    let other = service
        .send_json("POST", "/v1/apps", &json!({ "name": "other" }))
        .await
        .body["id"]
        .clone();
    let key = json!({ "name": "other", "role": "read", "app_id": other });
    let key = service.send_json("POST", "/v1/keys", &key).await.body["key"]
        .as_str()
        .expect("a key")
        .to_owned();
    let stranger = Visitor::with_key(&service, &key).await.expect("a sign-in");
    let theirs = stranger.get(&service, "/ui/events?as=csv").await.text;
    assert_eq!(theirs.lines().count(), 1, "of its own app: {theirs}");
    let purchases = visitor.get(&service, "/ui/purchases?as=csv").await.text;
    let receipts = purchases
        .lines()
        .skip(1)
        .filter(|line| line.contains(",'="))
        .count();
    assert_eq!(receipts, 510, "none is a formula: {purchases}");
    assert_eq!(
        visitor
            .get(&service, "/ui/events?type=user.*&as=csv")
            .await
            .text
            .lines()
            .count(),
        1
    );
    assert_eq!(
        visitor
            .get(&service, "/ui/events?type=nothing&as=csv")
            .await
            .status,
        400
    );
}

#[tokio::test]
async fn the_last_row_of_a_cut_file_names_the_limit() {
    let service = Service::start("csv-cut").await;
    let (app, platform) = service.platform().await;
    let purchases = rows::purchases(platform, &app)
        .numbered(1, 10_001)
        .sql("receipt_id", "'r' || i");
    service.raw(&purchases.sql("collapse_key", "printf('00000000-0000-4000-8000-%012d', i)"));
    let file = signed_in(&service)
        .await
        .get(&service, "/ui/purchases?as=csv")
        .await
        .text;
    let last = file.lines().last().unwrap_or_default();
    assert_eq!(file.lines().count(), 1 + 10_000 + 1, "{last}");
    assert!(
        last.starts_with("\"The file ends here, but there may be more"),
        "{last}"
    );
}

#[tokio::test]
async fn an_event_shows_who_got_it_who_did_not_and_why() {
    let (service, app, _) = shop("event", HOSTILE).await;
    let other = json!({ "kind": "webhook", "name": "late", "url": "https://example.com/late" });
    let other = service
        .send_json("POST", &format!("/v1/apps/{app}/destinations"), &other)
        .await;
    let visitor = signed_in(&service).await;
    let id = service.get("/v1/events").await.body["items"][0]["id"]
        .as_str()
        .expect("an id")
        .to_owned();
    let path = format!("/ui/events/{id}");
    let page = visitor.get(&service, &path).await;
    is_harmless(&page, &path);
    let other = other.body["id"].as_str().expect("an id");
    for part in [
        "not sent",
        "failed",
        "product_ref_id",
        "Cause",
        &format!("/ui/destinations/{other}"),
    ] {
        assert!(page.text.contains(part), "{part}: {}", page.text);
    }
    assert_eq!(
        serde_json::from_str::<Value>(
            &visitor.get(&service, &format!("{path}?as=json")).await.text
        )
        .expect("JSON"),
        service.get(&format!("/v1/explain/events/{id}")).await.body
    );
    let wrong = visitor
        .post(
            &service,
            &format!("{path}/resend"),
            &[("destination_id", HOSTILE), ("reason", "x")],
        )
        .await;
    assert_eq!(
        (
            wrong.status,
            wrong.text.contains("id=\"wrong-destination_id\"")
        ),
        (400, true),
        "{}",
        wrong.text
    );
    is_harmless(
        &Answer {
            status: 200,
            ..wrong
        },
        "a mistake",
    );
    let unaddressed = visitor
        .post(
            &service,
            &format!("{path}/resend"),
            &[("reason", "ticket 4711")],
        )
        .await;
    assert_eq!(unaddressed.status, 400, "no destination is chosen at first");
    assert!(
        unaddressed.text.contains("Expected one destination or all"),
        "{}",
        unaddressed.text
    );
    let fields = [("destination_id", "all"), ("reason", "ticket 4711")];
    let again = visitor
        .post(&service, &format!("{path}/resend"), &fields)
        .await;
    assert_eq!(again.status, 303, "{}", again.text);
    let result = visitor.get(&service, again.header("location")).await.text;
    assert!(
        result.contains("queued."),
        "{}: {result}",
        again.header("location")
    );
    assert_eq!(
        visitor
            .get(&service, "/ui/events/6b275a67-0bbb-4f3a-99b9-6600bf711993")
            .await
            .status,
        404
    );
}

#[tokio::test]
async fn an_event_of_a_device_has_a_page_without_actions() {
    let (service, _, platform) = shop("device-event-page", "receipt").await;
    let [id, device] = [0; 2].map(|_| api::clock::random_uuid());
    service.raw(
        &rows::device_event(platform, device)
            .text("id", id)
            .text("body", r#"{"a":1}"#),
    );
    let visitor = signed_in(&service).await;
    let page = visitor.get(&service, &format!("/ui/events/{id}")).await;
    assert_eq!(page.status, 200, "{}", page.text);
    for part in [
        "device.session.start",
        "Reported by a device",
        "&#34;a&#34;: 1",
    ] {
        assert!(page.text.contains(part), "{part}: {}", page.text);
    }
    assert!(!page.text.contains("/resend\""), "{}", page.text);
}
