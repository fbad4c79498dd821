//! Enabling and disabling a destination, and signals to its workflow.

use super::super::edge::Service;
use super::{check_wrong, create, desk, webhook};
use domain::DestinationId;
use serde_json::{Value, json};
use workflows::signal::{Admin, DestinationSignal, Enable};

fn id_of(path: &str) -> DestinationId {
    path.rsplit('/')
        .next()
        .and_then(|id| id.parse().ok())
        .expect("an id")
}

/// Returns a disabled destination for which `purchase.updated` and a `user.*` of each of two purchases are pending.
async fn with_backlog(name: &str) -> (Service, String) {
    let (service, list) = desk(name).await;
    let mut body = webhook();
    body["enabled"] = json!(false);
    let (path, _) = create(&service, &list, &body).await;
    service.seed(&["r1", "r2"]).await;
    service.seed_events();
    let missing = json!({ "missing": true, "destination_id": id_of(&path) });
    service.send_json("POST", "/v1/resends", &missing).await;
    service.raw(&format!(
        "INSERT INTO deliveries (id, destination_id, event_id, n, event_type, collapse_key, revision, status, attempts,
             next_due_at, created_at)
             SELECT '6b275a67-0bbb-4f3a-99b9-00000000000' || seq, '{}', id, 1, 'user.subscription.renewed', collapse_key, 1,
             CASE WHEN seq % 2 = 0 THEN 'pending' ELSE 'waiting' END, 0, 1, 1 FROM events",
        id_of(&path)
    ));
    (service, path)
}

async fn figures(service: &Service, path: &str) -> (Value, Value) {
    let health = service.get(path).await.body["health"].clone();
    (health["pending"].clone(), health["waiting"].clone())
}

#[tokio::test]
async fn metrics_show_each_destination_until_it_is_deleted() {
    let (service, path) = with_backlog("measured").await;
    let id = id_of(&path);
    let (pending, _) = figures(&service, &path).await;
    let page = async || {
        service
            .figures
            .refresh(&service.store)
            .await
            .expect("the database answers");
        service
            .get("/metrics")
            .await
            .body
            .as_str()
            .unwrap_or("")
            .to_owned()
    };
    let text = page().await;
    for line in [
        "# TYPE settle_destination_state gauge".to_owned(),
        format!("settle_destination_state{{destination=\"{id}\",state=\"disabled\"}} 1"),
        format!("settle_destination_state{{destination=\"{id}\",state=\"healthy\"}} 0"),
        format!("settle_destination_pending{{destination=\"{id}\"}} {pending}"),
        format!("settle_destination_oldest_pending_seconds{{destination=\"{id}\"}} "),
    ] {
        assert!(text.contains(&line), "`{line}` is missing in\n{text}");
    }
    assert_eq!(
        service
            .send_json("DELETE", &path, &Value::Null)
            .await
            .status,
        204
    );
    let text = page().await;
    assert!(!text.contains(&id.to_string()), "{text}");
}

#[tokio::test]
async fn each_action_is_its_signal_with_who_and_why() {
    let (service, list) = desk("asked").await;
    let (path, _) = create(&service, &list, &webhook()).await;
    let id = id_of(&path);
    let body = json!({ "by": "ann", "reason": "ticket" });
    for action in ["disable", "enable", "probe"] {
        let answer = service
            .send_json("POST", &format!("{path}/{action}"), &body)
            .await;
        assert_eq!(
            (answer.status, &answer.body),
            (202, &json!({ "destination_id": id, "signal": action }))
        );
    }
    let admin = || Admin {
        by: Some("ann (admin token)".to_owned()),
        reason: Some("ticket".to_owned()),
        key_id: None,
    };
    let expected_signals = [
        (id, DestinationSignal::Disable(admin())),
        (id, DestinationSignal::Enable(admin().into())),
        (id, DestinationSignal::Probe(admin())),
    ];
    assert_eq!(service.engine.destination_signals(), expected_signals);
}

#[tokio::test]
async fn actions_answer_503_while_the_engine_is_away() {
    let (service, list) = desk("away").await;
    let (path, _) = create(&service, &list, &webhook()).await;
    service.engine.set_down(true);
    for action in ["disable", "enable", "probe"] {
        assert_eq!(
            service
                .send_json("POST", &format!("{path}/{action}"), &Value::Null)
                .await
                .status,
            503,
            "{action}"
        );
    }
}

