//! I6: no request is sent to a forbidden address, however it is spelled, named, redirected to or cached, and no failure
//! reveals anything about the internal network. A listener stands in for the forbidden server.

use super::{
    Http, Server, answered, certificate, check_addresses, class, get, http, permissive, post,
};
use crate::http::Lookup;
use futures::FutureExt as _;
use protocols::http::{Failure, Reply, Rules};
use std::io;
use std::net::IpAddr;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use storage::AttemptClass;
use url::Url;

const OK: &str = "HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n";

/// Internal addresses, in all their spellings in URLs.
const WRITTEN: &str = "
127.0.0.1 127.0.0.1. 127.1 127.0.1 2130706433 0x7f000001 0x7F.0x0.0x0.0x1 0x7f.1 0177.0.0.1 017700000001 0177.1
127%2e0%2e0%2e1 %31%32%37.0.0.1 127。0。0。1 １２７.0.0.1 ①②⑦.⓪.⓪.① 0 0.0.0.0 0x0 00000000000
[::1] [0:0:0:0:0:0:0:1] [0000:0000:0000:0000:0000:0000:0000:0001] [::] [::0.0.0.1] localhost LOCALHOST
10.0.0.1 0xa000001 172.16.0.1 172.31.255.255 192.168.0.1 3232235521 100.64.0.1 100.100.100.200 169.254.169.254
0xa9fea9fe 2852039166 0251.0376.0251.0376 169.254.170.2 192.0.0.192 192.0.2.1 192.88.99.1 198.18.0.1 198.51.100.1
203.0.113.1 224.0.0.1 239.255.255.255 240.0.0.1 255.255.255.255
[::ffff:127.0.0.1] [::ffff:7f00:1] [::ffff:169.254.169.254] [::ffff:10.0.0.1] [::ffff:0:127.0.0.1] [::127.0.0.1]
[64:ff9b::127.0.0.1] [64:ff9b::7f00:1] [64:ff9b::169.254.169.254] [64:ff9b::10.0.0.1] [64:ff9b:1::1.1.1.1]
[2002:7f00:1::] [2002:a9fe:a9fe::1] [2001:0:4136:e378:8000:63bf:80ff:fffe] [2001::1] [2001:1ff::1] [2001:db8::1]
[100::1] [3fff::1] [5f00::1] [fc00::1] [fd00:ec2::254] [fe80::1] [fec0::1] [ff02::1] [ff0e::1]
";

/// Texts that no URL parser accepts.
const UNREADABLE: [&str; 7] = [
    "https://[fe80::1%25eth0]/",
    "https://[fe80::1%eth0]/",
    "https://127.0.0.1%00.example.com/",
    "https://256.256.256.256/",
    "https://1.2.3.4.5/",
    "https://0x100000000/",
    "https://[::1/",
];

/// Misleading schemes, users and passwords, which are refused before a name is resolved.
const MISLEADING: [&str; 9] = [
    "http://example.com/",
    "ftp://example.com/",
    "file:///etc/passwd",
    "gopher://127.0.0.1:70/",
    "data:text/plain,hello",
    "https://me@example.com/",
    "https://:pw@example.com/",
    "https://example.com@127.0.0.1/",
    "https://127.0.0.1:443@example.com/",
];

/// Results of a resolver, all of which are refused. 127.0.0.1 is allowed, but not beside a forbidden address.
const ANSWERS: [&[&str]; 11] = [
    &["127.0.0.2"],
    &["127.0.0.1", "127.0.0.2"],
    &["127.0.0.2", "127.0.0.1"],
    &["127.0.0.1", "10.0.0.1"],
    &["127.0.0.1", "169.254.169.254"],
    &["127.0.0.1", "::1"],
    &["127.0.0.1", "::ffff:127.0.0.1"],
    &["127.0.0.1", "64:ff9b::a9fe:a9fe"],
    &["1.1.1.1", "fd00::1"],
    &["2606:4700::1111", "2002:7f00:1::"],
    &[],
];

