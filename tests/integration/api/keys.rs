//! Keys: every route with every role, of its own app, of another one and of all; what makes a key worthless; and that
//! guesses are bounded.

use super::edge::{Answer, Service, accept};
use super::pages::visitor::Visitor;
use api::keyring::Reader;
use api::keys::scope::Scope;
use api::route::{Access, Route};
use api::routes::routes;
use domain::{AlarmId, PlatformId};
use futures::FutureExt as _;
use futures::future::{join_all, select_all};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use storage::{Fate, Role};
use system_tests::rows;

/// Routes that show no list, or none here.
const WITHOUT_ITEMS: [&str; 6] = [
    "/v1/about",
    "/v1/check/revenue",
    "/v1/caller",
    "/v1/live",
    "/v1/overview",
    "/v1/sign-ins",
];
const UNKNOWN: &str = "6b275a67-0bbb-4f3a-99b9-6600bf711993";

/// An app with one thing of each kind, by the name of its id in a path.
struct Shop {
    app: String,
    ids: BTreeMap<&'static str, String>,
}

/// A key with its role and the app that it is made for.
struct Caller {
    role: Role,
    app: Option<String>,
    bearer: String,
    /// A sign-in at the page that the key began; `None` for one that may not read.
    visitor: Option<Visitor>,
}

async fn created_key(service: &Service, body: &Value) -> Answer {
    let answer = service.send_json("POST", "/v1/keys", body).await;
    assert_eq!(answer.status, 201, "{}", answer.body);
    answer
}

async fn id_of(service: &Service, path: &str, body: &Value) -> String {
    let answer = service.send_json("POST", path, body).await;
    assert_eq!(answer.status, 201, "{path}: {}", answer.body);
    answer.body["id"].as_str().expect("an id").to_owned()
}

impl Shop {
    async fn open(service: &Service, name: &str) -> Self {
        let app = id_of(service, "/v1/apps", &json!({ "name": name })).await;
        let platform =
            json!({ "store": "amazon", "name": "fire", "package_name": "com.example.settle" });
        let platform = id_of(service, &format!("/v1/apps/{app}/platforms"), &platform).await;
        let destination =
            json!({ "kind": "webhook", "name": "hook", "url": "https://example.com/hooks" });
        let destination = id_of(
            service,
            &format!("/v1/apps/{app}/destinations"),
            &destination,
        )
        .await;
        let of_platform: PlatformId = platform.parse().expect("an id");
        let (key, _) = accept(
            &service.store,
            of_platform,
            &format!("receipt of {name}"),
            Fate::Open,
        )
        .await;
        let message = service
            .get(&format!("/v1/notifications?app_id={app}"))
            .await
            .body["items"][0]["message_id"]
            .clone();
        service
            .store
            .alarm(Some(of_platform), "test", name)
            .await
            .expect("an alarm");
        let [event, delivery, transfer, review, reported, one, other] =
            [1, 2, 3, 4, 5, 6, 7].map(|_| api::clock::random_uuid());
        let receipt = format!("receipt of {name}");
        service.raw(
            &rows::purchases(&platform, &app)
                .text("collapse_key", key)
                .text("receipt_id", receipt),
        );
        service.raw(
            &rows::events()
                .text("id", event)
                .text("collapse_key", key)
                .text("app_id", &app),
        );
        service.raw(
            &rows::payments()
                .text("event_id", event)
                .text("collapse_key", key)
                .text("app_id", &app),
        );
        let failed = rows::deliveries()
            .text("id", delivery)
            .text("destination_id", &destination);
        service.raw(
            &failed
                .text("event_id", event)
                .text("collapse_key", key)
                .text("status", "failed"),
        );
        service.raw(&format!(
            "INSERT INTO users (id, app_id, revision, created_at)
                 VALUES ('{one}', '{app}', 0, 1), ('{other}', '{app}', 0, 1);
             INSERT INTO transfers (id, app_id, from_user_id, to_user_id, cause, moved, created_at)
                 VALUES ('{transfer}', '{app}', '{one}', '{other}', 'admin',
                     '{{\"customers\":[],\"announced\":[]}}', 1);
             INSERT INTO transfer_reviews (id, app_id, platform_id, from_user_id, to_user_id, requested_at)
                 VALUES ('{review}', '{app}', '{platform}', '{one}', '{other}', 1);"
        ));
        service.raw(&rows::device_event(&platform, one).text("id", reported));
        let owned = created_key(
            service,
            &json!({ "name": format!("of {name}"), "role": "read", "app_id": app }),
        )
        .await;
        let ids = [
            ("app_id", app.clone()),
            ("platform_id", platform),
            ("destination_id", destination),
            ("collapse_key", key.to_string()),
            (
                "message_id",
                message.as_str().expect("a message").to_owned(),
            ),
            ("event_id", event.to_string()),
            ("delivery_id", delivery.to_string()),
            ("transfer_id", transfer.to_string()),
            ("review_id", review.to_string()),
            (
                "key_id",
                owned.body["id"].as_str().expect("an id").to_owned(),
            ),
            ("user_id", one.to_string()),
            (
                "alarm_id",
                AlarmId::of(Some(of_platform.uuid()), "test", name).to_string(),
            ),
            ("reported", reported.to_string()),
        ];
        Self {
            app,
            ids: ids.into(),
        }
    }

