//! Stores at the HTTP edge: one folder per store, and an entry for it in this file's list.

mod alarms;
pub mod amazon;
pub mod apple;
pub mod command;
pub mod config;
pub mod google;
pub mod inbox;
pub mod ingress;
pub mod intake;
pub mod push;
pub mod recipient;
pub mod samples;

use crate::setting::{Invalid, Section, Variable};
use clap::Subcommand;
use command::Verdict;
use config::StoreConfig;
use protocols::form::Form;
use samples::{DemoStore, SampleSigning, SampleTypes};
use serde_json::{Map, Value};
use std::sync::{Arc, OnceLock};
use storage::StorePart;

pub use amazon::report::{Report as SalesReport, Wrong as WrongSale, write as sales_part};

/// The transactions of a sales report, or every error in it.
pub type SalesResult = Result<SalesReport, Vec<WrongSale>>;

/// An invalid field of a store's own form.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WrongOwnField {
    pub field: &'static str,
    /// Expected value of the field.
    pub expected: String,
}

/// Reads the fields of a store's own form: settings, which are shown again, and credentials, which are never shown.
pub type ReadOwnFields = fn(&Map<String, Value>) -> Result<StorePart, Vec<WrongOwnField>>;

/// Checks a package name by a store's own rule. The error is the expected value.
pub type CheckPackage = fn(&str) -> Result<(), &'static str>;

/// Everything that settle knows about a store, except its ingress.
pub struct StoreEntry {
    /// Name of the store on platforms, in URLs and in the database.
    pub name: &'static str,
    /// Display name of the store.
    pub title: &'static str,
    /// Label of a purchase's id, in the store's own term.
    pub purchase_id: &'static str,
    /// First release that knew the store.
    pub since: &'static str,
    /// Form of the store's platforms, with the steps at the store.
    pub form: fn() -> Form,
    /// Reads the platform fields that only this store has, if there are any.
    pub own_fields: Option<ReadOwnFields>,
    /// The store's rule for package names; `None` for the rule of Android.
    pub check_package: Option<CheckPackage>,
    /// Flags of `settle platform update` that set the credentials, for texts that advise setting them.
    pub credential_flags: &'static str,
    /// Maximum size of a message's body, in bytes. It is read only after the checks of its headers.
    pub max_body_bytes: usize,
    /// Reads the transactions in the store's sales report.
    pub sales_report: Option<fn(&[u8]) -> SalesResult>,
    /// The operator's settings that have an environment variable.
    pub variables: &'static [Variable],
    /// Reads and validates the operator's settings.
    pub config: fn(Section<'_>) -> Result<Arc<dyn StoreConfig>, Invalid>,
    /// Types of samples, if the store has samples.
    pub samples: Option<SampleTypes>,
    /// Data for the demo, if the store has any.
    pub demo: Option<DemoStore>,
}

/// Last release whose processes do not register themselves while they run.
pub const LAST_WITHOUT_SIGNS: &str = "0.1.0";

impl StoreEntry {
    /// Returns whether the store is unknown to processes that do not register themselves.
    pub fn is_newer_than_signs(&self) -> bool {
        self.since != LAST_WITHOUT_SIGNS
    }
}

/// Stores of this release.
pub const ALL: &[StoreEntry] = &[amazon::ENTRY, google::ENTRY, apple::ENTRY];

/// Stores that a program adds to [`ALL`].
static ADDED: OnceLock<&'static [StoreEntry]> = OnceLock::new();

/// Adds stores to [`ALL`]; must be called before the settings are read. Returns whether they were added: only the first
/// call has an effect.
pub fn add(stores: &'static [StoreEntry]) -> bool {
    ADDED.set(stores).is_ok()
}

/// Returns all stores that this program knows.
pub fn all() -> impl Iterator<Item = &'static StoreEntry> + Clone {
    ALL.iter().chain(ADDED.get().copied().unwrap_or_default())
}

/// Returns the names of all known stores.
pub fn names() -> Vec<&'static str> {
    all().map(|store| store.name).collect()
}

/// Returns the platform forms of these stores.
pub fn forms(stores: &[&StoreEntry]) -> Vec<Form> {
    stores.iter().map(|store| (store.form)()).collect()
}

/// Returns a store's display name; for an unknown store, its plain name.
pub fn name(store: &str) -> &str {
    let known = all().find(|known| known.name == store);
    known.map_or(store, |known| known.title)
}

/// Returns the label of a purchase's id in the store's own term; `None` for a store that this program does not know.
pub fn purchase_id(store: &str) -> Option<&'static str> {
    let known = all().find(|known| known.name == store);
    known.map(|known| known.purchase_id)
}

/// Flags of `settle platform update` that set a store's credentials; `None` for a store that this program does not know.
pub fn credential_flags(store: &str) -> Option<&'static str> {
    let known = all().find(|known| known.name == store);
    known.map(|known| known.credential_flags)
}

/// Reads the transactions of a sales report of the first store that has such reports. Without such a store, the result
/// is empty.
///
/// # Errors
/// Every error in the report.
pub fn sales_report(bytes: &[u8]) -> SalesResult {
    let mut readers = all().filter_map(|store| store.sales_report);
    readers
        .next()
        .map_or_else(|| Ok(SalesReport::default()), |read| read(bytes))
}

/// Commands of stores that need no running service.
#[derive(Debug, Subcommand)]
pub enum StoreCommand {
    Amazon(amazon::command::Options),
}

impl StoreCommand {
    /// Runs the command.
    ///
    /// # Errors
    /// A file cannot be read.
    pub fn run(self) -> anyhow::Result<Verdict> {
        match self {
            Self::Amazon(options) => options.run(),
        }
    }
}

/// Returns the types of a store's samples; `None` if it has no samples or is not known to this program.
pub fn sample_types(store: &str) -> Option<SampleTypes> {
    all().find(|known| known.name == store)?.samples
}

/// Returns the stores with a demo, each with its data.
pub fn demos() -> impl Iterator<Item = (&'static StoreEntry, &'static DemoStore)> + Clone {
    all().filter_map(|store| Some((store, store.demo.as_ref()?)))
}

/// Returns the name of the store whose samples the command signs, and how; `None` if the service builds all samples.
pub fn signing() -> Option<(&'static str, &'static SampleSigning)> {
    demos().find_map(|(store, demo)| Some((store.name, demo.signing.as_ref()?)))
}
