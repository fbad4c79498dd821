//! Opening a database: with which key, by how many processes, and repeatedly.

use super::world::{World, key_of_all_ones, new_destination, renewal, story};
use domain::Timestamp;
use futures::future::join_all;
use std::fs::{OpenOptions, Permissions};
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown, symlink};
use std::path::Path;
use std::process::Command;
use storage::{Config, Database, Error, ExposeSecret, Key, SecretString, Store, TopicRequest};
use system_tests::folder::Folder;
use system_tests::raw::Raw;
use system_tests::wait;
use system_tests::world::SOON;

story! {
    async fn stored_rows_survive_reopening(world: World) {
        let World { store, config, platform, folder: _folder, .. } = world;
        let before = store.installation();
        store.accept(vec![renewal(platform.id, "m1", "r1", 1)]).await.unwrap();
        drop(store);
        let store = Store::open(config).await.unwrap();
        assert_eq!(store.installation(), before);
        assert_eq!(store.notifications_of("m1").await.unwrap().len(), 1);
    }
}

story! {
    async fn another_key_is_refused_at_once(world: World) {
        let World { store, mut config, folder: _folder, .. } = world;
        let world_key = store.key_id().to_owned();
        drop(store);
        config.key = Key::new([2; 32]);
        let error = Store::open(config).await.unwrap_err();
        assert!(matches!(&error, Error::Corrupt { .. }), "{error:?}");
        let ids = format!("`{world_key}` is missing");
        assert!(error.to_string().contains("another key") && error.to_string().contains(&ids), "{error}");
    }
}

story! {
    async fn tables_of_another_build_are_refused(world: World) {
        let mut raw = world.raw();
        let World { store, config, folder: _folder, .. } = world;
        drop(store);
        let newer =
            "INSERT INTO fingerprints (version, sha256, oldest) VALUES ('20991231000000', 'of the future', '99.0.0')";
        let changes = [
            (newer, "those of a newer settle"),
            ("UPDATE fingerprints SET oldest = '0.1.0' WHERE version = '20991231000000'", ""),
            ("UPDATE fingerprints SET oldest = 'of the future' WHERE version = '20991231000000'", "of the future or later"),
            ("DELETE FROM fingerprints WHERE version = '20991231000000'", ""),
            ("UPDATE fingerprints SET sha256 = 'another'", "settle product export"),
            ("DELETE FROM fingerprints", "settle product export"),
            ("DROP TABLE fingerprints", "settle product export"),
        ];
        for (change, sentence) in changes {
            raw.run(change);
            let opened = Store::open(config.clone()).await;
            if sentence.is_empty() {
                assert!(opened.is_ok(), "{change}: {:?}", opened.err());
                continue;
            }
            let error = opened.expect_err(change);
            assert!(matches!(&error, Error::Corrupt { .. }), "{change}: {error:?}");
            assert!(error.to_string().contains(sentence), "{change}: {error}");
        }
    }
}

story! {
    async fn a_missing_table_or_column_is_corrupt(world: World) {
        let mut raw = world.raw();
        raw.run("ALTER TABLE topics RENAME TO former_topics");
        let error = world.store.topics(world.platform.id).await.unwrap_err();
        assert!(matches!(&error, Error::Corrupt { .. }), "{error:?}");
        raw.run("ALTER TABLE apps RENAME COLUMN name TO former_name");
        let error = world.store.new_app("another").await.unwrap_err();
        assert!(matches!(&error, Error::Corrupt { .. }), "{error:?}");
    }
}

story! {
    async fn each_json_column_is_one_of_its_table(world: World) {
        let mut raw = world.raw();
        for column in storage::JSON_COLUMNS {
            let storage::JsonColumn { table, column: name, .. } = column;
            for stored in raw.texts(&format!("SELECT {name} AS value FROM {table} WHERE {name} IS NOT NULL")) {
                assert!(column.check(&stored).is_ok(), "{table}.{name}: {stored}");
            }
        }
    }
}

story! {
    async fn a_store_that_works_is_ready(world: World) {
        world.store.ping().await.unwrap();
        world.store.now().await.unwrap();
    }
}

#[tokio::test]
async fn a_second_opener_of_one_file_is_refused() {
    let folder = Folder::new("storage");
    let path = folder.path().join("settle.db");
    let config = Config {
        database: Database::Sqlite(path.clone()),
        key: key_of_all_ones(),
        clock: Timestamp::default,
    };
    let first = Store::open(config.clone()).await.unwrap();
    let error = Store::open(config.clone()).await.unwrap_err();
    assert!(
        matches!(&error, Error::Locked(locked) if *locked == path),
        "{error:?}"
    );
    drop(first);
    Store::open(config).await.unwrap();
}

