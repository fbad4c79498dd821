//! The users of devices and of the store's customers. Logins, logouts, verified claims and admins change them.
//!
//! A store's customer belongs to one user, with all purchases: a settling finds the owner of a purchase by the
//! customer, so a purchase never moves without the customer's other ones. A device belongs to one user. Transactions
//! here share the lock of the app, then lock the users in order of their ids, then purchases in order of their keys,
//! then devices.

pub mod announcing;
pub mod answered;
pub mod claims;
pub mod device_moves;
pub mod device_users;
pub mod gathering;
pub mod join;
pub mod login;
pub mod login_context;
pub mod login_secret;
pub mod movement;
pub mod moves;
pub mod names;
pub mod reviews;
pub mod transfers;
