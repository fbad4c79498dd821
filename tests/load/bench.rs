//! Requests to a store's ingress and to a bare server that does the same checks and inserts, in one run: at saturation,
//! and at a third of settle's rate, alone and beside others. The stores' folders prepare the requests.

use super::report::{Disturbance, FLOOD, Phase, Report, Subject};
use super::{Options, count, outcome, receipts};
use clap::Args;
use domain::PlatformId;
use std::time::Duration;
use system_tests::load::{Load, Measured, Message, Pace};
use system_tests::machine;
use system_tests::process::Backend;
use system_tests::temporal::Memory;
use system_tests::wait;
use system_tests::world::{Setting, World};
use tokio::time::Instant;

/// Pause before a measurement, while settle signals what it accepted before.
const REST: Duration = Duration::from_secs(5);
/// Connections of the generator of forged requests, and of that of a repeated message.
const CONNECTIONS_BESIDE: usize = 32;
/// Maximum number of connections from this machine: the default is below those of all generators.
const CONNECTIONS: (&str, &str) = ("SETTLE_CONNECTIONS_PER_ADDRESS", "1024");

/// Options of `--store google` and `--store apple`.
#[derive(Debug, Args)]
pub struct Beside {
    /// Seconds of the flood of forged requests: with Google, more than the 30 s between two fetches of its keys.
    #[arg(long, default_value_t = 40)]
    flood_seconds: u64,
    /// Forged requests per second.
    #[arg(long, default_value_t = 1_000)]
    flood_per_second: u32,
    /// How often per second a message of Google that can never be right is repeated.
    #[arg(long, default_value_t = 100)]
    pub repeats_per_second: u32,
    /// Prints JSON after the tables.
    #[arg(long)]
    pub json: bool,
}

/// Starts settle with this setting of the store.
pub async fn start(options: &Options, of_store: Setting) -> World {
    let (name, value) = CONNECTIONS;
    let mut world = World::start(Setting {
        backend: Backend::Sqlite,
        memory: Memory::File,
        window_seconds: options.window,
        variables: vec![(name.to_owned(), value.to_owned())],
        ..of_store
    })
    .await;
    world.temporal.let_others_first();
    world.let_sweep_help("settling is behind while the ingress is measured");
    world
}

/// The measurements of a run.
pub struct Bench<'a> {
    options: &'a Options,
    /// The bare server's URL and settle's, as in [`Subject::BOTH`].
    urls: [String; 2],
    created: usize,
    /// Ids of the messages that settle acknowledged.
    sent: Vec<String>,
    report: Report,
}

/// Messages that are sent beside honest ones.
pub struct Others {
    pub load: Load,
    pub messages: Vec<Message>,
    pub per_second: f64,
    pub at_most: Duration,
}

impl<'a> Bench<'a> {
    /// Returns a bench with the bare server's URL and settle's.
    pub fn new(options: &'a Options, urls: [String; 2]) -> Self {
        Self {
            options,
            urls,
            created: 0,
            sent: Vec::new(),
            report: Report::default(),
        }
    }

    /// Returns the names of the purchases of the next messages, each purchase in turn.
    pub fn receipts(&mut self, count: usize) -> Vec<String> {
        eprintln!("preparing {count} messages …");
        receipts(self.options, &mut self.created, count)
    }

    /// Returns the number of messages for a round at saturation.
    pub fn saturating(&self) -> usize {
        let seconds = usize::try_from(self.options.seconds).unwrap_or(usize::MAX);
        self.options.per_second.saturating_mul(seconds)
    }

    /// Returns the number of messages at a third of settle's rate with messages of this kind.
    pub fn paced(&self, kind: &str) -> usize {
        count(self.third(kind), self.paced_time())
    }

    /// Returns the number of honest messages of this kind during the flood.
    pub fn honest_in_flood(&self, kind: &str) -> usize {
        count(self.third(kind), self.flood_time())
    }

    /// Returns the number of forged messages of the flood.
    pub fn forged(&self) -> usize {
        count(self.flood_rate(), self.flood_time())
    }

    fn third(&self, kind: &str) -> f64 {
        self.report.rate(kind) / 3.0
    }

    const fn paced_time(&self) -> Duration {
        Duration::from_secs(self.options.paced_seconds)
    }

    const fn flood_time(&self) -> Duration {
        Duration::from_secs(self.options.beside.flood_seconds)
    }

    fn flood_rate(&self) -> f64 {
        f64::from(self.options.beside.flood_per_second)
    }

    fn url(&self, subject: Subject) -> &str {
        let [bare, settle] = &self.urls;
        match subject {
            Subject::Bare => bare,
            Subject::Settle => settle,
        }
    }

