//! Names for display: their invisible characters, and names that look the same.

use rust_decimal::Decimal;
use unicode_normalization::{UnicodeNormalization, is_nfc};

/// Whether a character is invisible or changes how others are shown: control characters, those that Unicode calls
/// default ignorable (<https://www.unicode.org/Public/UCD/latest/ucd/DerivedCoreProperties.txt>), line and paragraph
/// separators, and the empty Braille pattern.
pub fn is_invisible(letter: char) -> bool {
    letter.is_control()
        || matches!(letter,
            '\u{AD}' | '\u{34F}' | '\u{61C}' | '\u{115F}'..='\u{1160}' | '\u{17B4}'..='\u{17B5}' | '\u{180B}'..='\u{180F}'
            | '\u{200B}'..='\u{200F}' | '\u{2028}'..='\u{202E}' | '\u{2060}'..='\u{206F}' | '\u{2800}' | '\u{3164}'
            | '\u{FE00}'..='\u{FE0F}' | '\u{FEFF}' | '\u{FFA0}' | '\u{FFF0}'..='\u{FFFB}' | '\u{1BCA0}'..='\u{1BCA3}'
            | '\u{1D173}'..='\u{1D17A}' | '\u{E0000}'..='\u{E0FFF}')
}

/// Whether a terminal may interpret a character as a command, or the character may change the order in which text is
/// shown: control characters and those of Unicode's bidirectional algorithm.
pub fn is_commanding(letter: char) -> bool {
    letter.is_control() || is_reordering(letter)
}

/// Whether a character changes the order in which others are shown (<https://www.unicode.org/reports/tr9/>).
pub const fn is_reordering(letter: char) -> bool {
    matches!(letter, '\u{61C}' | '\u{200E}'..='\u{200F}' | '\u{202A}'..='\u{202E}' | '\u{2066}'..='\u{2069}')
}

/// Returns a name as a reader sees it: without invisible characters, and with one space between words.
pub fn visible(name: &str) -> String {
    let parts = name.split_whitespace().map(|part| {
        part.chars()
            .filter(|letter| !is_invisible(*letter))
            .collect()
    });
    parts
        .filter(|part: &String| !part.is_empty())
        .collect::<Vec<String>>()
        .join(" ")
}

/// Returns the form that names share if they differ only in case, blanks and invisible characters.
pub fn folded(name: &str) -> String {
    visible(name).to_lowercase()
}

/// Returns a text without blanks and invisible characters at its ends, such as a byte order mark or a file's line
/// break.
pub fn trimmed(text: &str) -> &str {
    text.trim_matches(|letter: char| letter.is_whitespace() || is_invisible(letter))
}

/// Describes the invisible parts of a text that a machine compares byte by byte, as the end of a sentence; `None` if
/// the whole text is visible.
pub fn hidden(text: &str) -> Option<String> {
    if trimmed(text) != text {
        return Some("it has blanks or invisible characters at its ends".to_owned());
    }
    if let Some(letter) = text
        .chars()
        .find(|letter| is_invisible(*letter) || letter.is_whitespace() && *letter != ' ')
    {
        return Some(format!(
            "it has the invisible character U+{:04X}",
            u32::from(letter)
        ));
    }
    let is_composed = is_nfc(text);
    (!is_composed).then(|| "its letters are not composed (Unicode's form NFC)".to_owned())
}

/// Returns a form that is equal for texts that look the same, regardless of how their letters are composed and of their
/// width and script. For ASCII text, this is [`folded`].
pub fn alike(text: &str) -> String {
    let composed: String = text.nfkc().collect();
    let lower = visible(&composed).to_lowercase();
    lower
        .chars()
        .map(|letter| latin(letter).unwrap_or(letter))
        .collect()
}

/// Returns the Latin letter that a small letter of another script, or its capital, looks like. Covers the single-letter
/// pairs of <https://www.unicode.org/Public/security/latest/confusables.txt> for Cyrillic, Greek, Armenian and the
/// phonetic alphabet.
const fn latin(letter: char) -> Option<char> {
    Some(match letter {
        'а' | 'α' | 'ɑ' => 'a',
        'в' | 'β' => 'b',
        'с' => 'c',
        'ԁ' => 'd',
        'е' | 'ε' | 'ҽ' => 'e',
        'ց' | 'ɡ' => 'g',
        'һ' | 'н' | 'η' | 'հ' => 'h',
        'і' | 'ι' | 'ı' => 'i',
        'ј' | 'ϳ' | 'ȷ' => 'j',
        'к' | 'κ' => 'k',
        'ӏ' => 'l',
        'м' | 'μ' => 'm',
        'ν' | 'ո' => 'n',
        'о' | 'ο' | 'օ' => 'o',
        'р' | 'ρ' => 'p',
        'ԛ' | 'զ' => 'q',
        'ѕ' => 's',
        'т' | 'τ' => 't',
        'ս' => 'u',
        'ѵ' => 'v',
        'ԝ' => 'w',
        'х' | 'χ' => 'x',
        'у' | 'υ' | 'γ' => 'y',
        'ζ' => 'z',
        _ => return None,
    })
}

