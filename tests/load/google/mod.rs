//! Google Play's ingress: the pushes that settle acknowledges per second, in proportion to a bare server in the same
//! run, and the latencies of honest pushes at a third of that rate: alone, beside forged tokens, and beside a message
//! that can never be right.

mod bare;
mod report;

use super::{Options, count, outcome, receipts};
use bare::Bare;
use clap::Args;
use domain::Timestamp;
use report::{Phase, Report, Subject};
use std::time::Duration;
use system_tests::load::{Load, Measured, Message, Pace, Pushes, Tokens};
use system_tests::play::{self, Bought, Call, Choices, Play};
use system_tests::process::Backend;
use system_tests::temporal::Memory;
use system_tests::wait;
use system_tests::world::{Setting, World};

/// Pause before a measurement, while settle signals what it accepted before.
const REST: Duration = Duration::from_secs(5);
/// Connections of the generator of forged tokens, and of that of the repeated message.
const CONNECTIONS_BESIDE: usize = 32;
/// Maximum number of connections from this machine: the default is below those of all generators.
const CONNECTIONS: (&str, &str) = ("SETTLE_CONNECTIONS_PER_ADDRESS", "1024");

/// Options of `--store google` alone.
#[derive(Debug, Args)]
pub struct Beside {
    /// Seconds of the flood of forged tokens: more than the 30 s between two fetches of the keys.
    #[arg(long, default_value_t = 40)]
    flood_seconds: u64,
    /// Forged tokens per second.
    #[arg(long, default_value_t = 1_000)]
    flood_per_second: u32,
    /// How often per second a message that can never be right is repeated.
    #[arg(long, default_value_t = 100)]
    repeats_per_second: u32,
    /// Prints JSON after the tables.
    #[arg(long)]
    json: bool,
}

/// Measures everything, and checks afterwards that every acknowledged push was settled and received.
pub async fn measure(options: &Options) {
    let mut world = start(options).await;
    let bare = Bare::start().await;
    let settle_url = world.play().notification_url.clone();
    let mut bench = Bench {
        options,
        urls: [bare.url.clone(), settle_url.clone()],
        pushes: Pushes::new(&settle_url),
        created: 0,
        sent: Vec::new(),
        report: Report::default(),
    };
    for round in 1..=options.rounds {
        for tokens in [Tokens::One, Tokens::Each] {
            bench.saturate(round, tokens).await;
        }
    }
    for tokens in [Tokens::One, Tokens::Each] {
        bench.alone(tokens).await;
    }
    bench.flood(&world.play().fake).await;
    bench.repeat().await;
    let Bench { sent, report, .. } = bench;
    drop(bare);
    let platform = world.play().id;
    let window = Duration::from_secs(options.window);
    outcome::check(&mut world, platform, &sent, options.purchases, window).await;
    world.finish().await;
    if options.beside.json {
        println!("{}", report.json());
    }
    report.check();
}

async fn start(options: &Options) -> World {
    let (name, value) = CONNECTIONS;
    let mut world = World::start(Setting {
        backend: Backend::Sqlite,
        memory: Memory::File,
        window_seconds: options.window,
        play: Some(Choices::default()),
        variables: vec![(name.to_owned(), value.to_owned())],
        ..Setting::default()
    })
    .await;
    world.temporal.let_others_first();
    world.let_sweep_help("settling is behind while the ingress is measured");
    let fake = &world.play().fake;
    fake.sell("gold", "monthly", "P1M");
    for token in purchase_tokens(options, &mut 0, options.purchases) {
        fake.show(&Bought::subscription(&token, "gold:monthly", fake.now()));
    }
    world
}

/// Returns the purchase tokens of the next pushes, each purchase in turn. The fake of Google refuses short ones.
fn purchase_tokens(options: &Options, created: &mut usize, count: usize) -> Vec<String> {
    let names = receipts(options, created, count);
    names.iter().map(|name| play::token(name)).collect()
}

struct Bench<'a> {
    options: &'a Options,
    /// The bare server's URL and settle's, as in [`Subject::BOTH`].
    urls: [String; 2],
    pushes: Pushes,
    created: usize,
    /// Ids of the messages that settle acknowledged.
    sent: Vec<String>,
    report: Report,
}