    /// The path of a route, with the ids of this shop.
    fn path(&self, route: &Route) -> String {
        let of = |part: &str| match part
            .strip_prefix('{')
            .and_then(|name| name.strip_suffix('}'))
        {
            Some("event_id") if route.path.contains("device-events") => self
                .ids
                .get("reported")
                .map_or(UNKNOWN, String::as_str)
                .to_owned(),
            Some(name) => self
                .ids
                .get(name)
                .cloned()
                .unwrap_or_else(|| UNKNOWN.to_owned()),
            None => part.to_owned(),
        };
        let path = route.path.split('/').map(of).collect::<Vec<_>>().join("/");
        match route.path {
            "/v1/transfers" => format!("{path}?user_id={}", self.ids["user_id"]),
            "/v1/payments" => format!("{path}?collapse_key={}", self.ids["collapse_key"]),
            "/v1/series" => format!("{path}?what=accepted"),
            _ => path,
        }
    }

    /// Whether a text has an id of this shop.
    fn is_in(&self, text: &str) -> bool {
        self.ids.values().any(|id| text.contains(id.as_str()))
    }
}

/// Keys of each role: of all apps, and of each of these.
async fn callers(service: &Service, shops: [&Shop; 2]) -> Vec<Caller> {
    let mut callers = Vec::new();
    for role in Role::ALL {
        for app in [None]
            .into_iter()
            .chain(shops.map(|shop| Some(shop.app.clone())))
        {
            let body = json!({ "name": format!("{} {}", role.as_str(), app.as_deref().unwrap_or("all")), "role": role, "app_id": app });
            if role == Role::Metrics && app.is_some() {
                assert_eq!(
                    service.send_json("POST", "/v1/keys", &body).await.status,
                    422
                );
                continue;
            }
            let created = created_key(service, &body).await;
            let key = created.body["key"].as_str().expect("a key");
            let visitor = Visitor::with_key(service, key).await.ok();
            assert_eq!(visitor.is_some(), role >= Role::Read, "{role:?}");
            callers.push(Caller {
                role,
                app,
                bearer: format!("Bearer {key}"),
                visitor,
            });
        }
    }
    callers
}

/// Routes of the API that need a key; those that delete come last, and an app after everything in it.
fn guarded() -> Vec<Route> {
    let is_guarded = |route: &Route| route.access == Access::Admin && !route.is_page;
    let mut guarded: Vec<_> = routes().into_iter().filter(is_guarded).collect();
    guarded.sort_by_key(|route| {
        (
            route.method == "DELETE",
            route.method == "DELETE" && route.path == "/v1/apps/{app_id}",
        )
    });
    guarded
}

