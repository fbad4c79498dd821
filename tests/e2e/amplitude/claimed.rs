//! A purchase that the store notifies, a device reports and a customer is named for, all within one window: in any
//! order, it is announced once, as that customer's and at the price that was paid.

use super::minutes::{Life, Minutes, Step, WINDOW};
use Step::{LoggedIn, Named, Notified, Reported};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::time::Duration;
use system_tests::wait;
use system_tests::world::SOON;

/// Sets of steps, each of which happens in every order.
const SETS: [&[Step]; 8] = [
    &[Notified],
    &[Notified, Reported(0)],
    &[Notified, LoggedIn(0, 0)],
    &[Notified, Named(0)],
    &[Notified, Reported(0), LoggedIn(0, 0)],
    &[Notified, Reported(0), Named(0)],
    &[Notified, LoggedIn(0, 0), Named(0)],
    &[Notified, Reported(0), LoggedIn(0, 0), Named(0)],
];
/// The seconds between one step and the next.
const GAPS: [u64; 3] = [0, 5, 10];

fn orders(steps: &[Step]) -> Vec<Vec<Step>> {
    if steps.is_empty() {
        return vec![Vec::new()];
    }
    let first = |index: usize| {
        let mut rest = steps.to_vec();
        let step = rest.remove(index);
        orders(&rest)
            .into_iter()
            .map(move |order| [vec![step], order].concat())
    };
    (0..steps.len()).flat_map(first).collect()
}

struct Row {
    order: Vec<Step>,
    gap: u64,
    life: Life,
}

impl Row {
    fn new(number: u32, order: Vec<Step>, gap: u64) -> Self {
        let seconds = (0..).map(|index| Duration::from_secs(index * gap));
        let life = Life::new(number, seconds.zip(order.iter().copied()).collect());
        Self { order, gap, life }
    }

    /// Returns whether the purchase is known to be the customer's. A login on a device without the receipt belongs to
    /// another customer.
    fn is_customers(&self) -> bool {
        let is_on_device = self.is_reported() && self.order.contains(&LoggedIn(0, 0));
        is_on_device || self.order.contains(&Named(0))
    }

    fn is_reported(&self) -> bool {
        self.order.contains(&Reported(0))
    }

    /// Returns the class of this row; rows of a class have the same bodies.
    fn class(&self) -> &'static str {
        match (self.is_customers(), self.is_reported()) {
            (false, false) => "nobody",
            (false, true) => "a device",
            (true, true) => "a customer on a device",
            (true, false) if self.order.contains(&LoggedIn(0, 0)) => {
                "a customer with a device that has no receipt"
            }
            (true, false) => "a customer",
        }
    }
}

impl std::fmt::Display for Row {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(
            f,
            "{:?}, {} s apart, of {}",
            self.order,
            self.gap,
            self.life.receipt_id()
        )
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn any_order_and_gap_is_one_event_of_its_customer_and_price() {
    let all = GAPS.iter().flat_map(|gap| {
        SETS.iter()
            .flat_map(|set| orders(set))
            .map(move |order| (order, *gap))
    });
    let rows: Vec<Row> = (1..)
        .zip(all)
        .map(|(number, (order, gap))| Row::new(number, order, gap))
        .collect();
    let lives: Vec<Life> = rows.iter().map(|row| row.life.clone()).collect();
    let mut own = Minutes::start(&lives).await;
    own.live(&lives).await;
    own.settle_all(&lives).await;
    let counts = || lives.iter().map(|life| life.bodies(own.world()).len());
    wait::until(SOON, "an event and a record of each", async || {
        let missing = counts().filter(|count| *count < 2).count();
        if missing == 0 {
            Ok(())
        } else {
            Err(format!("{missing} are missing"))
        }
    })
    .await;
    own.drain().await;
    let mut bodies = BTreeMap::<&str, Vec<Value>>::new();
    for row in &rows {
        let found = row.life.bodies(own.world());
        let first = bodies.entry(row.class()).or_insert_with(|| found.clone());
        assert_eq!(&found, first, "{row}");
        let customer = row.is_customers().then(|| row.life.customer(0).to_owned());
        let persons = own.persons(&row.life);
        let [person] = &persons[..] else {
            panic!("{row}: {persons:#?}")
        };
        assert_eq!(person.user_id, customer, "{row}");
        let price = if row.is_reported() { 8.99 } else { 9.99 };
        assert_eq!(
            own.revenue(&row.life),
            [(json!(customer), json!(price))],
            "{row}"
        );
    }
    insta::assert_json_snapshot!("first_minutes", bodies);
    let check = own
        .world()
        .api
        .get("/v1/check/revenue?limit=500")
        .await
        .ok();
    let lines = check["lines"].as_array().expect("lines");
    assert_eq!(
        (lines.len(), &check["unexplained"]),
        (rows.len(), &json!(0)),
        "{check}"
    );
    own.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_killed_at_a_commit_announces_its_claims_once() {
    let points = [
        "record.before_commit=1*return",
        "record.after_commit=1*return",
    ];
    let steps = [LoggedIn(0, 0), Notified, Reported(0)].map(|step| (Duration::ZERO, step));
    let lives: Vec<Life> = (1..)
        .zip(points)
        .map(|(number, _)| Life::new(number, steps.to_vec()))
        .collect();
    let mut own = Minutes::start(&lives).await;
    for (life, point) in lives.iter().zip(points) {
        own.calendar.restart_with(point).await;
        own.live(std::slice::from_ref(life)).await;
        own.calendar.world.pass(life.receipt_id(), WINDOW).await;
        own.calendar.world.worker().wait_end().await;
        own.calendar.restart().await;
        own.settle_all(std::slice::from_ref(life)).await;
        let bodies = wait::until(SOON, point, async || {
            let bodies = life.bodies(own.world());
            if bodies.len() == 2 {
                Ok(bodies)
            } else {
                Err(format!("{} bodies", bodies.len()))
            }
        })
        .await;
        assert_eq!(bodies[1]["attributes"]["revision"], 1, "{point}");
        assert_eq!(
            bodies[1]["data"]["last_seen_external_id"], "CUSTOMER",
            "{point}"
        );
        assert_eq!(
            bodies[1]["data"]["devices_with_access"]
                .as_array()
                .map(Vec::len),
            Some(1),
            "{point}"
        );
    }
    own.finish().await;
}
