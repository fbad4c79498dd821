//! A platform's daily quota over HTTP: what is refused beyond it, and what never is.

use super::edge::{Answer, DEVICE_SECRET, Service};
use api::devices::admission::QuotaKind;
use api::devices::quota::{Quotas, Reporter};
use domain::{DeviceId, DevicePlace, PlatformId, Timestamp};
use serde_json::{Value, json};
use storage::{DeviceUsage, Handling, Page, Platform};
use uuid::Uuid;

const QUOTA: &str = "urn:settle:problem:device_quota";

/// 1970-01-03, an hour before midnight.
const EVENING: Timestamp = Timestamp::from_micros((3 * 24 - 1) * 3_600_000_000);

fn device(number: u128) -> Value {
    json!({
        "id": Uuid::from_u128(0x5e77_1e00_0000_4000_8000_0000_0000_0000 + number),
        "first_launch": "2026-11-01T08:00:00Z", "app_version": "3.1", "sdk_version": "web/1",
        "os": { "name": "fireos", "version": "8" },
    })
}

fn report(number: u128, event: &str) -> Value {
    let impression = json!({ "paywall": "x".repeat(200) });
    let event = json!({ "id": event, "type": "device.impression", "time": "2026-11-20T12:00:00Z", "impression": impression });
    json!({ "device": device(number), "sent_at": "2026-11-20T12:00:01Z", "events": [event] })
}

/// A platform with a quota, and what a test needs to send to it.
struct Setup {
    service: Service,
    platform: PlatformId,
    path: String,
    key: String,
}

impl Setup {
    async fn new(name: &str, setting: &Value) -> Self {
        let service = Service::start(name).await;
        let (_, platform) = service.platform().await;
        let path = format!("/v1/platforms/{platform}");
        let shown = service.send_json("PATCH", &path, setting).await;
        assert_eq!(shown.status, 200, "{}", shown.body);
        let key = shown.body["publishable_key"]
            .as_str()
            .expect("a key")
            .to_owned();
        Self {
            service,
            platform,
            path,
            key,
        }
    }

    async fn send(&self, path: &str, body: &Value) -> Answer {
        let (path, own) = (
            format!("/v1/device/{path}"),
            (&self.key[..], Some(DEVICE_SECRET)),
        );
        self.service
            .send_of_device(("POST", &path), own, body.to_string().into_bytes())
            .await
    }

    async fn check_refused(&self, path: &str, body: &Value) {
        let answer = self.send(path, body).await;
        assert_eq!(
            (answer.status, &answer.body["type"]),
            (429, &json!(QUOTA)),
            "{}",
            answer.body
        );
    }

    async fn alarms(&self) -> Vec<(String, i64)> {
        self.alarms_of(&self.service.edge.devices.quotas, api::clock::now())
            .await
    }

    /// Writes the counts of these quotas, and returns the alarms.
    async fn alarms_of(&self, quotas: &Quotas, now: Timestamp) -> Vec<(String, i64)> {
        quotas
            .write(&self.service.store, now)
            .await
            .expect("the counts are written");
        let alarms = self
            .service
            .store
            .alarms(Page::default())
            .await
            .expect("alarms")
            .items;
        alarms
            .into_iter()
            .map(|alarm| (alarm.kind, alarm.count))
            .collect()
    }
}

#[tokio::test]
async fn a_platforms_devices_have_a_quota_of_bytes() {
    let setup = Setup::new("quota-bytes", &json!({ "device_bytes_per_day": 2000 })).await;
    let mut accepted = 0;
    let refused = loop {
        let answer = setup
            .send("events", &report(1, &accepted.to_string()))
            .await;
        if answer.status != 200 {
            break answer;
        }
        accepted += 1;
        assert!(accepted < 15, "2000 bytes are a few requests");
    };
    assert_eq!(
        (refused.status, &refused.body["type"]),
        (429, &json!(QUOTA)),
        "{}",
        refused.body
    );
    assert!(
        refused.body["detail"]
            .as_str()
            .is_some_and(|text| text.contains("bytes")),
        "{}",
        refused.body
    );
    let login = json!({ "device": device(1), "external_id": "anna" });
    assert_eq!(
        setup.send("login", &login).await.status,
        200,
        "a login reports nothing"
    );
    super::edge::accept(
        &setup.service.store,
        setup.platform,
        "receipt",
        Handling::Open,
    )
    .await;
    for _ in 0..2 {
        assert_eq!(
            setup.alarms().await,
            [("device_quota".to_owned(), 1)],
            "once a day"
        );
    }
    let raised = setup
        .service
        .send_json(
            "PATCH",
            &setup.path,
            &json!({ "device_bytes_per_day": null }),
        )
        .await;
    assert_eq!(
        raised.body["device_bytes_per_day"],
        json!(53_687_091_200_u64)
    );
    assert_eq!(
        setup.send("events", &report(1, "later")).await.body["accepted"],
        1,
        "the setting counts at once"
    );
}

