//! An App Store platform beside the Amazon one of a world's app, created through the public API.

use super::notice::SUCCESS;
use super::{APP_ID, AppStore, Message, Notice, access};
use crate::clock::Clock;
use crate::http::{Answer, Api, send_raw, text};
use crate::sns::PACKAGE;
use crate::wait;
use crate::world::{SOON, Setting, World};
use domain::{CollapseKey, PlatformId};
use reqwest::Method;
use serde_json::{Value, json};

/// How a world uses the App Store.
#[derive(Debug, Clone, Copy)]
pub struct Choices {
    /// The platform's environment: `production`, which also takes what is in the sandbox, or `sandbox`.
    pub environment: &'static str,
    /// The app's account tokens: `opaque` or `external`.
    pub account_ids: &'static str,
    /// Whether the platform has a key, without which Apple cannot be queried.
    pub has_key: bool,
}

impl Default for Choices {
    fn default() -> Self {
        Self {
            environment: "production",
            account_ids: "external",
            has_key: true,
        }
    }
}

/// A platform with the fake that it uses.
pub struct AppStorePlatform {
    pub fake: AppStore,
    pub id: PlatformId,
    /// URL to which notifications are posted.
    pub notification_url: String,
}

impl AppStore {
    /// Starts the fake that a setting has, with this clock, and adds its variables to the setting.
    pub async fn begin(setting: &mut Setting, clock: Option<&Clock>) -> Option<(Self, Choices)> {
        let choices = setting.appstore?;
        let fake = Self::start().await;
        if let Some(clock) = clock {
            fake.follow(clock.reader());
        }
        setting.variables.extend(fake.variables());
        Some((fake, choices))
    }

    /// Returns the variables with which every process uses this fake in place of Apple.
    pub fn variables(&self) -> Vec<(String, String)> {
        let root = self.root_file().display().to_string();
        vec![
            ("SETTLE_APPLE_API_URL".to_owned(), self.url()),
            ("SETTLE_APPLE_ROOT_CERTIFICATE".to_owned(), root),
        ]
    }
}

impl Choices {
    /// Returns the request that creates a platform with these choices.
    pub fn new_platform(self, window_seconds: u64) -> Value {
        let mut settings = json!({
            "app_apple_id": APP_ID.to_string(), "account_ids": self.account_ids,
        });
        if self.has_key {
            settings["issuer_id"] = json!(access::ISSUER);
            settings["key_id"] = json!(access::KEY_ID);
            settings["private_key"] = json!(access::key_file());
        }
        json!({
            "store": "apple", "name": "app store", "package_name": PACKAGE, "environment": self.environment,
            "window_seconds": window_seconds, "no_older_process": true, "store_settings": settings,
        })
    }
}

impl AppStorePlatform {
    /// Creates the platform of a fake from [`AppStore::begin`], if there is one.
    ///
    /// # Panics
    /// When the service refuses it.
    pub async fn create_begun(
        begun: Option<(AppStore, Choices)>,
        api: &Api,
        app_id: &str,
        window_seconds: u64,
    ) -> Option<Self> {
        let (fake, choices) = begun?;
        Some(Self::create(fake, choices, api, app_id, window_seconds).await)
    }

    /// Creates the platform in an app.
    ///
    /// # Panics
    /// When the service refuses it.
    pub async fn create(
        fake: AppStore,
        choices: Choices,
        api: &Api,
        app_id: &str,
        window_seconds: u64,
    ) -> Self {
        let body = choices.new_platform(window_seconds);
        let path = format!("/v1/apps/{app_id}/platforms");
        let created = api.post(&path, &body).await.ok();
        Self {
            fake,
            id: text(&created, "id").parse().expect("a platform id"),
            notification_url: text(&created, "notification_url"),
        }
    }
}

impl World {
    /// Creates the world's App Store platform later than the world. Processes use the fake if they have its variables.
    ///
    /// # Panics
    /// When the service refuses the platform.
    pub async fn connect_appstore(&mut self, fake: AppStore, choices: Choices) {
        let window = self.setting.window_seconds;
        let created = AppStorePlatform::create(fake, choices, &self.api, &self.app_id, window);
        self.appstore = Some(created.await);
    }

    /// Returns the world's App Store platform.
    ///
    /// # Panics
    /// When the world has none.
    pub fn appstore(&self) -> &AppStorePlatform {
        self.appstore.as_ref().expect("a setting with `appstore`")
    }

    /// Returns the collapse key of a purchase at the App Store.
    pub fn appstore_key(&self, original_id: &str) -> CollapseKey {
        CollapseKey::of(self.appstore().id, original_id)
    }

    /// Signs a notification and sends it in the way of the App Store.
    ///
    /// # Panics
    /// When the answer is not 200.
    pub async fn notify(&mut self, notice: &Notice) -> Message {
        let message = notice.message(self.appstore().fake.chain());
        let answer = self.post_notification(&message).await;
        assert_eq!(answer.map(|answer| answer.status), Ok(200), "{notice:?}");
        message
    }

    /// Sends a signed notification repeatedly until it is answered 200.
    ///
    /// # Panics
    /// When the deadline passes.
    pub async fn notify_until_accepted(&mut self, message: &Message) {
        wait::until(SOON, "a 200", async || {
            match self.post_notification(message).await {
                Ok(answer) if answer.status == 200 => Ok(()),
                other => Err(format!("{other:?}")),
            }
        })
        .await;
    }

    /// Sends a signed notification and returns any answer, which the App Store's history shows. If the answer is 200,
    /// the notification must have an outcome at the end.
    ///
    /// # Errors
    /// When nothing answers.
    pub async fn post_notification(&mut self, message: &Message) -> Result<Answer, String> {
        let answer = self.post_to_appstore(&message.body()).await;
        let is_accepted = answer.as_ref().is_ok_and(|answer| answer.status == 200);
        let result = match &answer {
            Ok(_) if is_accepted => SUCCESS,
            Ok(_) => "UNSUCCESSFUL_HTTP_RESPONSE_CODE",
            Err(_) => "NO_RESPONSE",
        };
        self.appstore().fake.record(message, result);
        if is_accepted && !self.accepted.contains(&message.uuid) {
            self.accepted.push(message.uuid.clone());
        }
        answer
    }

    /// Posts any body to the URL for the App Store's notifications. The answer is not checked against the OpenAPI
    /// document.
    ///
    /// # Errors
    /// When nothing answers.
    pub async fn post_to_appstore(&self, body: &str) -> Result<Answer, String> {
        let headers = [("content-type", "application/json".to_owned())];
        let url = &self.appstore().notification_url;
        send_raw(Method::POST, url, &headers, body.as_bytes().to_vec()).await
    }
}
