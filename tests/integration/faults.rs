//! Endpoints that fail in every known way, with the real HTTP sender and the webhook's real evaluation: the recorded
//! error, the results for the event and the endpoint, and the limits on time and memory.

use super::ready;
use activities::http::{Http, Lookup, Parts, of_this_machine};
use domain::Timestamp;
use domain::time::duration;
use futures::FutureExt as _;
use protocols::destinations::{Allowed, Connector, Exchange};
use protocols::http::{Reply, Rules};
use rustls::pki_types::CertificateDer;
use rustls::{ClientConfig, RootCertStore};
use serde_json::json;
use std::net::Ipv4Addr;
use std::sync::Arc;
use std::time::Duration;
use storage::{Attempt, AttemptClass, EndpointSignal, Verdict, fixtures};
use system_tests::faulty::{Fault, Faulty};
use tokio::time::Instant;

/// The time of every attempt: 1994-11-06T08:49:37Z.
const AT_SECONDS: i64 = 784_111_777;
/// Time limit of attempts that exhaust it; enough for a connection and the head of an answer on any machine.
const SHORT_TIMEOUT: Duration = Duration::from_secs(12);
/// Time limit of attempts that end long before it.
const LONG_TIMEOUT: Duration = Duration::from_secs(120);
/// Additional time that a busy machine may need; less than [`LONG_TIMEOUT`].
const MARGIN: Duration = Duration::from_secs(100);
/// Maximum number of bytes of a long answer that an endpoint can send: what settle reads, plus the system's buffers on
/// both sides. It is less than the smallest long answer.
const LITTLE_BYTES: usize = 900_000;
/// More bytes than the system's buffers ever hold: they grow with what is read, which for a head is 400 KB.
const MORE_THAN_BUFFERED: usize = 64 * 1024 * 1024;

#[derive(Debug)]
struct AttemptResult {
    class: AttemptClass,
    verdict: Verdict,
    endpoint_signal: EndpointSignal,
    counts: bool,
    reply: Reply,
    took: Duration,
}

impl AttemptResult {
    /// Checks that the failure is retried by the schedule, without a `Retry-After`.
    fn check_failed(&self, class: &str) {
        assert_eq!(self.class.as_str(), class, "{self:?}");
        assert_eq!(
            self.verdict,
            Verdict::Retry {
                delay: duration(5_000)
            }
        );
        assert_eq!(
            (&self.endpoint_signal, self.counts),
            (&EndpointSignal::Failure { pause: None }, true)
        );
    }

    fn check_took(&self, at_least: Duration, at_most: Duration) {
        assert!(
            (at_least..at_most + MARGIN).contains(&self.took),
            "{self:?}"
        );
    }

    /// Checks that at most one byte per second was received, besides one at the beginning and one in flight.
    fn check_dripped(&self, bytes: usize) {
        assert!(
            u64::try_from(bytes).is_ok_and(|bytes| bytes <= self.took.as_secs() + 2),
            "{bytes} bytes: {self:?}"
        );
    }

    fn body(&self) -> &str {
        match &self.reply {
            Reply::Answer { body, .. } => body,
            Reply::Failure { .. } => "",
        }
    }
}

fn attempt() -> Attempt {
    fixtures::attempt("purchase.updated", "{\"a\":1}")
}

fn config(url: &str) -> Box<dyn Connector> {
    // These rules only allow the destination to be created; each test's own rules decide about its request.
    let allowed_networks = vec!["127.0.0.0/8".parse().expect("a network")];
    let rules = Rules {
        allowed_networks,
        allow_http: true,
        ..Rules::default()
    };
    let allowed = Allowed {
        rules,
        ..Allowed::default()
    };
    ready::destination("webhook", &json!({ "url": url }), &allowed)
}

