//! Webhooks can be verified with consumers' libraries: `v1` with `standardwebhooks` from npm and from PyPI; `v1a`,
//! which these do not support, with Node's `crypto` (OpenSSL) and with PyNaCl (libsodium). Each must agree with the
//! crates `standardwebhooks` and `ring` on every stored request: those that other tests stored in the folder named by
//! `SETTLE_TEST_DELIVERIES`, if set, and those of a key rotation.
//!
//! Needs `npm`, `python3` and their registries; `.ci/run` calls this test by name: `cargo test --workspace --test
//! verifiers`.

mod rotation;
mod tally;

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use system_tests::deliveries;
use system_tests::folder::Folder;
use tally::{Answer, Count, Tally};
use tokio::sync::OnceCell;

/// A library, and the command that installs it.
struct Library {
    program: &'static str,
    install: &'static [&'static str],
    script: &'static str,
}

const NPM: Library = Library {
    program: "node",
    install: &[
        "npm",
        "install",
        "--silent",
        "--no-audit",
        "--no-fund",
        "standardwebhooks@1.1.1",
    ],
    script: include_str!("verifier.js"),
};

const PYPI: Library = Library {
    program: "python3",
    install: &[
        "python3",
        "-m",
        "pip",
        "install",
        "--quiet",
        "--target",
        "python",
        "standardwebhooks==1.1.0",
        "pynacl==1.6.2",
    ],
    script: include_str!("verifier.py"),
};

/// Returns the folder with all stored deliveries: those of other tests, to which this process adds its own.
async fn stored_deliveries() -> &'static Path {
    static FOLDER: OnceCell<PathBuf> = OnceCell::const_new();
    let lived = async || {
        let folder = deliveries::folder();
        if let Some(named) = &folder {
            assert!(
                !deliveries::read(named).is_empty(),
                "{} is empty: no test kept anything",
                named.display()
            );
        }
        let folder = folder.unwrap_or_else(|| Folder::of_process("deliveries"));
        for signature in rotation::SIGNATURES {
            rotation::live(&folder, signature).await;
        }
        folder
    };
    FOLDER.get_or_init(lived).await
}

/// Runs a program in a folder, and returns its output.
fn run(folder: &Path, program: &str, arguments: &[&str]) -> String {
    let mut command = Command::new(program);
    command
        .args(arguments)
        .current_dir(folder)
        .env("PYTHONPATH", folder.join("python"))
        .stdin(Stdio::null());
    let done = command
        .output()
        .unwrap_or_else(|error| panic!("{program}: {error}"));
    assert!(
        done.status.success(),
        "{program}: {}",
        String::from_utf8_lossy(&done.stderr)
    );
    String::from_utf8(done.stdout).expect("text")
}

/// Verifies all deliveries with a library, in one process.
async fn verify(library: &Library) {
    let stored_deliveries = stored_deliveries().await;
    let receivers = deliveries::read(stored_deliveries);
    let folder = Folder::new("verifier");
    let (installer, arguments) = library.install.split_first().expect("an installer");
    run(folder.path(), installer, arguments);
    std::fs::write(folder.path().join("script"), library.script).expect("the script");
    let printed = run(
        folder.path(),
        library.program,
        &["script", &stored_deliveries.display().to_string()],
    );
    let parsed =
        |line: &str| serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}"));
    let answers: Vec<Vec<Answer>> = printed.lines().map(parsed).collect();
    let tally = Tally::of(&receivers, &answers)
        .unwrap_or_else(|wrong| panic!("{}: {wrong}", library.program));
    println!("{}: {tally}", library.program);
    check("v1", &tally.v1);
    check("v1a", &tally.v1a);
}

/// Checks that every event type was verified, and that at least as many requests as there are types were verified
/// before, during and after the overlap of a rotation.
fn check(version: &str, count: &Count) {
    let least = [count.before, count.overlap, count.after]
        .into_iter()
        .min()
        .unwrap_or(0);
    assert!(least >= rotation::EVENTS.len(), "{version}: {count}");
    let missing: Vec<_> = rotation::EVENTS
        .iter()
        .filter(|name| !count.event_types.contains(**name))
        .collect();
    assert!(
        missing.is_empty(),
        "{version}: nothing was verified of {missing:?}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn the_javascript_library_and_node_verify_our_webhooks() {
    verify(&NPM).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_python_libraries_verify_our_webhooks() {
    verify(&PYPI).await;
}
