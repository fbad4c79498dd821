//! A description of each type of event, for display: its group and one sentence.

use super::choice::{
    ALARM_CLOSED, ALARM_OPENED, DESTINATION_DISABLED, DESTINATION_EXHAUSTED, DESTINATION_FAILING,
    DESTINATION_RECOVERED, REVENUE_ADJUSTED,
};
use super::{PURCHASE_UPDATED, choices};
use crate::device::DeviceEventKind;
use crate::transition::TransitionKind;
use crate::user::{TRANSFERS, USER_ERASED};

/// A type of event, as described to readers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct About {
    pub event_type: &'static str,
    /// Group of the event: `purchase`, `journey`, `subscription`, `revenue`, `user`, `device`, `destination` or
    /// `alarm`.
    pub group: &'static str,
    /// What the event announces, in one sentence.
    pub summary: &'static str,
}

/// Returns every type to which a destination can subscribe, in the order of [`choices`].
pub fn about_all() -> Vec<About> {
    let types = choices().into_iter().filter(|name| !name.ends_with('*'));
    types
        .map(|event_type| About {
            event_type,
            group: group(event_type),
            summary: summary(event_type),
        })
        .collect()
}

pub fn group(event_type: &str) -> &'static str {
    let prefixes = [
        ("user.journey.", "journey"),
        ("user.subscription.", "subscription"),
        ("revenue.", "revenue"),
        ("user.", "user"),
        ("device.", "device"),
        ("destination.", "destination"),
        ("alarm.", "alarm"),
    ];
    prefixes
        .into_iter()
        .find(|(prefix, _)| event_type.starts_with(prefix))
        .map_or("purchase", |(_, group)| group)
}

/// Returns what events of a type announce, in one sentence; empty for an unknown type.
pub fn summary(event_type: &str) -> &'static str {
    if let Some(kind) = TransitionKind::ALL
        .iter()
        .find(|kind| kind.event_type() == event_type)
    {
        return of_transition(*kind);
    }
    if let Some(kind) = DeviceEventKind::ALL
        .iter()
        .find(|kind| kind.as_str() == event_type)
    {
        return of_device(*kind);
    }
    match event_type {
        PURCHASE_UPDATED => "A purchase's record changed; the event carries the whole record.",
        REVENUE_ADJUSTED => {
            "The revenue of a payment changed: a refund, a corrected price, or a payment that is valid again."
        }
        USER_ERASED => "A customer was erased: delete what you store about them.",
        DESTINATION_FAILING => "Requests to a destination fail.",
        DESTINATION_EXHAUSTED => {
            "The last attempt to deliver an event failed; settle will not retry it."
        }
        DESTINATION_RECOVERED => "A destination accepts requests again.",
        DESTINATION_DISABLED => {
            "A destination was disabled, because it failed for too long or is gone."
        }
        ALARM_OPENED => "An alarm was raised: something needs attention.",
        ALARM_CLOSED => "An alarm was closed: a person acknowledged it, or its cause is gone.",
        name if TRANSFERS.first() == Some(&name) => {
            "A purchase was transferred to another customer."
        }
        name if TRANSFERS.contains(&name) => "A purchase was transferred from another customer.",
        _ => "",
    }
}

const fn of_transition(kind: TransitionKind) -> &'static str {
    match kind {
        TransitionKind::TrialStarted => "A trial began.",
        TransitionKind::TrialConverted => "A trial became paid.",
        TransitionKind::TrialDidNotConvert => "A trial ended without a payment.",
        TransitionKind::Purchased => "A subscription or a one-time product was bought.",
        TransitionKind::Renewed => "A subscription renewed.",
        TransitionKind::Recovered => "A subscription renewed after its payment had failed.",
        TransitionKind::GraceBegan => "A payment failed, and the grace period began.",
        TransitionKind::Paused => "A subscription was paused.",
        TransitionKind::Cancelled => "Auto-renewal was switched off.",
        TransitionKind::Resumed => "Auto-renewal was switched on again.",
        TransitionKind::PlanChangeScheduled => "A change of plan was scheduled.",
        TransitionKind::PlanChanged => {
            "A subscription to another plan began, in place of the former one or beside it."
        }
        TransitionKind::Expired => "A subscription ended.",
    }
}

const fn of_device(kind: DeviceEventKind) -> &'static str {
    match kind {
        DeviceEventKind::SessionStart => "A session of the app began on a device.",
        DeviceEventKind::SessionEnd => "A session of the app ended on a device.",
        DeviceEventKind::Impression => "A paywall was shown on a device.",
        DeviceEventKind::Transaction => "A purchase was made or restored on a device.",
    }
}

#[cfg(test)]
mod tests {
    use super::{about_all, summary};

    #[test]
    fn every_type_has_a_group_and_a_sentence_of_its_own() {
        let all = about_all();
        assert!(all.len() > 20, "{}", all.len());
        for one in &all {
            assert!(
                one.summary.ends_with('.') && one.summary.len() > 10,
                "{one:?}"
            );
            assert_eq!(
                all.iter()
                    .filter(|other| other.summary == one.summary)
                    .count(),
                1,
                "{one:?}"
            );
        }
        for (event_type, ..) in crate::schemas::all() {
            assert!(!summary(event_type).is_empty(), "{event_type}");
        }
        for group in [
            "purchase",
            "journey",
            "subscription",
            "revenue",
            "user",
            "device",
            "destination",
            "alarm",
        ] {
            assert!(all.iter().any(|one| one.group == group), "{group}");
        }
    }
}
