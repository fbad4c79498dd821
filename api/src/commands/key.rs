//! `settle key`: everything that its table of verbs cannot express.

use super::drawn::Hook;
use super::table::text;
use serde_json::Value;

pub const HOOKS: &[(&str, Hook)] = &[("create", Hook::Humanize(note_secret))];

/// Notes beside a new key that it is shown only in this response.
fn note_secret(answer: &mut Value) {
    if let Some(key) = answer.get_mut("key") {
        *key = format!("{}  (shown only here)", text(key)).into();
    }
}

#[cfg(test)]
mod tests {
    use super::note_secret;
    use serde_json::json;

    #[test]
    fn a_new_key_is_marked_as_shown_only_here() {
        let mut answer = json!({ "id": "1", "key": "sk_1" });
        note_secret(&mut answer);
        assert_eq!(answer["key"], "sk_1  (shown only here)");
    }
}
