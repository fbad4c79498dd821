//! Sending to servers of this machine that answer what they are told to.

mod server;

use super::clients::Clients;
use super::target::judge;
use super::{BODY_CAP, Failure, Http, Method, Reply, Request, Rules};
use openssl::x509::X509;
use rustls::pki_types::CertificateDer;
use rustls::{ClientConfig, RootCertStore};
use server::{Server, certificate};
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// The sender of a development machine.
fn permissive() -> Http {
    http(Rules { allowed_networks: vec!["127.0.0.0/8".parse().unwrap()], allow_http: true }, &[])
}

fn http(rules: Rules, trusted: &[X509]) -> Http {
    let _ = rustls::crypto::ring::default_provider().install_default();
    let mut roots = RootCertStore::empty();
    for certificate in trusted {
        roots.add(CertificateDer::from(certificate.to_der().unwrap())).unwrap();
    }
    Http::with_tls(rules, ClientConfig::builder().with_root_certificates(roots).with_no_client_auth())
}

fn post(url: &str) -> Request {
    let headers = vec![("webhook-id".to_owned(), "some-id".to_owned())];
    Request { method: Method::Post, url: url.parse().unwrap(), headers, body: b"{\"a\":1}".to_vec() }
}

fn get(url: &str) -> Request {
    Request { method: Method::Get, url: url.parse().unwrap(), headers: Vec::new(), body: Vec::new() }
}

fn class(reply: &Reply) -> &str {
    match reply {
        Reply::Failure { class, .. } => class,
        Reply::Answer { .. } => "answer",
    }
}

#[tokio::test]
async fn a_request_arrives_as_it_was_made_and_its_answer_comes_back() {
    let server = Server::answering("HTTP/1.1 429 Slow\r\nretry-after: 7\r\ncontent-length: 2\r\n\r\nno");
    let reply = permissive().send(post(&server.url("/hook?x=1"))).await;
    assert_eq!(reply, Reply::Answer { status: 429, retry_after: Some("7".to_owned()), body: "no".to_owned() });
    let heard = server.requests().concat();
    assert!(heard.starts_with("POST /hook?x=1 HTTP/1.1\r\nwebhook-id: some-id\r\n"), "{heard}");
    assert!(heard.ends_with("\r\n\r\n{\"a\":1}"), "{heard}");
    assert!(!heard.contains("accept-encoding"), "{heard}");
}

#[tokio::test]
async fn a_redirect_is_an_answer_and_is_not_followed() {
    let elsewhere = Server::answering("HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n");
    let location = elsewhere.url("/");
    let server = Server::answering(&format!("HTTP/1.1 307 Go\r\nlocation: {location}\r\ncontent-length: 0\r\n\r\n"));
    let reply = permissive().send(post(&server.url("/"))).await;
    assert_eq!(reply, Reply::Answer { status: 307, retry_after: None, body: String::new() });
    assert_eq!(elsewhere.requests(), Vec::<String>::new());
}

#[tokio::test]
async fn connections_are_kept_between_sends_to_the_same_addresses() {
    let server = Server::answering("HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n");
    let http = permissive();
    for _ in 0..10 {
        assert_eq!(class(&http.clone().send(post(&server.url("/"))).await), "answer");
    }
    assert_eq!((server.requests().len(), server.connections()), (10, 1));
}