fn ips(list: &[&str]) -> Vec<IpAddr> {
    list.iter().map(|ip| ip.parse().unwrap()).collect()
}

fn allowing(networks: &[&str], allow_http: bool) -> Rules {
    let allowed_networks = networks
        .iter()
        .map(|network| network.parse().unwrap())
        .collect();
    Rules {
        allowed_networks,
        allow_http,
        ..Rules::default()
    }
}

/// Returns a resolver that returns these results in turn, then the last one forever; and the number of its lookups.
fn answering(answers: &[&[&str]]) -> (Lookup, Arc<AtomicUsize>) {
    let answers: Vec<Vec<IpAddr>> = answers.iter().map(|answer| ips(answer)).collect();
    let lookups = Arc::new(AtomicUsize::new(0));
    let counted = lookups.clone();
    let lookup: Lookup = Arc::new(move |_| {
        let place = counted
            .fetch_add(1, Ordering::SeqCst)
            .min(answers.len() - 1);
        std::future::ready(Ok(answers[place].clone())).boxed()
    });
    (lookup, lookups)
}

fn refused(reply: &Reply) -> (&str, &str) {
    match reply {
        Reply::Failure { class, message } => (class.as_str(), message),
        answer @ Reply::Answer { .. } => panic!("{answer:?}"),
    }
}

#[tokio::test]
async fn internal_addresses_are_refused_in_every_spelling() {
    let server = Server::answering(OK);
    let http = http(allowing(&[], true), &[]);
    for host in WRITTEN.split_whitespace() {
        let reply = http
            .send(post(&format!("http://{host}:{}/", server.port())))
            .await;
        let (class, message) = refused(&reply);
        assert_eq!(class, "forbidden_address", "{host}");
        assert!(
            message.contains("SETTLE_DESTINATIONS_ALLOWED_NETWORKS"),
            "{message}"
        );
    }
    assert_eq!(server.connections(), 0);
}

#[tokio::test]
async fn misleading_urls_are_refused_before_any_lookup() {
    let (lookup, lookups) = answering(&[&["127.0.0.1"]]);
    let strict = Http {
        lookup,
        ..http(allowing(&["127.0.0.0/8"], false), &[])
    };
    for url in UNREADABLE {
        assert!(url.parse::<Url>().is_err(), "{url}");
    }
    for url in MISLEADING {
        assert_eq!(class(&strict.send(post(url)).await), "invalid_url", "{url}");
    }
    assert_eq!(lookups.load(Ordering::SeqCst), 0);
    let backslash: Url = r"https://example.com\@127.0.0.1/".parse().unwrap();
    assert_eq!(backslash.host_str(), Some("example.com"));
}

#[tokio::test]
async fn one_forbidden_address_refuses_the_whole_name() {
    let server = Server::answering(OK);
    for answer in ANSWERS {
        let (lookup, lookups) = answering(&[answer]);
        let http = Http {
            lookup,
            ..http(allowing(&["127.0.0.1/32"], true), &[])
        };
        let reply = http
            .send(post(&format!("http://hook.example.com:{}/", server.port())))
            .await;
        assert_eq!(class(&reply), "dns", "{answer:?}");
        assert_eq!(lookups.load(Ordering::SeqCst), 1);
    }
    assert_eq!(server.connections(), 0);
}

