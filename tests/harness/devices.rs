//! Devices: the requests of apps, with the publishable key of a platform.

use super::http::{Answer, Api};
use super::world::World;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use domain::PlatformId;
use serde_json::{Value, json};
use uuid::Uuid;

/// The request header with a device's secret.
const SECRET: &str = "settle-device-secret";
const LOGIN: &str = "/v1/device/login";
const PATH: &str = "/v1/device/events";

/// A client for requests of a platform's devices.
#[derive(Debug, Clone)]
pub struct Devices {
    api: Api,
    key: String,
}

/// A device with one session.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Device(pub u32);

impl Device {
    /// Returns the device's id, which has the form of a random UUID.
    pub fn id(self) -> Uuid {
        Uuid::from_u128(0x5e77_1e00_0000_4000_8000_0000_0000_0000 + u128::from(self.0))
    }

    /// Returns the device's secret of 32 bytes, in base64.
    pub fn secret(self) -> String {
        let mut bytes = [0x5e; 32];
        bytes[..4].copy_from_slice(&self.0.to_be_bytes());
        URL_SAFE_NO_PAD.encode(bytes)
    }

    pub fn session(self) -> Uuid {
        Uuid::from_u128(0x5e77_1e00_0000_4000_9000_0000_0000_0000 + u128::from(self.0))
    }

    pub fn event(self, id: &str, kind: &str, parts: &Value) -> Value {
        let mut event = json!({ "id": id, "type": kind, "time": "2026-11-20T12:00:00Z", "session_id": self.session() });
        for (name, part) in parts.as_object().into_iter().flatten() {
            event[name] = part.clone();
        }
        event
    }

    pub fn impression(self, id: &str) -> Value {
        let products = json!([{ "sku": "month", "price": "4.99", "currency": "EUR", "is_trial_eligible": true }]);
        let impression =
            json!({ "paywall": "summer", "placement": "onboarding", "products": products });
        self.event(
            id,
            "device.impression",
            &json!({ "impression": impression }),
        )
    }

    pub fn body(self, events: &[Value]) -> Value {
        json!({ "device": described(self), "sent_at": "2026-11-20T12:00:01Z", "events": events })
    }

    /// Returns all events of a session that ends with a purchase, in order.
    pub fn visit(self) -> Vec<Value> {
        let receipt = format!("receipt-{}", self.0);
        let receipts = json!([{ "receipt_id": receipt, "app_user_id": "customer" }]);
        let transaction = json!({
            "kind": "purchased", "receipt_id": receipt, "app_user_id": "customer", "sku": "month", "price": "4.99",
            "currency": "EUR", "marketplace": "DE", "impression_id": "impression",
        });
        vec![
            self.event(
                "start",
                "device.session.start",
                &json!({ "receipts": receipts }),
            ),
            self.impression("impression"),
            self.event(
                "transaction",
                "device.transaction",
                &json!({ "transaction": transaction }),
            ),
            self.event("end", "device.session.end", &Value::Null),
        ]
    }
}

impl Devices {
    /// Returns the devices of the world's platform.
    ///
    /// # Panics
    /// When the platform has no publishable key.
    pub async fn of(world: &World) -> Self {
        Self::of_platform(&world.api, world.platform_id).await
    }

    /// Returns the devices of a platform.
    ///
    /// # Panics
    /// When the platform has no publishable key.
    pub async fn of_platform(api: &Api, platform: PlatformId) -> Self {
        let shown = api.get(&format!("/v1/platforms/{platform}")).await.ok();
        let key = shown["publishable_key"]
            .as_str()
            .expect("a publishable key");
        Self::with_key(api, key)
    }

    /// Returns the devices of the platform with this publishable key.
    pub fn with_key(api: &Api, publishable_key: &str) -> Self {
        Self {
            api: api.with_token(publishable_key),
            key: publishable_key.to_owned(),
        }
    }

    /// Returns a client whose requests arrive by way of a proxy from this address.
    pub fn behind(&self, address: &str) -> Self {
        Self {
            api: self.api.with_header("x-forwarded-for", address.to_owned()),
            ..self.clone()
        }
    }

    /// Reports all events of a device's visit.
    ///
    /// # Panics
    /// When not all events are accepted.
    pub async fn visit(&self, device: Device) {
        let taken = self.report(device, &device.visit()).await.ok();
        assert_eq!(taken["accepted"], 4, "{taken}");
    }

    pub async fn report(&self, device: Device, events: &[Value]) -> Answer {
        self.client(device).post(PATH, &device.body(events)).await
    }

    /// Like [`Self::report`], but returns an error if no answer arrives.
    ///
    /// # Errors
    /// When no answer arrives.
    pub async fn try_report(&self, device: Device, events: &[Value]) -> Result<Answer, String> {
        self.client(device)
            .try_post(PATH, &device.body(events))
            .await
    }

    /// Returns a client that sends the device's secret.
    pub fn client(&self, device: Device) -> Api {
        self.api.with_header(SECRET, device.secret())
    }

    /// Logs a customer in on the device.
    pub async fn login(&self, device: Device, external_id: &str) -> Answer {
        let body = json!({ "device": described(device), "external_id": external_id });
        self.client(device).post(LOGIN, &body).await
    }

    pub async fn logout(&self, device: Device) -> Answer {
        self.client(device)
            .post("/v1/device/logout", &json!({ "device": described(device) }))
            .await
    }

    /// Returns the raw HTTP request that reports events of a device, for a load generator.
    pub fn request(&self, device: Device, events: &[Value]) -> String {
        self.bytes(PATH, device, &device.body(events))
    }

    /// Returns the raw HTTP request that logs a customer in on a device, for a load generator.
    pub fn login_request(&self, device: Device, external_id: &str) -> String {
        self.bytes(
            LOGIN,
            device,
            &json!({ "device": described(device), "external_id": external_id }),
        )
    }

    fn bytes(&self, path: &str, device: Device, body: &Value) -> String {
        let body = body.to_string();
        format!(
            "POST {path} HTTP/1.1\r\nhost: localhost\r\nauthorization: Bearer {}\r\n{SECRET}: {}\r\n\
             content-type: application/json\r\ncontent-length: {}\r\n\r\n{body}",
            self.key,
            device.secret(),
            body.len(),
        )
    }
}

/// Returns a device's description of itself.
fn described(device: Device) -> Value {
    json!({
        "id": device.id(), "first_launch": "2026-11-01T08:00:00Z", "app_version": "3.1", "sdk_version": "harness/1",
        "os": { "name": "fireos", "version": "8" },
    })
}
