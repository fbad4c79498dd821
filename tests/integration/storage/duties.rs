//! Duties to a store: a notification or a record stores each once, one process at a time attempts it, and an alarm
//! reports the one that stays open.

use super::world::{World, record, renewal, story};
use domain::duty::Deadline;
use domain::time::{DAY, HOUR, MINUTE, millis};
use domain::verification::Product;
use domain::{DutyId, Snapshot, StorePolicy, StoreState, Timestamp, Verification};
use futures::poll;
use std::pin::pin;
use std::time::Duration;
use storage::{
    DutyAttempt, DutyCounts, DutyKind, DutyPage, DutyResult, Error, FirstAttempt, LeasedDuty,
    NewDuty, NewNotification, Page,
};

const LEASE: Duration = Duration::from_secs(60);
/// The store's id of a repeated question.
const QUESTION: &str = "refund/order";

impl World {
    /// Accepts a notification that causes the duty to acknowledge its purchase.
    async fn must_acknowledge(&self, message: &str, receipt: &str, attempt: FirstAttempt) {
        let key = self.key(receipt);
        let duty = NewDuty {
            id: DutyId::acknowledgement(key),
            kind: DutyKind::Acknowledge,
            collapse_key: Some(key),
            order_id: None,
            within: DAY * 3,
            warn_after: DAY * 2,
            attempt,
            is_repeated: false,
        };
        let notification = NewNotification {
            duty: Some(duty),
            ..renewal(self.platform.id, message, receipt, 1)
        };
        self.accept(notification).await;
    }

    /// Accepts a notification that causes the duty to answer a refund review.
    async fn must_answer(&self, message: &str) {
        let duty = NewDuty {
            id: DutyId::answer(self.platform.id, message),
            kind: DutyKind::RefundReview,
            collapse_key: None,
            order_id: Some("GPA.1".to_owned()),
            within: DAY,
            warn_after: HOUR * 20,
            attempt: FirstAttempt::Never,
            is_repeated: false,
        };
        let notification = NewNotification {
            duty: Some(duty),
            ..renewal(self.platform.id, message, message, 1)
        };
        self.accept(notification).await;
    }

    /// Accepts a notification with a question of this age, which other notifications repeat.
    async fn repeat(&self, message: &str, age: Duration) {
        let duty = NewDuty {
            id: DutyId::answer(self.platform.id, QUESTION),
            kind: DutyKind::RefundReview,
            collapse_key: None,
            order_id: Some("order".to_owned()),
            within: (HOUR * 12).saturating_sub(age),
            warn_after: (HOUR * 10).saturating_sub(age),
            attempt: FirstAttempt::Never,
            is_repeated: true,
        };
        let notification = NewNotification {
            duty: Some(duty),
            ..renewal(
                self.platform.id,
                message,
                "r1",
                message.len().try_into().unwrap(),
            )
        };
        self.accept(notification).await;
    }

    /// Accepts a notification with the store's decision about the question.
    async fn decide(&self, message: &str) {
        let notification = NewNotification {
            closes: Some(DutyId::answer(self.platform.id, QUESTION)),
            ..renewal(
                self.platform.id,
                message,
                "r1",
                message.len().try_into().unwrap(),
            )
        };
        self.accept(notification).await;
    }

    /// Returns how long the question may still be answered.
    async fn left(&self) -> Duration {
        let open = self
            .store
            .open_duties(self.platform.id, Page::default())
            .await;
        let open = open.unwrap().items;
        assert_eq!(open.len(), 1, "{open:?}");
        open[0].answer_by.since(self.store.now().await.unwrap())
    }

    async fn close_missed(&self) -> usize {
        self.store.close_missed_duties(10).await.unwrap()
    }

    async fn lease_duties(&self) -> DutyPage {
        let leased = self.store.lease_duties(self.platform.id, LEASE, 10).await;
        leased.unwrap()
    }

    /// Leases the only due duty.
    async fn lease_duty(&self) -> LeasedDuty {
        let page = self.lease_duties().await;
        assert_eq!(page.leased.len(), 1, "{page:?}");
        page.leased[0]
    }

    async fn finish_duty(&self, duty: LeasedDuty, attempt: DutyAttempt) {
        self.store.finish_duty(duty, attempt).await.unwrap();
    }