#[tokio::test]
async fn a_name_is_resolved_once_and_rebinding_reaches_nobody() {
    let allowed = Server::answering(OK);
    let forbidden = Server::at(([127, 0, 0, 2], allowed.port()).into());
    let (lookup, lookups) = answering(&[
        &["127.0.0.1"],
        &["127.0.0.2"],
        &["127.0.0.1", "127.0.0.2"],
        &["127.0.0.1"],
    ]);
    let http = Http {
        lookup,
        ..http(allowing(&["127.0.0.1/32"], true), &[])
    };
    let url = format!("http://hook.example.com:{}/", allowed.port());
    assert_eq!(http.send(post(&url)).await, answered(200, ""));
    assert_eq!(lookups.load(Ordering::SeqCst), 1);
    // The open connection is not reused by a request whose name now resolves to other addresses.
    for _ in 0..2 {
        assert_eq!(class(&http.send(post(&url)).await), "dns");
    }
    assert_eq!((allowed.requests().len(), forbidden.connections()), (1, 0));
    assert_eq!(http.send(post(&url)).await, answered(200, ""));
    assert_eq!(
        (
            allowed.requests().len(),
            allowed.connections(),
            forbidden.connections()
        ),
        (2, 1, 0)
    );
}

#[tokio::test]
async fn an_idle_connection_to_a_forbidden_address_is_not_reused() {
    let server = Server::answering(OK);
    let http = permissive();
    assert_eq!(class(&http.send(post(&server.url("/"))).await), "answer");
    let stricter = Http {
        rules: Arc::new(allowing(&[], true)),
        ..http
    };
    assert_eq!(
        class(&stricter.send(post(&server.url("/"))).await),
        "forbidden_address"
    );
    assert_eq!(server.requests().len(), 1);
}

#[tokio::test]
async fn a_redirect_to_a_forbidden_address_is_not_followed() {
    let forbidden = Server::at(([127, 0, 0, 2], 0).into());
    for status in [301, 302, 303, 307, 308] {
        let location = forbidden.url("/latest/meta-data");
        let answer =
            format!("HTTP/1.1 {status} Go\r\nlocation: {location}\r\ncontent-length: 0\r\n\r\n");
        let server = Server::answering(&answer);
        let http = http(allowing(&["127.0.0.1/32"], true), &[]);
        assert_eq!(
            http.send(post(&server.url("/"))).await,
            answered(status, "")
        );
        assert_eq!(http.send(get(&server.url("/"))).await, answered(status, ""));
    }
    assert_eq!(forbidden.connections(), 0);
}

#[test]
fn networks_are_allowed_by_cidr_and_bring_other_ports() {
    let verdict = |list: &[&str], port: u16, allowed: &[&str]| {
        check_addresses(&ips(list), port, &allowing(allowed, false))
    };
    assert_eq!(verdict(&["1.1.1.1", "2606:4700::1111"], 443, &[]), Ok(()));
    assert_eq!(verdict(&["1.1.1.1"], 8443, &[]), Ok(()));
    for port in [0, 22, 25, 80, 3306, 6379, 8080, 9200, 65535] {
        assert_eq!(
            verdict(&["1.1.1.1"], port, &[]),
            Err(Failure::Port),
            "{port}"
        );
    }
    // `allow_http` also allows port 80 of public addresses, and no other port.
    for (port, expected) in [
        (80, Ok(())),
        (443, Ok(())),
        (8443, Ok(())),
        (22, Err(Failure::Port)),
        (8080, Err(Failure::Port)),
    ] {
        assert_eq!(
            check_addresses(&ips(&["1.1.1.1"]), port, &allowing(&[], true)),
            expected,
            "{port}"
        );
        assert_eq!(
            check_addresses(
                &ips(&["1.1.1.1", "127.0.0.1"]),
                port,
                &allowing(&["127.0.0.0/8"], true)
            ),
            expected,
            "{port}"
        );
        assert_eq!(
            check_addresses(
                &ips(&["127.0.0.1"]),
                port,
                &allowing(&["127.0.0.0/8"], true)
            ),
            Ok(()),
            "{port}"
        );
    }
    assert_eq!(verdict(&["10.0.0.1"], 22, &["10.0.0.0/24"]), Ok(()));
    assert_eq!(
        verdict(&["1.1.1.1", "10.0.0.1"], 443, &["10.0.0.0/24"]),
        Ok(())
    );
    assert_eq!(
        verdict(&["1.1.1.1", "10.0.0.1"], 22, &["10.0.0.0/24"]),
        Err(Failure::Port)
    );
    assert_eq!(
        verdict(&["10.0.1.1"], 443, &["10.0.0.0/24"]),
        Err(Failure::Forbidden)
    );
    assert_eq!(verdict(&["fd00::1"], 443, &["fd00::/8"]), Ok(()));
    // To allow an IPv4 address within an IPv6 address, its IPv6 network must be allowed.
    assert_eq!(
        verdict(&["::ffff:10.0.0.1"], 443, &["10.0.0.0/24"]),
        Err(Failure::Forbidden)
    );
    assert_eq!(
        verdict(&["64:ff9b::10.0.0.1"], 443, &["10.0.0.0/24"]),
        Err(Failure::Forbidden)
    );
    assert_eq!(verdict(&[], 443, &["0.0.0.0/0"]), Err(Failure::Dns));
}

