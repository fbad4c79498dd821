//! `settle migrate` with migrations of a later version, which each test plants: what it prints and changes, where it
//! resumes after a kill, and which processes wait. Processes without the planted migrations act as the previous
//! version.

use crate::cli::{check_failure, settle, stderr_of, stdout_of};
use diesel::connection::SimpleConnection as _;
use domain::Timestamp;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus, Output, Stdio};
use storage::{Config, Database, Key, Store};
use system_tests::folder::Folder;
use system_tests::postgres;
use system_tests::raw::Raw;
use system_tests::reaper::Watched;
use system_tests::wait;
use system_tests::world::SOON;

const KEY: &str = "0000000000000000000000000000000000000000000000000000000000000001";
/// Number of rows that the batches of [`LENGTHS`] change.
const ROWS: i64 = 1_000;

/// A migration after which only later versions can run.
const NOTES: (&str, &str) = (
    "29990101000000_notes",
    "--step script from 99.0.0\n\
     CREATE TABLE notes (id BIGINT NOT NULL PRIMARY KEY, body TEXT NOT NULL, length BIGINT);\n",
);
/// A migration after which this version can run too.
const MEMOS: (&str, &str) = (
    "29981231000000_memos",
    "--step script from 0.1.0\nCREATE TABLE memos (id BIGINT NOT NULL PRIMARY KEY);\n",
);
const LENGTHS: (&str, &str) = (
    "29990102000000_lengths",
    "--step batches notes 100 from 99.0.0\n\
     SELECT COUNT(*) AS value FROM notes WHERE length IS NULL;\n\
     UPDATE notes SET length = LENGTH(body) WHERE id IN (SELECT id FROM notes WHERE length IS NULL LIMIT ?);\n",
);
const KIND: (&str, &str) = (
    "29990103000000_kind",
    "--step script notes from 99.0.0\nALTER TABLE notes ADD COLUMN kind TEXT;\n",
);
const BY_LENGTH: (&str, &str) = (
    "29990104000000_by_length",
    "--step index notes from 99.0.0\nCREATE INDEX notes_by_length ON notes (length);\n",
);

/// A database with a later version's migrations.
struct Site {
    folder: Folder,
    database: Database,
}

impl Site {
    fn sqlite() -> Self {
        let folder = Folder::new("migrating");
        let database = Database::Sqlite(folder.path().join("settle.sqlite"));
        Self { folder, database }
    }

    /// Returns a site with an empty PostgreSQL database.
    fn postgres() -> Self {
        let database = Database::Postgres(postgres::database().expect("a database"));
        Self {
            folder: Folder::new("migrating"),
            database,
        }
    }

    /// Returns a site on each kind of database, with a table of [`ROWS`] notes.
    fn both() -> [Self; 2] {
        [Self::sqlite(), Self::postgres()].map(|site| {
            site.plant(NOTES);
            site.succeeds(&[]);
            let mut raw = site.raw();
            raw.run("INSERT INTO notes (id, body) VALUES (1, 'a note')");
            while raw.number("SELECT COUNT(*) AS value FROM notes") < ROWS {
                raw.run(&format!(
                    "INSERT INTO notes (id, body) SELECT id + (SELECT MAX(id) FROM notes), body FROM notes
                        WHERE id + (SELECT MAX(id) FROM notes) <= {ROWS}"
                ));
            }
            site
        })
    }

    fn planted(&self) -> PathBuf {
        self.folder.path().join("planted")
    }

    fn plant(&self, (name, text): (&str, &str)) {
        std::fs::create_dir_all(self.planted()).expect("a folder");
        std::fs::write(self.planted().join(format!("{name}.sql")), text).expect("a migration");
    }

    fn raw(&self) -> Raw {
        Raw::of(&self.database)
    }

    /// Returns a command of the previous version.
    fn older(&self, arguments: &[&str]) -> Command {
        let database = match &self.database {
            Database::Sqlite(path) => path.display().to_string(),
            Database::Postgres(url) => url.clone(),
        };
        let mut command = settle(
            &self.folder,
            &[arguments, &["--database", &database]].concat(),
        );
        command
            .env("SETTLE_KEY", KEY)
            .env("SETTLE_ADMIN_TOKEN", "a-token-for-the-tests-of-migrations");
        // With this level, an error is the only line.
        command.env("SETTLE_LOG", "error");
        command
    }

    /// Returns a command of the version with the planted migrations, with these fail points.
    fn newer(&self, arguments: &[&str], fail_points: &str) -> Command {
        let mut command = self.older(arguments);
        let planted = format!(
            "migrate.planted=return({}){fail_points}",
            self.planted().display()
        );
        command.env("FAILPOINTS", planted);
        command
    }

