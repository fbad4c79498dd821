//! Comparison of a text with stored ids: as a complete id or as a prefix.

/// Minimum number of characters of a prefix.
const MIN_BEGINNING: usize = 3;
/// Minimum number of characters of a prefix of settle's ids. These are random, so a shorter prefix would match too
/// many.
const MIN_OURS: usize = 8;
/// Number of hexadecimal digits of settle's ids.
const DIGITS: usize = 32;
/// The highest character, above every prefix.
const HIGHEST: char = char::MAX;

/// How an id is compared with the search text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Compared {
    /// An id of settle or of a device: as a UUID in lower case.
    Ours,
    /// An id that a store or an app chose: unchanged.
    Theirs,
    /// The app's own id of a customer: ignoring the case of ASCII letters.
    Folded,
}

/// The lowest and the highest id that match.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Range {
    pub low: String,
    pub high: String,
}

impl Range {
    /// Returns the range that contains only this text.
    pub fn whole(text: &str, compared: Compared) -> Self {
        let id = match compared {
            Compared::Theirs => text.to_owned(),
            Compared::Ours | Compared::Folded => text.to_ascii_lowercase(),
        };
        Self {
            low: id.clone(),
            high: id,
        }
    }

    /// Returns the range of ids that begin with this text, or with its part before `…`, since the dashboard shortens
    /// ids like that. `None` if the prefix is too short, or no id can begin with it.
    pub fn beginning(text: &str, compared: Compared) -> Option<Self> {
        let text = text
            .split('…')
            .next()
            .unwrap_or_default()
            .trim_end_matches('.');
        if text.chars().count() < MIN_BEGINNING {
            return None;
        }
        if compared == Compared::Ours {
            return Self::of_ours(text);
        }
        let Self { low, high } = Self::whole(text, compared);
        Some(Self {
            low,
            high: high + &String::from(HIGHEST),
        })
    }

    /// Returns the range from the UUID with zeros in place of the missing digits to the one with `f`. All UUIDs have
    /// the same form, so every collation orders them like this.
    fn of_ours(text: &str) -> Option<Self> {
        let is_digit = |letter: &char| letter.is_ascii_hexdigit();
        let digits: String = text.chars().filter(|letter| *letter != '-').collect();
        if digits.len() < MIN_OURS
            || digits.len() > DIGITS
            || !digits.chars().all(|letter| is_digit(&letter))
        {
            return None;
        }
        let filled = |filler: &str| {
            let all =
                digits.to_ascii_lowercase() + &filler.repeat(DIGITS.saturating_sub(digits.len()));
            let number = u128::from_str_radix(&all, 16).ok()?;
            Some(uuid::Uuid::from_u128(number).to_string())
        };
        Some(Self {
            low: filled("0")?,
            high: filled("f")?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn range(text: &str, compared: Compared) -> Option<(String, String)> {
        Range::beginning(text, compared).map(|Range { low, high }| (low, high))
    }

    #[test]
    fn an_id_of_settle_is_found_from_its_eighth_digit_on() {
        let whole = "f57d4cf1-c258-4f3a-99b9-6600bf711993";
        for text in ["f57d4cf1", "F57D4CF1-", "f57d4cf1-c258…", whole] {
            let (low, high) = range(text, Compared::Ours).unwrap();
            assert!(
                low.as_str() <= whole && whole <= high.as_str(),
                "{text}: {low} to {high}"
            );
        }
        let first = |end: &str| format!("f57d4cf1-{end}");
        assert_eq!(
            range("f57d4cf1", Compared::Ours),
            Some((
                first("0000-0000-0000-000000000000"),
                first("ffff-ffff-ffff-ffffffffffff")
            ))
        );
        for text in [
            "f57d4cf",
            "kim@example.com",
            "",
            "ä57d4cf1",
            &format!("{whole}0"),
        ] {
            assert_eq!(range(text, Compared::Ours), None, "{text}");
        }
    }

    #[test]
    fn other_ids_are_found_from_the_third_character_on() {
        let (low, high) = range("Kim@", Compared::Folded).unwrap();
        assert_eq!(low, "kim@");
        for (id, is_in) in [
            ("kim@", true),
            ("kim@example.com", true),
            ("kim@\u{fffd}", true),
            ("kima", false),
        ] {
            assert_eq!(low.as_str() <= id && id <= high.as_str(), is_in, "{id}");
        }
        assert_eq!(range("Kim", Compared::Theirs).unwrap().0, "Kim");
        assert_eq!(range("r-lee…", Compared::Theirs).unwrap().0, "r-lee");
        for text in ["", "ki", "ä…", "…"] {
            assert_eq!(range(text, Compared::Theirs), None, "{text}");
        }
    }
}
