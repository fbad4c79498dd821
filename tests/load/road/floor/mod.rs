//! The floor: the cost of Temporal and its SDK without settle. A workflow with the commands of a purchase and
//! activities that do nothing is signalled by settle's own dispatcher, in a separate process so that its CPU time is
//! counted separately.

pub mod worker;
mod workflow;

use domain::{CollapseKey, PlatformId};
use std::collections::BTreeMap;
use std::process::{Command, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use system_tests::load::Pace;
use system_tests::reaper::Watched;
use system_tests::temporal::{Memory, Temporal};
use temporalio_client::tonic::IntoRequest;
use temporalio_common::protos::temporal::api::operatorservice::v1::AddSearchAttributesRequest;
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::tcp::OwnedWriteHalf;
use tokio::net::{TcpListener, TcpStream};
use tokio::time::Instant;

/// Returns the floor's workflow id for a purchase.
pub fn workflow_id(key: CollapseKey) -> String {
    format!("{}/{key}", workflow::NAME)
}

pub struct Floor {
    _process: Watched,
    pub temporal: Temporal,
    notify: OwnedWriteHalf,
    arrivals: Arc<Mutex<BTreeMap<String, Instant>>>,
}

impl Floor {
    /// Starts a Temporal server and the floor's process.
    ///
    /// # Panics
    /// When one of them does not start.
    pub async fn start(window: Duration, distance: Option<Duration>) -> Self {
        let temporal = Temporal::start(Memory::File).await;
        let distance = distance.map(|round_trip| temporal.at_a_distance(round_trip));
        let address = distance.map_or_else(|| temporal.address(), |distance| distance.address());
        register(&temporal).await;
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let mut command = Command::new(std::env::current_exe().expect("this executable"));
        command.args(["floor", "--temporal", &address]);
        command.args([
            "--driver",
            &listener.local_addr().expect("its address").to_string(),
        ]);
        command
            .args(["--window-ms", &window.as_millis().to_string()])
            .stdin(Stdio::null());
        let process = Watched::spawn(&mut command).expect("the floor starts");
        let connected = tokio::time::timeout(Duration::from_secs(60), listener.accept()).await;
        let (stream, _) = connected
            .expect("the floor connects in time")
            .expect("a connection of the floor");
        let (read, notify) = stream.into_split();
        let arrivals = Arc::<Mutex<BTreeMap<String, Instant>>>::default();
        let seen = arrivals.clone();
        tokio::spawn(async move {
            let mut lines = BufReader::new(read).lines();
            while let Ok(Some(key)) = lines.next_line().await {
                seen.lock()
                    .unwrap_or_else(PoisonError::into_inner)
                    .insert(key, Instant::now());
            }
        });
        Self {
            _process: process,
            temporal,
            notify,
            arrivals,
        }
    }

    /// Sends one notification about each of these receipts, and returns when the last one of each purchase was due.
    ///
    /// # Panics
    /// When the process is gone.
    pub async fn send(&mut self, receipts: &[String], pace: Pace) -> BTreeMap<String, Instant> {
        let began = Instant::now();
        let mut last = BTreeMap::new();
        for (number, receipt) in receipts.iter().enumerate() {
            let due = pace.due(began, number);
            tokio::time::sleep_until(due).await;
            let key = key(receipt).to_string();
            self.notify
                .write_all(format!("{key}\n").as_bytes())
                .await
                .expect("the floor reads");
            last.insert(key, due);
        }
        last
    }

    /// Returns when the last activity of each purchase ran.
    pub fn arrivals(&self) -> BTreeMap<String, Instant> {
        self.arrivals
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }
}

pub fn key(receipt: &str) -> CollapseKey {
    CollapseKey::of(PlatformId::new(uuid::Uuid::nil()), receipt)
}

/// Registers settle's search attributes.
async fn register(temporal: &Temporal) {
    let search_attributes = workflows::attributes::all();
    let search_attributes = search_attributes
        .map(|(name, kind)| (name.to_owned(), kind as i32))
        .into();
    let request = AddSearchAttributesRequest {
        search_attributes,
        namespace: temporal.namespace().to_owned(),
    };
    let mut operator = temporal.client().connection().operator_service();
    operator
        .add_search_attributes(request.into_request())
        .await
        .expect("search attributes");
}

/// Connects to the driver and splits the connection into lines and a writer.
async fn driver(
    address: &str,
) -> (
    tokio::io::Lines<BufReader<tokio::net::tcp::OwnedReadHalf>>,
    OwnedWriteHalf,
) {
    let stream = TcpStream::connect(address)
        .await
        .expect("the driver listens");
    stream.set_nodelay(true).expect("no delay");
    let (read, write) = stream.into_split();
    (BufReader::new(read).lines(), write)
}
