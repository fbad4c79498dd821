//! Dashboard pages that are open while the ingress is measured: each shows the first screen with live updates, like a
//! browser.

#![expect(
    clippy::disallowed_methods,
    reason = "a person's browser: it sends what settle answers"
)]

use std::time::Duration;
use system_tests::wait;
use system_tests::world::World;
use tokio::task::JoinHandle;

/// Minimum time between two loads of a page, as in its script.
const EVERY: Duration = Duration::from_secs(2);

/// Open pages, which are closed when this is dropped.
pub struct Pages(Vec<JoinHandle<()>>);

impl Drop for Pages {
    fn drop(&mut self) {
        self.0.iter().for_each(JoinHandle::abort);
    }
}

/// Opens this number of pages, each in its own session.
pub async fn open(world: &World, count: usize) -> Pages {
    let mut pages = Vec::new();
    for number in 0..count {
        let body = serde_json::json!({ "name": format!("viewer {number}"), "role": "read" });
        let link = world.api.post("/v1/sign-in-links", &body).await.ok();
        let url = world.api.url().to_owned();
        let path = link["path"].as_str().expect("a path").to_owned();
        pages.push(tokio::spawn(async move {
            let client = reqwest::Client::builder().redirect(reqwest::redirect::Policy::none());
            let client = client.build().expect("a client");
            let signed = client
                .post(format!("{url}{path}"))
                .header("sec-fetch-site", "same-origin")
                .send()
                .await;
            let signed = signed.expect("a sign-in");
            let cookie = signed.headers()["set-cookie"]
                .to_str()
                .expect("a cookie")
                .split(';')
                .next()
                .map(str::to_owned);
            watch(&client, &url, &cookie.expect("a cookie")).await;
        }));
    }
    Pages(pages)
}

/// Loads the first screen, and again whenever its stream reports a change.
async fn watch(client: &reqwest::Client, url: &str, cookie: &str) {
    let get = |path: String| client.get(format!("{url}{path}")).header("cookie", cookie);
    loop {
        let page = get("/ui/".to_owned())
            .send()
            .await
            .expect("the first screen");
        assert_eq!(page.status(), 200);
        let page = page.text().await.expect("a whole page");
        let marks = page
            .split("/ui/live?since=")
            .nth(1)
            .and_then(|rest| rest.split('"').next())
            .expect("marks");
        let Ok(mut stream) = get(format!("/ui/live?since={marks}")).send().await else {
            continue;
        };
        while let Ok(Some(chunk)) = stream.chunk().await {
            if chunk.starts_with(b"event:") || chunk.windows(7).any(|part| part == b"\nevent:") {
                wait::pass(EVERY).await;
                let _ = get("/ui/".to_owned())
                    .send()
                    .await
                    .expect("the first screen")
                    .bytes()
                    .await;
            }
        }
    }
}
