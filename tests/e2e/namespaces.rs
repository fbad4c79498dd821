//! Two installations never execute each other's work: each `settle run` has its own Temporal server, and in a namespace
//! of a shared Temporal a second installation is refused.

use serde_json::Value;
use std::collections::BTreeSet;
use system_tests::process::{Backend, Installation, Process, Variable};
use system_tests::sns::Sns;
use system_tests::temporal::{self, Memory, Temporal};
use system_tests::wait;
use system_tests::world::SOON;

/// Number of purchases of each installation.
const PURCHASES: usize = 5;

/// Waits for the line `Temporal     ADDRESS  (…)` of a `settle run`, and returns the address.
async fn temporal_of(process: &mut Process) -> String {
    wait::until(SOON, "the address of Temporal", async || {
        assert!(
            process.exit_status().is_none(),
            "settle ended:\n{}",
            process.log()
        );
        let log = process.log();
        let line = log
            .lines()
            .find_map(|line| line.trim().strip_prefix("Temporal  "));
        let address = line.and_then(|line| line.split_whitespace().next());
        address.map(str::to_owned).ok_or(log)
    })
    .await
}

/// Sends a sample about a new purchase, and returns the purchase's key.
fn send_sample(installation: &Installation, number: usize) -> String {
    let output = installation.call(&["sample", "--receipt", &format!("r{number}"), "--json"]);
    let sent: Value = serde_json::from_slice(&output.stdout)
        .unwrap_or_else(|error| panic!("{error}: {output:?}"));
    sent["collapse_key"]
        .as_str()
        .expect("a collapse key")
        .to_owned()
}

