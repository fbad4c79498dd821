//! The scripted faults of the fake Amplitude, and what its check reports about a sender.

use super::{KEY, OTHER, SECRET, error, event, fake, plain, post, send};
use axum::http::Method;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};
use std::time::Duration;
use system_tests::amplitude::{Amplitude, Chaos, Exchange, Fault};
use system_tests::http::send_raw;
use system_tests::wait;

const SOON: Duration = Duration::from_secs(180);

#[tokio::test]
async fn scripted_statuses_store_nothing() {
    let fake = fake().await;
    let statuses = [400, 403, 500, 502, 503, 504];
    fake.script(statuses.map(Fault::Status));
    for status in statuses {
        let answer = send(&fake, json!([plain("a", "device-1")])).await;
        assert_eq!(answer.status, status);
        assert!(
            status > 400 || error(&answer) == (400, "Bad request"),
            "it names no event: {answer:?}"
        );
        assert!(fake.events(KEY).is_empty());
    }
    fake.answer_to("bought", Fault::Status(500));
    assert_eq!(
        send(&fake, json!([plain("a", "device-1")])).await.status,
        500
    );
    let other = event("b", "device-1", &json!({ "event_type": "tried" }));
    assert_eq!(
        send(&fake, json!([other])).await.status,
        200,
        "only requests whose first event has the type"
    );
    fake.answer(Fault::Status(503));
    assert_eq!(send(&fake, json!([other])).await.status, 503);
    fake.answer_truly();
    assert_eq!(
        send(&fake, json!([plain("a", "device-1")])).await.status,
        200
    );
}

#[tokio::test]
async fn an_accepted_request_may_be_answered_with_an_error() {
    let fake = fake().await;
    fake.script([Fault::AnsweredWith(500), Fault::AnsweredWith(504)]);
    assert_eq!(
        send(&fake, json!([plain("a", "device-1")])).await.status,
        500
    );
    assert_eq!(fake.events(KEY).len(), 1);
    assert_eq!(
        send(&fake, json!([plain("a", "four")])).await.status,
        400,
        "a refusal stays one"
    );
    assert_eq!(
        send(&fake, json!([plain("a", "device-1")])).await.status,
        200
    );
    assert_eq!((fake.events(KEY).len(), fake.repeated(KEY)), (1, 1));
}

#[tokio::test]
async fn a_lost_reply_leaves_what_was_accepted() {
    let fake = fake().await;
    fake.script([Fault::Lost]);
    let body = json!({ "api_key": KEY, "events": [plain("a", "device-1")] }).to_string();
    let lost = post(&fake, "/2/httpapi", &body).await;
    assert!(lost.is_err(), "{lost:?}");
    assert_eq!(fake.events(KEY).len(), 1);
    assert_eq!(
        post(&fake, "/2/httpapi", &body)
            .await
            .map(|answer| answer.status),
        Ok(200)
    );
    assert_eq!((fake.events(KEY).len(), fake.repeated(KEY)), (1, 1));
    assert_eq!(
        fake.requests()
            .iter()
            .map(|exchange| exchange.status)
            .collect::<Vec<_>>(),
        [None, Some(200)]
    );
}

#[tokio::test]
async fn a_mute_request_leaves_what_was_accepted() {
    let fake = fake().await;
    fake.script([Fault::Mute]);
    let body = json!({ "api_key": KEY, "events": [plain("a", "device-1")] }).to_string();
    let mut pending = Box::pin(post(&fake, "/2/httpapi", &body));
    wait::until(SOON, "an event that is counted", async || {
        let is_answered = futures::poll!(&mut pending).is_ready();
        assert!(!is_answered, "nothing is answered");
        if fake.events(KEY).len() == 1 {
            Ok(())
        } else {
            Err("none".to_owned())
        }
    })
    .await;
    drop(pending);
    assert_eq!(
        post(&fake, "/2/httpapi", &body)
            .await
            .map(|answer| answer.status),
        Ok(200)
    );
    assert_eq!((fake.events(KEY).len(), fake.repeated(KEY)), (1, 1));
    assert_eq!(
        fake.requests()
            .iter()
            .map(|pending| pending.status)
            .collect::<Vec<_>>(),
        [None, Some(200)]
    );
}

