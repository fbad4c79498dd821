//! Checks the compose file and the Dockerfile as data: exact images, valid commands, known variables, matching ports,
//! and containers with few privileges. `tests/production` runs them.

use crate::cli::{ran, settle, stderr_of};
use std::collections::BTreeSet;
use system_tests::compose::{Compose, Condition, Service, Texts, substituted};
use system_tests::documents;
use system_tests::folder::Folder;

/// Variables that the compose file takes from its environment.
const VARIABLES: &[&str] = &[
    "SETTLE_ADMIN_TOKEN",
    "SETTLE_KEY",
    "SETTLE_POSTGRES_PASSWORD",
    "SETTLE_PUBLIC_URL",
    "TEMPORAL_POSTGRES_PASSWORD",
];
/// OpenTelemetry variables, which the file passes on to settle if they are set.
const TRACES: &[&str] = &[
    "OTEL_EXPORTER_OTLP_ENDPOINT",
    "OTEL_EXPORTER_OTLP_HEADERS",
    "OTEL_RESOURCE_ATTRIBUTES",
    "OTEL_TRACES_SAMPLER",
    "OTEL_TRACES_SAMPLER_ARG",
];
/// Settings that the file does not pass on: it sets them itself, or they concern `settle run` only.
const OWN: &[&str] = &[
    "SETTLE_ADMIN_LISTEN",
    "SETTLE_ADMIN_ON_LISTEN",
    "SETTLE_DATA",
    "SETTLE_DATABASE",
    "SETTLE_LISTEN",
    "SETTLE_TEMPORAL_CLI",
];
/// Defaults in the file. Other unset variables are passed on empty, which counts as absent.
const DEFAULTS: &[(&str, &str)] = &[
    ("OTEL_TRACES_SAMPLER", "parentbased_always_on"),
    ("SETTLE_LOG_FORMAT", "json"),
];
/// Path of the settings file in a container.
const CONFIG: &str = "/etc/settle/settle.toml";
/// Variables other than settings: for the log, the settings file, and Temporal's clients.
const OTHERS: &[&str] = &[
    "SETTLE_CONFIG",
    "SETTLE_LOG",
    "SETTLE_LOG_FORMAT",
    "TEMPORAL_ADDRESS",
    "TEMPORAL_NAMESPACE",
];
/// The document that describes all settings.
const SETTINGS: &str = "api/src/config/README.md";
/// The document that describes the OpenTelemetry variables.
const TELEMETRY: &str = "api/src/telemetry/README.md";
const IMAGES: &[&str] = &[
    "postgres:17.6",
    "settle:0.3.0",
    "temporalio/admin-tools:1.31.0",
    "temporalio/server:1.31.0",
    "temporalio/ui:2.49.1",
];
/// Existing images, from which the Dockerfile's stages are built.
const BASES: &[&str] = &["rust:1.92.0-bookworm", "debian:12.12-slim"];

fn values() -> Texts {
    let value = |name: &&str| match *name {
        "SETTLE_PUBLIC_URL" => "https://settle.example.com".to_owned(),
        _ => "07".repeat(32),
    };
    VARIABLES
        .iter()
        .map(|name| ((*name).to_owned(), value(name)))
        .collect()
}

fn compose() -> Compose {
    Compose::read(&values()).unwrap_or_else(|error| panic!("{error:#}"))
}

/// Returns settle's services, by name.
fn ours(compose: &Compose) -> Vec<(&String, &Service)> {
    let ours: Vec<_> = compose
        .services
        .iter()
        .filter(|(_, service)| service.image_name() == "settle")
        .collect();
    assert_eq!(ours.len(), 5, "migrate, two serve and two worker");
    ours
}

fn dockerfile() -> String {
    std::fs::read_to_string(documents::root().join("api/Dockerfile")).expect("the Dockerfile")
}

/// Returns the arguments of the Dockerfile's instructions with this name.
fn instructions(name: &str) -> Vec<String> {
    let text = dockerfile();
    let found = text
        .lines()
        .filter_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
    found.map(str::to_owned).collect()
}

