//! The corpora of the fuzz targets, which `integration` replays without libFuzzer, within seconds.

mod targets;

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use targets::TARGETS;

/// Maximum size of all corpora together, in bytes.
const MAX_BYTES: usize = 200_000;

fn corpora() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus")
}

/// Returns the inputs of a target by their names.
fn inputs(target: &str) -> Vec<(String, Vec<u8>)> {
    let folder = corpora().join(target);
    let entries =
        fs::read_dir(&folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
    let mut files: Vec<_> = entries
        .map(|entry| entry.expect("an entry").path())
        .collect();
    files.sort();
    let read = |file: PathBuf| {
        (
            file.display().to_string(),
            fs::read(&file).expect("an input"),
        )
    };
    files.into_iter().map(read).collect()
}

#[test]
fn every_input_of_the_corpora_is_as_its_target_requires() {
    for target in TARGETS {
        let inputs = inputs(target.name);
        assert!(
            inputs.len() >= 3,
            "{} has {} inputs",
            target.name,
            inputs.len()
        );
        for (name, input) in inputs {
            // Printed, so that it is shown if the check panics.
            println!("{name}");
            (target.check)(&input);
        }
    }
}

#[test]
fn each_corpus_has_its_target_and_all_are_small() {
    let folders = fs::read_dir(corpora())
        .expect("corpora")
        .map(|entry| entry.expect("an entry").file_name());
    let folders: BTreeSet<_> = folders
        .map(|name| name.to_string_lossy().into_owned())
        .collect();
    assert_eq!(folders, TARGETS.map(|target| target.name.to_owned()).into());
    let sizes = TARGETS.map(|target| {
        inputs(target.name)
            .iter()
            .map(|(_, input)| input.len())
            .sum::<usize>()
    });
    assert!(sizes.iter().sum::<usize>() <= MAX_BYTES, "{sizes:?}");
}
