//! An admin's action on a purchase becomes a signal to its workflow.

use super::edge::{Service, accept};
use domain::CollapseKey;
use serde_json::{Value, json};
use storage::Handling;
use workflows::signal::{Admin, Discard, Hold, Signal};

async fn purchase(service: &Service) -> (CollapseKey, i64) {
    let (_, platform) = service.platform().await;
    accept(&service.store, platform, "receipt", Handling::Open).await
}

/// Returns the recorded signals, without `notified`, which the dispatcher sends.
fn signals(service: &Service) -> Vec<Signal> {
    let all = service
        .engine
        .signals()
        .into_iter()
        .map(|(_, signal)| signal);
    all.filter(|signal| !matches!(signal, Signal::Notified(_)))
        .collect()
}

#[tokio::test]
async fn each_action_is_its_signal_with_who_and_why() {
    let service = Service::start("actions").await;
    let (key, seq) = purchase(&service).await;
    let until = "2099-01-01T00:00:00+01:00";
    let bodies = [
        ("flush", json!({ "by": "ann", "reason": "ticket" })),
        (
            "hold",
            json!({ "by": "ann", "reason": "ticket", "until": until }),
        ),
        ("release", json!({ "by": "ann", "reason": "ticket" })),
        ("discard", json!({ "by": "ann", "reason": "ticket" })),
    ];
    for (action, body) in bodies {
        let answer = service
            .send_json("POST", &format!("/v1/purchases/{key}/{action}"), &body)
            .await;
        assert_eq!(answer.status, 202, "{action}: {}", answer.body);
        assert_eq!(
            answer.body,
            json!({ "collapse_key": key, "signal": action })
        );
    }
    let (by, reason) = (
        Some("ann (admin token)".to_owned()),
        Some("ticket".to_owned()),
    );
    let admin = Admin {
        by,
        reason,
        key_id: None,
    };
    let until = Some("2098-12-31T23:00:00.000000Z".to_owned());
    assert_eq!(
        signals(&service),
        [
            Signal::Flush(admin.clone()),
            Signal::Hold(Hold {
                until,
                admin: admin.clone()
            }),
            Signal::Release(admin.clone()),
            Signal::Discard(Discard {
                through: Some(seq),
                admin
            }),
        ]
    );
}

#[tokio::test]
async fn an_action_needs_no_body() {
    let service = Service::start("empty").await;
    let (key, _) = purchase(&service).await;
    for action in ["flush", "hold", "release", "discard"] {
        assert_eq!(
            service
                .send_json(
                    "POST",
                    &format!("/v1/purchases/{key}/{action}"),
                    &Value::Null
                )
                .await
                .status,
            202,
            "{action}"
        );
    }
    assert_eq!(signals(&service).len(), 4);
}

#[tokio::test]
async fn actions_answer_503_while_the_engine_is_away() {
    let service = Service::start("away").await;
    let (key, _) = purchase(&service).await;
    service.engine.set_down(true);
    for action in ["flush", "hold", "release", "discard"] {
        assert_eq!(
            service
                .send_json(
                    "POST",
                    &format!("/v1/purchases/{key}/{action}"),
                    &Value::Null
                )
                .await
                .status,
            503,
            "{action}"
        );
    }
}

#[tokio::test]
async fn a_purchase_shows_its_lanes_and_its_open_run() {
    let service = Service::start("show").await;
    let (key, _) = purchase(&service).await;
    *service.engine.status.lock().expect("status") = Some(json!({ "pending": 1 }));
    let shown = service.get(&format!("/v1/purchases/{key}")).await;
    assert_eq!(shown.status, 200, "{}", shown.body);
    assert_eq!(
        (&shown.body["status"], &shown.body["lanes"]),
        (&json!({ "pending": 1 }), &json!([]))
    );
    assert_eq!(
        (&shown.body["receipt_id"], &shown.body["state"]),
        (&json!("receipt"), &json!("unknown"))
    );
    let platform = shown.body["platform_id"].as_str().expect("a platform id");
    for query in [
        format!("platform_id={platform}&receipt_id=receipt"),
        "receipt_id=receipt".to_owned(),
    ] {
        let listed = service.get(&format!("/v1/purchases?{query}")).await;
        assert_eq!(
            listed.body["items"][0]["collapse_key"],
            json!(key),
            "in its first window: {}",
            listed.body
        );
        assert_eq!(listed.body["items"].as_array().map(Vec::len), Some(1));
    }
    service.engine.set_down(true);
    let shown = service.get(&format!("/v1/purchases/{key}")).await;
    assert_eq!((shown.status, &shown.body["status"]), (200, &Value::Null));
    assert!(shown.body["status_error"].is_string());
}
