//! Ingress while windows end: notifications of other purchases with long windows are sent at saturation and then at a
//! third of that rate, each with and without two thousand windows that end meanwhile.

use super::phase::Plan;
use super::subject::{CONNECTIONS, Installed, Subject, Variant};
use serde_json::{Value, json};
use std::time::Duration;
use system_tests::load::{Load, Measured, Messages, Pace};
use system_tests::sns::{PACKAGE, TOPIC};

/// Number of purchases over which the other notifications are distributed.
const OTHERS: usize = 200;
/// Number of messages signed per second of saturation.
const PER_SECOND: f64 = 8_000.0;

#[derive(Debug, Clone)]
pub struct Options {
    pub burst: Plan,
    pub time: Duration,
}

pub async fn at_third(options: &Options, installed: &Installed) -> Value {
    let mut subject = Subject::start(Variant::Settle, installed).await;
    subject.temporal().let_others_first();
    let url = long_platform(&subject).await;
    let saturated = measure(&subject, &url, Pace::Saturate, options.time).await;
    let third = Pace::PerSecond(saturated.rate() / 3.0);
    let quiet = measure(&subject, &url, third, options.time).await;
    let mut rows = vec![("saturation", saturated), ("a third", quiet)];
    for (name, pace) in [
        ("saturation, windows end", Pace::Saturate),
        ("a third, windows end", third),
    ] {
        let burst = Plan {
            name: format!("during-{}", rows.len()),
            ..options.burst.clone()
        };
        let window_ends = burst.send(&mut subject).await;
        burst.wait_first(&subject, &window_ends).await;
        let measured = measure(&subject, &url, pace, options.time).await;
        let left = window_ends.len()
            - subject
                .arrivals()
                .keys()
                .filter(|key| window_ends.contains_key(*key))
                .count();
        let missing = burst.wait(&subject, &window_ends).await;
        println!(
            "{name}: {left} of {} purchases were settled after it, {missing} never",
            burst.purchases
        );
        rows.push((name, measured));
    }
    println!(
        "\n{:<28}{:>14}{:>10}{:>10}{:>10}",
        "ingress", "answered 200/s", "p50 ms", "p99 ms", "worst ms"
    );
    let mut all = Vec::new();
    for (name, measured) in &rows {
        measured.check();
        let [p50, p99, worst] = [0.5, 0.99, 1.0].map(|part| measured.latency_ms(part));
        println!(
            "{name:<28}{:>14.0}{p50:>10.1}{p99:>10.1}{worst:>10.1}",
            measured.rate()
        );
        all.push(
            json!({ "name": name, "per_second": measured.rate(), "p50_ms": p50, "p99_ms": p99, "worst_ms": worst }),
        );
    }
    subject.finish().await;
    Value::Array(all)
}

/// Creates a platform whose windows do not end during the measurement; returns its notification URL.
async fn long_platform(subject: &Subject) -> String {
    let world = subject.world().expect("settle");
    let platform = json!({
        "store": "amazon", "name": "long", "package_name": PACKAGE, "environment": "sandbox", "topic_arn": TOPIC,
        "window_seconds": 3600, "shares_package": true,
    });
    let created = world
        .api
        .post(&format!("/v1/apps/{}/platforms", world.app_id), &platform)
        .await
        .ok();
    created["notification_url"]
        .as_str()
        .expect("a URL")
        .to_owned()
}

/// Sends distinct notifications for this time, and measures the ingress.
async fn measure(subject: &Subject, url: &str, pace: Pace, time: Duration) -> Measured {
    let world = subject.world().expect("settle");
    let rate = match pace {
        Pace::Saturate => PER_SECOND,
        Pace::PerSecond(rate) => rate,
    };
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "a small positive number of messages"
    )]
    let count = (rate * time.as_secs_f64()) as usize;
    let receipts: Vec<String> = (0..count)
        .map(|number| format!("other-{}", number % OTHERS))
        .collect();
    let signed = Messages::new(&world.sns, url).sign(&receipts);
    Load::new(url, CONNECTIONS).run(signed, pace, time).await
}