#[tokio::test]
async fn a_platforms_devices_have_a_quota_of_events() {
    let setup = Setup::new("quota-events", &json!({ "device_events_per_day": 0 })).await;
    setup.check_refused("events", &report(1, "a")).await;
    assert_eq!(setup.service.count("devices"), 0);
    assert_eq!(setup.alarms().await, [("device_quota".to_owned(), 1)]);
}

#[tokio::test]
async fn beyond_the_quota_of_new_devices_known_ones_report() {
    let setup = Setup::new("quota-devices", &json!({})).await;
    assert_eq!(setup.send("events", &report(1, "a")).await.status, 200);
    let login = |number: u128| json!({ "device": device(number), "external_id": "anna" });
    setup
        .service
        .send_json("PATCH", &setup.path, &json!({ "new_devices_per_day": 0 }))
        .await;
    setup.check_refused("events", &report(2, "a")).await;
    setup.check_refused("login", &login(2)).await;
    assert_eq!(
        setup.send("events", &report(1, "b")).await.status,
        200,
        "a known device"
    );
    assert_eq!(setup.send("login", &login(1)).await.status, 200);
    assert_eq!(setup.service.count("devices"), 1);
}

#[tokio::test]
async fn beyond_the_quota_of_new_customers_known_ones_log_in() {
    let setup = Setup::new("quota-users", &json!({})).await;
    let login = |id: &str| json!({ "device": device(1), "external_id": id });
    assert_eq!(setup.send("login", &login("anna")).await.status, 200);
    setup
        .service
        .send_json("PATCH", &setup.path, &json!({ "new_users_per_day": 0 }))
        .await;
    setup.check_refused("login", &login("mallory")).await;
    assert_eq!(
        setup.send("login", &login("anna")).await.status,
        200,
        "a known customer"
    );
    assert_eq!(
        setup.send("events", &report(1, "a")).await.status,
        200,
        "no login"
    );
}

/// Returns a reporter of the platform in the network with this number.
fn reporter(platform: &Platform, number: u8) -> Reporter<'_> {
    Reporter {
        platform,
        network: format!("203.0.113.{number}/32").parse().expect("a network"),
    }
}

#[tokio::test]
async fn one_network_has_a_hundredth_of_a_platforms_day() {
    let setup = Setup::new(
        "quota-share",
        &json!({ "new_devices_per_day": 2_000_000, "new_users_per_day": 50_000 }),
    )
    .await;
    let platform = setup
        .service
        .store
        .platform(setup.platform)
        .await
        .expect("a platform");
    let quotas = Quotas::default();
    let place = DevicePlace {
        platform: setup.platform,
        device: DeviceId::new(Uuid::from_u128(1)),
    };
    let check = |number, kind| quotas.check(reporter(&platform, number), &[kind], EVENING);
    let count = |devices, users| {
        let used = DeviceUsage {
            devices,
            users,
            ..DeviceUsage::default()
        };
        quotas.count(place, reporter(&platform, 1).network, used, EVENING);
    };
    count(19_999, 9_999);
    assert!(check(1, QuotaKind::Devices).is_ok() && check(1, QuotaKind::Users).is_ok());
    count(1, 1);
    for kind in [QuotaKind::Devices, QuotaKind::Users] {
        let refused = check(1, kind).expect_err("a hundredth, and ten thousand at least");
        assert!(
            refused
                .to_string()
                .contains("this network used up its share"),
            "{refused}"
        );
        assert!(check(2, kind).is_ok(), "another network");
    }
    assert!(check(1, QuotaKind::Events).is_ok(), "each kind by itself");
}

