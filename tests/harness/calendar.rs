//! A world with a clock that the test moves: changes of subscriptions happen in order of their times, and in between,
//! the program's own sweep checks the purchases whose `next_wake_at` has passed.

use super::clock::Clock;
use super::leases::Leases;
use super::process::Variable;
use super::random::Random;
use super::sns::Rtn;
use super::subscription::Subscription;
use super::wait;
use super::world::{SOON, Setting, World};
use domain::Timestamp;
use serde_json::Value;
use std::os::unix::process::ExitStatusExt as _;
use std::time::Duration;
use workflows::contract;

/// A change of subscriptions at one time.
#[derive(Debug, Clone)]
pub struct Step {
    pub at: Timestamp,
    /// The subscriptions as Amazon returns them from this time on.
    pub shown: Vec<Subscription>,
    /// The notifications of the change that reach settle.
    pub notifications: Vec<Rtn>,
}

/// A world on SQLite with a clock that the test moves, but only while no live process has a request in flight: see
/// [`Leases`].
pub struct Calendar {
    /// The underlying world. [`Calendar::restart`] restarts its processes.
    pub world: World,
    clock: Clock,
    leases: Leases,
    now: Timestamp,
    lag: Option<Lag>,
}

/// Random delays after which Amazon shows a change; each group of fields has its own.
struct Lag {
    random: Random,
    max_ms: u64,
}

impl Lag {
    fn at(&mut self, now: Timestamp) -> Timestamp {
        now.plus_millis(i64::try_from(self.random.below(self.max_ms)).unwrap_or_default())
    }
}

impl Calendar {
    /// Starts a world with verification, a short window and a webhook for all events, with the clock at `now`.
    pub async fn start(now: Timestamp) -> Self {
        Self::start_with(now, Setting::default()).await
    }

    /// Like [`Self::start`], with these settings as well.
    pub async fn start_with(now: Timestamp, setting: Setting) -> Self {
        Self::begin(
            now,
            Setting {
                window_seconds: 1,
                events: vec!["*".to_owned()],
                ..setting
            },
        )
        .await
    }

    /// Like [`Self::start_with`], but with the window and the events of these settings.
    pub async fn begin(now: Timestamp, mut setting: Setting) -> Self {
        let clock = Clock::new(now);
        let own = [
            ("FAILPOINTS", clock.fail_point()),
            ("SETTLE_AMAZON_RVS_PER_SECOND", "1000".to_owned()),
        ];
        setting
            .variables
            .extend(own.map(|(name, value)| (name.to_owned(), value)));
        let setting = Setting {
            rvs: true,
            ..setting
        };
        let mut world = World::start_at(setting, Some(&clock)).await;
        world.let_sweep_help("its clock is moved, and timers in Temporal do not move with it");
        world.receiver.ignore_time();
        let leases = Leases::of(&mut world);
        Self {
            world,
            clock,
            leases,
            now,
            lag: None,
        }
    }

    /// Restarts the processes with the same clock.
    pub async fn restart(&mut self) {
        self.start_again(&self.clock.fail_point()).await;
    }

    /// Like [`Self::restart`], with this fail point as well.
    pub async fn restart_with(&mut self, fail_point: &str) {
        self.start_again(&format!("{};{fail_point}", self.clock.fail_point()))
            .await;
    }

    /// Waits until the process has aborted itself at a fail point.
    ///
    /// # Panics
    /// When it ends otherwise.
    pub async fn wait_abort(&mut self, point: &str) {
        let exit = self.world.worker().wait_end().await;
        assert_eq!(
            exit.signal(),
            Some(6),
            "{point}: ended with {exit} and not by aborting itself"
        );
    }

    async fn start_again(&mut self, fail_points: &str) {
        self.world.kill9();
        self.leases.leave(&self.world, self.clock.now());
        self.world.start_with(&[("FAILPOINTS", fail_points)]).await;
        self.leases.started(&mut self.world);
    }

    /// Kills the processes. Until [`Self::resume`], only [`Self::pass_stopped`] moves the clock.
    pub fn stop(&mut self) {
        self.world.kill9();
        self.leases.leave(&self.world, self.clock.now());
    }

    /// Lets time pass until `until`, while no process runs.
    pub async fn pass_stopped(&mut self, until: Timestamp) {
        self.move_to(until).await;
    }

