#![doc = include_str!("../README.md")]

mod actions;
mod admin;
mod delivery;
mod dependencies;
pub mod engine;
mod failure;
mod heartbeat;
pub mod http;
mod settling;
mod spans;
mod sweep;
pub mod worker;

pub use actions::Actions;
pub use delivery::in_flight::InFlight;
pub use delivery::prompt::Prompt;
pub use delivery::slots::DeliverySlots;
pub use dependencies::Context;
pub use settling::verifier::Verifier;

use delivery::stream::StreamRun;
use delivery::supervise::run::SuperviseRun;
use delivery::{deliver, stream, supervise};
use domain::Lane;
use settling::claims::{self, ClaimsRun};
use settling::settle::{self, Attempt};
use settling::verify;
use std::sync::Arc;
use temporalio_common::ActivityError;
use temporalio_macros::activities;
use temporalio_sdk::activities::ActivityContext;
use workflows::activities::{
    Deliver, DeliverActivity, Delivered, Discard, DiscardActivity, HoldActivity, Record, RecordActivity, Recorded,
    Redeliver, RedeliverActivity, RedeliverAll, RedeliverAllActivity, RedeliveryProgress, SetEnabled,
    SetEnabledActivity, SetHold, Settle, SettleActivity, Settled, Stream, StreamActivity, Streamed, Supervise,
    SuperviseActivity, Supervised, SweepActivity, Swept, Test, TestActivity, Unfinished, Verified, VerifiedClaims,
    Verify, VerifyActivity, VerifyClaims, VerifyClaimsActivity,
};

#[activities]
impl Context {
    /// Loads a purchase, and settles it unless the store must be queried first.
    #[activity(definition = SettleActivity)]
    pub async fn settle(self: Arc<Self>, ctx: ActivityContext, input: Settle) -> Result<Settled, ActivityError> {
        let attempt = if ctx.info().is_local { Attempt::First } else { Attempt::Repeated };
        for flush in &input.flushes {
            let call = deliver::flush_name(ctx.info(), flush.number);
            admin::flushed(&self.store, &flush.admin, input.collapse_key, &call).await.map_err(failure::storage)?;
        }
        let key = input.collapse_key;
        let settled = settle::settle(&self, input, attempt).await;
        if let Err(error) = &settled {
            settle::note_failure(&self.store, key, ctx.info().attempt, error).await;
        }
        settled.map_err(failure::storage)
    }

    /// Queries the purchase's store once.
    #[activity(definition = VerifyActivity)]
    pub async fn verify(self: Arc<Self>, _ctx: ActivityContext, input: Verify) -> Result<Verified, ActivityError> {
        verify::verify(&self, input.collapse_key).await.map_err(failure::storage)
    }

    /// Records a decision of the workflow.
    #[activity(definition = RecordActivity)]
    pub async fn record(self: Arc<Self>, _ctx: ActivityContext, input: Record) -> Result<Recorded, ActivityError> {
        settle::record(&self, input).await.map_err(failure::storage)
    }

    /// Attempts the deliveries of a lane, for a purchase's run.
    #[activity(definition = DeliverActivity)]
    pub async fn deliver(self: Arc<Self>, ctx: ActivityContext, input: Deliver) -> Result<Delivered, ActivityError> {
        let (info, token) = (ctx.info(), deliver::token(ctx.info(), self.random));
        let delivered = if info.is_local {
            deliver::within_task(self, token, input).await
        } else {
            deliver::deliver(&self, &token, &input).await
        };
        delivered.map_err(failure::failure)
    }

    /// Sets or releases a hold on a purchase.
    #[activity(definition = HoldActivity)]
    pub async fn hold(self: Arc<Self>, ctx: ActivityContext, input: SetHold) -> Result<(), ActivityError> {
        admin::hold(&self.store, &deliver::name(ctx.info()), input).await.map_err(failure::storage)
    }

    /// Discards the waiting notifications of a purchase; returns their number.
    #[activity(definition = DiscardActivity)]
    pub async fn discard(self: Arc<Self>, ctx: ActivityContext, input: Discard) -> Result<i64, ActivityError> {
        admin::discard(&self.store, &deliver::name(ctx.info()), input).await.map_err(failure::storage)
    }

