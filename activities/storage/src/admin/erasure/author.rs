//! The author of an audit entry: a key, or a person followed by the name of a key.

use domain::user::REMOVED;

/// Returns the author of an audit entry, with the person replaced by [`REMOVED`] if `is_named` says that it is the
/// customer.
pub fn without_person(author: String, is_named: impl Fn(&str) -> bool) -> String {
    match person_and_key(&author) {
        Some((person, key)) if is_named(person) => format!("{REMOVED}{key}"),
        _ => author,
    }
}

/// Splits an author such as `Anna (support)` into the person and the rest with the name of the key. `None` for an
/// author without parentheses, which is only the name of a key.
fn person_and_key(author: &str) -> Option<(&str, &str)> {
    let mut open = 0_usize;
    for (at, one) in author.strip_suffix(')')?.char_indices().rev() {
        match (one, open) {
            (')', _) => open += 1,
            ('(', 0) => {
                let (before, _) = author.split_at_checked(at)?;
                return author.split_at_checked(before.strip_suffix(' ')?.len());
            }
            ('(', _) => open -= 1,
            _ => {}
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::{person_and_key, without_person};
    use domain::user::REMOVED;

    #[test]
    fn an_author_is_a_key_or_a_person_in_front_of_it() {
        for (author, parts) in [
            ("admin token", None),
            ("", None),
            (")", None),
            ("Anna)", None),
            ("(support)", None),
            ("Anna(support)", None),
            ("Anna (support)", Some(("Anna", " (support)"))),
            (
                "Anna (desk 3) (admin token)",
                Some(("Anna (desk 3)", " (admin token)")),
            ),
            (
                "Anna (support (night))",
                Some(("Anna", " (support (night))")),
            ),
            ("Änna) (ö)", Some(("Änna)", " (ö)"))),
        ] {
            assert_eq!(person_and_key(author), parts, "{author}");
        }
    }

    #[test]
    fn the_name_of_a_key_stays() {
        let without = |author: &str, name: &str| {
            without_person(author.to_owned(), |text| text.contains(name))
        };
        assert_eq!(
            without("token 4 (admin token)", "token"),
            format!("{REMOVED} (admin token)")
        );
        for author in ["admin token", "Anna (admin token)"] {
            assert_eq!(without(author, "token"), author);
        }
    }
}
