use super::Cli;
use super::secret::Source;
use crate::times;
use clap::{CommandFactory, Parser};
use domain::Timestamp;
use secrecy::ExposeSecret;
use std::time::Duration;

#[test]
fn the_tree_of_commands_is_sound() {
    Cli::command().debug_assert();
}

#[test]
fn every_command_says_what_it_does_and_gives_an_example() {
    for command in Cli::command().get_subcommands().filter(|command| !command.is_hide_set()) {
        assert!(command.get_about().is_some(), "{} says nothing of itself", command.get_name());
        let verbs = command.get_subcommands().map(clap::Command::get_after_help);
        let taught =
            verbs.chain([command.get_after_help()]).flatten().any(|help| help.to_string().contains("Example:"));
        assert!(taught, "{} gives no example", command.get_name());
        for verb in command.get_subcommands() {
            assert!(verb.get_about().is_some(), "{} {} says nothing of itself", command.get_name(), verb.get_name());
        }
    }
}

#[test]
fn without_a_command_the_flags_are_those_of_run() {
    let cli = Cli::try_parse_from(["settle", "--window", "5s"]).expect("the flags of `run`");
    assert!(cli.command.is_none());
    assert!(Cli::try_parse_from(["settle", "run", "--window", "5s"]).is_ok());
    assert!(Cli::try_parse_from(["settle", "--window", "5s", "migrate"]).is_err());
}

#[test]
fn admin_flags_may_stand_behind_the_verb() {
    for line in [
        ["settle", "app", "list", "--json"].as_slice(),
        &["settle", "app", "--json", "list"],
        &["settle", "purchase", "hold", "k", "--until", "2h", "--service", "http://127.0.0.1:1"],
        &["settle", "delivery", "list", "--status", "dead", "--limit", "5"],
    ] {
        assert!(Cli::try_parse_from(line).is_ok(), "{line:?}");
    }
}

#[test]
fn a_secret_is_never_taken_from_the_command_line_and_never_repeated() {
    let line = ["settle", "platform", "update", "id", "--shared-secret", "tops3cret"];
    let error = Cli::try_parse_from(line).expect_err("a secret on the command line").to_string();
    assert!(error.contains("@FILE"), "{error}");
    assert_eq!("-".parse(), Ok(Source::Input));
    assert_eq!("@some/file".parse(), Ok(Source::File("some/file".into())));
    assert!("@".parse::<Source>().is_err());
    assert!(!"tops3cret".parse::<Source>().expect_err("not a source").contains("tops3cret"));
}

#[test]
fn a_secret_in_a_file_loses_its_lines_end_and_nothing_else() {
    let path = std::env::temp_dir().join(format!("settle-secret-{}", std::process::id()));
    std::fs::write(&path, " a b \r\n").expect("a file");
    let secret = Source::File(path.clone()).read().expect("a secret");
    std::fs::write(&path, "\n").expect("a file");
    let empty = Source::File(path.clone()).read();
    std::fs::remove_file(&path).expect("no file");
    assert_eq!(secret.expose_secret(), " a b ");
    assert!(empty.is_err());
    assert!(Source::File(path).read().is_err_and(|error| format!("{error:#}").contains("settle-secret-")));
}

#[test]
fn durations_and_instants_are_read_as_people_write_them() {
    assert_eq!(times::duration("90s"), Ok(Duration::from_secs(90)));
    assert_eq!(times::duration("1h 30m"), Ok(Duration::from_secs(5400)));
    assert!(times::duration("-5s").is_err());
    assert!(times::duration("5").is_err());
    let now = Timestamp::from_millis(0);
    assert_eq!(times::instant("2h", now), Ok(Timestamp::from_millis(7_200_000)));
    assert_eq!(times::instant("1970-01-01T00:00:01Z", now), Ok(Timestamp::from_millis(1000)));
    assert!(times::instant("tomorrow", now).is_err());
}
