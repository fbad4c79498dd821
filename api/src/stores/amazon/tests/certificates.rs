//! Checks which URLs and certificates are trusted, and that each certificate is fetched once.

use super::super::certificate::{SigningKey, check_url};
use super::super::fetch::FetchError;
use super::super::keyring::Keyring;
use super::super::settings::Settings;
use super::super::signer::Signer;
use super::super::topic::Arn;
use super::{ARN, Pages, SIGNER, at, certificate, now};
use std::collections::HashMap;
use std::sync::Arc;
use url::Url;
use x509_cert::der::{DecodePem, Encode};

const URL: &str = "https://sns.us-east-1.amazonaws.com/SimpleNotificationService-a86cb10b4e1f29c941702d737128f7b6.pem";
const NOT_HTTPS: &str = "SigningCertURL is not https";
const NO_PATH: &str = "SigningCertURL has no path";
const NOT_THE_HOST: &str = "SigningCertURL is not at the SNS host of the topic's region";
const NOT_THE_PATH: &str = "SigningCertURL is not the path of a signing certificate";

#[test]
fn a_certificate_has_one_url_and_no_other() {
    let arn = Arn::parse(ARN).expect("a topic");
    assert_eq!(check_url(URL, &arn), Ok(()));
    let host = |host: &str| URL.replace("sns.us-east-1.amazonaws.com", host);
    let path = |path: &str| format!("https://sns.us-east-1.amazonaws.com/{path}");
    let hex = "a86cb10b4e1f29c941702d737128f7b6";
    let cases = [
        (String::new(), NOT_HTTPS),
        (URL.replace("https", "http"), NOT_HTTPS),
        (URL.replace("https", "HTTPS"), NOT_HTTPS),
        (URL.replace("https", "file"), NOT_HTTPS),
        (format!(" {URL}"), NOT_HTTPS),
        ("//sns.us-east-1.amazonaws.com/a.pem".to_owned(), NOT_HTTPS),
        ("https://sns.us-east-1.amazonaws.com".to_owned(), NO_PATH),
        (
            "https://sns.us-east-1.amazonaws.com?Action=X&y=.pem".to_owned(),
            NO_PATH,
        ),
        (host("sns.us-west-2.amazonaws.com"), NOT_THE_HOST),
        (host("sns.us-east-1.amazonaws.com:443"), NOT_THE_HOST),
        (host("sns.us-east-1.amazonaws.com:8443"), NOT_THE_HOST),
        (host("user@sns.us-east-1.amazonaws.com"), NOT_THE_HOST),
        (host("sns.us-east-1.amazonaws.com@evil.com"), NOT_THE_HOST),
        (host("sns.us-east-1.amazonaws.com."), NOT_THE_HOST),
        (host("sns.us-east-1.amazonaws.com.evil.com"), NOT_THE_HOST),
        (host("sns.us-east-1.amazonaws.com.cn"), NOT_THE_HOST),
        (host("SNS.us-east-1.amazonaws.com"), NOT_THE_HOST),
        (host("sns.us-east-1.amazonaws.com\\@evil.com"), NOT_THE_HOST),
        (host("evilsns.us-east-1.amazonaws.com"), NOT_THE_HOST),
        (host("sns.s3.amazonaws.com"), NOT_THE_HOST),
        (host("sns.s3-us-west-2.amazonaws.com"), NOT_THE_HOST),
        (
            host("s3.amazonaws.com/sns.us-east-1.amazonaws.com"),
            NOT_THE_HOST,
        ),
        (host("sns.us-east-1.amazonaws.com%2f"), NOT_THE_HOST),
        (host("54.239.28.85"), NOT_THE_HOST),
        (host("[::1]"), NOT_THE_HOST),
        (host("169.254.169.254"), NOT_THE_HOST),
        (host("localhost"), NOT_THE_HOST),
        (host("sns.us-e\u{430}st-1.amazonaws.com"), NOT_THE_HOST),
        (host("sns\u{3002}us-east-1.amazonaws.com"), NOT_THE_HOST),
        (host("sns.\tus-east-1.amazonaws.com"), NOT_THE_HOST),
        (path("?Action=X&y=.pem"), NOT_THE_PATH),
        (path("evil.pem"), NOT_THE_PATH),
        (path("SimpleNotificationService-.pem"), NOT_THE_PATH),
        (
            path(&format!(
                "SimpleNotificationService-{}.pem",
                hex.to_uppercase()
            )),
            NOT_THE_PATH,
        ),
        (
            path(&format!("SimpleNotificationService-{hex}0.pem")),
            NOT_THE_PATH,
        ),
        (
            path(&format!("SimpleNotificationService-{hex}.pem?x=y")),
            NOT_THE_PATH,
        ),
        (
            path(&format!("SimpleNotificationService-{hex}.pem#x")),
            NOT_THE_PATH,
        ),
        (
            path(&format!("SimpleNotificationService-{hex}.PEM")),
            NOT_THE_PATH,
        ),
        (
            path(&format!("SimpleNotificationService-{hex}.pem\n")),
            NOT_THE_PATH,
        ),
        (
            path(&format!("../SimpleNotificationService-{hex}.pem")),
            NOT_THE_PATH,
        ),
        (
            path(&format!("/SimpleNotificationService-{hex}.pem")),
            NOT_THE_PATH,
        ),
    ];
    for (url, reason) in cases {
        assert_eq!(
            check_url(&url, &arn).map_err(|why| why.reason()),
            Err(reason),
            "{url}"
        );
    }
}