/// Whether a text mixes Latin letters with others that all look Latin, such as a Cyrillic `а` in `anna`.
pub fn is_mixed(text: &str) -> bool {
    !text.is_ascii()
        && text.contains(|letter: char| letter.is_ascii_alphabetic())
        && alike(text).is_ascii()
}

/// Returns other spellings of an id that look like it, those that programs send most often: without invisible
/// characters, with a blank or an invisible character at either end, composed and decomposed.
pub fn spellings(id: &str) -> Vec<String> {
    let plain: String = trimmed(id)
        .chars()
        .filter(|letter| !is_invisible(*letter))
        .collect();
    let spaced = plain.replace(|letter: char| letter.is_whitespace(), " ");
    let composed: String = spaced.nfc().collect();
    let mut all = vec![
        id.to_owned(),
        plain,
        composed.nfd().collect(),
        composed.nfkc().collect(),
        alike(&composed),
    ];
    for hidden in [" ", "\u{a0}", "\u{200b}", "\u{feff}", "\u{200e}"] {
        all.push(format!("{composed}{hidden}"));
    }
    for hidden in [" ", "\u{feff}"] {
        all.push(format!("{hidden}{composed}"));
    }
    all.push(composed);
    all
}

/// Number of [`spellings`].
pub const SPELLINGS: usize = 13;

/// Returns other ids that may have been meant, since letters and digits look alike (O and 0; I, l and 1): at most
/// [`MISREADINGS`], the most probable first. Letters of other scripts are read as Latin ones.
pub fn misread(id: &str) -> Vec<String> {
    let digits = |part: &str| {
        part.chars()
            .map(|sign| digit(sign).unwrap_or(sign))
            .collect::<String>()
    };
    let letters = |part: &str| {
        let is_small = part.contains(|sign: char| sign.is_lowercase());
        part.chars()
            .map(|sign| letter(sign, is_small).unwrap_or(sign))
            .collect::<String>()
    };
    let of_kind = |part: &str| {
        let signs = || part.chars().filter(|sign| sign.is_alphanumeric());
        let is_number = signs().any(|sign| sign.is_ascii_digit());
        match () {
            () if is_number
                && signs().all(|sign| sign.is_ascii_digit() || digit(sign).is_some()) =>
            {
                digits(part)
            }
            () if signs().all(|sign| sign.is_alphabetic() || letter(sign, true).is_some()) => {
                letters(part)
            }
            () => part.to_owned(),
        }
    };
    let by_parts: String = id
        .split_inclusive(|sign: char| !sign.is_alphanumeric())
        .map(of_kind)
        .collect();
    let one_sign = id.char_indices().flat_map(|(at, sign)| {
        let others = [digit(sign), letter(sign, true), letter(sign, false)]
            .into_iter()
            .flatten();
        others.map(move |other| format!("{}{other}{}", &id[..at], &id[at + sign.len_utf8()..]))
    });
    let latin = Some(alike(id)).filter(|_| !id.is_ascii());
    let mut all: Vec<String> = Vec::new();
    for one in latin
        .into_iter()
        .chain([by_parts, digits(id), letters(id)])
        .chain(one_sign)
    {
        if one != id && !all.contains(&one) {
            all.push(one);
        }
        if all.len() == MISREADINGS {
            break;
        }
    }
    all
}

/// Maximum number of ids that [`misread`] returns.
pub const MISREADINGS: usize = 16;

/// Returns the digit that a letter looks like.
const fn digit(sign: char) -> Option<char> {
    match sign {
        'O' | 'o' => Some('0'),
        'I' | 'l' => Some('1'),
        _ => None,
    }
}

/// Returns the letter, small or capital, that a digit looks like.
const fn letter(sign: char, is_small: bool) -> Option<char> {
    match (sign, is_small) {
        ('0', true) => Some('o'),
        ('0', false) => Some('O'),
        ('1', true) => Some('l'),
        ('1', false) => Some('I'),
        _ => None,
    }
}

/// Whether a text from a store or a device can be an id or a name: 1 to `max_chars` characters without control
/// characters. PostgreSQL stores no NUL, and index entries have a maximum length.
pub fn is_plain(text: &str, max_chars: usize) -> bool {
    let has_fitting_length = !text.is_empty() && text.chars().count() <= max_chars;
    has_fitting_length && !text.contains(char::is_control)
}

