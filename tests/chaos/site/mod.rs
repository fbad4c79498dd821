//! The installation of a round: its processes, their services and endpoints, and the execution of the plan's faults.

mod processes;
mod servers;

use crate::disk::Injected;
use crate::endpoints::{DOWN, Endpoints, store_reply};
use crate::plan::{AHEAD, Database, Fault, Kind, Plan, random};
use crate::planted::Planted;
use crate::snapshot::Snapshot;
use crate::store::Platform;
use serde_json::json;
use servers::Servers;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;
use system_tests::clock::Clock;
use system_tests::devices::Devices;
use system_tests::http::text;
use system_tests::postgres;
use system_tests::process::Backend;
use system_tests::random::Random;
use system_tests::rvs::{self, Rvs};
use system_tests::sns::TOPIC;
use system_tests::temporal::Memory;
use system_tests::world::{Setting, World};
use system_tests::{ports, wait};
use tokio::sync::Mutex;
use tokio::time::Instant;

/// The quiet window of every platform.
pub const WINDOW: Duration = Duration::from_secs(2);
/// Time between two checks for due actions.
const TICK: Duration = Duration::from_millis(20);

/// A fault that occurred.
#[derive(Debug, Clone)]
pub struct Occurred {
    pub kind: Kind,
    pub began: Instant,
    pub over: Instant,
}

/// What happened to the processes.
#[derive(Debug, Default)]
pub struct Record {
    pub faults: Vec<Occurred>,
    /// Number of kills, by process and by fail point.
    pub kills: BTreeMap<String, usize>,
    /// Observations that no fault explains.
    pub findings: Vec<String>,
}

/// A process, which is restarted whenever it ends.
struct Slot {
    name: &'static str,
    starts: usize,
    started_at: Instant,
    /// Whether the database or Temporal was unavailable during the start, so that the process may end with an error.
    is_excused: bool,
    /// The fail point at which the process aborts.
    point: Option<&'static str>,
    /// When the process will be restarted; `None` while it runs.
    back_at: Option<Instant>,
    /// Whether the process is being replaced by a later build.
    is_replaced: bool,
}

impl Slot {
    fn new(name: &'static str) -> Self {
        let started_at = Instant::now();
        Self {
            name,
            starts: 0,
            started_at,
            is_excused: false,
            point: None,
            back_at: None,
            is_replaced: false,
        }
    }
}

