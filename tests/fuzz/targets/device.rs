//! Reports of a device: the body of `POST /v1/device/events`, with a real SQLite database.
//!
//! Each event of a request must be accepted, repeated, or rejected with its wrong fields, and the same request again
//! must store nothing.

use super::world;
use serde_json::Value;

const PATH: &str = "/v1/device/events";
/// Status of a refusal due to too many requests of one device: earlier inputs count too, so it is not this input's
/// result.
const LIMITED: u16 = 429;

pub fn check(data: &[u8]) {
    world::with(|world| {
        let response = world.device(PATH, data);
        if response.status != 200 {
            assert!(
                matches!(response.status, 400 | 403 | 413 | LIMITED),
                "{response:?}"
            );
            return;
        }
        let number = |body: &Value, name: &str| body[name].as_u64().expect("a number");
        let rejected = response.body["rejected"].as_array().expect("a list");
        let (accepted, repeated) = (
            number(&response.body, "accepted"),
            number(&response.body, "repeated"),
        );
        let request: Value = serde_json::from_slice(data).expect("JSON");
        let events = request["events"].as_array().expect("events").len();
        assert_eq!(
            usize::try_from(accepted + repeated)
                .ok()
                .map(|sum| sum + rejected.len()),
            Some(events),
            "{response:?}"
        );
        let mut places: Vec<_> = rejected.iter().map(|one| number(one, "index")).collect();
        assert!(places.is_sorted(), "{places:?}");
        places.dedup();
        assert_eq!(places.len(), rejected.len(), "{response:?}");

        let again = world.device(PATH, data);
        if again.status == 200 {
            assert_eq!(
                (
                    number(&again.body, "accepted"),
                    number(&again.body, "repeated")
                ),
                (0, accepted + repeated)
            );
            assert_eq!(&again.body["rejected"], &response.body["rejected"]);
        }
    });
}
