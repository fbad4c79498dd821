//! Two `serve` and two `worker` processes on one PostgreSQL and one Temporal, without a coordinator: notifications are
//! posted to both `serve` processes, and `kill -9` of each process in turn loses nothing and announces nothing twice.

use std::collections::BTreeMap;
use std::time::Duration;
use system_tests::process::Backend;
use system_tests::receiver::Reply;
use system_tests::sns::Rtn;
use system_tests::wait;
use system_tests::world::{SOON, Setting, World};

/// Indexes of the processes in `World::processes`.
const SERVE: usize = 0;
const WORKER: usize = 1;
const OTHER_SERVE: usize = 2;
const OTHER_WORKER: usize = 3;
/// Indexes of the `serve` processes.
const SERVES: [usize; 2] = [SERVE, OTHER_SERVE];

/// Time limit for repetition: an attempt or workflow task whose worker died is repeated after its timeout, within half
/// a minute. The sweep might repair losses within this time, so the end of each test checks that it had nothing to
/// repair.
const REPEATED: Duration = Duration::from_secs(150);

/// Types of the notifications of one purchase, in this order.
const KINDS: [&str; 4] = [
    "SUBSCRIPTION_PURCHASED",
    "SUBSCRIPTION_AUTO_RENEWAL_OFF",
    "SUBSCRIPTION_AUTO_RENEWAL_ON",
    "SUBSCRIPTION_CANCELLED",
];

struct Fleet {
    world: World,
    /// Message ids of each receipt.
    sent: BTreeMap<String, Vec<String>>,
}

impl Fleet {
    async fn start() -> Self {
        let setting = Setting {
            backend: Backend::Postgres,
            window_seconds: 3,
            ..Setting::default()
        };
        let mut world = World::start(setting).await;
        for place in [OTHER_SERVE, OTHER_WORKER] {
            let process = Self::process(&world, place);
            assert_eq!(world.join(process), place);
        }
        world.processes()[OTHER_SERVE].wait_connected().await;
        // Failing deliveries are retried every few seconds until the test has seen one.
        world.set_schedule(&[5; 40]).await;
        Self {
            world,
            sent: BTreeMap::new(),
        }
    }

    fn process(world: &World, place: usize) -> system_tests::process::Process {
        match place {
            SERVE => world.installation.start(&["serve"], &[]),
            OTHER_SERVE => world.installation.serve_beside(&[]),
            _ => world.installation.start(&["worker"], &[]),
        }
    }

    /// Sends the next notification of a receipt, as one message, to each of these `serve` processes.
    async fn send(&mut self, receipt_id: &str, places: &[usize]) {
        let sent = self.sent.entry(receipt_id.to_owned()).or_default();
        let number = i64::try_from(sent.len()).unwrap_or(0);
        let rtn = Rtn::new(KINDS[sent.len() % KINDS.len()], receipt_id).later(number);
        let message = self.world.sns.notification(&rtn);
        sent.push(message.id.clone());
        for place in places {
            let first = self.world.installation.public_url();
            let own = self.world.processes()[*place].public_url().to_owned();
            let url = self.world.notification_url.replace(&first, &own);
            let answer = self.world.post_at(&url, &message).await;
            assert!(
                answer.as_ref().is_ok_and(|answer| answer.status == 200),
                "{receipt_id} at {own}: {answer:?}"
            );
        }
    }

