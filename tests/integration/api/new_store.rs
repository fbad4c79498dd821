//! A store that release 0.1.0 does not know: its first platform is accepted only when no process of such a release is
//! running.

use super::edge::{Answer, Service, TOKEN};
use super::pages::visitor::Visitor;
use api::stores::{StoreEntry, WrongOwnField, amazon};
use protocols::form::Form;
use serde_json::{Map, Value, json};
use storage::{Process, StorePart};
use uuid::Uuid;

/// A store that only these tests know.
const PROOF: &str = "proof";

fn proof_form() -> Form {
    Form {
        name: PROOF,
        label: "Proof Store",
        ..(amazon::ENTRY.form)()
    }
}

/// A region and an account, which are shown, and a key, which is not.
fn own_fields(fields: &Map<String, Value>) -> Result<StorePart, Vec<WrongOwnField>> {
    let text = |name: &str| fields.get(name).and_then(Value::as_str);
    let is_known = |name: &str| matches!(name, "region" | "account" | "key");
    if !fields
        .iter()
        .all(|(name, value)| is_known(name) && value.is_string())
    {
        return Err(vec![WrongOwnField {
            field: "region",
            expected: "a region".to_owned(),
        }]);
    }
    let mut settings = fields.clone();
    settings.remove("key");
    Ok(StorePart {
        settings: (!settings.is_empty()).then(|| settings.into()),
        credentials: text("key").map(Into::into),
    })
}

pub static STORES: [StoreEntry; 2] = [
    amazon::ENTRY,
    StoreEntry {
        name: PROOF,
        title: "Proof Store",
        since: "0.1.1",
        form: proof_form,
        own_fields: Some(own_fields),
        ..amazon::ENTRY
    },
];

/// Starts a service with an app; returns the service and the path of the app's platforms.
async fn started(name: &str) -> (Service, String) {
    let service = Service::knowing(name, &STORES).await;
    let app = service
        .send_json("POST", "/v1/apps", &json!({ "name": "reader" }))
        .await;
    let app = app.body["id"].as_str().expect("an id");
    let path = format!("/v1/apps/{app}/platforms");
    (service, path)
}

fn platform(store: &str, name: &str) -> Value {
    json!({ "store": store, "name": name, "package_name": format!("com.example.{name}") })
}

pub fn confirmed(name: &str) -> Value {
    let mut body = platform(PROOF, name);
    body["no_older_process"] = json!(true);
    body
}

fn detail(answer: &Answer) -> &str {
    assert_eq!(answer.status, 409, "{}", answer.body);
    answer.body["detail"].as_str().expect("a detail")
}

#[tokio::test]
async fn the_first_platform_of_a_new_store_needs_a_confirmation() {
    let (service, path) = started("new-store").await;
    let create = |body: Value| {
        let (service, path) = (&service, path.clone());
        async move { service.send_json("POST", &path, &body).await }
    };
    let refused = create(platform(PROOF, "one")).await;
    let text = detail(&refused);
    for part in [
        "the first one of the store `proof`",
        "release 0.1.0",
        "`no_older_process: true` (`--no-older-process`)",
    ] {
        assert!(text.contains(part), "{text}");
    }
    assert_eq!(service.count("platforms"), 0);
    let first = create(confirmed("one")).await;
    assert_eq!((first.status, &first.body["store"]), (201, &json!(PROOF)));
    assert_eq!(
        create(platform(PROOF, "two")).await.status,
        201,
        "it is not the first one"
    );
}

#[tokio::test]
async fn a_known_store_needs_no_confirmation() {
    let (service, path) = started("known-store").await;
    let created = service
        .send_json("POST", &path, &platform("amazon", "fire"))
        .await;
    assert_eq!(created.status, 201, "{}", created.body);
    let unknown = service
        .send_json("POST", &path, &platform("other", "fire"))
        .await;
    assert_eq!(unknown.status, 400, "{}", unknown.body);
    let wrong = &unknown.body["errors"][0];
    assert_eq!(wrong["field"], "store");
    let expected = wrong["expected"].as_str().expect("a text");
    assert_eq!(expected, "`amazon` or `proof`, but it is `other`");
}

