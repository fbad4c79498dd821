//! The dispatcher with a real inbox: every purchase with open rows is signalled, even after the engine was unavailable.

use super::edge::{Recording, accept, open};
use api::dispatch::Dispatch;
use domain::{CollapseKey, PlatformId};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;
use storage::{Handling, NewPlatform, PlatformSettings, Store};
use system_tests::folder::Folder;
use system_tests::wait;
use tokio::time::Instant;
use workflows::signal::Signal;

const TIMEOUT: Duration = Duration::from_secs(60);

async fn platform(store: &Store) -> PlatformId {
    let app_id = store.new_app("reader").await.expect("an app").id;
    let new = NewPlatform {
        app_id,
        store: "amazon".to_owned(),
        settings: PlatformSettings::new("fire", "com.example.settle", 120_000),
        shared_secret: None,
        topic_arn: None,
        ingress_key: "0123456789abcdef0123456789abcdef".into(),
        publishable_key: "pk_test".to_owned(),
        of_store: Default::default(),
    };
    store.new_platform(new).await.expect("a platform").id
}

/// Returns the highest signalled row of each purchase.
fn newest(engine: &Recording) -> BTreeMap<CollapseKey, i64> {
    let mut newest = BTreeMap::new();
    for (key, signal) in engine.signals() {
        if let Signal::Notified(notified) = signal {
            let seen = newest.entry(key).or_insert(0);
            *seen = notified.through.max(*seen);
        }
    }
    newest
}

async fn wait_signalled(engine: &Recording, expected: &BTreeMap<CollapseKey, i64>) {
    wait::until(
        TIMEOUT,
        "every purchase's newest row to be signalled",
        async || {
            let signalled = newest(engine);
            if signalled == *expected {
                Ok(())
            } else {
                Err(format!(
                    "{} of {} purchases",
                    signalled.len(),
                    expected.len()
                ))
            }
        },
    )
    .await;
}

/// Stores `count` purchases, each with one open row.
async fn fill(store: &Store, platform: PlatformId, count: usize) -> BTreeMap<CollapseKey, i64> {
    let mut rows = BTreeMap::new();
    for number in 0..count {
        let (key, seq) = accept(
            store,
            platform,
            &format!("receipt {number}"),
            Handling::Open,
        )
        .await;
        rows.insert(key, seq);
    }
    rows
}

#[tokio::test]
async fn a_burst_of_one_purchase_is_one_signal_at_first() {
    let folder = Folder::new("burst");
    let store = open(&folder).await;
    let engine = Arc::new(Recording::default());
    let dispatch = Dispatch::start(engine.clone(), store.clone());
    let key = CollapseKey::of(platform(&store).await, "receipt");
    for seq in 1..=1000 {
        dispatch.notify(key, seq, 120_000, None);
        tokio::task::yield_now().await;
    }
    wait::until(TIMEOUT, "the first signal", async || {
        if engine.signals().is_empty() {
            Err("none".to_owned())
        } else {
            Ok(())
        }
    })
    .await;
    wait::throughout(
        Duration::from_millis(300),
        "one signal",
        async || match engine.signals().len() {
            1 => Ok(()),
            count => Err(format!("{count} signals")),
        },
    )
    .await;
    assert_eq!(
        dispatch.unsignalled_purchases(),
        1,
        "the trailing signal is due later"
    );
}

#[tokio::test]
async fn a_start_signals_each_purchase_once_the_newest_first() {
    let folder = Folder::new("newest");
    let store = open(&folder).await;
    let platform = platform(&store).await;
    let rows = fill(&store, platform, 25).await;
    let engine = Arc::new(Recording::default());
    let _dispatch = Dispatch::start(engine.clone(), store.clone());
    wait_signalled(&engine, &rows).await;
    let signals = engine.signals();
    assert_eq!(signals.len(), rows.len(), "{signals:?}");
    let newest_row = rows
        .iter()
        .max_by_key(|(_, seq)| **seq)
        .map(|(key, _)| *key);
    // A few calls may overtake each other, since they run concurrently.
    let first: Vec<Option<CollapseKey>> =
        signals.iter().take(4).map(|(key, _)| Some(*key)).collect();
    assert!(first.contains(&newest_row), "{first:?}");
}

#[tokio::test]
async fn an_emptied_engine_gets_every_signal_again() {
    let folder = Folder::new("emptied");
    let store = open(&folder).await;
    let platform = platform(&store).await;
    let rows = fill(&store, platform, 25).await;
    store
        .set_sweep_run("first".to_owned())
        .await
        .expect("the run");
    let engine = Arc::new(Recording::default());
    let _dispatch = Dispatch::start(engine.clone(), store.clone());
    wait_signalled(&engine, &rows).await;
    let sent = engine.signals().len();
    assert!(
        store
            .engine_emptied("first".to_owned(), "second".to_owned())
            .await
            .expect("the loss")
    );
    wait::until(TIMEOUT, "all signals again", async || {
        match engine.signals().len() {
            count if count == sent + rows.len() => Ok(()),
            count => Err(format!("{count} signals")),
        }
    })
    .await;
}