    /// Runs the newer `settle migrate`, which must succeed, and returns its output.
    fn succeeds(&self, flags: &[&str]) -> String {
        let output = self
            .newer(&[&["migrate"], flags].concat(), "")
            .output()
            .expect("settle");
        assert!(
            output.status.success(),
            "{}{}",
            stdout_of(&output),
            stderr_of(&output)
        );
        stdout_of(&output)
    }

    /// Starts the newer `settle migrate`.
    fn start(&self, name: &str, fail_points: &str) -> Running {
        let log = self.folder.path().join(name);
        let file = std::fs::File::create(&log).expect("a log");
        let mut command = self.newer(&["migrate"], fail_points);
        command
            .stdout(file.try_clone().expect("the log"))
            .stderr(file)
            .stdin(Stdio::null());
        Running {
            process: Watched::spawn(&mut command).expect("settle"),
            log,
        }
    }

    /// Returns the number of notes whose length is not filled in yet.
    fn left(&self) -> i64 {
        self.raw()
            .number("SELECT COUNT(*) AS value FROM notes WHERE length IS NULL")
    }
}

/// A running `settle migrate`.
struct Running {
    process: Watched,
    log: PathBuf,
}

impl Running {
    fn log(&self) -> String {
        log(&self.log)
    }

    fn wait_for(&self, line: &str) {
        let found = || {
            if self.log().contains(line) {
                Ok(())
            } else {
                Err(self.log())
            }
        };
        wait::until_blocking(SOON, line, found).unwrap_or_else(|error| panic!("{error:#}"));
    }

    fn end(&mut self) -> ExitStatus {
        let (process, file) = (&mut self.process, &self.log);
        let end = || process.exit_status().ok_or_else(|| log(file));
        wait::until_blocking(SOON, "the end of settle migrate", end)
            .unwrap_or_else(|error| panic!("{error:#}"))
    }
}

fn log(file: &Path) -> String {
    std::fs::read_to_string(file).unwrap_or_default()
}

fn refused(command: &mut Command) -> Output {
    command.output().expect("settle")
}

/// Commands that open a database and keep running, with the addresses they need.
const STAYING: [&[&str]; 2] = [
    &[
        "serve",
        "--listen",
        "127.0.0.1:0",
        "--admin-listen",
        "127.0.0.1:0",
    ],
    &["worker"],
];

#[test]
fn on_postgresql_only_migrate_changes_the_tables() {
    let site = Site::postgres();
    let tables = "SELECT COUNT(*) AS value FROM pg_tables WHERE schemaname = 'public'";
    for command in STAYING {
        check_failure(
            &refused(&mut site.older(command)),
            &["it has no tables of settle: run `settle migrate`"],
        );
    }
    let Database::Postgres(url) = &site.database else {
        panic!("it is PostgreSQL")
    };
    let mut run = settle(
        &site.folder,
        &["run", "--data", "data", "--listen", "127.0.0.1:0"],
    );
    run.env("SETTLE_KEY", KEY)
        .env("SETTLE_DATABASE", url)
        .env("SETTLE_LOG", "error");
    check_failure(
        &refused(&mut run),
        &["it has no tables of settle: run `settle migrate`"],
    );
    assert_eq!(site.raw().number(tables), 0);
    assert!(refused(&mut site.older(&["migrate"])).status.success());
    let before = site.raw().number(tables);
    assert!(before > 20, "{before} tables");
    site.plant(NOTES);
    for command in STAYING {
        let older =
            ["its tables are those of an older settle: run `settle migrate`, or wait for the one"];
        check_failure(&refused(&mut site.newer(command, "")), &older);
    }
    assert_eq!(site.raw().number(tables), before);
    assert!(
        site.succeeds(&[])
            .contains("29990101000000 notes: applied in ")
    );
    assert_eq!(site.raw().number(tables), before + 1);
}

#[test]
fn a_version_that_is_rolled_back_refuses_newer_tables() {
    let commands: [&[&str]; 3] = [STAYING[0], STAYING[1], &["migrate"]];
    for site in Site::both() {
        for command in commands {
            let newer = "this one, 0.3.0, does not work with them: run 99.0.0 or later, or restore the backup from before it";
            check_failure(
                &refused(&mut site.older(command)),
                &["its tables are those of a newer settle", newer],
            );
        }
    }
}

