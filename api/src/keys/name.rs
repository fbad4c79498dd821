//! Names of keys and of people who sign in. The audit log shows them, so no two names may look alike.

use super::ADMIN_TOKEN;
use crate::extract::FieldErrors;
use domain::text::{alike, is_invisible, visible};

/// Names that the audit log uses for authors without a key: the admin token, and settle itself.
const RESERVED: [&str; 2] = [ADMIN_TOKEN, "settle"];

/// Checks the `name` of a key or person, and adds any error.
pub fn check_name(wrong: &mut FieldErrors, name: &str) {
    let expected = if name.chars().any(is_invisible) {
        "no line breaks and no invisible characters"
    } else if visible(name).is_empty() {
        "at least one letter"
    } else if name.contains(['(', ')']) {
        "no parentheses: the audit log puts the name of a key in them"
    } else if RESERVED.contains(&alike(name).as_str()) {
        "another name: the audit log uses it for changes made without a key"
    } else {
        return;
    };
    if !wrong.has("name") {
        wrong.add("name", expected);
    }
}

/// Checks that the `name` of an app, platform or destination is visible, and adds an error if it is not.
pub fn check_visible(wrong: &mut FieldErrors, name: &str) {
    if visible(name).is_empty() && !wrong.has("name") {
        wrong.add(
            "name",
            "text of 1 to 200 characters that is not only spaces",
        );
    }
}
