//! The services of the compose file as processes of this machine: the same programs, commands, variables and health
//! checks, with `127.0.0.1` in place of every host name and a free port in place of every port.

use crate::door::Door;
use crate::image::{self, Image};
use crate::tools::Tools;
use std::collections::BTreeMap;
use std::fs::File;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;
use system_tests::compose::{Compose, Condition, Service, Texts};
use system_tests::folder::Folder;
use system_tests::reaper::Watched;
use system_tests::{ports, postgres, wait};
use tokio::time::Instant;

/// Time limit for a service to become healthy, or to finish its task.
const READY: Duration = Duration::from_secs(180);

/// Services that are not started, with the reason.
pub const LEFT_OUT: &[(&str, &str)] = &[("temporal-ui", "only people use it")];

/// Variables that name a host, and the variables that name its port.
const HOSTS: &[(&str, &str)] = &[("POSTGRES_SEEDS", "DB_PORT"), ("SQL_HOST", "SQL_PORT")];

/// The Temporal Server's service and the port for its clients, which connect through a [`Door`].
pub const TEMPORAL: (&str, u16) = ("temporal", 7233);

pub struct Fleet {
    compose: Compose,
    tools: Tools,
    door: Door,
    ports: BTreeMap<(String, u16), u16>,
    running: BTreeMap<String, Watched>,
    /// The image of settle's services; `None` for the program under test.
    image: Option<Image>,
    /// Variables of settle's services that the compose file lacks.
    added: Texts,
    folder: Folder,
}

impl Fleet {
    /// Returns the services of a compose file, none of which runs yet.
    pub async fn new(compose: Compose, added: Texts, folder: Folder) -> Self {
        let server = compose.services[TEMPORAL.0]
            .image
            .rsplit_once(':')
            .expect("an image with a tag")
            .1;
        let tools =
            Tools::find(server, folder.path()).unwrap_or_else(|missing| panic!("{missing:#}"));
        let named = std::env::var("SETTLE_TEST_IMAGE").ok();
        let image = named.map(|name| {
            Image::open(&name, folder.path()).unwrap_or_else(|error| panic!("{error:#}"))
        });
        let door = Door::open().await.expect("a port for the door");
        let (ports, running) = (BTreeMap::new(), BTreeMap::new());
        Self {
            compose,
            tools,
            door,
            ports,
            running,
            image,
            added,
            folder,
        }
    }

    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// Starts all services in order of their dependencies, and waits for the end of those that are tasks.
    pub async fn start_all(&mut self) {
        for name in self.compose.in_order() {
            if let Some((_, reason)) = LEFT_OUT.iter().find(|(left_out, _)| *left_out == name) {
                println!("{name} is not started: {reason}");
                continue;
            }
            let began = Instant::now();
            self.start(&name);
            if self.is_task(&name) {
                self.wait_end(&name, READY).await;
                println!("{name} did its work in {:.1?}", began.elapsed());
            } else {
                self.wait_healthy(&name).await;
                println!("{name} is healthy after {:.1?}", began.elapsed());
            }
        }
    }

    /// Adds a service with another one's settings and its own ports, and starts it.
    pub async fn join(&mut self, name: &str, other: &str) {
        let service = self.compose.services[other].clone();
        self.compose.services.insert(name.to_owned(), service);
        self.start(name);
        self.wait_healthy(name).await;
    }

    /// Stops a service, restarts it, and waits until it is healthy.
    pub async fn restart(&mut self, name: &str) {
        let stopped = self.stop(name).await;
        let began = Instant::now();
        self.start(name);
        self.wait_healthy(name).await;
        println!(
            "{name}: stopped in {stopped:.1?}, healthy {:.1?} after its start",
            began.elapsed()
        );
    }

    /// Stops a service like a container engine, and waits for its end, which must come within its grace period. Returns
    /// how long it took.
    pub async fn stop(&mut self, name: &str) -> Duration {
        let service = &self.compose.services[name];
        let at_most = service
            .stop_grace_period
            .as_deref()
            .map_or(Duration::from_secs(10), duration);
        // PostgreSQL's image declares the signal for its fast shutdown.
        let signal = if service.image_name() == "postgres" {
            "INT"
        } else {
            "TERM"
        };
        let began = Instant::now();
        let process = &self.running[name];
        if self.is_contained(service) {
            image::signal(process.id(), signal)
        } else {
            process.signal(signal)
        }
        self.wait_end(name, at_most).await;
        began.elapsed()
    }