    /// Settles a purchase by an answer that shows whether it is acknowledged.
    async fn shows(&self, receipt: &str, is_acknowledged: bool, bought: Timestamp) {
        let key = self.key(receipt);
        let loaded = self.load(key).await;
        let state = StoreState {
            is_acknowledged: Some(is_acknowledged),
            ..StoreState::default()
        };
        let snapshot = Snapshot {
            at: loaded.now,
            product: Product::Subscription,
            purchased_at: Some(bought),
            renews_at: Some(bought.plus(DAY * 30)),
            auto_renewing: Some(true),
            state: Some(Box::new(state)),
            ..Snapshot::default()
        };
        let verification = Verification::Verified(Box::new(snapshot));
        let context = domain::SettlingContext {
            policy: StorePolicy::of("google").unwrap(),
            verification: &verification,
            is_replaced: false,
            now: loaded.now,
        };
        let decision = domain::decide(&loaded.purchase, &loaded.notifications, context);
        let mut shown = record(key, &loaded);
        shown.decision.purchase = decision.purchase;
        self.done(shown).await;
    }

    /// Returns how each duty stands: its result, or `open`.
    fn duties(&self) -> Vec<String> {
        let text = "SELECT COALESCE(result, 'open') AS value FROM duties ORDER BY created_at, id";
        self.raw().texts(text)
    }

    /// Returns the kinds of the open alarms.
    async fn alarms_of_duties(&self) -> Vec<String> {
        let alarms = self.store.alarms(Page::default()).await.unwrap().items;
        let open = alarms
            .into_iter()
            .filter(|alarm| alarm.acknowledged_at.is_none());
        open.map(|alarm| alarm.kind).collect()
    }
}

story! {
    async fn a_duty_is_stored_once_and_due_again_by_a_notification(world: World) {
        world.must_acknowledge("m1", "r1", FirstAttempt::AtOnce).await;
        assert_eq!(world.store.platforms_with_due_duties().await.unwrap(), [world.platform.id]);
        let duty = world.lease_duty().await;
        assert_eq!((duty.collapse_key, duty.attempts), (world.key("r1"), 1));
        world.must_acknowledge("m2", "r1", FirstAttempt::AtOnce).await;
        assert_eq!(world.lease_duties().await.leased, [], "it is leased");
        assert_eq!(world.store.platforms_with_due_duties().await.unwrap(), []);
        world.finish_duty(duty, DutyAttempt::Idle).await;
        assert_eq!(world.lease_duties().await, DutyPage::default(), "its payment is pending");
        assert_eq!(world.count("duties WHERE warn_at IS NOT NULL"), 0, "so it has no deadline");
        world.must_acknowledge("m3", "r1", FirstAttempt::Soon).await;
        let duty = world.lease_duty().await;
        world.finish_duty(duty, DutyAttempt::Closed(DutyResult::Settle)).await;
        world.must_acknowledge("m4", "r1", FirstAttempt::AtOnce).await;
        assert_eq!(world.lease_duties().await, DutyPage::default());
        assert_eq!(world.duties(), ["settle"]);
    }
}

story! {
    async fn a_duty_of_a_lost_process_is_attempted_again(world: World) {
        world.must_acknowledge("m1", "r1", FirstAttempt::AtOnce).await;
        let lost = world.lease_duty().await;
        world.pass(millis(LEASE) + 1);
        let duty = world.lease_duty().await;
        assert_eq!((duty.id, duty.attempts), (lost.id, 2));
        let failed = DutyAttempt::Failed(MINUTE, "HTTP 503".to_owned());
        world.finish_duty(duty, failed).await;
        let page = world.lease_duties().await;
        assert!(page.leased.is_empty() && page.next_due_in.is_some_and(|wait| wait <= MINUTE), "{page:?}");
        world.pass(millis(MINUTE) + 1);
        let duty = world.lease_duty().await;
        world.finish_duty(duty, DutyAttempt::Closed(DutyResult::Found)).await;
        world.finish_duty(lost, DutyAttempt::Closed(DutyResult::Over)).await;
        assert_eq!(world.duties(), ["found"], "the first result counts");
    }
}

story! {
    async fn a_refused_acknowledgement_is_an_alarm_until_one_succeeds(world: World) {
        world.must_acknowledge("m1", "r1", FirstAttempt::AtOnce).await;
        world.must_acknowledge("m2", "r2", FirstAttempt::AtOnce).await;
        let page = world.lease_duties().await;
        assert_eq!(page.leased.len(), 2);
        for duty in &page.leased {
            world.finish_duty(*duty, DutyAttempt::Refused(HOUR)).await;
        }
        assert_eq!(world.alarms_of_duties().await, ["acknowledge_refused"]);
        world.finish_duty(page.leased[0], DutyAttempt::Closed(DutyResult::Settle)).await;
        assert!(world.alarms_of_duties().await.is_empty());
    }
}

