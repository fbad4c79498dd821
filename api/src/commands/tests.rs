use super::Cli;
use super::secret::Source;
use api::times;
use clap::CommandFactory;
use domain::Timestamp;
use secrecy::ExposeSecret;
use std::collections::BTreeMap;
use std::time::Duration;

#[test]
fn the_tree_of_commands_is_sound() {
    Cli::command().debug_assert();
}

#[test]
fn a_command_that_is_typed_elsewhere_is_named() {
    for (line, part) in [
        ("settle import-sales", "app import-sales` is the command"),
        (
            "settle product import-sales",
            "app import-sales` is the command",
        ),
        ("settle customer nonsense", "unrecognized subcommand"),
    ] {
        let refused = Cli::read(line.split(' ')).unwrap_err().to_string();
        assert!(
            refused.contains(part) && !refused.contains("erase"),
            "{line}: {refused}"
        );
    }
}

/// Returns a command with all visible subcommands, each with its full path.
fn tree(command: &clap::Command, above: &str) -> Vec<(String, clap::Command)> {
    let path = format!("{above} {}", command.get_name())
        .trim_start()
        .to_owned();
    let shown = command
        .get_subcommands()
        .filter(|below| !below.is_hide_set());
    let below: Vec<_> = shown.flat_map(|below| tree(below, &path)).collect();
    std::iter::once((path, command.clone()))
        .chain(below)
        .collect()
}

fn all() -> Vec<(String, clap::Command)> {
    let found = tree(&Cli::command(), "");
    assert!(found.len() > 70, "only {} commands were found", found.len());
    found
}

#[test]
fn every_command_has_a_description_an_example_and_a_next_step() {
    for (path, mut command) in all().into_iter().skip(1) {
        assert_ne!(path, "settle history", "a command for tests is hidden");
        assert!(command.get_about().is_some(), "{path} has no description");
        let help = command.render_long_help().to_string();
        assert!(
            help.contains("Example:") || help.contains("Examples:"),
            "{path} has no example:\n{help}"
        );
        assert!(
            help.contains("\nNext: "),
            "{path} has no next step:\n{help}"
        );
    }
}

#[test]
fn completions_and_the_manual_have_every_command() {
    for shell in ["bash", "zsh", "fish"] {
        let cli =
            Cli::read(["settle", "completions", shell]).map(|cli| format!("{:?}", cli.command));
        assert!(
            cli.is_ok_and(|command| command.to_lowercase().contains(shell)),
            "{shell}"
        );
    }
    let folder = std::env::temp_dir().join(format!("settle-manual-{}", std::process::id()));
    let written = super::completions::manual(&super::completions::Manual {
        folder: folder.clone(),
    });
    let missing = all()
        .into_iter()
        .filter(|(path, _)| !folder.join(path.replace(' ', "-") + ".1").is_file());
    let missing: Vec<String> = missing.map(|(path, _)| path).collect();
    let page = std::fs::read_to_string(folder.join("settle-migrate.1")).expect("a page");
    std::fs::remove_dir_all(&folder).expect("no folder");
    assert!(written.is_ok() && missing.is_empty(), "{missing:?}");
    let example = page
        .split(".nf\n")
        .nth(1)
        .and_then(|rest| rest.split(".fi\n").next())
        .expect("an example");
    let is_command =
        |line: &str| line.starts_with("  settle migrate") || line.starts_with("  SETTLE_KEY=");
    assert!(
        example.lines().count() > 1 && example.lines().all(is_command),
        "its lines stay apart: {page}"
    );
}

#[test]
fn no_two_commands_have_the_same_description() {
    let mut known = BTreeMap::new();
    for (path, command) in all() {
        let about = command
            .get_about()
            .map(ToString::to_string)
            .unwrap_or_default();
        let siblings = path
            .rsplit_once(' ')
            .map_or_else(String::new, |(above, _)| above.to_owned());
        if let Some(other) = known.insert((siblings, about.clone()), path.clone()) {
            panic!("{path} and {other}: {about}");
        }
    }
}

