#![doc = include_str!("../README.md")]

mod actions;
mod admin;
mod alone;
mod delivery;
mod dependencies;
pub mod engine;
mod failing;
mod failure;
mod heartbeat;
pub mod http;
mod raised;
mod settling;
mod spans;
mod streak;
mod sweep;
pub mod worker;

pub use actions::Actions;
pub use delivery::in_flight::InFlight;
pub use delivery::local_attempts::LocalAttempts;
pub use delivery::refused_lanes::RefusedLanes;
pub use delivery::slots::DeliverySlots;
pub use delivery::volume::Volume;
pub use dependencies::Context;
pub use raised::RaisedAlarms;
pub use settling::verifier::Verifier;

use delivery::stream::StreamRun;
use delivery::supervise::run::SuperviseRun;
use delivery::{deliver, stream, supervise};
use domain::Lane;
use failing::Work;
use settling::claims::{self, ClaimsRun};
use settling::settle::{self, Attempt};
use settling::verify;
use std::sync::Arc;
use temporalio_common::ActivityError;
use temporalio_macros::activities;
use temporalio_sdk::activities::ActivityContext;
use workflows::activities::{
    Deliver, DeliverActivity, Delivered, Discard, DiscardActivity, HoldActivity, Record,
    RecordActivity, Recorded, Redeliver, RedeliverActivity, RedeliverAll, RedeliverAllActivity,
    RedeliveryProgress, SetEnabled, SetEnabledActivity, SetHold, Settle, SettleActivity, Settled,
    Stream, StreamActivity, Streamed, Supervise, SuperviseActivity, Supervised, SweepActivity,
    Swept, Test, TestActivity, Unfinished, Verified, VerifiedClaims, Verify, VerifyActivity,
    VerifyClaims, VerifyClaimsActivity,
};

#[activities]
impl Context {
    /// Loads a purchase, and settles it unless the store must be queried first.
    #[activity(definition = SettleActivity)]
    pub async fn settle(
        self: Arc<Self>,
        ctx: ActivityContext,
        input: Settle,
    ) -> Result<Settled, ActivityError> {
        let key = input.collapse_key;
        let run = async {
            let attempt = if ctx.info().is_local {
                Attempt::First
            } else {
                Attempt::Repeated
            };
            for flush in &input.flushes {
                let call = deliver::flush_name(ctx.info(), flush.number);
                admin::flushed(&self.store, &flush.admin, key, &call).await?;
            }
            settle::settle(&self, input, attempt).await
        };
        self.noting(&ctx, Work::Settling(key), run).await
    }

    /// Queries the purchase's store once.
    #[activity(definition = VerifyActivity)]
    pub async fn verify(
        self: Arc<Self>,
        ctx: ActivityContext,
        input: Verify,
    ) -> Result<Verified, ActivityError> {
        let key = input.collapse_key;
        self.noting(&ctx, Work::Settling(key), verify::verify(&self, key))
            .await
    }

    /// Records a decision of the workflow.
    #[activity(definition = RecordActivity)]
    pub async fn record(
        self: Arc<Self>,
        ctx: ActivityContext,
        input: Record,
    ) -> Result<Recorded, ActivityError> {
        self.noting(
            &ctx,
            Work::Settling(input.collapse_key),
            settle::record(&self, input),
        )
        .await
    }

    /// Attempts the deliveries of a lane, for a purchase's run.
    #[activity(definition = DeliverActivity)]
    pub async fn deliver(
        self: Arc<Self>,
        ctx: ActivityContext,
        input: Deliver,
    ) -> Result<Delivered, ActivityError> {
        let (context, info, token) = (
            Arc::clone(&self),
            ctx.info(),
            deliver::token(ctx.info(), self.random),
        );
        let work = Work::Lane(input.collapse_key, input.destination_id);
        let run = async {
            if info.is_local {
                deliver::within_task(self, token, input).await
            } else {
                deliver::deliver(&self, &token, &input).await
            }
        };
        context.noting(&ctx, work, run).await
    }

    /// Sets or releases a hold on a purchase.
    #[activity(definition = HoldActivity)]
    pub async fn hold(
        self: Arc<Self>,
        ctx: ActivityContext,
        input: SetHold,
    ) -> Result<(), ActivityError> {
        let (call, work) = (
            deliver::name(ctx.info()),
            Work::PurchaseRequest(input.collapse_key),
        );
        self.noting(&ctx, work, admin::hold(&self.store, &call, input))
            .await
    }

    /// Discards the waiting notifications of a purchase. Returns their number.
    #[activity(definition = DiscardActivity)]
    pub async fn discard(
        self: Arc<Self>,
        ctx: ActivityContext,
        input: Discard,
    ) -> Result<i64, ActivityError> {
        let (call, work) = (
            deliver::name(ctx.info()),
            Work::PurchaseRequest(input.collapse_key),
        );
        self.noting(&ctx, work, admin::discard(&self.store, &call, input))
            .await
    }

