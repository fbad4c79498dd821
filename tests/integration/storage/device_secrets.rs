//! A device authenticates with the secret of its first request, at each process.

use super::claims::{device, session, snapshot};
use super::overlapping::{Stall, two_processes};
use super::people::{PURCHASED, login};
use super::world::{World, secret, story};
use domain::device::claim::ClaimStatus;
use domain::device::{Content, Device};
use domain::{DeviceId, DevicePlace};
use storage::{
    AcceptedReports, ClaimStep, Claiming, DeviceReport, DeviceRequest, Error, Login, SecretHash,
    Store, Unproved,
};
use system_tests::rows;
use tokio::time::Instant;
use uuid::Uuid;

const MISSING: Result<(), Unproved> = Err(Unproved::Missing);
const NEVER: Result<(), Unproved> = Err(Unproved::Never);
const OTHER: Result<(), Unproved> = Err(Unproved::Other);

fn other() -> SecretHash {
    secret(DeviceId::new(Uuid::nil()))
}

/// A device that reports with its own or another device's id.
#[derive(Clone)]
struct Reporter {
    store: Store,
    place: DevicePlace,
    device: Device,
    secret: Option<SecretHash>,
}

impl Reporter {
    fn new(world: &World, number: u128, secret: Option<SecretHash>) -> Self {
        Self {
            store: world.store.clone(),
            place: world.place(number),
            device: device(number),
            secret,
        }
    }

    fn with(&self, secret: Option<SecretHash>) -> Self {
        Self {
            secret,
            ..self.clone()
        }
    }

    async fn report(&self, id: &str, content: Content) -> Result<AcceptedReports, Unproved> {
        let now = self.store.now().await.unwrap();
        let session = match &content {
            Content::SessionStart { session, .. } | Content::SessionEnd { session } => {
                Some(*session)
            }
            Content::Impression(_) | Content::Transaction(_) => None,
        };
        let request = DeviceRequest {
            platform: self.place.platform,
            device: self.device.clone(),
            secret: self.secret.clone(),
            sent_at: now,
            received_at: Instant::now(),
            reports: vec![DeviceReport {
                client_id: id.to_owned(),
                time: now,
                session,
                content,
                signed: Vec::new(),
            }],
            claiming: Claiming::Stored,
            network: String::new(),
        };
        proof(self.store.accept_reports(request).await)
    }

    async fn reports(&self, id: &str) -> Result<(), Unproved> {
        self.report(id, session(1, &[])).await.map(drop)
    }

    async fn logs_in(&self, external_id: &str) -> Result<(), Unproved> {
        let secret = self.secret.clone().unwrap();
        loop {
            let login = Login {
                secret: secret.clone(),
                ..login(self.place, external_id)
            };
            match self.store.login(login).await {
                Err(Error::Unavailable(_) | Error::Raced(_)) => {}
                answered => return proof(answered).map(drop),
            }
        }
    }

    async fn logs_out(&self) -> Result<(), Unproved> {
        proof(
            self.store
                .logout(
                    self.place,
                    self.device.clone(),
                    self.secret.clone().unwrap(),
                )
                .await,
        )
        .map(drop)
    }

    /// Reads the device's entitlements; returns their number.
    async fn reads(&self, world: &World) -> Result<usize, Unproved> {
        let access = self
            .store
            .device_access(world.app.id, self.place, self.secret.clone().unwrap())
            .await;
        proof(access).map(|access| access.entitlements.len())
    }
}

fn proof<T>(answered: Result<T, Error>) -> Result<T, Unproved> {
    answered.map_err(|error| match error {
        Error::Unproved(unproved) => unproved,
        error => panic!("{error}"),
    })
}

fn described(world: &World) -> Vec<String> {
    world.raw().texts("SELECT device AS value FROM devices")
}

