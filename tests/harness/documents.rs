//! The Markdown documents of the work tree, their code blocks, and the Temporal CLI commands that they give operators.

use std::path::{Path, PathBuf};

/// Paths of all documents with commands for the Temporal CLI, relative to the root of the work tree.
pub const OPERATORS: &[&str] = &["api/src/commands/README.md"];

/// The marker above a block whose lines tests run.
const TESTED: &str = "<!-- tested:";

pub struct Document {
    /// Path relative to the root of the work tree.
    pub path: String,
    pub text: String,
}

/// A block of code in a document.
pub struct Block {
    /// The language after its opening fence; empty without one.
    pub language: String,
    /// Lines of the block, without the fence's indentation.
    pub lines: Vec<String>,
    /// Whether the line above it begins with `<!-- tested:`.
    pub is_tested: bool,
}

/// Returns the root of the work tree.
///
/// # Panics
/// When this package is not in a work tree.
pub fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .parent()
        .expect("the work tree")
}

/// Returns the code that names the settings: those of the installation, of each store and of each kind of destination.
///
/// # Panics
/// When a file cannot be read.
pub fn settings() -> String {
    let files = |folder: &str, file: &'static str| {
        let entries = std::fs::read_dir(root().join(folder)).expect("a folder of folders");
        entries.map(move |entry| entry.expect("an entry").path().join(file))
    };
    let of_stores = files("api/src/stores", "config.rs");
    let of_kinds = files("activities/protocols/src/destinations", "mod.rs");
    let all = of_stores.chain(of_kinds).filter(|path| path.is_file());
    all.chain([root().join("api/src/config/raw.rs")])
        .map(|path| std::fs::read_to_string(path).expect("the settings"))
        .collect()
}

/// Returns the text of the changelog.
///
/// # Panics
/// When it cannot be read.
pub fn changelog() -> String {
    std::fs::read_to_string(root().join("CHANGELOG.md")).expect("the changelog")
}

/// Returns all documents, in order of their paths.
///
/// # Panics
/// When they cannot be read.
pub fn all() -> Vec<Document> {
    let mut found = Vec::new();
    collect(root(), &mut found);
    found.sort();
    found
        .iter()
        .map(|path| Document::read(&path.display().to_string()))
        .collect()
}

fn collect(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(folder).expect("a folder of the work tree") {
        let path = entry.expect("an entry").path();
        let name = path
            .file_name()
            .unwrap_or_default()
            .to_string_lossy()
            .into_owned();
        let is_foreign = name.starts_with('.')
            || ["target", "settle-data", "node_modules"].contains(&name.as_str());
        if path.is_dir() && !is_foreign {
            collect(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "md") {
            found.push(
                path.strip_prefix(root())
                    .expect("a path in the work tree")
                    .to_owned(),
            );
        }
    }
}

/// Returns the lines for the Temporal CLI in all documents of [`OPERATORS`].
///
/// # Panics
/// When a document of [`OPERATORS`] has none.
pub fn operators_lines() -> Vec<String> {
    let lines = OPERATORS.iter().flat_map(|path| {
        let tested = Document::read(path)
            .blocks()
            .into_iter()
            .filter(|block| block.is_tested);
        let lines: Vec<String> = tested.flat_map(|block| block.lines).collect();
        assert!(!lines.is_empty(), "{path} has no tested lines");
        lines
    });
    lines.collect()
}

impl Document {
    /// Reads the document at a path from the root of the work tree.
    ///
    /// # Panics
    /// When it cannot be read.
    pub fn read(path: &str) -> Self {
        let text = std::fs::read_to_string(root().join(path))
            .unwrap_or_else(|error| panic!("{path}: {error}"));
        Self {
            path: path.to_owned(),
            text,
        }
    }

    pub fn blocks(&self) -> Vec<Block> {
        let (mut blocks, mut open, mut is_marked) = (Vec::new(), None::<Block>, false);
        for line in self.text.lines() {
            match (open.take(), line.trim_start().strip_prefix("```")) {
                (Some(block), Some(_)) => blocks.push(block),
                (Some(mut block), None) => {
                    block.lines.push(line.trim_start().to_owned());
                    open = Some(block);
                }
                (None, Some(language)) => {
                    open = Some(Block {
                        language: language.to_owned(),
                        lines: Vec::new(),
                        is_tested: is_marked,
                    });
                    is_marked = false;
                }
                (None, None) => is_marked = line.starts_with(TESTED),
            }
        }
        blocks
    }

    /// Returns the document's lines outside code blocks.
    pub fn prose(&self) -> impl Iterator<Item = &str> {
        let mut is_code = false;
        self.text.lines().filter(move |line| {
            let is_fence = line.trim_start().starts_with("```");
            is_code ^= is_fence;
            !is_fence && !is_code
        })
    }
}