impl Bench<'_> {
    fn prepare(&mut self, count: usize, tokens: Tokens) -> Vec<Message> {
        eprintln!("preparing {count} pushes …");
        let purchases = purchase_tokens(self.options, &mut self.created, count);
        self.pushes.prepare(&purchases, tokens)
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

    /// Sends honest pushes, and notes those that settle acknowledged.
    async fn send(
        &mut self,
        subject: Subject,
        batch: &[Message],
        pace: Pace,
        at_most: Duration,
    ) -> Measured {
        wait::pass(REST).await;
        let measured = self.load(subject).run(batch.to_vec(), pace, at_most).await;
        self.note(subject, batch, &measured);
        measured
    }

    fn note(&mut self, subject: Subject, batch: &[Message], measured: &Measured) {
        measured.check();
        if subject == Subject::Settle {
            let acknowledged = measured.acknowledged().iter();
            let messages = acknowledged.filter_map(|one| batch.get(one.number));
            self.sent.extend(messages.map(|message| message.id.clone()));
        }
    }

    async fn saturate(&mut self, round: u32, tokens: Tokens) {
        let time = Duration::from_secs(self.options.seconds);
        let seconds = usize::try_from(self.options.seconds).unwrap_or(usize::MAX);
        let batch = self.prepare(self.options.per_second.saturating_mul(seconds), tokens);
        let [bare, settle] = Subject::BOTH;
        let bare = self.send(bare, &batch, Pace::Saturate, time).await.rate();
        let settle = self.send(settle, &batch, Pace::Saturate, time).await.rate();
        self.report.add_rates(round, tokens, bare, settle);
    }

    /// Sends honest pushes at a third of settle's rate with these tokens.
    async fn alone(&mut self, tokens: Tokens) {
        let rate = self.report.rate(tokens) / 3.0;
        let time = Duration::from_secs(self.options.paced_seconds);
        let batch = self.prepare(count(rate, time), tokens);
        for subject in Subject::BOTH {
            let pace = Pace::PerSecond(rate);
            let measured = self.send(subject, &batch, pace, time * 2).await;
            self.report
                .add_latencies(Phase::Alone(tokens), subject, &measured);
        }
    }

    /// Sends forged tokens beside honest pushes.
    async fn flood(&mut self, fake: &Play) {
        let time = Duration::from_secs(self.options.beside.flood_seconds);
        let per_second = f64::from(self.options.beside.flood_per_second);
        let honest = self.prepare(count(self.third(), time), Tokens::One);
        let messages = self.prepare(count(per_second, time), Tokens::Forged);
        let mut refusal_rate = 0.0;
        for subject in Subject::BOTH {
            let others = Others {
                load: Load::new(self.url(subject), CONNECTIONS_BESIDE).reconnecting(),
                messages: messages.clone(),
                per_second,
                at_most: time * 2,
            };
            let (measured, forged) = self.send_beside(subject, &honest, others).await;
            let is_right = forged.refused().iter().all(|status| *status == 401);
            assert!(
                is_right && forged.acknowledged().is_empty(),
                "a forged token is answered otherwise than with 401"
            );
            refusal_rate = forged.refusal_rate();
            self.report.add_latencies(Phase::Flood, subject, &measured);
        }
        self.report.add_flood(refusal_rate, fetches(fake));
    }

    /// Repeats a message that can never be right beside honest pushes.
    async fn repeat(&mut self) {
        let time = Duration::from_secs(self.options.paced_seconds);
        let per_second = f64::from(self.options.beside.repeats_per_second);
        let honest = self.prepare(count(self.third(), time), Tokens::One);
        let subject = Subject::Settle;
        let others = Others {
            load: Load::new(self.url(subject), CONNECTIONS_BESIDE),
            messages: self.pushes.unreadable(count(per_second, time)),
            per_second,
            at_most: time * 2,
        };
        let (measured, repeated) = self.send_beside(subject, &honest, others).await;
        repeated.check();
        self.report.add_latencies(Phase::Repeat, subject, &measured);
    }

    /// Returns a third of settle's rate with one token.
    fn third(&self) -> f64 {
        self.report.rate(Tokens::One) / 3.0
    }

    /// Sends honest pushes at a third of settle's rate and others at the same time, and measures both.
    async fn send_beside(
        &mut self,
        subject: Subject,
        honest: &[Message],
        others: Others,
    ) -> (Measured, Measured) {
        wait::pass(REST).await;
        let (load, pace) = (self.load(subject), Pace::PerSecond(self.third()));
        let (measured, others) = tokio::join!(
            load.run(honest.to_vec(), pace, others.at_most),
            others.load.run(
                others.messages,
                Pace::PerSecond(others.per_second),
                others.at_most
            )
        );
        self.note(subject, honest, &measured);
        (measured, others)
    }
}

/// Messages that are sent beside honest pushes.
struct Others {
    load: Load,
    messages: Vec<Message>,
    per_second: f64,
    at_most: Duration,
}

/// Returns when the keys of pushes were fetched.
fn fetches(fake: &Play) -> Vec<Timestamp> {
    let exchanges = fake.exchanges().into_iter();
    exchanges
        .filter(|one| one.call == Call::Keys)
        .map(|one| one.at)
        .collect()
}