#[tokio::test]
async fn a_file_of_another_user_is_named_at_once() {
    let folder = Folder::new("storage");
    let path = folder.path().join("settle.db");
    let config = Config {
        database: Database::Sqlite(path.clone()),
        key: key_of_all_ones(),
        clock: Timestamp::default,
    };
    drop(Store::open(config.clone()).await.unwrap());
    std::fs::set_permissions(&path, Permissions::from_mode(0o400)).unwrap();
    match Store::open(config).await {
        Ok(_) => assert_eq!(
            path.metadata().unwrap().uid(),
            0,
            "root writes to every file"
        ),
        Err(error) => assert!(
            error
                .to_string()
                .contains("must belong to the user that runs settle"),
            "{error}"
        ),
    }
}

#[tokio::test]
async fn what_is_no_file_of_settle_is_refused_at_once() {
    let folder = Folder::new("storage");
    let path = folder.path().join("settle.db");
    let (lock, database) = (
        folder.path().join("settle.db.lock"),
        Database::Sqlite(path.clone()),
    );
    let config = Config {
        database: database.clone(),
        key: key_of_all_ones(),
        clock: Timestamp::default,
    };
    let pipe = |path: &Path| assert!(Command::new("mkfifo").arg(path).status().unwrap().success());
    let refused = async |part: &str| {
        let error = Store::open(config.clone()).await.map(drop).unwrap_err();
        assert!(
            matches!(&error, Error::Corrupt { .. }) && error.to_string().contains(part),
            "{error:?}"
        );
    };
    pipe(&lock);
    refused("its lock").await;
    // A mere reader of the lock file does not prevent opening.
    let reader = OpenOptions::new()
        .read(true)
        .write(true)
        .open(&lock)
        .unwrap();
    refused("its lock").await;
    drop(reader);
    std::fs::remove_file(&lock).unwrap();
    pipe(&path);
    refused("is not a regular file").await;
    std::fs::remove_file(&path).unwrap();
    let mut raw = Raw::of(&database);
    raw.run("CREATE TABLE notes (text TEXT)");
    refused("tables of another program").await;
    assert!(storage::planned(database.clone()).await.is_err());
    assert_eq!(
        raw.number("SELECT COUNT(*) AS value FROM sqlite_schema"),
        1,
        "nothing was added"
    );
    raw.run("DROP TABLE notes");
    Store::open(config.clone()).await.unwrap();
}

#[tokio::test]
async fn root_leaves_the_lock_to_the_owner_of_the_file() {
    let folder = Folder::new("storage");
    let path = folder.path().join("settle.db");
    let config = Config {
        database: Database::Sqlite(path.clone()),
        key: key_of_all_ones(),
        clock: Timestamp::default,
    };
    drop(Store::open(config.clone()).await.unwrap());
    let lock = folder.path().join("settle.db.lock");
    // Only root can change a file's owner; for other users the owner stays the same, and the checks hold too.
    let _ = chown(&path, Some(12345), Some(12345));
    drop(Store::open(config.clone()).await.unwrap());
    let owner = path.metadata().unwrap().uid();
    assert_eq!(
        lock.metadata().unwrap().uid(),
        owner,
        "one that a killed command of root left"
    );
    std::fs::remove_file(&lock).unwrap();
    drop(Store::open(config).await.unwrap());
    assert_eq!(lock.metadata().unwrap().uid(), owner, "a new one");
}

