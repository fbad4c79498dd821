//! Each command that opens a PostgreSQL database refuses an unusable one at once, in one line.

use super::cli::{check_failure, settle};
use system_tests::folder::Folder;
use system_tests::postgres;
use url::Url;

const KEY: &str = "0000000000000000000000000000000000000000000000000000000000000001";
const COMMANDS: [&[&str]; 4] = [
    &["migrate"],
    &["run", "--data", "data", "--listen", "127.0.0.1:0"],
    &[
        "serve",
        "--listen",
        "127.0.0.1:0",
        "--admin-listen",
        "127.0.0.1:0",
    ],
    &["worker"],
];

/// Checks that each command ends with this sentence, and does not call the problem temporary.
fn refused(url: &str, sentence: &str) {
    for arguments in COMMANDS {
        let folder = Folder::new("cli-postgres");
        let mut command = settle(&folder, arguments);
        command.env("SETTLE_DATABASE", url).env("SETTLE_KEY", KEY);
        command
            .env("SETTLE_ADMIN_TOKEN", "a-token-for-the-tests-of-databases")
            .env("SETTLE_LOG", "error");
        let output = command.output().expect("settle starts");
        check_failure(&output, &["the database cannot be used: ", sentence]);
    }
}

#[test]
fn each_command_refuses_a_server_that_settle_cannot_work_with() {
    let mut url: Url = postgres::database()
        .expect("a database")
        .parse()
        .expect("a URL");
    let name = format!("{}_ascii", url.path().trim_start_matches('/'));
    let create = format!("CREATE DATABASE {name} ENCODING 'SQL_ASCII' TEMPLATE template0");
    postgres::execute(url.as_str(), &create).expect("a database in another encoding");
    url.set_path(&name);
    refused(
        url.as_str(),
        "its encoding is SQL_ASCII: create it with `ENCODING 'UTF8'`",
    );
}

#[test]
fn each_command_refuses_a_url_that_no_later_try_makes_right() {
    let several = "postgres://settle@127.0.0.1:1,127.0.0.1:2/settle?target_session_attrs=any";
    refused(
        several,
        "its URL cannot be used: with several hosts `target_session_attrs` must be `read-write`",
    );
    let mut unknown: Url = postgres::database()
        .expect("a database")
        .parse()
        .expect("a URL");
    unknown.set_path("nowhere");
    refused(unknown.as_str(), "database \"nowhere\" does not exist");
}
