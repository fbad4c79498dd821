//! Checks the invariants of a [`World`] through the public API, the webhook receiver and the Temporal Server.
//!
//! The checks return the broken invariant, so that a test can plant a fault and check that it is detected. `README.md`
//! in the root of the work tree lists the invariants I1 to I8.

use super::rvs::Rvs;
use super::samples;
use super::stored;
use super::wait;
use super::world::{SOON, World};
use serde_json::Value;
use std::collections::BTreeSet;
use std::time::Duration;

impl World {
    /// Waits until every accepted message has its outcome, the newest revision of each purchase is acknowledged and
    /// nothing is pending for any destination, and checks what must hold at the end of every test: the invariants hold,
    /// `/v1/check` finds no violation, the sweep had nothing to repair, the newest runs replay, and the latest release
    /// reads the stored JSON.
    ///
    /// # Panics
    /// When an invariant does not hold; the message names it.
    pub async fn finish(mut self) {
        if let Err(broken) = self.verdict(SOON).await {
            panic!("{broken}");
        }
        stored::check(&self.installation.stored_in()).unwrap_or_else(|broken| panic!("{broken}"));
        if let Some(folder) = samples::folder() {
            samples::collect(&self.installation.stored_in(), &folder);
        }
    }

    /// Like [`Self::finish`], but returns the result, for tests that plant a fault. What has not arrived after
    /// `timeout` counts as lost.
    ///
    /// # Errors
    /// The invariant that does not hold.
    pub async fn verdict(&mut self, timeout: Duration) -> Result<(), String> {
        // Set first, so that a broken invariant also counts as a check of the world.
        self.is_finished = true;
        let mut keys = BTreeSet::new();
        for message_id in &self.accepted {
            let what = format!("the outcome of {message_id}");
            let all = wait::within(timeout, &what, async || self.outcome(message_id).await).await;
            let all = all.map_err(|late| format!("I1: {late}"))?;
            keys.extend(
                all.iter()
                    .filter_map(|one| one["collapse_key"].as_str().map(str::to_owned)),
            );
        }
        for key in &keys {
            self.newest(key, timeout)
                .await
                .map_err(|late| format!("I5: {late}"))?;
        }
        self.check_nothing_pending(timeout).await?;
        self.rvs.iter().for_each(Rvs::check);
        if let Some(platform) = &self.play {
            platform.fake.verdict()?;
        }
        if let Some(platform) = &self.appstore {
            platform.fake.verdict()?;
        }
        self.receiver.verdict()?;
        self.check_tables().await?;
        self.check_unhelped().await?;
        self.check_replays().await
    }

    /// Checks I5: the last acknowledged revision is the newest one, or the delivery of the newest one failed.
    async fn newest(&self, key: &str, timeout: Duration) -> Result<(), String> {
        wait::within(
            timeout,
            &format!("the newest revision of {key} at the receiver"),
            async || {
                let answer = self.api.try_get(&format!("/v1/purchases/{key}")).await?;
                let newest = answer.body["revision"].as_i64().unwrap_or_default();
                let acked = self
                    .receiver
                    .revisions(key)
                    .last()
                    .copied()
                    .unwrap_or_default();
                if answer.status == 404 || acked == newest || self.is_failed(key, newest).await {
                    return Ok(());
                }
                Err(format!("acknowledged {acked}, newest {newest}"))
            },
        )
        .await
    }

    async fn is_failed(&self, key: &str, revision: i64) -> bool {
        let deliveries = self
            .api
            .all(&format!("/v1/deliveries?collapse_key={key}"))
            .await;
        deliveries
            .iter()
            .any(|one| one["status"] == "failed" && one["revision"] == revision)
    }

    /// Waits until no run of a receipt's purchase is open, and checks that the last run left no work undone. A later
    /// check would miss that, because the sweep picks up what a run forgets.
    ///
    /// # Errors
    /// I1 if a notification of these messages has no outcome, I5 if a delivery is pending.
    pub async fn left_behind(
        &self,
        receipt_id: &str,
        message_ids: &[String],
    ) -> Result<(), String> {
        self.wait_asleep(receipt_id).await;
        for message_id in message_ids {
            if let Err(seen) = self.outcome(message_id).await {
                return Err(format!(
                    "I1: the run of {receipt_id} ended before the outcome of {message_id}: {seen}"
                ));
            }
        }
        let deliveries = self.deliveries(receipt_id).await;
        match deliveries.iter().find(|one| one["status"] == "pending") {
            Some(pending) => Err(format!(
                "I5: the run of {receipt_id} ended while this was pending: {pending}"
            )),
            None => Ok(()),
        }
    }

    /// Checks the `purchase.updated` events of a receipt's purchase: the revisions have no gap, each has one event with
    /// a unique id, and the events together count `notifications` notifications.
    ///
    /// # Errors
    /// Describes the first mismatch.
    pub async fn check_revisions(
        &self,
        receipt_id: &str,
        notifications: usize,
    ) -> Result<(), String> {
        let events = self.events(receipt_id).await;
        let mut revisions: Vec<_> = events
            .iter()
            .filter_map(|event| event["revision"].as_i64())
            .collect();
        revisions.sort_unstable();
        let newest = i64::try_from(events.len()).unwrap_or(i64::MAX);
        if revisions != (1..=newest).collect::<Vec<_>>() {
            return Err(format!("the revisions of {receipt_id} are {revisions:?}"));
        }
        let ids: BTreeSet<_> = events
            .iter()
            .filter_map(|event| event["id"].as_str())
            .collect();
        if ids.len() != events.len() {
            return Err(format!(
                "{} events of {receipt_id} have {} ids",
                events.len(),
                ids.len()
            ));
        }
        let coalesced = |event: &Value| event["body"]["attributes"]["coalesced"].as_i64();
        let announced: i64 = events.iter().filter_map(coalesced).sum();
        if usize::try_from(announced) == Ok(notifications) {
            Ok(())
        } else {
            Err(format!(
                "the events of {receipt_id} count {announced} notifications and not {notifications}: {events:?}"
            ))
        }
    }
}
