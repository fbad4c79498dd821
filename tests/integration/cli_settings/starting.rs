//! A service's settings at its start, and the metrics, links and errors that depend on them.

use super::Desk;
use crate::cli::{ran, stderr_of, stdout_of};
use diesel::connection::SimpleConnection;

#[test]
fn a_file_without_an_address_leads_to_the_last_run_on_its_data() {
    let desk = Desk::open("cli-config");
    let list = |text: &str| {
        desk.write("own.toml", text);
        ran(&desk.folder, &["--config", "own.toml", "app", "list"])
    };
    let found = list("data = \"data\"\nretention = \"30d\"\n");
    assert!(
        found.status.success() && stdout_of(&found).contains("mine"),
        "{}",
        stderr_of(&found)
    );
    let named = stderr_of(&list("data = \"data\"\nadmin_listen = \"127.0.0.1:9\"\n"));
    assert!(
        named.contains("127.0.0.1:9"),
        "an address of the file counts: {named}"
    );
    let shared = stderr_of(&list(
        "data = \"data\"\nlisten = \"127.0.0.1:9\"\nadmin_on_listen = true\n",
    ));
    assert!(
        shared.contains("127.0.0.1:9"),
        "and so does the one address of the file: {shared}"
    );
    let elsewhere = stderr_of(&list(
        "data = \"none\"\nlisten = \"127.0.0.1:8\"\nadmin_token = \"0123456789abcdef\"\n",
    ));
    assert!(
        elsewhere.contains("127.0.0.1:9"),
        "else the port after that of `listen`: {elsewhere}"
    );
}

#[test]
fn the_metrics_name_the_version() {
    let desk = Desk::open("cli-version");
    let expected = format!(
        "settle_build_info{{version=\"{}\"}} 1",
        env!("CARGO_PKG_VERSION")
    );
    assert_eq!(desk.metric("settle_build_info"), Some(expected));
}

#[test]
fn sign_in_links_begin_with_the_public_address_of_the_dashboard() {
    let desk = Desk::open("cli-public-link")
        .restarted_with(&[("SETTLE_UI_URL", "https://settle.example.com")]);
    let line = ["sign-in", "link", "--name", "Anna", "--role", "support"];
    let (created, begins) = (desk.answer(&line), "https://settle.example.com/ui/sign-in/");
    let (url, path) = (
        created["url"].as_str().unwrap_or_default(),
        created["path"].as_str().unwrap_or_default(),
    );
    assert!(url.starts_with(begins) && url.ends_with(path), "{created}");
    let printed = stdout_of(&desk.run(&line));
    assert!(printed.contains(begins), "{printed}");
}

#[test]
fn a_second_hold_names_the_first() {
    let desk = Desk::open("cli-held");
    desk.seed(1);
    let hold = ["purchase", "hold", "r0", "--reason", "ticket 4711"];
    let already = "It is already held until 2100-01-01T00:00:00";
    assert!(
        !stdout_of(&desk.run(&hold)).contains("already held"),
        "no Temporal took the first one"
    );
    let held =
        "UPDATE purchases SET held_until = 4102444800000000, held_by = 'ann', held_reason = 'why'";
    desk.beside().batch_execute(held).expect("a hold");
    let printed = stdout_of(&desk.run(&hold));
    assert!(printed.contains(already), "{printed}");
}