/// Waits until the demo's receiver has acknowledged the first revision of each purchase.
async fn wait_delivered(installation: &Installation, keys: &[String]) {
    let wanted: BTreeSet<&str> = keys.iter().map(String::as_str).collect();
    wait::until(
        SOON,
        &format!("the events of {}", installation.url()),
        async || {
            let delivered = installation
                .api()
                .all("/v1/deliveries?status=delivered")
                .await;
            let arrived: BTreeSet<&str> = delivered
                .iter()
                .filter_map(|one| one["collapse_key"].as_str())
                .collect();
            if wanted.is_subset(&arrived) {
                Ok(())
            } else {
                Err(format!("{} of {}", arrived.len(), wanted.len()))
            }
        },
    )
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn two_runs_that_start_at_once_settle_their_own_work() {
    // Fetched once, before both processes need it.
    let _ = temporal::cli();
    let sns = Sns::new();
    let installations = [(); 2].map(|()| Installation::new(Backend::Sqlite, "", &sns));
    let mut processes = installations
        .each_ref()
        .map(|one| one.start(&["run", "--window", "1s"], &[]));
    let mut addresses = BTreeSet::new();
    for process in &mut processes {
        addresses.insert(temporal_of(process).await);
    }
    assert_eq!(addresses.len(), 2, "each has a server of its own");
    let mut sent = [Vec::new(), Vec::new()];
    for number in 0..PURCHASES {
        for (installation, keys) in installations.iter().zip(&mut sent) {
            keys.push(send_sample(installation, number));
        }
    }
    for (installation, keys) in installations.iter().zip(&sent) {
        wait_delivered(installation, keys).await;
    }
}

/// Waits until a process has ended because the namespace is taken, and returns the printed reason.
async fn refusal(process: &mut Process) -> String {
    let status = process.wait_end().await;
    let log = process.log();
    assert_eq!(status.code(), Some(1), "{log}");
    let reason = log
        .lines()
        .rev()
        .find(|line| line.starts_with("settle: "))
        .unwrap_or_else(|| panic!("{log}"));
    for part in [
        "namespace `default`",
        "belongs to the installation",
        "TEMPORAL_NAMESPACE",
    ] {
        assert!(reason.contains(part), "{part} is missing: {log}");
    }
    reason.to_owned()
}

/// Returns the first command in a sentence that begins with `start`.
fn command<'a>(sentence: &'a str, start: &str) -> &'a str {
    let command = sentence.split('`').find(|part| part.starts_with(start));
    command.unwrap_or_else(|| panic!("no `{start}…` in {sentence}"))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_installation_in_a_namespace_is_refused() {
    let temporal = Temporal::start(Memory::Volatile).await;
    let sns = Sns::new();
    let [first, second] =
        [(); 2].map(|()| Installation::new(Backend::Postgres, &temporal.address(), &sns));
    let mut serve = first.start(&["serve"], &[]);
    let mut worker = first.start(&["worker"], &[]);
    serve.wait_connected().await;
    let mut reason = String::new();
    for name in ["serve", "worker"] {
        reason = refusal(&mut second.start(&[name], &[])).await;
    }
    drop(
        refusal(
            &mut Installation::new(Backend::Sqlite, &temporal.address(), &sns).start(&["run"], &[]),
        )
        .await,
    );
    assert_eq!(
        (serve.exit_status(), worker.exit_status()),
        (None, None),
        "the first one goes on"
    );
    drop(
        temporal
            .run_line("temporal operator namespace create --namespace other")
            .await,
    );
    let elsewhere: &[Variable<'_>] = &[("TEMPORAL_NAMESPACE", "other")];
    second.start(&["serve"], elsewhere).wait_connected().await;
    serve.kill9();
    worker.kill9();
    drop(
        temporal
            .run_line(command(&reason, "temporal workflow terminate"))
            .await,
    );
    second.start(&["serve"], &[]).wait_connected().await;
    drop(refusal(&mut first.start(&["serve"], &[])).await);
}

#[tokio::test(flavor = "multi_thread")]
async fn installations_that_start_at_once_agree_on_the_namespace() {
    let temporal = Temporal::start(Memory::Volatile).await;
    let sns = Sns::new();
    let installations =
        [(); 3].map(|()| Installation::new(Backend::Postgres, &temporal.address(), &sns));
    let mut processes = installations
        .each_ref()
        .map(|one| one.start(&["serve"], &[]));
    wait::until(SOON, "all but one to end", async || {
        match processes
            .iter_mut()
            .filter_map(Process::exit_status)
            .count()
        {
            2 => Ok(()),
            count => Err(format!("{count} ended")),
        }
    })
    .await;
    for process in &mut processes {
        if process.exit_status().is_some() {
            drop(refusal(process).await);
        } else {
            process.wait_connected().await;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sweep_that_was_terminated_is_started_by_its_owner() {
    let temporal = Temporal::start(Memory::Volatile).await;
    let sns = Sns::new();
    let [first, second] =
        [(); 2].map(|()| Installation::new(Backend::Postgres, &temporal.address(), &sns));
    let mut serve = first.start(&["serve"], &[]);
    serve.wait_connected().await;
    temporal.terminate("sweep").await;
    // It starts within the time that the first one needs to detect it, and waits longer than that.
    drop(refusal(&mut second.start(&["serve"], &[])).await);
    assert_eq!(
        serve.exit_status(),
        None,
        "the first one goes on:\n{}",
        serve.log()
    );
    serve.wait_connected().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sweep_that_was_replaced_by_hand_is_taken_back() {
    let temporal = Temporal::start(Memory::Volatile).await;
    let installation = Installation::new(Backend::Postgres, &temporal.address(), &Sns::new());
    let mut serve = installation.start(&["serve"], &[]);
    serve.wait_connected().await;
    // Without its memo, and on a task queue without workers.
    let line = "temporal workflow start --type sweep --workflow-id sweep --task-queue elsewhere \
                --id-conflict-policy TerminateExisting";
    drop(temporal.run_line(line).await);
    wait::until(SOON, "the sweep on its queue", async || {
        let found = temporal
            .describe("sweep")
            .await
            .and_then(|found| found.workflow_execution_info);
        let queue = found.map(|run| run.task_queue).unwrap_or_default();
        if queue == "settle" {
            Ok(())
        } else {
            Err(queue)
        }
    })
    .await;
    assert_eq!(serve.exit_status(), None, "it goes on:\n{}", serve.log());
    serve.wait_connected().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn workers_outlast_a_server_that_lost_their_namespace() {
    let mut temporal = Temporal::start(Memory::Volatile).await;
    let create = "temporal operator namespace create --namespace ours";
    drop(temporal.run_line(create).await);
    let installation =
        Installation::new(Backend::Sqlite, &temporal.address(), &Sns::new()).in_namespace("ours");
    let mut process = installation.start(&["run", "--window", "1s"], &[]);
    process.wait_connected().await;
    wait_delivered(&installation, &[send_sample(&installation, 0)]).await;
    // The server is empty and lacks the namespace: for a minute, Temporal's SDK treats that like a starting server.
    temporal.kill9();
    temporal.restart().await;
    wait::until(SOON, "a minute of polls in vain", async || {
        assert!(
            process.exit_status().is_none(),
            "settle ended:\n{}",
            process.log()
        );
        let log = process.log();
        if log.contains("Task polling has encountered errors continuously") {
            Ok(())
        } else {
            Err(log)
        }
    })
    .await;
    drop(temporal.run_line(create).await);
    wait_delivered(&installation, &[send_sample(&installation, 1)]).await;
}
