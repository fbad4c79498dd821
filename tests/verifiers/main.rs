//! Our webhooks verify with the libraries that our consumers have: `standardwebhooks` of npm and of PyPI.
//!
//! Needs `npm`, `python3` and their registries; `.ci/run` runs this by name: `cargo test --workspace --test verifiers`.

use std::path::Path;
use std::process::{Command, Stdio};
use system_tests::folder::Folder;
use system_tests::receiver::Received;
use system_tests::world::{Setting, World};

const NPM: &str = "standardwebhooks@1.0.0";
const PYPI: &str = "standardwebhooks==1.0.0";

const NODE: &str = r#"
const { Webhook } = require("standardwebhooks");
const { readFileSync } = require("fs");
const [secret, id, timestamp, signature] = process.argv.slice(2);
const headers = { "webhook-id": id, "webhook-timestamp": timestamp, "webhook-signature": signature };
new Webhook(secret).verify(readFileSync("body"), headers);
"#;

const PYTHON: &str = r#"
import sys
from standardwebhooks import Webhook
secret, id, timestamp, signature = sys.argv[1:]
headers = {"webhook-id": id, "webhook-timestamp": timestamp, "webhook-signature": signature}
Webhook(secret).verify(open("body", "rb").read().decode(), headers)
"#;

/// One delivery of a running settle, with the secret of its destination.
async fn delivered() -> (String, Received) {
    let mut world = World::start(Setting::default()).await;
    let message = world.send("SUBSCRIPTION_PURCHASED", "receipt-é-1").await;
    world.settle("receipt-é-1", &message).await;
    let received = world.wait_received("receipt-é-1", 1).await;
    let secret = world.receiver.secret();
    world.finish().await;
    (secret, received.into_iter().next().expect("a delivery"))
}

fn run(folder: &Path, program: &str, arguments: &[&str]) -> Result<(), String> {
    let mut command = Command::new(program);
    command.args(arguments).current_dir(folder).env("PYTHONPATH", folder.join("python")).stdin(Stdio::null());
    let done = command.output().map_err(|error| format!("{program}: {error}"))?;
    if done.status.success() { Ok(()) } else { Err(String::from_utf8_lossy(&done.stderr).into_owned()) }
}

/// Runs a verifier on the delivery as it came, and on one whose body was changed by a byte.
async fn verify(program: &str, install: &[&str], script: &str) {
    let (secret, received) = delivered().await;
    let folder = Folder::new("verifier");
    let installer = install.first().expect("an installer");
    run(folder.path(), installer, &install[1..]).unwrap_or_else(|error| panic!("{installer}: {error}"));
    std::fs::write(folder.path().join("script"), script).expect("the script");
    let header =
        |name: &str| received.headers.get(name).and_then(|value| value.to_str().ok()).expect("a header").to_owned();
    let (id, timestamp, signature) = (header("webhook-id"), header("webhook-timestamp"), header("webhook-signature"));
    let arguments = ["script", &secret, &id, &timestamp, &signature];
    std::fs::write(folder.path().join("body"), &received.raw).expect("the body");
    run(folder.path(), program, &arguments).expect("our signature verifies");
    let changed = [&received.raw[..], b" "].concat();
    std::fs::write(folder.path().join("body"), changed).expect("the changed body");
    let refusal = run(folder.path(), program, &arguments).expect_err("a changed body is refused");
    assert!(refusal.to_lowercase().contains("signature"), "refused for its signature: {refusal}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_javascript_library_verifies_our_webhooks() {
    verify("node", &["npm", "install", "--silent", "--no-audit", "--no-fund", NPM], NODE).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_python_library_verifies_our_webhooks() {
    verify("python3", &["python3", "-m", "pip", "install", "--quiet", "--target", "python", PYPI], PYTHON).await;
}
