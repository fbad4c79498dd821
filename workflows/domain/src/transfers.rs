//! Which purchases a login on a device may move from one named customer to another.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// What happens at a login on a device with verified purchases of another named customer. Purchases of an anonymous user
/// always move to the customer who logs in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum TransferPolicy {
    /// The purchases move immediately. Anyone who logs in with the store's ids of a purchase and its customer is
    /// treated as that customer.
    Immediate,
    /// The purchases move only after a person approves.
    Review,
    /// The purchases never move.
    Never,
}

impl TransferPolicy {
    pub const ALL: &[Self] = &[Self::Immediate, Self::Review, Self::Never];

    /// Returns the default policy: signed logins identify the customer, so having a purchase is no reason to move it.
    pub const fn usual(signs_logins: bool) -> Self {
        if signs_logins {
            Self::Review
        } else {
            Self::Immediate
        }
    }

    /// Returns the name used in storage and the API.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Immediate => "immediate",
            Self::Review => "review",
            Self::Never => "never",
        }
    }
}

impl std::str::FromStr for TransferPolicy {
    type Err = String;

    fn from_str(name: &str) -> Result<Self, String> {
        match name {
            "immediate" => Ok(Self::Immediate),
            "review" => Ok(Self::Review),
            "never" => Ok(Self::Never),
            other => Err(format!(
                "`immediate`, `review` or `never`, but it is `{other}`"
            )),
        }
    }
}