fn read(pem: &[u8], region: &str) -> Result<(), &'static str> {
    SigningKey::read(pem, region)
        .map(|_| ())
        .map_err(|why| why.reason())
}

#[test]
fn an_answer_is_one_pem_block_and_nothing_else() {
    let pem = String::from_utf8(certificate()).expect("PEM");
    let windows = pem.replace('\n', "\r\n");
    for good in [&*pem, pem.trim_end(), &*windows] {
        assert_eq!(read(good.as_bytes(), "us-east-1"), Ok(()));
    }
    let key = String::from_utf8(SIGNER.key_pem().expect("a key")).expect("PEM");
    let der_with_more = {
        use base64::Engine as _;
        let certificate = x509_cert::Certificate::from_pem(&pem).expect("a certificate");
        let mut der = certificate.to_der().expect("DER");
        der.push(0);
        let text = base64::engine::general_purpose::STANDARD.encode(der);
        format!("-----BEGIN CERTIFICATE-----\n{text}\n-----END CERTIFICATE-----\n")
    };
    for bad in [
        String::new(),
        format!("{pem}{pem}"),
        format!("<xml>{pem}</xml>"),
        format!("\n{pem}"),
        format!("{pem}x"),
        format!("{pem}{key}"),
        key,
        pem.replace("CERTIFICATE", "TRUSTED CERTIFICATE"),
        pem.replace("MII", "MII "),
        pem[..pem.len() / 2].to_owned(),
        der_with_more,
        "-----BEGIN CERTIFICATE-----\n-----END CERTIFICATE-----\n".to_owned(),
    ] {
        assert_eq!(
            read(bad.as_bytes(), "us-east-1"),
            Err("certificate is not exactly one PEM block"),
            "{bad}"
        );
    }
    assert_eq!(
        read(b"\xff\xfe", "us-east-1"),
        Err("certificate is not exactly one PEM block")
    );
}

#[test]
fn a_certificate_needs_the_name_of_the_region_and_a_strong_key() {
    let named = |bits, names: &[&str]| {
        let signer = Signer::with_names(
            bits,
            names,
            at("2026-01-01T00:00:00Z"),
            at("2027-01-01T00:00:00Z"),
        );
        signer
            .and_then(|signer| signer.certificate_pem())
            .expect("a certificate")
    };
    let not_named = Err("certificate is not named as a signer of the topic's region");
    assert_eq!(
        read(
            &named(2048, &["x.example", "sns.amazonaws.com"]),
            "us-east-1"
        ),
        Ok(())
    );
    let newer = named(2048, &["sns-signing.me-central-1.amazonaws.com"]);
    assert_eq!(read(&newer, "me-central-1"), Ok(()));
    assert_eq!(read(&newer, "us-east-1"), not_named);
    assert_eq!(
        read(
            &named(2048, &["sns-cn-north-1.amazonaws.com.cn"]),
            "cn-north-1"
        ),
        Ok(())
    );
    assert_eq!(read(&certificate(), "cn-north-1"), not_named);
    assert_eq!(read(&certificate(), "us-gov-west-1"), not_named);
    assert_eq!(
        read(&named(2048, &["*.amazonaws.com"]), "us-east-1"),
        not_named
    );
    assert_eq!(
        read(&named(2048, &["sns.amazonaws.com.evil.com"]), "us-east-1"),
        not_named
    );
    assert_eq!(
        read(&named(1024, &["sns.amazonaws.com"]), "us-east-1"),
        Err("certificate has no RSA key of 2048 bits or more")
    );
}

