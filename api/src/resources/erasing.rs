//! How a customer is erased: what erasing does not end, which data remains, and what each destination receives. Pure.

use domain::event::is_for_operators;
use domain::user::USER_ERASED;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use storage::Destination;

/// What erasing a customer does not end, and what the destinations receive.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
pub struct ErasureNotes {
    /// Warning that the store continues to charge the customer; null if it does not.
    pub charged: Option<String>,
    /// What the destinations receive, one sentence for all of the same kind.
    pub destinations: Vec<String>,
}

/// What a destination receives when a customer is erased.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Notice {
    DeletionRequest,
    /// Stores users, but settle has no key to delete one.
    NoKey,
    Event,
    /// Not subscribed to the event by name.
    NotChosen,
}

impl Notice {
    const ALL: [Self; 4] = [
        Self::DeletionRequest,
        Self::Event,
        Self::NoKey,
        Self::NotChosen,
    ];

    fn of(destination: &Destination) -> Self {
        let has_key = destination.settings["has_secret_key"] == true;
        match destination.per_user {
            true if has_key => Self::DeletionRequest,
            true => Self::NoKey,
            false if destination.chose(USER_ERASED) => Self::Event,
            false => Self::NotChosen,
        }
    }

    const fn text(self) -> &'static str {
        match self {
            Self::DeletionRequest => "Get a request to delete the user",
            Self::NoKey => {
                "Get nothing, because settle has no secret key to request a deletion with"
            }
            Self::Event => "Get the event `user.erased`",
            Self::NotChosen => {
                "Get nothing, because they do not subscribe to `user.erased` by its name: `*` and `user.*` leave it out"
            }
        }
    }
}

/// Returns whether a destination receives only events about alarms and destinations, so that it stores no customers.
fn is_of_operators(one: &Destination) -> bool {
    let is_name_of = |choice: &String| {
        is_for_operators(choice) || choice == "alarm.*" || choice == "destination.*"
    };
    !one.per_user && one.common.events.iter().all(is_name_of)
}

impl ErasureNotes {
    /// Returns the notes about an app's destinations.
    pub fn new(destinations: &[Destination], charged: Option<String>) -> Self {
        let sentences = Notice::ALL.iter().filter_map(|notice| {
            let own = destinations
                .iter()
                .filter(|one| !is_of_operators(one) && Notice::of(one) == *notice);
            let names: Vec<&str> = own.map(|one| one.common.name.as_str()).collect();
            (!names.is_empty()).then(|| format!("{}: {}.", notice.text(), names.join(", ")))
        });
        Self {
            charged,
            destinations: sentences.collect(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::ErasureNotes;
    use serde_json::{Value, json};
    use storage::{Destination, DestinationSettings, fixtures};

    fn of(name: &str, events: &[&str], settings: Value) -> Destination {
        let events = events.iter().map(|one| (*one).to_owned()).collect();
        let common = DestinationSettings {
            events,
            ..DestinationSettings::new(name)
        };
        Destination {
            common,
            ..fixtures::destination("http", settings)
        }
    }

    #[test]
    fn each_destination_is_named_with_what_it_gets() {
        let counting = |name: &str, has_key: bool| Destination {
            per_user: true,
            ..of(name, &["*"], json!({ "has_secret_key": has_key }))
        };
        let all = [
            of("Billing", &["*"], json!({})),
            of("Profiles", &["user.erased"], json!({})),
            of("Chat", &["alarm.*"], json!({})),
            counting("Product analytics", true),
            counting("Old analytics", false),
        ];
        let notes = ErasureNotes::new(&all, None);
        let expected = [
            "Get a request to delete the user: Product analytics.",
            "Get the event `user.erased`: Profiles.",
            "Get nothing, because settle has no secret key to request a deletion with: Old analytics.",
            "Get nothing, because they do not subscribe to `user.erased` by its name: `*` and `user.*` leave it out: Billing.",
        ];
        assert_eq!(notes.destinations, expected);
        assert!(ErasureNotes::new(&[], None).destinations.is_empty());
    }
}