#[tokio::test]
async fn a_customer_of_one_of_two_stores_is_named_with_the_store() {
    let (service, path) = started("two-stores").await;
    let customers = path.replace("/platforms", "/customers");
    let name = async |external_id: &str, owner: Value| {
        let mut body = owner;
        body["external_id"] = json!(external_id);
        service.send_json("PUT", &customers, &body).await
    };
    let create = async |body: Value| service.send_json("POST", &path, &body).await.status;
    assert_eq!(create(platform("amazon", "fire")).await, 201);
    let only = name("anna", json!({ "app_user_id": "u1" })).await;
    assert_eq!(only.status, 200, "an app with one store: {}", only.body);

    assert_eq!(create(confirmed("one")).await, 201);
    let wrong = json!({ "app_user_id": "u1", "store": "other" });
    for owner in [json!({ "app_user_id": "u1" }), wrong] {
        let refused = name("otto", owner).await;
        assert_eq!(refused.status, 400, "{}", refused.body);
        let error = &refused.body["errors"][0];
        assert_eq!(error["field"], "store");
        let expected = error["expected"].as_str().expect("a text");
        assert!(expected.contains("amazon, proof"), "{expected}");
    }
    let alone = name("otto", json!({ "receipt_id": "r1", "store": PROOF })).await;
    assert_eq!(alone.body["errors"][0]["field"], "store", "{}", alone.body);

    let otto = json!({ "app_user_id": "u1", "store": PROOF });
    let named = name("otto", otto).await;
    assert_eq!(named.status, 200, "{}", named.body);
    for (store, external_id) in [("amazon", "anna"), (PROOF, "otto")] {
        let query = format!("{customers}?app_user_id=u1&store={store}");
        let found = service.get(&query).await.body;
        assert_eq!(found["external_id"], external_id, "{found}");
    }
    let unclear = service.get(&format!("{customers}?app_user_id=u1")).await;
    assert_eq!(
        (unclear.status, &unclear.body["errors"][0]["field"]),
        (400, &json!("store"))
    );
    let from = json!({ "from": { "app_user_id": "u1" }, "external_id": "clara" });
    let preview = format!("{customers}/move/preview");
    let unclear = service.send_json("POST", &preview, &from).await;
    assert_eq!(unclear.status, 400, "{}", unclear.body);
}

#[tokio::test]
async fn an_id_of_customers_of_two_stores_needs_the_store() {
    let (service, path) = started("same-ids").await;
    let customers = path.replace("/platforms", "/customers");
    for body in [platform("amazon", "fire"), confirmed("one")] {
        assert_eq!(service.send_json("POST", &path, &body).await.status, 201);
    }
    let name = async |external_id: &str, store: &str| {
        let body = json!({ "external_id": external_id, "app_user_id": "u1", "store": store });
        service.send_json("PUT", &customers, &body).await.status
    };
    let state = async |query: &str| service.get(&format!("{customers}/state?{query}")).await;
    let erase = async |customer: Value| {
        let mut body = customer;
        body["by"] = json!("support");
        body["reason"] = json!("request 17");
        let path = format!("{customers}/erase");
        service.send_json("POST", &path, &body).await
    };
    assert_eq!(name("anna", "amazon").await, 200);
    let only = state("app_user_id=u1").await;
    assert_eq!(only.status, 200, "one store has it: {}", only.body);
    assert_eq!(name("otto", PROOF).await, 200);

    for refused in [
        state("app_user_id=u1").await,
        state("app_user_id=u1&store=other").await,
        state("external_id=anna&store=amazon").await,
        erase(json!({ "app_user_id": "u1" })).await,
        erase(json!({ "app_user_id": "u1", "store": "other" })).await,
        erase(json!({ "external_id": "anna", "store": "amazon" })).await,
    ] {
        assert_eq!(refused.status, 400, "{}", refused.body);
        assert_eq!(refused.wrong_fields(), ["store"]);
    }
    for (store, external_id) in [("amazon", "anna"), (PROOF, "otto")] {
        let found = state(&format!("app_user_id=u1&store={store}")).await.body;
        assert_eq!(found["external_ids"][0]["value"], external_id, "{found}");
    }

    let begun = erase(json!({ "app_user_id": "u1", "store": PROOF })).await;
    assert_eq!(begun.status, 202, "{}", begun.body);
    for (external_id, status) in [("anna", 200), ("otto", 404)] {
        let query = format!("{customers}?external_id={external_id}");
        assert_eq!(service.get(&query).await.status, status, "{external_id}");
    }
}