/// Waits until the first request is no longer in flight.
async fn wait_closed(fake: &Amplitude) {
    wait::until(SOON, "the end of the first request", async || {
        let first = fake.requests().swap_remove(0);
        first
            .closed_at
            .map(drop)
            .ok_or_else(|| format!("{first:?}"))
    })
    .await;
}

#[tokio::test]
async fn an_unanswered_request_is_in_flight_until_its_sender_leaves() {
    for fault in [Fault::Mute, Fault::Hang] {
        for waits in [true, false] {
            let fake = fake().await;
            fake.script([fault.clone()]);
            let body = json!({ "api_key": KEY, "events": [plain("a", "device-1")] }).to_string();
            let mut pending = Box::pin(post(&fake, "/2/httpapi", &body));
            wait::until(SOON, "a request", async || {
                assert!(
                    !futures::poll!(&mut pending).is_ready(),
                    "nothing is answered"
                );
                if fake.requests().len() == 1 {
                    Ok(())
                } else {
                    Err("none".to_owned())
                }
            })
            .await;
            assert!(
                fake.requests()
                    .iter()
                    .all(|pending| pending.closed_at.is_none()),
                "it is open"
            );
            if waits {
                drop(pending);
                wait_closed(&fake).await;
                send(&fake, json!([plain("b", "device-1")])).await;
                fake.check();
            } else {
                send(&fake, json!([plain("b", "device-1")])).await;
                // The check compares each request with all earlier ones in flight, not only with the last one.
                send(&fake, json!([plain("c", "device-1")])).await;
                drop(pending);
                assert_eq!(fake.verdict().len(), 2, "{fault:?}: {:?}", fake.verdict());
                wait_closed(&fake).await;
                assert_eq!(fake.verdict().len(), 2, "{fault:?}: {:?}", fake.verdict());
            }
        }
    }
}

#[tokio::test]
async fn a_fault_may_name_one_event_and_none_beside_it() {
    let fake = fake().await;
    fake.script([Fault::Throttled(1), Fault::Refused(1), Fault::Silenced]);
    let events = json!([
        plain("a", "device-1"),
        plain("b", "device-2"),
        plain("c", "device-1")
    ]);
    let throttled = send(&fake, events.clone()).await;
    assert_eq!(
        (throttled.status, &throttled.body["throttled_devices"]),
        (429, &json!({ "device-2": 31 }))
    );
    assert_eq!(
        (&throttled.body["throttled_events"], fake.blamed().len()),
        (&json!([1]), 0),
        "it is taken later"
    );
    let refused = send(&fake, events.clone()).await;
    let named = &refused.body["events_with_invalid_fields"];
    assert_eq!(
        (refused.status, named),
        (400, &json!({ "event_properties": [1] }))
    );
    assert_eq!(fake.blamed(), ["b".to_owned()].into());
    let silenced = send(&fake, events.clone()).await;
    assert_eq!(
        (silenced.status, &silenced.body["silenced_devices"]),
        (400, &json!(["device-1"]))
    );
    assert_eq!(silenced.body["silenced_events"], json!([0]));
    assert_eq!(fake.blamed(), ["a", "b", "c"].map(str::to_owned).into());
    assert!(fake.events(KEY).is_empty(), "nothing is kept");
    assert_eq!(send(&fake, events).await.status, 200);
}

#[tokio::test]
async fn a_throttled_project_takes_nothing_and_names_nobody() {
    let fake = fake().await;
    fake.script([Fault::ProjectThrottled]);
    let answer = send(&fake, json!([plain("a", "device-1")])).await;
    assert_eq!((answer.status, &answer.body["code"]), (429, &json!(429)));
    let named = ["throttled_users", "throttled_devices", "throttled_events"]
        .map(|field| answer.body[field].to_string());
    assert_eq!(named, ["{}", "{}", "[]"]);
    assert!(fake.events(KEY).is_empty());
    assert_eq!(
        send(&fake, json!([plain("a", "device-1")])).await.status,
        200
    );
}

