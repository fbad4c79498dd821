//! Amazon's ingress, as the interface that all stores share.

use super::topic::Arn;
use super::{Amazon, STORE, sample};
use crate::stores::ingress::{Answer, Ingress, StoreRequest, Topics};
use crate::stores::intake::Intake;
use crate::stores::samples::{NoSample, SampleSettings, Samples, SentSample};
use futures::FutureExt as _;
use futures::future::BoxFuture;
use secrecy::SecretString;
use storage::Platform;

impl Ingress for Amazon {
    fn name(&self) -> &'static str {
        STORE
    }

    fn check_key<'a>(
        &'a self,
        intake: Intake<'a>,
        ingress_key: &'a str,
    ) -> BoxFuture<'a, Result<(), Answer>> {
        self.check_key(intake.store, ingress_key).boxed()
    }

    fn receive<'a>(
        &'a self,
        intake: Intake<'a>,
        request: StoreRequest<'a>,
    ) -> BoxFuture<'a, Answer> {
        self.receive(intake, request.ingress_key, request.body)
            .boxed()
    }

    fn samples(&self) -> Option<&dyn Samples> {
        Some(self)
    }

    fn topics(&self) -> Option<&dyn Topics> {
        Some(self)
    }
}

impl Topics for Amazon {
    fn confirm<'a>(&'a self, subscribe_url: &'a SecretString) -> BoxFuture<'a, Result<(), String>> {
        async move {
            let visited = self.visit(subscribe_url).await;
            visited.map_err(|error| error.to_string())
        }
        .boxed()
    }

    fn check(&self, name: &str) -> Result<(), String> {
        Arn::parse(name).map(drop).map_err(|refusal| {
            format!("an ARN such as arn:aws:sns:us-east-1:123456789012:name ({refusal})")
        })
    }

    /// Returns the id of the AWS account that owns the topic: twelve digits.
    fn account(&self, name: &str) -> Option<String> {
        Arn::read(name).ok().map(|arn| arn.account.to_owned())
    }
}

impl Samples for Amazon {
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
