//! The App Store's ingress, as the interface that all stores share.

use super::{Apple, STORE, sample};
use crate::stores::ingress::{Answer, Ingress, StoreRequest};
use crate::stores::intake::Intake;
use crate::stores::samples::{NoSample, SampleSettings, Samples, SentSample};
use domain::Timestamp;
use futures::FutureExt as _;
use futures::future::BoxFuture;
use storage::{Platform, SignedReceipt};

impl Ingress for Apple {
    fn name(&self) -> &'static str {
        STORE
    }

    fn check_key<'a>(
        &'a self,
        intake: Intake<'a>,
        ingress_key: &'a str,
    ) -> BoxFuture<'a, Result<(), Answer>> {
        let now = (self.settings.clock)();
        self.inbox.check_key(intake.store, ingress_key, now).boxed()
    }

    fn receive<'a>(
        &'a self,
        intake: Intake<'a>,
        request: StoreRequest<'a>,
    ) -> BoxFuture<'a, Answer> {
        self.take(intake, request).boxed()
    }

    fn signed_receipt(
        &self,
        platform: &Platform,
        text: &str,
        now: Timestamp,
    ) -> Option<Result<SignedReceipt, &'static str>> {
        Some(self.receipt(platform, text, now))
    }

    fn samples(&self) -> Option<&dyn Samples> {
        Some(self)
    }
}

impl Samples for Apple {
    fn are_taken(&self) -> Result<(), NoSample> {
        self.samples.as_ref().map(drop).ok_or(NoSample::NotTrusted)
    }

    fn types(&self) -> &'static [(&'static str, &'static str)] {
        sample::TYPES
    }

    fn type_named(&self, name: &str) -> Result<&'static str, String> {
        sample::store_type(name)
    }

    fn send<'a>(
        &'a self,
        intake: Intake<'a>,
        platform: &'a Platform,
        wanted: SampleSettings,
    ) -> BoxFuture<'a, Result<SentSample, NoSample>> {
        self.sample(intake, platform, wanted).boxed()
    }
}
