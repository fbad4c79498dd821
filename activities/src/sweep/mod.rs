//! `sweep`: finds work whose signal was lost, signals its runs, and starts those that do not exist, so that every
//! workflow can be rebuilt from the database alone. It also does what only depends on time: it expires, ends and
//! removes records.
//!
//! It has [`parts`]. The wakes of overdue purchases always come first; the other parts take turns at coming next.
//!
//! A run sends heartbeats, and ends when it is cancelled or takes too long; work in progress is then abandoned. If
//! Temporal considers a run lost that is still working, two sweeps run at once for at most that time. That is harmless,
//! since signals that wake a run may be repeated and every write of a sweep is conditional on the state that it
//! changes.

pub mod emptied;
pub mod erasure;
pub mod parts;
pub mod retention;
pub mod stuck;
pub mod upkeep;
pub mod wakes;

use crate::dependencies::Context;
use crate::failing::Work;
use crate::failure::Failed;
use crate::heartbeat::Heartbeats;
use crate::settling::repair;
use futures::FutureExt;
use parts::{Part, RETRY};
use std::time::Duration;
use storage::{Error, fault};
use temporalio_sdk::activities::ActivityContext;
use tokio::time::{Instant, timeout};
use workflows::activities::Swept;
use workflows::options::SWEEP_BUDGET;

/// Returns the alarm about a part whose temporary failures continue; the log contains the causes.
fn failing(part: &str) -> String {
    format!(
        "the part `{part}` of the sweep keeps failing or takes too long; the others go on. The log of the workers says \
         why: check the database and Temporal"
    )
}

const WAKES: Part<Context> = Part {
    name: "wakes",
    steps: seconds(12),
    budget: seconds(16),
    run: |c, until| wakes::wake_overdue(c, until).boxed(),
};
/// Makes due what was stored before the clock was set back. A sweep that cannot make all of it due does not count as
/// finished, because the time of its end would hide that the clock was set back.
const SET_BACK: Part<Context> = Part {
    budget: seconds(6),
    ..part("set_back", |context, _| {
        upkeep::make_stored_ahead_due(context).boxed()
    })
};
/// The other parts. No budget exceeds the time that [`emptied`], [`WAKES`] and [`SET_BACK`] leave of [`TURNS`].
const PARTS: [Part<Context>; 18] = [
    part("late", |context, _| upkeep::start_late(context).boxed()),
    part("streams", |context, _| {
        upkeep::start_streams(context).boxed()
    }),
    part("claims", |context, _| upkeep::start_claims(context).boxed()),
    part("duties", |context, until| {
        upkeep::attempt_duties(context, until).boxed()
    }),
    part("credentials", |context, _| {
        upkeep::retry_refused_secrets(context).boxed()
    }),
    part("repairs", |context, _| repair::start(context).boxed()),
    part("rechecks", |context, _| {
        upkeep::schedule_rechecks(context).boxed()
    }),
    part("transfers", |context, until| {
        upkeep::announce_transfers(context, until).boxed()
    }),
    part("alarms", |context, _| {
        upkeep::announce_alarms(context).boxed()
    }),
    part("topics", |context, _| {
        upkeep::expire_topics(context).boxed()
    }),
    part("sessions", |context, until| {
        upkeep::end_sessions(context, until).boxed()
    }),
    part("erasure", |context, until| {
        erasure::carry_on(context, until).boxed()
    }),
    Part {
        budget: seconds(6),
        ..part("deletions", |context, _| {
            erasure::request_deletions(context).boxed()
        })
    },
    part("deliveries", |context, _| {
        upkeep::reconsider(context).boxed()
    }),
    part("unnamed", |context, until| {
        upkeep::give_up(context, until).boxed()
    }),
    part("pages", |context, _| {
        retention::forget_pages(context).boxed()
    }),
    part("counts", |context, until| {
        retention::tidy_counts(context, until).boxed()
    }),
    Part {
        steps: seconds(3),
        ..part("retention", |context, until| {
            retention::prune(context, until).boxed()
        })
    },
];
/// When the last turn must end. The rest of [`SWEEP_BUDGET`] is for recording the end.
const TURNS: Duration = seconds(24);

