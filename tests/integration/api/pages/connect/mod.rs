//! Connecting a platform with the page alone: each step from an empty installation, its errors, and the roles that may
//! take it.

mod platforms;
mod steps;

use super::visitor::{Answer, Visitor};
use crate::api::edge::{Service, TOKEN};
use domain::PlatformId;
use secrecy::SecretString;
use serde_json::json;
use storage::TopicRequest;

const ARN: &str = "arn:aws:sns:us-east-1:123456789012:reader";
const SUBSCRIBE: &str = "https://sns.us-east-1.amazonaws.com/?Action=ConfirmSubscription\
    &TopicArn=arn:aws:sns:us-east-1:123456789012:reader&Token=2336412f37fb687f5d51e6e241d09c805a5a57b30d712f794cc5f6a988666d92768dd60a747ba6f3beb71854e285d6ad02428b09ceece29417f1f02d609c582afbacc99c583a916b9981dd2728f4ae6fdb82efd087cc3b7849e05798d2d2785c03b0879594eeac82c01f235d0e717736";
const REASON: (&str, &str) = ("reason", "ticket 4711");

async fn signed_in(service: &Service) -> Visitor {
    Visitor::with_key(service, TOKEN).await.expect("a sign-in")
}

async fn with_role(service: &Service, role: &str) -> Visitor {
    let created = service
        .send_json("POST", "/v1/keys", &json!({ "name": role, "role": role }))
        .await;
    Visitor::with_key(service, created.body["key"].as_str().expect("a key"))
        .await
        .expect("a sign-in")
}

fn has(answer: &Answer, parts: &[&str]) {
    for part in parts {
        assert!(answer.text.contains(part), "{part}: {}", answer.text);
    }
}

fn has_not(answer: &Answer, parts: &[&str]) {
    for part in parts {
        assert!(!answer.text.contains(part), "{part}: {}", answer.text);
    }
}

async fn pending_topic(service: &Service, platform: PlatformId) -> String {
    let expires = api::clock::now().plus(std::time::Duration::from_secs(3600));
    let request = TopicRequest::new(platform, ARN, SecretString::from(SUBSCRIBE), expires);
    service
        .store
        .add_pending_topic(request)
        .await
        .expect("a topic");
    service.store.topics(platform).await.expect("topics")[0]
        .id
        .to_string()
}

#[tokio::test]
async fn the_url_is_shown_to_those_roles_that_the_api_shows_it() {
    let service = Service::start("connect-roles").await;
    let (app, platform) = service.platform().await;
    let key = service.store.ingress_key(platform).await.expect("a key");
    let key = secrecy::ExposeSecret::expose_secret(&key);
    let console = format!("/ui/connect/platforms/{platform}");
    pending_topic(&service, platform).await;
    for (role, sees) in [("read", false), ("support", false), ("operator", true)] {
        let visitor = with_role(&service, role).await;
        let page = visitor.get(&service, &console).await;
        assert_eq!(
            (page.status, page.text.contains(key)),
            (200, sees),
            "{role}"
        );
        assert_eq!(page.text.contains("see it here"), !sees, "{role}");
        let data = visitor.get(&service, &format!("{console}?as=json")).await;
        assert_eq!(data.text.contains(key), sees, "{role}");
        let topics = visitor.get(&service, &format!("{console}/topics")).await;
        assert_eq!(topics.text.contains("/approve\""), sees, "{role}");
        let list = visitor.get(&service, "/ui/connect").await;
        assert!(!list.text.contains("Create the app"), "{role}");
        let next = "<td role=\"cell\" data-label=\"Next\">";
        has(
            &list,
            &[
                "aria-label=\"Platforms of reader\"",
                "com.example.settle",
                next,
                "data-label=\"Last accepted\"",
            ],
        );
        let app = visitor
            .get(&service, &format!("/ui/connect/apps/{app}"))
            .await;
        assert_eq!(app.text.contains("Connect another store"), sees, "{role}");
    }
    let own = json!({ "name": "own", "role": "admin", "app_id": app });
    let own = service.send_json("POST", "/v1/keys", &own).await;
    let own = Visitor::with_key(&service, own.body["key"].as_str().expect("a key"))
        .await
        .expect("a sign-in");
    let refused = own
        .post(&service, "/ui/connect", &[("name", "another"), REASON])
        .await;
    assert_eq!(
        refused.status, 403,
        "a sign-in of one app creates none: {}",
        refused.text
    );
}

#[tokio::test]
async fn what_was_refused_at_the_url_is_a_tick() {
    let service = Service::start("connect-tick").await;
    let (_, platform) = service.platform().await;
    let before = service
        .store
        .latest_changes()
        .await
        .expect("the latest changes");
    service.store.count_arrival(platform, "unknown topic");
    service.store.write_arrivals().await.expect("arrivals");
    let after = service
        .store
        .latest_changes()
        .await
        .expect("the latest changes");
    let changed: Vec<_> = before
        .kinds()
        .into_iter()
        .zip(after.kinds())
        .filter(|(a, b)| a != b)
        .map(|((kind, _), _)| kind)
        .collect();
    assert_eq!(changed, ["arrivals"]);
}