#[test]
fn every_image_has_an_exact_tag() {
    let compose = compose();
    let used: BTreeSet<&str> = compose
        .services
        .values()
        .map(|service| service.image.as_str())
        .collect();
    assert_eq!(used.into_iter().collect::<Vec<_>>(), IMAGES);
    let version = format!("settle:{}", env!("CARGO_PKG_VERSION"));
    assert!(
        IMAGES.contains(&version.as_str()),
        "the image is tagged with another version than {version}"
    );
    let bases: Vec<String> = instructions("FROM")
        .iter()
        .map(|base| base.split(' ').next().unwrap_or_default().to_owned())
        .collect();
    assert_eq!(bases, BASES);
}

#[test]
fn every_command_is_one_that_settle_takes() {
    let folder = Folder::new("compose");
    for (name, service) in ours(&compose()) {
        let arguments: Vec<&str> = service
            .command
            .iter()
            .map(String::as_str)
            .chain(["--help"])
            .collect();
        let output = ran(&folder, &arguments);
        assert!(output.status.success(), "{name}: {}", stderr_of(&output));
        // `--help` hides a wrong flag after it, but not one before it, so the last argument of a command is checked
        // separately.
        let known = String::from_utf8_lossy(&output.stdout).into_owned();
        let flags = service
            .command
            .iter()
            .filter(|argument| argument.starts_with("--"));
        flags.for_each(|flag| assert!(known.contains(flag.as_str()), "{name}: {flag}"));
    }
}

#[test]
fn every_variable_is_known_and_is_read() {
    let settings = documents::settings();
    let telemetry = std::fs::read_to_string(documents::root().join(TELEMETRY)).expect("the page");
    for (name, service) in ours(&compose()) {
        for variable in service.environment.keys() {
            let is_of_traces =
                variable.starts_with("OTEL_") && telemetry.contains(&format!("`{variable}`"));
            let is_setting = settings.contains(&format!("\"{variable}\"")) || is_of_traces;
            let is_known = is_setting || OTHERS.contains(&variable.as_str());
            assert!(is_known, "{name}: {variable}");
        }
    }
    for missing in VARIABLES {
        let mut values = values();
        values.remove(*missing);
        let error = Compose::read(&values)
            .expect_err("a variable without a value")
            .to_string();
        assert!(error.contains(missing), "{error}");
    }
}

/// Returns the optional settings in the document about settings, and the OpenTelemetry variables.
fn optional() -> BTreeSet<String> {
    let page = std::fs::read_to_string(documents::root().join(SETTINGS)).expect("the page");
    let names = page.split(|letter: char| !letter.is_ascii_uppercase() && letter != '_');
    let settings = names.filter(|name| name.starts_with("SETTLE_"));
    let all: BTreeSet<String> = settings
        .chain(TRACES.iter().copied())
        .map(str::to_owned)
        .collect();
    for name in OWN {
        assert!(all.contains(*name), "{name} is no setting");
    }
    all.into_iter()
        .filter(|name| !OWN.contains(&name.as_str()) && !VARIABLES.contains(&name.as_str()))
        .collect()
}

#[test]
fn every_setting_of_the_page_reaches_every_process() {
    let (own, optional) = (|name: &str| format!("own {name}"), optional());
    assert!(optional.len() > 30, "{optional:?}");
    let set = optional.iter().map(|name| (name.clone(), own(name)));
    let with = Compose::read(&values().into_iter().chain(set).collect()).expect("the file");
    for ((name, service), (_, without)) in ours(&with).into_iter().zip(ours(&compose())) {
        for variable in &optional {
            let expected = if variable == "SETTLE_CONFIG" {
                CONFIG.to_owned()
            } else {
                own(variable)
            };
            assert_eq!(
                service.environment.get(variable),
                Some(&expected),
                "{name}: {variable}"
            );
            let default = DEFAULTS
                .iter()
                .find(|(with_default, _)| with_default == variable);
            let default = default.map_or("", |(_, default)| default);
            assert_eq!(without.environment[variable], default, "{name}: {variable}");
        }
        assert_eq!(
            service.volumes,
            [format!("{}:{CONFIG}:ro", own("SETTLE_CONFIG"))],
            "{name}"
        );
        assert_eq!(
            without.volumes,
            [format!("/dev/null:{CONFIG}:ro")],
            "{name}"
        );
    }
}

