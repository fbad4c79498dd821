//! Sessions. A session begins when the app reports its start. It ends when the app reports its end, or after half an
//! hour without an event. The end is announced once, whichever comes first.

use crate::time::Timestamp;
use std::time::Duration;

/// A session ends after this time without an event.
pub const TIMEOUT: Duration = Duration::from_secs(30 * 60);

/// What is known of a session.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Session {
    /// When the app started the session; `None` until that is reported.
    pub started_at: Option<Timestamp>,
    /// The time of the session's newest event.
    pub last_event_at: Timestamp,
    pub closed_at: Option<Timestamp>,
}

/// Effect of an event on its session.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SessionEffect {
    Start,
    /// Another event of the session.
    Event,
    End,
}

impl Session {
    pub const fn first(step: SessionEffect, at: Timestamp) -> Self {
        let mut session = Self {
            started_at: None,
            last_event_at: at,
            closed_at: None,
        };
        session.set(step, at);
        session
    }

    /// Adds an event. Events may arrive late and in any order; the result does not depend on the order.
    pub fn add(&mut self, step: SessionEffect, at: Timestamp) {
        self.last_event_at = self.last_event_at.max(at);
        self.set(step, at);
    }

    const fn set(&mut self, step: SessionEffect, at: Timestamp) {
        match step {
            // An announced start or end is never moved.
            SessionEffect::Start if self.started_at.is_none() => self.started_at = Some(at),
            SessionEffect::End if self.closed_at.is_none() => self.closed_at = Some(at),
            SessionEffect::Start | SessionEffect::End | SessionEffect::Event => {}
        }
    }

    /// Returns when the session ends if no other event follows the newest one, which was received at `received_at`.
    pub fn times_out_at(received_at: Timestamp) -> Timestamp {
        received_at.plus(TIMEOUT)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_micros(second * 1_000_000)
    }

    #[test]
    fn the_order_of_arrival_does_not_matter() {
        let events = [
            (SessionEffect::Start, at(1)),
            (SessionEffect::Event, at(5)),
            (SessionEffect::Event, at(3)),
            (SessionEffect::End, at(9)),
        ];
        let fold = |order: [usize; 4]| {
            let [first, rest @ ..] = order.map(|index| events[index]);
            let mut session = Session::first(first.0, first.1);
            rest.into_iter()
                .for_each(|(step, at)| session.add(step, at));
            session
        };
        let expected = Session {
            started_at: Some(at(1)),
            last_event_at: at(9),
            closed_at: Some(at(9)),
        };
        for order in [[0, 1, 2, 3], [3, 2, 1, 0], [1, 3, 0, 2], [2, 0, 3, 1]] {
            assert_eq!(fold(order), expected, "{order:?}");
        }
    }

    #[test]
    fn an_announced_end_stays() {
        let mut session = Session::first(SessionEffect::End, at(4));
        session.add(SessionEffect::Event, at(6));
        session.add(SessionEffect::End, at(8));
        assert_eq!(
            (session.closed_at, session.last_event_at),
            (Some(at(4)), at(8))
        );
    }
}