#[tokio::test]
async fn an_engine_far_away_gets_five_hundred_signals_a_second() {
    const SIGNALS: u32 = 3000;
    // With this many purchases, the first signal of a window is delayed by a twelfth of the window.
    const WINDOW_MS: i64 = 240;
    let folder = Folder::new("far");
    let store = open(&folder).await;
    let engine = Arc::new(Recording::default());
    *engine.round_trip.lock().expect("no test panicked") = Duration::from_millis(30);
    let dispatch = Dispatch::start(engine.clone(), store.clone());
    let platform = platform(&store).await;
    let began = Instant::now();
    for number in 0..SIGNALS {
        dispatch.notify(
            CollapseKey::of(platform, &number.to_string()),
            number.into(),
            WINDOW_MS,
            None,
        );
    }
    wait::until(TIMEOUT, "every signal", async || {
        match dispatch.unsignalled_purchases() {
            0 => Ok(()),
            left => Err(format!("{left} purchases are not signalled")),
        }
    })
    .await;
    let rate = f64::from(SIGNALS) / began.elapsed().as_secs_f64();
    println!("{rate:.0} signals a second");
    assert!(rate >= 500.0, "{rate:.0} signals a second");
}

#[tokio::test]
async fn an_engine_that_was_away_gets_every_signal() {
    let folder = Folder::new("away");
    let store = open(&folder).await;
    let platform = platform(&store).await;
    let engine = Arc::new(Recording::default());
    engine.set_down(true);
    let dispatch = Dispatch::start(engine.clone(), store.clone());
    let rows = fill(&store, platform, 25).await;
    for (key, seq) in &rows {
        dispatch.notify(*key, *seq, 120_000, None);
    }
    wait::throughout(
        Duration::from_millis(500),
        "silence",
        async || match engine.signals().len() {
            0 => Ok(()),
            count => Err(format!("{count} signals")),
        },
    )
    .await;
    engine.set_down(false);
    wait_signalled(&engine, &rows).await;
}

#[tokio::test]
async fn keys_beyond_memory_are_read_back_from_the_inbox() {
    let folder = Folder::new("overflow");
    let store = open(&folder).await;
    let platform = platform(&store).await;
    let engine = Arc::new(Recording::default());
    engine.set_down(true);
    let dispatch = Dispatch::with_capacity(engine.clone(), store.clone(), 4);
    let rows = fill(&store, platform, 60).await;
    for (key, seq) in &rows {
        dispatch.notify(*key, *seq, 120_000, None);
    }
    assert!(
        dispatch.unsignalled_purchases() <= 4,
        "{} keys in memory",
        dispatch.unsignalled_purchases()
    );
    engine.set_down(false);
    wait_signalled(&engine, &rows).await;
    assert!(dispatch.unsignalled_purchases() <= 4);
}

#[tokio::test]
async fn ten_thousand_keys_are_accepted_without_the_engine() {
    let folder = Folder::new("many");
    let store = open(&folder).await;
    let engine = Arc::new(Recording::default());
    engine.set_down(true);
    let dispatch = Dispatch::start(engine.clone(), store.clone());
    let platform = platform(&store).await;
    let keys: Vec<CollapseKey> = (0..10_000)
        .map(|number| CollapseKey::of(platform, &number.to_string()))
        .collect();
    // The control accepts as many notifications, of a hundred purchases, alternating with the others.
    let control = Dispatch::start(engine.clone(), store.clone());
    let (mut many, mut few) = (Vec::new(), Vec::new());
    for round in 0..10 {
        for (dispatch, keys, lasted) in [
            (&dispatch, &keys[..], &mut many),
            (&control, &keys[..100], &mut few),
        ] {
            let began = tokio::time::Instant::now();
            for (number, key) in (1_i64..=10_000).zip(keys.iter().cycle()) {
                dispatch.notify(*key, round * 10_000 + number, 120_000, None);
            }
            lasted.push(began.elapsed());
        }
    }
    let [many, few] = [many, few].map(|mut lasted| {
        lasted.sort_unstable();
        lasted[lasted.len() / 2]
    });
    assert!(
        many < few * 20,
        "10,000 notifications took {many:?}, and {few:?} of a hundred purchases"
    );
    assert!(dispatch.unsignalled_purchases() <= 10_000);
}
