//! The App Store's ingress: the notifications that settle acknowledges per second, in proportion to a bare server in the
//! same run, and the latencies of honest notifications at a third of that rate: alone, signed by a clock that is ahead
//! or behind, and beside notifications with forged chains.

mod bare;

use super::Options;
use super::bare::Bare;
use super::bench::{self, Bench};
use super::report::FLOOD;
use bare::SignatureCheck;
use system_tests::appstore::{Choices, original_id};
use system_tests::load::{Message, Notices};
use system_tests::world::Setting;

/// What is sent alone.
const KNOWN: &str = "known chain";
const BEHIND: &str = "signed a minute ago";
const AHEAD: &str = "signed a minute ahead";

/// How far the clock of the App Store differs from this machine's.
const MINUTE_MS: i64 = 60_000;
/// Number of forged chains, which are sent in turn. settle remembers fewer, and none that it refused.
const FORGED: usize = 2_000;
/// The answer to a notification that Apple did not sign.
const REFUSED: u16 = 403;
/// Maximum number of processors that the flood costs.
const MOST_MORE_CORES: f64 = 1.0;

/// Measures everything, and checks afterwards that every acknowledged notification was settled and received.
pub async fn measure(options: &Options) {
    let setting = Setting {
        appstore: Some(Choices::default()),
        ..Setting::default()
    };
    let world = bench::start(options, setting).await;
    let platform = world.appstore();
    let bare = Bare::start(SignatureCheck::new(platform.fake.chain())).await;
    let urls = [bare.url.clone(), platform.notification_url.clone()];
    let mut sender = Sender {
        notices: Notices::new(platform),
        bench: Bench::new(options, urls),
    };
    for round in 1..=options.rounds {
        let batch = sender.prepare(sender.bench.saturating(), 0);
        sender.bench.saturate(round, KNOWN, &batch).await;
    }
    for (name, ahead_ms) in [(KNOWN, 0), (BEHIND, -MINUTE_MS), (AHEAD, MINUTE_MS)] {
        let batch = sender.prepare(sender.bench.paced(KNOWN), ahead_ms);
        sender.bench.alone(name, KNOWN, &batch).await;
    }
    sender.flood().await;
    let (id, bench) = (platform.id, sender.bench);
    drop(bare);
    let report = bench.finish(world, id).await;
    if options.beside.json {
        println!("{}", report.json());
    }
    report.check();
    report.check_cores(FLOOD, MOST_MORE_CORES);
}

struct Sender<'w, 'o> {
    notices: Notices<'w>,
    bench: Bench<'o>,
}

impl Sender<'_, '_> {
    /// Prepares notifications that are signed by a clock this many milliseconds ahead.
    fn prepare(&mut self, count: usize, ahead_ms: i64) -> Vec<Message> {
        let names = self.bench.receipts(count);
        let ids: Vec<String> = names.iter().map(|name| original_id(name)).collect();
        self.notices.prepare(&ids, ahead_ms)
    }

    /// Sends notifications with forged chains beside honest ones.
    async fn flood(&mut self) {
        let honest = self.prepare(self.bench.honest_in_flood(KNOWN), 0);
        let chains = self.notices.forge(&original_id("forged"), FORGED);
        let forged = chains.iter().cycle().take(self.bench.forged());
        let forged: Vec<Message> = forged.cloned().collect();
        self.bench.flood(&honest, &forged, REFUSED).await;
    }
}
