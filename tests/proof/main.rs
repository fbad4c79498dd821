//! Proves that stores and kinds of destinations can be added without changing the program: each addition is a folder in
//! this test, and an entry in `additions.rs`.

#[path = "additions.rs"]
mod additions;
#[path = "destination/tests.rs"]
mod destination;
#[path = "destination/server.rs"]
mod server;
#[path = "store/tests.rs"]
mod store;

use api::stores::StoreEntry;
use commands::Additions;
use std::process::{Command, Output};
use std::sync::Once;
use system_tests::process::program;

/// Returns the variables of a program with the additions, and adds them to this process too, so that answers are
/// checked against a document that includes them.
pub fn variables() -> Vec<(String, String)> {
    static ADDED: Once = Once::new();
    ADDED.call_once(|| additions::ALL.add().expect("the first use of the kinds"));
    vec![("SETTLE_TEST_ADDITIONS".to_owned(), "proof".to_owned())]
}

/// Returns the help of `settle destination create` without line breaks, for a program with these variables.
fn help(variables: Vec<(String, String)>) -> String {
    let mut command = Command::new(program());
    command.args(["destination", "create", "--help"]);
    let Output { status, stdout, .. } = command.envs(variables).output().expect("settle starts");
    assert!(status.success(), "{status}");
    unwrapped(&String::from_utf8(stdout).expect("a text"))
}

/// Returns a text without line breaks, including those of continued commands.
fn unwrapped(text: &str) -> String {
    let parts = text.split_whitespace().filter(|part| *part != "\\");
    parts.collect::<Vec<_>>().join(" ")
}

/// Returns a list that contains all items twice.
fn doubled<T: Copy + 'static>(all: &[T]) -> &'static [T] {
    Box::leak(all.repeat(2).into_boxed_slice())
}

/// Returns the error about additions with unsuitable names.
fn refused(additions: Additions) -> String {
    let refused = additions.add().expect_err("an error");
    refused.to_string()
}

#[test]
fn additions_with_wrong_names_are_refused_by_the_name() {
    let own = additions::ALL;
    let [store] = own.stores else {
        panic!("one store");
    };
    let twins = [store, store].map(|store| StoreEntry {
        demo: None,
        ..*store
    });
    for (wrong, part) in [
        (
            Additions {
                stores: Box::leak(Box::new(twins)),
                ..own
            },
            "two stores have the name `proof`",
        ),
        (
            Additions {
                policies: doubled(own.policies),
                ..own
            },
            "two policies are of the store `proof`",
        ),
        (
            Additions {
                kinds: doubled(own.kinds),
                ..own
            },
            "two kinds of destinations have the name `line`",
        ),
        (
            Additions {
                transports: doubled(own.transports),
                ..own
            },
            "two transports have the scheme `line`",
        ),
        (
            Additions {
                policies: &[],
                ..own
            },
            "the store `proof` has no policy",
        ),
        (
            Additions { stores: &[], ..own },
            "a policy of the store `proof`, but no such store",
        ),
    ] {
        let refused = refused(wrong);
        assert!(refused.contains(part), "{refused}");
    }
}

#[test]
fn an_added_kind_is_offered_by_the_program_that_adds_it_alone() {
    let (usual, with) = (help(Vec::new()), help(variables()));
    for kind in additions::ALL.kinds {
        let named = format!("`{}`", kind.name());
        assert!(with.contains(&named), "{with}");
        assert!(!usual.contains(&named), "{usual}");
        for example in kind.help_text().examples {
            assert!(with.contains(&unwrapped(example)), "{example}: {with}");
        }
    }
    for text in [&usual, &with] {
        assert!(text.contains("`webhook`, `amplitude`"), "{text}");
    }
}