/// Returns the settle commands in an example, without the remarks that follow them.
fn lines(help: &str) -> Vec<Vec<String>> {
    let help = help.split("\\\n").map(str::trim_start).collect::<String>();
    let ours = help
        .lines()
        .filter_map(|line| line.strip_prefix("  "))
        .filter(|line| line.starts_with("settle "));
    let plain = |line: &str| {
        line.split("   ")
            .next()
            .and_then(|line| line.split(" > ").next())
            .map(str::to_owned)
    };
    ours.filter_map(plain).map(|line| split(&line)).collect()
}

/// Returns the arguments of a line, split as by a shell.
fn split(line: &str) -> Vec<String> {
    let parts = line.split('"').enumerate();
    let part = |(at, part): (usize, &str)| match at % 2 {
        0 => part.split_whitespace().map(str::to_owned).collect(),
        _ => vec![part.to_owned()],
    };
    parts.flat_map(part).collect()
}

#[test]
fn every_example_can_be_typed_and_every_verb_is_in_its_own() {
    for (path, command) in all() {
        let help = command
            .get_after_help()
            .map(ToString::to_string)
            .unwrap_or_default();
        for line in lines(&help) {
            let parsed = Cli::read(&line)
                .map(drop)
                .map_err(|error| error.to_string());
            assert_eq!(parsed, Ok(()), "{path}: {line:?}");
        }
        let is_leaf = command.get_subcommands().next().is_none();
        assert!(
            !is_leaf || help.contains(&path),
            "the help of `{path}` shows other commands only"
        );
    }
}

#[test]
fn without_a_command_the_flags_are_those_of_run() {
    let cli = Cli::read(["settle", "--window", "5s"]).expect("the flags of `run`");
    assert!(cli.command.is_none());
    assert!(Cli::read(["settle", "run", "--window", "5s"]).is_ok());
    assert!(Cli::read(["settle", "--window", "5s", "migrate"]).is_err());
}