#[tokio::test]
async fn fewer_events_may_be_counted_than_were_sent() {
    let events = json!([
        plain("a", "device-1"),
        plain("b", "device-2"),
        plain("c", "device-1")
    ]);
    for (fault, shown, taken) in [
        (Fault::Fewer(1), 2, 2),
        (Fault::Fewer(9), 0, 0),
        (Fault::Miscounted(1), 2, 3),
    ] {
        let fake = fake().await;
        fake.script([fault.clone(), fault.clone()]);
        let answer = send(&fake, events.clone()).await;
        assert_eq!(
            (answer.status, &answer.body["events_ingested"]),
            (200, &json!(shown)),
            "{fault:?}"
        );
        let stored: Vec<_> = fake
            .events(KEY)
            .iter()
            .map(|one| one.event["insert_id"].clone())
            .collect();
        assert_eq!(stored, ["a", "b", "c"][..taken], "{fault:?}");
        assert_eq!(
            send(&fake, json!([plain("d", "four")])).await.status,
            400,
            "a refusal stays one"
        );
        assert_eq!(send(&fake, events.clone()).await.body["events_ingested"], 3);
        assert_eq!(
            (fake.events(KEY).len(), fake.repeated(KEY)),
            (3, taken),
            "{fault:?}"
        );
    }
}

#[tokio::test]
async fn a_dropped_request_leaves_nothing() {
    let fake = fake().await;
    fake.script([Fault::Dropped]);
    let body = json!({ "api_key": KEY, "events": [plain("a", "device-1")] }).to_string();
    assert!(post(&fake, "/2/httpapi", &body).await.is_err());
    assert!(fake.events(KEY).is_empty());
    assert_eq!(fake.requests().len(), 1);
}

#[tokio::test]
async fn a_fault_for_a_user_waits_for_a_request_about_them() {
    let fake = fake().await;
    let of =
        |insert_id: &str, user: &str| event(insert_id, "device-1", &json!({ "user_id": user }));
    fake.script_for("otto@shop", Fault::Status(500));
    fake.script([Fault::Status(503)]);
    assert_eq!(
        send(&fake, json!([of("a", "otto@shop")])).await.status,
        503,
        "the scripted fault comes first"
    );
    assert_eq!(send(&fake, json!([of("b", "anna@shop")])).await.status, 200);
    assert_eq!(
        send(&fake, json!([of("c", "anna@shop"), of("a", "otto@shop")]))
            .await
            .status,
        500
    );
    assert_eq!(
        send(&fake, json!([of("a", "otto@shop")])).await.status,
        200,
        "one request"
    );
}

#[tokio::test]
async fn late_and_hanging_requests_are_classified_correctly() {
    let fake = fake().await;
    fake.script([Fault::Late(Duration::from_millis(50)), Fault::Hang]);
    assert_eq!(
        send(&fake, json!([plain("a", "device-1")])).await.status,
        200
    );
    let url = format!("{}/2/httpapi", fake.url());
    let body = json!({ "api_key": KEY, "events": [plain("b", "four")] }).to_string();
    let hanging =
        tokio::spawn(async move { send_raw(Method::POST, &url, &[], body.into_bytes()).await });
    wait::until(SOON, "the second request", async || {
        let count = fake.requests().len();
        if count == 2 {
            Ok(())
        } else {
            Err(count.to_string())
        }
    })
    .await;
    wait::throughout(Duration::from_millis(200), "no answer", async || {
        let status = fake.requests().last().and_then(|exchange| exchange.status);
        status.map_or(Ok(()), |status| Err(status.to_string()))
    })
    .await;
    fake.release();
    assert_eq!(
        hanging.await.expect("it ends").map(|answer| answer.status),
        Ok(400)
    );
}

#[tokio::test]
async fn random_faults_follow_from_their_seed_and_end() {
    let name = |event: &Value| event["insert_id"].as_str().unwrap_or_default().to_owned();
    let mut statuses = Vec::new();
    for seed in [7, 7, 8] {
        let fake = fake().await;
        fake.disturb(Chaos::new(seed, 80, 4, name));
        let mut seen = Vec::new();
        for number in 0..8 {
            let body =
                json!({ "api_key": KEY, "events": [plain(&number.to_string(), "device-1")] })
                    .to_string();
            for _ in 0..5 {
                seen.push(
                    post(&fake, "/2/httpapi", &body)
                        .await
                        .map(|answer| answer.status)
                        .ok(),
                );
            }
            assert_eq!(
                seen.last(),
                Some(&Some(200)),
                "after the last fault none is met"
            );
        }
        assert_eq!(fake.events(KEY).len(), 8);
        let names = |exchange: &Exchange| exchange.answer["throttled_events"] != json!([]);
        let throttled = fake
            .requests()
            .into_iter()
            .filter(|exchange| exchange.status == Some(429) && names(exchange));
        assert!(
            throttled
                .clone()
                .all(|exchange| exchange.answer["throttled_devices"] == json!({ "device-1": 31 }))
        );
        statuses.push(seen);
    }
    assert_eq!(statuses[0], statuses[1]);
    assert_ne!(statuses[0], statuses[2]);
    assert!(
        statuses[0].contains(&None) || statuses[2].contains(&None),
        "some lose their connection: {statuses:?}"
    );
}

