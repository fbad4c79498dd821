//! The limit on concurrent calls to Temporal. Pure: time is an argument.
//!
//! Works like TCP Vegas (<https://doi.org/10.1145/190314.190317>): a call that takes much longer than the fastest
//! recent one was queued at the server, and more concurrent calls would only wait longer. A distant server that is not
//! busy handles many calls as fast as one.

use std::time::Duration;

/// Bounds of the limit. A dev server on the same machine handles at most four concurrent calls without queuing.
const LEAST: f64 = 4.0;
const GREATEST: f64 = 64.0;
/// A call that took less than this multiple of the fastest call's time was not queued.
const NEAR: f64 = 2.0;
/// A call that took more than this multiple was queued.
const FAR: f64 = 3.0;
/// Total decrease of the limit in a round in which every call was queued: a tenth.
const SLOWED: f64 = 0.1;
/// Fraction to which the limit is reduced when the server refuses a call.
const HALF: f64 = 0.5;
/// How long the fastest call is used. After that, the limit is halved to measure the server's speed without a queue
/// again.
const MEMORY: Duration = Duration::from_secs(30);

/// The limit, with the measurements that it is based on.
#[derive(Debug)]
pub struct Limit {
    calls: f64,
    /// Duration of the fastest recent call, and when it was answered.
    fastest: Option<(Duration, Duration)>,
    /// When the limit was last halved. Calls that began earlier do not change the new limit.
    halved_at: Duration,
}

#[derive(Debug, Clone, Copy)]
pub struct Call {
    /// When the call began. Both times are relative to the same arbitrary moment.
    pub began_at: Duration,
    pub answered_at: Duration,
    /// Whether another signal was waiting for this call to end. The limit does not grow if nothing waits for it.
    pub was_awaited: bool,
}

impl Limit {
    /// Returns the initial limit of a process.
    pub const fn new() -> Self {
        Self {
            calls: LEAST,
            fastest: None,
            halved_at: Duration::ZERO,
        }
    }

    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "a number between the bounds"
    )]
    pub const fn calls(&self) -> usize {
        self.calls as usize
    }

    /// Adjusts the limit after a call that Temporal accepted. It grows by one per round, which has as many calls as the
    /// limit.
    pub fn taken(&mut self, call: Call) {
        let took = call.answered_at.saturating_sub(call.began_at);
        let (mut fastest, at) = self.fastest.unwrap_or((took, call.answered_at));
        if call.answered_at > at + MEMORY {
            self.halve(call);
            fastest = took;
        }
        if took <= fastest {
            fastest = took;
            self.fastest = Some((took, call.answered_at));
        }
        if took > fastest.mul_f64(FAR) {
            self.calls = LEAST.max(self.calls - SLOWED);
        } else if took < fastest.mul_f64(NEAR) && call.was_awaited {
            self.calls = GREATEST.min(self.calls + self.calls.recip());
        }
    }

    /// Adjusts the limit after a call that Temporal refused because one of its own limits was reached.
    pub fn refused(&mut self, call: Call) {
        self.halve(call);
    }

    fn halve(&mut self, call: Call) {
        if call.began_at >= self.halved_at {
            self.calls = LEAST.max(self.calls * HALF);
            self.halved_at = call.answered_at;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);

    /// Calls a simulated server for a period, with as many concurrent calls as the limit allows, and returns the number
    /// of calls. `took` gives the duration of a call from its number and the number of concurrent calls.
    fn call(
        limit: &mut Limit,
        from: Duration,
        time: Duration,
        took: impl Fn(usize, usize) -> Duration,
    ) -> usize {
        let (mut now, mut calls, mut running) = (from, 0, Vec::new());
        loop {
            while running.len() < limit.calls() {
                calls += 1;
                running.push((now + took(calls, running.len() + 1), now));
            }
            running.sort_unstable();
            let (answered_at, began_at) = running.remove(0);
            if answered_at > from + time {
                return calls - running.len() - 1;
            }
            now = answered_at;
            limit.taken(Call {
                began_at,
                answered_at,
                was_awaited: true,
            });
        }
    }

    fn grown() -> Limit {
        let mut limit = Limit::new();
        call(&mut limit, Duration::ZERO, 3000 * MS, |_, _| 30 * MS);
        assert_eq!(limit.calls(), 64);
        limit
    }

    #[test]
    fn a_server_far_away_gets_five_hundred_signals_in_a_second() {
        let mut limit = Limit::new();
        let calls = call(&mut limit, Duration::ZERO, 1000 * MS, |_, _| 30 * MS);
        assert!(calls >= 500, "{calls} in the first second");
        let calls = call(&mut limit, 1000 * MS, 1000 * MS, |_, _| 30 * MS);
        assert!(calls >= 1000, "{calls} in the next one");
    }

    #[test]
    fn a_server_that_answers_one_after_the_other_gets_few_at_once() {
        let mut limit = Limit::new();
        for minute in 0..10 {
            call(
                &mut limit,
                minute * 60_000 * MS,
                60_000 * MS,
                |_, running| u32::try_from(running).expect("small") * 7 * MS,
            );
            assert!(limit.calls() <= 12, "{limit:?} after {minute} minutes");
        }
    }

    #[test]
    fn a_limit_that_nothing_waits_for_stays() {
        let mut limit = Limit::new();
        for began_at in (0..10_000).map(|ms| ms * MS) {
            limit.taken(Call {
                began_at,
                answered_at: began_at + MS,
                was_awaited: false,
            });
        }
        assert_eq!(limit.calls(), 4);
    }

    #[test]
    fn a_server_that_becomes_slow_gets_fewer_at_once() {
        let mut limit = grown();
        call(&mut limit, 3000 * MS, 5000 * MS, |_, _| 150 * MS);
        assert_eq!(limit.calls(), 4);
    }

    #[test]
    fn one_slow_call_in_ten_is_no_slow_server() {
        let mut limit = Limit::new();
        call(&mut limit, Duration::ZERO, 10_000 * MS, |call, _| {
            if call % 10 == 0 { 300 * MS } else { 30 * MS }
        });
        assert!(limit.calls() >= 32, "{limit:?}");
    }

    #[test]
    fn refusals_halve_the_limit_once_in_a_round() {
        let mut limit = grown();
        let refused = |ms: u32| Call {
            began_at: ms * MS,
            answered_at: (ms + 5) * MS,
            was_awaited: true,
        };
        for _ in 0..64 {
            limit.refused(refused(4000));
        }
        assert_eq!(limit.calls(), 32);
        limit.refused(refused(4005));
        assert_eq!(limit.calls(), 16);
        (0..10).for_each(|round| limit.refused(refused(4010 + 5 * round)));
        assert_eq!(limit.calls(), 4);
    }

    #[test]
    fn half_of_the_limit_shows_after_a_while_how_fast_the_server_is() {
        let mut limit = grown();
        let late = Call {
            began_at: 40_000 * MS,
            answered_at: 40_050 * MS,
            was_awaited: true,
        };
        limit.taken(late);
        assert_eq!(limit.calls(), 32);
    }
}
