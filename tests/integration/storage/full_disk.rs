//! A full disk. On SQLite the file may not grow, which causes SQLite's own error; on PostgreSQL a trigger raises the
//! error that the server would raise.

use super::world::{World, renewal, story};
use storage::{Accepted, Error};

/// The tables for which the trigger raises the error.
const TABLES: [&str; 2] = ["notifications", "probes"];

impl World {
    fn fill_disk(&self) {
        if let Some(file) = self.file() {
            return fail::cfg(format!("storage.full/{}", file.display()), "return").unwrap();
        }
        let mut raw = self.raw();
        raw.run(
            "CREATE OR REPLACE FUNCTION full_disk() RETURNS trigger LANGUAGE plpgsql AS
             $$ BEGIN RAISE 'could not extend file' USING ERRCODE = '53100'; END $$",
        );
        for table in TABLES {
            raw.run(&format!(
                "CREATE TRIGGER full_disk BEFORE INSERT ON {table} FOR EACH ROW EXECUTE FUNCTION full_disk()"
            ));
        }
    }

    fn make_room(&self) {
        if let Some(file) = self.file() {
            return fail::remove(format!("storage.full/{}", file.display()));
        }
        TABLES.iter().for_each(|table| {
            self.raw()
                .run(&format!("DROP TRIGGER full_disk ON {table}"))
        });
    }

    /// Accepts notifications from number `number` on until one is refused; returns that number and the error.
    async fn accept_until_refused(&self, mut number: i64) -> (i64, Error) {
        loop {
            let text = number.to_string();
            match self
                .store
                .accept(vec![renewal(self.platform.id, &text, &text, number)])
                .await
            {
                Ok(_) => number += 1,
                Err(error) => return (number, error),
            }
            assert!(
                number < 1000,
                "a database that cannot grow takes everything"
            );
        }
    }
}

story! {
    async fn a_full_disk_is_noticed_and_all_goes_on_by_itself(world: World) {
        let disk = world.store.disk();
        assert!(!disk.is_full());
        let mut first = 0;
        for is_probed in [true, false] {
            world.fill_disk();
            let (refused, error) = world.accept_until_refused(first).await;
            assert!(error.is_of_full_disk() && disk.is_full(), "{error:?}");
            let probed = world.store.probe_disk().await.unwrap_err();
            assert!(probed.is_of_full_disk() && disk.is_full(), "{probed:?}");
            world.store.ping().await.unwrap();
            assert!(disk.is_full(), "a check adds no row");

            world.make_room();
            if is_probed {
                world.store.probe_disk().await.unwrap();
                assert!(!disk.is_full(), "without traffic");
            }
            let text = refused.to_string();
            let accepted = world.accept(renewal(world.platform.id, &text, &text, refused)).await;
            assert!(matches!(accepted, Accepted::New { .. }), "the store repeats it: {accepted:?}");
            assert!(!disk.is_full());
            first = refused + 1;
        }
        let stored = world.count("notifications");
        assert_eq!(stored, first, "what was answered is stored, each once");
        assert_eq!(world.count("probes"), 0);
    }
}
