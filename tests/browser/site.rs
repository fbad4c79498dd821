//! A static server in the role of an app's own: it serves the page and the client from another origin than settle's.

use axum::Router;
use axum::http::header::CONTENT_TYPE;
use axum::routing::get;
use std::net::Ipv4Addr;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

const PAGE: &str = include_str!("../../clients/web/page.html");
const CLIENT: &str = include_str!("../../clients/web/settle.js");

pub struct Site {
    port: u16,
    server: JoinHandle<()>,
}

impl Site {
    pub async fn start() -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))
            .await
            .expect("a port");
        let port = listener.local_addr().expect("its address").port();
        let router = Router::new()
            .route(
                "/page.html",
                get(|| async { ([(CONTENT_TYPE, "text/html; charset=utf-8")], PAGE) }),
            )
            .route(
                "/settle.js",
                get(|| async { ([(CONTENT_TYPE, "text/javascript; charset=utf-8")], CLIENT) }),
            )
            .route(
                "/other.html",
                get(|| async { ([(CONTENT_TYPE, "text/html")], "<!doctype html>another page") }),
            );
        let server =
            tokio::spawn(async move { axum::serve(listener, router).await.unwrap_or_default() });
        Self { port, server }
    }

    /// Returns the URL of the page that reports to this URL with this key.
    pub fn page(&self, settle: &str, key: &str) -> String {
        format!(
            "http://127.0.0.1:{}/page.html?url={settle}&key={key}",
            self.port
        )
    }

    /// Returns the URL of a page of the same origin that reports nothing.
    pub fn other_page(&self) -> String {
        format!("http://127.0.0.1:{}/other.html", self.port)
    }
}

impl Drop for Site {
    fn drop(&mut self) {
        self.server.abort();
    }
}