/// Returns a sender that may connect to 127.0.0.1, trusts these authorities and resolves names with `lookup`.
fn http(total: Duration, authorities: &[Vec<u8>], lookup: Lookup) -> Http {
    // An error means that the provider is already installed.
    drop(rustls::crypto::ring::default_provider().install_default());
    let mut roots = RootCertStore::empty();
    for authority in authorities {
        roots
            .add(CertificateDer::from(authority.clone()))
            .expect("an authority");
    }
    let tls = ClientConfig::builder()
        .with_root_certificates(roots)
        .with_no_client_auth();
    let allowed_networks = vec!["127.0.0.1/32".parse().expect("a network")];
    Http::with_parts(
        Rules {
            allowed_networks,
            allow_http: true,
            ..Rules::default()
        },
        Parts {
            tls,
            mail_roots: None,
            lookup,
            transports: Vec::new(),
            total,
        },
    )
}

async fn attempted(http: &Http, url: &str) -> AttemptResult {
    let (config, attempt, at) = (
        config(url),
        attempt(),
        Timestamp::from_millis(AT_SECONDS * 1000),
    );
    let request = config
        .request(at, std::slice::from_ref(&attempt))
        .expect("a request");
    let began = Instant::now();
    let reply = http.deliver(request).await;
    let took = began.elapsed();
    let mut outcome = config.judge(Exchange {
        events: &[attempt],
        reply: &reply,
        at,
        jitter: 0.5,
    });
    let judged = outcome.events.pop().expect("a judgement");
    AttemptResult {
        class: judged.class,
        verdict: judged.verdict,
        endpoint_signal: outcome.endpoint_signal,
        counts: judged.counts,
        reply: reply.http().into_owned(),
        took,
    }
}

/// Makes one attempt at an endpoint with this fault; returns the result and the endpoint.
async fn met(fault: &Fault, total: Duration) -> (AttemptResult, Faulty) {
    let faulty = Faulty::start();
    let met = attempted(&http(total, &[], of_this_machine()), &faulty.url(fault)).await;
    (met, faulty)
}

#[tokio::test]
async fn an_endpoint_that_never_answers_times_out() {
    let (met, faulty) = met(&Fault::Never, SHORT_TIMEOUT).await;
    met.check_failed("timeout");
    met.check_took(SHORT_TIMEOUT, SHORT_TIMEOUT);
    assert_eq!(faulty.requests().len(), 1);
}

#[tokio::test]
async fn an_answer_at_one_byte_per_second_times_out() {
    let (met, faulty) = met(&Fault::Drip, SHORT_TIMEOUT).await;
    met.check_failed("timeout");
    met.check_took(SHORT_TIMEOUT, SHORT_TIMEOUT);
    met.check_dripped(faulty.sent_bytes());
}

#[tokio::test]
async fn a_2xx_counts_although_its_body_comes_at_one_byte_per_second() {
    let (met, _faulty) = met(&Fault::DripBody, SHORT_TIMEOUT).await;
    assert_eq!(
        (met.class, met.verdict, &met.endpoint_signal),
        (
            AttemptClass::Success,
            Verdict::Delivered,
            &EndpointSignal::Success
        )
    );
    met.check_took(SHORT_TIMEOUT, SHORT_TIMEOUT);
    met.check_dripped(met.body().len());
}

#[tokio::test]
async fn a_reset_connection_is_retried_later() {
    let (met, faulty) = met(&Fault::Reset, LONG_TIMEOUT).await;
    met.check_failed("reset");
    met.check_took(Duration::ZERO, Duration::ZERO);
    assert_eq!((faulty.requests().len(), faulty.connections()), (1, 1));
}

#[tokio::test]
async fn a_retry_after_a_dropped_connection_has_the_same_id() {
    let faulty = Faulty::start();
    faulty.answer_next(1, &Fault::Drop);
    let http = http(LONG_TIMEOUT, &[], of_this_machine());
    attempted(&http, &faulty.scripted_url())
        .await
        .check_failed("reset");
    let again = attempted(&http, &faulty.scripted_url()).await;
    assert_eq!(
        (again.class, again.verdict),
        (AttemptClass::Success, Verdict::Delivered)
    );
    let received = faulty.requests();
    assert_eq!((received.len(), faulty.connections()), (2, 2));
    assert_eq!(
        (received[0].header("webhook-id"), &received[0].body),
        (received[1].header("webhook-id"), &received[1].body)
    );
}