/// How a fault ends.
enum End {
    Resume {
        process: usize,
        id: u32,
    },
    Engine,
    EngineResume,
    Database,
    /// Promotes the standby to primary.
    FailOver,
    /// Drops a snapshot; `None` while there is no database.
    Snapshot(Option<Box<Snapshot>>),
    /// Ends the scripted errors of a kind.
    Calm(Kind),
    Endpoints,
    Store,
    /// Terminates a process like an operator; it is restarted as a later build.
    Replace {
        process: usize,
    },
    /// Drops the `strace`, which ends the fault.
    Disk(#[expect(dead_code, reason = "dropped at the end of the fault")] Injected),
}

/// A scheduled end of a fault.
struct Queued {
    at: Instant,
    /// Kind of the fault that ends.
    kind: Kind,
    /// Index of the fault in [`Record::faults`].
    fault: usize,
    end: End,
}

pub struct Site {
    pub world: World,
    pub rvs: Arc<Mutex<Rvs>>,
    pub endpoints: Endpoints,
    pub platforms: Vec<Platform>,
    pub record: Record,
    pub plan: Plan,
    /// PostgreSQL servers; `None` on SQLite.
    servers: Option<Servers>,
    clock: Clock,
    /// How far the clock is ahead of real time.
    ahead: Duration,
    variables: Vec<(String, String)>,
    planted: Planted,
    /// Addresses of the second `serve`.
    second: [String; 2],
    slots: Vec<Slot>,
    ends: Vec<Queued>,
    is_engine_up: bool,
    is_database_up: bool,
    outage_over: Option<Instant>,
    /// Whether processes are started with the plan's fail points.
    is_armed: bool,
    /// Whether processes are started as a later build, with a planted change of a workflow.
    is_later: bool,
}

impl Site {
    /// Starts the installation and its services.
    pub async fn start(plan: Plan, planted: &Planted) -> Self {
        let rvs = Rvs::start().await;
        let clock = Clock::new(api::clock::now());
        clock.set_ahead(AHEAD);
        let endpoints = Endpoints::start().await;
        let mut variables = endpoints.variables();
        variables.push(("SETTLE_AMAZON_RVS_URL".to_owned(), rvs.url()));
        variables.push(("SETTLE_AMAZON_RVS_PER_SECOND".to_owned(), "1000".to_owned()));
        variables.extend(planted.variables.iter().cloned());
        let (backend, servers) = match plan.database {
            Database::Sqlite => (Backend::Sqlite, None),
            Database::Postgres => {
                let started = tokio::task::block_in_place(|| Servers::start(plan.seed));
                (
                    Backend::SyncedPostgres,
                    Some(started.expect("a primary and a standby")),
                )
            }
        };
        let (servers, database) = servers.unzip();
        let mut of_world = variables.clone();
        of_world.push(("FAILPOINTS".to_owned(), clock.fail_point()));
        let setting = Setting {
            backend,
            database,
            memory: Memory::File,
            window_seconds: WINDOW.as_secs(),
            events: vec!["*".to_owned()],
            variables: of_world,
            ..Setting::default()
        };
        let mut world = World::start(setting).await;
        world.let_sweep_help("processes, the database and Temporal are killed and suspended");
        let second = [(); 2].map(|()| format!("127.0.0.1:{}", ports::free()));
        let mut site = Self {
            slots: plan
                .database
                .processes()
                .iter()
                .copied()
                .map(Slot::new)
                .collect(),
            world,
            rvs: Arc::new(Mutex::new(rvs)),
            endpoints,
            platforms: Vec::new(),
            record: Record::default(),
            plan,
            servers,
            clock,
            ahead: AHEAD,
            variables,
            planted: planted.clone(),
            second,
            ends: Vec::new(),
            is_engine_up: true,
            is_database_up: true,
            outage_over: None,
            is_armed: false,
            is_later: false,
        };
        site.fill().await;
        if site.plan.database == Database::Postgres {
            postgres::set_ahead(site.world.installation.database(), AHEAD)
                .expect("a clock that can be moved");
        }
        site.restart_all().await;
        site
    }

    /// Adds the apps with their platforms and destinations.
    async fn fill(&mut self) {
        let first = self.world.app_id.clone();
        self.endpoints.join(&mut self.world, 0, &first).await;
        let api = self.world.api.clone();
        let own = (self.world.platform_id, self.world.notification_url.clone());
        self.add_platform(0, own.0, own.1, "com.example.settle", false);
        for app in 1..=DOWN {
            let id = text(
                &api.post("/v1/apps", &json!({ "name": format!("chaos-{app}") }))
                    .await
                    .ok(),
                "id",
            );
            self.endpoints.join(&mut self.world, app, &id).await;
            let of_app = [vec![true], vec![true, false], vec![false]];
            for is_verified in of_app[app - 1].iter().copied() {
                let package_name = format!(
                    "com.example.chaos{app}{}",
                    if is_verified { "v" } else { "" }
                );
                let mut platform = json!({
                    "store": "amazon", "name": package_name, "package_name": package_name, "environment": "sandbox",
                    "topic_arn": TOPIC, "window_seconds": WINDOW.as_secs(),
                });
                if is_verified {
                    platform["shared_secret"] = json!(rvs::SECRET);
                }
                let added = api
                    .post(&format!("/v1/apps/{id}/platforms"), &platform)
                    .await
                    .ok();
                let platform_id = text(&added, "id").parse().expect("a platform id");
                let url = text(&added, "notification_url");
                self.add_platform(app, platform_id, url, &package_name, is_verified);
            }
        }
    }

    /// Returns the devices of the app whose endpoint is down.
    pub async fn devices(&self) -> Devices {
        let platform = self
            .platforms
            .iter()
            .find(|platform| platform.app == DOWN)
            .expect("a platform of each app");
        Devices::of_platform(&self.world.api, platform.id).await
    }

    fn add_platform(
        &mut self,
        app: usize,
        id: domain::PlatformId,
        url: String,
        package: &str,
        is_verified: bool,
    ) {
        let mut urls = vec![url.clone()];
        if self.plan.database == Database::Postgres {
            let first = self.world.installation.public_url();
            urls.push(url.replace(&first, &format!("http://{}", self.second[0])));
        }
        self.platforms.push(Platform {
            id,
            app,
            package_name: package.to_owned(),
            urls,
            is_verified,
        });
    }

