//! The cells of the matrix: how the purchase reached its state, which change the store then made, and which
//! notification it sent. If no store would send that notification in that state, the store changes nothing.

use domain::Timestamp;
use serde_json::{Value, json};
use std::fmt;
use system_tests::calendar::Step;
use system_tests::sns::Rtn;
use system_tests::subscription::Subscription;

/// The documented types of notifications about subscriptions.
pub const SUBSCRIPTION_TYPES: [&str; 12] = [
    "SUBSCRIPTION_PURCHASED",
    "SUBSCRIPTION_CONVERTED_FREE_TRIAL_TO_PAID",
    "SUBSCRIPTION_RENEWED",
    "SUBSCRIPTION_AUTO_RENEWAL_OFF",
    "SUBSCRIPTION_AUTO_RENEWAL_ON",
    "SUBSCRIPTION_SCHEDULED_TO_END",
    "SUBSCRIPTION_IN_GRACE_PERIOD",
    "SUBSCRIPTION_OUT_OF_GRACE_PERIOD",
    "SUBSCRIPTION_MODIFIED_IMMEDIATE",
    "SUBSCRIPTION_MODIFIED_DEFERRED",
    "SUBSCRIPTION_CANCELLED",
    "SUBSCRIPTION_EXPIRED",
];
/// The documented types of notifications about one-time purchases.
pub const ONE_TIME_TYPES: [&str; 4] = [
    "CONSUMABLE_PURCHASED",
    "CONSUMABLE_CANCELLED",
    "ENTITLEMENT_PURCHASED",
    "ENTITLEMENT_CANCELLED",
];

/// The states that a purchase can have when a notification arrives; `bought` and `revoked` are for one-time purchases.
/// In `did_not_convert`, auto-renewal was switched off, and in `resumed`, an active subscription, it was switched on
/// within the last two hours, when that can still outrank what the store shows.
const STATES: [&str; 14] = [
    "unknown",
    "trial",
    "trial_off",
    "trial_grace",
    "active",
    "resumed",
    "off",
    "scheduled",
    "grace",
    "expired",
    "did_not_convert",
    "replaced",
    "bought",
    "revoked",
];

/// The SKUs in the catalogue, each with its price in USD.
pub const PRICES: [(&str, &str); 6] = [
    ("gold.weekly", "9.99"),
    ("gold.biweekly", "9.99"),
    ("platinum.biweekly", "19.99"),
    ("silver.biweekly", "4.99"),
    ("coins", "1.99"),
    ("level", "2.99"),
];

/// The store's answer about the receipts of a cell from the notification on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Store {
    /// Shows the change that the notification reports.
    Agrees,
    /// Shows the receipt as before the change for 45 minutes.
    Behind,
    /// Does not answer for 26 hours.
    Absent,
}

impl Store {
    const ALL: [Self; 3] = [Self::Agrees, Self::Behind, Self::Absent];
}

impl fmt::Display for Store {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Agrees => "agrees",
            Self::Behind => "behind",
            Self::Absent => "absent",
        })
    }
}

/// A combination of type, state and store.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Cell {
    /// Index of the state in [`STATES`], for sorting.
    pub place: usize,
    /// `notificationType`
    pub kind: &'static str,
    /// The state of the purchase before the notification.
    pub state: &'static str,
    pub store: Store,
}

/// Returns all cells, in the order of the file.
pub fn cells() -> Vec<Cell> {
    let types = SUBSCRIPTION_TYPES.into_iter().chain(ONE_TIME_TYPES);
    let states = || STATES.into_iter().enumerate();
    let pairs = types.flat_map(|kind| states().map(move |(place, state)| (place, kind, state)));
    let all = pairs.flat_map(|(place, kind, state)| {
        Store::ALL.map(|store| Cell {
            place,
            kind,
            state,
            store,
        })
    });
    all.collect()
}

pub struct Story {
    /// Steps that lead to the state.
    pub before: Vec<Step>,
    /// The subscription as the store has shown it so far, if settle does not know it.
    pub unseen: Vec<Subscription>,
    /// The subscriptions as the store shows them once it agrees.
    pub after: Vec<Subscription>,
    pub rtn: Rtn,
    /// Ids of the cell's receipts.
    pub receipts: Vec<String>,
}

impl Cell {
    /// Returns the id of the cell's first receipt and of its user.
    pub fn name(&self) -> String {
        format!("{}-{}-{}", self.kind.to_lowercase(), self.state, self.store)
    }

