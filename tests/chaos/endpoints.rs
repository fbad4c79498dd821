//! All endpoints to which settle delivers: one for each app, a hostile one, one at a forbidden address, and a fake of
//! Amplitude.

use crate::plan::{Outage, place};
use serde_json::{Value, json};
use std::time::Duration;
use system_tests::amplitude::{self, Amplitude};
use system_tests::faulty::{self, Faulty};
use system_tests::http::text;
use system_tests::random::Random;
use system_tests::raw::Raw;
use system_tests::receiver::{Receiver, Reply};
use system_tests::rvs;
use system_tests::world::{World, expect_schemas};

/// The address to which settle must not deliver. Everything else listens on 127.0.0.1.
const FORBIDDEN: [u8; 4] = [127, 0, 0, 2];
/// API key of the sandbox project.
pub const KEY: &str = "2b8c66f07e5d49a1b3e8d40fsandbox";
const SECRET_KEY: &str = "c0ffee5eb7a94d21f36a8b9esecret";
/// Seconds between two attempts: few, so that many occur in a round.
const SCHEDULE: [u64; 1] = [1];
const ATTEMPTS: usize = 90;
/// Index of the app whose endpoint is down for a long time, and the seconds between two attempts at it.
pub const DOWN: usize = 3;
const LONG_SCHEDULE: [u64; 1] = [10];

/// The endpoint of an app.
pub struct Endpoint {
    pub destination_id: String,
    /// The endpoint's receiver; `None` for the world's own.
    receiver: Option<Receiver>,
    /// The endpoint's long outage, if any; then no other fault affects it.
    outage: Option<Outage>,
}

impl Endpoint {
    pub fn receiver<'a>(&'a self, world: &'a World) -> &'a Receiver {
        self.receiver.as_ref().unwrap_or(&world.receiver)
    }
}

pub struct Endpoints {
    /// The apps' endpoints, by the index of the app.
    pub own: Vec<Endpoint>,
    pub forbidden: Faulty,
    /// Destination id of the forbidden endpoint.
    pub forbidden_id: String,
    pub hostile: Faulty,
    pub analytics: Amplitude,
    /// Destination id of the Amplitude integration.
    pub analytics_id: String,
    /// Ids of all destinations that answers may disable.
    pub ids: Vec<String>,
}

impl Endpoints {
    pub async fn start() -> Self {
        let analytics = Amplitude::start().await;
        for key in [KEY, "7d1e90c4b5f2a8e36c0d51c9production"] {
            analytics.project(key, SECRET_KEY);
        }
        Self {
            own: Vec::new(),
            forbidden: Faulty::at((FORBIDDEN, 0).into()),
            forbidden_id: String::new(),
            hostile: Faulty::start(),
            analytics,
            analytics_id: String::new(),
            ids: Vec::new(),
        }
    }

    /// Returns the settings that allow settle to deliver to all endpoints except the forbidden one.
    pub fn variables(&self) -> Vec<(String, String)> {
        let all = [
            (
                "SETTLE_DESTINATIONS_ALLOWED_NETWORKS",
                "127.0.0.1/32".to_owned(),
            ),
            ("SETTLE_AMPLITUDE_ALLOWED_URLS", self.analytics.url()),
        ];
        all.map(|(name, value)| (name.to_owned(), value)).to_vec()
    }

    /// Adds the destinations of an app.
    pub async fn join(&mut self, world: &mut World, app: usize, app_id: &str) {
        let path = format!("/v1/apps/{app_id}/destinations");
        let schedule = if app == DOWN { LONG_SCHEDULE } else { SCHEDULE };
        let schedule: Vec<u64> = schedule.into_iter().cycle().take(ATTEMPTS).collect();
        let add = async |world: &World, more: Value| {
            let mut body = json!({ "schedule": schedule, "events": ["*"] });
            for (name, value) in more.as_object().into_iter().flatten() {
                body[name] = value.clone();
            }
            let added = world.api.post(&path, &body).await.ok();
            (text(&added, "id"), added)
        };
        let webhook =
            |name: &str, url: &str| json!({ "kind": "webhook", "name": name, "url": url });
        if app == 0 {
            world.set_schedule(&schedule).await;
            self.own.push(Endpoint {
                destination_id: world.destination_id.clone(),
                receiver: None,
                outage: None,
            });
            let url = format!("http://127.0.0.1:{}/hook", self.forbidden.port());
            let (id, _) = add(world, webhook("forbidden", &url)).await;
            let settings = json!({ "url": self.forbidden.scripted_url(), "headers": [] });
            let statement =
                format!("UPDATE destinations SET settings = '{settings}' WHERE id = '{id}'");
            let database = world.installation.stored_in();
            tokio::task::block_in_place(|| Raw::of(&database).run(&statement));
            world.let_be_pending(&id, "no attempt may leave for its address");
            self.forbidden_id = id;
        } else {
            let receiver = Receiver::start().await;
            let (id, added) = add(world, webhook("own", &receiver.url())).await;
            receiver.trust_shown(&added);
            self.own.push(Endpoint {
                destination_id: id,
                receiver: Some(receiver),
                outage: None,
            });
        }
        if app == 1 {
            let integration = json!({
                "kind": "amplitude", "name": "Analytics", "endpoint": self.analytics.url(), "api_key":
                "7d1e90c4b5f2a8e36c0d51c9production", "secret_key": SECRET_KEY, "sandbox_api_key": KEY,
                "events": ["user.*", "user.subscription.sku_change"],
            });
            self.analytics_id = add(world, integration).await.0;
            self.ids.push(self.analytics_id.clone());
        }
        if app == 2 {
            let hostile = add(world, webhook("hostile", &self.hostile.scripted_url())).await;
            self.ids.push(hostile.0);
        }
        let endpoint = self.own.last().expect("an endpoint");
        self.ids.push(endpoint.destination_id.clone());
        let receiver = endpoint.receiver(world);
        receiver.ignore_time();
        if app > 0 {
            expect_schemas(&world.api, receiver).await;
        }
    }

