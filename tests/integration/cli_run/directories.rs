//! The data directory: its owner and its permissions.

use super::{RUN, below};
use crate::cli::{check_failure, log, logged, ran, settle, wait_open};
use std::fs::{DirBuilder, Permissions};
use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
use std::path::Path;
use std::process::{Command, Stdio};
use system_tests::folder::Folder;
use system_tests::wait;
use system_tests::world::SOON;

#[test]
fn everything_that_run_creates_is_its_owners_whatever_the_umask() {
    let folder = Folder::new("umask");
    let plain = settle(&folder, &RUN);
    let mut command = Command::new("/bin/sh");
    command
        .args(["-c", "umask 000; exec \"$0\" \"$@\""])
        .arg(plain.get_program())
        .args(plain.get_args());
    command.current_dir(folder.path()).stdin(Stdio::null());
    for (name, value) in plain
        .get_envs()
        .filter(|(name, _)| *name != "TEMPORAL_ADDRESS")
    {
        match value {
            Some(value) => command.env(name, value),
            None => command.env_remove(name),
        };
    }
    command.env_remove("TEMPORAL_ADDRESS");
    let mut running = logged(&folder, &mut command);
    wait_open(&folder, &mut running);
    let data = folder.path().join("data");
    let written = || {
        if data.join("temporal.db").exists() {
            Ok(())
        } else {
            Err(log(&folder))
        }
    };
    wait::until_blocking(SOON, "the file of Temporal", written).expect("a file");
    let mode = |path: &Path| {
        std::fs::symlink_metadata(path).map_or(0, |found| found.permissions().mode() & 0o777)
    };
    assert_eq!(mode(&data), 0o700);
    let open: Vec<_> = below(&data)
        .into_iter()
        .filter(|path| mode(path) & 0o077 != 0)
        .collect();
    assert!(open.is_empty(), "{open:?}");
    for name in [
        "key",
        "admin-token",
        "sample-key.pem",
        "settle.sqlite",
        "settle.sqlite.lock",
        "temporal.db",
    ] {
        assert_eq!(mode(&data.join(name)), 0o600, "{name}");
    }
}

#[test]
fn an_open_data_directory_is_refused_with_what_closes_it() {
    let folder = Folder::new("open");
    let data = folder.path().join("data");
    DirBuilder::new()
        .mode(0o700)
        .create(&data)
        .expect("a folder");
    std::fs::write(data.join("notes"), "of somebody").expect("a file");
    for mode in [0o755, 0o770, 0o701] {
        std::fs::set_permissions(&data, Permissions::from_mode(mode)).expect("its permissions");
        let output = ran(&folder, &RUN);
        let data = data.canonicalize().expect("its path");
        check_failure(
            &output,
            &[
                "others can enter it",
                &format!("`chmod 700 {}`", data.display()),
            ],
        );
        assert!(!data.join("key").exists(), "no key was written");
    }
    std::fs::set_permissions(&data, Permissions::from_mode(0o700)).expect("its permissions");
    wait_open(&folder, &mut logged(&folder, &mut settle(&folder, &RUN)));
}

#[test]
fn an_empty_data_directory_is_closed_to_others() {
    let folder = Folder::new("empty");
    let data = folder.path().join("data");
    std::fs::create_dir(&data).expect("a folder");
    std::fs::set_permissions(&data, Permissions::from_mode(0o755)).expect("its permissions");
    wait_open(&folder, &mut logged(&folder, &mut settle(&folder, &RUN)));
    assert_eq!(
        std::fs::metadata(&data)
            .expect("the folder")
            .permissions()
            .mode()
            & 0o777,
        0o700
    );
}
