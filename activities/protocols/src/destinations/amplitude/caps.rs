//! Cuts and counts the values that Amplitude would silently cut: a text, and a list as one value, of more than 1024
//! characters.

use serde_json::Value;

/// Maximum length of a value in UTF-16 units, the strictest way to count characters.
const MOST: usize = 1024;

/// Cuts, and counts what it cut.
#[derive(Debug, Default)]
pub struct Caps {
    /// Number of texts that were cut or left out.
    pub cut: u64,
}

impl Caps {
    /// A text, cut where it is too long.
    pub fn text(&mut self, text: &str) -> String {
        let mut units = 0;
        let fits = |letter: &char| {
            units += letter.len_utf16();
            units <= MOST
        };
        let fitting: String = text.chars().take_while(fits).collect();
        if fitting.len() < text.len() {
            self.cut += 1;
        }
        fitting
    }

    /// A list of texts, without those that do not fit: a cut name would be another name.
    pub fn list<'a>(&mut self, texts: impl IntoIterator<Item = &'a str>) -> Value {
        let mut units = "[]".len();
        let mut fitting = Vec::new();
        for text in texts {
            let text = Value::from(text);
            let with_it = units + written(&text) + usize::from(!fitting.is_empty());
            if with_it <= MOST {
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
