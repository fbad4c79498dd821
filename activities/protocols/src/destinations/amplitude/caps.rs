//! Truncates and counts values of more than 1024 characters, which Amplitude would silently truncate. A list is
//! measured as a whole, in its JSON form.

use serde_json::Value;

/// Maximum length of a value in UTF-16 code units. No other way of counting characters gives a higher number.
const MAX_UNITS: usize = 1024;

/// Truncates values and counts those that were too long.
#[derive(Debug, Default)]
pub struct Caps {
    /// Number of texts that were truncated, or left out of a list.
    pub cut: u64,
}

impl Caps {
    /// Returns the text, truncated to [`MAX_UNITS`].
    pub fn text(&mut self, text: &str) -> String {
        let mut units = 0;
        let fits = |letter: &char| {
            units += letter.len_utf16();
            units <= MAX_UNITS
        };
        let fitting: String = text.chars().take_while(fits).collect();
        if fitting.len() < text.len() {
            self.cut += 1;
        }
        fitting
    }

    /// Returns a list of texts without those that do not fit. Its members are not truncated, because a truncated name
    /// would be a different name.
    pub fn list<'a>(&mut self, texts: impl IntoIterator<Item = &'a str>) -> Value {
        let mut units = "[]".len();
        let mut fitting = Vec::new();
        for text in texts {
            let text = Value::from(text);
            let with_it = units + written(&text) + usize::from(!fitting.is_empty());
            if with_it <= MAX_UNITS {
                units = with_it;
                fitting.push(text);
            } else {
                self.cut += 1;
            }
        }
        Value::Array(fitting)
    }
}

fn written(value: &Value) -> usize {
    value.to_string().encode_utf16().count()
}