/// Returns rules that allow and deny these networks.
fn denying(denied: &[&str], allowed: &[&str]) -> Rules {
    Rules {
        denied_networks: denied
            .iter()
            .map(|network| network.parse().unwrap())
            .collect(),
        ..allowing(allowed, false)
    }
}

#[test]
fn a_denied_network_is_refused_although_it_is_public_or_allowed() {
    let verdict = |list: &[&str], rules: &Rules| check_addresses(&ips(list), 443, rules);
    let denying = denying(
        &["1.1.1.0/24", "10.0.0.128/25", "2606:4700::/32"],
        &["10.0.0.0/24"],
    );
    for refused in [
        "1.1.1.1",
        "10.0.0.129",
        "2606:4700::1111",
        "64:ff9b::1.1.1.1",
    ] {
        assert_eq!(
            verdict(&[refused], &denying),
            Err(Failure::Forbidden),
            "{refused}"
        );
        assert_eq!(
            verdict(&["8.8.8.8", refused], &denying),
            Err(Failure::Forbidden),
            "{refused}"
        );
    }
    for open in [
        "1.1.2.1",
        "10.0.0.127",
        "2a00:1450:4001::1",
        "64:ff9b::8.8.8.8",
    ] {
        assert_eq!(verdict(&[open], &denying), Ok(()), "{open}");
    }
}

#[tokio::test]
async fn a_name_in_a_denied_network_gets_no_request() {
    let server = Server::answering(OK);
    for (denied, expected) in [("127.0.0.1/32", "dns"), ("127.0.0.2/32", "answer")] {
        let rules = Rules {
            allow_http: true,
            ..denying(&[denied], &["127.0.0.0/8"])
        };
        let http = Http {
            lookup: answering(&[&["127.0.0.1"]]).0,
            ..http(rules, &[])
        };
        assert_eq!(
            class(
                &http
                    .send(post(&format!("http://hook.example.com:{}/", server.port())))
                    .await
            ),
            expected
        );
    }
    assert_eq!(server.connections(), 1);
}

#[tokio::test]
async fn an_operators_address_may_be_any() {
    let server = Server::answering(OK);
    let strict = http(Rules::default(), &[]);
    let request = |is_operator_url| protocols::http::Request {
        is_operator_url,
        ..get(&server.url("/"))
    };
    assert_eq!(class(&strict.send(request(true)).await), "answer");
    assert_eq!(class(&strict.send(request(false)).await), "invalid_url");
    for ip in ["127.0.0.1", "10.0.0.1", "169.254.169.254", "::1", "fe80::1"] {
        assert_eq!(
            check_addresses(&ips(&[ip]), 1, &Rules::open()),
            Ok(()),
            "{ip}"
        );
    }
}

