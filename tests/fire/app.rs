//! A Fire TV app in its own JVM: `App.java` with the client, compiled once for all tests.

use serde_json::Value;
use std::io::{BufRead as _, BufReader, Write as _};
use std::path::{Path, PathBuf};
use std::process::{ChildStdin, Command, Stdio};
use std::sync::OnceLock;
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;
use system_tests::folder::Folder;
use system_tests::reaper::Watched;

pub const CLIENT: &str = concat!(
    env!("CARGO_MANIFEST_DIR"),
    "/../clients/fire/SettleClient.java"
);
const APP: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/fire/App.java");

/// Arguments of a shell that limits each file to 128 blocks: 64 or 128 KiB, depending on the shell.
const SMALL_DISK: [&str; 4] = ["-c", "ulimit -S -f 128; exec \"$@\"", "sh", "java"];

/// Maximum duration of a command on a busy machine.
const PATIENCE: Duration = Duration::from_secs(180);

/// Compiles `App.java` and the client once, and returns the folder of the classes.
pub fn classes() -> &'static Path {
    static CLASSES: OnceLock<PathBuf> = OnceLock::new();
    CLASSES.get_or_init(|| {
        let folder = Folder::of_process("classes");
        let mut command = Command::new("javac");
        command.args(["--release", "8", "-encoding", "UTF-8", "-Werror"]);
        command.args([
            "-Xlint:unchecked,rawtypes,deprecation,serial,fallthrough,try",
            "-Xlint:-options",
            "-d",
        ]);
        let compiled = command
            .arg(&folder)
            .args([CLIENT, APP])
            .output()
            .expect("javac of openjdk-17-jdk-headless");
        assert!(
            compiled.status.success(),
            "{}",
            String::from_utf8_lossy(&compiled.stderr)
        );
        folder
    })
}

/// Adds the arguments of an app to a command.
fn java(mut command: Command, address: [&str; 2], folder: &Path, more: &[&str]) -> Command {
    command
        .args(["-XX:-UsePerfData", "-XX:TieredStopAtLevel=1", "-cp"])
        .arg(classes())
        .arg("App");
    command.args(address).arg(folder).args(more);
    command
}

/// A running app.
pub struct App {
    process: Watched,
    commands: ChildStdin,
    answers: Receiver<String>,
}

impl App {
    /// Starts the app with a client that uses this folder.
    pub fn start(url: &str, key: &str, folder: &Path) -> Self {
        Self::with(url, key, folder, &["1000"])
    }

    /// Like [`App::start`]; `more` contains the maximum length of the queue, then the receipts on the device.
    pub fn with(url: &str, key: &str, folder: &Path, more: &[&str]) -> Self {
        Self::spawn(&mut java(Command::new("java"), [url, key], folder, more)).started()
    }

    /// Like [`App::start`], with a time limit for each request.
    pub fn with_limit(url: &str, folder: &Path, limit: Duration) -> Self {
        let mut command = Command::new("java");
        command.arg(format!("-DrequestTimeout={}", limit.as_millis()));
        Self::spawn(&mut java(command, [url, "pk_test"], folder, &["1000"])).started()
    }

    /// Returns whether a client in another process is refused this folder.
    pub fn is_refused(url: &str, folder: &Path) -> bool {
        let app = Self::spawn(&mut java(
            Command::new("java"),
            [url, "pk_test"],
            folder,
            &["1000"],
        ));
        app.answer("start") == "refused"
    }

    /// Like [`App::start`], with a limit on the size of files: a write beyond it fails like on a full disk.
    pub fn without_room(url: &str, key: &str, folder: &Path) -> Self {
        let mut shell = Command::new("sh");
        shell.args(SMALL_DISK);
        Self::spawn(&mut java(shell, [url, key], folder, &["1000"])).started()
    }

    /// Like [`App::without_room`], with every write and sync recorded in the file `trace`, even after
    /// [`App::free_disk`].
    pub fn traced_without_room(url: &str, folder: &Path, trace: &Path) -> Self {
        let mut strace = Command::new("strace");
        strace
            .args([
                "-D",
                "-f",
                "-y",
                "--seccomp-bpf",
                "-e",
                "trace=write,fsync",
                "-o",
            ])
            .arg(trace)
            .arg("sh");
        strace.args(SMALL_DISK);
        Self::spawn(&mut java(strace, [url, "pk_test"], folder, &["1000"])).started()
    }

    /// Lifts the limit of [`App::without_room`].
    pub fn free_disk(&self) {
        let process = self.process.id().to_string();
        let freed = Command::new("prlimit")
            .args(["--pid", &process, "--fsize=unlimited"])
            .status();
        assert!(freed.is_ok_and(|status| status.success()), "prlimit");
    }

    fn spawn(command: &mut Command) -> Self {
        command.stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut process = Watched::spawn(command).expect("java of openjdk-17-jdk-headless");
        let (commands, printed) = process.pipes().expect("its pipes");
        let (lines, answers) = channel();
        std::thread::spawn(move || {
            let all = BufReader::new(printed).lines().map_while(Result::ok);
            all.take_while(|line| lines.send(line.clone()).is_ok())
                .for_each(drop);
        });
        Self {
            process,
            commands,
            answers,
        }
    }

    fn started(self) -> Self {
        assert_eq!(self.answer("start"), "started");
        self
    }

    /// Executes a command of `App.java`, and returns its answer.
    pub fn run(&mut self, command: &str) -> Value {
        self.send(command);
        self.answer(command)
    }

    /// Begins a command; [`App::answered`] returns its answer.
    pub fn send(&mut self, command: &str) {
        writeln!(self.commands, "{command}").expect("the app reads");
    }

    /// Returns the next answer, in the order of the commands, if it has arrived.
    pub fn answered(&self) -> Option<Value> {
        self.answers
            .try_recv()
            .ok()
            .map(|line| serde_json::from_str(&line).expect("JSON"))
    }

    fn answer(&self, command: &str) -> Value {
        let line = self
            .answers
            .recv_timeout(PATIENCE)
            .unwrap_or_else(|error| panic!("{command}: {error}"));
        serde_json::from_str(&line).unwrap_or_else(|error| panic!("{command}: {error}: {line}"))
    }

    /// Kills the app (SIGKILL).
    pub fn kill(mut self) {
        self.process.kill();
    }
}