/// Wrong settings are reported before the database is opened, which is the first step that fails here.
#[test]
fn the_settings_are_valid_up_to_the_database() {
    let folder = Folder::new("compose");
    for (name, service) in ours(&compose()) {
        let arguments: Vec<&str> = service.command.iter().map(String::as_str).collect();
        let mut command = settle(&folder, &arguments);
        let mut variables = service.environment.clone();
        let database = variables.get_mut("SETTLE_DATABASE").expect("a database");
        assert!(database.contains("@settle-postgresql:5432/"), "{database}");
        *database = database.replace("settle-postgresql:5432", "127.0.0.1:9");
        let output = command.envs(&variables).output().expect("settle starts");
        let line = stderr_of(&output);
        assert_eq!(output.status.code(), Some(1), "{name}: {line}");
        assert!(
            line.contains("cannot open the PostgreSQL database"),
            "{name}: {line}"
        );
    }
}

#[test]
fn no_process_starts_before_the_tables_are_migrated() {
    let compose = compose();
    for (name, service) in ours(&compose)
        .into_iter()
        .filter(|(name, _)| *name != "migrate")
    {
        let condition = service
            .depends_on
            .get("migrate")
            .map(|before| before.condition);
        assert_eq!(
            condition,
            Some(Condition::ServiceCompletedSuccessfully),
            "{name}"
        );
    }
    assert_eq!(compose.services["migrate"].command, ["migrate"]);
}

#[test]
fn every_port_is_one_that_its_program_listens_on() {
    let compose = compose();
    let mut published = BTreeSet::new();
    for (name, service) in &compose.services {
        let mut listened: Vec<String> = service
            .environment
            .values()
            .chain(&service.command)
            .filter_map(|text| port_of(text, "0.0.0.0"))
            .collect();
        listened.extend(service.environment.get("TEMPORAL_UI_PORT").cloned());
        for port in &service.ports {
            let parts: Vec<&str> = port.split(':').collect();
            assert_eq!(
                (parts.len(), parts[0]),
                (3, "127.0.0.1"),
                "{name}: {port} is for this machine alone"
            );
            assert!(
                listened.iter().any(|listened| listened == parts[2]),
                "{name}: {port}, and not {listened:?}"
            );
            assert!(
                published.insert(parts[1].to_owned()),
                "{name}: {port} is published twice"
            );
        }
        if service.image_name() == "settle" {
            let exposed = instructions("EXPOSE").join(" ");
            listened.iter().for_each(|port| {
                assert!(exposed.split(' ').any(|one| one == port), "{name}: {port}")
            });
        }
    }
    for (name, service) in &compose.services {
        for (host, port) in service
            .environment
            .values()
            .filter_map(|text| text.split_once(':'))
        {
            let Some(other) = compose.services.get(host) else {
                continue;
            };
            let is_listened = other
                .environment
                .iter()
                .any(|(key, value)| key.ends_with("GRPC_PORT") && value == port);
            assert!(is_listened, "{name}: nothing listens on {host}:{port}");
        }
    }
}

/// Returns the port that follows a host in a text.
fn port_of(text: &str, host: &str) -> Option<String> {
    let after = text.split_once(host)?.1.strip_prefix(':')?;
    let digits: String = after.chars().take_while(char::is_ascii_digit).collect();
    Some(digits).filter(|digits| !digits.is_empty())
}

#[test]
fn a_container_of_settle_may_do_little() {
    let image_user = instructions("USER");
    for (name, service) in ours(&compose()) {
        assert!(service.read_only, "{name}: its root can be written");
        assert_eq!(service.cap_drop, ["ALL"], "{name}");
        assert_eq!(service.security_opt, ["no-new-privileges:true"], "{name}");
        assert_eq!(image_user.join(" "), service.user, "{name}");
        assert!(!service.user.starts_with('0'), "{name} is root");
        let is_settings = |volume: &String| volume.ends_with(&format!(":{CONFIG}:ro"));
        assert!(service.volumes.iter().all(is_settings), "{name} has data");
        let build = service.build.as_ref().expect("how it is built");
        assert_eq!(
            (build.context.as_str(), build.dockerfile.as_str()),
            (".", "api/Dockerfile"),
            "{name}"
        );
    }
}