    /// Closes the ports of all apps.
    pub async fn refuse(&mut self, world: &mut World) {
        world.receiver.refuse().await;
        for endpoint in self
            .own
            .iter_mut()
            .filter(|endpoint| endpoint.outage.is_none())
        {
            if let Some(receiver) = &mut endpoint.receiver {
                receiver.refuse().await;
            }
        }
    }

    /// Reopens the ports of all apps.
    pub async fn accept(&mut self, world: &mut World) {
        world.receiver.accept().await;
        for endpoint in self
            .own
            .iter_mut()
            .filter(|endpoint| endpoint.outage.is_none())
        {
            if let Some(receiver) = &mut endpoint.receiver {
                receiver.accept().await;
            }
        }
    }

    /// Makes the endpoint of one app fail until [`Self::bring_back`].
    pub async fn take_down(&mut self, outage: Outage) {
        let endpoint = &mut self.own[DOWN];
        endpoint.outage = Some(outage);
        if let Some(receiver) = &mut endpoint.receiver {
            match outage {
                Outage::Unavailable => receiver.answer(Reply::Status(503)),
                Outage::Closed => receiver.refuse().await,
            }
        }
    }

    /// Ends the outage begun by [`Self::take_down`].
    pub async fn bring_back(&mut self) {
        let endpoint = &mut self.own[DOWN];
        if let (Some(outage), Some(receiver)) = (endpoint.outage.take(), &mut endpoint.receiver) {
            match outage {
                Outage::Unavailable => receiver.answer_truly(),
                Outage::Closed => receiver.accept().await,
            }
        }
    }

    /// Makes the endpoints answer their next requests with errors.
    pub fn disturb(&self, world: &World, random: &mut Random) {
        let elsewhere = self.forbidden.scripted_url();
        for endpoint in self.own.iter().filter(|endpoint| endpoint.outage.is_none()) {
            for _ in 0..2 + random.below(8) {
                endpoint
                    .receiver(world)
                    .answer_next(1, &reply(random, &elsewhere));
            }
        }
    }

    /// Makes the hostile endpoint attack the clients of its next requests.
    pub fn attack(&self, random: &mut Random) {
        for _ in 0..2 + random.below(5) {
            self.hostile
                .answer_next(1, &attack(random, &self.forbidden.scripted_url()));
        }
    }

    /// Makes Amplitude answer its next requests with errors.
    pub fn disturb_analytics(&self, random: &mut Random) {
        let faults: Vec<_> = (0..2 + random.below(5))
            .map(|_| analytics_fault(random))
            .collect();
        self.analytics.script(faults);
    }

    /// Makes the endpoints of all apps answer normally from now on.
    pub fn calm(&self, world: &World) {
        for endpoint in self.own.iter().filter(|endpoint| endpoint.outage.is_none()) {
            endpoint.receiver(world).answer_truly();
            endpoint.receiver(world).release();
        }
    }
}

/// Returns a random answer of an endpoint. Answers that exhaust the sender's time limit, or disable the destination,
/// are rare.
fn reply(random: &mut Random, elsewhere: &str) -> Reply {
    match random.below(30) {
        0..=4 => Reply::Status(500),
        5..=7 => Reply::Status(404),
        8..=9 => Reply::Status(429),
        10..=12 => Reply::RetryAfter(1),
        13..=16 => Reply::Drop,
        17..=21 => Reply::After(Duration::from_millis(random.below(3000))),
        22..=24 => Reply::Redirect(elsewhere.to_owned()),
        25 => Reply::RetryAfterText("soon; or, later"),
        26 => Reply::Big,
        27 => Reply::Drip,
        28 => Reply::Hang,
        _ => Reply::Status(410),
    }
}

fn attack(random: &mut Random, elsewhere: &str) -> faulty::Fault {
    use faulty::Fault;
    let all = [
        Fault::Drip,
        Fault::DripBody,
        Fault::Reset,
        Fault::Drop,
        Fault::Big,
        Fault::Bomb,
        Fault::EndlessHead,
        Fault::Never,
        Fault::Redirect(308, elsewhere.to_owned()),
    ];
    all[place(random, all.len())].clone()
}

fn analytics_fault(random: &mut Random) -> amplitude::Fault {
    use amplitude::Fault;
    let all = [
        Fault::Status(500),
        Fault::Status(503),
        Fault::AnsweredWith(504),
        Fault::Lost,
        Fault::Dropped,
        Fault::Late(Duration::from_millis(random.below(3000))),
        Fault::Mute,
    ];
    all[place(random, all.len())].clone()
}

/// Returns a random answer of RVS after which settle must retry.
pub fn store_reply(random: &mut Random) -> rvs::Reply {
    let all = [
        rvs::Reply::Status(500),
        rvs::Reply::Status(503),
        rvs::Reply::RetryAfter(1),
        rvs::Reply::Body("<html>".to_owned()),
        rvs::Reply::Late(Duration::from_millis(random.below(3000))),
        rvs::Reply::Hang,
    ];
    all[place(random, all.len())].clone()
}
