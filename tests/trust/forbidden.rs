//! A destination at a forbidden address with a real listener: every event is queued for it, its URL contains the
//! address in many notations, and settle never connects to it (I6).

use reqwest::Method;
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};
use std::net::{SocketAddr, TcpStream};
use system_tests::faulty::Faulty;
use system_tests::postgres;
use system_tests::process::Variable;
use system_tests::random::Random;
use system_tests::wait;
use system_tests::world::{SOON, World};

/// The setting that lets processes deliver to this address only.
pub const ALLOWED: Variable<'static> = ("SETTLE_DESTINATIONS_ALLOWED_NETWORKS", "127.0.0.1/32");
const ADDRESS: [u8; 4] = [127, 0, 0, 2];
/// The notations of [`ADDRESS`] that URLs allow.
const WRITTEN: [&str; 7] = [
    "127.0.0.2",
    "127.2",
    "2130706434",
    "0x7f000002",
    "0177.0.0.2",
    "[::ffff:127.0.0.2]",
    "127.0.0.2.",
];

/// The destination at the forbidden address, and the listener there.
pub struct Forbidden {
    listener: Faulty,
    destination_id: String,
}

impl Forbidden {
    /// Adds a destination of the app that subscribes to these events. It is created with an allowed address, which is
    /// then replaced in the database.
    pub async fn join(world: &mut World, events: &[&str]) -> Self {
        let listener = Faulty::at((ADDRESS, 0).into());
        let url = format!("http://127.0.0.1:{}/hook", listener.port());
        let body = json!({ "kind": "webhook", "name": "forbidden", "url": url, "events": events, "enabled": false });
        let forbidden = Self {
            listener,
            destination_id: world.add(&body).await,
        };
        forbidden.lead_to(world, &forbidden.url());
        let path = format!("/v1/destinations/{}", forbidden.destination_id);
        drop(
            world
                .api
                .call(Method::PATCH, &path, &json!({ "enabled": true }))
                .await
                .ok(),
        );
        world.let_be_pending(
            &forbidden.destination_id,
            "no attempt may leave for its address",
        );
        forbidden
    }

    /// Sets the destination's URL in the database, because the API refuses a forbidden address.
    fn lead_to(&self, world: &World, url: &str) {
        let settings = json!({ "url": url, "headers": [] });
        let statement = format!(
            "UPDATE destinations SET settings = '{settings}' WHERE id = '{}'",
            self.destination_id
        );
        postgres::execute(world.installation.database(), &statement).expect("another URL");
    }

    /// Returns the listener's URL.
    pub fn url(&self) -> String {
        self.listener.scripted_url()
    }

    /// Changes the URL to another notation and re-enables the destination, so that its pending deliveries are attempted
    /// at once.
    pub async fn turn(&self, world: &World, random: &mut Random) {
        let path = format!("/v1/destinations/{}", self.destination_id);
        let host = usize::try_from(random.below(WRITTEN.len() as u64))
            .ok()
            .and_then(|place| WRITTEN.get(place));
        let url = format!(
            "http://{}:{}/hook",
            host.expect("a host"),
            self.listener.port()
        );
        self.lead_to(world, &url);
        for fields in [json!({ "enabled": false }), json!({ "enabled": true })] {
            drop(world.api.call(Method::PATCH, &path, &fields).await.ok());
        }
    }

    /// Checks that no connection was made.
    pub fn unheard(&self) {
        assert_eq!(
            self.listener.connections(),
            0,
            "I6: a connection to a forbidden address"
        );
    }