/// A body that no handler takes, so that a request that passes the guard changes nothing.
fn body_of(route: &Route) -> Vec<u8> {
    if matches!(route.method, "GET" | "DELETE") {
        Vec::new()
    } else {
        b"[".to_vec()
    }
}

#[tokio::test]
async fn every_route_takes_its_roles_and_its_app_alone() {
    let service = Service::start("keys").await;
    let (own, other) = (
        Shop::open(&service, "own").await,
        Shop::open(&service, "other").await,
    );
    let callers = callers(&service, [&own, &other]).await;
    let mut requests = 0;
    for route in guarded() {
        let path = own.path(&route);
        for caller in &callers {
            requests += 1;
            let answer = service
                .send(route.method, &path, Some(&caller.bearer), body_of(&route))
                .await;
            let what = format!(
                "{} {path} by {:?} of {:?}: {}",
                route.method, caller.role, caller.app, answer.body
            );
            let is_own = caller.app.as_ref().is_none_or(|app| *app == own.app);
            let passes = match route.scope() {
                _ if caller.role < route.least => Err(403),
                Scope::Whole if caller.app.is_some() => Err(403),
                Scope::Path(_) if !is_own => Err(404),
                _ => Ok(()),
            };
            match passes {
                Err(status) => assert_eq!(answer.status, status, "{what}"),
                Ok(()) => {
                    let is_gone = answer.status == 404
                        && (route.method == "DELETE" || path.contains(UNKNOWN));
                    let is_refused = matches!(answer.status, 401 | 403 | 404 | 429 | 500..);
                    assert!(is_gone || !is_refused, "{what}");
                }
            }
            if route.method == "GET" && route.scope() == Scope::Limited && passes.is_ok() {
                let is_empty = answer.body["items"].as_array().is_none_or(Vec::is_empty);
                assert!(
                    answer.status == 200 && (is_own || !own.is_in(&answer.body.to_string())),
                    "{what}"
                );
                let is_shown = !is_empty || WITHOUT_ITEMS.contains(&route.path);
                assert!(!is_own || is_shown, "it has something to show: {what}");
            }
        }
    }
    assert!(requests > 1000, "{requests}");
}

#[tokio::test]
async fn every_page_takes_its_roles_and_its_app_alone() {
    let service = Service::start("page-roles").await;
    let (own, other) = (
        Shop::open(&service, "own").await,
        Shop::open(&service, "other").await,
    );
    let callers = callers(&service, [&own, &other]).await;
    let is_guarded = |route: &Route| route.access == Access::Admin && route.is_page;
    let (mut requests, mut changes) = (0, 0);
    for route in routes().into_iter().filter(is_guarded) {
        let path = own.path(&route);
        for caller in callers.iter().filter(|caller| caller.visitor.is_some()) {
            requests += 1;
            let visitor = caller.visitor.as_ref().expect("a visitor");
            // No form has what it needs, so that a request that passes the guard changes nothing.
            let answer = visitor
                .send(&service, route.method, &path, &[("unknown", "x")])
                .await;
            let what = format!(
                "{} {path} by {:?} of {:?}: {}",
                route.method, caller.role, caller.app, answer.status
            );
            let is_own = caller.app.as_ref().is_none_or(|app| *app == own.app);
            let expected = match route.scope() {
                _ if caller.role < route.least => Some(403),
                Scope::Path(_) if !is_own => Some(404),
                Scope::Whole => panic!("a page limits itself: {what}"),
                _ => None,
            };
            match expected {
                Some(status) => assert_eq!(answer.status, status, "{what}"),
                None => {
                    let is_gone = answer.status == 404 && path.contains(UNKNOWN);
                    assert!(
                        is_gone || matches!(answer.status, 200 | 303 | 400),
                        "{what}: {}",
                        answer.text
                    );
                }
            }
            // The way back names what the path named, whether that exists or not.
            let is_new = |id: &str| !path.contains(id) && answer.text.contains(id);
            let shows_own = own
                .ids
                .iter()
                .any(|(name, id)| *name != "app_id" && is_new(id));
            assert!(is_own || !shows_own, "{what}: {}", answer.text);
            changes += u32::from(route.method == "POST");
        }
    }
    assert!(requests > 100 && changes > 50, "{requests}, {changes}");
    assert!(service.engine.signals().is_empty(), "nothing was signalled");
}

