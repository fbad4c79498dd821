//! Requests to local servers with prepared responses.

mod forbidden;
mod lookups;
mod server;
mod transports;

use super::clients::Clients;
use super::{Http, Parts, of_this_machine};
use protocols::http::{Method, REPLY_BYTES, Reply, Request, Rules, check_addresses};
use rustls::pki_types::CertificateDer;
use rustls::{ClientConfig, RootCertStore};
use server::{Server, certificate};
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// Returns the sender of a development machine.
fn permissive() -> Http {
    http(allowing_this_machine(), &[])
}

fn allowing_this_machine() -> Rules {
    let allowed_networks = vec!["127.0.0.0/8".parse().unwrap(), "::1/128".parse().unwrap()];
    Rules {
        allowed_networks,
        allow_http: true,
        ..Rules::default()
    }
}

fn http(rules: Rules, trusted: &[CertificateDer<'static>]) -> Http {
    let _ = rustls::crypto::ring::default_provider().install_default();
    let mut roots = RootCertStore::empty();
    for certificate in trusted {
        roots.add(certificate.clone()).unwrap();
    }
    let tls = ClientConfig::builder()
        .with_root_certificates(roots)
        .with_no_client_auth();
    Http::with_parts(
        rules,
        Parts {
            tls,
            mail_roots: None,
            lookup: of_this_machine(),
            transports: Vec::new(),
            total: Duration::from_secs(15),
        },
    )
}

fn post(url: &str) -> Request {
    let headers = vec![("webhook-id".to_owned(), "some-id".to_owned())];
    let (url, body) = (url.parse().unwrap(), b"{\"a\":1}".to_vec());
    Request {
        method: Method::Post,
        url,
        headers,
        body,
        max_reply_bytes: REPLY_BYTES,
        is_operator_url: false,
        app: None,
    }
}

fn get(url: &str) -> Request {
    let (headers, body) = (Vec::new(), Vec::new());
    Request {
        method: Method::Get,
        url: url.parse().unwrap(),
        headers,
        body,
        max_reply_bytes: REPLY_BYTES,
        is_operator_url: false,
        app: None,
    }
}

/// Returns a response without recorded headers.
fn answered(status: u16, body: &str) -> Reply {
    Reply::Answer {
        status,
        retry_after: None,
        headers: Vec::new(),
        body: body.to_owned(),
    }
}

fn class(reply: &Reply) -> &str {
    match reply {
        Reply::Failure { class, .. } => class.as_str(),
        Reply::Answer { .. } => "answer",
    }
}

#[tokio::test]
async fn a_request_arrives_unchanged_and_its_answer_comes_back() {
    let server =
        Server::answering("HTTP/1.1 429 Slow\r\nretry-after: 7\r\ncontent-length: 2\r\n\r\nno");
    let reply = permissive().send(post(&server.url("/hook?x=1"))).await;
    let (retry_after, body) = (Some("7".to_owned()), "no".to_owned());
    let headers = vec![("retry-after".to_owned(), "7".to_owned())];
    assert_eq!(
        reply,
        Reply::Answer {
            status: 429,
            retry_after,
            headers,
            body
        }
    );
    let request_text = server.requests().concat();
    assert!(
        request_text.starts_with("POST /hook?x=1 HTTP/1.1\r\nwebhook-id: some-id\r\n"),
        "{request_text}"
    );
    assert!(
        request_text.ends_with("\r\n\r\n{\"a\":1}"),
        "{request_text}"
    );
    assert!(!request_text.contains("accept-encoding"), "{request_text}");
}

#[tokio::test]
async fn connections_are_reused_for_the_same_addresses() {
    let server = Server::answering("HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n");
    let http = permissive();
    for _ in 0..10 {
        assert_eq!(
            class(&http.clone().send(post(&server.url("/"))).await),
            "answer"
        );
    }
    assert_eq!((server.requests().len(), server.connections()), (10, 1));
}

#[tokio::test]
async fn a_body_that_is_no_text_stays_within_the_cap() {
    let noise = "\u{80}".repeat(REPLY_BYTES);
    let server = Server::answering(&format!(
        "HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\na{noise}",
        2 * REPLY_BYTES + 1
    ));
    let Reply::Answer { body, .. } = permissive().send(post(&server.url("/"))).await else {
        panic!("no answer")
    };
    assert!(
        (REPLY_BYTES - 2..=REPLY_BYTES).contains(&body.len()),
        "{}",
        body.len()
    );
}

#[tokio::test]
async fn a_few_response_headers_are_recorded_and_truncated() {
    let long = "x".repeat(1000);
    let server = Server::answering(&format!(
        "HTTP/1.1 200 OK\r\nServer: {long}\r\nX-Request-Id: r-1\r\nVia: 1.1 a\r\nVia: 1.1 b\r\nCF-Ray: c-1\r\n\
         Date: Sun, 06 Nov 1994 08:49:37 GMT\r\nContent-Type: text/plain\r\nSet-Cookie: session=1\r\nX-Own: 1\r\n\
         content-length: 0\r\n\r\n"
    ));
    let Reply::Answer { headers, .. } = permissive().send(post(&server.url("/"))).await else {
        panic!("no answer")
    };
    let cut = "x".repeat(256);
    let expected = [
        ("cf-ray", "c-1"),
        ("content-type", "text/plain"),
        ("date", "Sun, 06 Nov 1994 08:49:37 GMT"),
        ("server", cut.as_str()),
        ("via", "1.1 a"),
        ("x-request-id", "r-1"),
    ];
    assert_eq!(
        headers,
        expected.map(|(name, value)| (name.to_owned(), value.to_owned()))
    );
}

#[tokio::test]
async fn a_closed_port_is_a_connect_failure() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/", listener.local_addr().unwrap());
    drop(listener);
    assert_eq!(class(&permissive().send(post(&url)).await), "connect");
}