#[tokio::test]
async fn an_internal_name_fails_like_one_that_does_not_exist() {
    let missing: Lookup = Arc::new(|_| {
        std::future::ready(Err(io::Error::other("no such host on 10.0.0.53"))).boxed()
    });
    let lookups = [
        missing,
        answering(&[&["10.1.2.3"]]).0,
        answering(&[&[]]).0,
        answering(&[&["1.1.1.1", "::1"]]).0,
    ];
    let mut replies = Vec::new();
    for lookup in lookups {
        let http = Http {
            lookup,
            ..http(Rules::default(), &[])
        };
        // A forbidden port causes the same failure.
        for url in ["https://db.internal/", "https://db.internal:5432/"] {
            replies.push(http.send(post(url)).await);
        }
    }
    let message = "the host's name does not lead to addresses that are public or in `destinations.allowed_networks` \
                   (SETTLE_DESTINATIONS_ALLOWED_NETWORKS)";
    assert_eq!(
        replies,
        vec![
            Reply::Failure {
                class: AttemptClass::Dns,
                message: message.to_owned()
            };
            8
        ]
    );
    // `localhost` is the same on every machine, so its own failure class reveals nothing.
    for name in ["localhost.", "hooks.localhost", "Hooks.LocalHost."] {
        let http = Http {
            lookup: answering(&[&["127.0.0.1"]]).0,
            ..http(Rules::default(), &[])
        };
        assert_eq!(
            class(&http.send(post(&format!("https://{name}/"))).await),
            "forbidden_address",
            "{name}"
        );
    }
}

#[tokio::test]
async fn a_failure_message_names_no_address_port_or_cause() {
    let closed = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = closed.local_addr().unwrap().port();
    drop(closed);
    let silent = Server::closing();
    let greeting = Server::speaking_first("220 mail.internal ESMTP\r\n");
    let http = permissive();
    for url in [
        format!("http://127.0.0.1:{port}/"),
        silent.url("/"),
        greeting.url("/"),
        greeting.url("/").replace("http:", "https:"),
        "http://10.1.2.3/".to_owned(),
        "ftp://127.0.0.1/".to_owned(),
    ] {
        let reply = http.send(post(&url)).await;
        let (_, message) = refused(&reply);
        let is_number = message
            .split(|letter: char| !letter.is_ascii_digit())
            .any(|part| part == port.to_string());
        let leaks = ["127.", "10.", "os error", "refused", "ESMTP"];
        assert!(
            !is_number && leaks.iter().all(|leak| !message.contains(leak)),
            "{message}"
        );
    }
}

/// The test below runs this one in a process whose environment names proxies.
#[tokio::test]
async fn a_request_goes_straight_to_its_server() {
    let server = Server::answering(OK);
    assert_eq!(
        permissive().send(post(&server.url("/"))).await,
        answered(200, "")
    );
    assert_eq!(server.connections(), 1);
    let (certificate, key) = certificate("localhost");
    let server = Server::with_tls(certificate.clone(), key);
    let http = http(allowing(&["127.0.0.0/8", "::1/128"], false), &[certificate]);
    assert_eq!(
        http.send(post(&format!("https://localhost:{}/", server.port())))
            .await,
        answered(200, "")
    );
}

#[test]
fn proxies_of_the_environment_are_not_used() {
    let proxy = Server::answering(OK);
    let mut again = Command::new(std::env::current_exe().unwrap());
    again.args([
        "--exact",
        "http::tests::forbidden::a_request_goes_straight_to_its_server",
    ]);
    for name in [
        "HTTP_PROXY",
        "http_proxy",
        "HTTPS_PROXY",
        "https_proxy",
        "ALL_PROXY",
        "all_proxy",
    ] {
        again.env(name, proxy.url(""));
    }
    let output = again
        .env_remove("NO_PROXY")
        .env_remove("no_proxy")
        .output()
        .unwrap();
    let output_text = String::from_utf8_lossy(&output.stdout);
    assert!(
        output.status.success() && output_text.contains("1 passed"),
        "{output_text}"
    );
    assert_eq!(proxy.connections(), 0);
}
