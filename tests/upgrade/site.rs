//! The processes of both releases, with a continuously sending store, in phases whose figures are printed.

use crate::filled::Filled;
use crate::google::Google;
use serde_json::Value;
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;
use system_tests::folder::Folder;
use system_tests::http::{Api, text};
use system_tests::load::store::{Arrivals, Phase, RECOVERED, Store, print_figures};
use system_tests::process::{self, Backend, Process};
use system_tests::raw::Raw;
use system_tests::world::{SOON, Setting, World};
use system_tests::{contract, ports, runs, wait};
use temporalio_common::protos::temporal::api::history::v1::HistoryEvent;
use temporalio_common::protos::temporal::api::history::v1::history_event::Attributes;
use tokio::time::Instant;

/// A query for the number of applied planted migrations, provided that the planted column has values.
const APPLIED: &str = "SELECT COUNT(*) AS value FROM fingerprints
    WHERE version LIKE '2999%' AND EXISTS (SELECT 1 FROM purchases WHERE planted = 1)";
/// The planted change of a workflow, and the name of the markers of `patched`.
const CHANGE: &str = "run.planted_change=return";
const PATCH: &str = "core_patch";
/// The reason with which a worker fails a task of a run with an unknown change.
const NONDETERMINISM: &str = "NON_DETERMINISTIC";
/// Maximum number of worker deaths until one leaves a run with the planted change.
const DEATHS: usize = 5;

/// Messages per second; everything shares the cores of one machine.
const PER_SECOND: f64 = 8.0;
/// Number of purchases in the store's messages. The time between two messages about a purchase is longer than a window.
const PURCHASES: usize = 40;
const WINDOW: Duration = Duration::from_secs(6);

/// Migrations of the later release: a column, its values and an index, which the earlier release tolerates.
const MIGRATIONS: [(&str, &str); 3] = [
    (
        "29990101000000_planted",
        "--step script purchases from 0.1.0\nALTER TABLE purchases ADD COLUMN planted BIGINT;\n",
    ),
    (
        "29990102000000_values",
        "--step batches purchases 5 from 0.1.0\n\
         SELECT COUNT(*) AS value FROM purchases WHERE planted IS NULL;\n\
         UPDATE purchases SET planted = 1
            WHERE collapse_key IN (SELECT collapse_key FROM purchases WHERE planted IS NULL LIMIT ?);\n",
    ),
    (
        "29990103000000_by_planted",
        "--step index purchases from 0.1.0\nCREATE INDEX purchases_by_planted ON purchases (planted);\n",
    ),
];

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Release {
    Earlier,
    /// The program under test with the planted migrations and the planted change of a workflow.
    Later,
    /// Like `Later`, but a worker dies when it settles, after the planted change is in the run's history.
    LaterThatDies,
    /// The program under test with the planted migrations only.
    LaterWithTheSameWorkflows,
}

pub struct Site {
    pub world: World,
    pub google: Google,
    filled: Filled,
    store: Store,
    earlier: PathBuf,
    planted: Folder,
    /// Addresses of the second `serve`.
    second: [String; 2],
    phases: Vec<Phase>,
    /// Whether any process has had the planted change.
    has_changed: bool,
    /// Whether the work in progress was completed.
    is_complete: bool,
}

impl Site {
    /// Starts the earlier release (on PostgreSQL two `serve` and two `worker`), begins work of all kinds, and begins to
    /// send.
    pub async fn start(backend: Backend) -> Self {
        let planted = Folder::new("planted");
        for (name, text) in MIGRATIONS {
            std::fs::write(planted.path().join(format!("{name}.sql")), text).expect("a migration");
        }
        let earlier = earlier();
        let rvs = system_tests::rvs::Rvs::start().await;
        let variables = vec![("SETTLE_AMAZON_RVS_URL".to_owned(), rvs.url())];
        let window_seconds = WINDOW.as_secs();
        let setting = Setting {
            backend,
            window_seconds,
            variables,
            program: Some(earlier.clone()),
            ..Setting::default()
        };
        let mut world = World::start(setting).await;
        world.let_sweep_help("processes are stopped, and crash");
        let filled = Filled::fill(&mut world, rvs).await;
        let google = Google::start(&world.api).await;
        let second = [(); 2].map(|()| format!("127.0.0.1:{}", ports::free()));
        let first = world.notification_url.clone();
        let mut urls = vec![first.clone()];
        if backend != Backend::Sqlite {
            urls.push(first.replace(
                &world.installation.public_url(),
                &format!("http://{}", second[0]),
            ));
        }
        let store = Store::start(urls, world.sns.clone(), PER_SECOND, PURCHASES);
        let mut site = Self {
            world,
            google,
            filled,
            store,
            earlier,
            planted,
            second,
            phases: Vec::new(),
            has_changed: false,
            is_complete: false,
        };
        if backend != Backend::Sqlite {
            site.start_second_pair().await;
        }
        site
    }