    /// Creates a delivery in back-off, open windows, and notifications that were just answered: the last one by the
    /// process that will be killed next, if that is a `serve`.
    async fn make_busy(&mut self, round: &str, victim: usize) {
        let [pending, one, other, fresh] =
            ["pending", "one", "other", "fresh"].map(|name| format!("{name}-{round}"));
        // If all requests failed, the breaker would open.
        self.world
            .receiver
            .answer_about("pending-", Some(Reply::Status(500)));
        self.send(&pending, &[SERVE]).await;
        self.send(&pending, &[OTHER_SERVE]).await;
        wait::until(SOON, "a delivery in back-off", async || {
            let pending = self.world.api.all("/v1/deliveries?status=pending").await;
            let is_waiting = pending
                .iter()
                .any(|delivery| delivery["last_error"].is_string());
            if is_waiting {
                Ok(())
            } else {
                Err(format!("{pending:?}"))
            }
        })
        .await;
        self.world.receiver.answer_about("pending-", None);
        for (receipt_id, places) in [(&one, [SERVE, OTHER_SERVE]), (&other, [OTHER_SERVE, SERVE])] {
            self.send(receipt_id, &places[..1]).await;
            self.world.wait_first_notified(receipt_id).await;
            self.send(receipt_id, &places[1..]).await;
        }
        self.send(&fresh, &[SERVE, OTHER_SERVE]).await;
        let last = if SERVES.contains(&victim) {
            victim
        } else {
            SERVE
        };
        self.send(&fresh, &[last]).await;
    }

    async fn kill9_and_restart(&mut self, place: usize) {
        self.world.processes()[place].kill9();
        let process = Self::process(&self.world, place);
        self.world.processes()[place] = process;
        if SERVES.contains(&place) {
            self.world.processes()[place].wait_connected().await;
        }
    }

    /// Checks that every notification has one outcome, and that the newest revision of each purchase arrived exactly
    /// once.
    async fn check(mut self) {
        let verdict = self.world.verdict(REPEATED).await;
        verdict.unwrap_or_else(|broken| panic!("{broken}"));
        self.world
            .receiver
            .check_no_duplicates()
            .unwrap_or_else(|broken| panic!("{broken}"));
        for (receipt_id, sent) in &self.sent {
            let mut delivered = 0;
            for message_id in sent {
                let outcomes = self.world.wait_outcome(message_id).await;
                assert_eq!(
                    outcomes.len(),
                    1,
                    "{message_id} of {receipt_id}: {outcomes:?}"
                );
                delivered += usize::from(outcomes[0]["outcome"] == "settled");
            }
            self.world
                .check_revisions(receipt_id, delivered)
                .await
                .unwrap_or_else(|wrong| panic!("{wrong}"));
            self.check_arrived(receipt_id).await;
        }
    }

    /// Checks that the last acknowledged event is the newest one, and that nothing is pending.
    async fn check_arrived(&self, receipt_id: &str) {
        let deliveries = wait::until(
            REPEATED,
            &format!("the end of all deliveries of {receipt_id}"),
            async || {
                let deliveries = self.world.deliveries(receipt_id).await;
                let is_final = |one: &serde_json::Value| {
                    one["status"] == "delivered" || one["status"] == "superseded"
                };
                if deliveries.iter().all(is_final) {
                    Ok(deliveries)
                } else {
                    Err(format!("{deliveries:?}"))
                }
            },
        )
        .await;
        let events = self.world.events(receipt_id).await;
        assert_eq!(
            deliveries.len(),
            events.len(),
            "one delivery for each event: {deliveries:?}"
        );
        let received = self
            .world
            .receiver
            .about(&self.world.key(receipt_id).to_string());
        let last = received
            .iter()
            .rfind(|request| request.is_acked())
            .map(|request| request.event_id());
        let newest = events
            .iter()
            .max_by_key(|event| event["revision"].as_i64())
            .and_then(|event| event["id"].as_str());
        assert_eq!(
            last, newest,
            "the last acknowledged event of {receipt_id}, and its newest one"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn killing_two_serves_and_two_workers_in_turn_loses_nothing() {
    let mut fleet = Fleet::start().await;
    for (round, place) in [
        ("a", SERVE),
        ("b", WORKER),
        ("c", OTHER_SERVE),
        ("d", OTHER_WORKER),
    ] {
        fleet.make_busy(round, place).await;
        fleet.kill9_and_restart(place).await;
    }
    fleet.check().await;
}
