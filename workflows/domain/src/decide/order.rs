//! The events of one settling come in one order, whichever way it is told: by words or by the difference alone.

use super::asking::{bought, day, monthly, off, read, whats, word};
use super::tests::settle_with;
use crate::notification::Kind;
use crate::purchase::{Purchase, State};
use crate::reading::{Reading, Snapshot};
use crate::time::Timestamp;
use crate::transition::What;

fn march(day: &str) -> Timestamp {
    format!("2026-03-{day}T00:00:00Z").parse().unwrap()
}

/// A month of trial that began on day 0.
fn trial(at: Timestamp) -> Snapshot {
    Snapshot { trial_ends_at: Some(day(31)), ..monthly(at) }
}

fn paid() -> Snapshot {
    Snapshot { renews_at: Some(march("10")), ..monthly(day(31).plus_millis(120_000)) }
}

/// The same, and it is still switched off.
fn paid_and_off() -> Snapshot {
    Snapshot { renews_at: None, auto_renewing: Some(false), ends_at: Some(march("10")), ..paid() }
}

#[test]
fn a_conversion_while_it_was_off_is_told_after_the_resume_and_without_one_when_it_still_is() {
    let beginning = [word(Kind::SubscriptionPurchased, day(0))];
    let words = [word(Kind::TrialConverted, day(31))];
    let seen = read(&Purchase::default(), &beginning, trial(day(0))).purchase;
    let seen_off = Snapshot { trial_ends_at: Some(day(31)), ..off(day(5)) };
    let seen = read(&seen, &[word(Kind::AutoRenewalOff, day(5))], seen_off).purchase;
    assert_eq!(seen.state(), State::TrialOff);
    let unseen = read(&bought(), &[word(Kind::AutoRenewalOff, day(5))], off(day(5))).purchase;
    for known in [&seen, &unseen] {
        assert_eq!(whats(&read(known, &words, paid())), [What::Resumed, What::TrialConverted, What::Renewed]);
        let still = read(known, &words, paid_and_off());
        assert_eq!((whats(&still), still.purchase.state()), (vec![What::TrialConverted, What::Renewed], State::Off));
    }
    assert_eq!(whats(&read(&seen, &[], paid())), [What::Resumed, What::TrialConverted, What::Renewed]);
    assert_eq!(whats(&read(&seen, &[], paid_and_off())), [What::TrialConverted, What::Renewed]);
    assert_eq!(whats(&read(&unseen, &[], paid())), [What::Resumed, What::Renewed]);
    assert_eq!(whats(&read(&unseen, &[word(Kind::Renewed, day(31))], paid())), [What::Resumed, What::Renewed]);
}

#[test]
fn a_change_of_plan_into_a_trial_begins_one_and_its_conversion_is_told() {
    let change = word(Kind::PlanChanged, day(0));
    let also_bought = word(Kind::SubscriptionPurchased, day(0));
    for words in [vec![change.clone()], vec![also_bought, change.clone()]] {
        let began = read(&Purchase::default(), &words, trial(day(0)));
        assert_eq!(
            (whats(&began), began.purchase.state()),
            (vec![What::TrialStarted, What::PlanChanged], State::Trial)
        );
        let told = read(&began.purchase, &[word(Kind::TrialConverted, day(31))], paid());
        assert_eq!(whats(&told), [What::TrialConverted, What::Renewed]);
        assert_eq!(told.purchase.billing_cycles(), Some(1));
        assert_eq!(whats(&read(&began.purchase, &[], paid())), [What::TrialConverted, What::Renewed]);
    }
    // The trial is shown later than the change.
    let known = read(&Purchase::default(), std::slice::from_ref(&change), monthly(day(0)));
    assert_eq!(whats(&known), [What::PlanChanged]);
    let shown = read(&known.purchase, &[], trial(day(1)));
    assert_eq!((whats(&shown), shown.purchase.state()), (vec![What::TrialStarted], State::Trial));
    // The change is heard of later than the trial was seen.
    let adopted = read(&Purchase::default(), &[word(Kind::Adopted, day(0).plus_millis(-60_000))], trial(day(0)));
    let told = read(&adopted.purchase, std::slice::from_ref(&change), trial(day(1)));
    assert_eq!(whats(&told), [What::TrialStarted, What::PlanChanged]);
    // A purchase that was told began the trial already.
    let bought = read(&Purchase::default(), &[word(Kind::SubscriptionPurchased, day(0))], trial(day(0)));
    assert_eq!(whats(&bought), [What::TrialStarted, What::Purchased]);
    let told = read(&bought.purchase, &[word(Kind::PlanChanged, day(1))], trial(day(1)));
    assert_eq!(whats(&told), [What::PlanChanged]);
    // Without a store nobody knows of a trial.
    assert_eq!(
        whats(&settle_with(&Purchase::default(), &[change], &Reading::Unverifiable, day(0))),
        [What::PlanChanged]
    );
}

#[test]
fn a_change_of_plan_without_a_trial_begins_none() {
    let change = read(&Purchase::default(), &[word(Kind::PlanChanged, day(0))], monthly(day(0)));
    assert_eq!((whats(&change), change.purchase.state()), (vec![What::PlanChanged], State::Active));
}
