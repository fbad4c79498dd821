//! What devices use of a day.

use super::world::{World, story};
use std::collections::BTreeMap;
use storage::{DeviceQuota, DeviceUsage};

story! {
    async fn what_devices_used_is_added_over_all_processes(world: World) {
        let second = world.second_process().await;
        let used = DeviceUsage { events: 3, bytes: 4000, devices: 1, users: 2 };
        let days: BTreeMap<_, _> = [1, 2].map(|day| ((world.platform.id, day), used)).into();
        let total = |times: i64| DeviceUsage { events: 3 * times, bytes: 4000 * times, devices: times, users: 2 * times };
        for (store, times) in [(&world.store, 1), (&second, 2)] {
            let totals = store.add_device_usage(days.clone()).await.unwrap();
            assert!(totals.values().all(|one| *one == total(times)) && totals.keys().eq(days.keys()), "{totals:?}");
        }
        assert_eq!(world.count("device_days"), 2, "one row for each day");
    }
}

story! {
    async fn the_quota_of_a_day_is_a_setting_of_the_platform(world: World) {
        let quota = world.platform.settings.quota;
        assert_eq!(quota, DeviceQuota::default());
        let changed = world.set(|settings| settings.quota.device_events_per_day = 7).await.settings.quota;
        assert_eq!(changed, DeviceQuota { device_events_per_day: 7, ..quota });
        assert_eq!(changed.bounds(), DeviceUsage { events: 7, ..quota.bounds() });
        let both = world.set(|settings| settings.quota.new_users_per_day = 0).await.settings.quota;
        assert_eq!(both, DeviceQuota { new_users_per_day: 0, ..changed }, "the others stay");
    }
}
