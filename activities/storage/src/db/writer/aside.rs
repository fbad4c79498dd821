//! Jobs that were set aside: another transaction has locked their user, or their group has enough jobs of that user or,
//! for jobs for people such as logins, of that app. The group continues without them, and a later group runs them. So
//! no job waits for the lock of another user's job, and each waits for only a limited number of jobs of another app.
//!
//! Jobs of a user stay in the order of their arrival: later ones wait until the pause of the first one is over.

use super::job::{Job, MAX_QUEUED_JOBS};
use super::order::Order;
use crate::error::Error;
use domain::{AppId, CollapseKey, UserId};
use std::collections::{HashMap, HashSet};
use std::time::Duration;
use tokio::time::Instant;

/// Maximum number of jobs of one user in a group, so that the group's other jobs wait for no more.
pub const MAX_OF_USER: usize = 8;
/// Maximum number of jobs for the people of one app in a group. A login takes about nine round trips to the database,
/// and a job of another app waits for at most two such groups.
pub const MAX_OF_APP: usize = 16;
/// Maximum number of jobs in a group that were set aside before.
const MAX_TAKEN: usize = 256;
/// Pause before a job is run again. Meanwhile other threads and processes, which have the same pause, can lock the
/// user.
const PAUSE: Duration = Duration::from_millis(20);
/// Maximum number of doublings of a job's pause. A job whose own statement was refused a lock undid the transaction of
/// its group, so each such refusal doubles its pause.
const MAX_DOUBLINGS: u32 = 5;
/// Maximum time for which a job is set aside. Afterwards it gets an error, and its caller tries again.
const MAX_ASIDE: Duration = Duration::from_secs(5);

/// Other transactions lock the customer all the time, or too many jobs wait.
#[derive(Debug, thiserror::Error)]
#[error("too many changes of one customer or app wait for each other")]
struct Busy;

#[derive(Default)]
pub struct Aside(Vec<Box<dyn Job>>);

impl Aside {
    pub const fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Returns the earliest time at which a job that waits for no other job is run again.
    pub fn due(&self) -> Option<Instant> {
        let mut turns = Turns::default();
        let orders = self.0.iter().filter_map(|job| job.order());
        let first = orders.filter_map(|order| {
            let due = order.due.filter(|_| !turns.is_behind(order));
            turns.wait(order);
            due
        });
        first.min()
    }

    /// Takes the jobs that are due, in the order of their arrival. A job is not taken while an earlier one that it must
    /// follow waits.
    pub fn take_due(&mut self, now: Instant) -> Vec<Box<dyn Job>> {
        let (mut taken, mut turns) = (Vec::new(), Turns::default());
        let mut takes = |order: &Order| {
            let is_due = order.due.is_none_or(|due| due <= now);
            let is_taken = is_due && turns.take(order);
            if !is_taken {
                turns.wait(order);
            }
            is_taken
        };
        for job in std::mem::take(&mut self.0) {
            let is_taken = taken.len() < MAX_TAKEN && job.order().is_some_and(&mut takes);
            if is_taken {
                taken.push(job)
            } else {
                self.0.push(job)
            }
        }
        taken
    }

    /// Sets aside the jobs of a group that follow too many jobs of their user or app in the group, or that must follow
    /// a waiting job. The jobs are in the order of their arrival, with those that were taken from here first.
    pub fn limit(&self, group: &mut [Box<dyn Job>]) {
        let new =
            group.partition_point(|job| job.order().is_some_and(|order| order.since.is_some()));
        let (taken, new) = group.split_at_mut(new);
        let mut turns = Turns::default();
        turns.limit(taken);
        self.0
            .iter()
            .filter_map(|job| job.order())
            .for_each(|order| turns.wait(order));
        turns.limit(new);
    }