#[tokio::test]
async fn no_more_than_the_cap_of_a_body_is_read() {
    let long = "x".repeat(1024 * 1024);
    let server = Server::answering(&format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n{long}", long.len()));
    match permissive().send(post(&server.url("/"))).await {
        Reply::Answer { body, .. } => assert_eq!(body.len(), BODY_CAP),
        failure @ Reply::Failure { .. } => panic!("{failure:?}"),
    }
}

#[tokio::test]
async fn a_compressed_body_is_not_unpacked() {
    let server = Server::answering("HTTP/1.1 200 OK\r\ncontent-encoding: gzip\r\ncontent-length: 3\r\n\r\nabc");
    let reply = permissive().send(post(&server.url("/"))).await;
    assert_eq!(reply, Reply::Answer { status: 200, retry_after: None, body: "abc".to_owned() });
}

#[tokio::test]
async fn a_status_counts_although_its_body_never_ends() {
    let server = Server::answering("HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\nbegin");
    let http = Http { total: Duration::from_secs(2), ..permissive() };
    let reply = http.send(post(&server.url("/"))).await;
    assert_eq!(reply, Reply::Answer { status: 200, retry_after: None, body: "begin".to_owned() });
}

#[tokio::test]
async fn a_server_that_says_nothing_is_given_up() {
    let server = Server::answering("");
    let http = Http { total: Duration::from_secs(2), ..permissive() };
    assert_eq!(class(&http.send(post(&server.url("/"))).await), "timeout");
}

#[tokio::test]
async fn a_connection_that_ends_without_an_answer_is_a_reset_and_is_tried_once() {
    let server = Server::closing();
    assert_eq!(class(&permissive().send(post(&server.url("/"))).await), "reset");
    assert_eq!(server.connections(), 1);
}

#[tokio::test]
async fn nobody_listening_is_a_failed_connection() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/", listener.local_addr().unwrap());
    drop(listener);
    assert_eq!(class(&permissive().send(post(&url)).await), "connect");
}

#[tokio::test]
async fn a_name_that_does_not_exist_is_a_dns_failure() {
    assert_eq!(class(&permissive().send(post("https://nobody.invalid/")).await), "dns");
}

#[tokio::test]
async fn an_address_that_is_not_public_is_refused_however_it_is_written() {
    let server = Server::answering("HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n");
    let http = http(Rules { allowed_networks: vec![], allow_http: true }, &[]);
    let hosts = ["127.0.0.1", "localhost", "2130706433", "0x7f.1", "0177.0.0.1", "127.1", "0", "[::1]"];
    let more = ["[::ffff:127.0.0.1]", "[::127.0.0.1]", "[64:ff9b::7f00:1]", "169.254.169.254", "[fe80::1]"];
    for host in hosts.into_iter().chain(more) {
        let reply = http.send(post(&format!("http://{host}:{}/", server.port()))).await;
        assert_eq!(class(&reply), "forbidden_address", "{host}");
        let Reply::Failure { message, .. } = reply else { panic!("{host}") };
        assert_eq!(message, "the host is not a public address, which is not allowed");
    }
    assert_eq!(server.connections(), 0);
}

#[tokio::test]
async fn a_url_that_could_mislead_is_refused_before_its_name_is_looked_up() {
    let strict = http(Rules::default(), &[]);
    for url in ["http://example.com/", "ftp://example.com/", "https://me@example.com/", "https://:pw@example.com/"] {
        assert_eq!(class(&strict.send(post(url)).await), "invalid_url", "{url}");
    }
    assert!("https://[fe80::1%25eth0]/".parse::<url::Url>().is_err());
}

#[tokio::test]
async fn a_header_that_would_split_the_request_is_not_sent() {
    let server = Server::answering("HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n");
    let mut request = post(&server.url("/"));
    request.headers.push(("webhook-id".to_owned(), "a\r\nb: c".to_owned()));
    assert_eq!(class(&permissive().send(request).await), "invalid_url");
    assert_eq!(server.connections(), 0);
}

#[test]
fn one_forbidden_address_refuses_the_whole_name() {
    let judged = |list: &[&str], port: u16, allowed: &[&str]| {
        let addresses: Vec<_> = list.iter().map(|ip| SocketAddr::new(ip.parse().unwrap(), port)).collect();
        let allowed_networks = allowed.iter().map(|network| network.parse().unwrap()).collect();
        judge(&addresses, port, &Rules { allowed_networks, allow_http: false })
    };
    assert_eq!(judged(&["1.1.1.1", "2606:4700::1111"], 443, &[]), Ok(()));
    assert_eq!(judged(&["1.1.1.1", "10.0.0.1"], 443, &[]), Err(Failure::Forbidden));
    assert_eq!(judged(&["1.1.1.1", "10.0.0.1"], 443, &["10.0.0.0/24"]), Ok(()));
    assert_eq!(judged(&["10.0.1.1"], 443, &["10.0.0.0/24"]), Err(Failure::Forbidden));
    assert_eq!(judged(&["1.1.1.1"], 8443, &[]), Ok(()));
    assert_eq!(judged(&["1.1.1.1"], 22, &[]), Err(Failure::Port));
    assert_eq!(judged(&["10.0.0.1"], 22, &["10.0.0.0/24"]), Ok(()));
    assert_eq!(judged(&["1.1.1.1", "10.0.0.1"], 22, &["10.0.0.0/24"]), Err(Failure::Port));
    assert_eq!(judged(&[], 443, &[]), Err(Failure::Dns));
}

