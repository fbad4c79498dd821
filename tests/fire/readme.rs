//! The examples in the client's README are compiled, in Java and Kotlin, against stubs of the Android classes that they
//! use, and the app in the first one is started.

use super::app::classes;
use std::path::{Path, PathBuf};
use std::process::Command;
use system_tests::folder::Folder;

const README: &str = include_str!("../../clients/fire/README.md");

/// Stubs of the Android and Kotlin classes used by the examples, by path.
const ANDROID: [(&str, &str); 6] = [
    (
        "android/app/Application.java",
        "public class Application {
            public static final String ACTIVITY_SERVICE = \"activity\";
            public void onCreate() {}
            public java.io.File getNoBackupFilesDir() { return null; }
            public Object getSystemService(String name) { return new ActivityManager(); }
            public android.content.pm.ApplicationInfo getApplicationInfo() { return null; }
        }",
    ),
    (
        "android/app/ActivityManager.java",
        "public class ActivityManager {
            public java.util.List<RunningAppProcessInfo> getRunningAppProcesses() { return null; }
            public static class RunningAppProcessInfo { public int pid; public String processName; }
        }",
    ),
    (
        "android/content/pm/ApplicationInfo.java",
        "public class ApplicationInfo { public String processName; }",
    ),
    (
        "android/os/Build.java",
        "public class Build { public static class VERSION { public static final String RELEASE = null; } }",
    ),
    (
        "android/os/Process.java",
        "public class Process { public static int myPid() { return 1; } }",
    ),
    (
        "android/util/Log.java",
        "public class Log { public static int e(String tag, String message) { return 0; } }",
    ),
];
const IMPORTS: &str =
    "import android.app.*; import android.os.Build; import android.os.Process; import android.util.Log;
    import java.io.File; import java.util.*; import settle.SettleClient;";
/// An app in which Android returns no list of processes.
const MAIN: &str = "class Main {
    public static void main(String[] none) {
        new RadioApplication().onCreate();
        if (RadioApplication.settle != null) { throw new AssertionError(\"a client in an unknown process\"); }
    }
}";
/// Prices as the store shows them, and the decimals that the example extracts.
const PRICES: &str = "
    public static void main(String[] none) {
        String[][] all = {
            {\"1.299,00 \\u20ac\", \"DE\", \"1299.00\"}, {\"8,99\\u00a0\\u20ac\", \"DE\", \"8.99\"}, {\"$9.99\", \"US\", \"9.99\"},
            {\"$1,299\", \"US\", \"1299\"}, {\"\\uffe51,200\", \"JP\", \"1200\"}, {\"Rs. 99.00\", \"IN\", \"99.00\"},
            {\"1 299,00 kr.\", \"SE\", \"1299.00\"}, {\"free\", \"US\", null},
        };
        for (String[] one : all) {
            String found = decimal(one[0], Currency.getInstance(new Locale(\"\", one[1])));
            if (!Objects.equals(found, one[2])) { throw new AssertionError(one[0] + \": \" + found); }
        }
    }";
const COROUTINES: &str = "import settle.SettleClient
    object Dispatchers { val IO = Any() }
    suspend fun <T> withContext(context: Any, block: suspend () -> T): T { check(context != block); return block() }";

/// Returns the README's examples in a language.
fn examples(language: &str) -> Vec<&'static str> {
    let parts = README.split("\n```").collect::<Vec<_>>();
    parts
        .iter()
        .filter_map(|part| part.strip_prefix(language)?.strip_prefix('\n'))
        .collect()
}

fn write(folder: &Path, name: &str, text: &str) -> PathBuf {
    let path = folder.join(name);
    std::fs::create_dir_all(path.parent().expect("a folder")).expect("a folder");
    std::fs::write(&path, text).expect("a file");
    path
}

/// Compiles files with this compiler and the client's classes.
fn compile(compiler: &mut Command, folder: &Path, files: &[PathBuf]) {
    let command = compiler
        .arg("-cp")
        .arg(classes())
        .arg("-d")
        .arg(folder.join("out"))
        .args(files);
    let compiled = command.output().expect("a compiler");
    assert!(
        compiled.status.success(),
        "{}",
        String::from_utf8_lossy(&compiled.stderr)
    );
}

#[test]
fn the_java_of_the_readme_compiles() {
    let folder = Folder::new("java");
    let [start, report, price] = examples("java").try_into().expect("three examples");
    let use_of = "class BuildConfig { static final String VERSION_NAME = null; } class Use { void run(SettleClient settle) {";
    let mut files: Vec<PathBuf> = ANDROID
        .iter()
        .map(|(name, class)| {
            let package = name.rsplit_once('/').expect("a folder").0.replace('/', ".");
            write(folder.path(), name, &format!("package {package}; {class}"))
        })
        .collect();
    files.push(write(
        folder.path(),
        "RadioApplication.java",
        &format!("{IMPORTS} {start}"),
    ));
    files.push(write(folder.path(), "Main.java", MAIN));
    files.push(write(
        folder.path(),
        "Price.java",
        &format!("{IMPORTS} import java.math.*; class Price {{ {price} {PRICES} }}"),
    ));
    files.push(write(
        folder.path(),
        "Use.java",
        &format!("{IMPORTS} {use_of} {report} }} }}"),
    ));
    compile(
        Command::new("javac").args(["--release", "8", "-Xlint:-options", "-encoding", "UTF-8"]),
        folder.path(),
        &files,
    );
    let all = format!(
        "{}:{}",
        classes().display(),
        folder.path().join("out").display()
    );
    for class in ["Main", "Price"] {
        let ran = Command::new("java")
            .args(["-cp", &all, class])
            .output()
            .expect("java");
        assert!(
            ran.status.success(),
            "{}",
            String::from_utf8_lossy(&ran.stderr)
        );
    }
}

#[test]
fn the_kotlin_of_the_readme_compiles() {
    let folder = Folder::new("kotlin");
    let [login] = examples("kotlin").try_into().expect("one example");
    let text = format!(
        "{COROUTINES}\nsuspend fun use(settle: SettleClient): Boolean {{\n{login}\nreturn entitlements.isCurrent }}"
    );
    let file = write(folder.path(), "Use.kt", &text);
    compile(&mut Command::new("kotlinc"), folder.path(), &[file]);
}