/// Parses a decimal written in digits, such as `9.99`. Returns `None` for any other text, including `1e3` and `1_000`.
pub fn decimal(text: &str) -> Option<Decimal> {
    let is_plain = text
        .bytes()
        .all(|byte| byte.is_ascii_digit() || b".+-".contains(&byte));
    text.parse().ok().filter(|_| is_plain)
}

/// Returns a JSON text that every parser accepts: U+FFFD replaces half a surrogate pair (`\ud83d` alone), and `null` a
/// number that is out of range. Otherwise, one such field would make the whole text unreadable.
pub fn readable_json(text: &str) -> String {
    let mut readable = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(first) = rest.chars().next() {
        let (written, read) = match first {
            '"' => string(rest),
            '-' | '0'..='9' => number(rest),
            other => (other.to_string(), other.len_utf8()),
        };
        readable.push_str(&written);
        rest = rest.get(read..).unwrap_or_default();
    }
    readable
}

/// Returns the string literal at the beginning of a text, made readable, and its length in the text.
fn string(text: &str) -> (String, usize) {
    let (mut written, mut read, mut is_escaped) = (String::new(), 0, false);
    while let Some(next) = text.get(read..).and_then(|rest| rest.chars().next()) {
        let unit = |at: usize| {
            let digits = text.get(at..)?.strip_prefix("\\u")?.get(..4)?;
            u16::from_str_radix(digits, 16).ok()
        };
        match unit(read).filter(|unit| !is_escaped && (0xD800..0xE000).contains(unit)) {
            Some(high)
                if high < 0xDC00
                    && unit(read + 6).is_some_and(|low| (0xDC00..0xE000).contains(&low)) =>
            {
                written.push_str(text.get(read..read + 12).unwrap_or_default());
                read += 12;
                continue;
            }
            Some(_) => {
                written.push_str("\\ufffd");
                read += 6;
                continue;
            }
            None => {}
        }
        written.push(next);
        let is_closed = next == '"' && read > 0 && !is_escaped;
        read += next.len_utf8();
        is_escaped = next == '\\' && !is_escaped;
        if is_closed {
            break;
        }
    }
    (written, read)
}

/// Returns the number at the beginning of a text, made readable, and its length in the text.
fn number(text: &str) -> (String, usize) {
    let is_part =
        |letter: char| letter.is_ascii_digit() || matches!(letter, '-' | '+' | '.' | 'e' | 'E');
    let length = text.find(|letter| !is_part(letter)).unwrap_or(text.len());
    let written = text.get(..length).unwrap_or_default();
    let is_out_of_range = written.parse::<f64>().is_ok_and(f64::is_infinite);
    (
        if is_out_of_range { "null" } else { written }.to_owned(),
        length,
    )
}

#[cfg(test)]
mod tests {
    use super::{
        MISREADINGS, SPELLINGS, alike, decimal, folded, hidden, is_mixed, is_plain, misread,
        readable_json, spellings, trimmed, visible,
    };

    #[test]
    fn a_plain_text_has_no_control_characters_and_a_length() {
        for text in ["a", "com.example.gold.month", "Žofie", "😀😀"] {
            assert!(is_plain(text, 22), "{text}");
        }
        for text in [
            "",
            "gold\0month",
            "gold\u{85}month",
            "gold\nmonth",
            "com.example.gold.months",
        ] {
            assert!(!is_plain(text, 22), "{text:?}");
        }
    }

    #[test]
    fn a_decimal_is_written_in_digits() {
        for (text, number) in [
            ("9.99", Some("9.99")),
            ("-0.5", Some("-0.5")),
            ("1000", Some("1000")),
        ] {
            assert_eq!(
                decimal(text).map(|decimal| decimal.to_string()).as_deref(),
                number,
                "{text}"
            );
        }
        for text in [
            "1e3", "1E3", "9.99e-1", "1_000", "1,000", "9,99", "", ".", "-", "9.9.9", "$9.99",
            "NaN", "0x10",
        ] {
            assert_eq!(decimal(text), None, "{text}");
        }
    }

    #[test]
    fn what_is_hidden_in_an_id_is_named_and_trimmed_at_its_ends() {
        for text in ["gold.month", "Žofie", "gold month", "用户"] {
            assert_eq!((hidden(text), trimmed(text)), (None, text));
        }
        for (text, part) in [
            ("gold.month ", "at its ends"),
            ("\u{feff}gold.month\n", "at its ends"),
            ("\u{200b}gold.month\u{a0}", "at its ends"),
            ("gold\u{200b}.month", "U+200B"),
            ("gold\u{a0}month", "U+00A0"),
            ("Z\u{30c}ofie", "not composed"),
        ] {
            assert!(
                hidden(text).is_some_and(|why| why.contains(part)),
                "{text:?}: {:?}",
                hidden(text)
            );
        }
        assert_eq!(trimmed("\u{feff} gold.month\u{200b}\r\n"), "gold.month");
    }

