//! Names that people read: what nobody sees in them, and which of them look the same.

/// Whether a character shows nothing by itself, or changes how others are shown: the control characters, those that
/// Unicode calls default ignorable (<https://www.unicode.org/Public/UCD/latest/ucd/DerivedCoreProperties.txt>), the
/// separators of lines and paragraphs, and the empty Braille pattern.
pub fn is_invisible(letter: char) -> bool {
    letter.is_control()
        || matches!(letter,
            '\u{AD}' | '\u{34F}' | '\u{61C}' | '\u{115F}'..='\u{1160}' | '\u{17B4}'..='\u{17B5}' | '\u{180B}'..='\u{180F}'
            | '\u{200B}'..='\u{200F}' | '\u{2028}'..='\u{202E}' | '\u{2060}'..='\u{206F}' | '\u{2800}' | '\u{3164}'
            | '\u{FE00}'..='\u{FE0F}' | '\u{FEFF}' | '\u{FFA0}' | '\u{FFF0}'..='\u{FFFB}' | '\u{1BCA0}'..='\u{1BCA3}'
            | '\u{1D173}'..='\u{1D17A}' | '\u{E0000}'..='\u{E0FFF}')
}

/// Whether a terminal may take a character as a command, or a reader another order of the text: the control characters
/// and those of Unicode's bidirectional algorithm.
pub fn is_commanding(letter: char) -> bool {
    let is_bidi =
        matches!(letter, '\u{61C}' | '\u{200E}'..='\u{200F}' | '\u{202A}'..='\u{202E}' | '\u{2066}'..='\u{2069}');
    letter.is_control() || is_bidi
}

/// A name as a reader sees it: without invisible characters, and with one space between two words.
pub fn visible(name: &str) -> String {
    let parts = name.split_whitespace().map(|part| part.chars().filter(|letter| !is_invisible(*letter)).collect());
    parts.filter(|part: &String| !part.is_empty()).collect::<Vec<String>>().join(" ")
}

/// What names have in common that a reader takes for one.
pub fn folded(name: &str) -> String {
    visible(name).to_lowercase()
}

#[cfg(test)]
mod tests {
    use super::{folded, visible};

    #[test]
    fn names_that_a_reader_takes_for_one_are_folded_to_one() {
        for name in ["admin token", " Admin  Token ", "admin\u{a0}token", "admin \u{200b}token\u{202e}", "ADMIN\ttoken"]
        {
            assert_eq!(folded(name), "admin token", "{name:?}");
        }
        assert_ne!(folded("admin"), folded("admin token"));
        assert_eq!(visible("\u{2066}\u{ad} \u{3164}"), "");
        assert_eq!(visible("Žofie  from the help desk"), "Žofie from the help desk");
    }
}
