//! Refused messages: each has its own reason, causes no outgoing request and stores no row in the inbox.

use super::{
    Beginning, SIGNER, STRANGER, TOKEN, TOPIC, World, letter, notification, renewal, subscription,
};

/// Returns a valid notification in which `from` is replaced with `to`.
fn with(from: &str, to: &str) -> String {
    let document = renewal(1);
    assert!(document.contains(from), "{from} is in {document}");
    document.replacen(from, to, 1)
}

/// Returns a notification with another certificate URL.
fn by(url: &str) -> String {
    with(&SIGNER.certificate_url("us-east-1"), url)
}

fn of(topic: &str) -> String {
    with(TOPIC, topic)
}

const NOT_HTTPS: &str = "SigningCertURL is not https";
const NOT_THE_HOST: &str = "SigningCertURL is not at the SNS host of the topic's region";
const NOT_THE_PATH: &str = "SigningCertURL is not the path of a signing certificate";
const NOT_A_TOPIC: &str = "TopicArn is not the name of an SNS topic";
const NOT_KNOWN: &str = "topic is not known to this platform";
const NOT_THE_LINK: &str = "SubscribeURL does not confirm this topic";

fn wrong_certificates() -> Vec<(String, u16, &'static str)> {
    let url = SIGNER.certificate_url("us-east-1");
    let host = |host: &str| by(&url.replace("sns.us-east-1.amazonaws.com", host));
    let file = |file: &str| by(&format!("https://sns.us-east-1.amazonaws.com/{file}"));
    vec![
        (by(""), 400, NOT_HTTPS),
        (by("x.pem"), 400, NOT_HTTPS),
        (by(&url.replace("https:", "http:")), 400, NOT_HTTPS),
        (by(&url.replace("https:", "ftp:")), 400, NOT_HTTPS),
        (
            by("https://sns.us-east-1.amazonaws.com"),
            400,
            "SigningCertURL has no path",
        ),
        (host("sns.us-west-2.amazonaws.com"), 400, NOT_THE_HOST),
        (host("sns.us-east-1.amazonaws.com:443"), 400, NOT_THE_HOST),
        (host("sns.us-east-1.amazonaws.com:80"), 400, NOT_THE_HOST),
        (host("a:b@sns.us-east-1.amazonaws.com"), 400, NOT_THE_HOST),
        (
            host("sns.us-east-1.amazonaws.com@evil.example"),
            400,
            NOT_THE_HOST,
        ),
        (host("sns.us-east-1.amazonaws.com."), 400, NOT_THE_HOST),
        (
            host("sns.us-east-1.amazonaws.com.evil.example"),
            400,
            NOT_THE_HOST,
        ),
        (host("sns.us-east-1.amazonaws.com.cn"), 400, NOT_THE_HOST),
        (host("SNS.US-EAST-1.AMAZONAWS.COM"), 400, NOT_THE_HOST),
        (host("sns.s3.amazonaws.com"), 400, NOT_THE_HOST),
        (host("sns.s3-us-west-2.amazonaws.com"), 400, NOT_THE_HOST),
        (host("s3.amazonaws.com"), 400, NOT_THE_HOST),
        (host("127.0.0.1"), 400, NOT_THE_HOST),
        (host("[::ffff:169.254.169.254]"), 400, NOT_THE_HOST),
        (host("sns.us-\u{435}ast-1.amazonaws.com"), 400, NOT_THE_HOST),
        (file("?Action=X&y=.pem"), 400, NOT_THE_PATH),
        (file("evil.pem"), 400, NOT_THE_PATH),
        (by(&url.replace(".pem", ".pem?x=.pem")), 400, NOT_THE_PATH),
        (by(&url.replace(".pem", ".pem#.pem")), 400, NOT_THE_PATH),
        (by(&url.replace("/Simple", "//Simple")), 400, NOT_THE_PATH),
        (by(&url.replace("/Simple", "/../Simple")), 400, NOT_THE_PATH),
    ]
}