fn keyring(pages: &Arc<Pages>) -> Keyring {
    Keyring::new(HashMap::new(), pages.clone())
}

async fn landed(keyring: &Keyring, when: &str) -> Result<(), (u16, &'static str)> {
    keyring
        .key(URL, "us-east-1", at(when))
        .await
        .map(|_| ())
        .map_err(|why| (why.status(), why.reason()))
}

const DURING: &str = "2026-06-01T12:00:00Z";

#[tokio::test]
async fn fifty_first_messages_fetch_a_certificate_once() {
    let pages = Arc::new(Pages::new(Ok(certificate())).closed());
    let keyring = keyring(&pages);
    let waiting: Vec<_> = (0..50)
        .map(|_| {
            let keyring = keyring.clone();
            tokio::spawn(async move { landed(&keyring, DURING).await })
        })
        .collect();
    while pages.requests() == 0 {
        tokio::task::yield_now().await;
    }
    // The first sender disconnects; the others still get the key.
    waiting[0].abort();
    pages.gate.add_permits(1);
    for (number, task) in waiting.into_iter().enumerate() {
        let landed = task.await;
        assert!(number == 0 || landed.expect("not ended") == Ok(()));
    }
    assert_eq!(landed(&keyring, DURING).await, Ok(()));
    assert_eq!(pages.requests(), 1);
}

#[tokio::test]
async fn a_failed_fetch_is_never_cached() {
    let pages = Arc::new(Pages::new(Err(FetchError::Unavailable(
        "status 500".to_owned(),
    ))));
    let keyring = keyring(&pages);
    let unreachable = Err((503, "certificate could not be fetched"));
    assert_eq!(landed(&keyring, DURING).await, unreachable);
    assert_eq!(landed(&keyring, DURING).await, unreachable);
    *pages.answer.lock().expect("no panic") = Ok(b"<html>".to_vec());
    assert_eq!(
        landed(&keyring, DURING).await,
        Err((503, "certificate is not exactly one PEM block"))
    );
    *pages.answer.lock().expect("no panic") = Err(FetchError::TooLong);
    assert_eq!(
        landed(&keyring, DURING).await,
        Err((503, "certificate is longer than 64 KiB"))
    );
    *pages.answer.lock().expect("no panic") = Ok(certificate());
    assert_eq!(landed(&keyring, DURING).await, Ok(()));
    assert_eq!(pages.requests(), 5);
}

#[tokio::test]
async fn a_broken_answer_is_temporary_and_a_foreign_name_is_permanent() {
    let of = |bits, name: &str| {
        let signer = Signer::with_names(
            bits,
            &[name],
            at("2026-01-01T00:00:00Z"),
            at("2027-01-01T00:00:00Z"),
        );
        signer
            .and_then(|signer| signer.certificate_pem())
            .expect("a certificate")
    };
    let cut = certificate()[..200].to_vec();
    for (answer, status) in [
        (b"<html>503 Service Unavailable</html>".to_vec(), 503),
        (Vec::new(), 503),
        (cut, 503),
        (of(2048, "sns.amazonaws.com.evil.com"), 400),
        (of(1024, "sns.amazonaws.com"), 400),
    ] {
        let keyring = keyring(&Arc::new(Pages::new(Ok(answer))));
        let refused = landed(&keyring, DURING).await.expect_err("no key");
        assert_eq!(refused.0, status, "{}", refused.1);
    }
}

#[tokio::test]
async fn a_clock_that_is_wrong_for_a_while_costs_no_message() {
    let keyring = keyring(&Arc::new(Pages::new(Ok(certificate()))));
    for when in [
        "1970-01-01T00:01:00Z",
        "2025-12-31T23:59:59Z",
        "2027-01-01T00:00:01Z",
        "2099-01-01T00:00:00Z",
    ] {
        assert_eq!(
            landed(&keyring, when).await.expect_err("no key").0,
            503,
            "{when}"
        );
    }
    assert_eq!(landed(&keyring, DURING).await, Ok(()));
}

