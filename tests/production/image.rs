//! settle's processes in containers of its image, which `buildah run` starts without an engine: with the user,
//! capabilities and privileges of the compose file, and a read-only root. Needs root.
//!
//! [`.ci/image`](../../.ci/image) builds the image, and configures buildah with variables.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::Command;
use system_tests::compose::{Service, Texts};

/// Variables of this machine that are passed to buildah.
const OWN: &[&str] = &[
    "BUILDAH_ISOLATION",
    "CONTAINERS_STORAGE_CONF",
    "HOME",
    "PATH",
];

/// Files that buildah mounts, and which it could not create in a read-only root.
const MOUNTED: &[&str] = &["etc/hostname", "etc/hosts", "etc/resolv.conf"];

/// Runs the command `$@` while the folder `$0` is read-only. buildah needs its own file in `/run`, where only root can
/// write.
const READ_ONLY: &str = r#"
mount --bind "$0" "$0" && mount -o remount,ro,bind "$0" && mount -t tmpfs -o mode=755 run "$0/run" && exec "$@"
"#;

/// Prints the last process in the chain of children that begins with `$0`.
const LAST: &str = r#"last=$0; while next=$(pgrep -P "$last"); do last=$next; done; echo "$last""#;

/// A container in which all of settle's processes run.
pub struct Image {
    container: String,
    root: PathBuf,
    /// The only folder of this machine that the processes see, read-only.
    folder: PathBuf,
}

impl Image {
    /// Creates a container from the image with this name.
    ///
    /// # Errors
    /// When buildah or the image is missing.
    pub fn open(name: &str, folder: &Path) -> anyhow::Result<Self> {
        let container = buildah(&["from", "--pull-never", name])?;
        let root = PathBuf::from(buildah(&["mount", &container])?);
        let opened = Self {
            container,
            root,
            folder: folder.to_owned(),
        };
        std::fs::create_dir_all(opened.root.join(folder.strip_prefix("/")?))?;
        for file in MOUNTED {
            File::options()
                .create(true)
                .append(true)
                .open(opened.root.join(file))?;
        }
        println!("settle is the image {name}");
        Ok(opened)
    }

    /// Returns a command that runs a service's command with these variables. All its processes end with the first one.
    pub fn command(&self, service: &Service, line: &[String], variables: &Texts) -> Command {
        let mut command = Command::new("unshare");
        command.args(["--mount", "--pid", "--fork", "--kill-child", "--mount-proc"]);
        command
            .args(["setpriv", "--no-new-privs", "sh", "-c", READ_ONLY])
            .arg(&self.root);
        command.args([
            "buildah",
            "run",
            "--network",
            "host",
            "--cap-drop",
            "all",
            "--user",
            &service.user,
        ]);
        command
            .arg("--volume")
            .arg(format!("{0}:{0}:ro", self.folder.display()));
        command.args(
            variables
                .iter()
                .map(|(name, value)| format!("--env={name}={value}")),
        );
        command.arg(&self.container).arg("--").args(line);
        let own = OWN
            .iter()
            .filter_map(|name| std::env::var_os(name).map(|value| (name, value)));
        // The folder in which buildah leaves an empty folder if it is killed.
        command
            .env_clear()
            .envs(own)
            .env("TMPDIR", &self.folder)
            .current_dir("/");
        command
    }
}

impl Drop for Image {
    fn drop(&mut self) {
        if let Err(error) = buildah(&["rm", &self.container]) {
            eprintln!("the container stays: {error:#}");
        }
    }
}

/// Sends a signal to the program in a container directly: sent to buildah, it would kill the program.
///
/// # Panics
/// When the program is gone.
pub fn signal(container: u32, name: &str) {
    let sent = Command::new("kill")
        .args(["-s", name, &program(container).to_string()])
        .status();
    assert!(
        sent.is_ok_and(|status| status.success()),
        "the program takes no signal {name}"
    );
}

/// Checks that the program in a container has no more privileges than its service.
///
/// # Panics
/// When it has.
pub fn check(container: u32, service: &Service) {
    let process = program(container);
    let [status, mounts] = ["status", "mountinfo"].map(|file| {
        std::fs::read_to_string(format!("/proc/{process}/{file}")).expect("a running program")
    });
    let (user, group) = service.user.split_once(':').expect("a user and a group");
    let four = |id: &str| [id; 4].join("\t");
    let wanted = [
        format!("Uid:\t{}", four(user)),
        format!("Gid:\t{}", four(group)),
        "CapEff:\t0000000000000000".to_owned(),
        "NoNewPrivs:\t1".to_owned(),
    ];
    let is_held = |line: &String| status.lines().any(|found| found == line);
    assert!(wanted.iter().all(is_held), "{wanted:?} of\n{status}");
    let root = mounts
        .lines()
        .find(|mount| mount.split(' ').nth(4) == Some("/"))
        .expect("a root");
    let options = root.split(' ').nth(5).expect("its options");
    assert!(
        options.split(',').any(|option| option == "ro"),
        "the root can be written: {root}"
    );
}

/// Returns the process id of the program in a container.
fn program(container: u32) -> u32 {
    let output = Command::new("sh")
        .args(["-c", LAST, &container.to_string()])
        .output()
        .expect("sh starts");
    let last = String::from_utf8_lossy(&output.stdout)
        .trim()
        .parse()
        .expect("the id of a process");
    assert_ne!(last, container, "pgrep finds the program");
    last
}

/// Runs buildah, and returns the printed line.
fn buildah(arguments: &[&str]) -> anyhow::Result<String> {
    let output = Command::new("buildah").args(arguments).output()?;
    let errors = String::from_utf8_lossy(&output.stderr);
    anyhow::ensure!(
        output.status.success(),
        "buildah {}: {}",
        arguments.join(" "),
        errors.trim()
    );
    Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned())
}
