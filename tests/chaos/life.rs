//! Random whole lives of subscriptions in real time: each customer buys, cancels, resumes, changes the plan, ends,
//! renews, fails to pay and comes back. Each step returns what the store shows and sends, and is recorded with the
//! events that it may cause.
//!
//! A round is shorter than a month. If purchases were verified, the store's dates would contradict a renewal, a failed
//! payment or an end, so these happen only on platforms where notifications alone count.

use domain::Timestamp;
use std::collections::BTreeMap;
use system_tests::random::Random;
use system_tests::sns::Rtn;
use system_tests::subscription::Subscription;

const BOUGHT: &[&str] = &["user.subscription.purchased"];
const TRIED: &[&str] = &["user.journey.trial.started", "user.subscription.purchased"];
const RENEWED: &str = "user.subscription.renewed";
const RECOVERED: &str = "user.subscription.renewal_in_grace_period";
const CONVERTED: &[&str] = &["user.journey.trial.converted", RENEWED];
const EXPIRED: &[&str] = &["user.subscription.expired"];
const NOT_CONVERTED: &[&str] = &[
    "user.journey.trial.did_not_convert",
    "user.subscription.expired",
];

/// A customer's successive subscriptions.
pub struct Life {
    customer: String,
    /// The prefix of the receipt ids.
    name: String,
    random: Random,
    /// Whether settle queries the store about the purchases.
    is_verified: bool,
    receipts: usize,
    current: Option<Subscription>,
    is_in_grace: bool,
    /// The store's state of each receipt, with the events that happened.
    pub lived: BTreeMap<String, Lived>,
}

/// The state and history of a receipt.
#[derive(Debug, Clone)]
pub struct Lived {
    pub shown: Subscription,
    pub events: Vec<&'static str>,
}

/// Changes that happen at one time.
pub struct Step {
    pub shown: Vec<Subscription>,
    pub notifications: Vec<Rtn>,
}

impl Life {
    pub const fn new(customer: String, name: String, random: Random, is_verified: bool) -> Self {
        Self {
            customer,
            name,
            random,
            is_verified,
            receipts: 0,
            current: None,
            is_in_grace: false,
            lived: BTreeMap::new(),
        }
    }

    /// Returns the pause before the next step, in milliseconds.
    pub fn pause_ms(&mut self) -> u64 {
        // Some steps share a window; most do not.
        if self.random.percent(25) {
            self.random.below(400)
        } else {
            1500 + self.random.below(5000)
        }
    }

    /// Takes the next step: a first purchase, if there is no current subscription.
    pub fn go_on(&mut self, now: Timestamp) -> Step {
        let Some(mut current) = self.current.take() else {
            return self.begin(now);
        };
        if std::mem::take(&mut self.is_in_grace) {
            let is_lost = self.random.percent(30);
            return if is_lost {
                self.expire(current, now)
            } else {
                self.renew(current, now, &[RECOVERED])
            };
        }
        match (self.random.below(100), current.renews()) {
            (0..40, true) if !self.is_verified => {
                let events = if current.is_in_trial() {
                    CONVERTED
                } else {
                    &[RENEWED]
                };
                self.renew(current, now, events)
            }
            (40..55, true) if !self.is_verified && !current.is_in_trial() => {
                self.is_in_grace = true;
                let notifications = current.fail_payment(now);
                self.happened(
                    current,
                    notifications,
                    &["user.subscription.in_grace_period"],
                )
            }
            (80.., true) if !current.is_in_trial() => self.change(current, now),
            (70.., false) if !self.is_verified => self.expire(current, now),
            (_, true) => self.switch_off(current, now),
            (_, false) => self.switch_on(current, now),
        }
    }

    /// Takes the last step, after which the store sends nothing more.
    pub fn conclude(&mut self, now: Timestamp) -> Step {
        match self.current.take() {
            None => self.begin(now),
            Some(current) if std::mem::take(&mut self.is_in_grace) => {
                self.renew(current, now, &[RECOVERED])
            }
            Some(current) if current.renews() => self.switch_off(current, now),
            Some(current) => self.switch_on(current, now),
        }
    }

    fn receipt(&mut self) -> String {
        self.receipts += 1;
        format!("{}-{}", self.name, self.receipts)
    }

    fn begin(&mut self, now: Timestamp) -> Step {
        let receipt_id = self.receipt();
        let trial = self.random.percent(30).then_some(7);
        let (new, notifications) = Subscription::begin(&receipt_id, &self.customer, now, trial);
        self.happened(
            new,
            notifications,
            if trial.is_some() { TRIED } else { BOUGHT },
        )
    }