#[tokio::test]
async fn a_301_is_a_failure_and_its_target_is_not_called() {
    let elsewhere = Faulty::start();
    let (met, faulty) = met(
        &Fault::Redirect(301, elsewhere.scripted_url()),
        LONG_TIMEOUT,
    )
    .await;
    met.check_failed("redirect");
    assert_eq!((faulty.requests().len(), elsewhere.connections()), (1, 0));
}

/// Checks that a delivery succeeded although only the stored part of the body was read.
fn check_little(met: &AttemptResult, faulty: &Faulty) {
    assert_eq!(
        (met.class, met.verdict),
        (AttemptClass::Success, Verdict::Delivered)
    );
    // A character cut by the limit is left out.
    assert!(
        (64 * 1024 - 3..=64 * 1024).contains(&met.body().len()),
        "{}",
        met.body().len()
    );
    met.check_took(Duration::ZERO, Duration::ZERO);
    assert!(
        faulty.sent_bytes() < LITTLE_BYTES,
        "{}",
        faulty.sent_bytes()
    );
}

#[tokio::test]
async fn only_the_start_of_a_ten_megabyte_body_is_read() {
    let (met, faulty) = met(&Fault::Big, LONG_TIMEOUT).await;
    check_little(&met, &faulty);
}

#[tokio::test]
async fn a_gzip_bomb_is_not_unpacked() {
    let (met, faulty) = met(&Fault::Bomb, LONG_TIMEOUT).await;
    check_little(&met, &faulty);
    assert!(
        met.body().starts_with("\u{1f}\u{fffd}\u{8}"),
        "it was unpacked"
    );
}

#[tokio::test]
async fn an_endless_head_is_aborted() {
    let (met, faulty) = met(&Fault::EndlessHead, LONG_TIMEOUT).await;
    met.check_failed("unreadable");
    met.check_took(Duration::ZERO, Duration::ZERO);
    assert!(
        faulty.sent_bytes() < MORE_THAN_BUFFERED,
        "{}",
        faulty.sent_bytes()
    );
}

#[tokio::test]
async fn a_certificate_for_another_name_receives_no_request() {
    for (name, class, received) in [
        ("hook.example.com", "success", 1),
        ("other.example.com", "tls", 0),
    ] {
        let (faulty, authority) = Faulty::with_tls(name);
        let lookup: Lookup =
            Arc::new(|_| std::future::ready(Ok(vec![Ipv4Addr::LOCALHOST.into()])).boxed());
        let url = format!("https://hook.example.com:{}/hook", faulty.port());
        let met = attempted(&http(LONG_TIMEOUT, &[authority], lookup), &url).await;
        assert_eq!(
            (met.class.as_str(), faulty.requests().len()),
            (class, received),
            "{name}"
        );
    }
    let (faulty, _authority) = Faulty::with_tls("localhost");
    let url = format!("https://127.0.0.1:{}/hook", faulty.port());
    attempted(&http(LONG_TIMEOUT, &[], of_this_machine()), &url)
        .await
        .check_failed("tls");
}

#[tokio::test]
async fn endless_answers_at_once_are_each_read_a_little() {
    let faulty = Faulty::start();
    let http = http(LONG_TIMEOUT, &[], of_this_machine());
    let url = faulty.url(&Fault::Big);
    let all = futures::future::join_all((0..32).map(|_| attempted(&http, &url))).await;
    assert!(all.iter().all(|met| met.body().len() == 64 * 1024));
    assert!(
        faulty.sent_bytes() < 32 * LITTLE_BYTES,
        "{}",
        faulty.sent_bytes()
    );
}
