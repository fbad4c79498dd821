//! Keys: every route with every role, for its own app, another app and all apps; how a key becomes invalid; and the
//! limit on guesses.

mod apps;
mod lifetime;
mod limits;
mod routes;

use super::edge::{Answer, Service, accept};
use super::pages::visitor::Visitor;
use api::keys::scope::Scope;
use api::route::{Access, Route};
use api::routes::routes;
use domain::{AlarmId, PlatformId};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use storage::{Handling, Role};
use system_tests::rows;

/// Routes that return no list, or an empty one here.
const WITHOUT_ITEMS: [&str; 6] = [
    "/v1/about",
    "/v1/check/revenue",
    "/v1/caller",
    "/v1/live",
    "/v1/overview",
    "/v1/sign-ins",
];
const UNKNOWN: &str = "6b275a67-0bbb-4f3a-99b9-6600bf711993";

/// An app with one resource of each kind; `ids` maps path parameters to their ids.
struct Shop {
    app: String,
    ids: BTreeMap<&'static str, String>,
}

/// A key, its role, and the app for which it was created; `None` for all apps.
struct Caller {
    role: Role,
    app: Option<String>,
    bearer: String,
    /// A dashboard session that was begun with the key; `None` if the key may not read.
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

/// Creates a webhook, and returns its id.
async fn hook_of(service: &Service, app: &str) -> String {
    let path = format!("/v1/apps/{app}/destinations");
    let hook = json!({ "kind": "webhook", "name": "hook", "url": "https://example.com/hooks" });
    id_of(service, &path, &hook).await
}

/// Creates an open duty on a platform, and returns its id.
fn duty_of(service: &Service, platform: &str) -> String {
    let duty = api::clock::random_uuid();
    service.raw(&format!(
        "INSERT INTO duties (id, kind, platform_id, created_at, answer_by)
             VALUES ('{duty}', 'refund_review', '{platform}', 1, 1);"
    ));
    duty.to_string()
}

impl Shop {
    async fn open(service: &Service, name: &str) -> Self {
        let app = id_of(service, "/v1/apps", &json!({ "name": name })).await;
        let platform =
            json!({ "store": "amazon", "name": "fire", "package_name": "com.example.settle" });
        let platform = id_of(service, &format!("/v1/apps/{app}/platforms"), &platform).await;
        let destination = hook_of(service, &app).await;
        let of_platform: PlatformId = platform.parse().expect("an id");
        let (key, _) = accept(
            &service.store,
            of_platform,
            &format!("receipt of {name}"),
            Handling::Open,
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
        let purchase = rows::purchases(&platform, &app).text("collapse_key", key);
        service.raw(&purchase.text("receipt_id", format!("receipt of {name}")));
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
        let duty = duty_of(service, &platform);
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
            ("duty_id", duty),
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

    /// Returns the path of a route, with this shop's ids as parameters.
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

    /// Returns whether a text contains an id of this shop.
    fn is_in(&self, text: &str) -> bool {
        self.ids.values().any(|id| text.contains(id.as_str()))
    }
}

/// Creates keys of each role: for all apps, and for each of these.
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

/// Returns the API's routes that need a key: deletions come last, and an app after everything in it.
fn guarded() -> Vec<Route> {
    let is_guarded = |route: &Route| route.access == Access::Admin;
    let mut guarded: Vec<_> = routes().into_iter().filter(is_guarded).collect();
    guarded.sort_by_key(|route| {
        (
            route.method == "DELETE",
            route.method == "DELETE" && route.path == "/v1/apps/{app_id}",
        )
    });
    guarded
}

/// Returns a body that every handler refuses, so that a request that passes the guard changes nothing.
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
    let is_guarded = |route: &Route| route.access == Access::Admin;
    let (mut requests, mut changes) = (0, 0);
    for route in pages::routes().into_iter().filter(is_guarded) {
        let path = own.path(&route);
        for caller in callers.iter().filter(|caller| caller.visitor.is_some()) {
            requests += 1;
            let visitor = caller.visitor.as_ref().expect("a visitor");
            // The form lacks required fields, so that a request that passes the guard changes nothing.
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
            // The redirect contains the ids of the request's path, whether they exist or not.
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