story! {
    async fn a_platform_without_credentials_attempts_no_duty(world: World) {
        world.set_secret(None).await;
        world.must_acknowledge("m1", "r1", FirstAttempt::AtOnce).await;
        assert_eq!(world.store.platforms_with_due_duties().await.unwrap(), []);
        assert_eq!(world.lease_duties().await, DutyPage::default());
        world.set_secret(Some("new")).await;
        world.lease_duty().await;
    }
}

story! {
    async fn an_answer_shows_a_duty_of_the_app_and_its_end(world: World) {
        world.notify("m1", "r1", 1).await;
        let bought = world.store.now().await.unwrap();
        world.shows("r1", false, bought).await;
        assert_eq!(world.duties(), ["open"]);
        assert_eq!(world.lease_duties().await, DutyPage::default(), "the app acknowledges it");
        let explained = world.store.explain_purchase(world.key("r1")).await.unwrap().duties;
        assert_eq!((explained.len(), explained[0].answer_by), (1, bought.plus(DAY * 3)));
        world.notify("m2", "r1", 2).await;
        world.shows("r1", true, bought).await;
        assert_eq!(world.duties(), ["found"]);
        world.notify("m3", "r1", 3).await;
        world.shows("r1", false, bought).await;
        assert_eq!(world.duties(), ["found"], "an older answer does not open it again");
    }
}

story! {
    async fn a_changed_platform_makes_its_open_duties_due(world: World) {
        world.notify("m1", "r1", 1).await;
        let bought = world.store.now().await.unwrap();
        world.shows("r1", false, bought).await;
        world.set_secret(Some("new")).await;
        let duty = world.lease_duty().await;
        world.finish_duty(duty, DutyAttempt::Left).await;
        world.notify("m2", "r1", 2).await;
        world.shows("r1", false, bought).await;
        assert_eq!(world.lease_duties().await, DutyPage::default(), "the app still acknowledges it");
    }
}

story! {
    async fn a_paid_purchase_is_attempted_after_a_pending_one(world: World) {
        world.must_acknowledge("m1", "r1", FirstAttempt::AtOnce).await;
        let duty = world.lease_duty().await;
        world.finish_duty(duty, DutyAttempt::Idle).await;
        let bought = world.store.now().await.unwrap();
        world.shows("r1", false, bought).await;
        assert_eq!(world.lease_duty().await.attempts, 2, "the record shows it paid");
    }
}

story! {
    async fn an_answer_makes_a_duty_due_that_no_notification_caused(world: World) {
        world.notify("m1", "r1", 1).await;
        let bought = world.store.now().await.unwrap();
        let deadline = Deadline {
            at: bought.plus(DAY * 3),
            warn_at: Some(bought.plus(DAY * 2)),
        };
        let (platform, key) = (world.platform.id, world.key("r1"));
        let require = || world.store.require_acknowledgement(platform, key, deadline);
        assert!(require().await.unwrap());
        assert!(!require().await.unwrap(), "it is due already");
        let duty = world.lease_duty().await;
        assert!(!require().await.unwrap(), "it is leased");
        world.finish_duty(duty, DutyAttempt::Closed(DutyResult::Settle)).await;
        assert!(!require().await.unwrap(), "it is closed");
        assert_eq!(world.lease_duties().await, DutyPage::default());
    }
}

story! {
    async fn an_attempt_that_succeeds_after_the_deadline_is_its_result(world: World) {
        world.must_acknowledge("m1", "r1", FirstAttempt::AtOnce).await;
        let bought = world.store.now().await.unwrap();
        world.shows("r1", false, bought).await;
        world.pass(millis(DAY * 18));
        let duty = world.lease_duty().await;
        assert_eq!(world.close_missed().await, 1);
        assert_eq!(world.duties(), ["missed"]);
        world.finish_duty(duty, DutyAttempt::Closed(DutyResult::Settle)).await;
        assert_eq!(world.duties(), ["settle"]);
    }
}

story! {
    async fn a_purchase_that_is_paid_during_an_attempt_is_due(world: World) {
        world.must_acknowledge("m1", "r1", FirstAttempt::AtOnce).await;
        let early = world.lease_duty().await;
        let bought = world.store.now().await.unwrap();
        world.shows("r1", false, bought).await;
        world.finish_duty(early, DutyAttempt::Idle).await;
        assert_eq!(world.count("duties WHERE warn_at IS NOT NULL"), 1, "its deadline stays");
        assert_eq!(world.lease_duty().await.attempts, 2);
    }
}

