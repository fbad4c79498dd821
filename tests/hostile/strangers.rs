//! Messages that are signed by AWS but were not requested: a topic of any account can send to a URL.

use super::target::Target;
use super::witness::Witness;
use diesel::sql_types::BigInt;
use diesel::{Connection, QueryableByName, RunQueryDsl, SqliteConnection};
use serde_json::json;
use std::collections::BTreeMap;
use std::sync::Arc;
use system_tests::http::post_as_sns;
use system_tests::sns::{Rtn, Sns};
use tokio::task::JoinSet;

/// Number of unreadable messages.
const UNREADABLE: usize = 20_000;
/// Number of messages about the app, which wait for the topic's approval while there is room.
const READABLE: usize = 4000;
const SENDERS: usize = 8;
/// Size of the text in each unreadable message: less in a debug build, which parses slowly.
const TEXT_BYTES: usize = if cfg!(debug_assertions) {
    512
} else {
    8 * 1024
};
const TOKEN: &str = "2336412f37fb687f5d51e6e2425dacbb";

/// Number and total size of rows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, QueryableByName)]
struct Size {
    #[diesel(sql_type = BigInt)]
    rows: i64,
    #[diesel(sql_type = BigInt)]
    bytes: i64,
}

/// Returns the number and size of a table's rows from unrequested messages.
fn size(target: &Target, what: &str, from: &str) -> Size {
    let mut connection =
        SqliteConnection::establish(target.world.installation.database()).expect("the database");
    let found: Size = diesel::sql_query(from)
        .get_result(&mut connection)
        .expect("its rows");
    println!("{what}: {} rows of {} bytes", found.rows, found.bytes);
    found
}

fn notifications(target: &Target) -> Size {
    let bytes = "LENGTH(body) + LENGTH(receipt_id) + LENGTH(store_type) + LENGTH(COALESCE(app_user_id, ''))";
    let of_strangers = "waiting_topic_id IS NOT NULL OR outcome IN ('refused', 'unknown')";
    let from = format!(
        "SELECT COUNT(*) AS \"rows\", COALESCE(SUM({bytes}), 0) AS bytes FROM notifications WHERE {of_strangers}"
    );
    size(target, "notifications of strangers", &from)
}

fn alarms(target: &Target) -> Size {
    size(
        target,
        "alarms",
        "SELECT COUNT(*) AS \"rows\", COALESCE(SUM(LENGTH(detail)), 0) AS bytes FROM alarms",
    )
}

fn topics(target: &Target) -> Size {
    let bytes = "LENGTH(arn) + LENGTH(COALESCE(subscribe_url, ''))";
    size(
        target,
        "topics",
        &format!("SELECT COUNT(*) AS \"rows\", COALESCE(SUM({bytes}), 0) AS bytes FROM topics"),
    )
}

fn topic(account: usize, name: &str) -> String {
    format!("arn:aws:sns:us-east-1:{account:012}:{name}")
}

/// Sends messages over several connections; returns the number of answers by status.
async fn send(
    target: &Target,
    count: usize,
    body: impl Fn(usize) -> String + Send + Sync + 'static,
) -> Statuses {
    let (url, body) = (target.notification_url().to_owned(), Arc::new(body));
    let senders: JoinSet<Statuses> = (0..SENDERS)
        .map(|sender| {
            let (url, body) = (url.clone(), body.clone());
            async move {
                let mut statuses = Statuses::new();
                for number in (sender..count).step_by(SENDERS) {
                    let body = body.clone();
                    let signed = tokio::task::spawn_blocking(move || body(number))
                        .await
                        .expect("a signed message");
                    let answer = post_as_sns(&url, &signed).await.expect("an answer");
                    *statuses.entry(answer.status).or_default() += 1;
                }
                statuses
            }
        })
        .collect();
    let mut all = Statuses::new();
    for (status, count) in senders.join_all().await.into_iter().flatten() {
        *all.entry(status).or_default() += count;
    }
    all
}

type Statuses = BTreeMap<u16, usize>;

/// Rejects the pending topic with this name, like an operator.
async fn reject(target: &Target, arn: &str) {
    let path = format!("/v1/platforms/{}/topics", target.world.platform_id);
    let all = target.world.api.get(&path).await.ok();
    let found = all["items"]
        .as_array()
        .and_then(|all| all.iter().find(|one| one["arn"] == arn))
        .expect("the topic");
    let path = format!("{path}/{}/reject", found["id"].as_str().expect("an id"));
    drop(target.world.api.post(&path, &json!({})).await.ok());
}