fn wrong_topics() -> Vec<(String, u16, &'static str)> {
    let end = SIGNER
        .sign_unsubscription(&letter(1, STRANGER), TOKEN)
        .expect("signed");
    let link = |from: &str, to: &str| {
        let document = subscription(1, TOPIC);
        assert!(document.contains(from), "{from} is in {document}");
        document.replacen(from, to, 1)
    };
    vec![
        (notification(1, STRANGER, "Hello"), 403, NOT_KNOWN),
        (of(STRANGER), 403, NOT_KNOWN),
        (
            of("arn:aws:sns:us-east-1:033616359524:lt0xa"),
            403,
            NOT_KNOWN,
        ),
        (end, 403, NOT_KNOWN),
        (
            of("arn:aws-cn:sns:cn-north-1:033616359524:LT0XA"),
            403,
            "topics in China are not allowed by the settings",
        ),
        (
            of("arn:aws:sqs:us-east-1:033616359524:LT0XA"),
            400,
            NOT_A_TOPIC,
        ),
        (
            of("arn:aws:sns:us-east-1:033616359524:LT0XA.fifo"),
            400,
            NOT_A_TOPIC,
        ),
        (
            of("arn:aws:sns:s3-us-west-2:033616359524:LT0XA"),
            400,
            NOT_A_TOPIC,
        ),
        (
            of("arn:aws:sns:us-east-1.evil.example/:033616359524:LT0XA"),
            400,
            NOT_A_TOPIC,
        ),
        (of(""), 400, NOT_A_TOPIC),
        (
            link(
                "https://sns.us-east-1.amazonaws.com/?",
                "https://evil.example/?",
            ),
            400,
            NOT_THE_LINK,
        ),
        (
            link(
                "https://sns.us-east-1.amazonaws.com/?",
                "http://sns.us-east-1.amazonaws.com/?",
            ),
            400,
            NOT_THE_LINK,
        ),
        (
            link(
                "https://sns.us-east-1.amazonaws.com/?",
                "https://sns.us-west-2.amazonaws.com/?",
            ),
            400,
            NOT_THE_LINK,
        ),
        (
            link("Action=ConfirmSubscription", "Action=Publish"),
            400,
            NOT_THE_LINK,
        ),
        (
            link(
                &format!("TopicArn={TOPIC}"),
                &format!("TopicArn={STRANGER}"),
            ),
            400,
            NOT_THE_LINK,
        ),
        (
            link(&format!("Token={TOKEN}"), "Token=other"),
            400,
            NOT_THE_LINK,
        ),
    ]
}

fn wrong_documents() -> Vec<(String, u16, &'static str)> {
    let wrong = "signature is wrong";
    vec![
        (
            "{\"receiptId\":\"raw delivery\"}".to_owned(),
            400,
            "Type is missing",
        ),
        ("Hello".to_owned(), 400, "body is not a JSON object"),
        (String::new(), 400, "body is not a JSON object"),
        (format!("{}x", renewal(1)), 400, "body is not a JSON object"),
        (
            " ".repeat(2 * 1024 * 1024 + 1),
            413,
            "body larger than 2 MiB",
        ),
        (
            with("\"Notification\"", "\"NOTIFICATION\""),
            400,
            "Type is unknown",
        ),
        (
            with("\"Notification\"", "\"UnsubscribeConfirmation\""),
            400,
            "SubscribeURL is missing",
        ),
        (
            with("{\n", "{\"Message\":\"{}\",\n"),
            400,
            "a key appears twice",
        ),
        (
            with("\"Signature\"", "\"signature\""),
            400,
            "Signature is missing",
        ),
        (
            with("\"SigningCertURL\"", "\"SigningCertUrl\""),
            400,
            "SigningCertURL is missing",
        ),
        (
            with(
                "\"SignatureVersion\" : \"2\"",
                "\"SignatureVersion\" : \"0\"",
            ),
            400,
            "SignatureVersion is neither 1 nor 2",
        ),
        (
            with(
                "\"SignatureVersion\" : \"2\"",
                "\"SignatureVersion\" : \"1\"",
            ),
            400,
            wrong,
        ),
        (with("receipt-1", "receipt-2"), 400, wrong),
        (with("{\n", "{\"Subject\":\"Hello\",\n"), 400, wrong),
        (
            with("2026-06-01T12:00:00.000Z", "2026-06-01T12:00:00.001Z"),
            400,
            wrong,
        ),
        (
            with("\"MessageId\" : \"6b27", "\"MessageId\" : \"6b28"),
            400,
            wrong,
        ),
        (
            with("\"Signature\" : \"", "\"Signature\" : \"*"),
            400,
            "Signature is not base64",
        ),
    ]
}