    /// Checks that no connection was made although the listener works, that the same events were queued for this
    /// destination as for the world's own, that every delivery's explanation says so, and that every attempt failed
    /// because of the forbidden address. Returns the number of attempts.
    pub async fn check(&self, world: &World) -> usize {
        self.unheard();
        let deliveries = world
            .api
            .all(&format!(
                "/v1/deliveries?destination_id={}",
                self.destination_id
            ))
            .await;
        let own = world
            .api
            .all(&format!(
                "/v1/deliveries?destination_id={}",
                world.destination_id
            ))
            .await;
        assert_eq!(
            events(&deliveries),
            events(&own),
            "the same events were queued for it"
        );
        let newest = newest(&deliveries);
        let mut attempts = 0;
        for delivery in &deliveries {
            let is_old = newest
                .get(&delivery["collapse_key"].to_string())
                .is_some_and(|newest| {
                    delivery["event_type"] == "purchase.updated"
                        && delivery["revision"].as_i64() < Some(*newest)
                });
            // An older state becomes superseded the next time that its lane is leased.
            let end = match delivery["status"].as_str() {
                Some("pending") => "pending",
                Some("superseded") if is_old => "superseded",
                _ => panic!("{delivery} is not pending"),
            };
            let explanation = explained(world, delivery).await;
            assert!(
                explanation.contains(end),
                "{delivery} is explained by {explanation}"
            );
            attempts += refused(world, delivery).await;
        }
        assert!(attempts >= 10, "only {attempts} attempts were refused");
        let address = SocketAddr::from((ADDRESS, self.listener.port()));
        drop(TcpStream::connect(address).expect("the listener accepts connections"));
        wait::until(SOON, "the one connection, of this test", async || {
            let count = self.listener.connections();
            if count == 1 {
                Ok(())
            } else {
                Err(format!("{count}"))
            }
        })
        .await;
        attempts
    }
}

/// Returns the number of a delivery's attempts that failed because of the forbidden address. Unfinished attempts, whose
/// worker died, are not counted.
async fn refused(world: &World, delivery: &Value) -> usize {
    let attempts = attempts(world, delivery).await;
    let finished = attempts
        .iter()
        .filter(|attempt| attempt["finished_at"].is_string());
    finished
        .inspect(|attempt| assert_eq!(attempt["class"], "forbidden_address", "{attempt}"))
        .count()
}

pub async fn attempts(world: &World, delivery: &Value) -> Vec<Value> {
    let path = format!(
        "/v1/deliveries/{}/attempts",
        delivery["id"].as_str().expect("an id")
    );
    world.api.get(&path).await.ok()["items"]
        .as_array()
        .cloned()
        .unwrap_or_default()
}

/// Returns the explanation of a delivery, taken from the explanation of its event.
pub async fn explained(world: &World, delivery: &Value) -> String {
    let event_id = delivery["event_id"].as_str().expect("an event");
    let story = world
        .api
        .get(&format!("/v1/explain/events/{event_id}"))
        .await
        .ok();
    explanation_of(&story, &delivery["id"])
        .unwrap_or_else(|| panic!("{delivery} is not in {story}"))
        .to_owned()
}

fn explanation_of<'a>(story: &'a Value, delivery_id: &Value) -> Option<&'a str> {
    if story["id"] == *delivery_id {
        return story["summary"].as_str();
    }
    let within: Vec<&Value> = match story {
        Value::Array(items) => items.iter().collect(),
        Value::Object(fields) => fields.values().collect(),
        _ => Vec::new(),
    };
    within
        .into_iter()
        .find_map(|part| explanation_of(part, delivery_id))
}

fn events(deliveries: &[Value]) -> BTreeSet<String> {
    deliveries
        .iter()
        .map(|delivery| delivery["event_id"].to_string())
        .collect()
}

/// Returns the highest revision of each purchase.
fn newest(deliveries: &[Value]) -> BTreeMap<String, i64> {
    let mut newest = BTreeMap::new();
    for delivery in deliveries
        .iter()
        .filter(|delivery| delivery["event_type"] == "purchase.updated")
    {
        let revision = delivery["revision"].as_i64().unwrap_or_default();
        let known = newest
            .entry(delivery["collapse_key"].to_string())
            .or_insert(revision);
        *known = revision.max(*known);
    }
    newest
}