#[tokio::test]
async fn a_client_connects_to_its_addresses_whatever_name_it_is_asked_for() {
    let server = Server::answering("HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n");
    let _ = rustls::crypto::ring::default_provider().install_default();
    let tls = ClientConfig::builder().with_root_certificates(RootCertStore::empty()).with_no_client_auth();
    let client = Clients::new(tls).to(vec![([127, 0, 0, 1], server.port()).into()]).unwrap();
    #[expect(clippy::disallowed_methods, reason = "the client itself is under test")]
    let answer = client.post("http://nobody.invalid/").body("{}").send().await.unwrap();
    assert_eq!(answer.status(), 200);
    assert!(server.requests().concat().contains("host: nobody.invalid\r\n"));
}

#[tokio::test]
async fn a_certificate_has_to_be_trusted_and_to_carry_the_name() {
    let (mine, key) = certificate("localhost");
    let server = Server::with_tls(&mine, &key);
    let rules = || Rules {
        allowed_networks: vec!["127.0.0.0/8".parse().unwrap(), "::1/128".parse().unwrap()],
        allow_http: false,
    };
    let url = format!("https://localhost:{}/", server.port());
    assert_eq!(class(&http(rules(), std::slice::from_ref(&mine)).send(post(&url)).await), "answer");
    assert_eq!(class(&http(rules(), &[]).send(post(&url)).await), "tls");
    let other_name = format!("https://127.0.0.1:{}/", server.port());
    assert_eq!(class(&http(rules(), &[mine]).send(post(&other_name)).await), "tls");
}

#[tokio::test]
async fn a_server_that_speaks_no_tls_is_a_tls_failure() {
    let server = Server::speaking_first("220 mail.example.com ESMTP\r\n");
    let url = server.url("/").replace("http:", "https:");
    assert_eq!(class(&permissive().send(post(&url)).await), "tls");
}

#[tokio::test]
async fn a_get_has_no_body_and_keeps_its_path_as_it_was_encoded() {
    let server = Server::answering("HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}");
    let reply = permissive().send(get(&server.url("/a/b%2Fc%2B%3D/d"))).await;
    assert_eq!(reply, Reply::Answer { status: 200, retry_after: None, body: "{}".to_owned() });
    let heard = server.requests().concat();
    assert!(heard.starts_with("GET /a/b%2Fc%2B%3D/d HTTP/1.1\r\n"), "{heard}");
    assert!(!heard.contains("content-length"), "{heard}");
}

#[tokio::test]
async fn an_address_that_the_operator_chose_may_be_any() {
    let server = Server::answering("HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n");
    assert_eq!(class(&http(Rules::open(), &[]).send(get(&server.url("/"))).await), "answer");
    assert_eq!(class(&http(Rules::default(), &[]).send(get(&server.url("/"))).await), "invalid_url");
    let judged = |ip: &str| judge(&[SocketAddr::new(ip.parse().unwrap(), 1)], 1, &Rules::open());
    for ip in ["127.0.0.1", "10.0.0.1", "169.254.169.254", "::1", "fe80::1"] {
        assert_eq!(judged(ip), Ok(()), "{ip}");
    }
}

/// Everything that is traced on this thread.
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
async fn nothing_that_is_traced_or_answered_shows_the_path_of_a_url() {
    let traced = Traced::default();
    let writer = traced.clone();
    let subscriber =
        tracing_subscriber::fmt().with_max_level(tracing::Level::TRACE).with_writer(move || writer.clone());
    let _guard = tracing::subscriber::set_default(subscriber.finish());
    let (secret, path) = ("a-secret-in-the-path", "/developer/a-secret-in-the-path/user/customer-7");
    let servers = [Server::answering("HTTP/1.1 500 No\r\ncontent-length: 0\r\n\r\n"), Server::closing()];
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
