//! The bodies and statuses of the fake's answers.

use serde_json::{Map, Value, json};

/// The answer to a refused request, none of whose events is taken.
#[derive(Debug, Clone, PartialEq)]
pub struct Refusal {
    pub status: u16,
    pub body: Value,
}

impl Refusal {
    /// 400 for the request as a whole.
    pub fn whole(error: &str) -> Self {
        Self {
            status: 400,
            body: json!({ "code": 400, "error": error, "missing_field": null }),
        }
    }

    /// A field of the request itself is missing.
    pub fn lacks(field: &str) -> Self {
        let error = "Request missing required field";
        Self {
            status: 400,
            body: json!({ "code": 400, "error": error, "missing_field": field }),
        }
    }

    pub fn too_large() -> Self {
        Self {
            status: 413,
            body: json!({ "code": 413, "error": "Payload too large" }),
        }
    }

    pub fn missing(field: &str, index: usize) -> Self {
        Self::of_event(
            "Request missing required field",
            "events_with_missing_fields",
            field,
            index,
        )
    }

    /// A field of an event has a wrong value.
    pub fn invalid(field: &str, index: usize) -> Self {
        Self::of_event(
            "Invalid field values on some events",
            "events_with_invalid_fields",
            field,
            index,
        )
    }

    /// An event has no id left because this one was too short.
    pub fn short(field: &str, index: usize) -> Self {
        Self::of_event(
            "Invalid id length for user_id or device_id",
            "events_with_invalid_id_lengths",
            field,
            index,
        )
    }

    fn of_event(error: &str, list: &str, field: &str, index: usize) -> Self {
        let body =
            json!({ "code": 400, "error": error, "missing_field": null, list: { field: [index] } });
        Self { status: 400, body }
    }

    /// The events of a silenced device are refused.
    pub fn silenced(device_id: &str, index: usize) -> Self {
        let body = json!({
            "code": 400, "error": "Some devices are silenced", "eps_threshold": 0,
            "exceeded_daily_quota_devices": {}, "silenced_devices": [device_id], "silenced_events": [index],
            "throttled_devices": {}, "throttled_events": [],
        });
        Self { status: 400, body }
    }

    /// The whole project exceeds its rate; no user or device is named.
    pub fn project_throttled() -> Self {
        let body = json!({
            "code": 429, "error": "Too many requests", "eps_threshold": 1000,
            "throttled_users": {}, "throttled_devices": {}, "throttled_events": [],
        });
        Self { status: 429, body }
    }

    /// Returns an error of a server in between, or a refusal for a reason that Amplitude does not document.
    pub fn status(status: u16) -> Self {
        match status {
            400 => Self {
                status,
                body: json!({ "code": 400, "error": "Bad request" }),
            },
            403 => Self {
                status,
                body: json!({ "code": 403, "error": "Forbidden" }),
            },
            413 => Self::too_large(),
            _ => Self {
                status,
                body: json!("<html><body>upstream error</body></html>"),
            },
        }
    }
}

/// Users and devices of a request that have too many events.
#[derive(Debug, Default)]
pub struct Busy {
    /// User id to number of events.
    pub users: Map<String, Value>,
    /// Device id to number of events.
    pub devices: Map<String, Value>,
    /// The index of the first event of any of them.
    pub first: usize,
}

impl Busy {
    /// 429: too many events per second.
    pub fn throttled(self) -> Refusal {
        let body = json!({
            "code": 429, "error": "Too many requests for some devices and users", "eps_threshold": 30,
            "throttled_users": self.users, "throttled_devices": self.devices, "throttled_events": [self.first],
        });
        Refusal { status: 429, body }
    }

    /// 429: too many events per day.
    pub fn over_quota(self) -> Refusal {
        let body = json!({
            "code": 429, "error": "Exceeded daily quota", "eps_threshold": 30,
            "throttled_users": {}, "throttled_devices": {}, "throttled_events": [self.first],
            "exceeded_daily_quota_users": self.users, "exceeded_daily_quota_devices": self.devices,
        });
        Refusal { status: 429, body }
    }
}

/// Returns the answer to an accepted request.
pub fn accepted(events: usize, bytes: usize, at_ms: i64) -> Value {
    json!({ "code": 200, "events_ingested": events, "payload_size_bytes": bytes, "server_upload_time": at_ms })
}

/// This answer, counting `missing` events fewer.
pub fn miscounted(mut body: Value, missing: usize) -> Value {
    let taken = body["events_ingested"].as_u64().unwrap_or_default();
    body["events_ingested"] =
        json!(taken.saturating_sub(u64::try_from(missing).unwrap_or(u64::MAX)));
    body
}
