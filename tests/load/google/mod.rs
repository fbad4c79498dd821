//! Google Play's ingress: the pushes that settle acknowledges per second, in proportion to a bare server in the same
//! run, and the latencies of honest pushes at a third of that rate: alone, beside forged tokens, and beside a message
//! that can never be right.

mod bare;
mod fetches;

use super::bare::Bare;
use super::bench::{self, Bench, Others};
use super::report::{Disturbance, MOST_MS, Subject};
use super::{Options, count};
use bare::TokenCheck;
use fetches::Fetches;
use std::time::Duration;
use system_tests::load::{Message, Pushes, Tokens};
use system_tests::play::{self, Bought, Choices};
use system_tests::world::{Setting, World};

/// A message that can never be right. The honest pushes have one token.
const REPEAT: Disturbance = Disturbance {
    name: "beside one repeated message",
    most_ms: MOST_MS,
    most_times: 1.5,
};
/// The answer to a request whose token is not Google's.
const REFUSED: u16 = 401;

const fn tokens_name(tokens: Tokens) -> &'static str {
    match tokens {
        Tokens::One => "known token",
        Tokens::Each => "new token each",
        Tokens::Forged => "forged tokens",
    }
}

/// Name of the pushes beside which others are sent.
const KNOWN: &str = tokens_name(Tokens::One);

/// Measures everything, and checks afterwards that every acknowledged push was settled and received.
pub async fn measure(options: &Options) {
    let world = start(options).await;
    let bare = Bare::start(TokenCheck::new()).await;
    let settle_url = world.play().notification_url.clone();
    let mut sender = Sender {
        pushes: Pushes::new(&settle_url),
        bench: Bench::new(options, [bare.url.clone(), settle_url]),
    };
    for round in 1..=options.rounds {
        for tokens in [Tokens::One, Tokens::Each] {
            let batch = sender.prepare(sender.bench.saturating(), tokens);
            let name = tokens_name(tokens);
            sender.bench.saturate(round, name, &batch).await;
        }
    }
    for tokens in [Tokens::One, Tokens::Each] {
        let name = tokens_name(tokens);
        let batch = sender.prepare(sender.bench.paced(name), tokens);
        sender.bench.alone(name, name, &batch).await;
    }
    sender.flood().await;
    let fetches = Fetches::of(&world.play().fake);
    println!("{fetches} since the start");
    sender.repeat(options).await;
    drop(bare);
    let platform = world.play().id;
    let report = sender.bench.finish(world, platform).await;
    if options.beside.json {
        let mut all = report.json();
        all["key_fetches"] = fetches.json();
        println!("{all}");
    }
    report.check();
    fetches.check();
}

async fn start(options: &Options) -> World {
    let setting = Setting {
        play: Some(Choices::default()),
        ..Setting::default()
    };
    let world = bench::start(options, setting).await;
    let fake = &world.play().fake;
    fake.sell("gold", "monthly", "P1M");
    for name in super::receipts(options, &mut 0, options.purchases) {
        let token = play::token(&name);
        fake.show(&Bought::subscription(&token, "gold:monthly", fake.now()));
    }
    world
}

struct Sender<'a> {
    pushes: Pushes,
    bench: Bench<'a>,
}

impl Sender<'_> {
    fn prepare(&mut self, count: usize, tokens: Tokens) -> Vec<Message> {
        let names = self.bench.receipts(count);
        // The fake of Google refuses short tokens.
        let purchases: Vec<String> = names.iter().map(|name| play::token(name)).collect();
        self.pushes.prepare(&purchases, tokens)
    }

    /// Sends forged tokens beside honest pushes.
    async fn flood(&mut self) {
        let honest = self.prepare(self.bench.honest_in_flood(KNOWN), Tokens::One);
        let forged = self.prepare(self.bench.forged(), Tokens::Forged);
        self.bench.flood(&honest, &forged, REFUSED).await;
    }

    /// Repeats a message that can never be right beside honest pushes.
    async fn repeat(&mut self, options: &Options) {
        let time = Duration::from_secs(options.paced_seconds);
        let per_second = f64::from(options.beside.repeats_per_second);
        let honest = self.prepare(self.bench.paced(KNOWN), Tokens::One);
        let others = Others {
            load: self.bench.load_beside(Subject::Settle),
            messages: self.pushes.unreadable(count(per_second, time)),
            per_second,
            at_most: time * 2,
        };
        let subject = Subject::Settle;
        let repeated = self.bench.beside(REPEAT, subject, &honest, others).await;
        repeated.check();
    }
}
