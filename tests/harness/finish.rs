//! The checks at the end of every story, in addition to the invariants: no delivery is pending, `/v1/check` finds no
//! violation, and the newest runs of the world replay.

use super::runs;
use super::wait;
use super::world::World;
use serde_json::Value;
use std::cmp::Reverse;
use std::time::Duration;
use temporalio_client::WorkflowHistory;
use temporalio_common::protos::temporal::api::history::v1::History;
use temporalio_common::protos::temporal::api::workflow::v1::WorkflowExecutionInfo;
use temporalio_sdk::workflow_replayer::{WorkflowReplayer, WorkflowReplayerOptions};
use workflows::{Claims, Destination, DeviceStream, Purchase, Sweep, contract};

/// Maximum number of replayed runs: the newest ones of purchases, and of each other workflow.
const PURCHASES: usize = 12;
const OTHERS: usize = 2;

impl World {
    /// Allows deliveries to a destination to be pending at the end of this story. `because` is a sentence with the
    /// reason: the destination is disabled on purpose, or fails permanently.
    ///
    /// # Panics
    /// When `because` is not a sentence.
    pub fn let_be_pending(&mut self, destination_id: &str, because: &'static str) {
        assert!(
            because.contains(' '),
            "a sentence says why deliveries are pending at the end"
        );
        self.pending_at_end
            .insert(destination_id.to_owned(), because);
    }

    /// Waits until no event of a purchase, user, destination or device is pending, except for destinations named with
    /// [`Self::let_be_pending`].
    ///
    /// # Errors
    /// Lists what is still pending after `timeout`.
    pub(super) async fn check_nothing_pending(&self, timeout: Duration) -> Result<(), String> {
        for (destination, because) in &self.pending_at_end {
            println!("deliveries to {destination} may be pending ({because})");
        }
        let pending = wait::within(timeout, "the end of all deliveries", async || {
            let (events, of_devices) = (
                self.pending("/v1/deliveries").await?,
                self.pending("/v1/device-events").await?,
            );
            match events.first().or(of_devices.first()) {
                None => Ok(()),
                Some(first) => Err(format!(
                    "{} and {} of devices, such as {first}",
                    events.len(),
                    of_devices.len()
                )),
            }
        });
        pending.await.map_err(|late| format!("pending: {late}"))
    }

    /// Returns the list's items with a pending delivery that is not allowed. If no destination is excepted, only the
    /// first page is read.
    async fn pending(&self, list: &str) -> Result<Vec<Value>, String> {
        let (mut found, mut path) = (Vec::new(), format!("{list}?status=pending"));
        loop {
            let answer = self.api.try_get(&path).await?;
            let items = answer.body["items"]
                .as_array()
                .ok_or_else(|| format!("{answer:?}"))?;
            found.extend(items.iter().filter(|item| self.is_pending(item)).cloned());
            match answer.body["next_cursor"]
                .as_str()
                .filter(|_| found.is_empty())
            {
                Some(cursor) => path = format!("{list}?status=pending&cursor={cursor}"),
                None => return Ok(found),
            }
        }
    }

    /// Returns whether an item is, or contains, a pending delivery to a destination that is not excepted.
    fn is_pending(&self, item: &Value) -> bool {
        let is_wrong = |one: &Value| {
            let destination = one["destination_id"].as_str().unwrap_or_default();
            one["status"] == "pending" && !self.pending_at_end.contains_key(destination)
        };
        item["deliveries"]
            .as_array()
            .map_or_else(|| is_wrong(item), |of_event| of_event.iter().any(is_wrong))
    }

    /// Checks that the tables agree with each other.
    ///
    /// # Errors
    /// Lists the violated rules.
    pub(super) async fn check_tables(&self) -> Result<(), String> {
        let mut path = "/v1/check".to_owned();
        loop {
            let check = self.api.try_get(&path).await?.body;
            if check["violations"] != 0 {
                let rules = check["rules"].as_array().cloned().unwrap_or_default();
                let broken: Vec<_> = rules
                    .into_iter()
                    .filter(|rule| rule["violations"] != 0)
                    .collect();
                return Err(format!(
                    "check: {} violations: {broken:#?}",
                    check["violations"]
                ));
            }
            match check["next_cursor"].as_str() {
                Some(cursor) => path = format!("/v1/check?cursor={cursor}"),
                None => return Ok(()),
            }
        }
    }

    /// Checks that the newest runs of this world replay with the workflows of this build.
    ///
    /// # Errors
    /// Lists the runs that do not replay.
    pub(super) async fn check_replays(&self) -> Result<(), String> {
        if let Some(program) = &self.setting.program {
            println!("no run is replayed: {} is another build", program.display());
            return Ok(());
        }
        let options = WorkflowReplayerOptions::new().register_workflow::<Purchase>();
        let options = options.and_then(|options| options.register_workflow::<Destination>());
        let options = options.and_then(|options| options.register_workflow::<DeviceStream>());
        let options = options.and_then(|options| options.register_workflow::<Claims>());
        let options = options
            .and_then(|options| options.register_workflow::<Sweep>())
            .expect("our workflows")
            .build();
        let (mut histories, mut seen) = (Vec::new(), Vec::new());
        for execution in newest(self.temporal.list("").await)
            .into_iter()
            .filter_map(|run| run.execution)
        {
            let events = self.temporal.run_history(&execution).await;
            seen.push(runs::summary(&events));
            histories.push(WorkflowHistory::from(History { events }));
        }
        let replayed = WorkflowReplayer::new(options)
            .expect("a replayer")
            .replay_workflows(histories)
            .await;
        let results = replayed.map_err(|error| format!("replay: {error}"))?;
        let failed: Vec<String> = results
            .iter()
            .zip(seen)
            .filter_map(|(run, seen)| {
                let failure = run.replay_failure.as_ref()?;
                Some(format!(
                    "{:?}: {failure}; its events: {seen:#?}",
                    run.history.workflow_id()
                ))
            })
            .collect();
        if failed.is_empty() {
            Ok(())
        } else {
            Err(format!("replay: {}", failed.join("\n")))
        }
    }
}

/// Returns the newest runs of each workflow.
fn newest(mut runs: Vec<WorkflowExecutionInfo>) -> Vec<WorkflowExecutionInfo> {
    let name = |run: &WorkflowExecutionInfo| {
        run.r#type
            .as_ref()
            .map(|kind| kind.name.clone())
            .unwrap_or_default()
    };
    let started = |run: &WorkflowExecutionInfo| {
        run.start_time
            .as_ref()
            .map(|time| (time.seconds, time.nanos))
    };
    runs.sort_by_cached_key(|run| (name(run), Reverse(started(run))));
    runs.chunk_by(|one, other| name(one) == name(other))
        .flat_map(|same| {
            same.iter().take(if name(&same[0]) == contract::PURCHASE {
                PURCHASES
            } else {
                OTHERS
            })
        })
        .cloned()
        .collect()
}