#[test]
fn a_database_is_reached_by_its_own_services_alone() {
    let compose = compose();
    let of = |network: &str| -> Vec<&str> {
        let inside = compose
            .services
            .iter()
            .filter(|(_, one)| one.networks.iter().any(|name| name == network));
        inside.map(|(name, _)| name.as_str()).collect()
    };
    let own = [
        "migrate",
        "serve-a",
        "serve-b",
        "settle-postgresql",
        "worker-a",
        "worker-b",
    ];
    assert_eq!(of("settle-database"), own);
    assert_eq!(
        of("temporal-database"),
        ["temporal", "temporal-postgresql", "temporal-schema"]
    );
    assert!(
        compose.networks.len() == 2 && compose.networks.values().all(|one| one.internal),
        "{:?}",
        compose.networks
    );
    for (name, service) in &compose.services {
        let named = service
            .environment
            .values()
            .flat_map(|text| ["settle", "temporal"].map(|whose| (whose, text)));
        for (whose, _) in
            named.filter(|(whose, text)| text.contains(&format!("{whose}-postgresql")))
        {
            assert!(
                of(&format!("{whose}-database")).contains(&name.as_str()),
                "{name}"
            );
        }
        let is_database = name.ends_with("-postgresql");
        assert_eq!(
            is_database,
            service.networks.len() == 1 && service.image_name() == "postgres",
            "{name}"
        );
    }
}

#[test]
fn the_ui_of_temporal_is_off_by_default() {
    let compose = compose();
    let optional = compose
        .services
        .iter()
        .filter(|(_, service)| !service.profiles.is_empty());
    let optional: Vec<_> = optional
        .map(|(name, service)| (name.as_str(), service.profiles.join(" ")))
        .collect();
    assert_eq!(optional, [("temporal-ui", "ui".to_owned())]);
}

#[test]
fn every_service_that_stays_has_a_health_check_of_its_own_image() {
    let compose = compose();
    let tasks = ["migrate", "temporal-namespace", "temporal-schema"];
    // The UI's image contains no program for a health check.
    let without = ["temporal-ui"];
    let folder = Folder::new("compose");
    for (name, service) in &compose.services {
        if tasks.contains(&name.as_str()) || without.contains(&name.as_str()) {
            assert!(service.healthcheck.is_none(), "{name}");
            continue;
        }
        assert_eq!(service.restart, "unless-stopped", "{name}");
        let probe: Vec<&str> = service.probe().iter().map(String::as_str).collect();
        match service.image_name() {
            "postgres" => assert_eq!(probe[0], "pg_isready", "{name}"),
            "temporalio/server" => assert_eq!(probe[0], "nc", "{name}"),
            "settle" => {
                let (program, arguments) = probe.split_first().expect("a command");
                assert_eq!(
                    instructions("ENTRYPOINT"),
                    [format!("[\"{program}\"]")],
                    "{name}"
                );
                assert!(
                    dockerfile().contains(&format!(" {program}\n")),
                    "{program} is not in the image"
                );
                let port = port_of(arguments[1], "127.0.0.1").expect("a port");
                let listens = service.environment.values().chain(&service.command);
                assert!(
                    listens
                        .filter_map(|text| port_of(text, "0.0.0.0"))
                        .any(|own| own == port),
                    "{name}: {port}"
                );
                let output = ran(&folder, &["healthy", "http://127.0.0.1:9/livez"]);
                assert_eq!(
                    (arguments[0], output.status.code()),
                    ("healthy", Some(1)),
                    "{}",
                    stderr_of(&output)
                );
            }
            other => panic!("{name}: {other} is not known"),
        }
    }
}

#[test]
fn variables_are_put_into_texts() {
    let values = Texts::from([("A".to_owned(), "x".to_owned())]);
    let done = substituted("${A}-$$1-${A:?because}", &values).expect("a text");
    assert_eq!(done, "x-$1-x");
    let done = substituted("${A:-y}-${B:-}-${B:-y}", &values).expect("a text");
    assert_eq!(done, "x--y");
    let done = substituted("${A:+y}-${B:+y}", &values).expect("a text");
    assert_eq!(done, "y-");
    for wrong in ["$A", "${B}", "${A"] {
        assert!(substituted(wrong, &values).is_err(), "{wrong}");
    }
}