#[tokio::test(flavor = "multi_thread")]
async fn twenty_thousand_messages_of_a_foreign_topic_fill_nothing() {
    let target = Target::start().await;
    let (pending, unknown) = (
        topic(123_456_789_012, "mine"),
        topic(123_456_789_012, "another"),
    );
    let request = target.sns().subscription(&pending, TOKEN);
    assert_eq!(
        post_as_sns(target.notification_url(), &request.body)
            .await
            .expect("an answer")
            .status,
        200
    );
    let before = (notifications(&target), alarms(&target));
    let attack = async {
        let (first, second) = (pending.clone(), unknown.clone());
        let unreadable = move |number: usize| {
            let arn = if number.is_multiple_of(4) {
                &second
            } else {
                &first
            };
            let text = format!("{number} ").repeat(TEXT_BYTES / 8);
            Sns::new().message(arn, &text).body
        };
        let refused = send(&target, UNREADABLE, unreadable).await;
        assert_eq!(refused, Statuses::from([(403, UNREADABLE)]));
        assert_eq!(
            (notifications(&target), alarms(&target)),
            before,
            "nothing is stored"
        );
        let arn = pending.clone();
        let readable = move |number: usize| {
            let rtn = Rtn {
                app_user_id: "x".repeat(128),
                ..Rtn::new("SUBSCRIPTION_RENEWED", &format!("own-{number}"))
            };
            Sns::new().message(&arn, &rtn.message()).body
        };
        send(&target, READABLE, readable).await
    };
    let (waiting, witness) = Witness::watch(&target, attack).await;
    println!("messages of the app from a topic without approval were answered {waiting:?}");
    assert!(
        waiting.keys().all(|status| [200, 503].contains(status)),
        "{waiting:?}"
    );
    let (stored, accepted) = (
        notifications(&target),
        waiting.get(&200).copied().unwrap_or(0),
    );
    assert!((2000..=2000 + SENDERS).contains(&accepted), "{waiting:?}");
    assert!(
        stored.rows <= 2000 + 8 && stored.bytes < 4 * 1024 * 1024,
        "{stored:?}"
    );
    assert!(alarms(&target).rows <= before.1.rows + 1);
    reject(&target, &pending).await;
    let refused = notifications(&target);
    assert!(
        refused.rows <= 1000 && refused.bytes < 1024 * 1024,
        "{refused:?}"
    );
    target.finish(&witness.receipts).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn six_topics_leave_the_store_its_place() {
    let target = Target::start().await;
    let url = target.notification_url().to_owned();
    let request = |arn: String| target.sns().subscription(&arn, TOKEN).body;
    let own = "arn:aws:sns:us-east-1:033616359524:the-stores-own".to_owned();
    let attack = async {
        for number in 1..=6 {
            let answer = post_as_sns(&url, &request(topic(number, "mine")))
                .await
                .expect("an answer");
            assert_eq!(
                answer.status,
                if number <= 5 { 200 } else { 503 },
                "topic {number}: {answer:?}"
            );
        }
        assert_eq!(
            post_as_sns(&url, &request(own.clone()))
                .await
                .expect("an answer")
                .status,
            200
        );
        let many = |number: usize| {
            Sns::new()
                .subscription(&topic(number + 7, &"x".repeat(200)), TOKEN)
                .body
        };
        send(&target, 4000, many).await
    };
    let (statuses, witness) = Witness::watch(&target, attack).await;
    println!("4000 further requests of as many accounts were answered {statuses:?}");
    assert_eq!(statuses, Statuses::from([(503, 4000)]));
    let found = topics(&target);
    assert!(
        found.rows <= 1 + 5 + 21 && found.bytes < 64 * 1024,
        "{found:?}"
    );
    assert!(alarms(&target).rows <= 3);
    // A request that SNS sends again can still be approved.
    assert_eq!(
        post_as_sns(&url, &request(own.clone()))
            .await
            .expect("an answer")
            .status,
        200
    );
    reject(&target, &own).await;
    target.finish(&witness.receipts).await;
}
