//! Wrong keys and long reads do not slow down other callers.

use super::created_key;
use crate::api::edge::{Answer, Service};
use crate::api::pages::visitor::Visitor;
use api::keyring::Reader;
use futures::FutureExt as _;
use futures::future::{join_all, select_all};
use serde_json::{Value, json};

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
    // Guesses at the admin token, unknown keys and links.
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
