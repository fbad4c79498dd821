//! A Google platform beside the Amazon one of a world's app, created through the public API.

use super::{Notice, Play, Push, access, push};
use crate::clock::Clock;
use crate::http::{Answer, Api, post_as_pubsub, text};
use crate::sns::PACKAGE;
use crate::wait;
use crate::world::{SOON, Setting, World};
use domain::{CollapseKey, PlatformId};
use futures::future::join_all;
use serde_json::{Value, json};

/// Number of messages that [`World::push_concurrently`] pushes at the same time.
const AT_ONCE: usize = 16;

/// How a world uses Google Play.
#[derive(Debug, Clone, Copy)]
pub struct Choices {
    /// Who acknowledges purchases: `app` or `settle`.
    pub acknowledge: &'static str,
    /// The app's account ids: `opaque` or `external`.
    pub account_ids: &'static str,
    /// How long an unreachable store is waited for; the default without a value.
    pub patience: Option<&'static str>,
}

impl Default for Choices {
    fn default() -> Self {
        Self {
            acknowledge: "app",
            account_ids: "external",
            patience: None,
        }
    }
}

/// A platform with the fake that it uses.
pub struct PlayPlatform {
    pub fake: Play,
    pub id: PlatformId,
    /// URL to which messages are pushed.
    pub notification_url: String,
}

impl Play {
    /// Starts the fake that a setting has, with this clock, and adds its variables to the setting.
    pub async fn begin(setting: &mut Setting, clock: Option<&Clock>) -> Option<(Self, Choices)> {
        let choices = setting.play?;
        let fake = Self::start().await;
        if let Some(clock) = clock {
            fake.follow(clock.reader());
        }
        setting.variables.extend(fake.variables(choices));
        Some((fake, choices))
    }

    /// Returns the variables with which every process uses this fake in place of Google.
    pub fn variables(&self, choices: Choices) -> Vec<(String, String)> {
        let url = self.url();
        let keys = format!("{url}/keys");
        let patience = choices
            .patience
            .map(|time| ("SETTLE_GOOGLE_PATIENCE", time.to_owned()));
        let own = [
            ("SETTLE_GOOGLE_API_URL", url),
            ("SETTLE_GOOGLE_KEYS_URL", keys),
            ("SETTLE_GOOGLE_REQUESTS_PER_SECOND", "1000".to_owned()),
        ];
        let all = own.into_iter().chain(patience);
        all.map(|(name, value)| (name.to_owned(), value)).collect()
    }
}

impl Choices {
    /// Returns the request that creates a platform with these choices.
    pub fn new_platform(self, window_seconds: u64) -> Value {
        json!({
            "store": "google", "name": "play", "package_name": PACKAGE, "environment": "production",
            "window_seconds": window_seconds, "no_older_process": true,
            "store_settings": {
                "subscription": push::SUBSCRIPTION, "push_account": push::ACCOUNT,
                "acknowledge": self.acknowledge, "account_ids": self.account_ids,
                "service_account": access::key_file(),
            },
        })
    }
}

impl PlayPlatform {
    /// Creates the platform of a fake from [`Play::begin`], if there is one.
    ///
    /// # Panics
    /// When the service refuses it.
    pub async fn create_begun(
        begun: Option<(Play, Choices)>,
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
        fake: Play,
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
    /// Creates the world's Google platform later than the world. Processes use the fake if they have its variables.
    ///
    /// # Panics
    /// When the service refuses the platform.
    pub async fn connect_play(&mut self, fake: Play, choices: Choices) {
        let window = self.setting.window_seconds;
        let created = PlayPlatform::create(fake, choices, &self.api, &self.app_id, window).await;
        self.play = Some(created);
    }

    /// Returns the world's Google platform.
    ///
    /// # Panics
    /// When the world has none.
    pub fn play(&self) -> &PlayPlatform {
        self.play.as_ref().expect("a setting with `play`")
    }

    /// Returns the collapse key of a purchase at Google.
    pub fn play_key(&self, token: &str) -> CollapseKey {
        CollapseKey::of(self.play().id, token)
    }

    /// Pushes a notification in the way of Pub/Sub, and returns its message id.
    ///
    /// # Panics
    /// When the answer is not 204.
    pub async fn push(&mut self, notice: &Notice) -> String {
        let message = notice.message();
        let answer = self.post_push(&message).await;
        assert_eq!(answer.map(|answer| answer.status), Ok(204), "{notice:?}");
        message.id
    }

    /// Pushes notifications, several at the same time, and returns their message ids.
    ///
    /// # Panics
    /// When an answer is not 204.
    pub async fn push_concurrently(&mut self, notices: &[Notice]) -> Vec<String> {
        let platform = self.play();
        let url = platform.notification_url.clone();
        let bearer = push::bearer(platform.fake.now());
        let messages: Vec<Push> = notices.iter().map(Notice::message).collect();
        for together in messages.chunks(AT_ONCE) {
            let posts = together
                .iter()
                .map(|message| post_as_pubsub(&url, &bearer, &message.body));
            for answer in join_all(posts).await {
                let status = answer.map(|answer| answer.status);
                assert_eq!(status, Ok(204), "a message that is not accepted");
            }
        }
        let ids: Vec<String> = messages.into_iter().map(|message| message.id).collect();
        self.accepted.extend_from_slice(&ids);
        ids
    }

    /// Pushes a message repeatedly, like Pub/Sub, until it is answered 204.
    ///
    /// # Panics
    /// When the deadline passes.
    pub async fn push_until_accepted(&mut self, message: &Push) {
        wait::until(SOON, "a 204", async || {
            match self.post_push(message).await {
                Ok(answer) if answer.status == 204 => Ok(()),
                other => Err(format!("{other:?}")),
            }
        })
        .await;
    }

    /// Pushes a message and returns any answer. If the answer is 204, the message must have an outcome at the end.
    ///
    /// # Errors
    /// When nothing answers.
    pub async fn post_push(&mut self, message: &Push) -> Result<Answer, String> {
        let platform = self.play();
        let (url, now) = (platform.notification_url.clone(), platform.fake.now());
        let answer = message.post(&url, now).await?;
        if answer.status == 204 && !self.accepted.contains(&message.id) {
            self.accepted.push(message.id.clone());
        }
        Ok(answer)
    }
}