#[test]
fn config_and_data_are_taken_before_and_after_the_command() {
    for line in [
        ["settle", "--data", "d", "--config", "c"].as_slice(),
        &["settle", "--data", "d", "--config", "c", "run"],
        &["settle", "run", "--data", "d", "--config", "c"],
        &["settle", "--data", "d", "sample", "--config", "c"],
        &["settle", "--config", "c", "purchase", "--data", "d", "list"],
        &["settle", "purchase", "list", "--data", "d", "--config", "c"],
        &["settle", "--data", "d", "migrate", "--config", "c"],
        &["settle", "serve", "--data", "d", "--config", "c"],
    ] {
        let cli = Cli::read(line).unwrap_or_else(|error| panic!("{line:?}: {error}"));
        let shown = format!("{cli:?}");
        for setting in [r#"data: Some("d")"#, r#"config: Some("c")"#] {
            assert!(
                shown.matches(setting).count() >= 1,
                "{line:?}: {setting} is missing in {shown}"
            );
        }
        let command = cli
            .command
            .map(|command| format!("{command:?}"))
            .unwrap_or(shown);
        assert!(
            command.contains(r#"data: Some("d")"#) && command.contains(r#"config: Some("c")"#),
            "{command}"
        );
    }
}

#[test]
fn help_wraps_at_spaces_at_80_columns() {
    for (path, _) in all() {
        let help = Cli::read(path.split(' ').chain(["--help"]))
            .map(drop)
            .expect_err("help")
            .to_string();
        for line in help.lines().filter(|line| line.chars().count() > 80) {
            // clap wraps neither the usage line nor a part without spaces.
            let is_whole = line.starts_with("Usage: ") || line.trim().split(' ').count() < 3;
            assert!(is_whole, "{path}: {line:?}");
        }
    }
}

#[test]
fn admin_flags_may_stand_behind_the_verb() {
    for line in [
        ["settle", "app", "list", "--json"].as_slice(),
        &["settle", "app", "--json", "list"],
        &[
            "settle",
            "purchase",
            "hold",
            "k",
            "--until",
            "2h",
            "--service",
            "http://127.0.0.1:1",
        ],
        &[
            "settle", "delivery", "list", "--status", "failed", "--limit", "5",
        ],
        &[
            "settle", "resend", "range", "--from", "2h", "--until", "30m", "--app", "ID",
        ],
        &[
            "settle",
            "resend",
            "failed",
            "--destination",
            "ID",
            "--dry-run",
        ],
        &["settle", "destination", "delete", "ID", "--yes"],
        &["settle", "alarm", "list", "--limit", "5"],
    ] {
        assert!(Cli::read(line).is_ok(), "{line:?}");
    }
}

#[test]
fn a_secret_on_the_command_line_is_refused_and_not_repeated() {
    let line = [
        "settle",
        "platform",
        "update",
        "id",
        "--shared-secret",
        "tops3cret",
    ];
    let error = Cli::read(line)
        .expect_err("a secret on the command line")
        .to_string();
    assert!(
        error.contains("@FILE") && !error.contains("tops3cret"),
        "{error}"
    );
    assert_eq!("-".parse(), Ok(Source::Input));
    assert_eq!("@some/file".parse(), Ok(Source::File("some/file".into())));
    assert!("@".parse::<Source>().is_err());
    assert!(
        !"tops3cret"
            .parse::<Source>()
            .expect_err("not a source")
            .contains("tops3cret")
    );
}

#[test]
fn a_secret_in_a_file_loses_what_is_blank_around_it() {
    let path = std::env::temp_dir().join(format!("settle-secret-{}", std::process::id()));
    std::fs::write(&path, " a b \r\n").expect("a file");
    let secret = Source::File(path.clone())
        .read("--token")
        .expect("a secret");
    std::fs::write(&path, "\n").expect("a file");
    let empty = Source::File(path.clone()).read("--token");
    std::fs::remove_file(&path).expect("no file");
    assert_eq!(secret.expose_secret(), "a b");
    assert!(empty.is_err_and(|error| error.to_string() == "--token is empty"));
    let missing = Source::File(path.clone())
        .read("--token")
        .expect_err("no file")
        .to_string();
    assert_eq!(
        missing,
        format!("cannot read --token from {}", path.display())
    );
}

#[test]
fn durations_and_instants_are_read_as_people_write_them() {
    assert_eq!(times::duration("90s"), Ok(Duration::from_secs(90)));
    assert_eq!(times::duration("1h 30m"), Ok(Duration::from_secs(5400)));
    assert_eq!(times::duration("3d"), Ok(Duration::from_secs(3 * 86_400)));
    assert_eq!(
        times::duration("1d 12h"),
        Ok(Duration::from_secs(36 * 3600))
    );
    for wrong in ["-5s", "5", "", "1month", "soon", "9999999999h"] {
        assert!(times::duration(wrong).is_err(), "{wrong}");
    }
    let now = Timestamp::from_millis(0);
    assert_eq!(
        times::instant("2h", now),
        Ok(Timestamp::from_millis(7_200_000))
    );
    assert_eq!(
        times::instant("1970-01-01T00:00:01Z", now),
        Ok(Timestamp::from_millis(1000))
    );
    assert_eq!(
        times::instant("tomorrow", now),
        Ok(Timestamp::from_millis(86_400_000))
    );
    assert!(
        times::instant("soon", now).is_err_and(|error| error.contains("2h for two hours from now"))
    );
    let now = Timestamp::from_millis(7_200_000);
    assert_eq!(times::past("2h", now), Ok(Timestamp::from_millis(0)));
    assert_eq!(
        times::past("1970-01-01T00:00:01Z", now),
        Ok(Timestamp::from_millis(1000))
    );
    assert_eq!(
        times::past("1d", now),
        Ok(Timestamp::from_millis(7_200_000 - 86_400_000))
    );
    assert_eq!(
        times::past("1970-01-02", now),
        Ok(Timestamp::from_millis(86_400_000))
    );
    assert_eq!(times::past("today", now), Ok(Timestamp::from_millis(0)));
    assert_eq!(
        times::past("yesterday", now),
        Ok(Timestamp::from_millis(-86_400_000))
    );
    for wrong in ["2026-02-30", "long ago", ""] {
        assert!(
            times::past(wrong, now).is_err_and(|error| error.contains("2h for two hours ago")),
            "{wrong}"
        );
    }
}

/// Adds the text of each document below a folder.
fn read_documents(folder: &std::path::Path, found: &mut Vec<String>) {
    for entry in std::fs::read_dir(folder).expect("a folder of the work tree") {
        let path = entry.expect("an entry").path();
        let name = path
            .file_name()
            .unwrap_or_default()
            .to_string_lossy()
            .into_owned();
        if path.is_dir() && !name.starts_with('.') && name != "target" {
            read_documents(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "md") {
            found.push(std::fs::read_to_string(path).expect("a document"));
        }
    }
}

/// Returns the settle commands in code blocks, without comments.
fn block_lines(text: &str) -> Vec<Vec<String>> {
    let blocks = text
        .split("```")
        .skip(1)
        .step_by(2)
        .filter_map(|block| block.strip_prefix("sh\n"));
    let joined: Vec<String> = blocks.map(|block| block.replace("\\\n", " ")).collect();
    let plain = joined
        .iter()
        .flat_map(|block| block.lines())
        .filter_map(|line| line.split(" #").next())
        .map(str::trim);
    let ours = plain
        .map(|line| line.replace("cargo run -- ", "settle "))
        .filter(|line| line.starts_with("settle "));
    ours.map(|line| split(&line)).collect()
}

/// Returns the settle commands in running text; they may lack arguments.
fn inline_lines(text: &str) -> Vec<Vec<String>> {
    let prose: String = text.split("```").step_by(2).collect();
    let spans = prose
        .split('`')
        .skip(1)
        .step_by(2)
        .filter(|span| span.starts_with("settle "));
    spans.map(split).collect()
}

#[test]
fn every_documented_line_can_be_typed() {
    use clap::error::ErrorKind;

    let (mut texts, mut count) = (Vec::new(), 0);
    read_documents(
        &std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../../.."),
        &mut texts,
    );
    for text in texts {
        for line in block_lines(&text) {
            let parsed = Cli::read(&line)
                .map(drop)
                .map_err(|error| error.to_string());
            assert_eq!(parsed, Ok(()), "{line:?}");
            count += 1;
        }
        for line in inline_lines(&text) {
            let error = Cli::read(&line).err();
            let usual = [
                ErrorKind::DisplayHelp,
                ErrorKind::MissingRequiredArgument,
                ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand,
            ];
            let is_usual = error
                .as_ref()
                .is_none_or(|error| usual.contains(&error.kind()));
            assert!(is_usual, "{line:?}: {error:?}");
            count += 1;
        }
    }
    assert!(count > 70, "only {count} lines were found");
}

#[test]
fn the_units_of_the_packages_start_known_commands() {
    let folder =
        std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../packaging/systemd");
    for (name, expected) in [
        ("settle", "run"),
        ("settle-serve", "serve"),
        ("settle-worker", "worker"),
    ] {
        let unit = std::fs::read_to_string(folder.join(format!("{name}.service"))).expect("a unit");
        let setting = |name: &str| {
            unit.lines()
                .find_map(|line| line.strip_prefix(name))
                .unwrap_or_default()
        };
        let variables = setting("Environment=");
        assert!(
            variables.starts_with("SETTLE_CONFIG=/etc/settle/settle.toml"),
            "{name}: {variables}"
        );
        let flags = variables.split("RUN_FLAGS=").nth(1).unwrap_or_default();
        let line = setting("ExecStart=/usr/bin/").replace("$RUN_FLAGS", flags);
        let cli = Cli::read(split(&line)).map(|cli| format!("{:?}", cli.command).to_lowercase());
        assert!(
            cli.is_ok_and(|command| command.starts_with(&format!("some({expected}("))),
            "{line}"
        );
    }
}
