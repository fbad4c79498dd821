//! The headers of every page, the sizes of its files, and the address that serves it.

use super::visitor::{Visitor, send, unzipped};
use crate::api::edge::{Service, TOKEN};
use api::route::{Access, Surface};
use axum::body::{Body, to_bytes};
use axum::http::Request;
use tower::ServiceExt;

/// Maximum size of a page with all its files, compressed, in bytes.
const MAX_BYTES: usize = 40_000;

#[tokio::test]
async fn every_page_loads_its_own_files_alone_and_is_stored_nowhere() {
    let service = Service::start("headers").await;
    let visitor = Visitor::with_key(&service, TOKEN).await.expect("a sign-in");
    let paths = [
        "/ui/",
        "/ui/purchases",
        "/ui/alarms",
        "/ui/audit-log",
        "/ui/team",
        "/ui/team/keys",
        "/ui/settings",
        "/ui/sign-in",
        "/ui/nothing",
        "/ui/live",
    ];
    for path in paths {
        let answer = visitor.get(&service, path).await;
        let policy = answer.header("content-security-policy");
        assert!(
            policy.starts_with("default-src 'none'; script-src 'self'; style-src 'self'"),
            "{path}: {policy}"
        );
        assert!(!policy.contains("unsafe"), "{path}: {policy}");
        for (name, value) in [
            ("x-content-type-options", "nosniff"),
            ("referrer-policy", "same-origin"),
            ("cross-origin-opener-policy", "same-origin"),
        ] {
            assert_eq!(answer.header(name), value, "{path}: {name}");
        }
        let stored = answer.header("cache-control");
        assert!(
            stored == "no-store" || path == "/ui/live" && stored == "no-cache",
            "{path}: {stored}"
        );
        assert!(
            answer.header("strict-transport-security").is_empty(),
            "by plain HTTP"
        );
    }
    assert_eq!(visitor.get(&service, "/ui/nothing").await.status, 404);
    let page = visitor.get(&service, "/ui/").await.text;
    assert!(
        page.contains("<a href=\"/openapi.json\">OpenAPI document</a>"),
        "{page}"
    );
}

#[tokio::test]
async fn a_page_with_all_its_files_is_small() {
    let service = Service::start("small").await;
    let visitor = Visitor::with_key(&service, TOKEN).await.expect("a sign-in");
    let page = visitor.get(&service, "/ui/").await.text;
    let links = page
        .split(['"'])
        .filter(|part| part.starts_with("/ui/assets/"));
    let mut paths: Vec<&str> = links
        .map(|path| path.split('#').next().unwrap_or_default())
        .collect();
    paths.sort_unstable();
    paths.dedup();
    assert_eq!(paths.len(), 5, "{paths:?}");
    let mut whole = 0;
    for path in paths.into_iter().chain(["/ui/"]) {
        let request = Request::builder()
            .uri(path)
            .header("accept-encoding", "gzip")
            .header("cookie", &visitor.cookie);
        let answer = service
            .router
            .clone()
            .oneshot(request.body(Body::empty()).expect("a request"))
            .await
            .expect("an answer");
        let headers = answer.headers().clone();
        assert_eq!(
            headers
                .get("content-encoding")
                .map(|value| value.as_bytes()),
            Some(b"gzip".as_slice()),
            "{path}"
        );
        if path != "/ui/" {
            let cached = headers
                .get("cache-control")
                .and_then(|value| value.to_str().ok())
                .unwrap_or_default();
            assert!(cached.contains("immutable"), "{path}: {cached}");
        }
        let bytes = to_bytes(answer.into_body(), usize::MAX)
            .await
            .expect("a body");
        whole += bytes.len();
        assert!(unzipped(&bytes).len() > bytes.len(), "{path}");
    }
    assert!(whole < MAX_BYTES, "{whole} bytes");
    assert_eq!(
        visitor
            .get(&service, "/ui/assets/0000000000000000/settle.css")
            .await
            .status,
        404
    );
}

#[tokio::test]
async fn a_browser_is_sent_to_the_page_and_others_get_the_error() {
    let service = Service::start("root").await;
    let browser = send(
        &service,
        "GET",
        "/",
        &[("accept", "text/html,application/xhtml+xml")],
        String::new(),
    )
    .await;
    assert_eq!((browser.status, browser.header("location")), (303, "/ui/"));
    assert_eq!(service.get("/").await.status, 404);
}

#[test]
fn no_page_is_served_to_everybody() {
    let pages = pages::routes();
    assert!(pages.len() > 20, "{}", pages.len());
    for route in pages {
        assert!(!route.is_on(Surface::Public), "{}", route.path);
        let is_open = route.access == Access::Open;
        let signs_in = ["/", "/ui", "/ui/assets/{hash}/{name}"].contains(&route.path)
            || route.path.starts_with("/ui/sign");
        assert_eq!(is_open, signs_in, "{} {}", route.method, route.path);
    }
}
