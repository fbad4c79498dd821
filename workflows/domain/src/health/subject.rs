//! The subject of a request to a destination.

use crate::ids::{CollapseKey, DeviceId};
use std::fmt;
use std::str::FromStr;

const PURCHASE: &str = "purchase";
const DEVICE: &str = "device";

/// The subject of a request to a destination: consecutive failures with the same subject count once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Subject {
    Purchase(CollapseKey),
    /// A device; for a request with events of several devices, the first of them.
    Device(DeviceId),
}

impl fmt::Display for Subject {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Purchase(key) => write!(formatter, "{PURCHASE}/{key}"),
            Self::Device(device) => write!(formatter, "{DEVICE}/{device}"),
        }
    }
}

/// A text that is not the subject of a request.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not the subject of a request")]
pub struct InvalidSubject(String);

impl FromStr for Subject {
    type Err = InvalidSubject;

    fn from_str(text: &str) -> Result<Self, InvalidSubject> {
        let invalid = || InvalidSubject(text.to_owned());
        let (kind, id) = text.split_once('/').ok_or_else(invalid)?;
        match kind {
            PURCHASE => id.parse().map(Self::Purchase).map_err(|_| invalid()),
            DEVICE => id.parse().map(Self::Device).map_err(|_| invalid()),
            _ => Err(invalid()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use uuid::Uuid;

    #[test]
    fn a_subject_is_read_as_it_was_written() {
        let id = Uuid::from_u64_pair(7, 9);
        for subject in [
            Subject::Purchase(CollapseKey::new(id)),
            Subject::Device(DeviceId::new(id)),
        ] {
            assert_eq!(subject.to_string().parse(), Ok(subject));
        }
        for wrong in [
            String::new(),
            id.to_string(),
            format!("lane/{id}"),
            "device/7".to_owned(),
        ] {
            assert_eq!(wrong.parse::<Subject>(), Err(InvalidSubject(wrong)));
        }
    }
}
