//! axe-core, which finds problems for screen readers. It finds only some of them, so the tests also use the keyboard.

use super::stage::target;
use ring::digest::{SHA256, digest};
use std::process::Command;
use std::sync::LazyLock;

/// The npm package, and the SHA-256 of its script.
const PACKAGE: &str = "axe-core@4.14.1";
const HASH: &str = "29348999450cdf2849a8e70b7912fc2da85a849da39c0d0d5394f51d4a9ed95c";

/// Runs the rules of WCAG 2.2, levels A and AA.
const RUN: &str = "return axe.run(document, { runOnly: { type: 'tag',
    values: ['wcag2a', 'wcag2aa', 'wcag21a', 'wcag21aa', 'wcag22aa'] } }).then((found) => found.violations.map(
        (one) => [one.id, one.help, one.nodes.map((node) => [node.target.join(' '), node.failureSummary])]));";

static SOURCE: LazyLock<String> = LazyLock::new(|| {
    let folder = target().join("axe");
    let file = folder.join("package/axe.min.js");
    if !file.is_file() {
        std::fs::create_dir_all(&folder).expect("a folder");
        let run = |program: &str, arguments: &[&str]| {
            let done = Command::new(program)
                .args(arguments)
                .current_dir(&folder)
                .output()
                .expect(program);
            assert!(
                done.status.success(),
                "{program}: {}",
                String::from_utf8_lossy(&done.stderr)
            );
        };
        run("npm", &["pack", "--silent", PACKAGE]);
        run("tar", &["xzf", "axe-core-4.14.1.tgz"]);
    }
    let source = std::fs::read(&file).expect("the script");
    assert_eq!(
        storage::hex(digest(&SHA256, &source).as_ref()),
        HASH,
        "{}",
        file.display()
    );
    String::from_utf8(source).expect("UTF-8")
});

/// Returns a script that runs axe on the page and returns its findings.
pub fn script() -> String {
    format!("{};{RUN}", *SOURCE)
}