    /// Starts a service without waiting for it.
    pub fn start(&mut self, name: &str) {
        let service = self.compose.services[name].clone();
        let log = File::options()
            .create(true)
            .append(true)
            .open(self.log_file(name))
            .expect("a log");
        let mut command = if service.image_name() == "postgres" {
            self.postgres(name, &service)
        } else {
            let line = self.line(name, &service);
            self.command(name, &service, &line)
        };
        command
            .stdin(Stdio::null())
            .stdout(log.try_clone().expect("the log"))
            .stderr(log);
        self.running.insert(
            name.to_owned(),
            Watched::spawn(&mut command).expect("the program starts"),
        );
        if service.image == self.compose.services[TEMPORAL.0].image {
            let port = self.port(name, TEMPORAL.1);
            self.door.lead_to(port);
        }
    }

    /// Returns the port of this machine that corresponds to a service's port.
    pub fn port(&mut self, service: &str, port: u16) -> u16 {
        *self
            .ports
            .entry((service.to_owned(), port))
            .or_insert_with(ports::free)
    }

    /// Returns the URL of a database in a PostgreSQL of the compose file.
    pub fn database(&mut self, service: &str, name: &str) -> String {
        let variables = &self.compose.services[service].environment;
        let (user, password) = (
            variables["POSTGRES_USER"].clone(),
            variables["POSTGRES_PASSWORD"].clone(),
        );
        format!(
            "postgres://{user}:{password}@127.0.0.1:{}/{name}",
            self.port(service, 5432)
        )
    }

    /// Returns a service's output so far.
    pub fn log(&self, name: &str) -> String {
        std::fs::read_to_string(self.log_file(name)).unwrap_or_default()
    }

    /// Runs settle on this machine with these variables, and returns its output.
    pub fn settle(&self, arguments: &[&str], variables: &[(&str, &str)]) -> std::process::Output {
        let mut command = Command::new(&self.tools.settle);
        command
            .args(arguments)
            .env_clear()
            .envs(variables.iter().copied())
            .current_dir(self.folder());
        command.output().expect("settle starts")
    }

    /// Returns whether a service is a task, which ends when its work is done.
    fn is_task(&self, name: &str) -> bool {
        let services = self.compose.services.values();
        let conditions = services
            .filter_map(|service| service.depends_on.get(name))
            .map(|one| one.condition);
        conditions
            .into_iter()
            .any(|condition| condition == Condition::ServiceCompletedSuccessfully)
    }

    async fn wait_end(&mut self, name: &str, at_most: Duration) {
        let log = self.log_file(name);
        let process = self.running.get_mut(name).expect("a started service");
        let what = format!("the end of {name}");
        let status = wait::until(at_most, &what, async || {
            process.exit_status().ok_or_else(|| "it runs".to_owned())
        })
        .await;
        let printed = std::fs::read_to_string(&log).unwrap_or_default();
        assert!(status.success(), "{name} ended with {status}:\n{printed}");
        self.running.remove(name);
    }

    async fn wait_healthy(&mut self, name: &str) {
        let service = self.compose.services[name].clone();
        if service.image_name() == "postgres" {
            self.create_database(name, &service).await;
        }
        let line = self.probe(name, &service);
        wait::until(READY, &format!("the health of {name}"), async || {
            if let Some(status) = self.running.get_mut(name).and_then(Watched::exit_status) {
                panic!("{name} ended with {status}:\n{}", self.log(name));
            }
            let output = self
                .command(name, &service, &line)
                .output()
                .expect("the health check starts");
            let why = || {
                format!(
                    "{}\n{}",
                    String::from_utf8_lossy(&output.stderr),
                    self.log(name)
                )
            };
            if output.status.success() {
                Ok(())
            } else {
                Err(why())
            }
        })
        .await;
        if self.is_contained(&service) {
            image::check(self.running[name].id(), &service);
        }
    }

