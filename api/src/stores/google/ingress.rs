//! Google Play's ingress, as the interface that all stores share.

use super::{Google, STORE};
use crate::stores::ingress::{Answer, Ingress, StoreRequest};
use crate::stores::intake::Intake;
use axum::http::HeaderMap;
use futures::FutureExt as _;
use futures::future::BoxFuture;

impl Ingress for Google {
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

    fn check_headers<'a>(
        &'a self,
        intake: Intake<'a>,
        ingress_key: &'a str,
        headers: &'a HeaderMap,
    ) -> BoxFuture<'a, Result<(), Answer>> {
        self.check(intake, ingress_key, headers).boxed()
    }

    fn receive<'a>(
        &'a self,
        intake: Intake<'a>,
        request: StoreRequest<'a>,
    ) -> BoxFuture<'a, Answer> {
        self.take(intake, request).boxed()
    }
}
