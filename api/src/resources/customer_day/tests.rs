//! Checks the sentences about a day.

use super::{AccessSpan, announced, beginning, changes, end_of_day, gave, late, none, past_end};
use domain::user::CustomerPurchase;
use domain::{CollapseKey, DeliveryId, DestinationId, Environment, EventId, Timestamp};
use storage::{Announcement, AnnouncementStatus, DeliveryStatus, DeliveryView};
use uuid::Uuid;

#[test]
fn a_purchase_gave_access_until_its_end_by_an_entitlement() {
    let time = |text: &str| text.parse::<Timestamp>().unwrap();
    let (before, end, after) = (
        time("2026-10-03T00:00:00Z"),
        time("2026-10-15T18:30:00Z"),
        time("2026-10-20T00:00:00Z"),
    );
    let purchase = |is_active, expires_at| CustomerPurchase {
        collapse_key: CollapseKey::new(uuid::Uuid::from_u128(1)),
        state: None,
        is_active,
        expires_at,
        sku: Some("gold".to_owned()),
        environment: Environment::Production,
        announced_at: None,
    };
    let [over, today] = [true, false];
    let (gold, none): ([String; 1], [String; 0]) = (["gold".to_owned()], []);
    for (is_active, expires_at, at, skus, text) in [
        (
            Some(true),
            Some(end),
            before,
            Some(&gold[..]),
            "gave access until 2026-10-15 18:30:00".to_owned(),
        ),
        (
            Some(false),
            Some(end),
            after,
            Some(&none[..]),
            "ended 2026-10-15 18:30:00".to_owned(),
        ),
        (
            Some(false),
            Some(end),
            before,
            None,
            "gave no access".to_owned(),
        ),
        (Some(true), None, after, None, "gave access".to_owned()),
        (None, None, after, None, "not known".to_owned()),
    ] {
        assert_eq!(gave(&purchase(is_active, expires_at), at, skus, over), text);
    }
    assert!(
        gave(&purchase(Some(true), None), after, Some(&none[..]), over)
            .starts_with("gave no access, because")
    );
    let now = gave(
        &purchase(Some(true), Some(end)),
        before,
        Some(&gold[..]),
        today,
    );
    assert_eq!(
        now, "gives access until 2026-10-15 18:30:00",
        "that day is not over"
    );
}

#[test]
fn a_change_of_the_day_is_shown_with_its_time() {
    let time = |text: &str| text.parse::<Timestamp>().ok();
    let begin = beginning(time("2026-11-20T23:59:59.999999Z").unwrap());
    assert_eq!(begin, time("2026-11-20T00:00:00Z"));
    let span = |since: &str, access: &str| AccessSpan {
        since: time(since),
        access: access.to_owned(),
    };
    let of = |all: Vec<AccessSpan>| changes(all, begin);
    let (old, lost) = (
        span("2026-11-01T10:00:00Z", "Premium"),
        span("2026-11-20T17:30:00Z", "none"),
    );
    assert_eq!(
        of(vec![lost, old]).unwrap(),
        "Until 17:30: Premium. Afterwards: none."
    );
    let again = span("2026-11-20T18:00:05Z", "Premium");
    let middle = span("2026-11-20T17:30:00Z", "none");
    let all = vec![
        again,
        middle,
        span("2026-11-20T09:00:00Z", "Premium"),
        span("", "Premium"),
    ];
    let text = "Until 17:30: Premium. Then until 18:00:05: none. Afterwards: Premium.";
    assert_eq!(of(all).unwrap(), text, "a renewal is no change");
    let part = vec![
        span("2026-11-20T17:30:00Z", "none"),
        span("2026-11-20T09:00:00Z", "Premium"),
    ];
    assert_eq!(
        of(part).unwrap(),
        "From 09:00 until 17:30: Premium. Afterwards: none."
    );
    assert_eq!(
        of(vec![span("2026-11-20T17:30:00Z", "none"), span("", "none")]),
        None
    );
    assert_eq!(of(Vec::new()), None);
}

#[test]
fn a_state_names_the_event_that_announced_it() {
    let by = |status| Announcement {
        status,
        event_id: None,
        event_type: Some("user.subscription.renewed".to_owned()),
        announced_at: "2026-10-02T10:00:00Z".parse().ok(),
    };
    assert_eq!(
        announced(Some(&by(AnnouncementStatus::Announced))),
        "As announced by `user.subscription.renewed` at 2026-10-02 10:00:00."
    );
    assert!(
        announced(Some(&by(AnnouncementStatus::Pruned))).contains("retention removed its body")
    );
    assert!(announced(None).starts_with("No event about this customer was recorded"));
    let without = [
        Some(AnnouncementStatus::Announced),
        Some(AnnouncementStatus::Pruned),
        None,
    ];
    let without = without.map(|status| none(status.map(by).as_ref()));
    assert_eq!(without, ["No access.", "Not known.", "No access known."]);
}

#[test]
fn a_late_destination_is_named_with_the_time() {
    let time = |text: &str| text.parse::<Timestamp>().unwrap();
    let announced_at = time("2026-10-02T14:00:00Z");
    let of = |status, finished_at: Option<&str>| {
        let one = DeliveryView {
            id: DeliveryId::new(Uuid::nil()),
            event_id: EventId::new(Uuid::nil()),
            event_type: "user.subscription.renewed".to_owned(),
            collapse_key: CollapseKey::new(Uuid::nil()),
            destination_id: DestinationId::new(Uuid::nil()),
            revision: 1,
            n: 0,
            status,
            attempts: 2,
            next_due_at: None,
            last_error: None,
            first_tried_at: None,
            finished_at: finished_at.map(time),
            pruned_at: None,
            created_at: announced_at,
        };
        late("Backend", &one, announced_at)
    };
    for (status, finished_at, text) in [
        (
            DeliveryStatus::Delivered,
            Some("2026-10-02T14:01:00Z"),
            None,
        ),
        (
            DeliveryStatus::Delivered,
            Some("2026-10-02T14:07:02Z"),
            Some("Backend received this at 14:07:02."),
        ),
        (
            DeliveryStatus::Delivered,
            Some("2026-10-03T00:07:02Z"),
            Some("Backend received this at 2026-10-03 00:07:02."),
        ),
        (
            DeliveryStatus::Pending,
            None,
            Some("Backend has not received this yet."),
        ),
        (
            DeliveryStatus::Failed,
            None,
            Some("Backend did not receive this."),
        ),
        (DeliveryStatus::Superseded, None, None),
    ] {
        assert_eq!(
            of(status, finished_at).as_deref(),
            text,
            "{status:?} {finished_at:?}"
        );
    }
}

#[test]
fn a_day_of_the_future_is_refused_and_today_ends_now() {
    let now: Timestamp = "2026-10-03T12:00:00Z".parse().unwrap();
    assert_eq!(past_end("2026-10-03", now), Ok(now));
    assert_eq!(
        past_end("2026-10-02", now),
        Ok(end_of_day("2026-10-02").unwrap())
    );
    assert_eq!(
        past_end("2026-10-04", now),
        Err("today or a day in the past")
    );
    assert_eq!(past_end("yesterday", now), Err("a day such as 2026-10-03"));
}

#[test]
fn a_day_ends_before_the_next_one() {
    assert_eq!(
        end_of_day("2026-10-03").unwrap().to_string(),
        "2026-10-03T23:59:59.999999Z"
    );
    assert!(
        ["", "2026-13-03", "yesterday", "2026-10-03T00:00"]
            .iter()
            .all(|wrong| end_of_day(wrong).is_none())
    );
}