    /// Returns whether a service runs in a container.
    fn is_contained(&self, service: &Service) -> bool {
        self.image.is_some() && service.image_name() == "settle"
    }

    /// Returns the health check of a service. Numbers in it are ports.
    fn probe(&mut self, name: &str, service: &Service) -> Vec<String> {
        let parts = service.probe().to_vec();
        let localized = parts.into_iter().map(|part| match part.parse() {
            Ok(port) => self.port(name, port).to_string(),
            Err(_) => self.localized(name, &part),
        });
        localized.collect()
    }

    /// Returns the complete command of a service: the image's entry point, with the compose file's arguments.
    fn line(&mut self, name: &str, service: &Service) -> Vec<String> {
        let program: &[&str] = match service.image_name() {
            // The image's script ends with this command.
            "temporalio/server" => &["temporal-server", "start"],
            "settle" => &["/usr/local/bin/settle"],
            _ => &[],
        };
        let parts = program
            .iter()
            .map(|part| (*part).to_owned())
            .chain(service.command.clone());
        parts
            .collect::<Vec<_>>()
            .into_iter()
            .map(|part| self.localized(name, &part))
            .collect()
    }

    /// Returns a command with a service's variables, as its user if the tests run as root.
    fn command(&mut self, name: &str, service: &Service, line: &[String]) -> Command {
        let own = service.environment.iter();
        let mut variables: Texts = own
            .map(|(key, value)| (key.clone(), self.variable(name, service, key, value)))
            .collect();
        let is_settle = service.image_name() == "settle";
        if is_settle {
            variables.extend(self.added.clone());
        }
        if let Some(image) = self.image.as_ref().filter(|_| is_settle) {
            return image.command(service, line, &variables);
        }
        let mut command = Command::new(&line[0]);
        command.args(&line[1..]).env_clear().current_dir("/");
        let path = format!(
            "{}:/usr/local/bin:/usr/bin:/bin",
            self.tools.folder.display()
        );
        command
            .env("PATH", path)
            .env("HOME", self.folder())
            .envs(variables);
        if let Some((user, group)) = service
            .user
            .split_once(':')
            .filter(|_| is_settle && postgres::is_root())
        {
            command
                .uid(user.parse().expect("a user's id"))
                .gid(group.parse().expect("a group's id"));
        }
        command
    }

    /// Returns the value of a variable on this machine.
    fn variable(&mut self, name: &str, service: &Service, variable: &str, value: &str) -> String {
        if HOSTS.iter().any(|(host, _)| *host == variable) {
            return "127.0.0.1".to_owned();
        }
        let Some(port) = value.parse().ok().filter(|_| variable.ends_with("_PORT")) else {
            return self.localized(name, value);
        };
        let host = HOSTS
            .iter()
            .find(|(_, port)| *port == variable)
            .map(|(host, _)| *host);
        let of = host.map_or(name, |host| service.environment[host].as_str());
        self.port(of, port).to_string()
    }

    /// Returns a service's text with the addresses and paths of this machine.
    fn localized(&mut self, name: &str, text: &str) -> String {
        let mut text = match &self.image {
            Some(_) => text.to_owned(),
            None => text.replace(
                "/usr/local/bin/settle",
                &self.tools.settle.display().to_string(),
            ),
        };
        text = text.replace(
            "/etc/temporal/schema",
            &self.tools.schema.display().to_string(),
        );
        // Addresses of this machine come first, so that none is replaced twice.
        let own = ["127.0.0.1", "0.0.0.0"].map(str::to_owned);
        let hosts: Vec<String> = own
            .into_iter()
            .chain(self.compose.services.keys().cloned())
            .collect();
        for host in hosts {
            let mut done = String::new();
            while let Some((before, port, after)) = address(&text, &host) {
                let of = if self.compose.services.contains_key(&host) {
                    host.as_str()
                } else {
                    name
                };
                let is_door = (of, port) == TEMPORAL && of != name;
                let local = if is_door {
                    self.door.port()
                } else {
                    self.port(of, port)
                };
                done.push_str(&format!("{before}127.0.0.1:{local}"));
                text = after;
            }
            text = done + &text;
        }
        if text == "0.0.0.0" {
            "127.0.0.1".to_owned()
        } else {
            text
        }
    }