story! {
    async fn a_change_of_the_platform_during_an_attempt_counts(world: World) {
        world.must_acknowledge("m1", "r1", FirstAttempt::AtOnce).await;
        let left = world.lease_duty().await;
        world.set_secret(Some("new")).await;
        world.finish_duty(left, DutyAttempt::Left).await;
        assert_eq!(world.lease_duty().await.attempts, 2, "the new settings may not leave it");
    }
}

story! {
    async fn an_open_duty_is_an_alarm_before_its_deadline(world: World) {
        world.notify("m1", "r1", 1).await;
        let bought = world.store.now().await.unwrap();
        world.shows("r1", false, bought).await;
        assert_eq!(world.store.warn_of_duties(10).await.unwrap(), 0);
        world.pass(millis(DAY * 2 + HOUR));
        assert_eq!(world.store.warn_of_duties(10).await.unwrap(), 1);
        assert_eq!(world.alarms_of_duties().await, ["acknowledge_overdue"]);
        assert_eq!(world.store.warn_of_duties(10).await.unwrap(), 0, "once");
        assert_eq!(world.alarms_of_duties().await, ["acknowledge_overdue"], "it stays open");
        world.notify("m2", "r1", 2).await;
        world.shows("r1", true, bought).await;
        world.store.warn_of_duties(10).await.unwrap();
        assert!(world.alarms_of_duties().await.is_empty(), "no duty is open any more");
    }
}

story! {
    async fn of_two_closes_of_a_duty_the_first_counts(world: World) {
        world.must_acknowledge("m1", "r1", FirstAttempt::AtOnce).await;
        let id = DutyId::acknowledgement(world.key("r1"));
        if world.is_postgres() {
            let mut held = world.raw();
            held.run("BEGIN; UPDATE duties SET done_at = 1, result = 'settle', due_at = NULL");
            let mut closing = pin!(world.store.close_duty(id));
            assert!(poll!(closing.as_mut()).is_pending());
            world.wait_for_locks(1).await;
            held.run("COMMIT");
            let closed = closing.await;
            assert!(matches!(closed, Err(Error::Conflict { what: "duty", .. })), "{closed:?}");
            assert_eq!(world.duties(), ["settle"]);
            world.raw().run("UPDATE duties SET done_at = NULL, result = NULL");
        }
        assert_eq!(world.store.close_duty(id).await.unwrap().result, Some(DutyResult::Person));
        let again = world.store.close_duty(id).await;
        assert!(matches!(again, Err(Error::Conflict { what: "duty", .. })), "{again:?}");
        assert_eq!(world.duties(), ["person"]);
    }
}

story! {
    async fn a_duty_that_nothing_ends_is_closed_as_missed(world: World) {
        world.notify("m1", "r1", 1).await;
        let bought = world.store.now().await.unwrap();
        world.shows("r1", false, bought).await;
        world.must_acknowledge("m2", "r2", FirstAttempt::AtOnce).await;
        let pending = world.lease_duty().await;
        world.finish_duty(pending, DutyAttempt::Idle).await;
        world.must_answer("question").await;
        assert_eq!(world.close_missed().await, 0);
        world.pass(millis(DAY) + 1);
        assert_eq!(world.close_missed().await, 1, "the question has a day");
        world.pass(millis(DAY * 15));
        assert_eq!(world.close_missed().await, 0, "weekly checks may still find the acknowledgement");
        world.pass(millis(DAY * 2));
        assert_eq!(world.close_missed().await, 1);
        let explained = world.store.explain_purchase(world.key("r1")).await.unwrap().duties;
        assert_eq!((explained.len(), explained[0].result), (1, Some(DutyResult::Missed)));
        world.pass(millis(DAY * 44));
        assert_eq!(world.close_missed().await, 0, "a pending payment has no deadline");
        world.pass(millis(DAY * 2));
        assert_eq!(world.close_missed().await, 1);
        assert_eq!(world.duties(), ["missed"; 3]);
    }
}