    fn renew(
        &mut self,
        mut current: Subscription,
        now: Timestamp,
        events: &[&'static str],
    ) -> Step {
        let notifications = current.renew(now);
        self.happened(current, notifications, events)
    }

    fn switch_off(&mut self, mut current: Subscription, now: Timestamp) -> Step {
        let notifications = current.switch_off(now);
        self.happened(current, notifications, &["user.subscription.cancelled"])
    }

    fn switch_on(&mut self, mut current: Subscription, now: Timestamp) -> Step {
        let notifications = current.switch_on(now);
        self.happened(current, notifications, &["user.subscription.resumed"])
    }

    fn expire(&mut self, mut current: Subscription, now: Timestamp) -> Step {
        let events = if current.is_in_trial() {
            NOT_CONVERTED
        } else {
            EXPIRED
        };
        let notifications = current.expire(now);
        let step = self.happened(current, notifications, events);
        self.current = None;
        step
    }

    fn change(&mut self, mut current: Subscription, now: Timestamp) -> Step {
        let receipt_id = self.receipt();
        let (new, notifications) = current.change(&receipt_id, "platinum.monthly", now);
        let mut step = self.happened(current.clone(), Vec::new(), &[]);
        step.shown.extend(
            self.happened(new, Vec::new(), &["user.subscription.sku_change"])
                .shown,
        );
        Step {
            notifications,
            ..step
        }
    }

    fn happened(
        &mut self,
        shown: Subscription,
        notifications: Vec<Rtn>,
        events: &[&'static str],
    ) -> Step {
        let new = Lived {
            shown: shown.clone(),
            events: Vec::new(),
        };
        let lived = self.lived.entry(shown.receipt_id.clone()).or_insert(new);
        lived.shown = shown.clone();
        lived.events.extend(events);
        self.current = Some(shown.clone());
        Step {
            shown: vec![shown],
            notifications,
        }
    }
}

impl Lived {
    /// Returns whether the receipt is active according to the store.
    pub fn is_active(&self, now: Timestamp) -> bool {
        self.shown.shown["cancelDate"]
            .as_i64()
            .is_none_or(|date| date > now.micros() / 1000)
    }

    /// Returns a beginning or an end that should have been announced and was not, given that no notification is lost.
    /// `is_begun_first` says whether the beginning was accepted before anything else about the receipt was sent;
    /// otherwise settle may first see the purchase later, and then does not announce its beginning. Trials are
    /// announced only where purchases are verified.
    pub fn missing(&self, announced: &[String], is_begun_first: bool) -> Option<&'static str> {
        let due = [(BOUGHT[0], is_begun_first), (EXPIRED[0], true)];
        let due = due
            .into_iter()
            .filter(|(event, is_due)| *is_due && self.events.contains(event));
        due.map(|(event, _)| event)
            .find(|event| !announced.iter().any(|one| one == *event))
    }

    /// Returns an event that was announced more often than it happened. A recovery also counts as a plain renewal: the
    /// store sends RENEWED for both, and may never have shown the grace period.
    pub fn too_often<'a>(&self, announced: &'a [String]) -> Option<&'a str> {
        announced.iter().map(String::as_str).find(|event| {
            let is_alike = |one: &str| one == *event || (*event == RENEWED && one == RECOVERED);
            let happened = self.events.iter().filter(|one| is_alike(one)).count();
            announced.iter().filter(|one| is_alike(one)).count() > happened
        })
    }
}

#[cfg(test)]
mod tests {
    use super::{BOUGHT, EXPIRED, Lived};
    use system_tests::subscription::{Subscription, at};

    #[test]
    fn where_nothing_is_lost_a_beginning_and_an_end_must_come() {
        let (shown, _) = Subscription::begin("receipt", "customer", at("2027-01-31T10:00"), None);
        let lived = Lived {
            shown,
            events: [BOUGHT, EXPIRED].concat(),
        };
        let [bought, expired] = [BOUGHT[0], EXPIRED[0]];
        let missing = |announced: &[&str], is_begun_first: bool| {
            let announced: Vec<String> = announced.iter().map(|one| (*one).to_owned()).collect();
            lived.missing(&announced, is_begun_first)
        };
        assert_eq!(missing(&[bought, expired], true), None);
        assert_eq!(missing(&[expired], true), Some(bought));
        assert_eq!(missing(&[expired], false), None);
        assert_eq!(missing(&[bought], true), Some(expired));
    }
}