/// Time between two heartbeats to Temporal.
const HEARTBEAT_INTERVAL: Duration = seconds(3);

/// Returns the part that detects whether Temporal lost its data, which determines what the wakes wait for.
const fn emptied<'c>() -> Part<(&'c Context, &'c str)> {
    let run: parts::Run<(&'c Context, &'c str)> =
        |(context, run_id), _| emptied::check(context, run_id).boxed();
    Part {
        name: "emptied",
        steps: seconds(2),
        budget: seconds(2),
        run,
    }
}

const fn part(name: &'static str, run: parts::Run<Context>) -> Part<Context> {
    Part {
        name,
        steps: seconds(2),
        budget: seconds(4),
        run,
    }
}

const fn seconds(number: u64) -> Duration {
    Duration::from_secs(number)
}

/// Sweeps for this run of the workflow within [`SWEEP_BUDGET`], and stores the time of the end.
///
/// # Errors
/// The wakes or the changes after a clock was set back failed, the end was not stored, or the time is exhausted:
/// Temporal runs the activity again.
pub async fn sweep_in_time(context: &Context, run_id: &str, round: u32) -> Result<Swept, Failed> {
    let sweeping = async {
        if fault::is_planted("sweep.hang") {
            std::future::pending::<()>().await;
        }
        let swept = sweep(context, run_id, round).await?;
        context.store.sweep_finished().await?;
        Ok(swept)
    };
    let late = |_| Err(too_long());
    timeout(SWEEP_BUDGET, sweeping).await.unwrap_or_else(late)
}

/// Sends heartbeats to Temporal until the activity is cancelled, because Temporal considers it lost or the worker
/// stops.
pub async fn send_heartbeats(ctx: &ActivityContext, mut heartbeats: Heartbeats<'_>) -> Failed {
    loop {
        heartbeats.send().await;
        tokio::select! {
            () = tokio::time::sleep(HEARTBEAT_INTERVAL) => {}
            () = ctx.cancelled() => return Failed::Later { wait: RETRY, why: "the sweep was cancelled".to_owned() },
        }
    }
}

/// Wakes overdue purchases, then gives the other parts their turns. A sweep counts as finished only if its wakes and
/// the changes after a clock was set back succeeded.
async fn sweep(context: &Context, run_id: &str, round: u32) -> Result<Swept, Failed> {
    let deadline = Instant::now() + TURNS;
    // If this check fails, the next sweep repeats it.
    drop(emptied().take(&(context, run_id)).await);
    let woken = WAKES.take(context).await;
    note(context, WAKES.name, &woken).await;
    let set_back = SET_BACK.take(context).await;
    note(context, SET_BACK.name, &set_back).await;
    let (swept, turns) = parts::take_turns(&PARTS, round, context, deadline).await;
    for (part, taken) in turns {
        note(context, part, &taken).await;
    }
    set_back?;
    woken.map(|woken| Swept {
        woken: woken.woken + swept.woken,
        more: woken.more || swept.more,
    })
}

/// Records how the turn of a part ended. A permanent failure raises an alarm at once, repeated temporary failures after
/// a while.
async fn note(context: &Context, part: &'static str, taken: &Result<Swept, Failed>) {
    match taken {
        Err(Failed::Storage(error)) if !matches!(error, Error::Unavailable(_)) => {
            context.note_part(Work::Sweep, part, error).await;
        }
        _ if context.streaks.note(part, taken) => {
            if let Err(error) = context
                .store
                .alarm(None, "sweep_fails", &failing(part))
                .await
            {
                tracing::warn!(part, error = %error, "the alarm about a part of the sweep was not stored");
            }
        }
        _ => {}
    }
}

fn too_long() -> Failed {
    Failed::Later {
        wait: RETRY,
        why: "the sweep took too long".to_owned(),
    }
}