#[tokio::test]
async fn the_settings_are_shown_to_administrators_of_all_apps_alone() {
    let service = Service::start("about-roles").await;
    let (own, other) = (
        Shop::open(&service, "own").await,
        Shop::open(&service, "other").await,
    );
    for caller in callers(&service, [&own, &other])
        .await
        .iter()
        .filter(|caller| caller.role >= Role::Read)
    {
        let about = service
            .send("GET", "/v1/about", Some(&caller.bearer), Vec::new())
            .await;
        let what = format!("{:?} of {:?}: {}", caller.role, caller.app, about.body);
        assert_eq!(about.status, 200, "{what}");
        assert!(about.body["version"].is_string(), "{what}");
        let sees_all = caller.role == Role::Admin && caller.app.is_none();
        assert_eq!(about.body["settings"].is_array(), sees_all, "{what}");
        assert_eq!(
            about.body.to_string().contains("SETTLE_RETENTION"),
            sees_all,
            "{what}"
        );
        let visitor = caller.visitor.as_ref().expect("a visitor");
        let page = visitor
            .get(&service, "/ui/settings")
            .await
            .text
            .replace("<wbr>", "");
        assert_eq!(
            page.contains("SETTLE_RETENTION"),
            sees_all,
            "the page shows the same: {what}"
        );
        let data = visitor.get(&service, "/ui/settings?as=json").await.text;
        let data: Value = serde_json::from_str(&data).expect("JSON");
        assert_eq!(data, about.body, "{what}");
    }
}

#[tokio::test]
async fn what_is_of_another_app_is_as_if_it_did_not_exist() {
    let service = Service::start("foreign").await;
    let (own, other) = (
        Shop::open(&service, "own").await,
        Shop::open(&service, "other").await,
    );
    let nothing = Shop {
        app: UNKNOWN.to_owned(),
        ids: BTreeMap::new(),
    };
    let key = created_key(
        &service,
        &json!({ "name": "k", "role": "admin", "app_id": own.app }),
    )
    .await;
    let bearer = format!("Bearer {}", key.body["key"].as_str().expect("a key"));
    for route in guarded()
        .iter()
        .filter(|route| matches!(route.scope(), Scope::Path(_)))
    {
        for body in [body_of(route), b"{}".to_vec()] {
            let foreign = service
                .send(
                    route.method,
                    &other.path(route),
                    Some(&bearer),
                    body.clone(),
                )
                .await;
            let missing = service
                .send(route.method, &nothing.path(route), Some(&bearer), body)
                .await;
            assert_eq!(
                (foreign.status, foreign.body),
                (404, missing.body),
                "{} {}",
                route.method,
                route.path
            );
            assert_eq!(missing.status, 404);
        }
    }
    for filter in [
        "purchases",
        "events",
        "deliveries",
        "device-events",
        "notifications",
        "audit-log",
        "check/revenue",
    ] {
        let path = |app: &str| format!("/v1/{filter}?app_id={app}");
        let foreign = service
            .send("GET", &path(&other.app), Some(&bearer), Vec::new())
            .await;
        let missing = service
            .send("GET", &path(UNKNOWN), Some(&bearer), Vec::new())
            .await;
        assert_eq!(
            (foreign.status, foreign.body),
            (missing.status, missing.body),
            "{filter}"
        );
        assert_eq!(
            service
                .send("GET", &path(&own.app), Some(&bearer), Vec::new())
                .await
                .status,
            200,
            "{filter}"
        );
    }
    // What waits for its first settling is listed by its receipt, and as little.
    let (waiting, _) = accept(
        &service.store,
        other.ids["platform_id"].parse().expect("an id"),
        "new",
        Fate::Open,
    )
    .await;
    for query in [
        "receipt_id=new".to_owned(),
        format!("receipt_id=new&platform_id={}", other.ids["platform_id"]),
    ] {
        let listed = service
            .send(
                "GET",
                &format!("/v1/purchases?{query}"),
                Some(&bearer),
                Vec::new(),
            )
            .await;
        assert_eq!(listed.body["items"], json!([]), "{query}");
    }
    assert_eq!(
        service
            .send(
                "GET",
                &format!("/v1/purchases/{waiting}"),
                Some(&bearer),
                Vec::new()
            )
            .await
            .status,
        404
    );
    for body in [
        json!({ "event_id": other.ids["event_id"] }),
        json!({ "collapse_key": other.ids["collapse_key"] }),
        json!({ "failed": true, "destination_id": other.ids["destination_id"] }),
        json!({ "failed": true, "app_id": other.app }),
        json!({ "collapse_key": own.ids["collapse_key"], "destination_id": other.ids["destination_id"] }),
        json!({ "collapse_key": other.ids["collapse_key"], "failed": true }),
        json!({ "missing": true, "destination_id": other.ids["destination_id"] }),
    ] {
        let bytes = body.to_string().into_bytes();
        assert_eq!(
            service
                .send("POST", "/v1/resends", Some(&bearer), bytes)
                .await
                .status,
            404,
            "{body}"
        );
    }
    let failed = json!({ "failed": true, "dry_run": true })
        .to_string()
        .into_bytes();
    let counted = service
        .send("POST", "/v1/resends", Some(&bearer), failed)
        .await;
    assert_eq!(
        counted.body["checked"], 1,
        "only what failed in its own app: {}",
        counted.body
    );
}

