//! The measured subject: settle with certain settings, or the floor.

use super::floor::{self, Floor};
use super::sending::{self, Batch, Store};
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;
use system_tests::appstore;
use system_tests::load::Pace;
use system_tests::play::Choices;
use system_tests::process::Backend;
use system_tests::temporal::{Memory, Temporal};
use system_tests::world::{Setting, World};
use tokio::time::Instant;

pub const CONNECTIONS: usize = 256;

/// A variant of the measured program.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, clap::ValueEnum)]
pub enum Variant {
    /// settle.
    Settle,
    /// Like `settle`, with `--other-program` and `--other-variable`: an earlier build, or other settings.
    Other,
    /// A workflow with the same commands without settle: see [`Floor`].
    Floor,
}

impl Variant {
    pub const fn name(self) -> &'static str {
        match self {
            Self::Settle => "settle",
            Self::Other => "other",
            Self::Floor => "floor",
        }
    }
}

#[derive(Debug, Clone)]
pub struct Installed {
    pub backend: Backend,
    pub window: Duration,
    /// Additional time per round trip to Temporal.
    pub temporal_distance: Duration,
    pub variables: Vec<(String, String)>,
    /// How the app uses Google Play, at a fake; `None` if it does not.
    pub play: Option<Choices>,
    /// How the app uses the App Store, at a fake; `None` if it does not.
    pub appstore: Option<appstore::Choices>,
    /// Whether Amazon's receipts are verified at a fake of RVS.
    pub rvs: bool,
    /// The differences of [`Variant::Other`].
    pub other: Other,
}

/// The program and variables compared with the program under test.
#[derive(Debug, Clone, Default)]
pub struct Other {
    /// The program; `None` for the one under test.
    pub program: Option<PathBuf>,
    pub variables: Vec<(String, String)>,
}

pub enum Subject {
    Settle(Box<World>),
    Floor(Box<Floor>),
}

impl Subject {
    /// Starts the subject with its own Temporal server and database.
    pub async fn start(variant: Variant, installed: &Installed) -> Self {
        let distance = Some(installed.temporal_distance).filter(|distance| !distance.is_zero());
        let other = match variant {
            Variant::Settle => Other::default(),
            Variant::Other => installed.other.clone(),
            Variant::Floor => {
                return Self::Floor(Box::new(Floor::start(installed.window, distance).await));
            }
        };
        let variables = installed
            .variables
            .iter()
            .chain(&other.variables)
            .cloned()
            .collect();
        let mut world = World::start(Setting {
            backend: installed.backend,
            memory: Memory::File,
            temporal_distance: distance,
            window_seconds: installed.window.as_secs(),
            program: other.program,
            play: installed.play,
            appstore: installed.appstore,
            rvs: installed.rvs,
            variables,
            ..Setting::default()
        })
        .await;
        world.receiver.keep_alive();
        if installed.play.is_some() {
            sending::sell(&world.play().fake);
        }
        world.let_sweep_help("on a busy machine settling is behind");
        Self::Settle(Box::new(world))
    }

    /// Returns settle's world; `None` for the floor.
    pub const fn world(&self) -> Option<&World> {
        match self {
            Self::Settle(world) => Some(world),
            Self::Floor(_) => None,
        }
    }

    pub const fn temporal(&self) -> &Temporal {
        match self {
            Self::Settle(world) => &world.temporal,
            Self::Floor(floor) => &floor.temporal,
        }
    }

    /// Sends one notification of a store about each of these receipts, in this order, and returns when each purchase's
    /// last one was due. The floor has no stores.
    pub async fn send(
        &mut self,
        store: Store,
        receipts: &[String],
        pace: Pace,
    ) -> BTreeMap<String, Instant> {
        match self {
            Self::Floor(floor) => floor.send(receipts, pace).await,
            Self::Settle(world) => Batch::prepare(world, store, receipts).send(pace).await.due,
        }
    }

    /// Returns when the last webhook about each purchase arrived or, for the floor, when its last activity ran.
    pub fn arrivals(&self) -> BTreeMap<String, Instant> {
        match self {
            Self::Settle(world) => world.receiver.arrivals(),
            Self::Floor(floor) => floor.arrivals(),
        }
    }

    /// Returns the workflow id of a receipt's purchase at a store.
    pub fn workflow_id(&self, store: Store, receipt: &str) -> String {
        match self {
            Self::Settle(world) => workflows::contract::workflow_id(store.key(world, receipt)),
            Self::Floor(_) => floor::workflow_id(floor::key(receipt)),
        }
    }

    /// Checks every webhook, and stops everything.
    pub async fn finish(self) {
        if let Self::Settle(world) = self {
            world.finish().await;
        }
    }
}