    /// Redelivers the newest state of a purchase and its failed `user.*` events; returns its open lanes.
    #[activity(definition = RedeliverActivity)]
    pub async fn redeliver(
        self: Arc<Self>,
        ctx: ActivityContext,
        input: Redeliver,
    ) -> Result<Vec<Lane>, ActivityError> {
        admin::redeliver(&self.store, &deliver::name(ctx.info()), input).await.map_err(failure::storage)
    }

    /// Probes the destination's open breaker, or delivers its backlog.
    #[activity(definition = SuperviseActivity)]
    pub async fn supervise(
        self: Arc<Self>,
        ctx: ActivityContext,
        input: Supervise,
    ) -> Result<Supervised, ActivityError> {
        let info = ctx.info();
        let token = deliver::token(info, self.random);
        let run = SuperviseRun::new(input.destination_id, token, info.attempt, self.stopping.clone());
        tokio::select! {
            supervised = supervise::supervise(&self, &run, &input) => supervised.map_err(failure::storage),
            never = heartbeat::send(self.heartbeats(&ctx), &run.is_halted) => match never {},
        }
    }

    /// Enables or disables a destination; returns `Some` when the call must be repeated.
    #[activity(definition = SetEnabledActivity)]
    pub async fn set_enabled(
        self: Arc<Self>,
        ctx: ActivityContext,
        input: SetEnabled,
    ) -> Result<Option<Unfinished>, ActivityError> {
        let (id, is_enabled) = (input.destination_id, input.is_enabled);
        let unfinished =
            admin::set_enabled(&self.store, &deliver::name(ctx.info()), input).await.map_err(failure::storage)?;
        let backlog = self.store.stream_backlog(id).await.map_err(failure::storage)?;
        if is_enabled && unfinished.is_none() && backlog > 0 {
            self.engine.stream(id);
        }
        Ok(unfinished)
    }

    /// Tests the connection to a destination; returns the result as a sentence.
    #[activity(definition = TestActivity)]
    pub async fn test(self: Arc<Self>, ctx: ActivityContext, input: Test) -> Result<String, ActivityError> {
        let (call, token) = (deliver::name(ctx.info()), deliver::token(ctx.info(), self.random));
        admin::test(&self, input, &call, &token).await.map_err(failure::storage)
    }

    /// Redelivers to a destination, page by page for a few seconds.
    #[activity(definition = RedeliverAllActivity)]
    pub async fn redeliver_all(
        self: Arc<Self>,
        ctx: ActivityContext,
        input: RedeliverAll,
    ) -> Result<RedeliveryProgress, ActivityError> {
        admin::redeliver_all(&self.store, &deliver::name(ctx.info()), input).await.map_err(failure::storage)
    }

    /// Delivers the events of devices to a destination.
    #[activity(definition = StreamActivity)]
    pub async fn stream(self: Arc<Self>, ctx: ActivityContext, input: Stream) -> Result<Streamed, ActivityError> {
        let run = StreamRun { token: deliver::token(ctx.info(), self.random), ..StreamRun::default() };
        tokio::select! {
            streamed = stream::stream(&self, &run, &input) => streamed.map_err(failure::failure),
            never = heartbeat::send(self.heartbeats(&ctx), &run.is_halted) => match never {},
        }
    }

    /// Verifies the claims of a platform's devices.
    #[activity(definition = VerifyClaimsActivity)]
    pub async fn verify_claims(
        self: Arc<Self>,
        ctx: ActivityContext,
        input: VerifyClaims,
    ) -> Result<VerifiedClaims, ActivityError> {
        let run = ClaimsRun::default();
        tokio::select! {
            verified = claims::verify_claims(&self, &run, &input) => verified.map_err(failure::failure),
            never = run.send_heartbeats(&ctx, self.heartbeats(&ctx)) => match never {},
        }
    }

    /// Signals the runs of overdue purchases and destinations, and does the periodic clean-up.
    #[activity(definition = SweepActivity)]
    pub async fn sweep(self: Arc<Self>, ctx: ActivityContext, _round: u32) -> Result<Swept, ActivityError> {
        let run_id = ctx.info().workflow_run_id.as_deref().unwrap_or_default();
        tokio::select! {
            swept = sweep::sweep_in_time(&self, run_id) => swept.map_err(failure::failure),
            cancelled = sweep::send_heartbeats(&ctx, self.heartbeats(&ctx)) => Err(failure::failure(cancelled)),
        }
    }
}