    /// Returns the cell's steps, with the notification at `now`.
    pub fn story(&self, now: Timestamp) -> Story {
        let name = self.name();
        let scene = Scene {
            name: &name,
            is_due: DUE.contains(&self.kind),
            is_entitlement: self.is_entitlement(),
            now,
        };
        let notifications = Rtn {
            app_user_id: name.clone(),
            at: now,
            ..Rtn::new(self.kind, &name)
        };
        let (before, known) = match self.state {
            "unknown" => (Vec::new(), None),
            state => scene.reach(state),
        };
        let unseen = if known.is_none() {
            self.prior().map(|state| scene.reach(state).1)
        } else {
            None
        }
        .flatten();
        let mut story = Story {
            before,
            unseen: unseen.iter().cloned().collect(),
            after: Vec::new(),
            receipts: vec![name.clone()],
            rtn: notifications,
        };
        let state = if known.is_some() {
            self.state
        } else {
            self.prior().unwrap_or("unknown")
        };
        let is_of_product =
            ONE_TIME.contains(&state) == ONE_TIME_TYPES.contains(&self.kind) || state == "unknown";
        match known.or(unseen) {
            Some(subscription) if is_of_product => self.act(&mut story, subscription, state, now),
            Some(subscription) => story.after.push(subscription),
            None => story.after.push(scene.begin(self.kind)),
        }
        story
    }

    fn is_entitlement(&self) -> bool {
        self.kind.starts_with("ENTITLEMENT")
    }

    /// Returns the prior state of an unknown purchase whose first notification has this type; `None` if the purchase
    /// begins with it.
    fn prior(&self) -> Option<&'static str> {
        match self.kind {
            "SUBSCRIPTION_PURCHASED" | "CONSUMABLE_PURCHASED" | "ENTITLEMENT_PURCHASED" => None,
            "CONSUMABLE_CANCELLED" | "ENTITLEMENT_CANCELLED" => Some("bought"),
            "SUBSCRIPTION_CONVERTED_FREE_TRIAL_TO_PAID" => Some("trial"),
            "SUBSCRIPTION_AUTO_RENEWAL_ON" | "SUBSCRIPTION_EXPIRED" => Some("off"),
            "SUBSCRIPTION_OUT_OF_GRACE_PERIOD" => Some("grace"),
            _ => Some("active"),
        }
    }

    /// Changes the subscription at the store so that the notification becomes true.
    fn act(&self, story: &mut Story, mut shown: Subscription, state: &str, now: Timestamp) {
        let is_finished = FINISHED.contains(&state);
        let is_over = is_finished || state == "replaced";
        let in_grace = ["grace", "trial_grace"].contains(&state);
        match self.kind {
            "SUBSCRIPTION_PURCHASED" if is_finished => {
                shown.restart(now);
                shown.shown["purchaseDate"] = json!(now.micros() / 1000);
            }
            "SUBSCRIPTION_CONVERTED_FREE_TRIAL_TO_PAID"
            | "SUBSCRIPTION_RENEWED"
            | "SUBSCRIPTION_OUT_OF_GRACE_PERIOD"
                if state != "replaced" =>
            {
                pay(&mut shown, state, now);
            }
            "SUBSCRIPTION_AUTO_RENEWAL_ON" if is_finished => shown.restart(now),
            "SUBSCRIPTION_AUTO_RENEWAL_ON" if !shown.renews() && !is_over => {
                drop(shown.switch_on(now))
            }
            "SUBSCRIPTION_AUTO_RENEWAL_OFF" | "SUBSCRIPTION_SCHEDULED_TO_END"
                if shown.renews() && !is_over =>
            {
                let grace_end = shown.shown["gracePeriodEndDate"].clone();
                drop(shown.switch_off(now));
                if in_grace {
                    shown.shown["cancelDate"] = grace_end;
                }
            }
            "SUBSCRIPTION_IN_GRACE_PERIOD" if !in_grace && state != "replaced" => {
                if !shown.renews() {
                    drop(shown.switch_on(now));
                }
                drop(shown.fail_payment(now));
                shown.shown["freeTrialEndDate"] = Value::Null;
            }
            "SUBSCRIPTION_MODIFIED_IMMEDIATE" => return self.change(story, shown, is_over, now),
            "SUBSCRIPTION_MODIFIED_DEFERRED" if !is_over => {
                let sku = if state == "scheduled" {
                    "silver.biweekly"
                } else {
                    "platinum.biweekly"
                };
                drop(shown.defer(sku, now));
                if in_grace {
                    shown.shown["deferredDate"] = shown.shown["gracePeriodEndDate"].clone();
                }
            }
            "SUBSCRIPTION_CANCELLED" if !is_over => drop(shown.revoke(now)),
            "SUBSCRIPTION_EXPIRED" if !is_over => drop(shown.expire(now)),
            "CONSUMABLE_CANCELLED" | "ENTITLEMENT_CANCELLED" if state == "bought" => {
                take_back(&mut shown, now)
            }
            _ => {}
        }
        story.after.push(shown);
    }

    /// Makes an immediate change of plan to a new receipt. An old subscription that is over stays unchanged.
    fn change(&self, story: &mut Story, mut old: Subscription, is_over: bool, now: Timestamp) {
        let new_id = format!("{}-new", self.name());
        let mut shown = old.clone();
        let (new, _) = old.change(&new_id, "platinum.biweekly", now);
        if is_over {
            std::mem::swap(&mut shown, &mut old);
        }
        story.rtn.cancelled_receipt_id = Some(old.receipt_id.clone());
        story.rtn.receipt_id.clone_from(&new_id);
        story.receipts.push(new_id);
        story
            .after
            .extend([old, new.in_weeks(2, "platinum.biweekly")]);
    }
}

