//! The processes of an installation: how they are killed, suspended, replaced and restarted.

use super::{End, Occurred, Site, Slot};
use crate::plan::Kind;
use std::os::unix::process::ExitStatusExt;
use std::process::{Command, ExitStatus, Stdio};
use std::time::Duration;
use system_tests::process::Process;
use system_tests::wait;
use tokio::time::Instant;

/// How long after an outage of the database or Temporal a start may fail because of it.
const RECOVERING: Duration = Duration::from_secs(5);
/// Maximum duration of a start on a busy machine: an outage in this time may end the process.
const STARTING: Duration = Duration::from_secs(10);
/// How long a process retries before it ends because of an outage during its start.
const TRYING: Duration = Duration::from_secs(60);
/// How long after an outage a process ended by SIGTERM may report an error because of it.
const STOPPING: Duration = Duration::from_secs(40);
/// Time between the replacements of two processes.
const REPLACED_EVERY: Duration = Duration::from_millis(1500);
/// Signal of a process that aborted at a fail point.
const ABORTED: i32 = 6;
/// Signal of a process that SIGTERM ended.
const TERMINATED: i32 = 15;
/// Exit code of a process that panicked.
const PANICKED: i32 = 101;
/// Texts in the log of a process that aborted other than at a fail point.
const CRASHED: [&str; 3] = [
    "panicked at",
    "overflowed its stack",
    "memory allocation of",
];
/// Number of log lines in a finding.
const LINES: usize = 12;

/// The fail point that makes a build a later one.
const LATER: &str = "run.planted_change=return";

impl Slot {
    /// Returns whether an exit was caused by an outage during the start or, with `was_away`, during the end by SIGTERM.
    /// Panics and signals are never excused.
    fn explains(&self, status: ExitStatus, was_away: bool) -> bool {
        let is_by_start = self.is_excused && self.started_at.elapsed() < TRYING;
        let is_error = status.code().is_some_and(|code| code != PANICKED);
        is_error && (is_by_start || (self.is_replaced && was_away))
    }
}

impl Site {
    pub(super) fn kill(&mut self, process: usize, back_at: Instant) -> bool {
        let (slot, running) = (
            &mut self.slots[process],
            &mut self.world.processes()[process],
        );
        if slot.back_at.is_some() || running.exit_status().is_some() {
            return false;
        }
        running.kill9();
        slot.back_at = Some(back_at);
        *self
            .record
            .kills
            .entry(format!("{} at any time", slot.name))
            .or_default() += 1;
        true
    }

    pub(super) fn suspend(&mut self, process: usize, over: Instant) -> bool {
        let running = &mut self.world.processes()[process];
        let is_suspended = self
            .ends
            .iter()
            .any(|queued| matches!(queued.end, End::Resume { id, .. } if id == running.id()));
        if running.exit_status().is_some() || is_suspended {
            return false;
        }
        running.freeze();
        let id = running.id();
        // In a task of its own, so that it is on time even while a recovery of the database or Temporal delays other
        // ends: I7 allows an exception for processes that are suspended longer.
        tokio::spawn(async move {
            wait::pass(over.saturating_duration_since(Instant::now())).await;
            drop(
                Command::new("kill")
                    .args(["-s", "CONT", &id.to_string()])
                    .stderr(Stdio::null())
                    .status(),
            );
        });
        self.queue(over, Kind::Suspended, End::Resume { process, id });
        true
    }

    /// Replaces all processes by a later build's, one after the other, once per round.
    pub(super) fn upgrade(&mut self, began: Instant) -> bool {
        if std::mem::replace(&mut self.is_later, true) {
            return false;
        }
        for (process, at) in
            (0..self.slots.len()).zip((0..).map(|step| began + REPLACED_EVERY * step))
        {
            self.queue(at, Kind::Upgraded, End::Replace { process });
        }
        true
    }

    /// Returns whether the database or Temporal is unavailable, or was so until at most this time ago.
    fn has_outage(&self, ago: Duration) -> bool {
        !self.is_engine_up
            || !self.is_database_up
            || self.outage_over.is_some_and(|over| over.elapsed() < ago)
    }