    /// Runs a part of the story, and records its duration.
    pub async fn phase(&mut self, name: &str, part: impl AsyncFnOnce(&mut Self)) {
        println!("== {name}");
        let began = Instant::now();
        part(self).await;
        self.store.flows(&self.world.receiver).await;
        self.phases.push((name.to_owned(), began, began.elapsed()));
    }

    pub async fn pass(&mut self, time: Duration) {
        wait::pass(time).await;
    }

    /// Applies the planted migrations with `settle migrate`. Does nothing on SQLite, where the start of a process does.
    pub fn migrate(&mut self) {
        if self.world.installation.backend() == Backend::Sqlite {
            return;
        }
        let variables = self.become_release(Release::LaterWithTheSameWorkflows);
        let variables: Vec<_> = variables
            .iter()
            .map(|(name, value)| (name.as_str(), value.as_str()))
            .collect();
        let migrated = tokio::task::block_in_place(|| {
            self.world.installation.call_with(&["migrate"], &variables)
        });
        let printed = format!(
            "{}{}",
            String::from_utf8_lossy(&migrated.stdout),
            String::from_utf8_lossy(&migrated.stderr)
        );
        assert!(migrated.status.success(), "{printed}");
        println!("{}", printed.trim_end());
    }

    /// Terminates all processes like an operator.
    pub async fn stop_all(&mut self) {
        for process in self.world.processes() {
            process.terminate();
        }
        for process in self.world.processes() {
            assert!(process.wait_end().await.success(), "{}", process.log());
        }
    }

    pub async fn start_all(&mut self, release: Release) {
        for name in self.names() {
            self.start_one(name, release).await;
        }
    }

    /// Adds a `serve` and a `worker` of the earlier release.
    async fn start_second_pair(&mut self) {
        for name in ["serve-b", "worker-b"] {
            let process = self.process(name, Release::Earlier);
            self.world.join(process);
            self.wait_ready(name).await;
        }
    }

    /// Terminates a process like an operator, and starts it again.
    pub async fn replace(&mut self, name: &str, release: Release) {
        let index = self.index(name);
        let process = &mut self.world.processes()[index];
        process.terminate();
        assert!(process.wait_end().await.success(), "{}", process.log());
        self.start_one(name, release).await;
    }

    /// Kills a process (SIGKILL), and starts it again.
    pub async fn crash(&mut self, name: &str, release: Release) {
        let index = self.index(name);
        self.world.processes()[index].kill9();
        self.start_one(name, release).await;
    }

    /// Makes a worker of the later release die while it settles, waits until runs with the planted change have gone to
    /// a worker of the earlier release, which cannot continue them, and then starts the former again.
    pub async fn strand(&mut self, name: &str) {
        let mut stranded = Vec::new();
        for _ in 0..DEATHS {
            let index = self.index(name);
            self.world.processes()[index].kill9();
            self.world.processes()[index] = self.process(name, Release::LaterThatDies);
            self.world.processes()[index].wait_end().await;
            stranded = open_with_change(&self.world).await;
            // It may have died in a run that had settled before, which continues without the change.
            if !stranded.is_empty() {
                break;
            }
        }
        assert!(
            !stranded.is_empty(),
            "{name} died {DEATHS} times outside of a run with the planted change"
        );
        let temporal = &self.world.temporal;
        let refused = wait::until(
            RECOVERED,
            "a run that the earlier release cannot continue",
            async || {
                let mut seen = Vec::new();
                for workflow in &stranded {
                    let failures = runs::failures(&temporal.history(workflow).await);
                    let attempt = temporal
                        .describe(workflow)
                        .await
                        .and_then(|run| Some(run.pending_workflow_task?.attempt));
                    let line = format!("{workflow}: attempt {attempt:?}, {failures:?}");
                    // The first attempt died with the former worker, so a third one follows an attempt of the latter.
                    if failures.iter().any(|why| why.contains(NONDETERMINISM)) || attempt > Some(2)
                    {
                        return Ok(line);
                    }
                    seen.push(line);
                }
                Err(seen.join("; "))
            },
        )
        .await;
        println!("{} runs wait for {name}, such as {refused}", stranded.len());
        self.start_one(name, Release::Later).await;
    }

