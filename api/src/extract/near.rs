//! Finds the known name that a mistyped name probably means.

/// The known name with the smallest edit distance to the typed one. The distance may be 1, and one more for each five
/// characters of the typed name; otherwise `None`.
pub fn near<'a>(typed: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let max_distance = 1 + typed.chars().count() / 5;
    let distances = known.into_iter().map(|name| (strsim::damerau_levenshtein(typed, name), name));
    distances.filter(|(distance, _)| *distance <= max_distance).min().map(|(_, name)| name)
}

/// The nearest name as the end of an error text; empty when no name is near enough.
pub fn did_you_mean<'a>(typed: &str, known: impl IntoIterator<Item = &'a str>) -> String {
    near(typed, known).map_or_else(String::new, |name| format!("; did you mean `{name}`?"))
}

#[cfg(test)]
mod tests {
    use super::{did_you_mean, near};

    #[test]
    fn the_nearest_name_is_found_and_a_distant_one_is_not() {
        let known = ["name", "events", "enabled", "rate", "schedule", "concurrency"];
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
        assert_eq!(did_you_mean("event", known), "; did you mean `events`?");
        assert_eq!(did_you_mean("surprise", known), "");
    }
}
