//! The table of limits: each gate admits a request at its limit, and refuses the next one with its own error.

use super::super::edge::{Answer, DEVICE_SECRET, Service};
use super::{request, start};
use api::devices::admission::{Bound, GATES, Gate, QuotaKind};
use axum::Extension;
use axum::extract::ConnectInfo;
use serde_json::{Value, json};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

/// The device's address, in the first network of a site.
const CLIENT: IpAddr = six(1);

/// Returns an address in the network with this number of the same site.
const fn six(network: u16) -> IpAddr {
    IpAddr::V6(Ipv6Addr::new(0x2001, 0xdb8, 1, network, 0, 0, 0, 1))
}

/// Returns a service whose limit at this gate is as low as possible, and the publishable key of its platform.
async fn stage(number: usize, gate: Gate) -> (Service, String) {
    let bound = gate.row().bound;
    let value = match gate {
        Gate::AddressBytes => "32KiB",
        Gate::Disk => "1000TiB",
        _ => "1",
    };
    let variable = match bound {
        Bound::Setting(name) => Some(format!("SETTLE_{}", name.replace('.', "_").to_uppercase())),
        _ => None,
    };
    let variables: Vec<_> = variable.iter().map(|name| (name.as_str(), value)).collect();
    let mut service = Service::with(&format!("admission-{number}"), &variables).await;
    let (_, platform) = service.platform().await;
    let setting = match bound {
        Bound::Quota(name) => json!({ name: 1 }),
        _ => json!({}),
    };
    let path = format!("/v1/platforms/{platform}");
    let shown = service.send_json("PATCH", &path, &setting).await;
    assert_eq!(shown.status, 200, "{}", shown.body);
    let key = shown.body["publishable_key"].as_str().expect("a key");
    let client = ConnectInfo(SocketAddr::new(CLIENT, 4711));
    service.router = service.router.clone().layer(Extension(client));
    (service, key.to_owned())
}

/// Returns the route and body of the `number`th request at a gate.
fn compose(gate: Gate, number: usize) -> (&'static str, Value) {
    let mut report = request(&json!([start(&number.to_string())]));
    match gate {
        Gate::AddressBytes => report = request(&json!(vec![json!(["x".repeat(1000)]); 490])),
        Gate::Day(QuotaKind::Devices) => {
            report["device"]["id"] = json!(format!("2f0d2ef6-3b3f-4b9c-8a64-{number:012}"));
        }
        Gate::Day(QuotaKind::Users) => {
            let login =
                json!({ "device": report["device"], "external_id": format!("anna-{number}") });
            return ("/v1/device/login", login);
        }
        _ => {}
    }
    ("/v1/device/events", report)
}

/// Returns the address that occupies the place with this number.
fn holder(gate: Gate, number: usize) -> IpAddr {
    let number = u8::try_from(number).expect("a few places");
    match gate {
        Gate::AddressPlaces => CLIENT,
        Gate::SitePlaces => six(2 + u16::from(number) / 8),
        _ => IpAddr::V4(Ipv4Addr::new(10, 0, 0, number)),
    }
}

/// Sends requests until a gate refuses one. Returns the number of admitted requests, and the answer to the refused one.
async fn exceed(number: usize, gate: Gate) -> (usize, Answer) {
    let (service, key) = stage(number, gate).await;
    let devices = &service.edge.devices;
    let mut held = Vec::new();
    for passed in 0..1000 {
        if let Bound::Number(places) = gate.row().bound {
            while held.len() + 1 < places + passed {
                let place = devices.places.take(holder(gate, held.len()));
                held.push(place.expect("a place"));
            }
        }
        if gate == Gate::Disk && passed == 1 {
            devices.room.refresh(&service.store).await;
        }
        let (path, body) = compose(gate, passed);
        let sender = (key.as_str(), Some(DEVICE_SECRET));
        let body = body.to_string().into_bytes();
        let answer = service.send_of_device(("POST", path), sender, body).await;
        if answer.status != 200 {
            return (passed, answer);
        }
    }
    panic!("a thousand requests passed {gate:?}");
}

#[tokio::test]
async fn each_gate_refuses_beyond_its_limit_alone() {
    for (number, gate) in GATES.into_iter().enumerate() {
        let (passed, answer) = exceed(number, gate).await;
        let error = gate.refuse(Duration::ZERO);
        let (status, name, _) = error.answer();
        assert_eq!(
            (answer.status, &answer.body["type"], &answer.body["detail"]),
            (
                status.as_u16(),
                &json!(format!("urn:settle:problem:{name}")),
                &json!(error.to_string())
            ),
            "{gate:?}: {}",
            answer.body
        );
        let is_of_rate = matches!(
            gate,
            Gate::AddressRequests | Gate::AddressBytes | Gate::DeviceRequests
        );
        // Rates admit a burst; each other limit is set so that it admits one request.
        assert!(
            passed == 1 || is_of_rate && passed > 1,
            "{gate:?}: {passed}"
        );
    }
}
