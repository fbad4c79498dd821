//! A process's database: its tables, its lock and its encryption key.

use super::{KEY, check_failure, ran, running, settle, stderr_of, stdout_of};
use diesel::connection::SimpleConnection as _;
use diesel::{Connection as _, SqliteConnection};
use std::io::{BufRead as _, BufReader};
use std::process::{Output, Stdio};
use system_tests::folder::Folder;

#[test]
fn a_second_process_on_the_same_data_is_refused() {
    let folder = Folder::new("second");
    let _running = running(&folder);
    let output = ran(
        &folder,
        &["run", "--data", "data", "--listen", "127.0.0.1:0"],
    );
    check_failure(&output, &["another settle", "--data"]);
    let data = folder
        .path()
        .join("data/settle.sqlite")
        .display()
        .to_string();
    let key = std::fs::read_to_string(folder.path().join("data/key")).expect("the key");
    let migrate = settle(&folder, &["migrate", "--database", &data])
        .env("SETTLE_KEY", key.trim())
        .output()
        .expect("settle");
    check_failure(&migrate, &["another settle"]);
}

#[test]
fn migrate_makes_the_tables_and_ends() {
    let folder = Folder::new("migrate");
    let output = settle(&folder, &["migrate", "--database", "db/settle.sqlite"])
        .env("SETTLE_KEY", KEY)
        .output()
        .expect("settle");
    assert_eq!(output.status.code(), Some(0), "{}", stderr_of(&output));
    assert!(
        stdout_of(&output).contains("up to date"),
        "{}",
        stdout_of(&output)
    );
    assert!(folder.path().join("db/settle.sqlite").is_file());
}

#[test]
fn migrate_refuses_the_tables_of_another_build() {
    let folder = Folder::new("migrate");
    let output = migrated(&folder, KEY, &[]);
    assert_eq!(output.status.code(), Some(0), "{}", stderr_of(&output));
    let file = folder.path().join("db/settle.sqlite");
    let mut raw = SqliteConnection::establish(&file.to_string_lossy()).expect("the file");
    raw.batch_execute("UPDATE fingerprints SET sha256 = 'another'")
        .expect("a change");
    let output = migrated(&folder, KEY, &[]);
    check_failure(
        &output,
        &["another build of settle", "settle product export"],
    );
}

#[test]
fn migrate_raises_the_epoch_of_a_restored_database() {
    let folder = Folder::new("epoch");
    let line = ["migrate", "--database", "db/settle.sqlite", "--raise-epoch"];
    let mistyped = settle(&folder, &line)
        .env("SETTLE_KEY", KEY)
        .output()
        .expect("settle");
    assert_eq!(mistyped.status.code(), Some(1), "{}", stdout_of(&mistyped));
    assert!(
        stderr_of(&mistyped).contains("there is no database db/settle.sqlite"),
        "{}",
        stderr_of(&mistyped)
    );
    assert!(!folder.path().join("db").exists(), "nothing was created");
    let output = settle(&folder, &line[..3])
        .env("SETTLE_KEY", KEY)
        .output()
        .expect("settle");
    assert_eq!(output.status.code(), Some(0), "{}", stderr_of(&output));
    let output = settle(&folder, &line)
        .env("SETTLE_KEY", KEY)
        .output()
        .expect("settle");
    assert_eq!(output.status.code(), Some(0), "{}", stderr_of(&output));
    let raised = "Raised the epoch from 1 to ";
    let new = stdout_of(&output)
        .split_once(raised)
        .map(|(_, rest)| rest.split(':').next().map(str::to_owned));
    let new = new
        .flatten()
        .unwrap_or_else(|| panic!("{}", stdout_of(&output)));
    let output = settle(&folder, &line[..3])
        .env("SETTLE_KEY", KEY)
        .output()
        .expect("settle");
    assert!(
        stdout_of(&output).contains(&format!(", epoch {new})")),
        "{}",
        stdout_of(&output)
    );
}

/// Returns a key of 32 equal bytes, in hexadecimal.
fn key(byte: u8) -> String {
    format!("{byte:02x}").repeat(32)
}

/// Runs `settle migrate` on the folder's database, with these keys.
fn migrated(folder: &Folder, keys: &str, flags: &[&str]) -> Output {
    let line = [&["migrate", "--database", "db/settle.sqlite"], flags].concat();
    settle(folder, &line)
        .env("SETTLE_KEY", keys)
        .output()
        .expect("settle")
}

#[tokio::test]
async fn a_killed_rekey_goes_on_and_names_the_key_to_drop() {
    let folder = Folder::new("rekey");
    let (old, new) = (key(7), key(8));
    let both = format!("{new},{old}");
    std::fs::create_dir(folder.path().join("db")).expect("a folder");
    let database = storage::Database::Sqlite(folder.path().join("db/settle.sqlite"));
    let config = storage::Config {
        database,
        key: storage::Key::new([7; 32]),
        clock: api::clock::now,
    };
    let store = storage::Store::open(config).await.expect("a database");
    let app = store.new_app("Acme").await.expect("an app");
    for number in 0..350 {
        let ingress_key = format!("ingress-{number}");
        store
            .new_platform(crate::storage::world::new_platform(&app, &ingress_key))
            .await
            .expect("a platform");
    }
    let old_id = store.key_id().to_owned();
    drop(store);

    // The command pauses after its fourth page, and is killed there.
    let line = ["migrate", "--database", "db/settle.sqlite", "--rekey"];
    let mut command = settle(&folder, &line);
    command
        .env("SETTLE_KEY", &both)
        .env("FAILPOINTS", "rekey.after_page=3*off->pause")
        .stdout(Stdio::piped());
    let mut child = command.spawn().expect("settle");
    let mut lines = BufReader::new(child.stdout.take().expect("its output")).lines();
    let printed = |lines: &mut dyn Iterator<Item = std::io::Result<String>>| {
        lines.next().expect("a line").expect("text")
    };
    assert!(printed(&mut lines).contains("up to date"));
    let begun = printed(&mut lines);
    assert!(
        begun.contains("350 ingress keys, 350 secrets of stores"),
        "{begun}"
    );
    for done in [
        "1 encrypted, 1050 left",
        "201 encrypted, 850 left",
        "401 encrypted",
    ] {
        let line = printed(&mut lines);
        assert!(line.contains(done), "{line}");
    }
    child.kill().expect("SIGKILL");
    child.wait().expect("its end");

    let refused = migrated(&folder, &new, &[]);
    check_failure(&refused, &[&format!("`{old_id}` is missing"), "SETTLE_KEY"]);
    let between = stdout_of(&migrated(&folder, &both, &[]));
    assert!(
        between.contains(&format!("{old_id} cannot be dropped yet")) && between.contains("--rekey"),
        "{between}"
    );
    let finished = stdout_of(&migrated(&folder, &both, &["--rekey"]));
    assert!(
        !finished.contains("350 ingress keys") && finished.contains("350 secrets of stores"),
        "{finished}"
    );
    assert!(
        finished.contains(&format!("Drop {old_id} from every process's SETTLE_KEY")),
        "{finished}"
    );
    let after = stdout_of(&migrated(&folder, &new, &[]));
    assert!(
        after.contains("Secrets are encrypted with the key") && !after.contains(&old_id),
        "{after}"
    );
    check_failure(&migrated(&folder, &old, &[]), &["is missing"]);
}