    /// Returns a command that starts PostgreSQL like its image: the first time with a new cluster for this user and
    /// password.
    fn postgres(&mut self, name: &str, service: &Service) -> Command {
        let data = self.folder().join(name);
        let user = &service.environment["POSTGRES_USER"];
        if !data.exists() {
            self.initialize(&data, user, &service.environment["POSTGRES_PASSWORD"]);
        }
        let mut command = postgres::unprivileged(&self.tools.postgres.join("postgres"));
        command
            .arg("-D")
            .arg(data.join("cluster"))
            .arg("-k")
            .arg(&data);
        command.args(["-h", "127.0.0.1", "-p", &self.port(name, 5432).to_string()]);
        command.args(service.command.iter().skip(1));
        command
    }

    fn initialize(&self, data: &Path, user: &str, password: &str) {
        std::fs::create_dir(data).expect("a folder for the data");
        let secret = data.join("password");
        std::fs::write(&secret, password).expect("a file with the password");
        if postgres::is_root() {
            std::os::unix::fs::chown(data, Some(postgres::NOBODY), Some(postgres::NOBODY))
                .expect("an owner");
        }
        let mut init = postgres::unprivileged(&self.tools.postgres.join("initdb"));
        init.args([
            "--auth-local=trust",
            "--auth-host=scram-sha-256",
            "--encoding=UTF8",
            "--no-locale",
            "--username",
        ]);
        init.arg(user)
            .arg("--pwfile")
            .arg(&secret)
            .arg("--pgdata")
            .arg(data.join("cluster"));
        let output = init.output().expect("initdb starts");
        assert!(
            output.status.success(),
            "initdb: {}",
            String::from_utf8_lossy(&output.stderr)
        );
    }

    /// Creates the database of a PostgreSQL service, unless it exists.
    async fn create_database(&mut self, name: &str, service: &Service) {
        let (server, wanted) = (
            self.database(name, "postgres"),
            service.environment["POSTGRES_DB"].clone(),
        );
        wait::until(
            READY,
            &format!("the database of {name}"),
            async || match postgres::execute(&server, &format!("CREATE DATABASE {wanted}")) {
                Err(error) if !error.to_string().contains("already exists") => {
                    Err(format!("{error:#}"))
                }
                _ => Ok(()),
            },
        )
        .await;
    }

    fn log_file(&self, name: &str) -> PathBuf {
        self.folder().join(format!("{name}.log"))
    }
}

impl Drop for Fleet {
    fn drop(&mut self) {
        if std::thread::panicking() {
            for name in self.running.keys() {
                let log = self.log(name);
                let last: Vec<&str> = log.lines().rev().take(20).collect();
                eprintln!(
                    "--- the last lines of {name}:\n{}",
                    last.into_iter().rev().collect::<Vec<_>>().join("\n")
                );
            }
        }
    }
}

/// Returns the first address of a host in a text, as the text before it, its port, and the text after it.
fn address(text: &str, host: &str) -> Option<(String, u16, String)> {
    let is_name = |letter: char| letter.is_alphanumeric() || letter == '-' || letter == '.';
    text.match_indices(host).find_map(|(at, _)| {
        let (before, after) = (&text[..at], text[at + host.len()..].strip_prefix(':')?);
        let digits = after
            .find(|letter: char| !letter.is_ascii_digit())
            .unwrap_or(after.len());
        let port = after[..digits]
            .parse()
            .ok()
            .filter(|_| !before.ends_with(is_name))?;
        Some((before.to_owned(), port, after[digits..].to_owned()))
    })
}

/// Parses a duration of the compose file, in seconds.
fn duration(text: &str) -> Duration {
    let seconds = text
        .strip_suffix('s')
        .and_then(|seconds| seconds.parse().ok());
    Duration::from_secs(seconds.unwrap_or_else(|| panic!("`{text}` is no number of seconds")))
}
