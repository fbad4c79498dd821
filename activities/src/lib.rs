#![doc = include_str!("../README.md")]

mod address;
mod admin;
mod deliver;
pub mod destinations;
pub mod engine;
mod failure;
pub mod http;
mod load;
pub mod outcome;
mod pace;
mod record;
pub mod stores;
mod sweep;
mod verify;
pub mod worker;

pub use verify::Asking;

use domain::{Lane, Timestamp};
use std::sync::Arc;
use storage::Store;
use temporalio_common::ActivityError;
use temporalio_macros::activities;
use temporalio_sdk::activities::ActivityContext;
use workflows::asks::{
    Deliver, DeliverActivity, Delivered, DiscardActivity, HoldActivity, KeepHold, Load, LoadActivity, Loaded, Record,
    RecordActivity, Recorded, RedeliverActivity, SendAgain, SweepActivity, Swept, ThrowAway, Verified, Verify,
    VerifyActivity,
};

/// Everything that an activity may use.
#[derive(Clone)]
pub struct Doing {
    /// What is remembered.
    pub store: Store,
    /// The only way out.
    pub http: http::Http,
    /// Whether destinations may be reached by plain HTTP.
    pub allow_http: bool,
    /// How stores are asked for the truth.
    pub asking: Arc<Asking>,
    /// Temporal, to wake purchases.
    pub engine: engine::Engine,
    /// The wall clock: for the signature's timestamp and the attempt's log.
    pub clock: fn() -> Timestamp,
    /// A random number in 0..1, for the spread of retries.
    pub random: fn() -> f64,
}

#[activities]
impl Doing {
    /// Reads the purchase, what waits for it and its open lanes.
    #[activity(definition = LoadActivity)]
    pub async fn load(self: Arc<Self>, _ctx: ActivityContext, input: Load) -> Result<Loaded, ActivityError> {
        load::load(&self.store, input).await.map_err(failure::storage)
    }

    /// Asks the store what is true, once.
    #[activity(definition = VerifyActivity)]
    pub async fn verify(self: Arc<Self>, _ctx: ActivityContext, input: Verify) -> Result<Verified, ActivityError> {
        verify::verify(&self, input.collapse_key).await.map_err(failure::storage)
    }

    /// Keeps a decision.
    #[activity(definition = RecordActivity)]
    pub async fn record(self: Arc<Self>, _ctx: ActivityContext, input: Record) -> Result<Recorded, ActivityError> {
        record::record(&self.store, input).await.map_err(failure::storage)
    }

    /// Attempts what a lane owes.
    #[activity(definition = DeliverActivity)]
    pub async fn deliver(self: Arc<Self>, ctx: ActivityContext, input: Deliver) -> Result<Delivered, ActivityError> {
        deliver::deliver(&self, &deliver::token(ctx.info()), &input).await.map_err(failure::failure)
    }

    /// Keeps a hold, or its end.
    #[activity(definition = HoldActivity)]
    pub async fn hold(self: Arc<Self>, _ctx: ActivityContext, input: KeepHold) -> Result<(), ActivityError> {
        admin::hold(&self.store, input).await.map_err(failure::storage)
    }

    /// Throws away what waits.
    #[activity(definition = DiscardActivity)]
    pub async fn discard(self: Arc<Self>, _ctx: ActivityContext, input: ThrowAway) -> Result<i64, ActivityError> {
        admin::discard(&self.store, input).await.map_err(failure::storage)
    }

    /// Sends the newest state again.
    #[activity(definition = RedeliverActivity)]
    pub async fn redeliver(
        self: Arc<Self>,
        _ctx: ActivityContext,
        input: SendAgain,
    ) -> Result<Vec<Lane>, ActivityError> {
        admin::redeliver(&self.store, input).await.map_err(failure::storage)
    }

    /// Wakes what is overdue.
    #[activity(definition = SweepActivity)]
    pub async fn sweep(self: Arc<Self>, _ctx: ActivityContext, _round: u32) -> Result<Swept, ActivityError> {
        sweep::sweep(&self.store, &self.engine).await.map_err(failure::storage)
    }
}
