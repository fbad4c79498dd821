//! The attacked installation.

use std::net::SocketAddr;
use system_tests::sns::Sns;
use system_tests::world::{Setting, World};

pub const DESCRIPTORS: u32 = 1024;

/// A running installation: SQLite and one process.
pub struct Target {
    pub world: World,
    process: u32,
}

impl Target {
    pub async fn start() -> Self {
        // The limit per address is raised, so that the cost of larger bodies becomes visible too.
        Self::with(&[("SETTLE_DEVICES_BYTES_PER_SECOND_AND_ADDRESS", "100MiB")]).await
    }

    pub async fn with(variables: &[(&str, &str)]) -> Self {
        let variables = variables
            .iter()
            .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
            .collect();
        let setting = Setting {
            window_seconds: 1,
            descriptors: Some(DESCRIPTORS),
            variables,
            ..Setting::default()
        };
        let mut world = World::start(setting).await;
        let process = world.serve().id();
        Self { world, process }
    }

    pub fn restarted(&mut self) {
        self.process = self.world.serve().id();
    }

    pub fn sns(&self) -> &Sns {
        &self.world.sns
    }

    pub fn notification_url(&self) -> &str {
        &self.world.notification_url
    }

    /// Returns the path of the notification URL.
    pub fn ingress_path(&self) -> String {
        self.notification_url()
            .replace(&self.world.installation.public_url(), "")
    }

    /// Returns the address for stores and devices.
    pub fn public(&self) -> SocketAddr {
        address(&self.world.installation.public_url())
    }

    pub fn admin(&self) -> SocketAddr {
        address(&self.world.installation.url())
    }

    pub fn sender(&self) -> Sender {
        Sender {
            url: self.notification_url().to_owned(),
            process: self.process,
        }
    }

    /// Checks that these receipts were settled and delivered, and checks what must always hold.
    pub async fn finish(mut self, receipts: &[String]) {
        for receipt in receipts {
            self.world.wait_acked(receipt, 1).await;
        }
        assert!(self.world.serve().exit_status().is_none(), "settle runs");
        self.world.finish().await;
    }
}

pub struct Sender {
    pub url: String,
    process: u32,
}

impl Sender {
    /// Returns the resident memory of the process, in MiB.
    pub fn resident_mib(&self) -> f64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.process))
            .expect("the process runs");
        let line = status
            .lines()
            .find_map(|line| line.strip_prefix("VmRSS:"))
            .expect("its memory");
        line.trim()
            .trim_end_matches(" kB")
            .trim()
            .parse::<f64>()
            .expect("a number")
            / 1024.0
    }
}

fn address(url: &str) -> SocketAddr {
    url.trim_start_matches("http://")
        .parse()
        .expect("an address")
}