story! {
    async fn a_device_has_the_secret_of_its_first_request(world: World) {
        let owner = Reporter::new(&world, 1, Some(secret(device(1).id)));
        assert_eq!(owner.reads(&world).await, Ok(0), "nobody knows it");
        assert_eq!(owner.logs_out().await, Ok(()));
        assert_eq!(described(&world).len(), 0, "neither creates it");
        assert_eq!(owner.reports("a").await, Ok(()));
        assert_eq!(owner.logs_in("anna").await, Ok(()));
        let before = described(&world);
        let mut stranger = owner.with(Some(other()));
        stranger.device.app_version = "stolen".to_owned();
        assert_eq!(stranger.reports("b").await, OTHER);
        assert_eq!(stranger.with(None).reports("c").await, MISSING);
        assert_eq!((stranger.logs_in("mallory").await, stranger.logs_out().await), (OTHER, OTHER));
        assert_eq!(stranger.reads(&world).await, Err(Unproved::Other));
        assert_eq!(described(&world), before);
        let counts = "SELECT (SELECT COUNT(*) FROM device_events) * 10 + (SELECT COUNT(*) FROM users) AS value";
        assert_eq!(world.raw().number(counts), 11, "one event, and no mallory");
        // In one group: the attacker's request comes first, and the device is described by its own request.
        let mut newer = owner.clone();
        newer.device.app_version = "9".to_owned();
        let both = tokio::join!(stranger.reports("d"), newer.reports("e"));
        assert_eq!(both, (OTHER, Ok(())));
        assert!(described(&world)[0].contains(r#""app_version":"9""#), "{:?}", described(&world));
        assert_eq!((newer.logs_out().await, newer.reads(&world).await), (Ok(()), Ok(0)));
        // A login also creates a device.
        let second = Reporter::new(&world, 2, Some(secret(device(2).id)));
        assert_eq!(second.logs_in("otto").await, Ok(()));
        assert_eq!(second.with(Some(other())).reports("a").await, OTHER);
        assert_eq!(second.reports("a").await, Ok(()));
    }
}

story! {
    async fn a_device_without_a_secret_reports_alone_for_ever(world: World) {
        world.entitle("premium").await;
        world.happen_to("customer-1", "r1", PURCHASED).await;
        let anna = world.name("customer-1", "anna").await;
        let device = Reporter::new(&world, 1, None);
        assert_eq!(device.report("a", session(1, &[("r1", "customer-1")])).await.map(|one| one.known.len()), Ok(1));
        assert_eq!(device.with(Some(other())).reports("b").await, Ok(()), "it takes no secret any more");
        assert_eq!(device.reports("c").await, Ok(()));
        let late = device.with(Some(secret(device.device.id)));
        assert_eq!((late.logs_in("mallory").await, late.logs_out().await), (NEVER, NEVER));
        assert_eq!(late.reads(&world).await, Err(Unproved::Never));
        // Its claim is reported for the purchase, and does not change the owner.
        world.verified_by(world.key("r1"), &snapshot(world.store.now().await.unwrap())).await;
        let step = world.store.examine_claim(device.place, world.key("r1")).await.unwrap();
        assert!(matches!(step, ClaimStep::Reported(_) | ClaimStep::Done(ClaimStatus::Verified)), "{step:?}");
        let owned = "SELECT COUNT(*) AS value FROM devices WHERE user_id IS NOT NULL";
        assert_eq!((world.raw().number(owned), world.owner_of(world.key("r1")).await), (0, anna));
        assert_eq!(world.transfers().len(), 0);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_two_secrets_at_once_one_creates_the_device() {
    let (world, second) = two_processes().await;
    for (number, by_login) in [(1, false), (2, true)] {
        let first = Reporter::new(&world, number, Some(secret(device(number).id)));
        let other = Reporter {
            store: second.clone(),
            secret: Some(other()),
            ..first.clone()
        };
        // Both wait for the test's insertion of the device, which is never committed.
        let DevicePlace { platform, device } = first.place;
        let stall = Stall::by(&world, &rows::device(platform, device).to_string());
        let reporting = tokio::spawn({
            let first = first.clone();
            async move { first.reports("a").await }
        });
        stall.wait_stalled(&world, 1).await;
        let competing = tokio::spawn({
            let other = other.clone();
            async move {
                if by_login {
                    other.logs_in("otto").await
                } else {
                    other.reports("b").await
                }
            }
        });
        stall.wait_stalled(&world, 2).await;
        stall.end();
        let results = (reporting.await.unwrap(), competing.await.unwrap());
        let first_won = results == (Ok(()), OTHER);
        assert!(first_won || results == (OTHER, Ok(())), "{results:?}");
        let later = (first.reports("c").await, other.reports("d").await);
        assert_eq!(later, results, "the winner's secret stays");
    }
}