    /// Executes the plan's faults for this time.
    pub async fn run(&mut self, time: Duration) {
        self.is_armed = true;
        let (began, faults) = (Instant::now(), self.plan.faults.clone());
        let mut faults = faults.iter().peekable();
        while began.elapsed() < time {
            while let Some(fault) = faults.next_if(|fault| fault.at <= began.elapsed()) {
                self.begin(fault).await;
            }
            self.tick().await;
            wait::pass(TICK).await;
        }
    }

    /// Ends every fault, and starts all processes without fail points.
    pub async fn heal(&mut self) {
        self.is_armed = false;
        for queued in std::mem::take(&mut self.ends) {
            self.end(queued).await;
        }
        // Processes that ended by themselves are reported before they are replaced.
        for process in 0..self.slots.len() {
            self.supervise(process);
        }
        self.restart_all().await;
    }

    /// Ends due faults, and restarts processes that have ended.
    pub async fn tick(&mut self) {
        let now = Instant::now();
        let due: Vec<Queued> = self
            .ends
            .extract_if(.., |queued| queued.at <= now)
            .collect();
        for queued in due {
            self.end(queued).await;
        }
        for process in 0..self.slots.len() {
            self.supervise(process);
        }
    }

    async fn begin(&mut self, fault: &Fault) {
        let (began, mut random) = (Instant::now(), random(fault.seed, 3));
        let over = began + fault.time;
        let is_possible = match fault.kind {
            kind if self.is_under_way(kind) => false,
            Kind::Kill => self.kill(fault.process, over),
            Kind::Suspended => self.suspend(fault.process, over),
            Kind::EngineKilled | Kind::EngineSuspended if !self.is_engine_up => false,
            Kind::EngineKilled => {
                self.is_engine_up = false;
                self.world.temporal.kill9();
                self.queue(over, fault.kind, End::Engine);
                true
            }
            Kind::EngineSuspended => {
                self.is_engine_up = false;
                self.world.temporal.freeze();
                self.queue(over, fault.kind, End::EngineResume);
                true
            }
            Kind::DatabaseKilled => self.kill_database(over),
            Kind::FailedOver => self.demote(over, random.percent(50)),
            Kind::Closed => {
                self.endpoints.refuse(&mut self.world).await;
                self.queue(over, fault.kind, End::Endpoints);
                true
            }
            Kind::Broken | Kind::Hostile | Kind::Analytics | Kind::StoreBroken => {
                self.disturb(fault.kind, &mut random).await;
                self.queue(over, fault.kind, End::Calm(fault.kind));
                true
            }
            Kind::StoreClosed => {
                self.rvs.lock().await.refuse().await;
                self.queue(over, fault.kind, End::Store);
                true
            }
            Kind::SlowDisk | Kind::FullDisk => self.disturb_disk(fault.kind, over).await,
            Kind::Clock => self.step(self.ahead + fault.time),
            Kind::ClockBack => self.step(self.ahead.saturating_sub(fault.time)),
            Kind::Snapshot => self.hold_snapshot(over),
            Kind::Upgraded => self.upgrade(began),
            Kind::Down => self.take_down().await,
            Kind::Point | Kind::Restored => false,
        };
        if is_possible {
            self.record.faults.push(Occurred {
                kind: fault.kind,
                began,
                over,
            });
        }
    }

    /// Returns whether a fault of this kind is still active: another one would have no effect of its own, and would end
    /// with the first. Several processes may be suspended at once; a process can have only one tracer.
    fn is_under_way(&self, kind: Kind) -> bool {
        let of_disk = [Kind::SlowDisk, Kind::FullDisk];
        let is_alike =
            |other: Kind| other == kind || (of_disk.contains(&other) && of_disk.contains(&kind));
        kind != Kind::Suspended && self.ends.iter().any(|queued| is_alike(queued.kind))
    }

    fn queue(&mut self, at: Instant, kind: Kind, end: End) {
        // The fault that begins now is the next to be recorded.
        self.ends.push(Queued {
            at,
            kind,
            fault: self.record.faults.len(),
            end,
        });
    }