#[tokio::test]
async fn switching_works_without_the_engine_and_signals_it_when_back() {
    let (service, list) = desk("switch").await;
    let (path, _) = create(&service, &list, &webhook()).await;
    let off = service
        .send_json("PATCH", &path, &json!({ "enabled": false }))
        .await
        .body;
    assert_eq!(
        (&off["enabled"], &off["state"]),
        (&json!(false), &json!("disabled"))
    );
    assert_eq!(off["reason"], "disabled by an admin");
    assert_eq!(
        service.engine.supervised(),
        [id_of(&path)],
        "its run is signalled to call waiting lanes back"
    );
    service.engine.set_down(true);
    let on = service
        .send_json("PATCH", &path, &json!({ "enabled": true }))
        .await;
    assert_eq!(
        (on.status, &on.body["state"]),
        (200, &json!("healthy")),
        "{}",
        on.body
    );
    assert!(on.body.get("reason").is_none(), "{}", on.body);
    service.engine.set_down(false);
    service
        .send_json("PATCH", &path, &json!({ "enabled": true }))
        .await;
    assert_eq!(
        service.engine.supervised().len(),
        1,
        "enabling an enabled destination signals nothing"
    );
    service
        .send_json("PATCH", &path, &json!({ "enabled": false }))
        .await;
    service
        .send_json("PATCH", &path, &json!({ "enabled": true }))
        .await;
    assert_eq!(service.engine.supervised(), [id_of(&path); 3]);
}

#[tokio::test]
async fn a_disabled_destination_is_not_probed() {
    let (service, path) = with_backlog("probe").await;
    let answer = service
        .send_json("POST", &format!("{path}/probe"), &Value::Null)
        .await;
    assert_eq!(answer.status, 409, "{}", answer.body);
    assert!(
        answer.body["detail"].to_string().contains("enable it"),
        "{}",
        answer.body
    );
    assert_eq!(service.engine.destination_signals(), []);
}

#[tokio::test]
async fn enabling_keeps_everything_pending() {
    let (service, path) = with_backlog("all").await;
    assert_eq!(figures(&service, &path).await, (json!(3), json!(1)));
    service
        .send_json("PATCH", &path, &json!({ "enabled": true }))
        .await;
    assert_eq!(figures(&service, &path).await, (json!(3), json!(1)));
}

#[tokio::test]
async fn enabling_with_newest_only_skips_the_pending_user_events() {
    for verb in ["PATCH", "POST"] {
        let (service, path) = with_backlog(&format!("newest-{verb}")).await;
        let answer = match verb {
            "PATCH" => {
                service
                    .send_json(
                        "PATCH",
                        &path,
                        &json!({ "enabled": true, "newest_only": true }),
                    )
                    .await
            }
            _ => {
                service
                    .send_json(
                        "POST",
                        &format!("{path}/enable"),
                        &json!({ "newest_only": true }),
                    )
                    .await
            }
        };
        assert!((200..300).contains(&answer.status), "{}", answer.body);
        assert_eq!(
            figures(&service, &path).await,
            (json!(2), json!(0)),
            "one `purchase.updated` per purchase is left"
        );
        let skipped = service.get("/v1/deliveries?status=skipped").await.body;
        let items = skipped["items"].as_array().expect("items");
        assert_eq!(items.len(), 2, "{skipped}");
        for delivery in items {
            assert_eq!(delivery["event_type"], "user.subscription.renewed");
            assert!(
                delivery["last_error"]
                    .to_string()
                    .contains("latest states only"),
                "{delivery}"
            );
        }
    }
}

/// More deliveries than one request skips.
const VERY_MANY: i64 = 50_001;

#[tokio::test]
async fn very_many_are_skipped_by_its_workflow_or_the_next_request() {
    let (service, path) = with_backlog("many").await;
    service.raw(&format!(
        "WITH RECURSIVE numbers (n) AS (SELECT 2 UNION ALL SELECT n + 1 FROM numbers WHERE n < {VERY_MANY} - 1)
         INSERT INTO deliveries (id, destination_id, event_id, n, event_type, collapse_key, revision, status, attempts,
             next_due_at, created_at)
             SELECT d.id || '/' || numbers.n, destination_id, event_id, numbers.n, event_type, collapse_key, 1, 'pending',
             0, 1, 1 FROM deliveries d JOIN numbers WHERE d.event_type LIKE 'user.%' AND d.status = 'pending'"
    ));
    let enable = json!({ "enabled": true, "newest_only": true });
    let first = service.send_json("PATCH", &path, &enable).await;
    assert_eq!(first.status, 503, "{}", first.body);
    assert!(
        first.body["detail"]
            .to_string()
            .contains("repeat this request"),
        "{}",
        first.body
    );
    assert_eq!(
        service.get(&path).await.body["enabled"],
        false,
        "it would get old events"
    );
    let count = || service.count("deliveries WHERE status = 'skipped'");
    assert_eq!(count(), VERY_MANY - 1);
    service.raw("UPDATE deliveries SET status = 'pending' WHERE status = 'skipped'");
    let expected_signals = service
        .send_json(
            "POST",
            &format!("{path}/enable"),
            &json!({ "newest_only": true }),
        )
        .await;
    assert_eq!(expected_signals.status, 202, "{}", expected_signals.body);
    let admin = Admin {
        by: Some("admin token".to_owned()),
        ..Admin::default()
    };
    let enable_the_rest = Enable {
        newest_only: true,
        admin,
    };
    assert_eq!(
        service.engine.destination_signals(),
        [(id_of(&path), DestinationSignal::Enable(enable_the_rest))]
    );
    let second = service.send_json("PATCH", &path, &enable).await;
    assert_eq!(
        (second.status, &second.body["enabled"]),
        (200, &json!(true)),
        "{}",
        second.body
    );
    assert_eq!(count(), VERY_MANY);
}

