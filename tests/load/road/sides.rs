//! All stores beside each other, in one installation: first the cost of a purchase of each store, measured in turn;
//! then notifications of all stores at once, none of which may be lost, doubled or sent twice.

use super::WARM;
use super::phase::{self, Figures, WindowEnds};
use super::report::median;
use super::sending::{Batch, Sent, Store};
use super::subject::{Installed, Subject, Variant};
use futures::future::join_all;
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};
use system_tests::receiver::{Received, Receiver};

/// Maximum CPU time of settle per purchase at each other store, as a multiple of that at Amazon.
const MOST_OWN: f64 = 1.5;

/// The load.
pub struct Plan {
    /// A burst of one store. Its store is replaced.
    pub burst: phase::Plan,
    /// Number of bursts of each store.
    pub rounds: u32,
    /// Notifications per second of all stores together, and for how long.
    pub per_second: u32,
    pub seconds: u32,
}

/// Measures all stores, prints the figures, and checks them.
///
/// # Panics
/// When a notification is lost, doubled or sent twice, or another store than Amazon costs more than [`MOST_OWN`].
pub async fn measure(plan: &Plan, installed: &Installed, prints_json: bool) {
    let mut variables = installed.variables.clone();
    // A burst must not wait for the rate of queries, and all generators connect from one address. `Play::variables`
    // sets the rate of Google.
    for (name, value) in [
        ("SETTLE_AMAZON_RVS_PER_SECOND", "1000"),
        ("SETTLE_APPLE_REQUESTS_PER_SECOND", "1000"),
        ("SETTLE_CONNECTIONS_PER_ADDRESS", "1024"),
    ] {
        variables.push((name.to_owned(), value.to_owned()));
    }
    let installed = Installed {
        variables,
        ..installed.clone()
    };
    let mut subject = Subject::start(Variant::Settle, &installed).await;
    println!(
        "{:<8}{:<10}{:>10}{:>11}{:>9}{:>7}{:>10}{:>10}{:>8}",
        "store",
        "phase",
        "settled/s",
        "engine ms",
        "own ms",
        "calls",
        "lag p50",
        "lag p99",
        "missing"
    );
    for store in Store::ALL {
        plan.burst(store, "warm", WARM).run(&mut subject).await;
    }
    let mut bursts = BTreeMap::<Store, Vec<Figures>>::new();
    for round in 1..=plan.rounds {
        for store in Store::ALL {
            let name = format!("burst-{round}");
            let burst = plan.burst(store, &name, plan.burst.purchases);
            let figures = burst.run(&mut subject).await;
            print(store, &figures);
            bursts.entry(store).or_default().push(figures);
        }
    }
    let together = plan.together(&mut subject).await;
    subject.finish().await;
    let times = times(&bursts);
    println!();
    for (store, times) in &times {
        let name = store.name();
        println!("own CPU per purchase, {name} to amazon, medians of the bursts: {times:.2}");
    }
    if prints_json {
        let bursts: Value = bursts
            .iter()
            .map(|(store, all)| json_of(*store, all))
            .collect();
        let times = times.iter().map(|(store, times)| (store.name(), times));
        let times: BTreeMap<&str, &f64> = times.collect();
        println!(
            "{}",
            json!({ "bursts": bursts, "together": together, "own_cpu_times": times })
        );
    }
    for (store, times) in times {
        let name = store.name();
        assert!(
            plan.rounds == 0 || times <= MOST_OWN,
            "own CPU per purchase: {name} {times:.2} times Amazon's, above {MOST_OWN}"
        );
    }
}

/// Returns the CPU time of settle per purchase at each other store, as a multiple of that at Amazon.
fn times(bursts: &BTreeMap<Store, Vec<Figures>>) -> Vec<(Store, f64)> {
    let own = |store: Store| {
        let figures: Vec<&Figures> = bursts.get(&store).into_iter().flatten().collect();
        median(&figures, Figures::own_ms)
    };
    let others = Store::ALL
        .into_iter()
        .filter(|store| *store != Store::Amazon);
    others
        .map(|store| (store, own(store) / own(Store::Amazon)))
        .collect()
}

fn json_of(store: Store, all: &[Figures]) -> Value {
    json!({ "store": store.name(), "phases": all.iter().map(Figures::json).collect::<Vec<_>>() })
}

