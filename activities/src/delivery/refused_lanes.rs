//! The lanes that the database permanently refuses and that this process therefore skips for a while.

use domain::{CollapseKey, DestinationId};
use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::time::Instant;

/// Maximum number of skipped lanes.
const MAX_REFUSED: usize = 1_000;

/// The lanes that this process skips, each with the time until which it does.
#[derive(Debug, Clone, Default)]
pub struct RefusedLanes(Arc<Mutex<HashMap<(DestinationId, CollapseKey), Instant>>>);

impl RefusedLanes {
    pub fn add(&self, destination: DestinationId, key: CollapseKey, until: Instant) {
        let mut lanes = self.lanes();
        if lanes.len() < MAX_REFUSED {
            lanes.insert((destination, key), until);
        }
    }

    /// Returns the number of a destination's lanes that are skipped now.
    pub fn count(&self, destination: DestinationId, now: Instant) -> i64 {
        let mut lanes = self.lanes();
        lanes.retain(|_, until| *until > now);
        i64::try_from(lanes.keys().filter(|(of, _)| *of == destination).count()).unwrap_or(i64::MAX)
    }

    /// Returns how long a lane is still skipped; `None` if it is not.
    pub fn wait(
        &self,
        destination: DestinationId,
        key: CollapseKey,
        now: Instant,
    ) -> Option<Duration> {
        self.lanes()
            .get(&(destination, key))
            .map(|until| until.duration_since(now))
            .filter(|wait| !wait.is_zero())
    }

    fn lanes(&self) -> MutexGuard<'_, HashMap<(DestinationId, CollapseKey), Instant>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use uuid::Uuid;

    #[tokio::test]
    async fn a_lane_is_left_alone_until_its_time() {
        let (refused, now) = (RefusedLanes::default(), Instant::now());
        let destination = |number| DestinationId::new(Uuid::from_u128(number));
        let key = |number: usize| CollapseKey::new(Uuid::from_u128(number as u128));
        let minute = Duration::from_secs(60);
        for number in 0..MAX_REFUSED + 1 {
            refused.add(destination(1), key(number), now + minute);
        }
        assert_eq!(
            refused.count(destination(1), now),
            1_000,
            "memory is bounded"
        );
        assert_eq!(refused.wait(destination(1), key(0), now), Some(minute));
        assert_eq!(
            [destination(1), destination(2)].map(|of| refused.wait(of, key(0), now + minute)),
            [None; 2]
        );
        assert_eq!(
            (
                refused.count(destination(2), now),
                refused.count(destination(1), now + minute)
            ),
            (0, 0)
        );
    }
}