#[tokio::test]
async fn live_processes_that_do_not_know_the_store_are_named() {
    let (service, path) = started("old-process").await;
    let process = |number, role: &str, stores: &[&str]| Process {
        id: Uuid::from_u128(number),
        role: role.to_owned(),
        version: "0.1.1".to_owned(),
        host: format!("{number}@host"),
        stores: stores.iter().map(|store| (*store).to_owned()).collect(),
    };
    for process in [
        process(1, "worker", &["amazon"]),
        process(2, "serve", &["amazon"]),
        process(3, "worker", &["amazon", PROOF]),
    ] {
        service.store.sign_of_life(process).await.expect("a sign");
    }
    let refused = service.send_json("POST", &path, &confirmed("one")).await;
    let text = detail(&refused);
    assert!(
        text.contains(
            "do not know: serve 0.1.1 at 2@host, worker 0.1.1 at 1@host. Upgrade or stop them"
        ),
        "{text}"
    );
    for number in [1, 2] {
        let removed = service.store.remove_process(Uuid::from_u128(number)).await;
        removed.expect("it is removed");
    }
    let created = service.send_json("POST", &path, &confirmed("one")).await;
    assert_eq!(created.status, 201, "{}", created.body);
}

#[tokio::test]
async fn a_key_of_one_app_learns_no_host() {
    let (service, path) = started("process-hosts").await;
    for (number, role, version, stores) in [
        (
            1,
            "serve",
            "0.2.0",
            vec!["amazon".to_owned(), PROOF.to_owned()],
        ),
        (2, "worker", "0.1.1", vec!["amazon".to_owned()]),
    ] {
        let process = Process {
            id: Uuid::from_u128(number),
            role: role.to_owned(),
            version: version.to_owned(),
            host: format!("{number}@host-of-all"),
            stores,
        };
        service.store.sign_of_life(process).await.expect("a sign");
    }
    let overview = service.get("/v1/overview").await.body;
    let shown = |index: usize, name: &str| overview["processes"][index][name].clone();
    let fields = ["role", "version", "host", "pid", "is_older"];
    assert_eq!(
        fields.map(|name| shown(0, name)).to_vec(),
        [
            json!("serve"),
            json!("0.2.0"),
            json!("host-of-all"),
            json!(1),
            json!(false)
        ]
    );
    assert_eq!(
        fields.map(|name| shown(1, name)).to_vec(),
        [
            json!("worker"),
            json!("0.1.1"),
            json!("host-of-all"),
            json!(2),
            json!(true)
        ]
    );
    let app = path.split('/').nth(3).expect("an app");
    let key = json!({ "name": "own", "role": "admin", "app_id": app });
    let key = service.send_json("POST", "/v1/keys", &key).await.body;
    let bearer = format!("Bearer {}", key["key"].as_str().expect("a key"));
    let own = service
        .send("GET", "/v1/overview", Some(&bearer), Vec::new())
        .await;
    assert_eq!((own.status, &own.body["processes"]), (200, &json!(null)));
    let body = confirmed("one").to_string().into_bytes();
    let refused = service.send("POST", &path, Some(&bearer), body).await;
    let text = detail(&refused);
    assert!(
        text.contains("do not know: 1 of settle 0.1.1. They have to be upgraded or stopped first"),
        "{text}"
    );
    assert!(!text.contains("host-of-all"), "{text}");
}