#[tokio::test]
async fn a_refused_message_causes_no_request_and_no_row() {
    let beginning = Beginning {
        topic: Some(TOPIC),
        has_certificate: true,
        ..Beginning::default()
    };
    let world = World::begin(beginning).await;
    let cases = [wrong_certificates(), wrong_topics(), wrong_documents()].concat();
    assert!(cases.len() >= 40);
    for (body, status, reason) in cases {
        assert_eq!(
            world.post(&body).await,
            (status, reason),
            "{}",
            body.chars().take(2000).collect::<String>()
        );
    }
    assert_eq!(world.sns.requests(), [""; 0]);
    assert!(
        world
            .store
            .open_after(0, 10)
            .await
            .expect("storage answers")
            .is_empty()
    );
    assert_eq!(
        (world.alarms().await.len(), world.topics().await.len()),
        (0, 1)
    );
    // This world accepts a valid notification, so the messages caused the refusals.
    assert_eq!(world.post(&renewal(1)).await, (200, "accepted"));
}

#[tokio::test]
async fn a_rejected_topic_is_refused_whatever_it_sends() {
    let world = World::begin(Beginning {
        has_certificate: true,
        ..Beginning::default()
    })
    .await;
    assert_eq!(
        world.post(&subscription(1, TOPIC)).await,
        (200, "topic waits for approval")
    );
    let topic = world
        .store
        .topics(world.platform.id)
        .await
        .expect("storage answers")[0]
        .id;
    world
        .store
        .reject_topic(topic, storage::TopicState::Pending)
        .await
        .expect("rejected");
    for body in [renewal(2), subscription(3, TOPIC)] {
        assert_eq!(world.post(&body).await, (403, "topic was rejected"));
    }
    assert!(world.sns.requests().is_empty());
}

#[tokio::test]
async fn answers_to_a_store_are_counted_in_a_row_for_each_reason() {
    let world = World::following().await;
    for number in [1, 1, 2] {
        assert_eq!(world.post(&renewal(number)).await.0, 200);
    }
    for _ in 0..3 {
        assert_eq!(world.post(&of(STRANGER)).await, (403, NOT_KNOWN));
    }
    let stranger = world
        .amazon
        .receive(world.intake(), "no-such-key", b"{}")
        .await;
    assert_eq!(stranger.status, 404);
    world.store.write_arrivals().await.expect("written");
    let arrivals = world
        .store
        .arrivals(world.platform.id)
        .await
        .expect("storage answers");
    let shown: Vec<_> = arrivals
        .iter()
        .map(|one| (one.reason.as_str(), one.times))
        .collect();
    assert_eq!(
        shown,
        [("", 3), (NOT_KNOWN, 3)],
        "of a stranger's key no platform has a row"
    );
    let counted = async |series| {
        let (zero, now) = (domain::Timestamp::from_micros(0), super::now());
        let filter = storage::SeriesFilter {
            series: vec![series],
            app: Some(world.platform.app_id),
            destinations: Vec::new(),
            from: zero,
            until: now,
        };
        world
            .store
            .minutes(filter)
            .await
            .expect("storage answers")
            .values()
            .flat_map(|minutes| minutes.values())
            .map(|sum| sum.times)
            .sum::<i64>()
    };
    assert_eq!(
        (
            counted(storage::Series::Accepted).await,
            counted(storage::Series::Refused).await
        ),
        (2, 3)
    );
}