    /// Completes the work that was in progress, under load.
    pub async fn complete(&mut self) {
        self.filled.check(&mut self.world).await;
        self.is_complete = true;
    }

    /// Ends the load, waits until everything is settled and delivered, and checks that nothing is lost, duplicated or
    /// reordered.
    pub async fn finish(self) {
        let Self {
            mut world,
            google,
            mut filled,
            store,
            phases,
            has_changed,
            is_complete,
            ..
        } = self;
        let accepted = store.finish().await;
        let finished_at = Instant::now();
        world.expect_outcomes(accepted.iter().map(|message| message.message_id.clone()));
        if !is_complete {
            filled.check(&mut world).await;
        }
        google.check(&world).await;
        let settled = settled(&world).await;
        let applied = Raw::of(&world.installation.stored_in()).number(APPLIED);
        assert_eq!(
            usize::try_from(applied),
            Ok(MIGRATIONS.len()),
            "the planted migrations"
        );
        println!(
            "settled {:.1?} after the last message",
            finished_at.elapsed()
        );
        for (receipt_id, count) in &settled {
            world
                .check_revisions(receipt_id, *count)
                .await
                .unwrap_or_else(|broken| panic!("{broken}"));
        }
        assert_eq!(settled.len(), PURCHASES, "{settled:?}");
        world
            .receiver
            .check_no_duplicates()
            .unwrap_or_else(|broken| panic!("{broken}"));
        let arrivals = Arrivals {
            receiver: &world.receiver,
            platform_id: world.platform_id,
            window: WINDOW,
        };
        print_figures(&phases, &accepted, arrivals);
        let failed = world.installation.logs().matches("[TMPRL1100]").count();
        println!(
            "{failed} workflow tasks went to a worker that could not run them, and were run by another one"
        );
        let mut changed = 0;
        for receipt_id in settled.keys() {
            changed += usize::from(has_change(&world, &world.workflow(receipt_id)).await);
        }
        println!("{changed} of {PURCHASES} purchases have a run with the planted change");
        assert_eq!(changed > 0, has_changed, "the planted change of a workflow");
        world.finish().await;
        filled.check_received();
        google.check_received(&filled.refusing);
    }