/// The states of a subscription or trial that has ended.
const FINISHED: [&str; 2] = ["expired", "did_not_convert"];

/// The states of a one-time purchase.
const ONE_TIME: [&str; 2] = ["bought", "revoked"];

/// The types that the store sends at the end of a term.
const DUE: [&str; 5] = [
    "SUBSCRIPTION_CONVERTED_FREE_TRIAL_TO_PAID",
    "SUBSCRIPTION_RENEWED",
    "SUBSCRIPTION_IN_GRACE_PERIOD",
    "SUBSCRIPTION_OUT_OF_GRACE_PERIOD",
    "SUBSCRIPTION_EXPIRED",
];

fn pay(shown: &mut Subscription, state: &str, now: Timestamp) {
    if FINISHED.contains(&state) {
        return shown.restart(now);
    }
    if !shown.renews() {
        drop(shown.switch_on(now));
    }
    drop(shown.renew(now));
}

fn take_back(shown: &mut Subscription, now: Timestamp) {
    shown.shown["cancelDate"] = json!(now.micros() / 1000);
    shown.shown["cancelReason"] = json!(2);
}

struct Scene<'a> {
    name: &'a str,
    /// Whether the term ends now; otherwise it continues for more than a week.
    is_due: bool,
    is_entitlement: bool,
    now: Timestamp,
}

