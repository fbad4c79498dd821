//! Which device requests are accepted: if a device has a secret, only those that present it.

use crate::devices::rows::{self, DescribedDevice, KnownDevice};
use crate::devices::secret;
use db::error::{Error, Unproved};
use db::writer::Write;
use domain::DevicePlace;
use std::collections::BTreeMap;

/// The devices of requests; their rows are locked.
pub struct Admission(pub BTreeMap<DevicePlace, KnownDevice>);

impl Admission {
    /// Locks the devices of requests, in order of their ids, and stores their current descriptions. An unknown device
    /// is created with the secret of its first request.
    pub fn read(write: &mut Write<'_>, requests: &[DescribedDevice<'_>]) -> Result<Self, Error> {
        let mut described = BTreeMap::<DevicePlace, DescribedDevice<'_>>::new();
        for request in requests {
            // Of several requests with the same secret, the latest describes the device.
            let newest = described.entry(request.place).or_insert(*request);
            if newest.secret == request.secret {
                *newest = *request;
            }
        }
        rows::lock(write, &described)?;
        let admission = Self(rows::known(write.connection, described.keys().copied())?);
        // If the first request of a device was forged, it describes nothing, and a later one may still be accepted.
        described.retain(|_, request| admission.check(request).is_err());
        let proved = requests
            .iter()
            .filter(|one| described.contains_key(&one.place) && admission.check(one).is_ok());
        rows::lock(write, &proved.map(|one| (one.place, *one)).collect())?;
        Ok(admission)
    }

    /// Checks that a request may report on its device.
    pub fn check(&self, request: &DescribedDevice<'_>) -> Result<(), Unproved> {
        let created = self
            .0
            .get(&request.place)
            .and_then(|known| known.secret.as_ref());
        secret::may_report(request.secret, created)
    }
}
