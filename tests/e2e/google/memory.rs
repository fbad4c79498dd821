//! The memory of a process with many platforms, each of which has an access token.

use super::Shop;
use domain::time::HOUR;
use futures::StreamExt as _;
use futures::stream;
use serde_json::json;
use std::fs;
use system_tests::play::{Choices, FURTHER_PACKAGES, Fault, Resource};
use system_tests::world::Setting;

/// Number of platforms, and of those before them, so that everything that is loaded once is loaded.
const PLATFORMS: usize = 200;
const WARM_UP: usize = 40;
/// Maximum memory that the platforms add, in KiB.
const MAX_KIB: u64 = 10 * 1024;
/// Number of requests that are sent at the same time.
const AT_ONCE: usize = 8;

/// Has the allocator release memory without a delay.
const RELEASED: [&str; 2] = ["MIMALLOC_PURGE_DELAY", "0"];

/// Returns the resident memory of a process, in KiB.
fn resident_kib(process: u32) -> u64 {
    let status = fs::read_to_string(format!("/proc/{process}/status")).expect("its status");
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let number = line.expect("its memory").trim().trim_end_matches(" kB");
    number.parse().expect("a number")
}

/// Creates platforms with these numbers.
async fn create(shop: &Shop, numbers: impl Iterator<Item = usize>) {
    let world = shop.world();
    let path = format!("/v1/apps/{}/platforms", world.app_id);
    let created = stream::iter(numbers).map(|number| {
        let mut body = Choices::default().new_platform(60);
        body["name"] = json!(format!("play {number}"));
        body["package_name"] = json!(format!("{FURTHER_PACKAGES}{number}"));
        let path = &path;
        async move { drop(world.api.post(path, &body).await.ok()) }
    });
    created.buffer_unordered(AT_ONCE).collect::<()>().await;
}

/// Waits until so many requests for this resource were sent, while the sweep runs.
async fn wait_requests(shop: &Shop, resource: Resource, wanted: usize) {
    shop.sweep_until(&format!("{wanted} requests"), async || {
        let count = shop.fake().count(resource);
        if count >= wanted {
            Ok(())
        } else {
            Err(format!("{count} of {wanted}"))
        }
    })
    .await;
}

/// Waits until the lists of this number of platforms were read twice more.
async fn read_lists(shop: &mut Shop, platforms: usize) {
    for _ in 0..2 {
        let before = shop.fake().count(Resource::Voided);
        shop.skip(HOUR * 5).await;
        wait_requests(shop, Resource::Voided, before + platforms).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_tokens_of_two_hundred_platforms_cost_ten_mib() {
    let setting = Setting {
        play: Some(Choices::default()),
        variables: vec![RELEASED.map(str::to_owned).into()],
        ..Setting::default()
    };
    let mut shop = Shop::open_in(setting).await;
    create(&shop, 0..WARM_UP).await;
    let few = 1 + WARM_UP;
    wait_requests(&shop, Resource::Token, few).await;
    read_lists(&mut shop, few).await;

    shop.fake().answer(&[Resource::Token], &Fault::Status(503));
    create(&shop, WARM_UP..WARM_UP + PLATFORMS).await;
    wait_requests(&shop, Resource::Token, few + PLATFORMS).await;
    let process = shop.calendar.world.worker().id();
    let before = resident_kib(process);

    shop.fake().answer_truly();
    let refused = shop.fake().count(Resource::Token);
    read_lists(&mut shop, few + PLATFORMS).await;
    let tokens = shop.fake().count(Resource::Token) - refused;
    assert_eq!(tokens, PLATFORMS, "each token was used again");
    // The memory of the queries themselves is released when they end, which takes its time on a busy machine.
    shop.sweep_until("tokens alone in memory", async || {
        let more = resident_kib(process).saturating_sub(before);
        println!("{PLATFORMS} platforms with a token: {more} KiB more than {before}");
        (more <= MAX_KIB)
            .then_some(())
            .ok_or_else(|| format!("{more} KiB more than {before}"))
    })
    .await;
    shop.finish().await;
}