#[tokio::test]
async fn a_dry_run_of_newest_only_counts_and_changes_nothing() {
    let (service, path) = with_backlog("dry").await;
    let request_enable = async |body: Value| {
        service
            .send_json("POST", &format!("{path}/enable"), &body)
            .await
    };
    let dry = request_enable(json!({ "newest_only": true, "dry_run": true })).await;
    assert_eq!(
        (dry.status, &dry.body),
        (
            200,
            &json!({ "destination_id": id_of(&path), "skipped": 2 })
        )
    );
    assert_eq!(figures(&service, &path).await, (json!(3), json!(1)));
    assert_eq!(
        (
            service.engine.destination_signals(),
            service.get(&path).await.body["enabled"].clone()
        ),
        (Vec::new(), json!(false))
    );
    check_wrong(
        &request_enable(json!({ "dry_run": true })).await,
        &["dry_run"],
    );
    service
        .send_json("PATCH", &path, &json!({ "enabled": true }))
        .await;
    assert_eq!(
        request_enable(json!({ "newest_only": true, "dry_run": true }))
            .await
            .status,
        409
    );
}

#[tokio::test]
async fn an_event_in_flight_is_not_skipped() {
    let (service, path) = with_backlog("leased").await;
    service.raw(&format!(
        "INSERT INTO leases (destination_id, place, collapse_key, lease_token, lease_until)
             SELECT '{}', 1000 + ROW_NUMBER() OVER (), collapse_key, 't', {} FROM purchases",
        id_of(&path),
        api::clock::now().micros() + 20_000_000,
    ));
    service
        .send_json(
            "PATCH",
            &path,
            &json!({ "enabled": true, "newest_only": true }),
        )
        .await;
    assert_eq!(
        figures(&service, &path).await,
        (json!(3), json!(1)),
        "a delivery in flight is not skipped"
    );
}

#[tokio::test]
async fn newest_only_belongs_to_enabling() {
    let (service, list) = desk("belongs").await;
    let (path, _) = create(&service, &list, &webhook()).await;
    for body in [
        json!({ "newest_only": true }),
        json!({ "newest_only": true, "enabled": false }),
    ] {
        check_wrong(
            &service.send_json("PATCH", &path, &body).await,
            &["newest_only"],
        );
    }
    let body = json!({ "newest_only": true, "enabled": true, "name": "other" });
    let enabled = service.send_json("PATCH", &path, &body).await;
    assert_eq!(
        enabled.status, 409,
        "its events are on their way: {}",
        enabled.body
    );
    assert_eq!(
        service.get(&path).await.body["name"],
        "hook",
        "a refused change alters nothing"
    );
    let enabled = service
        .send_json(
            "POST",
            &format!("{path}/enable"),
            &json!({ "newest_only": true }),
        )
        .await;
    assert_eq!(enabled.status, 409, "{}", enabled.body);
}

#[tokio::test]
async fn a_refused_change_skips_nothing() {
    let (service, path) = with_backlog("refused").await;
    let app = service.get(&path).await.body["app_id"]
        .as_str()
        .expect("an id")
        .to_owned();
    let mut other = webhook();
    other["name"] = json!("taken");
    create(&service, &format!("/v1/apps/{app}/destinations"), &other).await;
    let body = json!({ "enabled": true, "newest_only": true, "name": "taken" });
    assert_eq!(service.send_json("PATCH", &path, &body).await.status, 409);
    assert_eq!(figures(&service, &path).await, (json!(3), json!(1)));
}
