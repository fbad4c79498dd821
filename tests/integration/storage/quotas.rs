//! What devices use of a day.

use super::world::{World, story};
use std::collections::BTreeMap;
use storage::{DeviceQuota, DeviceQuotaPatch, DeviceUsage, PlatformPatch, USUAL_DEVICE_QUOTA};

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
        assert_eq!(world.raw().number("SELECT COUNT(*) AS value FROM device_days"), 2, "one row for each day");
    }
}

story! {
    async fn the_quota_of_a_day_is_a_setting_of_the_platform(world: World) {
        assert_eq!((world.platform.quota, world.platform.quota.bounds()), (DeviceQuota::default(), USUAL_DEVICE_QUOTA));
        let change = async |quota: DeviceQuotaPatch| {
            let patch = PlatformPatch { quota, ..PlatformPatch::default() };
            world.store.update_platform(world.platform.id, patch).await.unwrap().quota
        };
        let patch = DeviceQuotaPatch { device_events_per_day: Some(Some(7)), ..DeviceQuotaPatch::default() };
        let quota = DeviceQuota { device_events_per_day: Some(7), ..DeviceQuota::default() };
        assert_eq!(change(patch).await, quota);
        assert_eq!(quota.bounds(), DeviceUsage { events: 7, ..USUAL_DEVICE_QUOTA });
        let patch = DeviceQuotaPatch { new_users_per_day: Some(Some(0)), ..DeviceQuotaPatch::default() };
        assert_eq!(change(patch).await, DeviceQuota { new_users_per_day: Some(0), ..quota }, "the others stay");
        let patch = DeviceQuotaPatch { device_events_per_day: Some(None), ..DeviceQuotaPatch::default() };
        assert_eq!(change(patch).await, DeviceQuota { new_users_per_day: Some(0), ..DeviceQuota::default() });
    }
}
