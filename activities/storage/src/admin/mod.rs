//! Changes by an admin: apps, platforms, destinations, the catalogue, customers, their transfers and erasure, rates,
//! sales, alarms, duties and retention; and the rotation of the encryption key. A change that can alter the record of
//! purchases causes a recheck of these purchases. Also the list of all columns that contain JSON.

pub mod adopt;
pub mod alarms;
pub mod apps;
pub mod audited_changes;
pub mod catalogue;
pub mod customers;
pub mod destinations;
pub mod device_quota;
pub mod duties;
pub mod erasure;
pub mod ingress_key;
pub mod keys;
pub mod naming;
pub mod platforms;
pub mod processes;
pub mod purchases;
pub mod rates;
pub mod rekey;
pub mod retention;
pub mod reviews;
pub mod sales;
mod sealed_key;
pub mod sign_ins;
pub mod stored_enums;
pub mod stored_json;
pub mod transfers;