#[tokio::test]
async fn a_key_ends_when_it_is_revoked_or_expires() {
    let service = Service::start("ends").await;
    let created = created_key(&service, &json!({ "name": "one", "role": "read" })).await;
    let (id, key) = (
        created.body["id"].as_str().expect("an id"),
        created.body["key"].as_str().expect("a key"),
    );
    let bearer = format!("Bearer {key}");
    let get = async || {
        service
            .send("GET", "/v1/apps", Some(&bearer), Vec::new())
            .await
            .status
    };
    assert_eq!(get().await, 200);
    for wrong in [
        &key[..key.len() - 1],
        &format!("{}0", &key[..key.len() - 1].replace("sk_", "sk-")),
    ] {
        assert_eq!(
            service
                .send(
                    "GET",
                    "/v1/apps",
                    Some(&format!("Bearer {wrong}")),
                    Vec::new()
                )
                .await
                .status,
            401
        );
    }
    let swapped = format!("Bearer {}{}", &key[..36], "0".repeat(64));
    assert_eq!(
        service
            .send("GET", "/v1/apps", Some(&swapped), Vec::new())
            .await
            .status,
        401
    );
    service.raw("UPDATE api_keys SET expires_at = 1");
    assert_eq!(get().await, 401);
    service.raw("UPDATE api_keys SET expires_at = NULL");
    assert_eq!(get().await, 200);
    let path = format!("/v1/keys/{id}");
    assert_eq!(
        service
            .send_json("DELETE", &path, &Value::Null)
            .await
            .status,
        204
    );
    assert_eq!(
        service
            .send_json("DELETE", &path, &Value::Null)
            .await
            .status,
        204,
        "again"
    );
    assert_eq!(get().await, 401);
    let listed = service.get("/v1/keys").await;
    assert!(
        listed.body["items"][0]["revoked_at"].is_string()
            && !listed.body.to_string().contains(&key[36..])
    );
    let past = json!({ "name": "past", "role": "read", "expires_at": "2001-01-01T00:00:00Z" });
    assert_eq!(
        service
            .send_json("POST", "/v1/keys", &past)
            .await
            .wrong_fields(),
        ["expires_at"]
    );
    let taken = json!({ "name": "admin token", "role": "read" });
    assert_eq!(
        service
            .send_json("POST", "/v1/keys", &taken)
            .await
            .wrong_fields(),
        ["name"],
        "the audit log names it so"
    );
    let again = json!({ "name": "one", "role": "read" });
    assert_eq!(
        service.send_json("POST", "/v1/keys", &again).await.status,
        201,
        "its name is free again"
    );
    assert_eq!(
        service.send_json("POST", "/v1/keys", &again).await.status,
        409
    );
}