fn print(store: Store, figures: &Figures) {
    let Figures {
        name,
        settled_per_second,
        lag_ms: (p50, p99),
        missing,
        ..
    } = figures;
    println!(
        "{:<8}{name:<10}{settled_per_second:>10.1}{:>11.2}{:>9.2}{:>7.1}{p50:>10.0}{p99:>10.0}{missing:>8}",
        store.name(),
        figures.engine_ms(),
        figures.own_ms(),
        figures.calls(),
    );
}

impl Plan {
    /// Returns a burst of a store, with its own receipts.
    fn burst(&self, store: Store, name: &str, purchases: usize) -> phase::Plan {
        phase::Plan {
            name: name.to_owned(),
            store,
            purchases,
            ..self.burst.clone()
        }
    }

    /// Sends notifications of all stores at once, at the same rate, waits for all webhooks, and checks them. Returns the
    /// figures of each store, without costs, which cannot be separated.
    async fn together(&self, subject: &mut Subject) -> Value {
        let plans = Store::ALL.map(|store| self.paced(store));
        let Subject::Settle(world) = &mut *subject else {
            return Value::Null;
        };
        let prepare = |plan: &phase::Plan| Batch::prepare(world, plan.store, &plan.receipts());
        let batches: Vec<Batch> = plans.iter().map(prepare).collect();
        let sending = plans.iter().zip(batches);
        let all_sent = join_all(sending.map(|(plan, batch)| batch.send(plan.pace()))).await;
        let mut sent = Vec::new();
        for (plan, Sent { due, message_ids }) in plans.into_iter().zip(all_sent) {
            world.expect_outcomes(message_ids);
            sent.push((plan.window_ends(due), plan));
        }
        let mut all = Vec::new();
        for (window_ends, plan) in &sent {
            let missing = plan.wait(subject, window_ends).await;
            let mut figures = plan.timed(window_ends, &subject.arrivals());
            figures.missing = missing;
            print(plan.store, &figures);
            all.push(json_of(plan.store, std::slice::from_ref(&figures)));
        }
        if let Subject::Settle(world) = &*subject {
            check(&world.receiver, &sent);
        }
        Value::Array(all)
    }

    /// Returns the part of the notifications that a store sends.
    fn paced(&self, store: Store) -> phase::Plan {
        let notifications = u32::try_from(self.burst.notifications).unwrap_or(u32::MAX);
        let stores = u32::try_from(Store::ALL.len()).unwrap_or(u32::MAX);
        let per_second = (self.per_second / stores / notifications.max(1)).max(1);
        let purchases = per_second.saturating_mul(self.seconds);
        phase::Plan {
            per_second: Some(per_second),
            ..self.burst(store, "together", purchases as usize)
        }
    }
}

/// Checks that each event was sent once, and that the events of each purchase have all revisions and count each of its
/// notifications once.
fn check(receiver: &Receiver, sent: &[(WindowEnds, phase::Plan)]) {
    receiver.check();
    if let Err(twice) = receiver.check_no_duplicates() {
        panic!("{twice}");
    }
    let requests = receiver.all();
    let (mut ids, mut of_purchase) = (BTreeSet::new(), BTreeMap::<&str, Vec<&Received>>::new());
    for request in &requests {
        let id = &request.webhook_id;
        assert!(ids.insert(id), "sent twice: {id}");
        let key = request.collapse_key();
        of_purchase.entry(key).or_default().push(request);
    }
    for (window_ends, plan) in sent {
        let name = plan.store.name();
        for key in window_ends.keys() {
            let updates = of_purchase.remove(key.as_str()).unwrap_or_default();
            let revisions = updates.iter().map(|update| update.revision());
            let is_whole = revisions.zip(1..).all(|(revision, next)| revision == next);
            let coalesced = |update: &&Received| update.body["attributes"]["coalesced"].as_u64();
            let count: u64 = updates.iter().filter_map(coalesced).sum();
            assert!(
                is_whole && usize::try_from(count) == Ok(plan.notifications),
                "{name}: the events of {key} count {count} notifications and not {}: {updates:?}",
                plan.notifications
            );
        }
    }
}