    fn load(&self, subject: Subject) -> Load {
        Load::new(self.url(subject), self.options.connections)
    }

    /// Returns the generator of what is sent beside honest messages.
    pub fn load_beside(&self, subject: Subject) -> Load {
        Load::new(self.url(subject), CONNECTIONS_BESIDE)
    }

    /// Checks honest messages, and notes those that settle acknowledged.
    fn note(&mut self, subject: Subject, batch: &[Message], measured: &Measured) {
        measured.check();
        if subject == Subject::Settle {
            let acknowledged = measured.acknowledged().iter();
            let messages = acknowledged.filter_map(|one| batch.get(one.number));
            self.sent.extend(messages.map(|message| message.id.clone()));
        }
    }

    /// Sends messages of this kind as fast as they are acknowledged.
    pub async fn saturate(&mut self, round: u32, kind: &'static str, batch: &[Message]) {
        let time = Duration::from_secs(self.options.seconds);
        let mut rates = Vec::new();
        for subject in Subject::BOTH {
            wait::pass(REST).await;
            let load = self.load(subject);
            let measured = load.run(batch.to_vec(), Pace::Saturate, time).await;
            self.note(subject, batch, &measured);
            rates.push(measured.rate());
        }
        if let [bare, settle] = rates.as_slice() {
            self.report.add_rates(round, kind, *bare, *settle);
        }
    }

    /// Sends messages with this name at a third of settle's rate with messages of this kind.
    pub async fn alone(&mut self, name: &'static str, kind: &str, batch: &[Message]) {
        let pace = Pace::PerSecond(self.third(kind));
        for subject in Subject::BOTH {
            wait::pass(REST).await;
            let load = self.load(subject);
            let sending = load.run(batch.to_vec(), pace, self.paced_time() * 2);
            let (measured, cores) = cores_during(sending).await;
            self.note(subject, batch, &measured);
            self.report
                .add_latencies(Phase::Alone(name), subject, &measured, cores);
        }
    }

    /// Sends forged messages beside honest ones.
    ///
    /// # Panics
    /// When a forged message is answered with another status.
    pub async fn flood(&mut self, honest: &[Message], forged: &[Message], refused: u16) {
        for subject in Subject::BOTH {
            let others = Others {
                load: self.load_beside(subject).reconnecting(),
                messages: forged.to_vec(),
                per_second: self.flood_rate(),
                at_most: self.flood_time() * 2,
            };
            let forged = self.beside(FLOOD, subject, honest, others).await;
            let is_right = forged.refused().iter().all(|status| *status == refused);
            assert!(
                is_right && forged.acknowledged().is_empty(),
                "a forged message is answered otherwise than with {refused}"
            );
            self.report.add_refused(subject, forged.refusal_rate());
        }
    }

    /// Sends others beside honest messages, whose rate is a third of settle's with the first kind, and measures both.
    /// Returns the measurements of the others.
    pub async fn beside(
        &mut self,
        disturbance: Disturbance,
        subject: Subject,
        honest: &[Message],
        others: Others,
    ) -> Measured {
        wait::pass(REST).await;
        let kind = self.report.first_kind().unwrap_or_default();
        let (load, pace) = (self.load(subject), Pace::PerSecond(self.third(kind)));
        let Others {
            load: load_of_others,
            messages,
            per_second,
            at_most,
        } = others;
        let pace_of_others = Pace::PerSecond(per_second);
        let sending = async {
            tokio::join!(
                load.run(honest.to_vec(), pace, at_most),
                load_of_others.run(messages, pace_of_others, at_most)
            )
        };
        let ((measured, others), cores) = cores_during(sending).await;
        self.note(subject, honest, &measured);
        let phase = Phase::Beside(disturbance);
        self.report.add_latencies(phase, subject, &measured, cores);
        others
    }

    /// Checks that everything that settle acknowledged was settled and received, and stops it.
    pub async fn finish(self, mut world: World, platform: PlatformId) -> Report {
        let window = Duration::from_secs(self.options.window);
        let purchases = self.options.purchases;
        outcome::check(&mut world, platform, &self.sent, purchases, window).await;
        world.finish().await;
        self.report
    }
}

/// Returns the output of a future, and the number of processors that settle used meanwhile on average.
async fn cores_during<T>(work: impl Future<Output = T>) -> (T, f64) {
    let (began, before) = (Instant::now(), cpu());
    let output = work.await;
    let used = cpu().saturating_sub(before);
    (output, used.as_secs_f64() / began.elapsed().as_secs_f64())
}

/// Returns the CPU time of settle's process.
fn cpu() -> Duration {
    let usage = machine::usage();
    usage.get("run").map_or(Duration::ZERO, |run| run.cpu)
}
