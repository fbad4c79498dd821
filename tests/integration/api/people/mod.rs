//! Settings over HTTP: customers, the catalogue and exchange rates. Each route is called with valid fields, with each
//! field wrong, and repeatedly.

mod catalogue;
mod erasing;
mod merging;
mod naming;

use super::edge::{Answer, Service};
use serde_json::{Value, json};

struct Shop {
    service: Service,
    app: String,
}

impl Shop {
    async fn open(name: &str) -> Self {
        let service = Service::start(name).await;
        let (app, _) = service.platform().await;
        Self {
            service,
            app: format!("/v1/apps/{app}"),
        }
    }

    async fn send_json(&self, method: &str, path: &str, body: Value) -> Answer {
        self.service
            .send_json(method, &format!("{}{path}", self.app), &body)
            .await
    }

    async fn get(&self, path: &str) -> Answer {
        self.send_json("GET", path, Value::Null).await
    }

    /// Checks that a request is refused with a 400 that names exactly these fields.
    async fn refuses(&self, (method, path): (&str, &str), body: Value, fields: &[&str]) {
        let answer = self.send_json(method, path, body.clone()).await;
        assert_eq!(
            (answer.status, &answer.wrong_fields()[..]),
            (400, fields),
            "{method} {path} {body}: {}",
            answer.body
        );
    }
}

#[tokio::test]
async fn purchases_are_found_by_the_customers_own_id() {
    let shop = Shop::open("external").await;
    let user = shop
        .send_json(
            "PUT",
            "/customers",
            json!({ "external_id": "anna", "app_user_id": "user" }),
        )
        .await
        .body;
    let keys = shop.service.seed(&["r1", "r2"]).await;
    let user = user["user_id"].as_str().expect("a user id");
    shop.service.raw(&format!(
        "UPDATE purchases SET user_id = '{user}' WHERE receipt_id = 'r1'"
    ));
    let found = shop
        .service
        .get("/v1/purchases?external_id=anna")
        .await
        .body;
    assert_eq!(found["items"].as_array().map(Vec::len), Some(1), "{found}");
    assert_eq!(found["items"][0]["collapse_key"], json!(keys[0]));
    let none = shop
        .service
        .get("/v1/purchases?external_id=otto&receipt_id=r1")
        .await
        .body;
    assert_eq!(none["items"], json!([]));
}
