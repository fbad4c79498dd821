//! Quotes texts as arguments of a command that is copied into a shell.

/// Returns a text, quoted if necessary, as one argument of a shell command.
pub fn quoted(text: &str) -> String {
    let is_plain = |letter: char| letter.is_ascii_alphanumeric() || "-_./:@%+=,".contains(letter);
    if !text.is_empty() && text.chars().all(is_plain) {
        return text.to_owned();
    }
    format!("'{}'", text.replace('\'', "'\\''"))
}

/// Returns the arguments of a command as a shell parses them.
#[cfg(any(test, feature = "fixtures"))]
pub fn read(command: &str) -> Vec<String> {
    let script = format!("printf '%s\\n' {command}");
    let output = std::process::Command::new("/bin/sh")
        .args(["-c", &script])
        .output()
        .expect("a shell");
    assert!(output.status.success(), "{command}");
    String::from_utf8(output.stdout)
        .expect("a text")
        .lines()
        .map(str::to_owned)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::{quoted, read};

    #[test]
    fn an_argument_of_a_command_is_quoted_where_it_must_be() {
        for (text, argument) in [
            ("anna@example.com", "anna@example.com"),
            ("", "''"),
            ("two words", "'two words'"),
            ("$(rm -r ~)`x`", "'$(rm -r ~)`x`'"),
            ("it's", "'it'\\''s'"),
        ] {
            assert_eq!(quoted(text), argument);
            assert_eq!(read(&quoted(text)), [text]);
        }
    }
}
