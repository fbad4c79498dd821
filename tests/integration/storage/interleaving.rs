//! Two workers execute random steps on one lane in random modes: the invariants hold after every step.
//!
//! I2: each delivery has one terminal state. I3: the acknowledged revision never decreases. I4: the same `webhook-id`
//! always has the same bytes. I7: at most one lease is live. All events are sent, in order.

use super::sending::{Sent, finish, lease, must_send};
use super::world::{LEASE_MS, World, story};
use domain::time::duration;
use domain::{CollapseKey, DeliveryId, DestinationId, TransitionKind};
use std::collections::HashMap;
use std::sync::Mutex;
use storage::{DeliveryFilter, EndpointSignal, Lease, LeaseResult, Mode, Page, Store, Verdict};
use system_tests::rows;

const SEEDS: u64 = 6;
const STEPS: usize = 60;

/// SplitMix64 (<https://prng.di.unimi.it/splitmix64.c>).
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut state = self.0;
        state = (state ^ (state >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        state = (state ^ (state >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        (state ^ (state >> 31)) % sides
    }
}

/// The lane, its two workers, and everything observed so far.
struct Lane {
    key: CollapseKey,
    to: DestinationId,
    workers: [Store; 2],
    /// Leased requests that are not finished.
    held: Vec<Sent>,
    bodies: HashMap<DeliveryId, String>,
    closed: HashMap<DeliveryId, storage::DeliveryStatus>,
    acked: i64,
    revision: i64,
    /// Number of recorded `user.*` events.
    reported: usize,
}

story! {
    async fn any_interleaving_of_two_workers_keeps_the_invariants(world: World) {
        let to = world.destination("hook").await.id;
        let workers = [world.store.clone(), world.second_process().await];
        for seed in 1..=SEEDS {
            eprintln!("seed {seed}");
            let receipt = format!("r{seed}");
            let mut dice = Dice(seed);
            let mut lane = Lane::new(world.key(&receipt), to, workers.clone());
            for step in 0..STEPS {
                lane.step(&world, &receipt, &mut dice, step).await;
                lane.check(&world, seed).await;
            }
            lane.drain(&world).await;
            lane.check(&world, seed).await;
            assert!(world.store.lanes(lane.key).await.unwrap().is_empty(), "seed {seed}: something is still pending");
            assert_eq!(lane.acked, lane.revision, "seed {seed}: after quiet the newest is acknowledged");
        }
    }
}

impl Lane {
    fn new(key: CollapseKey, to: DestinationId, workers: [Store; 2]) -> Self {
        Self {
            key,
            to,
            workers,
            held: Vec::new(),
            bodies: HashMap::new(),
            closed: HashMap::new(),
            acked: 0,
            revision: 0,
            reported: 0,
        }
    }

    async fn step(&mut self, world: &World, receipt: &str, dice: &mut Dice, step: usize) {
        match dice.roll(8) {
            0 => {
                self.revision += 1;
                world.revise(receipt, self.revision).await;
            }
            1 => {
                self.revision += 1;
                self.reported += 2;
                world
                    .happen(
                        receipt,
                        self.revision,
                        &[TransitionKind::Cancelled, TransitionKind::Resumed],
                    )
                    .await;
            }
            2..=4 => {
                let mode =
                    [Mode::Lane, Mode::Drain, Mode::Probe][usize::try_from(dice.roll(3)).unwrap()];
                self.lease(usize::from(dice.roll(2) == 1), format!("step-{step}"), mode)
                    .await;
            }
            5 | 6 if !self.held.is_empty() => {
                let index = usize::try_from(dice.roll(self.held.len() as u64)).unwrap();
                let sent = self.held.swap_remove(index);
                let verdict = if dice.roll(2) == 0 {
                    Verdict::Delivered
                } else {
                    Verdict::Retry {
                        delay: duration(1_000),
                    }
                };
                let mut end = finish(&sent, verdict);
                if end.result.endpoint_signal != EndpointSignal::Success && dice.roll(2) == 0 {
                    end.result.endpoint_signal = EndpointSignal::Failure {
                        pause: Some(duration(700)),
                    };
                }
                end.result.lane_pause = (end.result.endpoint_signal != EndpointSignal::Success
                    && dice.roll(2) == 0)
                    .then_some(duration(900));
                self.workers[index % 2].finish(end).await.unwrap();
            }
            _ => world.pass(i64::try_from(dice.roll(2)).unwrap() * (LEASE_MS + 1) + 1_001),
        }
    }

    async fn lease(&mut self, worker: usize, token: String, mode: Mode) {
        let (key, to) = (self.key, self.to);
        let lease = Lease {
            mode,
            ..lease(key, to, &token)
        };
        if let LeaseResult::Send(batch) = self.workers[worker].lease(lease).await.unwrap() {
            let sent = Sent {
                batch,
                key,
                to,
                token,
                mode,
            };
            let body = self
                .bodies
                .entry(sent.delivery_id)
                .or_insert_with(|| sent.body.clone());
            assert_eq!(*body, sent.body, "the same webhook-id has the same bytes");
            self.held.push(sent);
        }
    }

    async fn drain(&mut self, world: &World) {
        if self.revision == 0 {
            return;
        }
        world.pass(LEASE_MS * 2);
        for round in 0..self.reported + 3 {
            self.lease(round % 2, format!("drain-{round}"), Mode::Lane)
                .await;
            for sent in std::mem::take(&mut self.held) {
                world.finish(&sent, Verdict::Delivered).await;
            }
        }
    }

    async fn check(&mut self, world: &World, seed: u64) {
        let mut live = 0;
        for sent in &self.held {
            live += usize::from(
                world
                    .store
                    .holds_lease(sent.key, sent.to, &sent.token)
                    .await
                    .unwrap(),
            );
        }
        assert!(live <= 1, "seed {seed}: {live} live leases");
        let filter = DeliveryFilter {
            collapse_key: Some(self.key),
            ..Default::default()
        };
        let page = Page {
            cursor: None,
            limit: 1000,
        };
        let mut is_pending = false;
        for delivery in world
            .store
            .deliveries(filter, page)
            .await
            .unwrap()
            .items
            .into_iter()
            .rev()
        {
            if delivery.event_type.starts_with("user.") {
                let is_next =
                    !(is_pending && delivery.status == storage::DeliveryStatus::Delivered);
                assert!(
                    is_next && delivery.status != storage::DeliveryStatus::Superseded,
                    "seed {seed}: {delivery:?} overtook or was skipped"
                );
                is_pending |= delivery.status == storage::DeliveryStatus::Pending;
            }
            if delivery.status != storage::DeliveryStatus::Pending {
                let closed = self.closed.entry(delivery.id).or_insert(delivery.status);
                assert_eq!(
                    *closed, delivery.status,
                    "seed {seed}: a delivery ended twice"
                );
            }
        }
        let acked =
            "SELECT COALESCE(MAX(acked_revision), 0) AS value FROM lanes WHERE collapse_key =";
        let acked = world.raw().number(&format!("{acked} '{}'", self.key));
        assert!(
            acked >= self.acked,
            "seed {seed}: the acknowledged revision fell from {} to {acked}",
            self.acked
        );
        self.acked = acked;
    }
}

story! {
    async fn what_is_recorded_while_a_lane_is_closed_is_leased(world: World) {
        let to = world.destination("hook").await.id;
        world.revise("r1", 1).await;
        let sent = must_send(&world.store, lease(world.key("r1"), to, "a")).await;
        world.store.finish(finish(&sent, Verdict::Delivered)).await.unwrap();
        let point = format!("lease.seen_empty/{}", world.key("r1"));
        // On SQLite, a writer excludes all others.
        if world.is_postgres() {
            // Another process's record that commits after the lease found its lane empty, and before it reads the
            // newest number.
            let other = Mutex::new(Some(world.raw()));
            let record = move || {
                if let Some(mut other) = other.lock().unwrap().take() {
                    let copy = rows::copies("'00000000' || SUBSTR(d.id, 9)", "d.n + 1").text("status", "pending");
                    other.run(&copy.sql("next_due_at", 1));
                }
            };
            fail::cfg_callback(&point, record).unwrap();
        }
        let leased = world.store.lease(lease(world.key("r1"), to, "b")).await.unwrap();
        fail::remove(&point);
        let is_sent = matches!(leased, LeaseResult::Send(_));
        assert_eq!(is_sent, world.is_postgres(), "{leased:?}");
    }
}
