//! Wrong or unreachable addresses of Temporal.

use super::{KEY, TOKEN, log, logged, settle, stderr_of};
use system_tests::folder::Folder;
use system_tests::wait;
use system_tests::world::SOON;

#[test]
fn a_wrong_address_of_temporal_names_the_variable() {
    for command in ["run", "serve", "worker"] {
        let folder = Folder::new("wrong-temporal");
        let listen = if command == "worker" {
            vec![]
        } else {
            vec!["--listen", "127.0.0.1:0"]
        };
        let line = [vec![command, "--data", "data"], listen].concat();
        let variables = [
            ("TEMPORAL_ADDRESS", "://bad"),
            ("SETTLE_KEY", KEY),
            ("SETTLE_ADMIN_TOKEN", TOKEN),
        ];
        let output = settle(&folder, &line)
            .envs(variables)
            .output()
            .expect("settle starts");
        let complaint = stderr_of(&output);
        let last = complaint.lines().last().unwrap_or_default();
        assert_eq!(output.status.code(), Some(1), "{command}: {complaint}");
        assert!(
            last.contains("TEMPORAL_ADDRESS is `://bad`: expected HOST:PORT"),
            "{command}: {complaint}"
        );
    }
}

#[test]
fn an_address_at_which_no_temporal_answers_is_explained() {
    let folder = Folder::new("no-temporal");
    let mut command = settle(
        &folder,
        &["run", "--data", "data", "--listen", "127.0.0.1:0"],
    );
    let _running = logged(&folder, &mut command);
    let check = || {
        if log(&folder).contains("TEMPORAL_ADDRESS") {
            Ok(())
        } else {
            Err(log(&folder))
        }
    };
    wait::until_blocking(SOON, "a line about Temporal", check).expect("a warning");
    let log = log(&folder);
    assert!(
        log.contains("no Temporal server answers at this address") && log.contains("127.0.0.1:9"),
        "{log}"
    );
    assert!(
        !log.contains("ConnectError") && !log.contains("transport::Error"),
        "{log}"
    );
}
