//! Search results: whole ids (in any case, if they are the app's), beginnings of ids, and devices.

use super::seeded::Seed;
use super::world::{World, new_platform, story};
use domain::{AppId, DeviceId, PlatformId, UserId};
use storage::{FoundKind, Owner, SearchHit};
use uuid::{Uuid, uuid};

const DEVICE: Uuid = uuid!("2f0d2ef6-0bbb-4f3a-99b9-6600bf711993");

async fn named(world: &World, app_user: &str, external: &str) -> UserId {
    let owner = Owner::AppUser(app_user.to_owned());
    world
        .store
        .name_customer(world.app.id, owner, external, None)
        .await
        .unwrap()
        .user_id
}

async fn found(world: &World, text: &str, app: Option<AppId>) -> Vec<SearchHit> {
    world.store.search(text, app).await.unwrap()
}

/// Returns the kind, id and matched field of each result in all apps.
async fn hits(world: &World, text: &str) -> Vec<(FoundKind, String, String)> {
    found(world, text, None)
        .await
        .into_iter()
        .map(|hit| (hit.kind, hit.id, hit.found_by))
        .collect()
}

fn customer(user: UserId, by: &str) -> (FoundKind, String, String) {
    (FoundKind::Customer, user.to_string(), by.to_owned())
}

fn add_device(world: &World, platform: PlatformId, device: DeviceId, user: Option<UserId>) {
    let user = user.map_or_else(|| "NULL".to_owned(), |user| format!("'{user}'"));
    world.raw().run(&format!(
        "INSERT INTO devices (platform_id, id, device, user_id, created_at, seen_at)
         VALUES ('{platform}', '{device}', '{{}}', {user}, 1, 1)"
    ));
}

story! {
    async fn the_apps_own_id_is_found_in_any_case(world: World) {
        let kim = named(&world, "u1", "Kim@Example.com").await;
        for text in ["Kim@Example.com", "kim@example.com", " KIM@EXAMPLE.COM "] {
            assert_eq!(hits(&world, text).await, [customer(kim, "customer")], "{text}");
        }
        assert_eq!(found(&world, "kim@example.com", None).await[0].label, "", "one customer needs no name");
        let twin = named(&world, "u2", "kim@example.com").await;
        let mut both = found(&world, "kim@example.com", None).await;
        both.sort_by(|one, other| one.label.cmp(&other.label));
        let both: Vec<_> = both.into_iter().map(|hit| (hit.id, hit.label)).collect();
        assert_eq!(both, [(kim, "Kim@Example.com"), (twin, "kim@example.com")].map(|(id, name)| (id.to_string(), name.to_owned())));
        let key = world.seed(&Seed { receipt: "R-lee1", ..Seed::default() });
        assert_eq!(hits(&world, "R-lee1").await, [(FoundKind::Purchase, key.to_string(), "receipt".to_owned())]);
        assert_eq!(hits(&world, "r-lee1").await, [], "the case of a receipt matters");
    }
}

story! {
    async fn what_no_whole_id_names_is_found_by_its_beginning(world: World) {
        let kim = named(&world, "u-1", "kim@example.com").await;
        let kimberly = named(&world, "u-2", "Kimberly").await;
        named(&world, "u-3", "otto").await;
        let mut hits_of_kim = hits(&world, "KIM").await;
        hits_of_kim.sort_by_key(|hit| hit.1 != kim.to_string());
        assert_eq!(hits_of_kim, [customer(kim, "beginning"), customer(kimberly, "beginning")]);
        assert_eq!(found(&world, "kim@", None).await[0].label, "kim@example.com");
        assert_eq!(hits(&world, "ki").await, [], "two characters are too few");
        let key = world.seed(&Seed {
            receipt: "amzn-4711", app_user: Some("store-9"), user: Some(kim.to_string()), ..Seed::default()
        });
        let purchase = [(FoundKind::Purchase, key.to_string(), "beginning".to_owned())];
        let ours = key.to_string();
        for text in ["amzn", "amzn-4711…", "amzn-47…11", &ours[..8], &ours[..20], &ours[..13].to_uppercase()] {
            assert_eq!(hits(&world, text).await, purchase, "{text}");
        }
        assert_eq!(hits(&world, &ours[..7]).await, []);
        assert_eq!(hits(&world, "store").await, [customer(kim, "beginning")]);
        assert_eq!(hits(&world, "AMZN").await, []);
        world.notify("message", "open-1", 1000).await;
        world.notify("message-2", "open-1", 2000).await;
        let open = world.key("open-1").to_string();
        assert_eq!(hits(&world, "open").await, [(FoundKind::Waiting, open, "beginning".to_owned())]);
        let stranger = world.store.new_app("other").await.unwrap().id;
        assert_eq!(found(&world, "kim", Some(stranger)).await, []);
        assert_eq!(found(&world, "kim", Some(world.app.id)).await.len(), 2);
    }
}

story! {
    async fn a_beginning_finds_at_most_twenty_of_a_kind(world: World) {
        for number in 10..40 {
            named(&world, &format!("u{number}"), &format!("many-{number}")).await;
            world.seed(&Seed { receipt: &format!("many-{number}"), ..Seed::default() });
        }
        let found = hits(&world, "many").await;
        let of = |kind| found.iter().filter(|hit| hit.0 == kind).count();
        assert_eq!([of(FoundKind::Customer), of(FoundKind::Purchase), found.len()], [20, 20, 40]);
        assert_eq!(hits(&world, "many-17").await.len(), 2, "the whole id finds what it names alone");
    }
}

story! {
    async fn a_device_is_found_with_its_customer(world: World) {
        let device = DeviceId::new(DEVICE);
        let other = world.store.new_platform(new_platform(&world.app, "ingress-2")).await.unwrap().id;
        add_device(&world, other, device, None);
        let of_device = |by: &str| (FoundKind::Device, DEVICE.to_string(), by.to_owned());
        for text in [DEVICE.to_string(), DEVICE.to_string().to_uppercase()] {
            assert_eq!(hits(&world, &text).await, [of_device("id")], "{text}");
        }
        assert_eq!(hits(&world, "2f0d2ef6-").await, [of_device("beginning")]);
        let anna = named(&world, "u1", "anna").await;
        world.raw().run(&format!("UPDATE devices SET user_id = '{anna}'"));
        assert_eq!(hits(&world, &DEVICE.to_string()).await, [of_device("id"), customer(anna, "device")]);
        let stranger = world.store.new_app("other").await.unwrap().id;
        assert_eq!(found(&world, &DEVICE.to_string(), Some(stranger)).await, []);
        world.raw().run("UPDATE users SET analytics_device_id = 'tv-4711'");
        assert_eq!(hits(&world, "tv-4711").await, [customer(anna, "device")]);
        assert_eq!(hits(&world, "tv-47").await, [customer(anna, "beginning")]);
    }
}

story! {
    async fn names_of_others_are_ordered_byte_by_byte(world: World) {
        if !world.is_postgres() {
            return;
        }
        let others = "SELECT COUNT(*) AS value FROM information_schema.columns
            WHERE table_schema = current_schema() AND collation_name IS DISTINCT FROM 'C'
                AND column_name IN ('receipt_id', 'app_user_id', 'external_id', 'analytics_device_id')
                AND (table_name, column_name) <> ('deliveries', 'analytics_device_id')";
        assert_eq!(world.raw().number(others), 0, "a database in another language finds no beginnings by an index");
    }
}