#[tokio::test]
async fn root_gives_no_file_away_to_which_the_lock_is_a_link() {
    let folder = Folder::new("storage");
    let path = folder.path().join("settle.db");
    let config = Config {
        database: Database::Sqlite(path.clone()),
        key: key_of_all_ones(),
        clock: Timestamp::default,
    };
    drop(Store::open(config.clone()).await.unwrap());
    let (lock, other) = (
        folder.path().join("settle.db.lock"),
        folder.path().join("other"),
    );
    std::fs::write(&other, "").unwrap();
    let owner = other.metadata().unwrap().uid();
    // Only root can do this, and only root could change the other file's owner.
    let _ = chown(&path, Some(12345), Some(12345));
    std::fs::remove_file(&lock).unwrap();
    symlink(&other, &lock).unwrap();
    Store::open(config.clone()).await.unwrap_err();
    assert_eq!(other.metadata().unwrap().uid(), owner, "a symbolic link");
    std::fs::remove_file(&lock).unwrap();
    std::fs::hard_link(&other, &lock).unwrap();
    drop(Store::open(config).await.unwrap());
    assert_eq!(other.metadata().unwrap().uid(), owner, "a hard link");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn concurrent_openers_create_tables_and_installation_once() {
    let url = tokio::task::spawn_blocking(system_tests::postgres::database)
        .await
        .unwrap()
        .unwrap();
    let config = Config {
        database: Database::Postgres(url),
        key: key_of_all_ones(),
        clock: Timestamp::default,
    };
    for migrated in
        join_all((0..6).map(|_| storage::migrate(config.database.clone(), |_| {}))).await
    {
        migrated.unwrap();
    }
    let openers: Vec<_> = (0..6)
        .map(|_| tokio::spawn(Store::open(config.clone())))
        .collect();
    let mut installations = Vec::new();
    for opener in openers {
        installations.push(opener.await.unwrap().unwrap().installation());
    }
    assert!(
        installations.windows(2).all(|two| two[0] == two[1]),
        "{installations:?}"
    );
}

#[tokio::test]
async fn a_server_that_is_down_is_unavailable_and_not_corrupt() {
    let database = Database::Postgres("postgres://nobody@127.0.0.1:1/none".to_owned());
    let config = Config {
        database,
        key: key_of_all_ones(),
        clock: Timestamp::default,
    };
    let error = Store::open(config).await.unwrap_err();
    assert!(matches!(error, Error::Unavailable(_)), "{error:?}");
}

story! {
    async fn cut_connections_are_reestablished(world: World) {
        if !world.is_postgres() {
            return;
        }
        for message in ["m1", "m2", "m3"] {
            join_all((0..READS).map(|_| world.store.notifications_of(message))).await;
            cut_all(&world).await;
            for read in join_all((0..READS).map(|_| world.store.notifications_of(message))).await {
                assert_eq!(read.unwrap().len(), 0, "each read notices that its connection is closed");
            }
            cut_all(&world).await;
            world.notify(message, message, 1).await;
            assert_eq!(world.store.notifications_of(message).await.unwrap().len(), 1);
        }
    }
}

/// A number greater than that of reading connections.
const READS: usize = 20;

/// Terminates all sessions of the database, and waits until they have ended.
async fn cut_all(world: &World) {
    const OTHERS: &str =
        "FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()";
    let mut raw = world.raw();
    raw.run(&format!("SELECT pg_terminate_backend(pid) {OTHERS}"));
    wait::until(SOON, "the end of all sessions", async || {
        let open = world.raw().number(&format!(
            "SELECT COUNT(*) AS value {OTHERS} AND backend_type = 'client backend'"
        ));
        // The counting session is another one than the terminating session.
        if open <= 1 {
            Ok(())
        } else {
            Err(open.to_string())
        }
    })
    .await;
}

story! {
    async fn no_secret_is_readable_in_the_database(world: World) {
        let secrets = ["shared-secret-of-the-platform", "whsec_of-the-destination", "SubscribeURL-token"];
        let destination = world.store.new_destination(new_destination(&world.app, "hook")).await.unwrap();
        let url = SecretString::from("https://sns.example/?SubscribeURL-token");
        world.store.add_pending_topic(TopicRequest::new(world.platform.id, "arn:1", url, Timestamp::from_micros(i64::MAX))).await.unwrap();
        let topic = world.store.topics(world.platform.id).await.unwrap().remove(0);

        let read = world.store.destination_secret(destination.id).await.unwrap();
        assert_eq!(read.expose_secret(), secrets[1]);
        let read = world.store.platform_secret(world.platform.id).await.unwrap().unwrap();
        assert_eq!(read.expose_secret(), secrets[0]);
        let read = world.store.subscribe_url(topic.id).await.unwrap().unwrap();
        assert!(read.expose_secret().ends_with(secrets[2]));

        let mut raw = world.raw();
        let stored = "SELECT COUNT(*) AS value FROM platforms p, destinations d, topics t
            WHERE p.shared_secret LIKE 'v1:%' AND d.secret LIKE 'v1:%' AND t.subscribe_url LIKE 'v1:%'";
        assert_eq!(raw.number(stored), 1);
        let Some(file) = world.file() else { return };
        for end in ["", "-wal"] {
            let mut name = file.clone().into_os_string();
            name.push(end);
            let bytes = std::fs::read(name).unwrap();
            for secret in secrets {
                assert!(!bytes.windows(secret.len()).any(|window| window == secret.as_bytes()), "{secret} in {end}");
            }
        }
    }
}
