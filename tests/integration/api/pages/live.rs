//! The event stream about changes: it has no data, resumes where its client was, and ends when the process stops.

use super::visitor::Visitor;
use crate::api::edge::{Service, TOKEN};
use axum::body::Body;
use axum::http::Request;
use futures::{Stream, StreamExt};
use serde_json::json;
use std::pin::Pin;
use system_tests::world::SOON;
use tokio::time::timeout;
use tower::ServiceExt;

type Text = Pin<Box<dyn Stream<Item = String> + Send>>;

async fn stream(service: &Service, path: &str, header: (&str, &str)) -> Text {
    let request = Request::builder()
        .uri(path)
        .header(header.0, header.1)
        .body(Body::empty())
        .expect("a request");
    let answer = service
        .router
        .clone()
        .oneshot(request)
        .await
        .expect("an answer");
    assert_eq!(answer.status(), 200);
    let headers = answer.headers();
    assert_eq!(headers["content-type"], "text/event-stream");
    assert_eq!(headers["x-accel-buffering"], "no");
    let data = answer.into_body().into_data_stream();
    Box::pin(data.map(|bytes| String::from_utf8_lossy(&bytes.expect("bytes")).into_owned()))
}

/// Reads the stream up to this part, and returns what was read.
async fn until(stream: &mut Text, part: &str) -> String {
    let mut whole = String::new();
    while !whole.contains(part) {
        let next = timeout(SOON, stream.next())
            .await
            .unwrap_or_else(|_| panic!("no {part} in {whole}"));
        whole.push_str(&next.unwrap_or_else(|| panic!("it ended: {whole}")));
    }
    whole
}

#[tokio::test]
async fn a_change_is_a_tick_without_data_until_the_stop() {
    let service = Service::start("live").await;
    let bearer = format!("Bearer {TOKEN}");
    let mut ticks = stream(&service, "/v1/live", ("authorization", &bearer)).await;
    let begin = until(&mut ticks, "id: ").await;
    assert!(
        begin.contains("retry: 1000") && !begin.contains("event:"),
        "{begin}"
    );
    let app = service
        .send_json("POST", "/v1/apps", &json!({ "name": "a secret name" }))
        .await;
    let tick = until(&mut ticks, "id: ").await;
    assert!(
        tick.contains("event: audit_log\ndata: changed") && !tick.contains("event: purchases"),
        "{tick}"
    );
    for hidden in ["a secret name", app.body["id"].as_str().expect("an id")] {
        assert!(!tick.contains(hidden), "{tick}");
    }
    service.edge.pages.live.stop();
    assert!(
        timeout(SOON, async { while ticks.next().await.is_some() {} })
            .await
            .is_ok(),
        "it ends"
    );
    let mut late = stream(&service, "/v1/live", ("authorization", &bearer)).await;
    assert!(
        timeout(SOON, async { while late.next().await.is_some() {} })
            .await
            .is_ok(),
        "and a new one, too"
    );
}

/// Returns the rest of a stream, up to its end.
async fn rest(mut stream: Text) -> String {
    let mut whole = String::new();
    while let Some(next) = timeout(SOON, stream.next())
        .await
        .unwrap_or_else(|_| panic!("no end: {whole}"))
    {
        whole.push_str(&next);
    }
    whole
}

#[tokio::test]
async fn a_sign_in_that_ends_ends_its_streams() {
    let service = Service::start("live-end").await;
    let key = service
        .send_json(
            "POST",
            "/v1/keys",
            &json!({ "name": "reader", "role": "read" }),
        )
        .await
        .body;
    let visitor = Visitor::with_key(&service, key["key"].as_str().expect("a key"))
        .await
        .expect("a sign-in");
    let sign_in = service.get("/v1/sign-ins").await.body["items"][0]["id"].clone();
    let bearer = format!("Bearer {}", key["key"].as_str().expect("a key"));
    let mut of_sign_in = stream(&service, "/ui/live", ("cookie", &visitor.cookie)).await;
    let mut of_key = stream(&service, "/v1/live", ("authorization", &bearer)).await;
    until(&mut of_sign_in, "id: ").await;
    until(&mut of_key, "id: ").await;
    let path = format!("/v1/sign-ins/{}", sign_in.as_str().expect("an id"));
    assert_eq!(
        service
            .send_json("DELETE", &path, &json!(null))
            .await
            .status,
        204
    );
    assert_eq!(rest(of_sign_in).await, "", "it shows not even that");
    until(&mut of_key, "event: audit_log").await;
    let path = format!("/v1/keys/{}", key["id"].as_str().expect("an id"));
    assert_eq!(
        service
            .send_json("DELETE", &path, &json!(null))
            .await
            .status,
        204
    );
    let last = rest(of_key).await;
    assert!(!last.contains("event: "), "{last}");
}

#[tokio::test]
async fn what_changed_after_the_page_comes_first() {
    let service = Service::start("live-gap").await;
    let visitor = Visitor::with_key(&service, TOKEN).await.expect("a sign-in");
    let page = visitor.get(&service, "/ui/").await.text;
    let path = page
        .split("hx-sse:connect=\"")
        .nth(1)
        .and_then(|rest| rest.split('"').next())
        .expect("an address");
    service.platform().await;
    let mut ticks = stream(&service, path, ("cookie", &visitor.cookie)).await;
    let begin = until(&mut ticks, "event: audit_log").await;
    assert!(!begin.contains("event: events"), "{begin}");
}

#[tokio::test]
async fn home_shows_what_a_tick_announced_though_it_was_just_read() {
    let service = Service::start("live-home").await;
    let visitor = Visitor::with_key(&service, TOKEN).await.expect("a sign-in");
    let (app, _) = service.platform().await;
    let bearer = format!("Bearer {TOKEN}");
    let mut ticks = stream(&service, "/v1/live", ("authorization", &bearer)).await;
    until(&mut ticks, "id: ").await;
    for number in 0..4 {
        let name = format!("destination-{number}");
        let fields = json!({
            "kind": "webhook", "name": name, "url": "https://example.com/hook", "events": ["purchase.updated"],
        });
        // The stream is read continuously: before the change, and while the tick is in flight.
        visitor.get(&service, "/ui/").await;
        let added = service
            .send_json("POST", &format!("/v1/apps/{app}/destinations"), &fields)
            .await;
        assert!(added.body["id"].is_string(), "{}", added.body);
        visitor.get(&service, "/ui/").await;
        until(&mut ticks, "event: destinations").await;
        let page = visitor.get(&service, "/ui/").await.text;
        assert!(page.contains(&name), "{name} is shown after its tick");
    }
}