#[tokio::test]
async fn a_networks_share_raises_an_alarm() {
    let setup = Setup::new("quota-network", &json!({})).await;
    let platform = setup
        .service
        .store
        .platform(setup.platform)
        .await
        .expect("a platform");
    let (quotas, place) = (
        Quotas::default(),
        DevicePlace {
            platform: setup.platform,
            device: DeviceId::new(Uuid::nil()),
        },
    );
    let used = DeviceUsage {
        events: 500_000,
        ..DeviceUsage::default()
    };
    for number in [1, 2] {
        assert!(
            quotas
                .check(reporter(&platform, number), &[QuotaKind::Events], EVENING)
                .is_ok()
        );
        quotas.count(place, reporter(&platform, number).network, used, EVENING);
        assert_eq!(
            setup.alarms_of(&quotas, EVENING).await.len(),
            usize::from(number) - 1,
            "nobody was refused yet"
        );
        for _ in 0..2 {
            let _ = quotas
                .check(reporter(&platform, number), &[QuotaKind::Events], EVENING)
                .expect_err("a hundredth");
        }
        let alarms = setup.alarms_of(&quotas, EVENING).await;
        assert_eq!(
            alarms,
            [("network_quota".to_owned(), 1)],
            "one a day, of however many networks"
        );
    }
    let alarm = setup
        .service
        .store
        .alarms(Page::default())
        .await
        .expect("alarms")
        .items
        .remove(0);
    assert_eq!(alarm.platform_id, Some(setup.platform));
    for part in [
        "500000",
        "`device_events_per_day`",
        "`devices.trusted_proxies`",
        "1970-01-03",
    ] {
        assert!(alarm.detail.contains(part), "{part}: {}", alarm.detail);
    }
    assert!(
        !alarm.detail.contains("203.0.113"),
        "addresses are not stored: {}",
        alarm.detail
    );
}

#[tokio::test]
async fn near_a_bound_devices_without_a_customer_are_refused_first() {
    let setup = Setup::new("quota-near", &json!({ "device_events_per_day": 10 })).await;
    let login = json!({ "device": device(1), "external_id": "anna" });
    assert_eq!(setup.send("login", &login).await.status, 200);
    for number in 0..8 {
        assert_eq!(
            setup
                .send("events", &report(1, &number.to_string()))
                .await
                .status,
            200
        );
    }
    assert_eq!(
        setup.send("events", &report(2, "a")).await.status,
        200,
        "two tenths are left"
    );
    assert_eq!(setup.alarms().await, []);
    setup.check_refused("events", &report(2, "b")).await;
    assert_eq!(setup.alarms().await, [("device_quota".to_owned(), 1)]);
    setup.check_refused("events", &report(1, "9")).await;
    setup
        .service
        .raw("UPDATE devices SET is_signed = TRUE WHERE user_id IS NOT NULL");
    assert_eq!(
        setup.send("events", &report(1, "9")).await.status,
        200,
        "a customer is logged in, and that is signed"
    );
    setup.check_refused("events", &report(1, "10")).await;
    assert_eq!(setup.alarms().await.len(), 2, "all of it is used up");
}

#[tokio::test]
async fn a_quota_is_of_one_day_and_of_all_processes() {
    let setup = Setup::new("quota-day", &json!({ "device_events_per_day": 10 })).await;
    let store = &setup.service.store;
    let platform = store.platform(setup.platform).await.expect("a platform");
    let [one, other] = [Quotas::default(), Quotas::default()];
    let device = DeviceId::new(Uuid::from_u128(1));
    let place = DevicePlace {
        platform: setup.platform,
        device,
    };
    let own = reporter(&platform, 1);
    let events = |events: i64| DeviceUsage {
        events,
        bytes: 1,
        ..DeviceUsage::default()
    };
    for quotas in [&one, &other] {
        quotas.count(place, own.network, events(5), EVENING);
        assert!(quotas.check(own, &[QuotaKind::Events], EVENING).is_ok());
    }
    one.write(store, EVENING).await.expect("written");
    assert!(
        one.check(own, &[QuotaKind::Events], EVENING).is_ok(),
        "5 of 10"
    );
    other.write(store, EVENING).await.expect("written");
    let refused = other
        .check(own, &[QuotaKind::Bytes, QuotaKind::Events], EVENING)
        .expect_err("10 of 10");
    assert_eq!(
        format!("{refused:?}"),
        "Quota { who: \"the devices of this platform used up their\", what: \"events\", wait: 3600s }"
    );
    let morning = EVENING.plus_millis(3_600_000);
    assert!(
        other.check(own, &[QuotaKind::Events], morning).is_ok(),
        "another day"
    );
    one.count(place, own.network, events(1), EVENING);
    one.write(store, morning)
        .await
        .expect("what is late is counted where it belongs");
    let rows = "SELECT events AS value FROM device_days WHERE day = 2";
    assert_eq!(setup.service.raw_number(rows), 11);
    assert_eq!(setup.service.count("device_days"), 1);
}