#[tokio::test]
async fn the_name_of_a_key_resembles_no_other_one() {
    let service = Service::start("alike-keys").await;
    let create = async |name: &str| {
        service
            .send_json("POST", "/v1/keys", &json!({ "name": name, "role": "read" }))
            .await
    };
    for reserved in [
        "аdmin token",
        "ｓettle",
        "AdmіN token",
        "ＡＤＭＩＮ TOKEN",
        "ѕеttlе",
    ] {
        assert_eq!(
            create(reserved).await.wrong_fields(),
            ["name"],
            "{reserved}"
        );
    }
    for (name, twins) in [("anna", ["аnnа", "ＡＮＮＡ"]), ("Маша", ["МAША", "МАША"])]
    {
        assert_eq!(create(name).await.status, 201, "{name}");
        for twin in twins {
            assert_eq!(create(twin).await.status, 409, "{twin}");
        }
    }
    // As release 0.1.0 stored it.
    service.raw("UPDATE api_keys SET folded_name = 'маша' WHERE name = 'Маша'");
    assert_eq!(create("Маша").await.status, 409);
    assert_eq!(create("Manna").await.status, 201);
}

#[tokio::test]
async fn a_flood_of_wrong_keys_locks_no_right_one_out() {
    let service = Service::with_guesses("flood", 3).await;
    let mut keys = Vec::new();
    for name in ["one", "two"] {
        let key = created_key(&service, &json!({ "name": name, "role": "read" })).await;
        keys.push(key.body["key"].as_str().expect("a key").to_owned());
    }
    let get = async |key: &str| {
        service
            .send(
                "GET",
                "/v1/apps",
                Some(&format!("Bearer {key}")),
                Vec::new(),
            )
            .await
            .status
    };
    // Guesses of the admin token, keys that nobody has, and links.
    for _ in 0..6 {
        assert!(matches!(get("a guess").await, 401 | 429));
        assert_eq!(
            get(&format!("sk_{}_{}", "0".repeat(32), "0".repeat(64))).await,
            401
        );
    }
    assert_eq!(get("a guess").await, 429, "guesses of the token are slowed");
    let wrong = format!("{}{}", &keys[0][..36], "0".repeat(64));
    let answers: Vec<u16> = futures::future::join_all((0..6).map(|_| get(&wrong))).await;
    assert!(
        answers.contains(&401) && answers.contains(&429),
        "an id has its own bound: {answers:?}"
    );
    for key in &keys {
        assert_eq!(
            get(key).await,
            200,
            "a right key is taken, though none was proved here before"
        );
        Visitor::with_key(&service, key).await.expect("a sign-in");
    }
}

#[tokio::test]
async fn runs_of_two_apps_may_have_one_name() {
    let service = Service::start("runs").await;
    let (own, other) = (
        Shop::open(&service, "own").await,
        Shop::open(&service, "other").await,
    );
    for shop in [&other, &own] {
        let body = json!({ "name": shop.app, "role": "operator", "app_id": shop.app });
        let key = created_key(&service, &body).await;
        let bearer = format!("Bearer {}", key.body["key"].as_str().expect("a key"));
        let resend = async |body: &Value| {
            service
                .send(
                    "POST",
                    "/v1/resends",
                    Some(&bearer),
                    body.to_string().into_bytes(),
                )
                .await
        };
        for body in [
            json!({ "failed": true, "run": "nightly" }),
            json!({ "all": true, "destination_id": shop.ids["destination_id"], "run": "nightly of one destination" }),
        ] {
            for again in [false, true] {
                let answer = resend(&body).await;
                assert_eq!(
                    answer.status, 200,
                    "{body}, again: {again}: {}",
                    answer.body
                );
            }
        }
        let conflict = resend(&json!({ "event_id": shop.ids["event_id"], "run": "nightly" })).await;
        assert_eq!(
            conflict.status, 409,
            "another request under a name of its own: {}",
            conflict.body
        );
    }
}