story! {
    async fn a_repeated_question_has_its_earliest_deadline(world: World) {
        world.repeat("m2", HOUR).await;
        assert!(world.left().await > HOUR * 10);
        world.repeat("m33", HOUR * 2).await;
        let left = world.left().await;
        assert!(left <= HOUR * 10, "the first of the notifications came last");
        world.pass(millis(HOUR));
        world.repeat("m444", Duration::ZERO).await;
        assert!(world.left().await <= left - HOUR);
        assert_eq!(world.duties(), ["open"]);
        world.pass(millis(HOUR * 8));
        assert_eq!(world.store.warn_of_duties(10).await.unwrap(), 1);
        assert_eq!(world.alarms_of_duties().await, ["refund_review_due"]);
    }
}

story! {
    async fn a_decision_closes_its_question_until_it_is_put_anew(world: World) {
        world.repeat("m", Duration::ZERO).await;
        world.decide("m2").await;
        assert_eq!(world.duties(), ["found"]);
        world.repeat("m33", HOUR).await;
        assert_eq!(world.duties(), ["found"], "a repetition in its time");
        world.pass(millis(HOUR * 13));
        world.repeat("m444", HOUR * 12).await;
        assert_eq!(world.duties(), ["found"], "a notification that came late");
        world.repeat("m5555", Duration::ZERO).await;
        assert_eq!(world.duties(), ["open"]);
        assert!(world.left().await > HOUR * 11);
        world.decide("m66666").await;
        world.decide("m777777").await;
        assert_eq!(world.duties(), ["found"]);
    }
}

story! {
    async fn a_withdrawn_consent_is_open_until_long_after_its_deadline(world: World) {
        let duty = NewDuty {
            id: DutyId::answer(world.platform.id, "consent/account"),
            kind: DutyKind::ConsentWithdrawn,
            collapse_key: None,
            order_id: None,
            within: DAY,
            warn_after: HOUR,
            attempt: FirstAttempt::Never,
            is_repeated: false,
        };
        let notification = NewNotification {
            duty: Some(duty),
            ..renewal(world.platform.id, "m1", "r1", 1)
        };
        world.accept(notification).await;
        assert_eq!(world.count("duties WHERE warn_at IS NOT NULL"), 0, "no earlier release reads its kind");
        world.pass(millis(DAY * 2));
        assert_eq!((world.store.warn_of_duties(10).await.unwrap(), world.close_missed().await), (0, 0));
        world.pass(millis(DAY * 14));
        assert_eq!(world.close_missed().await, 1);
        assert_eq!(world.duties(), ["missed"]);
    }
}

story! {
    async fn the_duties_of_a_deleted_platform_are_closed(world: World) {
        world.must_acknowledge("m1", "r1", FirstAttempt::AtOnce).await;
        world.must_answer("question").await;
        world.store.delete_platform(world.platform.id).await.unwrap();
        assert_eq!((world.close_missed().await, world.close_missed().await), (2, 0));
        assert_eq!(world.duties(), ["deleted"; 2]);
    }
}

story! {
    async fn missed_duties_of_many_platforms_are_closed_in_batches(world: World) {
        world.must_acknowledge("m1", "r1", FirstAttempt::AtOnce).await;
        world.pass(millis(DAY * 4));
        world.seed_platforms(4);
        world.raw().run(
            "INSERT INTO duties (id, kind, platform_id, order_id, created_at, answer_by)
             SELECT id, 'refund_review', id, 'GPA.1', 1, 2 FROM platforms WHERE package_name = 'x'"
        );
        let close = async || world.store.close_missed_duties(3).await.unwrap();
        assert_eq!([close().await, close().await, close().await], [3, 1, 0]);
        assert_eq!(world.duties(), ["missed", "missed", "missed", "missed", "open"]);
    }
}

story! {
    async fn the_overview_counts_open_duties_and_those_past_the_deadline(world: World) {
        let counts = async |app| world.store.overview(app).await.unwrap().duties;
        let own = Some(world.app.id);
        assert_eq!((counts(None).await, counts(own).await), (None, None));
        world.must_acknowledge("m1", "r1", FirstAttempt::AtOnce).await;
        world.must_acknowledge("m2", "r2", FirstAttempt::AtOnce).await;
        let in_time = Some(DutyCounts { open: 2, overdue: 0 });
        assert_eq!((counts(None).await, counts(own).await), (in_time, in_time));
        let other = world.store.new_app("other").await.unwrap();
        assert_eq!(counts(Some(other.id)).await, None);
        let late = world.lease_duties().await.leased;
        world.finish_duty(late[0], DutyAttempt::Closed(DutyResult::Settle)).await;
        world.pass(millis(DAY * 4));
        let overdue = Some(DutyCounts { open: 1, overdue: 1 });
        assert_eq!((counts(None).await, counts(own).await), (overdue, overdue));
    }
}
