//! Prevents untrusted texts from reversing a page's text direction: characters that reorder text are made visible, as
//! on the command line.

use domain::text::is_reordering;

/// Returns a page in whose texts the characters that reorder text are shown as `\u{202e}`. Attributes and text areas
/// are unchanged, because a form sends them back.
pub fn readable(page: String) -> String {
    if !page.contains(is_reordering) {
        return page;
    }
    let (mut shown, mut is_tag, mut is_area) =
        (String::with_capacity(page.len() + 64), false, false);
    for (at, letter) in page.char_indices() {
        match letter {
            '<' => {
                is_tag = true;
                let tag = page.get(at..).unwrap_or_default();
                is_area = tag.starts_with("<textarea") || is_area && !tag.starts_with("</textarea");
            }
            '>' => is_tag = false,
            _ if is_reordering(letter) && !is_tag && !is_area => {
                shown.extend(letter.escape_unicode());
                continue;
            }
            _ => {}
        }
        shown.push(letter);
    }
    shown
}

#[cfg(test)]
mod tests {
    use super::readable;

    #[test]
    fn what_reorders_a_text_is_shown_where_nothing_is_sent_back() {
        for (page, expected) in [
            ("<p>a\u{e9}b</p>", "<p>a\u{e9}b</p>"),
            ("<p>a\u{202e}b\u{2066}</p>", "<p>a\\u{202e}b\\u{2066}</p>"),
            (
                "<input value=\"\u{202e}\">\u{200f}",
                "<input value=\"\u{202e}\">\\u{200f}",
            ),
            (
                "<textarea id=\"a\">\u{202e}<\u{202e}</textarea>\u{61c}",
                "<textarea id=\"a\">\u{202e}<\u{202e}</textarea>\\u{61c}",
            ),
        ] {
            assert_eq!(readable(page.to_owned()), expected);
        }
    }
}
