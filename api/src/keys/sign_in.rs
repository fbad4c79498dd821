//! Whether a person's sign-in to the dashboard is still valid.

use crate::edge::Edge;
use domain::Timestamp;
use storage::FoundSignIn;

/// Returns whether a sign-in has neither ended nor expired, and the key or admin token that it is based on is still
/// valid.
pub fn holds(found: &FoundSignIn, edge: &Edge, now: Timestamp) -> bool {
    let FoundSignIn {
        sign_in,
        token_hash,
        key_revoked_at,
        key_expires_at,
    } = found;
    let is_current = sign_in.finished_at.is_none()
        && now < sign_in.expires_at
        && now < sign_in.used_at.plus(edge.pages.sign_in_idle);
    let key_holds = key_revoked_at.is_none() && key_expires_at.is_none_or(|end| now < end);
    let token_holds = token_hash
        .as_ref()
        .is_none_or(|hash| *hash == edge.admin_token_hash());
    let has_source = sign_in.key_id.is_some() || token_hash.is_some();
    is_current && key_holds && token_holds && has_source
}
