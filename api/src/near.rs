//! Finds the known name that a mistyped name probably stands for.

/// Maximum length of a compared name, in bytes: a comparison costs memory and time in proportion to the product of the
/// lengths.
const MAX_BYTES: usize = 64;

/// Returns the known name with the smallest edit distance to the typed one. The distance may be at most 1, plus 1 for
/// each five characters of the typed name. `None` if no name is that near, or if the typed name is longer than 64
/// bytes.
pub fn near<'a>(typed: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    if typed.len() > MAX_BYTES {
        return None;
    }
    let max_distance = 1 + typed.chars().count() / 5;
    let distances = known
        .into_iter()
        .map(|name| (strsim::damerau_levenshtein(typed, name), name));
    distances
        .filter(|(distance, _)| *distance <= max_distance)
        .min()
        .map(|(_, name)| name)
}

/// Returns a suggestion of the nearest name, to append to an error; empty if no name is near enough.
pub fn did_you_mean<'a>(typed: &str, known: impl IntoIterator<Item = &'a str>) -> String {
    near(typed, known).map_or_else(String::new, |name| format!("; did you mean `{name}`?"))
}

#[cfg(test)]
mod tests {
    use super::{did_you_mean, near};

    #[test]
    fn the_nearest_name_is_found_and_a_distant_one_is_not() {
        let known = [
            "name",
            "events",
            "enabled",
            "rate",
            "schedule",
            "concurrency",
        ];
        for (typed, meant) in [
            ("event", Some("events")),
            ("evnets", Some("events")),
            ("schedul", Some("schedule")),
            ("Rate", Some("rate")),
            ("concurency", Some("concurrency")),
            ("kind", None),
            ("url", None),
            ("surprise", None),
            ("", None),
        ] {
            assert_eq!(near(typed, known), meant, "{typed}");
        }
        assert_eq!(near(&"name".repeat(500_000), known), None);
        assert_eq!(did_you_mean("event", known), "; did you mean `events`?");
        assert_eq!(did_you_mean("surprise", known), "");
    }
}
