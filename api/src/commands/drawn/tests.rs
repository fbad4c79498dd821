use super::{Does, RESOURCES, Verb, Verbs, argument};

fn verbs() -> Vec<(&'static str, &'static Verb)> {
    let all = RESOURCES.iter().flat_map(|resource| match &resource.verbs {
        Verbs::One(verb) => vec![(resource.name, verb)],
        Verbs::Named(verbs) => verbs.iter().map(|verb| (resource.name, verb)).collect(),
    });
    all.collect()
}

#[test]
fn every_entry_of_a_flag_is_about_a_field_of_its_route() {
    for (resource, verb) in verbs() {
        let Does::Call(method, path) = verb.does else { continue };
        let fields: Vec<String> = argument::of_route(method, path, &[]).into_iter().map(|one| one.field).collect();
        for flag in verb.flags {
            assert!(
                fields.iter().any(|field| field == flag.field),
                "{resource} {}: no field {}",
                verb.name,
                flag.field
            );
        }
    }
}

#[test]
fn every_argument_has_a_description() {
    for (resource, verb) in verbs() {
        let Does::Call(method, path) = verb.does else { continue };
        let arguments = argument::of_route(method, path, verb.flags);
        for drawn in arguments.iter().filter_map(|argument| argument.drawn()) {
            let help = drawn.get_help().map(ToString::to_string).unwrap_or_default();
            assert!(!help.is_empty(), "settle {resource} {}: {} has no description", verb.name, drawn.get_id());
        }
    }
}