    /// Starts the processes after [`Self::stop`] with the same clock, and with these variables as well.
    pub async fn resume(&mut self, variables: &[Variable<'_>]) {
        let fail_point = self.clock.fail_point();
        let own = [("FAILPOINTS", fail_point.as_str())];
        let all = [own.as_slice(), variables].concat();
        self.world.start_with(&all).await;
        self.leases.started(&mut self.world);
    }

    /// Makes Amazon show each change of a subscription after a random delay of up to `max` from now on.
    pub fn lag(&mut self, random: Random, max: Duration) {
        let max_ms = u64::try_from(max.as_millis()).unwrap_or(u64::MAX);
        self.lag = Some(Lag { random, max_ms });
    }

    pub fn now(&self) -> Timestamp {
        self.clock.now()
    }

    /// Moves the clock forward by `time` at once, and fires the timers of the sweep and of these destinations' runs.
    pub async fn skip(&mut self, time: Duration, destinations: &[&str]) {
        self.move_to(self.clock.now().plus(time)).await;
        self.skip_timers(time, destinations).await;
    }

    async fn skip_timers(&self, time: Duration, destinations: &[&str]) {
        let seconds = i64::try_from(time.as_secs()).unwrap_or(i64::MAX);
        for id in destinations {
            self.world
                .temporal
                .skip_timer(&format!("destination/{id}"), seconds)
                .await;
        }
        self.world.temporal.skip_timer(contract::SWEEP, 31).await;
    }

    /// Lets time pass until all `steps` have happened, in order of their times. Afterwards every notification has its
    /// outcome or, if the store lags, its window has ended.
    pub async fn live(&mut self, mut steps: Vec<Step>) {
        steps.sort_by_key(|step| step.at);
        let mut steps = steps.into_iter().peekable();
        while let Some(first) = steps.next() {
            let mut together = vec![first];
            while let Some(next) = steps.next_if(|next| next.at == together[0].at) {
                together.push(next);
            }
            self.pass_until(together[0].at).await;
            self.happen(together).await;
        }
    }

    /// Lets time pass until `until`, with every check that falls due before.
    pub async fn pass_until(&mut self, until: Timestamp) {
        while let Some(due) = self.next_wake().await.filter(|due| *due < until) {
            self.move_to(due.max(self.now)).await;
            self.wake_all().await;
        }
        self.move_to(until).await;
    }

    /// Moves the clock at once, and then lets the sweep check every purchase whose `next_wake_at` has passed.
    pub async fn jump(&mut self, to: Timestamp) {
        self.move_to(to).await;
        self.wake_all().await;
    }

    async fn happen(&mut self, steps: Vec<Step>) {
        let mut messages = Vec::new();
        for step in steps {
            for subscription in &step.shown {
                match &mut self.lag {
                    Some(lag) => self.world.show_late(subscription, || lag.at(step.at)),
                    None => self.world.show(subscription),
                }
            }
            messages.extend(
                step.notifications
                    .iter()
                    .map(|rtn| self.world.sns.notification(rtn)),
            );
        }
        for message in &messages {
            self.world.post_until_accepted(message).await;
        }
        for message in &messages {
            match self.lag {
                Some(_) => self.wait_window(&message.id).await,
                None => drop(self.world.wait_outcome(&message.id).await),
            }
        }
    }

    /// Waits until a message's window has ended. The outcome may come later, since the store may lag.
    async fn wait_window(&self, message_id: &str) {
        wait::until(
            SOON,
            &format!("the end of the window of {message_id}"),
            async || {
                let answer = self
                    .world
                    .api
                    .try_get(&format!("/v1/notifications/{message_id}"))
                    .await?;
                let all = answer.body["notifications"]
                    .as_array()
                    .cloned()
                    .unwrap_or_default();
                let is_open =
                    |one: &Value| one["outcome"].is_null() && one["waiting_for"] == "window";
                if all.is_empty() || all.iter().any(is_open) {
                    Err(format!("{answer:?}"))
                } else {
                    Ok(())
                }
            },
        )
        .await;
    }

    /// Moves the clock to `now`, between two requests.
    async fn move_to(&mut self, now: Timestamp) {
        self.now = now;
        let Self {
            world,
            clock,
            leases,
            ..
        } = self;
        if clock.now() >= now {
            return;
        }
        leases
            .between_requests(world, || clock.now(), || clock.set(now))
            .await;
    }

    /// Fires the sweep's timer until no `next_wake_at` is due; hundreds of purchases can be due at once.
    async fn wake_all(&mut self) {
        let (world, now) = (&self.world, self.now);
        wait::until(SOON * 5, &format!("no wake due at {now}"), async || {
            let late: Vec<Timestamp> = wakes(world)
                .await
                .into_iter()
                .filter(|wake| *wake <= now)
                .collect();
            if late.is_empty() {
                return Ok(());
            }
            if world.temporal.has_timer(contract::SWEEP).await {
                world.temporal.fast_forward(contract::SWEEP, 31).await;
            }
            Err(format!("{late:?}"))
        })
        .await;
    }

    async fn next_wake(&self) -> Option<Timestamp> {
        wakes(&self.world).await.into_iter().min()
    }
}

async fn wakes(world: &World) -> Vec<Timestamp> {
    let of_play = world.play.as_ref().map(|platform| platform.id);
    let of_appstore = world.appstore.as_ref().map(|platform| platform.id);
    let mut wakes = Vec::new();
    for platform in [Some(world.platform_id), of_play, of_appstore]
        .into_iter()
        .flatten()
    {
        let purchases = world
            .api
            .all(&format!("/v1/purchases?platform_id={platform}"))
            .await;
        wakes.extend(purchases.iter().filter_map(wake));
    }
    wakes
}

fn wake(purchase: &Value) -> Option<Timestamp> {
    purchase["next_wake_at"]
        .as_str()
        .map(|text| text.parse().expect("a time"))
}