    /// Restarts a process that is down and due, and determines why others are down.
    pub(super) fn supervise(&mut self, process: usize) {
        let now = Instant::now();
        let (is_away, was_away) = (self.has_outage(RECOVERING), self.has_outage(STOPPING));
        let slot = &mut self.slots[process];
        slot.is_excused |= is_away && slot.started_at.elapsed() < STARTING;
        let running = &mut self.world.processes()[process];
        let Some(status) = running.exit_status() else {
            return;
        };
        if let Some(back_at) = slot.back_at {
            if back_at <= now {
                self.start_one(process);
            }
            return;
        }
        let log = running.log();
        match slot.point.take() {
            Some(point)
                if status.signal() == Some(ABORTED)
                    && !CRASHED.iter().any(|what| log.contains(what)) =>
            {
                *self
                    .record
                    .kills
                    .entry(format!("{} at {point}", slot.name))
                    .or_default() += 1;
                let over = now + Duration::from_millis(300);
                self.record.faults.push(Occurred {
                    kind: Kind::Point,
                    began: now,
                    over,
                });
                slot.back_at = Some(over);
            }
            // SIGTERM ends a process that has just started without an orderly shutdown.
            _ if slot.is_replaced && (status.success() || status.signal() == Some(TERMINATED)) => {
                slot.back_at = Some(now);
            }
            _ => {
                if !slot.explains(status, was_away) {
                    self.record.findings.push(exit_of(slot.name, status, &log));
                }
                slot.back_at = Some(now + Duration::from_secs(1));
            }
        }
    }

    /// Returns a finding for each process that is not running.
    pub fn exits(&mut self) -> Vec<String> {
        let all = self.world.processes().iter_mut().zip(&self.slots);
        all.filter_map(|(one, slot)| Some(exit_of(slot.name, one.exit_status()?, &one.log())))
            .collect()
    }

    fn start_one(&mut self, process: usize) {
        let started = self.process(process);
        self.world.processes()[process] = started;
    }

    fn process(&mut self, process: usize) -> Process {
        let slot = &mut self.slots[process];
        let armed = if self.is_armed {
            self.plan.armed(process, slot.starts, self.planted.armed)
        } else {
            None
        };
        slot.starts += 1;
        (slot.back_at, slot.is_replaced, slot.is_excused) = (None, false, false);
        slot.started_at = Instant::now();
        slot.point = armed.as_ref().map(|armed| armed.point);
        let mut points = vec![self.clock.fail_point()];
        points.extend(armed.map(|armed| armed.setting()));
        let planted = &self.planted.points;
        points.extend((!planted.is_empty()).then(|| planted.clone()));
        points.extend(self.is_later.then(|| LATER.to_owned()));
        let points = points.join(";");
        let own = self
            .variables
            .iter()
            .map(|(name, value)| (name.as_str(), value.as_str()));
        let variables: Vec<_> = own.chain([("FAILPOINTS", points.as_str())]).collect();
        let installation = &self.world.installation;
        match slot.name {
            "serve-b" => installation.serve_at(self.second.clone(), &variables),
            name => installation.start(
                &[name.trim_end_matches("-a").trim_end_matches("-b")],
                &variables,
            ),
        }
    }

    /// Kills all processes at once, restarts them, and waits for those that serve HTTP.
    pub async fn restart_all(&mut self) {
        self.world.kill9();
        for process in 0..self.slots.len() {
            let started = self.process(process);
            self.world.join(started);
        }
        for process in 0..self.slots.len() {
            if !self.slots[process].name.starts_with("worker") {
                self.world.processes()[process].wait_connected().await;
            }
        }
    }
}

/// Returns the finding about a process that ended, with the end of its log.
fn exit_of(name: &str, status: ExitStatus, log: &str) -> String {
    let lines: Vec<&str> = log.lines().collect();
    format!(
        "{name} ended by itself with {status}:\n{}",
        lines[lines.len().saturating_sub(LINES)..].join("\n")
    )
}

#[cfg(test)]
mod tests {
    use super::{ABORTED, ExitStatus, ExitStatusExt, PANICKED, Slot};

    #[test]
    fn only_an_error_of_a_start_in_an_outage_is_explained() {
        let exited = |code: i32| ExitStatus::from_raw(code << 8);
        let mut slot = Slot::new("run");
        assert!(!slot.explains(exited(1), true));
        slot.is_excused = true;
        assert!(slot.explains(exited(1), false));
        assert!(!slot.explains(exited(PANICKED), true));
        assert!(!slot.explains(ExitStatus::from_raw(ABORTED), true));
        (slot.is_excused, slot.is_replaced) = (false, true);
        assert!(slot.explains(exited(1), true) && !slot.explains(exited(1), false));
    }
}