#[tokio::test]
async fn a_key_of_one_app_makes_no_key_of_another() {
    let service = Service::start("makes").await;
    let (own, other) = (
        Shop::open(&service, "own").await,
        Shop::open(&service, "other").await,
    );
    let key = created_key(
        &service,
        &json!({ "name": "k", "role": "admin", "app_id": own.app }),
    )
    .await;
    let bearer = format!("Bearer {}", key.body["key"].as_str().expect("a key"));
    let make = async |body: Value| {
        service
            .send(
                "POST",
                "/v1/keys",
                Some(&bearer),
                body.to_string().into_bytes(),
            )
            .await
    };
    assert_eq!(
        make(json!({ "name": "a", "role": "admin", "app_id": other.app }))
            .await
            .status,
        404
    );
    assert_eq!(
        make(json!({ "name": "b", "role": "admin" })).await.body["app_id"],
        own.app
    );
    assert_eq!(
        make(json!({ "name": "c", "role": "metrics" })).await.status,
        422
    );
}

#[tokio::test]
async fn the_ingress_key_is_shown_to_operators_alone() {
    let service = Service::start("ingress").await;
    let shop = Shop::open(&service, "own").await;
    for role in [Role::Read, Role::Support, Role::Operator, Role::Admin] {
        let key = created_key(&service, &json!({ "name": role, "role": role })).await;
        let bearer = format!("Bearer {}", key.body["key"].as_str().expect("a key"));
        let of_app = format!("/v1/apps/{}/platforms", shop.app);
        for path in [format!("/v1/platforms/{}", shop.ids["platform_id"]), of_app] {
            let shown = service.send("GET", &path, Some(&bearer), Vec::new()).await;
            let has_url = shown.body.to_string().contains("/v1/stores/amazon/");
            assert_eq!(
                (shown.status, has_url),
                (200, role >= Role::Operator),
                "{role:?} {path}"
            );
        }
    }
}

#[tokio::test]
async fn a_key_waits_for_its_own_reads() {
    let service = Service::start("reads-of-a-key").await;
    let [slow, other] = ["slow", "other"].map(|name| json!({ "name": name, "role": "operator" }));
    let (slow, other) = (
        created_key(&service, &slow).await,
        created_key(&service, &other).await,
    );
    let of_key = Reader::Key(
        slow.body["id"]
            .as_str()
            .expect("an id")
            .parse()
            .expect("an id"),
    );
    let bearer = |key: &Answer| format!("Bearer {}", key.body["key"].as_str().expect("a key"));
    let list = async |key: &Answer| {
        service
            .send("GET", "/v1/purchases", Some(&bearer(key)), Vec::new())
            .await
            .status
    };
    let post = async |path: &str, body: &Value| {
        service
            .send(
                "POST",
                path,
                Some(&bearer(&slow)),
                body.to_string().into_bytes(),
            )
            .await
            .status
    };
    let (search, dry_run) = (
        json!({ "q": "kim" }),
        json!({ "failed": true, "dry_run": true }),
    );
    let under_way = service
        .edge
        .keys
        .reads
        .turns(of_key)
        .acquire_many_owned(2)
        .await
        .expect("both turns");
    let of_others = async {
        for _ in 0..20 {
            assert_eq!(list(&other).await, 200, "another key");
            assert_eq!(
                service.get("/v1/purchases").await.status,
                200,
                "the admin token"
            );
        }
    };
    tokio::pin!(of_others);
    {
        let waiting = [
            list(&slow).boxed_local(),
            post("/v1/search", &search).boxed_local(),
            post("/v1/resends", &dry_run).boxed_local(),
        ];
        let waiting = select_all(waiting);
        tokio::pin!(waiting);
        let first = tokio::select! {
            (status, which, _) = &mut waiting => Some((status, which)),
            () = &mut of_others => None,
        };
        assert_eq!(first, None, "all of them wait");
        drop(under_way);
        let (status, _, others) = waiting.await;
        assert_eq!((status, join_all(others).await), (200, vec![200, 200]));
    }
}