    pub fn names(&mut self) -> Vec<&'static str> {
        let all: &[&str] = match self.world.installation.backend() {
            Backend::Sqlite => &["run"],
            _ => &["serve-a", "worker-a", "serve-b", "worker-b"],
        };
        all[..self.world.processes().len()].to_vec()
    }

    pub fn index(&mut self, name: &str) -> usize {
        self.names()
            .iter()
            .position(|one| *one == name)
            .expect("a process that was started")
    }

    async fn start_one(&mut self, name: &str, release: Release) {
        let (index, process) = (self.index(name), self.process(name, release));
        self.world.processes()[index] = process;
        self.wait_ready(name).await;
    }

    fn process(&mut self, name: &str, release: Release) -> Process {
        let variables = self.become_release(release);
        let mut variables: Vec<_> = variables
            .iter()
            .map(|(name, value)| (name.as_str(), value.as_str()))
            .collect();
        let rvs = self.filled.rvs.url();
        variables.push(("SETTLE_AMAZON_RVS_URL", &rvs));
        let of_google = self.google.variables.iter();
        variables.extend(of_google.map(|(name, value)| (name.as_str(), value.as_str())));
        let installation = &self.world.installation;
        match name {
            "serve-b" => installation.serve_at(self.second.clone(), &variables),
            _ => installation.start(
                &[name.trim_end_matches("-a").trim_end_matches("-b")],
                &variables,
            ),
        }
    }

    /// Starts processes of this release from now on. Returns their variables.
    fn become_release(&mut self, release: Release) -> Vec<(String, String)> {
        let planted = format!("migrate.planted=return({})", self.planted.path().display());
        let (program, fail_points) = match release {
            Release::Earlier => (self.earlier.clone(), None),
            Release::Later => (process::program(), Some(format!("{planted};{CHANGE}"))),
            Release::LaterThatDies => (
                process::program(),
                Some(format!("{planted};{CHANGE};load.after=1*return")),
            ),
            Release::LaterWithTheSameWorkflows => (process::program(), Some(planted)),
        };
        self.world.installation.set_program(program);
        self.has_changed |= matches!(release, Release::Later | Release::LaterThatDies);
        fail_points
            .into_iter()
            .map(|points| ("FAILPOINTS".to_owned(), points))
            .collect()
    }

    /// Waits until a process serves HTTP, or runs Temporal's tasks.
    async fn wait_ready(&mut self, name: &str) {
        let api = match name {
            "serve-b" => Some(format!("http://{}", self.second[1])),
            "run" | "serve-a" => Some(self.world.installation.url()),
            _ => None,
        };
        let (index, api) = (self.index(name), api.map(|url| Api::new(&url, "")));
        let process = &mut self.world.processes()[index];
        wait::until(RECOVERED, &format!("{name} to be ready"), async || {
            if let Some(status) = process.exit_status() {
                panic!("{name} ended with {status}:\n{}", process.log());
            }
            let is_ready = match &api {
                Some(api) => api.try_get("/readyz").await?.status == 200,
                None => process.log().contains("The worker is running"),
            };
            if is_ready { Ok(()) } else { Err(process.log()) }
        })
        .await;
    }
}

/// Returns the program of the earlier release.
fn earlier() -> PathBuf {
    #[expect(clippy::disallowed_methods, reason = "the gate builds it")]
    let named = std::env::var_os("SETTLE_TEST_EARLIER");
    let Some(named) = named else {
        println!(
            "SETTLE_TEST_EARLIER names no program: the one under test is also the earlier release"
        );
        return process::program();
    };
    contract::leave_out_for_another_build();
    std::fs::canonicalize(named).expect("the program of the earlier release")
}

/// Returns whether the latest run of a workflow id has the planted change.
async fn has_change(world: &World, workflow: &str) -> bool {
    let is_patch = |event: &HistoryEvent| match event.attributes.as_ref() {
        Some(Attributes::MarkerRecordedEventAttributes(marker)) => marker.marker_name == PATCH,
        _ => false,
    };
    world.temporal.history(workflow).await.iter().any(is_patch)
}

/// Returns the workflow ids of the store's purchases with an open run that has the planted change.
async fn open_with_change(world: &World) -> Vec<String> {
    let mut open = Vec::new();
    for number in 0..PURCHASES {
        let workflow = world.workflow(&format!("receipt-{number}"));
        if has_change(world, &workflow).await && world.temporal.is_open(&workflow).await {
            open.push(workflow);
        }
    }
    open
}

/// Waits until every message has its outcome; returns the number of settled messages of each receipt from the store.
async fn settled(world: &World) -> BTreeMap<String, usize> {
    let all = wait::until(SOON, "the outcomes of all messages", async || {
        let all = world.api.all("/v1/notifications?limit=500").await;
        let open: Vec<&Value> = all.iter().filter(|one| one["outcome"].is_null()).collect();
        if open.is_empty() {
            Ok(all)
        } else {
            Err(format!("{} have none, such as {}", open.len(), open[0]))
        }
    })
    .await;
    let mut settled = BTreeMap::new();
    for one in &all {
        let receipt_id = text(one, "receipt_id");
        if receipt_id.starts_with("receipt-") {
            *settled.entry(receipt_id).or_default() += usize::from(one["outcome"] == "settled");
        }
    }
    settled
}
