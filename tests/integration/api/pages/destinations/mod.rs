//! The pages of destinations: creating one with the form that its kind describes, secrets shown once, actions, and
//! resends.

mod changing;
mod creating;
mod deliveries;
mod testing;

use super::screens::signed_in;
use super::visitor::{Answer, Visitor};
use crate::api::edge::Service;
use serde_json::json;

pub const REASON: (&str, &str) = ("reason", "ticket 4711");

/// A visitor of the pages of destinations.
pub struct Desk {
    pub service: Service,
    pub visitor: Visitor,
    pub app: String,
}

impl Desk {
    /// Starts a service with an app, and signs a visitor in.
    pub async fn open(name: &str) -> Self {
        Self::of(Service::start(name).await).await
    }

    async fn of(service: Service) -> Self {
        let (app, _) = service.platform().await;
        let visitor = signed_in(&service).await;
        Self {
            service,
            visitor,
            app,
        }
    }

    /// Sends the form of a new destination.
    pub async fn add(&self, fields: &[(&str, &str)]) -> Answer {
        let path = format!("/ui/apps/{}/destinations", self.app);
        self.visitor.post(&self.service, &path, fields).await
    }

    /// Adds a webhook with the API; returns its id and its secret.
    pub async fn webhook(&self, name: &str, url: &str) -> (String, String) {
        let body = json!({ "kind": "webhook", "name": name, "url": url });
        let created = self
            .service
            .send_json(
                "POST",
                &format!("/v1/apps/{}/destinations", self.app),
                &body,
            )
            .await;
        assert_eq!(created.status, 201, "{}", created.body);
        let text = |field: &str| created.body[field].as_str().expect("a text").to_owned();
        (text("id"), text("secret"))
    }

    pub async fn post(&self, path: &str, fields: &[(&str, &str)]) -> Answer {
        self.visitor.post(&self.service, path, fields).await
    }

    pub async fn get(&self, path: &str) -> String {
        let answer = self.visitor.get(&self.service, path).await;
        assert_eq!(answer.status, 200, "{path}: {}", answer.text);
        answer.text
    }

    async fn of_role(&self, role: &str) -> Visitor {
        let created = self
            .service
            .send_json("POST", "/v1/keys", &json!({ "name": role, "role": role }))
            .await;
        Visitor::with_key(&self.service, created.body["key"].as_str().expect("a key"))
            .await
            .expect("a sign-in")
    }
}

/// Checks that a page contains these texts in this order.
pub fn in_order(page: &str, texts: &[&str]) {
    let mut from = 0;
    for text in texts {
        let at = page[from..]
            .find(text)
            .unwrap_or_else(|| panic!("{text} is missing or too early: {page}"));
        from += at;
    }
}

/// Returns the value of a form's hidden field.
pub fn hidden(page: &str, name: &str) -> String {
    let mark = format!("name=\"{name}\" value=\"");
    let value = page
        .split(&mark)
        .nth(1)
        .and_then(|rest| rest.split('"').next());
    value
        .unwrap_or_else(|| panic!("no {name} in {page}"))
        .to_owned()
}

/// Returns the text that a page offers to copy, found by its beginning.
pub fn hidden_copy(page: &str, beginning: &str) -> String {
    let mark = format!("data-copy=\"{beginning}");
    let rest = page
        .split(&mark)
        .nth(1)
        .and_then(|rest| rest.split('"').next());
    format!(
        "{beginning}{}",
        rest.unwrap_or_else(|| panic!("no {beginning}: {page}"))
    )
}