#[tokio::test]
async fn a_certificate_is_cached_until_it_expires() {
    let pages = Arc::new(Pages::new(Ok(certificate())));
    let keyring = keyring(&pages);
    assert_eq!(
        landed(&keyring, "2025-12-31T23:59:59Z").await,
        Err((503, "certificate is not valid yet"))
    );
    assert_eq!(landed(&keyring, "2026-01-01T00:00:00Z").await, Ok(()));
    assert_eq!(landed(&keyring, "2027-01-01T00:00:00Z").await, Ok(()));
    assert_eq!(pages.requests(), 1);
    assert_eq!(
        landed(&keyring, "2027-01-01T00:00:01Z").await,
        Err((503, "certificate has expired"))
    );
    assert_eq!(pages.requests(), 2);
}

#[tokio::test]
async fn sixteen_certificates_are_fetched_at_once_at_most() {
    let pages = Arc::new(Pages::new(Ok(certificate())).closed());
    let keyring = keyring(&pages);
    let request = |number: u128| {
        let keyring = keyring.clone();
        let url = URL.replace(
            "a86cb10b4e1f29c941702d737128f7b6",
            &format!("{number:032x}"),
        );
        tokio::spawn(async move {
            keyring
                .key(&url, "us-east-1", now())
                .await
                .map(|_| ())
                .map_err(|why| why.reason())
        })
    };
    let waiting: Vec<_> = (0..16).map(request).collect();
    while pages.requests() < 16 {
        tokio::task::yield_now().await;
    }
    assert_eq!(
        request(16).await.expect("not ended"),
        Err("too many certificates are being fetched")
    );
    pages.gate.add_permits(100);
    for task in waiting {
        assert_eq!(task.await.expect("not ended"), Ok(()));
    }
    for number in 17..150 {
        assert_eq!(request(number).await.expect("not ended"), Ok(()));
        pages.gate.add_permits(1);
    }
}

fn settings(url: &str, pem: &[u8]) -> Settings {
    let file = std::env::temp_dir().join(format!(
        "settle-certificate-{}-{}.pem",
        std::process::id(),
        uuid::Uuid::new_v5(&uuid::Uuid::NAMESPACE_URL, &[url.as_bytes(), pem].concat())
    ));
    std::fs::write(&file, pem).expect("written");
    Settings {
        certificates: vec![(Url::parse(url).expect("a URL"), file)],
        auto_confirm_accounts: Vec::new(),
        clock: now,
    }
}

#[tokio::test]
async fn a_certificate_named_by_the_settings_is_never_fetched() {
    let pages = Arc::new(Pages::new(Err(FetchError::TooLong)));
    let settings = settings(URL, &certificate());
    let keyring = Keyring::new(settings.keys().expect("keys"), pages.clone());
    assert_eq!(landed(&keyring, DURING).await, Ok(()));
    assert_eq!(
        landed(&keyring, "2030-01-01T00:00:00Z").await,
        Err((503, "certificate has expired"))
    );
    assert_eq!(pages.requests(), 0);
    std::fs::remove_file(&settings.certificates[0].1).expect("removed");
}

#[test]
fn the_settings_never_widen_what_may_be_believed() {
    let wrong = |settings: &Settings| settings.keys().expect_err("invalid").to_string();
    let remove =
        |settings: &Settings| std::fs::remove_file(&settings.certificates[0].1).expect("removed");
    for url in [
        "https://example.com/SimpleNotificationService-a86cb10b4e1f29c941702d737128f7b6.pem",
        "https://sns.us-east-1.amazonaws.com/mine.pem",
        "http://sns.us-east-1.amazonaws.com/SimpleNotificationService-a86cb10b4e1f29c941702d737128f7b6.pem",
        "https://sns.cn-north-1.amazonaws.com.cn/SimpleNotificationService-a86cb10b4e1f29c941702d737128f7b6.pem",
    ] {
        let settings = settings(url, &certificate());
        assert!(
            wrong(&settings).contains("expected https://sns.REGION.amazonaws.com/"),
            "{}",
            wrong(&settings)
        );
        remove(&settings);
    }
    let not_a_certificate = settings(URL, b"hello");
    assert!(wrong(&not_a_certificate).contains("certificate is not exactly one PEM block"));
    remove(&not_a_certificate);
    let mut twice = settings(URL, &certificate());
    remove(&twice);
    assert!(wrong(&twice).contains("cannot read"));
    twice = settings(URL, &certificate());
    twice.certificates.push(twice.certificates[0].clone());
    assert!(wrong(&twice).contains("named twice"));
    remove(&twice);
}
