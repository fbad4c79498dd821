//! Watches an installation during its faults, like an operator: it checks that an ended delivery stays ended (I2), and
//! enables destinations that answers disabled.

use reqwest::Method;
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use system_tests::http::{self, Api};
use system_tests::wait;
use tokio::task::JoinHandle;

/// Time between two observations.
const EVERY: Duration = Duration::from_secs(5);
/// Time limit for one page: the process may be suspended.
const PAGE: Duration = Duration::from_secs(20);

#[derive(Debug, Default)]
pub struct Seen {
    /// Final status of each ended delivery, by id.
    finals: BTreeMap<String, String>,
    /// Deliveries that were observed again after their end.
    again: BTreeSet<String>,
    pub broken: Vec<String>,
}

impl Seen {
    /// Returns the number of deliveries that were observed at least twice since their end.
    pub fn watched(&self) -> usize {
        self.again.len()
    }
}

pub struct Watch {
    api: Api,
    token: String,
    seen: Arc<Mutex<Seen>>,
    is_over: Arc<AtomicBool>,
    task: JoinHandle<()>,
}

impl Watch {
    /// Starts to observe all deliveries, and these destinations.
    pub fn start(api: &Api, token: &str, destinations: Vec<String>) -> Self {
        let (seen, is_over) = (Arc::<Mutex<Seen>>::default(), Arc::<AtomicBool>::default());
        let (own, noted, over, secret) =
            (api.clone(), seen.clone(), is_over.clone(), token.to_owned());
        let task = tokio::spawn(async move {
            while !over.load(Ordering::Relaxed) {
                for id in &destinations {
                    enable(&own, &secret, id).await;
                }
                // An installation that does not answer is skipped.
                if let Ok(all) = list(&own, "/v1/deliveries?limit=500").await {
                    observe(&noted, &all);
                }
                wait::pass(EVERY).await;
            }
        });
        Self {
            api: api.clone(),
            token: token.to_owned(),
            seen,
            is_over,
            task,
        }
    }

    /// Observes once more, and returns everything that was observed.
    ///
    /// # Errors
    /// When the deliveries cannot be listed.
    pub async fn finish(mut self) -> Result<Seen, String> {
        self.is_over.store(true, Ordering::Relaxed);
        (&mut self.task)
            .await
            .map_err(|error| format!("the watch: {error}"))?;
        observe(
            &self.seen,
            &list(&self.api, "/v1/deliveries?limit=500").await?,
        );
        Ok(std::mem::take(
            &mut *self.seen.lock().unwrap_or_else(PoisonError::into_inner),
        ))
    }

    /// Enables these destinations.
    pub async fn enable(&self, destinations: &[String]) {
        for id in destinations {
            enable(&self.api, &self.token, id).await;
        }
    }
}

impl Drop for Watch {
    /// Aborts the watch, even if a round panics.
    fn drop(&mut self) {
        self.task.abort();
    }
}

fn observe(seen: &Mutex<Seen>, deliveries: &[Value]) {
    let mut seen = seen.lock().unwrap_or_else(PoisonError::into_inner);
    let seen = &mut *seen;
    for delivery in deliveries {
        let [id, status] =
            ["id", "status"].map(|field| delivery[field].as_str().unwrap_or_default());
        match seen.finals.get(id) {
            Some(end) => {
                seen.again.insert(id.to_owned());
                if end != status {
                    seen.broken.push(format!(
                        "I2: a delivery ended as {end} and then became {status}: {delivery}"
                    ));
                }
            }
            None if ["pending", "waiting"].contains(&status) => {}
            None => drop(seen.finals.insert(id.to_owned(), status.to_owned())),
        }
    }
}

/// Enables a destination if answers disabled it. A failed attempt is retried at the next observation.
async fn enable(api: &Api, token: &str, id: &str) {
    let path = format!("/v1/destinations/{id}");
    let Ok(Ok(shown)) = tokio::time::timeout(PAGE, api.try_get(&path)).await else {
        return;
    };
    if shown.body["state"] == "disabled" {
        let headers = [
            ("content-type", "application/json".to_owned()),
            ("authorization", format!("Bearer {token}")),
        ];
        let body = json!({ "enabled": true }).to_string().into_bytes();
        let url = format!("{}{path}", api.url());
        drop(tokio::time::timeout(PAGE, http::send_raw(Method::PATCH, &url, &headers, body)).await);
    }
}

/// Returns all items of a list.
///
/// # Errors
/// When a page cannot be read.
pub async fn list(api: &Api, path: &str) -> Result<Vec<Value>, String> {
    let (mut items, mut next) = (Vec::new(), path.to_owned());
    loop {
        let page = tokio::time::timeout(PAGE, api.try_get(&next))
            .await
            .map_err(|_| "no answer".to_owned())??;
        let own = page.body["items"]
            .as_array()
            .ok_or_else(|| format!("{page:?}"))?;
        items.extend(own.iter().cloned());
        match page.body["next_cursor"].as_str() {
            Some(cursor) => next = format!("{path}&cursor={cursor}"),
            None => return Ok(items),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Seen, observe};
    use serde_json::json;
    use std::sync::{Mutex, PoisonError};

    #[test]
    fn a_delivery_counts_once_it_was_observed_twice_since_its_end() {
        let seen = Mutex::<Seen>::default();
        let steps = [
            ("pending", 0, 0),
            ("succeeded", 0, 0),
            ("succeeded", 1, 0),
            ("pending", 1, 1),
        ];
        for (status, watched, broken) in steps {
            observe(&seen, &[json!({ "id": "delivery", "status": status })]);
            let seen = seen.lock().unwrap_or_else(PoisonError::into_inner);
            assert_eq!(
                (seen.watched(), seen.broken.len()),
                (watched, broken),
                "{status}: {seen:?}"
            );
        }
    }
}