    #[test]
    fn a_digit_that_was_read_as_a_letter_is_exchanged() {
        for (read, meant) in [
            ("cust-10O3", "cust-1003"),
            ("cust-1oo3", "cust-1003"),
            ("client-l003", "client-1003"),
            ("Radi0-11", "Radio-11"),
            ("ANNA-1O1", "ANNA-101"),
            ("REC1PT", "RECIPT"),
            ("AB0x9", "ABOx9"),
            ("аnna", "anna"),
        ] {
            assert!(
                misread(read).iter().any(|one| one == meant),
                "{read}: {:?}",
                misread(read)
            );
        }
        assert_eq!(misread("cust-10O3")[0], "cust-1003");
        assert_eq!(misread("anna-27"), Vec::<String>::new());
        assert_eq!(misread(""), Vec::<String>::new());
        let many = "O0l1I".repeat(400);
        let all = misread(&many);
        assert_eq!(all.len(), MISREADINGS);
        assert!(!all.contains(&many));
    }

    #[test]
    fn an_id_has_the_spellings_that_a_reader_takes_for_it() {
        let ids = [
            "Žofie",
            "Z\u{30c}ofie",
            "Žofie ",
            " Žofie",
            "Žofie\u{200b}",
            "Žofie\u{a0}",
            "\u{feff}Žofie",
        ];
        for id in ids {
            let all = spellings(id);
            assert_eq!(all.len(), SPELLINGS);
            for other in ids {
                assert!(all.iter().any(|one| one == other), "{id:?} and {other:?}");
                assert_eq!(alike(id), alike(other));
            }
        }
    }

    #[test]
    fn letters_of_other_widths_and_scripts_count_as_ascii() {
        for (text, seen) in [
            ("ＡＮＮＡ", "anna"),
            ("аdmin token", "admin token"),
            ("AdmіN Token", "admin token"),
            ("ｓettle", "settle"),
            ("ѕеttlе", "settle"),
            ("𝐬𝐞𝐭𝐭𝐥𝐞", "settle"),
            ("ΑΝΝΑ", "anna"),
            ("оne", "one"),
            ("Admin1 modern", "admin1 modern"),
        ] {
            assert_eq!(alike(text), seen, "{text}");
        }
        for (text, is_other) in [
            ("Žofie", "zofie"),
            ("用户", "yh"),
            ("Маша", "mama"),
            ("anna", "arna"),
            ("naïve", "naive"),
        ] {
            assert_ne!(alike(text), alike(is_other), "{text}");
        }
        assert!(spellings("оne").iter().any(|one| one == "one"));
        for (text, mixed) in [
            ("оne", true),
            ("one", false),
            ("Žofie", false),
            ("Маша", false),
            ("Işık", false),
            ("ΑΝΝΑ", false),
        ] {
            assert_eq!(is_mixed(text), mixed, "{text}");
        }
    }

    #[test]
    fn one_value_that_cannot_be_read_takes_no_other_with_it() {
        let same =
            r#"{"a": [1, -2.5e3, "x\\ud800", "\ud83d\ude00", "é\"", null], "b\u0000": true}"#;
        assert_eq!(readable_json(same), same);
        for (text, readable) in [
            (
                r#"{"a":"x\ud800y","b":1e999}"#,
                r#"{"a":"x\ufffdy","b":null}"#,
            ),
            (
                r#"["\udc00\ud800\ud83d\ude00","\ud83d\u0041",-1e999]"#,
                r#"["\ufffd\ufffd\ud83d\ude00","\ufffd\u0041",null]"#,
            ),
            (r#"{"a":"\ud8"#, r#"{"a":"\ud8"#),
            (r#""\"#, r#""\"#),
        ] {
            assert_eq!(readable_json(text), readable, "{text}");
        }
    }

    #[test]
    fn names_that_a_reader_takes_for_one_are_folded_to_one() {
        for name in [
            "admin token",
            " Admin  Token ",
            "admin\u{a0}token",
            "admin \u{200b}token\u{202e}",
            "ADMIN\ttoken",
        ] {
            assert_eq!(folded(name), "admin token", "{name:?}");
        }
        assert_ne!(folded("admin"), folded("admin token"));
        assert_eq!(visible("\u{2066}\u{ad} \u{3164}"), "");
        assert_eq!(
            visible("Žofie  from the help desk"),
            "Žofie from the help desk"
        );
    }
}