    /// Redelivers the latest state of a purchase and its failed `user.*` events. Returns its open lanes.
    #[activity(definition = RedeliverActivity)]
    pub async fn redeliver(
        self: Arc<Self>,
        ctx: ActivityContext,
        input: Redeliver,
    ) -> Result<Vec<Lane>, ActivityError> {
        let (call, work) = (
            deliver::name(ctx.info()),
            Work::PurchaseRequest(input.collapse_key),
        );
        self.noting(&ctx, work, admin::redeliver(&self.store, &call, input))
            .await
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
        let run = SuperviseRun::new(
            input.destination_id,
            token,
            info.attempt,
            self.stopping.clone(),
        );
        let work = Work::Backlog(input.destination_id);
        tokio::select! {
            supervised = self.noting(&ctx, work, supervise::supervise(&self, &run, &input)) => supervised,
            never = heartbeat::send(self.heartbeats(&ctx), &run.is_halted) => match never {},
        }
    }

    /// Enables or disables a destination. Returns `Some` if the call must be repeated.
    #[activity(definition = SetEnabledActivity)]
    pub async fn set_enabled(
        self: Arc<Self>,
        ctx: ActivityContext,
        input: SetEnabled,
    ) -> Result<Option<Unfinished>, ActivityError> {
        let (call, id) = (deliver::name(ctx.info()), input.destination_id);
        self.noting(
            &ctx,
            Work::DestinationRequest(id),
            admin::set_enabled(&self, &call, input),
        )
        .await
    }

    /// Tests the connection to a destination. Returns the result as a sentence.
    #[activity(definition = TestActivity)]
    pub async fn test(
        self: Arc<Self>,
        ctx: ActivityContext,
        input: Test,
    ) -> Result<String, ActivityError> {
        let (call, token) = (
            deliver::name(ctx.info()),
            deliver::token(ctx.info(), self.random),
        );
        let work = Work::DestinationRequest(input.destination_id);
        self.noting(&ctx, work, admin::test(&self, input, &call, &token))
            .await
    }

    /// Redelivers to a destination, page by page for a few seconds.
    #[activity(definition = RedeliverAllActivity)]
    pub async fn redeliver_all(
        self: Arc<Self>,
        ctx: ActivityContext,
        input: RedeliverAll,
    ) -> Result<RedeliveryProgress, ActivityError> {
        let (call, work) = (
            deliver::name(ctx.info()),
            Work::DestinationRequest(input.destination_id),
        );
        self.noting(&ctx, work, admin::redeliver_all(&self.store, &call, input))
            .await
    }

    /// Delivers device events to a destination.
    #[activity(definition = StreamActivity)]
    pub async fn stream(
        self: Arc<Self>,
        ctx: ActivityContext,
        input: Stream,
    ) -> Result<Streamed, ActivityError> {
        let run = StreamRun {
            token: deliver::token(ctx.info(), self.random),
            ..StreamRun::default()
        };
        let work = Work::Stream(input.destination_id);
        tokio::select! {
            streamed = self.noting(&ctx, work, stream::stream(&self, &run, &input)) => streamed,
            never = heartbeat::send(self.heartbeats(&ctx), &run.is_halted) => match never {},
        }
    }

    /// Verifies the claims of the devices on a platform, and starts the query of its store that a person requests.
    #[activity(definition = VerifyClaimsActivity)]
    pub async fn verify_claims(
        self: Arc<Self>,
        ctx: ActivityContext,
        input: VerifyClaims,
    ) -> Result<VerifiedClaims, ActivityError> {
        let run = ClaimsRun::default();
        let work = Work::Claims(input.platform_id);
        tokio::select! {
            verified = self.noting(&ctx, work, claims::verify_claims(&self, &run, &input)) => verified,
            never = run.send_heartbeats(&ctx, self.heartbeats(&ctx)) => match never {},
        }
    }

    /// Signals the runs of overdue purchases and destinations, and does the periodic clean-up.
    #[activity(definition = SweepActivity)]
    pub async fn sweep(
        self: Arc<Self>,
        ctx: ActivityContext,
        round: u32,
    ) -> Result<Swept, ActivityError> {
        let run_id = ctx.info().workflow_run_id.as_deref().unwrap_or_default();
        // A repeated attempt begins with another part, since a part that hung may have taken all the time.
        let first_part = round.wrapping_add(ctx.info().attempt.saturating_sub(1));
        let run = async {
            tokio::select! {
                swept = sweep::sweep_in_time(&self, run_id, first_part) => swept,
                cancelled = sweep::send_heartbeats(&ctx, self.heartbeats(&ctx)) => Err(cancelled),
            }
        };
        self.noting(&ctx, Work::Sweep, run).await
    }
}
