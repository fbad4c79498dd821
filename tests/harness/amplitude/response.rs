//! The bodies and statuses of the fake's answers.

use serde_json::{Map, Value, json};

/// The answer to a refused request, none of whose events are accepted.
#[derive(Debug, Clone, PartialEq)]
pub struct Refusal {
    pub status: u16,
    pub body: Value,
}

impl Refusal {
    /// Returns a 400 about the request as a whole.
    pub fn whole(error: &str) -> Self {
        Self {
            status: 400,
            body: json!({ "code": 400, "error": error, "missing_field": null }),
        }
    }

    /// Returns a 400 for a required field that the request itself lacks.
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

    /// Returns a 400 for a wrong value in a field of the event at `index`.
    pub fn invalid(field: &str, index: usize) -> Self {
        Self::of_event(
            "Invalid field values on some events",
            "events_with_invalid_fields",
            field,
            index,
        )
    }

    /// Returns a 400 for an event whose only id, in this field, is too short.
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

    /// Returns a 400 for the events of a silenced device.
    pub fn silenced(device_id: &str, index: usize) -> Self {
        let body = json!({
            "code": 400, "error": "Some devices are silenced", "eps_threshold": 0,
            "exceeded_daily_quota_devices": {}, "silenced_devices": [device_id], "silenced_events": [index],
            "throttled_devices": {}, "throttled_events": [],
        });
        Self { status: 400, body }
    }

    /// Returns a 429 for the whole project, which names no user or device.
    pub fn project_throttled() -> Self {
        let body = json!({
            "code": 429, "error": "Too many requests", "eps_threshold": 1000,
            "throttled_users": {}, "throttled_devices": {}, "throttled_events": [],
        });
        Self { status: 429, body }
    }

    /// Returns a refusal as of a proxy or gateway, or for a reason that Amplitude does not document.
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
    /// Events per second or day, by user id.
    pub users: Map<String, Value>,
    /// Events per second or day, by device id.
    pub devices: Map<String, Value>,
    /// Index of the first event of these users and devices.
    pub first: usize,
}

impl Busy {
    /// Returns a 429: too many events per second.
    pub fn throttled(self) -> Refusal {
        let body = json!({
            "code": 429, "error": "Too many requests for some devices and users", "eps_threshold": 30,
            "throttled_users": self.users, "throttled_devices": self.devices, "throttled_events": [self.first],
        });
        Refusal { status: 429, body }
    }

    /// Returns a 429: too many events per day.
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

/// Returns `body` with `events_ingested` lowered by `missing`.
pub fn miscounted(mut body: Value, missing: usize) -> Value {
    let taken = body["events_ingested"].as_u64().unwrap_or_default();
    body["events_ingested"] =
        json!(taken.saturating_sub(u64::try_from(missing).unwrap_or(u64::MAX)));
    body
}
