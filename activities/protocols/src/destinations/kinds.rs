//! The list of the kinds of destinations, which a program can extend, and everything that depends only on a kind's
//! name.

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

/// The built-in kinds, in the order in which they are shown.
const OF_RELEASE: [&dyn Kind; 3] = [&Webhook, &Amplitude, &Email];

static ALL: OnceLock<Vec<&'static dyn Kind>> = OnceLock::new();

/// Returns all kinds: the built-in ones, then those that the program added.
pub fn kinds() -> impl Iterator<Item = &'static dyn Kind> + Clone {
    ALL.get_or_init(|| OF_RELEASE.to_vec()).iter().copied()
}

/// Returns the built-in kinds.
pub const fn of_release() -> &'static [&'static dyn Kind] {
    &OF_RELEASE
}

/// Adds kinds after the built-in ones. Returns whether they were added: they are refused after the first use of the
/// list, and if one has the name of a built-in kind.
#[must_use]
pub fn add(more: &[&'static dyn Kind]) -> bool {
    let is_new = |one: &&dyn Kind| OF_RELEASE.iter().all(|known| known.name() != one.name());
    more.iter().all(is_new)
        && ALL
            .set(OF_RELEASE.iter().chain(more).copied().collect())
            .is_ok()
}

/// Returns the kind of this name.
///
/// # Errors
/// Fails if there is no such kind.
pub fn kind(name: &str) -> Result<&'static dyn Kind, Invalid> {
    let found = kinds().find(|kind| kind.name() == name);
    found.ok_or_else(|| Invalid::new("kind", format!("{}, and not `{name}`", names())))
}

/// Returns the names of all kinds as a list in words.
pub fn names() -> String {
    one_of(kinds())
}

/// Returns the first kind whose requests are signed, with its [`Signer`]; `None` if there is none.
pub fn signing() -> Option<(&'static dyn Kind, &'static dyn Signer)> {
    kinds().find_map(|kind| Some((kind, kind.signer()?)))
}

/// Returns the kind whose texts are shown for this name. For an unknown name, as in the response of a newer server,
/// this is the webhook.
pub fn shown_kind(name: &str) -> &'static dyn Kind {
    kind(name).unwrap_or(&Webhook)
}

/// Returns the API fields of each kind, as JSON Schemas.
pub fn schemas() -> &'static [KindSchemas] {
    static SCHEMAS: LazyLock<Vec<KindSchemas>> =
        LazyLock::new(|| kinds().map(Kind::schemas).collect());
    &SCHEMAS
}

/// Returns the API fields of the named kind; `None` if there is no such kind.
pub fn fields(kind: &str) -> Option<&'static KindSchemas> {
    schemas().iter().find(|schemas| schemas.kind == kind)
}

/// Returns the choices that the named kind expects if it refuses one of the chosen events; `None` if it accepts all.
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
/// Returns the first setting or secret that is unusable, or an error for an unknown kind.
pub fn ready(
    destination: &Destination,
    secret: &SecretString,
    allowed: &Allowed,
) -> Result<Box<dyn Connector>, Invalid> {
    kind(&destination.kind)?.ready(destination, secret, allowed)
}

/// Returns why the operator's settings allow no request to a stored destination; `None` if they do.
pub fn refusal(destination: &Destination, allowed: &Allowed) -> Option<Invalid> {
    kind(&destination.kind).ok()?.refusal(destination, allowed)
}

/// Replaces the secret that signs requests; the old secret signs too until the overlap ends.
///
/// # Errors
/// Fails if the new secret is invalid, or if the kind signs nothing.
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

/// Returns the names of kinds as a list in words.
fn one_of(kinds: impl Iterator<Item = &'static dyn Kind>) -> String {
    let names: Vec<String> = kinds.map(|kind| format!("`{}`", kind.name())).collect();
    match names.split_last() {
        Some((last, others)) if !others.is_empty() => format!("{} or {last}", others.join(", ")),
        Some((only, _)) => only.clone(),
        None => String::new(),
    }
}