    /// Scripts errors of the services with which settle communicates.
    async fn disturb(&mut self, kind: Kind, random: &mut Random) {
        match kind {
            Kind::Broken => self.endpoints.disturb(&self.world, random),
            Kind::Hostile => self.endpoints.attack(random),
            Kind::Analytics => self.endpoints.disturb_analytics(random),
            _ => {
                let rvs = self.rvs.lock().await;
                for _ in 0..2 + random.below(6) {
                    rvs.answer_next(1, &store_reply(random));
                }
            }
        }
    }

    /// Ends the scripted errors of a kind.
    async fn calm(&mut self, kind: Kind) {
        match kind {
            Kind::Broken => self.endpoints.calm(&self.world),
            Kind::Hostile => self.endpoints.hostile.answer_truly(),
            Kind::Analytics => {
                self.endpoints.analytics.answer_truly();
                self.endpoints.analytics.release();
            }
            _ => {
                let rvs = self.rvs.lock().await;
                rvs.answer_truly();
                rvs.release();
            }
        }
    }

    /// Ends a fault, and records when it was over: an end that takes seconds, such as a recovery, delays the later
    /// ones.
    async fn end(&mut self, Queued { fault, end, .. }: Queued) {
        self.conclude(end).await;
        if let Some(fault) = self.record.faults.get_mut(fault) {
            fault.over = Instant::now();
        }
    }

    async fn conclude(&mut self, end: End) {
        match end {
            End::Resume { process, id } => {
                let process = &mut self.world.processes()[process];
                if process.id() == id && process.exit_status().is_none() {
                    process.thaw();
                }
            }
            End::Engine => {
                self.world.temporal.restart().await;
                (self.is_engine_up, self.outage_over) = (true, Some(Instant::now()));
            }
            End::EngineResume => {
                self.world.temporal.thaw();
                (self.is_engine_up, self.outage_over) = (true, Some(Instant::now()));
            }
            End::Database => {
                let servers = self.servers.as_ref().expect("servers that were killed");
                tokio::task::block_in_place(|| servers.recover()).expect("PostgreSQL recovers");
                self.find_database();
            }
            End::FailOver => {
                let servers = self.servers.as_mut().expect("a standby");
                tokio::task::block_in_place(|| servers.promote()).expect("the standby is promoted");
                self.find_database();
            }
            End::Calm(kind) => self.calm(kind).await,
            End::Endpoints => self.endpoints.accept(&mut self.world).await,
            End::Store => self.rvs.lock().await.accept().await,
            End::Replace { process } => {
                let running = &mut self.world.processes()[process];
                if running.exit_status().is_none() {
                    running.terminate();
                    self.slots[process].is_replaced = true;
                }
            }
            End::Disk(_) | End::Snapshot(_) => {}
        }
    }

    async fn take_down(&mut self) -> bool {
        let Some((outage, _)) = self.plan.loads.outage else {
            return false;
        };
        self.endpoints.take_down(outage).await;
        true
    }

    /// Ends the outage of one app's endpoint, if the round has one.
    pub async fn bring_back(&mut self) {
        self.endpoints.bring_back().await;
        self.record
            .faults
            .iter_mut()
            .filter(|fault| fault.kind == Kind::Down)
            .for_each(|fault| fault.over = Instant::now());
    }

    async fn disturb_disk(&mut self, kind: Kind, over: Instant) -> bool {
        let processes = match self.plan.database {
            Database::Sqlite => vec![self.world.serve().id()],
            Database::Postgres => self
                .servers
                .as_ref()
                .map(Servers::processes)
                .unwrap_or_default(),
        };
        let file = std::path::PathBuf::from(self.world.installation.database());
        let injected = match kind {
            Kind::SlowDisk => Injected::slow(&processes).await,
            _ => Injected::full(&processes, &file).await,
        };
        let Some(injected) = injected else {
            return false;
        };
        self.queue(over, kind, End::Disk(injected));
        true
    }

    /// Sets the clock of the processes and of PostgreSQL to be this far ahead of real time.
    fn step(&mut self, ahead: Duration) -> bool {
        if self.plan.database == Database::Postgres {
            let database = self.world.installation.database().to_owned();
            let moved = tokio::task::block_in_place(|| postgres::set_ahead(&database, ahead));
            if moved.is_err() {
                return false;
            }
        }
        self.ahead = ahead;
        self.clock.set_ahead(ahead);
        true
    }
}
