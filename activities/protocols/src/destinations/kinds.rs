//! The list of the kinds of destinations, to which a program can add, and what follows from the name of a kind alone.

use super::allowed::Allowed;
use super::amplitude::kind::Amplitude;
use super::changes::{ChangedSettings, Rotation};
use super::email::kind::Email;
use super::invalid::Invalid;
use super::kind::{Connector, Kind, Signer};
use super::schemas::KindSchemas;
use super::webhook::kind::Webhook;
use secrecy::SecretString;
use std::sync::{LazyLock, OnceLock};
use storage::Destination;

/// The kinds of a release, in the order in which people see them.
const OF_RELEASE: [&dyn Kind; 3] = [&Webhook, &Amplitude, &Email];

static ALL: OnceLock<Vec<&'static dyn Kind>> = OnceLock::new();

/// All kinds: those of the release, then those that the program added.
pub fn kinds() -> impl Iterator<Item = &'static dyn Kind> + Clone {
    ALL.get_or_init(|| OF_RELEASE.to_vec()).iter().copied()
}

/// The kinds of the release, without those that a program adds.
pub const fn of_release() -> &'static [&'static dyn Kind] {
    &OF_RELEASE
}

/// Adds kinds to those of the release. Returns whether they were added: not after the first use of the list, nor under a
/// name of the release.
#[must_use]
pub fn add(more: &[&'static dyn Kind]) -> bool {
    let is_new = |one: &&dyn Kind| OF_RELEASE.iter().all(|known| known.name() != one.name());
    more.iter().all(is_new)
        && ALL
            .set(OF_RELEASE.iter().chain(more).copied().collect())
            .is_ok()
}

/// The kind of this name.
///
/// # Errors
/// There is no such kind.
pub fn kind(name: &str) -> Result<&'static dyn Kind, Invalid> {
    let found = kinds().find(|kind| kind.name() == name);
    found.ok_or_else(|| Invalid::new("kind", format!("{}, and not `{name}`", names())))
}

/// The names of all kinds, in a sentence.
pub fn names() -> String {
    one_of(kinds())
}

/// The first kind whose requests are signed, and how; `None` when there is none.
pub fn signing() -> Option<(&'static dyn Kind, &'static dyn Signer)> {
    kinds().find_map(|kind| Some((kind, kind.signer()?)))
}

/// The kind whose texts people see for this name: the first one where there is no such kind, as in the answer of a newer
/// server.
pub fn shown_kind(name: &str) -> &'static dyn Kind {
    kind(name).unwrap_or(&Webhook)
}

/// The API fields of each kind, as JSON Schemas.
pub fn schemas() -> &'static [KindSchemas] {
    static SCHEMAS: LazyLock<Vec<KindSchemas>> =
        LazyLock::new(|| kinds().map(Kind::schemas).collect());
    &SCHEMAS
}

/// The API fields of the named kind; `None` when there is no such kind.
pub fn fields(kind: &str) -> Option<&'static KindSchemas> {
    schemas().iter().find(|schemas| schemas.kind == kind)
}

/// The expected events, if the named kind does not take one of the chosen.
pub fn expected_events(kind: &str, chosen: &[String]) -> Option<String> {
    let kind = self::kind(kind).ok()?;
    chosen.iter().find_map(|choice| {
        let expected = kind.refused_choice(choice)?;
        Some(format!("{expected}, and not `{choice}`"))
    })
}

/// Builds the configuration of a stored destination.
///
/// # Errors
/// The first setting or secret that is unusable, or an unknown kind.
pub fn ready(
    destination: &Destination,
    secret: &SecretString,
    allowed: &Allowed,
) -> Result<Box<dyn Connector>, Invalid> {
    kind(&destination.kind)?.ready(destination, secret, allowed)
}

/// Why no request to a stored destination is allowed; `None` when requests are.
pub fn refusal(destination: &Destination, allowed: &Allowed) -> Option<Invalid> {
    kind(&destination.kind).ok()?.refusal(destination, allowed)
}

/// Replaces the secret that signs requests; the old one signs too until the overlap ends.
///
/// # Errors
/// The new secret is invalid, or the kind signs nothing.
pub fn rotate(
    destination: &Destination,
    secret: &SecretString,
    rotation: &Rotation,
) -> Result<ChangedSettings, Invalid> {
    let kind = kind(&destination.kind).ok();
    let signer = kind.and_then(Kind::signer).ok_or_else(|| {
        let signing = kinds().filter(|kind| kind.signer().is_some());
        Invalid::new(
            "kind",
            format!(
                "{}: nothing is signed for `{}`",
                one_of(signing),
                destination.kind
            ),
        )
    })?;
    signer.rotate(&destination.settings, secret, rotation)
}

/// The names of kinds in a sentence.
fn one_of(kinds: impl Iterator<Item = &'static dyn Kind>) -> String {
    let names: Vec<String> = kinds.map(|kind| format!("`{}`", kind.name())).collect();
    match names.split_last() {
        Some((last, others)) if !others.is_empty() => format!("{} or {last}", others.join(", ")),
        Some((only, _)) => only.clone(),
        None => String::new(),
    }
}