    /// Keeps the unanswered jobs of a group. A job whose caller no longer waits is dropped.
    pub fn put(&mut self, group: Vec<Box<dyn Job>>, now: Instant) {
        let mut waiting: Vec<Box<dyn Job>> = Vec::new();
        for mut job in group.into_iter().filter(|job| job.is_awaited()) {
            let Some(order) = job.order_mut() else {
                continue;
            };
            let since = *order.since.get_or_insert(now);
            let doublings = order.refusals.min(MAX_DOUBLINGS);
            order.due = Some(now + PAUSE * 2_u32.saturating_pow(doublings));
            order.is_aside = false;
            if now.saturating_duration_since(since) > MAX_ASIDE
                || waiting.len() + self.0.len() >= MAX_QUEUED_JOBS
            {
                job.answer(Some(Error::unavailable(Busy)));
            } else {
                waiting.push(job);
            }
        }
        // Jobs that were run before stay ahead of jobs that were first set aside at the same time.
        waiting.append(&mut self.0);
        waiting.sort_by_key(|job| job.order().and_then(|order| order.since));
        self.0 = waiting;
    }
}

/// Decides which jobs run in a group: jobs of a user, and of a purchase whose user changes, stay in their order.
#[derive(Default)]
struct Turns {
    of_user: HashMap<UserId, usize>,
    of_app: HashMap<AppId, usize>,
    waiting_users: HashSet<UserId>,
    waiting_keys: HashSet<CollapseKey>,
}

impl Turns {
    /// Returns whether a job must follow a waiting one.
    fn is_behind(&self, order: &Order) -> bool {
        order
            .key()
            .is_some_and(|key| self.waiting_keys.contains(&key))
            || order
                .user()
                .is_some_and(|user| self.waiting_users.contains(&user))
    }

    /// Records that a job waits.
    fn wait(&mut self, order: &Order) {
        self.waiting_users.extend(order.user());
        self.waiting_keys.extend(order.key());
    }

    /// Counts a job for its user and its app. Returns false if it must follow a waiting job, or if the user or the app
    /// has too many jobs.
    fn take(&mut self, order: &Order) -> bool {
        let counts = |count: &mut usize, max: usize| {
            *count += 1;
            *count <= max
        };
        !self.is_behind(order)
            && order
                .user()
                .is_none_or(|user| counts(self.of_user.entry(user).or_default(), MAX_OF_USER))
            && order
                .app()
                .is_none_or(|app| counts(self.of_app.entry(app).or_default(), MAX_OF_APP))
    }

