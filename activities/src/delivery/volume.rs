//! Daily volume of the messages that people receive. An app that sends too many raises an alarm.
//!
//! Each process counts separately, and starts from zero.

use domain::{AppId, Timestamp};
use protocols::destinations::VolumeAlarm;
use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

const DAY_MICROS: i64 = 24 * 3600 * 1_000_000;
/// Multiple of one app's limit at which the messages of all apps together raise an alarm.
const APPS: u64 = 10;

/// The number of requests of a day, by alarm and app. Clones share it.
#[derive(Clone, Default)]
pub struct Volume(Arc<Mutex<Today>>);

#[derive(Default)]
struct Today {
    day: i64,
    apps: HashMap<(&'static str, AppId), u64>,
    all: HashMap<&'static str, u64>,
}

impl Volume {
    /// Counts a request of an app. If it reaches a limit, returns a text about it for the alarm's detail.
    pub fn count(&self, app: AppId, alarm: VolumeAlarm, now: Timestamp) -> Option<String> {
        let VolumeAlarm { alarm, bound, what } = alarm;
        let mut today = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let day = now.micros().div_euclid(DAY_MICROS);
        if today.day != day {
            *today = Today {
                day,
                ..Today::default()
            };
        }
        let all = today.all.entry(alarm).or_default();
        *all += 1;
        let all = *all;
        let of_app = today.apps.entry((alarm, app)).or_default();
        *of_app += 1;
        if *of_app == bound {
            return Some(format!("this app sent {bound} {what} today"));
        }
        (all == bound * APPS).then(|| format!("all apps together sent {all} {what} today"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use uuid::Uuid;

    /// An alarm for three emails of an app; the next constant is one for three calls.
    const MAILS: VolumeAlarm = VolumeAlarm {
        alarm: "many_emails",
        bound: 3,
        what: "emails",
    };
    const CALLS: VolumeAlarm = VolumeAlarm {
        alarm: "many_calls",
        bound: 3,
        what: "calls",
    };

    #[test]
    fn an_app_that_sends_much_in_a_day_raises_one_alarm() {
        let (volume, now) = (
            Volume::default(),
            Timestamp::from_micros(DAY_MICROS * 20_000),
        );
        let count = |app: u128, at: Timestamp| {
            volume
                .count(AppId::new(Uuid::from_u128(app)), MAILS, at)
                .is_some()
        };
        assert_eq!(
            [1, 1, 1, 1].map(|app| count(app, now)),
            [false, false, true, false]
        );
        assert!(!count(2, now), "another app");
        let of_others = volume.count(AppId::new(Uuid::from_u128(2)), CALLS, now);
        assert_eq!(of_others, None, "another alarm");
        let tomorrow = Timestamp::from_micros(DAY_MICROS * 20_001);
        assert_eq!(
            [1, 1, 1].map(|app| count(app, tomorrow)),
            [false, false, true],
            "each day"
        );
    }

    #[test]
    fn all_apps_together_raise_an_alarm_too() {
        let (volume, now) = (Volume::default(), Timestamp::from_millis(0));
        let alarms = (0..100_u128)
            .filter_map(|app| volume.count(AppId::new(Uuid::from_u128(app)), MAILS, now));
        assert_eq!(
            alarms.collect::<Vec<_>>(),
            ["all apps together sent 30 emails today"]
        );
    }
}