#[tokio::test]
async fn the_user_search_requires_key_and_secret() {
    let fake = fake().await;
    let search = async |pair: &str| {
        let headers = [("authorization", format!("Basic {}", STANDARD.encode(pair)))];
        let url = format!("{}/api/2/usersearch?user=settle", fake.url());
        send_raw(Method::GET, &url, &headers, Vec::new())
            .await
            .expect("an answer")
    };
    let found = search(&format!("{KEY}:{SECRET}")).await;
    assert_eq!((found.status, &found.body["matches"]), (200, &json!([])));
    for wrong in [
        format!("{KEY}:wrong"),
        format!("{OTHER}:{SECRET}"),
        SECRET.to_owned(),
    ] {
        assert_eq!(search(&wrong).await.status, 401, "{wrong}");
    }
    let url = format!("{}/api/2/usersearch?user=settle", fake.url());
    assert_eq!(
        send_raw(Method::GET, &url, &[], Vec::new())
            .await
            .map(|answer| answer.status),
        Ok(401)
    );
    fake.check();
}

#[tokio::test]
async fn the_check_reports_what_no_sender_should_do() {
    let odd = [
        (
            "an ip",
            json!([event("a", "device-1", &json!({ "ip": "192.0.2.1" }))]),
        ),
        (
            "revenue beside price",
            json!([event(
                "a",
                "device-1",
                &json!({ "revenue": 1.5, "price": 1.5 })
            )]),
        ),
        (
            "no insert_id",
            json!([{ "event_type": "bought", "device_id": "device-1" }]),
        ),
        (
            "11 events",
            (0..11).map(|n| plain(&n.to_string(), "device-1")).collect(),
        ),
        (
            "two contents",
            json!([
                plain("a", "device-1"),
                event("a", "device-1", &json!({ "country": "US" }))
            ]),
        ),
    ];
    for (what, events) in odd {
        let fake = fake().await;
        send(&fake, events).await;
        assert_eq!(fake.verdict().len(), 1, "{what}: {:?}", fake.verdict());
    }
    let fake = fake().await;
    let skipped = event(
        "a",
        "device-1",
        &json!({ "$skip_user_properties_sync": true }),
    );
    send(&fake, json!([plain("a", "device-1"), skipped])).await;
    fake.check();
    let before = fake.requests().len();
    fake.script([Fault::Hang, Fault::Hang]);
    let both = wait::until(SOON, "two open requests", async || {
        let open = fake.requests().len() - before;
        if open == 2 {
            Ok(())
        } else {
            Err(open.to_string())
        }
    });
    tokio::join!(
        send(&fake, json!([plain("b", "device-1")])),
        send(&fake, json!([plain("c", "device-1")])),
        async {
            both.await;
            fake.release();
        }
    );
    assert!(
        fake.verdict()
            .iter()
            .any(|wrong| wrong.contains("in flight at once")),
        "{:?}",
        fake.verdict()
    );
}

/// Sends this number of requests concurrently, each about a different device.
async fn send_at_once(fake: &Amplitude, requests: usize) {
    let all = (0..requests).map(|n| {
        let (insert_id, device) = (
            format!("{n} {}", fake.requests().len()),
            format!("device-{n}"),
        );
        async move { send(fake, json!([plain(&insert_id, &device)])).await }
    });
    assert!(
        futures::future::join_all(all)
            .await
            .iter()
            .all(|answer| answer.status == 200)
    );
}

#[tokio::test]
async fn more_than_a_hundred_requests_a_second_are_reported() {
    let fake = fake().await;
    send_at_once(&fake, 100).await;
    fake.check();
    // A busy machine may need more than a second to send them all.
    wait::until(SOON, "101 requests within a second", async || {
        send_at_once(&fake, 101).await;
        let wrong = fake.verdict();
        match wrong.as_slice() {
            [] => Err("none".to_owned()),
            [only] if only.contains("more than 100 requests within a second") => Ok(()),
            _ => panic!("{wrong:?}"),
        }
    })
    .await;
}