#[test]
fn a_version_starts_on_tables_that_a_later_one_only_adds_to() {
    for site in [Site::sqlite(), Site::postgres()] {
        let runtime = tokio::runtime::Runtime::new().expect("a runtime");
        let open = || {
            let mut key = [0; 32];
            key[31] = 1;
            let config = Config {
                database: site.database.clone(),
                key: Key::new(key),
                clock: Timestamp::default,
            };
            drop(
                runtime
                    .block_on(Store::open(config))
                    .expect("this process knows no planted migration"),
            );
        };
        assert!(refused(&mut site.older(&["migrate"])).status.success());
        site.plant(MEMOS);
        site.plant((
            BY_LENGTH.0,
            "--step index memos from 0.1.0\nCREATE INDEX memos_by_id ON memos (id);\n",
        ));
        // Between two steps, the later version cannot start.
        assert!(
            !site
                .start("aborted", ";migrate.after_step=1*return")
                .end()
                .success()
        );
        open();
        if let Database::Postgres(_) = site.database {
            let older = [
                "its tables are those of an older settle",
                "or wait for the one that is running",
            ];
            check_failure(&refused(&mut site.newer(STAYING[1], "")), &older);
        }
        site.succeeds(&[]);
        open();
        let again = refused(&mut site.older(&["migrate"]));
        assert!(
            again.status.success() && stdout_of(&again).contains("up to date"),
            "{}",
            stdout_of(&again)
        );
        // If two releases both add steps, neither applies its steps after the other's.
        let memos = site.planted().join(format!("{}.sql", MEMOS.0));
        std::fs::remove_file(&memos).expect("a migration that the other release lacks");
        site.plant((
            "29981230000000_other",
            "--step script from 0.1.0\nCREATE TABLE others (id BIGINT);\n",
        ));
        let other = "its tables have steps that this settle does not know, and lack others";
        check_failure(&refused(&mut site.newer(&["migrate"], "")), &[other]);
        std::fs::remove_file(site.planted().join("29981230000000_other.sql"))
            .expect("the other one's migration");
        site.plant(MEMOS);
        // A release continues to run as long as no step is too new for it.
        site.plant(NOTES);
        site.succeeds(&[]);
        check_failure(
            &refused(&mut site.older(&["migrate"])),
            &["its tables are those of a newer settle"],
        );
    }
}

#[test]
fn a_unique_index_that_cannot_be_built_is_not_left_behind() {
    let [_, site] = Site::both();
    site.plant((
        BY_LENGTH.0,
        "--step index notes from 99.0.0\nCREATE UNIQUE INDEX notes_by_length ON notes (body);\n",
    ));
    let failed = refused(&mut site.newer(&["migrate"], ""));
    check_failure(
        &failed,
        &["the unique index notes_by_length cannot be built: rows are equal"],
    );
    assert_eq!(
        site.raw()
            .number("SELECT COUNT(*) AS value FROM pg_indexes WHERE indexname = 'notes_by_length'"),
        0
    );
}

#[test]
fn a_dry_run_shows_each_step_and_changes_nothing() {
    for site in Site::both() {
        for step in [LENGTHS, KIND, BY_LENGTH] {
            site.plant(step);
        }
        site.raw().run("ANALYZE notes");
        let is_postgres = matches!(site.database, Database::Postgres(_));
        let about = if is_postgres { "about " } else { "" };
        let plan = format!(
            "29990102000000 lengths: batches, touches {about}1000 rows of notes\n\
             29990103000000 kind: script, touches {about}1000 rows of notes\n\
             29990104000000 by_length: index, touches {about}1000 rows of notes\n"
        );
        assert_eq!(site.succeeds(&["--dry-run"]), plan);
        assert_eq!(site.succeeds(&["--dry-run"]), plan, "nothing was applied");
        assert_eq!(site.left(), ROWS);
        let applied = site.succeeds(&[]);
        assert!(
            applied.contains("29990102000000 lengths: applied in ")
                && applied.contains("1000 rows"),
            "{applied}"
        );
        assert!(site.succeeds(&["--dry-run"]).contains("Nothing to do"));
    }
    let missing = Site::sqlite();
    check_failure(
        &refused(&mut missing.older(&["migrate", "--dry-run"])),
        &["there is no database"],
    );
    assert!(!missing.folder.path().join("settle.sqlite").exists());
}

