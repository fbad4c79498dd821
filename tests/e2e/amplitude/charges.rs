//! A year of payments: Amplitude's sum of revenue equals what the customer was charged, to the cent.
//!
//! An immediate change of plan also refunds the rest of the old plan. That refund is missing here, because Amazon shows
//! it only in its sales report.

use super::{Analysts, KEY, MINUTE, text};
use std::collections::BTreeMap;
use system_tests::calendar::Step;
use system_tests::sns::Rtn;
use system_tests::subscription::{Subscription, at};
use system_tests::wait;
use system_tests::world::SOON;

const CUSTOMER: &str = "amzn1.account.MONEY";
const GOLD: i64 = 999;
const PLATINUM: i64 = 1999;

/// The steps of the year, and Amazon's charges and refunds with their times, in cents.
#[derive(Default)]
struct Year {
    steps: Vec<Step>,
    charges: Vec<(&'static str, i64)>,
}

impl Year {
    fn step(
        &mut self,
        (time, cents): (&'static str, i64),
        shown: &[&Subscription],
        notifications: Vec<Rtn>,
    ) {
        let shown = shown.iter().copied().cloned().collect();
        self.steps.push(Step {
            at: at(time),
            shown,
            notifications,
        });
        if cents != 0 {
            self.charges.push((time, cents));
        }
    }

    fn renew(&mut self, subscription: &mut Subscription, paid: (&'static str, i64)) {
        let notifications = subscription.renew(at(paid.0));
        self.step(paid, &[subscription], notifications);
    }

    fn total(&self) -> i64 {
        self.charges.iter().map(|(_, cents)| cents).sum()
    }
}

/// Returns a trial and its conversion, renewals, a failed and recovered payment, an immediate and a deferred change of
/// plan, a refund, and another subscription of the same customer.
fn year() -> Year {
    let mut year = Year::default();
    let (mut first, notifications) =
        Subscription::begin("money-1", CUSTOMER, at("2027-02-01T10:00"), Some(14));
    year.step(("2027-02-01T10:00", 0), &[&first], notifications);
    for time in ["2027-02-15T10:00", "2027-03-15T10:00"] {
        year.renew(&mut first, (time, GOLD));
    }
    let notifications = first.fail_payment(at("2027-04-15T10:00"));
    year.step(("2027-04-15T10:00", 0), &[&first], notifications);
    for time in ["2027-04-18T08:00", "2027-05-15T10:00"] {
        year.renew(&mut first, (time, GOLD));
    }
    let (mut second, notifications) =
        first.change("money-2", "platinum.monthly", at("2027-05-31T10:00"));
    year.step(
        ("2027-05-31T10:00", PLATINUM),
        &[&first, &second],
        notifications,
    );
    year.renew(&mut second, ("2027-06-30T10:00", PLATINUM));
    let notifications = second.defer("gold.monthly", at("2027-07-10T12:00"));
    year.step(("2027-07-10T12:00", 0), &[&second], notifications);
    for time in ["2027-07-31T10:00", "2027-08-31T10:00"] {
        year.renew(&mut second, (time, GOLD));
    }
    let notifications = second.revoke(at("2027-09-05T15:00"));
    year.step(("2027-09-05T15:00", -GOLD), &[&second], notifications);
    let (mut third, notifications) =
        Subscription::begin("money-3", CUSTOMER, at("2027-10-02T10:00"), None);
    year.step(("2027-10-02T10:00", GOLD), &[&third], notifications);
    for time in ["2027-11-02T10:00", "2027-12-02T10:00"] {
        year.renew(&mut third, (time, GOLD));
    }
    let notifications = third.switch_off(at("2027-12-20T09:00"));
    year.step(("2027-12-20T09:00", 0), &[&third], notifications);
    let notifications = third.expire(at("2028-01-02T10:00"));
    year.step(("2028-01-02T10:00", 0), &[&third], notifications);
    year
}

/// Types of the year's events by receipt, as received by the webhook.
const ANNOUNCED: [(&str, &[&str]); 3] = [
    (
        "money-1",
        &[
            "user.journey.trial.started",
            "user.subscription.purchased",
            "user.journey.trial.converted",
            "user.subscription.renewed",
            "user.subscription.renewed",
            "user.subscription.in_grace_period",
            "user.subscription.renewal_in_grace_period",
            "user.subscription.renewed",
        ],
    ),
    (
        "money-2",
        &[
            "user.subscription.sku_change",
            "user.subscription.renewed",
            "user.subscription.pending_sku_change",
            "user.subscription.renewed",
            "user.subscription.sku_change",
            "user.subscription.renewed",
            "user.subscription.expired",
        ],
    ),
    (
        "money-3",
        &[
            "user.subscription.purchased",
            "user.subscription.renewed",
            "user.subscription.renewed",
            "user.subscription.cancelled",
            "user.subscription.expired",
        ],
    ),
];

#[tokio::test(flavor = "multi_thread")]
async fn a_year_of_money_is_in_amplitude_to_the_cent() {
    let mut own = Analysts::start("info", &super::events::CHOSEN).await;
    let mut year = year();
    for together in std::mem::take(&mut year.steps).chunk_by(|one, next| one.at == next.at) {
        own.live(together.to_vec()).await;
        // No event may be pending when time passes: a month is longer than the retries of an event.
        own.drain(MINUTE).await;
    }
    for (receipt, events) in ANNOUNCED {
        assert_eq!(
            own.world().receiver.event_types(receipt),
            events,
            "{receipt}"
        );
    }
    wait::until(SOON, "the charges of the year in Amplitude", async || {
        let counted = counted(&own);
        let total: i64 = counted.iter().map(|(_, cents)| cents).sum();
        let case = || {
            format!(
                "{total} of {} cents: {counted:?}, charged {:?}",
                year.total(),
                year.charges
            )
        };
        if total == year.total() {
            Ok(())
        } else {
            Err(case())
        }
    })
    .await;
    let mut charged: BTreeMap<i64, usize> = BTreeMap::new();
    let mut earned = charged.clone();
    year.charges
        .iter()
        .for_each(|(_, cents)| *charged.entry(*cents).or_default() += 1);
    counted(&own)
        .iter()
        .for_each(|(_, cents)| *earned.entry(*cents).or_default() += 1);
    assert_eq!(earned, charged, "each charge and each refund is one event");
    own.finish().await;
}

/// Returns the types of the events with revenue, and the amounts in cents.
fn counted(own: &Analysts) -> Vec<(String, i64)> {
    let events = own.amplitude.events(KEY);
    let revenue = |event: &serde_json::Value| {
        Some((
            text(&event["event_type"]),
            cents(event["revenue"].as_f64()?),
        ))
    };
    events
        .iter()
        .filter_map(|one| revenue(&one.event))
        .collect()
}

#[expect(clippy::cast_possible_truncation, reason = "amounts of a few dollars")]
fn cents(usd: f64) -> i64 {
    (usd * 100.0).round() as i64
}