#[tokio::test]
async fn the_page_has_the_confirmation_where_it_is_needed() {
    let (service, path) = started("new-store-page").await;
    let visitor = Visitor::with_key(&service, TOKEN).await.expect("a sign-in");
    let app = path.split('/').nth(3).expect("an app");
    let new = format!("/ui/connect/apps/{app}/platforms/new");
    let form = |store: &str| format!("{new}?store={store}");
    let box_of = "name=\"no_older_process\"";
    let shown = visitor.get(&service, &form(PROOF)).await;
    assert!(shown.text.contains(box_of), "{}", shown.text);
    let known = visitor.get(&service, &form("amazon")).await;
    assert!(!known.text.contains(box_of), "{}", known.text);
    let fields = |name: &'static str| {
        [
            ("store", PROOF),
            ("name", name),
            ("package_name", "com.example.reader"),
            ("reason", "ticket 4711"),
        ]
    };
    let refused = visitor.post(&service, &new, &fields("one")).await;
    assert_eq!(refused.status, 409, "{}", refused.text);
    assert!(refused.text.contains(box_of), "{}", refused.text);
    let confirmed = [fields("one").as_slice(), &[("no_older_process", "true")]].concat();
    let created = visitor.post(&service, &new, &confirmed).await;
    assert_eq!(created.status, 303, "{}", created.text);
    let later = visitor.get(&service, &form(PROOF)).await;
    assert!(!later.text.contains(box_of), "{}", later.text);
}

#[tokio::test]
async fn a_store_has_own_fields_and_never_shows_its_credentials() {
    let (service, path) = started("own-fields").await;
    let mut new = confirmed("one");
    new["store_settings"] = json!({ "region": "eu", "key": "open-sesame" });
    let created = service.send_json("POST", &path, &new).await;
    assert_eq!(created.status, 201, "{}", created.body);
    let one = format!(
        "/v1/platforms/{}",
        created.body["id"].as_str().expect("an id")
    );
    assert_eq!(created.body["store_settings"], json!({ "region": "eu" }));
    assert_eq!(created.body["verification"]["state"], "on");
    let set_at = created.body["store_credentials_at"].clone();
    assert!(set_at.is_string(), "{}", created.body);
    let moved = json!({ "store_settings": { "region": "us" } });
    let changed = service.send_json("PATCH", &one, &moved).await;
    assert_eq!(changed.body["store_settings"], json!({ "region": "us" }));
    assert_eq!(changed.body["store_credentials_at"], set_at, "they stay");
    let keyed = json!({ "store_settings": { "region": "us", "key": "open-barley" } });
    let changed = service.send_json("PATCH", &one, &keyed).await;
    assert_ne!(changed.body["store_credentials_at"], set_at);
    let log = service.get("/v1/audit-log").await;
    for answer in [created, changed, log, service.get(&one).await] {
        let text = answer.body.to_string();
        assert!(
            !text.contains("open-sesame") && !text.contains("open-barley"),
            "{text}"
        );
    }
    let change = async |fields: Value| {
        let body = json!({ "store_settings": fields });
        service.send_json("PATCH", &one, &body).await.body["store_settings"].clone()
    };
    tokio::join!(
        change(json!({ "region": "ap" })),
        change(json!({ "account": "a1" }))
    );
    let both = service.get(&one).await.body["store_settings"].clone();
    assert_eq!(both, json!({ "region": "ap", "account": "a1" }));
    let removed = change(json!({ "region": null, "unset": null })).await;
    assert_eq!(removed, json!({ "account": "a1" }));
    let wrong = json!({ "store_settings": { "region": 5 } });
    let refused = service.send_json("PATCH", &one, &wrong).await;
    assert_eq!(refused.wrong_fields(), ["store_settings.region"]);
}

#[tokio::test]
async fn a_store_without_own_fields_takes_none() {
    let (service, path) = started("no-own-fields").await;
    let mut new = platform("amazon", "fire");
    new["store_settings"] = json!({ "region": "eu" });
    let refused = service.send_json("POST", &path, &new).await;
    assert_eq!(
        (refused.status, refused.wrong_fields()),
        (400, vec!["store_settings"])
    );
    let created = service
        .send_json("POST", &path, &platform("amazon", "fire"))
        .await;
    let fields = created.body.as_object().expect("a platform");
    assert!(!fields.contains_key("store_settings") && !fields.contains_key("store_credentials_at"));
}