    /// Sets aside the jobs that may not run in this group.
    fn limit(&mut self, jobs: &mut [Box<dyn Job>]) {
        for order in jobs.iter_mut().filter_map(|job| job.order_mut()) {
            order.is_aside = !self.take(order);
            if order.is_aside {
                self.wait(order);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::writer::group::{is_aside, refuse};
    use crate::writer::job::Work;
    use crate::writer::order::{OrderedBy, Owners, Settled};
    use crate::writer::purpose::{Faults, JobKind};
    use domain::PlatformId;
    use std::collections::BTreeSet;
    use tokio::sync::oneshot;
    use uuid::Uuid;

    const FAULTS: Faults = Faults {
        before_commit: "",
        after_commit: "",
        early_answer: None,
    };
    const OWNERS: Owners = Owners {
        find: |_, _| Ok(HashMap::new()),
        lock: |_, _| Ok(BTreeSet::new()),
    };

    type Answer = oneshot::Receiver<Result<(), Error>>;

    /// Returns a user's job with this number.
    fn job(user: u128, number: i64) -> (Box<dyn Job>, Answer) {
        let (reply, answer) = oneshot::channel();
        let key = CollapseKey::of(PlatformId::new(Uuid::nil()), &number.to_string());
        let mut order = Order::of(
            Settled {
                key,
                newest: Some(number),
            },
            OWNERS,
        );
        order.owner = Some((AppId::new(Uuid::nil()), UserId::new(Uuid::from_u128(user))));
        let work = |_: &mut crate::writer::Write<'_>| Ok(());
        let (kind, order) = (JobKind::Record(FAULTS), Some(order));
        (
            Box::new(Work {
                kind,
                order,
                work,
                result: None,
                reply: Some(reply),
                call: None,
            }),
            answer,
        )
    }

    /// Returns a job for the people of an app, which locks this user first.
    fn login(app: u128, user: u128) -> (Box<dyn Job>, Answer) {
        let (mut login, answer) = job(0, 0);
        let kind = JobKind::People(
            AppId::new(Uuid::from_u128(app)),
            Some(UserId::new(Uuid::from_u128(user))),
        );
        *login.order_mut().unwrap() = Order::of_kind(kind).unwrap();
        (login, answer)
    }

    fn number(order: &Order) -> Option<i64> {
        match order.subject {
            OrderedBy::Settling(settled, _) => settled.newest,
            OrderedBy::People(..) => None,
        }
    }

    fn numbers(jobs: &[Box<dyn Job>], is_wanted: fn(&Order) -> bool) -> Vec<i64> {
        jobs.iter()
            .filter_map(|job| job.order())
            .filter(|order| is_wanted(order))
            .filter_map(number)
            .collect()
    }

    /// Returns the numbers of the users whose jobs for people are in a group.
    fn users(jobs: &[Box<dyn Job>], is_wanted: fn(&Order) -> bool) -> Vec<u128> {
        let orders = jobs
            .iter()
            .filter_map(|job| job.order())
            .filter(|order| is_wanted(order));
        orders
            .filter_map(|order| order.user())
            .map(|user| user.uuid().as_u128())
            .collect()
    }

    #[test]
    fn a_user_has_few_jobs_in_a_group_and_the_others_come_in_turn() {
        let (mut group, _answers): (Vec<_>, Vec<_>) = (0..300)
            .map(|number| job(1, number))
            .chain([job(2, 300)])
            .unzip();
        let (mut aside, now) = (Aside::default(), Instant::now());
        aside.limit(&mut group);
        assert_eq!(
            numbers(&group, |order| !order.is_aside),
            [0, 1, 2, 3, 4, 5, 6, 7, 300]
        );
        let rest = group
            .into_iter()
            .filter(|job| job.order().is_some_and(|order| order.is_aside))
            .collect();
        aside.put(rest, now);
        assert_eq!(aside.due(), Some(now + PAUSE));
        assert!(
            aside.take_due(now).is_empty(),
            "another process has its turn"
        );
        // A later job does not overtake earlier jobs of its user.
        let (late, _late) = job(1, 301);
        let mut late = vec![late];
        aside.limit(&mut late);
        assert_eq!(numbers(&late, |order| order.is_aside), [301]);
        aside.put(late, now + PAUSE);
        let next = aside.take_due(now + PAUSE);
        assert_eq!(numbers(&next, |_| true), [8, 9, 10, 11, 12, 13, 14, 15]);
        // Their user is locked, so they stay first; the other jobs, whose own pause is over, wait for that of the first
        // ones.
        aside.put(next, now + PAUSE);
        assert!(
            aside.take_due(now + PAUSE).is_empty(),
            "a user is tried once in a pause"
        );
        assert_eq!(
            aside.due(),
            Some(now + PAUSE * 2),
            "the thread sleeps until then"
        );
        assert_eq!(
            numbers(&aside.take_due(now + PAUSE * 2), |_| true),
            [8, 9, 10, 11, 12, 13, 14, 15]
        );
        assert_eq!(
            numbers(&aside.take_due(now + PAUSE * 2), |_| true),
            [16, 17, 18, 19, 20, 21, 22, 23],
            "in turn"
        );
    }

    #[test]
    fn a_user_who_waits_keeps_no_other_one_waiting() {
        let (mut aside, now) = (Aside::default(), Instant::now());
        let ((mut locked, _one), (later, _two), (other, _three)) =
            (job(1, 0), job(1, 1), job(2, 2));
        locked.order_mut().unwrap().refusals = 3;
        aside.put(vec![locked, later, other], now);
        assert_eq!(aside.due(), Some(now + PAUSE), "the other user's");
        assert_eq!(numbers(&aside.take_due(now + PAUSE), |_| true), [2]);
        assert_eq!(aside.due(), Some(now + PAUSE * 8));
        assert_eq!(numbers(&aside.take_due(now + PAUSE * 8), |_| true), [0, 1]);
    }

    /// A login may change a purchase's owner while a settling of the purchase waits; and while the database is
    /// unreachable, a job's user is unknown.
    #[test]
    fn a_job_of_a_purchase_that_waits_does_not_overtake() {
        let (mut aside, now) = (Aside::default(), Instant::now());
        let ((settling, _one), (moved, _two), (mut unknown, _three), (other, _four)) =
            (job(1, 0), job(2, 0), job(1, 0), job(2, 1));
        aside.put(vec![settling], now);
        unknown.order_mut().unwrap().owner = None;
        let mut group = vec![moved, unknown, other];
        aside.limit(&mut group);
        let are_aside: Vec<bool> = group
            .iter()
            .filter_map(|job| job.order())
            .map(|order| order.is_aside)
            .collect();
        assert_eq!(
            are_aside,
            [true, true, true],
            "and none of that user overtakes these"
        );
        aside.put(group, now + PAUSE);
        assert_eq!(numbers(&aside.take_due(now + PAUSE), |_| true), [0]);
        assert_eq!(
            numbers(&aside.take_due(now + PAUSE * 2), |_| true),
            [0, 0, 1]
        );
    }

    #[test]
    fn an_app_has_a_share_of_a_group() {
        let (mut aside, now) = (Aside::default(), Instant::now());
        let (mut group, _answers): (Vec<_>, Vec<_>) = (0..100)
            .map(|user| login(1, user))
            .chain([login(2, 200), login(3, 300)])
            .unzip();
        aside.limit(&mut group);
        let in_group: Vec<u128> = (0..16).chain([200, 300]).collect();
        assert_eq!(users(&group, |order| !order.is_aside), in_group);
        aside.put(
            group
                .into_iter()
                .filter(|job| job.order().is_some_and(|order| order.is_aside))
                .collect(),
            now,
        );
        let mut next = aside.take_due(now + PAUSE);
        let ((late, _late), (other, _other)) = (login(1, 100), login(2, 201));
        next.extend([late, other]);
        aside.limit(&mut next);
        let in_next: Vec<u128> = (16..32).chain([201]).collect();
        assert_eq!(
            users(&next, |order| !order.is_aside),
            in_next,
            "in turn, and another app's at once"
        );
        assert_eq!(users(&next, |order| order.is_aside), [100]);
        assert_eq!(
            aside.due(),
            Some(now + PAUSE),
            "the thread goes on without a pause"
        );
    }

    #[test]
    fn a_refused_login_is_set_aside_with_those_of_its_customer() {
        let (mut aside, now) = (Aside::default(), Instant::now());
        let (mut group, _answers): (Vec<_>, Vec<_>) = [
            login(1, 10),
            login(1, 11),
            login(1, 10),
            login(1, 12),
            login(2, 20),
        ]
        .into_iter()
        .unzip();
        assert!(refuse(&mut group, 0));
        let are_aside: Vec<bool> = group.iter().map(|job| is_aside(job.as_ref())).collect();
        assert_eq!(
            are_aside,
            [false, false, false, true, true],
            "they are at the end"
        );
        assert_eq!(users(&group, |_| true), [11, 12, 20, 10, 10]);
        aside.put(group.split_off(3), now);
        let (mut again, _again): (Vec<_>, Vec<_>) =
            [login(1, 10), login(1, 13)].into_iter().unzip();
        aside.limit(&mut again);
        assert_eq!(
            users(&again, |order| !order.is_aside),
            [13],
            "the customer's wait, the app's do not"
        );
        assert_eq!(
            aside.due(),
            Some(now + PAUSE * 2),
            "the one that was refused is the first one"
        );
        assert_eq!(users(&aside.take_due(now + PAUSE * 2), |_| true), [10, 10]);
    }

    #[test]
    fn no_job_is_set_aside_for_ever() {
        let (mut aside, now) = (Aside::default(), Instant::now());
        let ((one, mut answer), (forgotten, caller)) = (job(1, 0), job(1, 1));
        drop(caller);
        aside.put(vec![one, forgotten], now);
        let waiting = aside.take_due(now + PAUSE);
        assert_eq!(
            numbers(&waiting, |_| true),
            [0],
            "the caller of the other one waits no longer"
        );
        aside.put(waiting, now + MAX_ASIDE);
        assert!(answer.try_recv().is_err(), "it waits");
        let waiting = aside.take_due(now + MAX_ASIDE + PAUSE);
        aside.put(waiting, now + MAX_ASIDE + PAUSE);
        assert!(matches!(answer.try_recv(), Ok(Err(Error::Unavailable(_)))));
        assert_eq!(aside.due(), None);
    }

    #[test]
    fn one_that_undid_its_group_waits_longer_each_time() {
        let (mut aside, now) = (Aside::default(), Instant::now());
        let (mut one, _answer) = job(1, 0);
        one.order_mut().unwrap().refusals = 3;
        aside.put(vec![one], now);
        assert_eq!(aside.due(), Some(now + PAUSE * 8));
    }
}
