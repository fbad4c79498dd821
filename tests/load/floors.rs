//! The unavoidable work of the ingress, each part measured separately on the same cores.

use api::stores::amazon::certificate::SigningKey;
use api::stores::amazon::{envelope, signature};
use axum::Router;
use axum::body::Bytes;
use domain::{CollapseKey, PlatformId};
use std::sync::Arc;
use std::time::Duration;
use storage::{
    Config, Database, Handling, Key, NewNotification, NewPlatform, Platform, PlatformSettings,
    Store,
};
use system_tests::folder::Folder;
use system_tests::sns::{PACKAGE, REGION, Rtn, Sns};
use tokio::net::TcpListener;
use tokio::time::Instant;

/// Number of concurrent inserts: the default number of the generator's connections.
const AT_ONCE: usize = 256;

/// A message and a database for the measurements.
pub struct Floors {
    body: Arc<str>,
    key: Arc<SigningKey>,
    store: Store,
    platform: Platform,
    _folder: Folder,
}

impl Floors {
    /// Opens the database and signs the message.
    pub async fn new(sns: &Sns) -> Self {
        let folder = Folder::new("floors");
        let pem = folder.path().join("certificate.pem");
        sns.write_certificate(&pem);
        let pem = std::fs::read(&pem).expect("the certificate");
        let key = Arc::new(SigningKey::read(&pem, REGION).expect("a signing key"));
        let body = sns
            .notification(&Rtn::new("SUBSCRIPTION_RENEWED", "floor"))
            .body
            .into();
        let (store, platform) = database(&folder, "amazon").await;
        Self {
            body,
            key,
            store,
            platform,
            _folder: folder,
        }
    }

    /// Returns the number of signature checks per second on two threads. Each check parses the envelope again.
    pub async fn signatures(&self, time: Duration) -> f64 {
        let threads: Vec<_> = (0..2)
            .map(|_| {
                let (body, key) = (self.body.clone(), self.key.clone());
                tokio::task::spawn_blocking(move || {
                    let (began, mut count) = (Instant::now(), 0_u32);
                    while began.elapsed() < time {
                        let envelope = envelope::parse(body.as_bytes()).expect("an envelope");
                        signature::verify(&envelope, &key.key).expect("a signature");
                        count += 1;
                    }
                    f64::from(count) / began.elapsed().as_secs_f64()
                })
            })
            .collect();
        let mut rate = 0.0;
        for thread in threads {
            rate += thread.await.expect("a thread of the signature floor");
        }
        rate
    }

    /// Returns the number of durable inserts per second, one row each, which the storage groups into transactions.
    pub async fn inserts(&self, time: Duration) -> f64 {
        let began = Instant::now();
        let tasks: Vec<_> = (0..AT_ONCE)
            .map(|_| tokio::spawn(insert(self.store.clone(), self.platform.clone(), time)))
            .collect();
        let mut count = 0_u32;
        for task in tasks {
            count += task.await.expect("a task of the insert floor");
        }
        f64::from(count) / began.elapsed().as_secs_f64()
    }

    /// Starts a control for the ingress on two separate threads: a server that only makes one durable insert, which the
    /// storage groups, before each 200. Returns its URL.
    pub async fn serve(&self) -> String {
        let (store, platform) = (self.store.clone(), self.platform.id);
        let insert = move |_: Bytes| {
            let store = store.clone();
            async move {
                drop(
                    store
                        .accept(vec![row(platform)])
                        .await
                        .expect("a durable insert"),
                )
            }
        };
        serve(Router::new().fallback(insert)).await
    }
}

/// Creates a database in this folder, with one platform of a store.
pub async fn database(folder: &Folder, store_name: &str) -> (Store, Platform) {
    let database = Database::Sqlite(folder.path().join("floors.sqlite"));
    let config = Config {
        database,
        key: Key::new([7; 32]),
        clock: api::clock::now,
    };
    let store = Store::open(config).await.expect("a database");
    let app = store.new_app("floors").await.expect("an app");
    let platform = NewPlatform {
        app_id: app.id,
        store: store_name.to_owned(),
        settings: PlatformSettings {
            environment: domain::Environment::Production,
            ..PlatformSettings::new("floors", PACKAGE, 120_000)
        },
        shared_secret: None,
        topic_arn: None,
        ingress_key: "floors".into(),
        publishable_key: "pk_test".to_owned(),
        of_store: Default::default(),
    };
    let platform = store.new_platform(platform).await.expect("a platform");
    (store, platform)
}

/// Serves a router on two separate threads, and returns its URL.
pub async fn serve(router: Router) -> String {
    let (send, address) = tokio::sync::oneshot::channel();
    std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(2)
            .enable_all()
            .build();
        runtime.expect("a runtime").block_on(async move {
            let listener = TcpListener::bind(("127.0.0.1", 0)).await.expect("a port");
            send.send(listener.local_addr().expect("an address"))
                .expect("the caller waits for it");
            axum::serve(listener, router).await.expect("a server");
        });
    });
    format!("http://{}/", address.await.expect("the control listens"))
}

async fn insert(store: Store, platform: Platform, time: Duration) -> u32 {
    let (began, mut count) = (Instant::now(), 0);
    while began.elapsed() < time {
        store
            .accept(vec![row(platform.id)])
            .await
            .expect("a durable insert");
        count += 1;
    }
    count
}

/// Returns a notification with unique ids.
fn row(platform_id: PlatformId) -> NewNotification {
    let receipt_id = format!("floor-{}", api::clock::random_uuid().simple());
    NewNotification {
        platform_id,
        message_id: api::clock::random_uuid().to_string(),
        collapse_key: Some(CollapseKey::of(platform_id, &receipt_id)),
        receipt_id,
        store_type: "SUBSCRIPTION_RENEWED".to_owned(),
        store_time: Some(api::clock::now()),
        app_user_id: Some("floor".to_owned()),
        body: "{}".repeat(200),
        handling: Handling::Open,
        traceparent: None,
        duty: None,
        closes: None,
        order_id: None,
        duplicate_key: None,
    }
}
