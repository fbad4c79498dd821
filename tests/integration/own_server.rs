//! settle treats a Temporal server as its own only if it has the namespace that only settle's own server has.

use activities::Actions;
use activities::engine::{Addresses, DevServer, Engine, namespace_of};
use domain::OrgId;
use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;
use system_tests::temporal::{Memory, Temporal};
use system_tests::wait;
use uuid::Uuid;

const SOON: Duration = Duration::from_secs(180);
/// Long enough for two attempts to connect.
const TWO_ATTEMPTS: Duration = Duration::from_secs(3);

fn addresses(temporal: &Temporal) -> Addresses {
    let temporal = temporal.address().parse().expect("an address");
    Addresses {
        temporal,
        ui: SocketAddr::from((Ipv4Addr::LOCALHOST, 0)),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_of_somebody_else_at_our_port_is_not_used() {
    let (other, own) = (
        Temporal::start(Memory::Volatile).await,
        Temporal::start(Memory::Volatile).await,
    );
    let installation = OrgId::new(Uuid::from_u128(7));
    let create = format!(
        "temporal operator namespace create --namespace {}",
        namespace_of(installation)
    );
    drop(own.run_line(&create).await);
    let dev_server = DevServer::default();
    assert_eq!(dev_server.propose(addresses(&other)), addresses(&other));
    let engine = Engine::start_at("test", installation, Actions::default(), dev_server.clone());
    wait::throughout(TWO_ATTEMPTS, "no connection", async || {
        match dev_server.final_addresses() {
            None if !engine.connected() => Ok(()),
            found => Err(format!("{found:?}")),
        }
    })
    .await;
    assert_eq!(dev_server.propose(addresses(&own)), addresses(&own));
    wait::until(SOON, "the connection to our own", async || {
        if engine.connected() {
            Ok(())
        } else {
            Err("not connected".to_owned())
        }
    })
    .await;
    assert_eq!(
        dev_server.propose(addresses(&other)),
        addresses(&own),
        "it was found, so it stays"
    );
}
