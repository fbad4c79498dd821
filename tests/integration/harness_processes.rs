//! No process and no folder outlives its test.

use std::process::{Command, Stdio};
use system_tests::folder::Folder;
use system_tests::reaper::Watched;
use system_tests::wait;
use system_tests::world::SOON;

/// The test that [`a_killed_test_process_ends_its_children_too`] runs in a separate process and kills.
const VICTIM: &str = "harness_processes::starts_a_child_and_waits";

fn alive(process: &str) -> bool {
    let state = std::fs::read_to_string(format!("/proc/{process}/stat")).unwrap_or_default();
    state
        .rsplit(") ")
        .next()
        .is_some_and(|rest| !rest.is_empty() && !rest.starts_with('Z'))
}

#[test]
fn a_child_dies_with_its_handle() {
    let child = Watched::spawn(Command::new("cat").stdin(Stdio::piped())).expect("cat starts");
    let process = child.id().to_string();
    assert!(alive(&process));
    drop(child);
    assert!(!alive(&process));
}

/// Does nothing unless the test below has started it and created its folder.
#[test]
fn starts_a_child_and_waits() {
    let folder = std::env::temp_dir().join(format!(
        "settle-victim-of-{}",
        std::os::unix::process::parent_id()
    ));
    if !folder.is_dir() {
        return;
    }
    let mut child =
        Watched::spawn(Command::new("tail").args(["-f", "/dev/null"])).expect("tail starts");
    std::fs::write(folder.join("child"), format!("{} ", child.id()))
        .expect("the child's id is known");
    let status = wait::until_blocking(SOON, "being killed", || {
        child.exit_status().ok_or_else(|| "alive".to_owned())
    });
    panic!("the child ended by itself, or nobody killed us: {status:?}");
}

#[test]
fn a_killed_test_process_ends_its_children_too() {
    let folder = std::env::temp_dir().join(format!("settle-victim-of-{}", std::process::id()));
    std::fs::create_dir(&folder).expect("a folder for ids");
    let mut victim = Command::new(std::env::current_exe().expect("these tests"));
    victim
        .args(["--exact", VICTIM])
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null());
    let mut victim = victim.spawn().expect("these tests once more");
    let child_id = wait::until_blocking(SOON, "the child's id", || {
        let text =
            std::fs::read_to_string(folder.join("child")).map_err(|error| error.to_string())?;
        text.strip_suffix(' ').map(str::to_owned).ok_or(text)
    });
    victim.kill().expect("killed");
    victim.wait().expect("gone");
    drop(std::fs::remove_dir_all(&folder));
    let child = child_id.expect("the child's id");
    let gone = || {
        if alive(&child) {
            Err("alive".to_owned())
        } else {
            Ok(())
        }
    };
    wait::until_blocking(SOON, "the child's death", gone).expect("no orphan");
}

#[test]
fn a_folder_is_deleted_after_a_passed_test() {
    let folder = Folder::new("gone");
    let path = folder.path().to_owned();
    assert!(path.is_dir());
    drop(folder);
    assert!(!path.exists());
}