#[tokio::test]
async fn a_name_that_does_not_exist_is_a_dns_failure() {
    assert_eq!(
        class(&permissive().send(post("https://nobody.invalid/")).await),
        "dns"
    );
}

#[tokio::test]
async fn a_header_that_would_split_the_request_is_not_sent() {
    let server = Server::answering("HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n");
    let mut request = post(&server.url("/"));
    request
        .headers
        .push(("webhook-id".to_owned(), "a\r\nb: c".to_owned()));
    assert_eq!(class(&permissive().send(request).await), "invalid_url");
    assert_eq!(server.connections(), 0);
}

#[tokio::test]
async fn a_client_connects_to_its_addresses_for_any_name() {
    let server = Server::answering("HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n");
    let _ = rustls::crypto::ring::default_provider().install_default();
    let tls = ClientConfig::builder()
        .with_root_certificates(RootCertStore::empty())
        .with_no_client_auth();
    let client = Clients::new(tls)
        .to(vec![([127, 0, 0, 1], server.port()).into()])
        .unwrap();
    #[expect(clippy::disallowed_methods, reason = "the client itself is under test")]
    let answer = client
        .post("http://nobody.invalid/")
        .body("{}")
        .send()
        .await
        .unwrap();
    assert_eq!(answer.status(), 200);
    assert!(
        server
            .requests()
            .concat()
            .contains("host: nobody.invalid\r\n")
    );
}

#[tokio::test]
async fn a_certificate_must_be_trusted_and_carry_the_name() {
    let (mine, key) = certificate("localhost");
    let server = Server::with_tls(mine.clone(), key);
    let rules = || Rules {
        allow_http: false,
        ..allowing_this_machine()
    };
    let url = format!("https://localhost:{}/", server.port());
    assert_eq!(
        class(
            &http(rules(), std::slice::from_ref(&mine))
                .send(post(&url))
                .await
        ),
        "answer"
    );
    assert_eq!(class(&http(rules(), &[]).send(post(&url)).await), "tls");
    let other_name = format!("https://127.0.0.1:{}/", server.port());
    assert_eq!(
        class(&http(rules(), &[mine]).send(post(&other_name)).await),
        "tls"
    );
}

#[tokio::test]
async fn a_server_without_tls_is_a_tls_failure() {
    let server = Server::speaking_first("220 mail.example.com ESMTP\r\n");
    let url = server.url("/").replace("http:", "https:");
    assert_eq!(class(&permissive().send(post(&url)).await), "tls");
}

#[tokio::test]
async fn a_get_has_no_body_and_its_path_encoding_is_preserved() {
    let server = Server::answering("HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}");
    let reply = permissive()
        .send(get(&server.url("/a/b%2Fc%2B%3D/d")))
        .await;
    assert_eq!(reply, answered(200, "{}"));
    let request_text = server.requests().concat();
    assert!(
        request_text.starts_with("GET /a/b%2Fc%2B%3D/d HTTP/1.1\r\n"),
        "{request_text}"
    );
    assert!(!request_text.contains("content-length"), "{request_text}");
}

#[derive(Clone, Default)]
struct Traced(Arc<Mutex<Vec<u8>>>);

impl std::io::Write for Traced {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().extend(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

#[tokio::test]
async fn no_log_line_or_failure_shows_a_urls_path() {
    let traced = Traced::default();
    let writer = traced.clone();
    let subscriber = tracing_subscriber::fmt()
        .with_max_level(tracing::Level::TRACE)
        .with_writer(move || writer.clone());
    let _guard = tracing::subscriber::set_default(subscriber.finish());
    let (secret, path) = (
        "a-secret-in-the-path",
        "/developer/a-secret-in-the-path/user/customer-7",
    );
    let servers = [
        Server::answering("HTTP/1.1 500 No\r\ncontent-length: 0\r\n\r\n"),
        Server::closing(),
    ];
    let urls = servers.iter().map(|server| server.url(path)).chain([
        format!("http://127.0.0.1:1{path}"),
        format!("https://nobody.invalid{path}"),
        format!("ftp://127.0.0.1{path}"),
        servers[0].url(path).replace("http:", "https:"),
    ]);
    for url in urls {
        let request = get(&url);
        tracing::info!(?request, "sending");
        let reply = permissive().send(request).await;
        tracing::info!(?reply, "answered");
    }
    let traced = String::from_utf8(traced.0.lock().unwrap().clone()).unwrap();
    assert_eq!(traced.matches("answered").count(), 6, "{traced}");
    for hidden in [secret, "customer-7", "/developer"] {
        assert!(!traced.contains(hidden), "{traced}");
    }
}
