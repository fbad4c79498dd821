//! The names of keys and of people who sign in. The audit log shows them, so no two of them may look alike.

use super::ADMIN_TOKEN;
use crate::extract::FieldErrors;
use domain::text::{alike, is_invisible, visible};

/// Names of authors that have no key: the token of the settings, and settle itself.
const RESERVED: [&str; 2] = [ADMIN_TOKEN, "settle"];

/// Notes what is wrong with the `name` of a key or a person.
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

/// Notes that the `name` of an app, a platform or a destination has nothing that people see.
pub fn check_visible(wrong: &mut FieldErrors, name: &str) {
    if visible(name).is_empty() && !wrong.has("name") {
        wrong.add(
            "name",
            "text of 1 to 200 characters that is not only spaces",
        );
    }
}
