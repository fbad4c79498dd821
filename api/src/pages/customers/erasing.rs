//! How a customer is erased, what stays of them, and which destinations get no event of it. Pure.

use domain::user::USER_ERASED;
use domain::{AppId, UserId};
use storage::Destination;

/// What to know before a customer is erased. The page erases nobody.
pub struct Erasing {
    /// The command, for an administrator.
    pub command: String,
    /// The names of the destinations that get no event of it, because they do not subscribe to it.
    pub unsubscribed: Option<String>,
}

impl Erasing {
    pub fn of(app: AppId, user: UserId, destinations: &[Destination]) -> Self {
        let unsubscribed = destinations.iter().filter(|one| !one.chose(USER_ERASED));
        let unsubscribed = unsubscribed
            .map(|one| one.common.name.as_str())
            .collect::<Vec<_>>()
            .join(", ");
        Self {
            command: format!(
                "settle customer erase --app {app} --user-id {user} --reason REASON --by NAME"
            ),
            unsubscribed: Some(unsubscribed).filter(|names| !names.is_empty()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Erasing;
    use domain::{AppId, UserId};
    use storage::{Destination, DestinationSettings, fixtures};
    use uuid::Uuid;

    #[test]
    fn a_destination_without_the_event_is_named() {
        let of = |name: &str, events: &[&str]| {
            let events = events.iter().map(|one| (*one).to_owned()).collect();
            let common = DestinationSettings {
                events,
                ..DestinationSettings::new(name)
            };
            Destination {
                common,
                ..fixtures::destination("http", serde_json::Value::default())
            }
        };
        let (app, user) = (AppId::new(Uuid::nil()), UserId::new(Uuid::nil()));
        let all = [
            of("Billing", &["purchase.updated"]),
            of("Profiles", &["user.erased"]),
            of("Chat", &["alarm.*"]),
        ];
        let erasing = Erasing::of(app, user, &all);
        assert_eq!(erasing.unsubscribed.as_deref(), Some("Billing, Chat"));
        assert!(
            erasing
                .command
                .contains(&format!("--app {app} --user-id {user}")),
            "{}",
            erasing.command
        );
        assert_eq!(Erasing::of(app, user, &all[1..2]).unsubscribed, None);
    }
}
