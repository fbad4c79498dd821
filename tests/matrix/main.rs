//! The matrix: every documented type of notification, in every state of a purchase, with a store that agrees at once,
//! one that lags and one that is absent. Each cell's events and revenue are a line in the reviewed file `cells.txt`.
//! `cargo test --release --workspace --test matrix` runs it with a release build.
//!
//! If the results differ, a run writes `cells.txt.new` next to the file, with the file's reasons.

mod cells;
mod run;
mod table;

use cells::{Cell, cells};
use std::collections::BTreeMap;
use std::path::Path;
use table::{Line, Record, broken, read, unexplained, unlike, write};

const FILE: &str = include_str!("cells.txt");

/// Returns the comment at the head of the file.
fn head() -> String {
    FILE.lines()
        .take_while(|line| line.starts_with('#'))
        .map(|line| format!("{line}\n"))
        .collect()
}

fn lines_of(
    lived: &BTreeMap<Cell, (Line, Record)>,
    reviewed: &BTreeMap<[String; 3], Line>,
) -> Vec<Line> {
    let reason = |line: &Line| {
        reviewed
            .get(&line.cell)
            .map_or("", |reviewed| &reviewed.why)
            .to_owned()
    };
    cells()
        .iter()
        .filter_map(|cell| lived.get(cell))
        .map(|(line, _)| line.because(&reason(line)))
        .collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn every_cell_gives_the_result_of_the_reviewed_file() {
    let lived = run::live(&cells()).await;
    let reviewed = read(FILE);
    let lines = lines_of(&lived, &reviewed);
    let mut wrong: Vec<String> = Vec::new();
    for line in &lines {
        if reviewed.get(&line.cell) != Some(line) {
            wrong.push(format!(
                "{} is\n    {line:?}\n  and the file has\n    {:?}",
                line.cell.join(" "),
                reviewed.get(&line.cell)
            ));
        }
    }
    if !wrong.is_empty() || reviewed.len() != lines.len() {
        let new = Path::new(env!("CARGO_MANIFEST_DIR")).join("matrix/cells.txt.new");
        std::fs::write(&new, write(&head(), &lines)).expect("the new file");
        wrong.push(format!(
            "{} lines were found, {} are reviewed: see {}",
            lines.len(),
            reviewed.len(),
            new.display()
        ));
    }
    wrong.extend(broken(&lines));
    wrong.extend(unlike(&lived));
    println!("{} cells", lines.len());
    assert!(
        wrong.is_empty(),
        "{} findings:\n{}",
        wrong.len(),
        wrong.join("\n")
    );
}

#[test]
fn the_reviewed_file_has_every_cell_and_breaks_no_rule() {
    let reviewed = read(FILE);
    let wanted = cells()
        .into_iter()
        .map(|cell| [cell.kind, cell.state, &cell.store.to_string()].map(str::to_owned));
    let missing = wanted
        .filter(|cell| !reviewed.contains_key(cell))
        .map(|cell| format!("{} is missing", cell.join(" ")));
    let lines: Vec<Line> = reviewed.values().cloned().collect();
    let wrong: Vec<String> = missing
        .chain(broken(&lines))
        .chain(unexplained(&reviewed))
        .collect();
    assert!(
        wrong.is_empty(),
        "{} findings:\n{}",
        wrong.len(),
        wrong.join("\n")
    );
}
