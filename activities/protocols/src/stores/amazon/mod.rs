//! Amazon's Receipt Verification Service (RVS), version 1.0.
//!
//! See <https://developer.amazon.com/docs/in-app-purchasing/iap-rvs-for-android-apps.html>.

pub mod request;
pub mod response;
mod settings;
mod term;

#[cfg(test)]
mod tests;

pub use settings::Settings;

use crate::http::Request;
use crate::stores::{Answer, Bucket, CheckStep, Replied, Simulated, StoreProtocol, Subject};
use domain::notification::is_sample_purchase;
use domain::{Environment, Parked, Verification};
use std::time::Duration;
use storage::StorePart;

/// Name of the store in the column `platforms.store`.
pub const STORE: &str = "amazon";

/// The verification with RVS: one request per check.
#[derive(Debug, Clone)]
pub struct Amazon {
    settings: Settings,
    /// The simulated store, and the settings with its base URL.
    simulated: Option<(Simulated, Settings)>,
}

impl Amazon {
    pub fn new(settings: Settings, simulated: Option<Simulated>) -> Self {
        let simulated = simulated.map(|simulated| {
            let base = Some(simulated.base.clone());
            (
                simulated,
                Settings {
                    base,
                    ..settings.clone()
                },
            )
        });
        Self {
            settings,
            simulated,
        }
    }

    /// Returns the settings of the simulated store, if it verifies the purchase.
    fn simulated(&self, subject: &Subject) -> Option<&Settings> {
        let (simulated, settings) = self.simulated.as_ref()?;
        simulated.verifies(subject).then_some(settings)
    }

    /// Returns the request of a check, or the check's answer if no request can be sent.
    fn request(&self, subject: &Subject) -> Result<Request, Answer> {
        let Some(settings) = self.simulated(subject) else {
            // A sample of another data directory, or of one that now runs `settle serve`: no store knows it.
            if is_sample_purchase(&subject.receipt_id) {
                let unknown = Verification::Parked(Parked::UnknownReceipt);
                return Err(Answer::Verification(unknown));
            }
            return request::request(&self.settings, subject);
        };
        let own = Subject {
            environment: Environment::Sandbox,
            app_user_id: subject.app_user_id.clone(),
            receipt_id: subject.receipt_id.clone(),
            secret: subject.platform.to_string().into(),
            own: StorePart::default(),
            package_name: String::new(),
            known: None,
            reported: Vec::new(),
            ..*subject
        };
        request::request(settings, &own)
    }

    /// Interprets the reply to a request.
    fn answer(&self, subject: &Subject, Replied { reply, at }: &Replied) -> Answer {
        // The store's response does not contain the environment: it is that of the request.
        let environment = match self.simulated(subject) {
            None => subject.environment,
            Some(_) => Environment::Sandbox,
        };
        match response::answer(reply, &subject.receipt_id, *at) {
            Answer::Verification(verification) => {
                Answer::Verification(verification.of(environment))
            }
            other => other,
        }
    }
}

impl StoreProtocol for Amazon {
    fn name(&self) -> &'static str {
        STORE
    }

    fn per_second(&self) -> u32 {
        self.settings.per_second
    }

    fn give_up_after(&self) -> Duration {
        self.settings.give_up_after
    }

    fn next(&self, subject: &Subject, replies: &[Replied]) -> CheckStep {
        if let Some(replied) = replies.last() {
            return CheckStep::Done(self.answer(subject, replied));
        }
        let bucket = Bucket {
            name: "rvs",
            per_second: self.settings.per_second,
        };
        match self.request(subject) {
            Ok(request) => CheckStep::Send(Box::new(request), bucket),
            Err(answer) => CheckStep::Done(answer),
        }
    }
}