impl Scene<'_> {
    fn day(&self, days: i64) -> Timestamp {
        self.now.plus_millis(days * 86_400_000)
    }

    /// Returns a subscription or one-time purchase that is bought now.
    fn begin(&self, kind: &str) -> Subscription {
        if ONE_TIME_TYPES.contains(&kind) {
            return self.one_time(self.now);
        }
        Subscription::begin(self.name, self.name, self.now, None)
            .0
            .in_weeks(2, "gold.biweekly")
    }

    fn one_time(&self, at: Timestamp) -> Subscription {
        let (mut bought, _) = Subscription::begin(self.name, self.name, at, None);
        let (sku, product) = if self.is_entitlement {
            ("level", "ENTITLED")
        } else {
            ("coins", "CONSUMABLE")
        };
        bought.shown = json!({
            "productId": sku, "productType": product, "purchaseDate": at.micros() / 1000, "cancelDate": null,
            "cancelReason": null, "countryCode": "US", "betaProduct": false, "testTransaction": false, "quantity": null,
        });
        bought
    }

    fn rtn(&self, kind: &str, at: Timestamp) -> Rtn {
        Rtn {
            app_user_id: self.name.to_owned(),
            at,
            ..Rtn::new(kind, self.name)
        }
    }

    /// Returns the steps to a state, and the resulting subscription as the store shows it. No two notifications are a
    /// week apart, so that no weekly check coincides with one.
    fn reach(&self, state: &str) -> (Vec<Step>, Option<Subscription>) {
        match state {
            "bought" | "revoked" => self.reach_one_time(state == "revoked"),
            "trial_grace" | "grace" | "expired" => self.reach_end(state),
            "did_not_convert" => self.reach_end_of_trial(),
            _ => self.reach_running(state),
        }
    }

    fn reach_one_time(&self, is_revoked: bool) -> (Vec<Step>, Option<Subscription>) {
        let product = if self.is_entitlement {
            "ENTITLEMENT"
        } else {
            "CONSUMABLE"
        };
        let mut shown = self.one_time(self.day(-3));
        let notifications = vec![self.rtn(&format!("{product}_PURCHASED"), self.day(-3))];
        let mut steps = vec![Step {
            at: self.day(-3),
            shown: vec![shown.clone()],
            notifications,
        }];
        if is_revoked {
            take_back(&mut shown, self.day(-2));
            let notifications = vec![self.rtn(&format!("{product}_CANCELLED"), self.day(-2))];
            steps.push(Step {
                at: self.day(-2),
                shown: vec![shown.clone()],
                notifications,
            });
        }
        (steps, Some(shown))
    }

    /// Returns the steps to a state whose first term or trial ended two days ago.
    fn reach_end(&self, state: &str) -> (Vec<Step>, Option<Subscription>) {
        let trial = (state == "trial_grace").then_some(7);
        let (begun, middle, end) = (self.day(-9), self.day(-5), self.day(-2));
        let (shown, notifications) = Subscription::begin(self.name, self.name, begun, trial);
        let mut shown = shown.in_weeks(1, "gold.weekly");
        let mut steps = vec![Step {
            at: begun,
            shown: vec![shown.clone()],
            notifications,
        }];
        let notifications = if state == "expired" {
            shown.switch_off(middle)
        } else {
            vec![self.touch(middle)]
        };
        steps.push(Step {
            at: middle,
            shown: vec![shown.clone()],
            notifications,
        });
        let notifications = if state == "expired" {
            shown.expire(end)
        } else {
            shown.fail_payment(end)
        };
        shown.shown["freeTrialEndDate"] = Value::Null;
        steps.push(Step {
            at: end,
            shown: vec![shown.clone()],
            notifications,
        });
        (steps, Some(shown))
    }

    /// Returns the steps to a trial whose auto-renewal was switched off an hour ago and which ended half an hour ago.
    fn reach_end_of_trial(&self) -> (Vec<Step>, Option<Subscription>) {
        let minutes = |minutes: i64| self.now.plus_millis(minutes * -60_000);
        let (begun, middle, off, end) = (
            minutes(30).plus_millis(-7 * 86_400_000),
            self.day(-3),
            minutes(60),
            minutes(30),
        );
        let (shown, bought) = Subscription::begin(self.name, self.name, begun, Some(7));
        let mut shown = shown.in_weeks(1, "gold.weekly");
        let mut steps = vec![Step {
            at: begun,
            shown: vec![shown.clone()],
            notifications: bought,
        }];
        steps.push(Step {
            at: middle,
            shown: vec![shown.clone()],
            notifications: vec![self.touch(middle)],
        });
        let notifications = shown.switch_off(off);
        steps.push(Step {
            at: off,
            shown: vec![shown.clone()],
            notifications,
        });
        let notifications = shown.expire(end);
        steps.push(Step {
            at: end,
            shown: vec![shown.clone()],
            notifications,
        });
        (steps, Some(shown))
    }

    /// Returns the steps to a state whose first term or trial is still running or ends now.
    fn reach_running(&self, state: &str) -> (Vec<Step>, Option<Subscription>) {
        let (days, weeks, sku) = if self.is_due {
            (7, 1, "gold.weekly")
        } else {
            (14, 2, "gold.biweekly")
        };
        let begun = self.day(if self.is_due { -7 } else { -6 });
        let trial = ["trial", "trial_off"].contains(&state).then_some(days);
        let (shown, notifications) = Subscription::begin(self.name, self.name, begun, trial);
        let mut shown = shown.in_weeks(weeks, sku);
        let mut steps = vec![Step {
            at: begun,
            shown: vec![shown.clone()],
            notifications,
        }];
        let middle = self.day(-3);
        let mut others = Vec::new();
        let notifications = match state {
            "off" | "trial_off" | "resumed" => shown.switch_off(middle),
            "scheduled" => shown.defer("platinum.biweekly", middle),
            "replaced" => {
                let (new, notifications) =
                    shown.change(&format!("{}-then", self.name), "silver.biweekly", middle);
                others.push(new.in_weeks(2, "silver.biweekly"));
                notifications
            }
            _ if self.is_due => vec![self.touch(middle)],
            _ => Vec::new(),
        };
        if !notifications.is_empty() {
            others.push(shown.clone());
            steps.push(Step {
                at: middle,
                shown: others,
                notifications,
            });
        }
        if state == "resumed" {
            let on = self.now.plus_millis(-50 * 60_000);
            let notifications = shown.switch_on(on);
            steps.push(Step {
                at: on,
                shown: vec![shown.clone()],
                notifications,
            });
        }
        (steps, Some(shown))
    }

    /// Returns a notification of an unknown type: it changes nothing, and moves the weekly check to a week later.
    fn touch(&self, at: Timestamp) -> Rtn {
        self.rtn("SUBSCRIPTION_LOOKED_AT", at)
    }
}