#[test]
fn a_killed_migration_goes_on_where_it_was() {
    for site in Site::both() {
        for step in [LENGTHS, KIND, BY_LENGTH] {
            site.plant(step);
        }
        let mut killed = site.start("killed", ";migrate.after_batch=2*off->pause");
        let three = || match site.left() {
            700 => Ok(()),
            left => Err(format!("{left} are left: {}", killed.log())),
        };
        wait::until_blocking(SOON, "three batches", three)
            .unwrap_or_else(|error| panic!("{error:#}"));
        killed.process.kill();
        let mut aborted = site.start("aborted", ";migrate.after_step=1*return");
        assert!(!aborted.end().success(), "{}", aborted.log());
        let line = "29990102000000 lengths: applied in ";
        assert!(
            aborted.log().contains(line) && aborted.log().contains("700 rows"),
            "{}",
            aborted.log()
        );
        assert_eq!(site.left(), 0);
        let rest = site.succeeds(&[]);
        assert!(
            !rest.contains("lengths")
                && rest.contains("kind: applied")
                && rest.contains("by_length: applied")
        );
        assert!(site.succeeds(&["--dry-run"]).contains("Nothing to do"));
    }
}

#[test]
fn an_invalid_index_is_dropped_and_built_again() {
    let [_, site] = Site::both();
    let Raw::Postgres(mut connection) = site.raw() else {
        panic!("it is PostgreSQL")
    };
    // The creation fails because all notes have the same body, and leaves an invalid index behind.
    let failed = connection
        .batch_execute("CREATE UNIQUE INDEX CONCURRENTLY notes_by_length ON notes (body)");
    assert!(failed.is_err());
    let valid = "SELECT COUNT(*) AS value FROM pg_index
        WHERE indexrelid = to_regclass('notes_by_length') AND indisvalid AND NOT indisunique";
    assert_eq!(site.raw().number(valid), 0);
    site.plant(BY_LENGTH);
    site.succeeds(&[]);
    assert_eq!(site.raw().number(valid), 1);
}

#[test]
fn a_step_that_waits_for_a_lock_holds_nobody_up() {
    let [_, site] = Site::both();
    site.plant(KIND);
    site.plant(BY_LENGTH);
    let mut long_reader = site.raw();
    long_reader.run("BEGIN; SELECT COUNT(*) FROM notes");
    let mut first = site.start("first", "");
    // The reader would time out behind a statement that waits for the long reader.
    let mut reader = site.raw();
    reader.run("SET lock_timeout = '5s'");
    let second_attempt = || {
        assert_eq!(reader.number("SELECT COUNT(*) AS value FROM notes"), ROWS);
        let line =
            "29990103000000 kind: other sessions hold a lock that it needs (attempt 2 of 30)";
        if first.log().contains(line) {
            Ok(())
        } else {
            Err(first.log())
        }
    };
    wait::until_blocking(SOON, "a second attempt", second_attempt)
        .unwrap_or_else(|error| panic!("{error:#}"));
    // The command waits without a transaction, which the first command's index creation would wait for.
    let mut second = site.start("second", "");
    second.wait_for("another `settle migrate` is running");
    long_reader.run("COMMIT");
    assert!(
        first.end().success() && second.end().success(),
        "{}{}",
        first.log(),
        second.log()
    );
    assert!(
        first.log().contains("by_length: applied") && !second.log().contains("applied"),
        "{}",
        second.log()
    );
}

#[test]
fn a_deadlock_with_another_session_is_tried_again() {
    let [_, site] = Site::both();
    site.raw()
        .run("CREATE TABLE drafts (id BIGINT NOT NULL PRIMARY KEY)");
    let text = "--step script notes from 99.0.0\nALTER TABLE drafts ADD COLUMN kind TEXT;\nALTER TABLE notes ADD COLUMN kind TEXT;\n";
    site.plant((KIND.0, text));
    // Nearly as long as a step waits for a lock: the other session has this time to complete the cycle.
    let late = "format('ALTER DATABASE %I SET deadlock_timeout = 1500', current_database())";
    site.raw()
        .run(&format!("DO $$ BEGIN EXECUTE {late}; END $$"));
    let mut other = site.raw();
    // With this, the migration's session detects the deadlock first.
    other.run("SET deadlock_timeout = '1min'");
    other.run("BEGIN; LOCK TABLE notes IN ACCESS SHARE MODE");
    let mut migrating = site.start("migrating", "");
    let mut watching = site.raw();
    let waits = "SELECT COUNT(*) AS value FROM pg_locks WHERE NOT granted AND relation = to_regclass('notes')";
    let blocked = || {
        if watching.number(waits) > 0 {
            Ok(())
        } else {
            Err(migrating.log())
        }
    };
    wait::until_blocking(SOON, "a migration that waits", blocked)
        .unwrap_or_else(|error| panic!("{error:#}"));
    other.run("LOCK TABLE drafts IN ACCESS SHARE MODE");
    other.run("COMMIT");
    assert!(migrating.end().success(), "{}", migrating.log());
    assert!(
        migrating
            .log()
            .contains("kind: deadlock with another session (attempt 1 of 30)"),
        "{}",
        migrating.log()
    );
}
