//! Text from an NF, escaped for display: in the log, in answers of the control socket, in an operator's terminal.

use std::fmt::Write;

/// Bytes of a reason that an NF gives, as it is shown.
pub(crate) const LONGEST_REASON: usize = 1024;

/// The text with everything escaped that does not stand for itself (control characters, marks that turn the direction of text
/// or cannot be seen, bytes that are not UTF-8), and with an ellipsis in place of everything beyond `longest` bytes.
pub(crate) fn quote(text: impl AsRef<[u8]>, longest: usize) -> String {
    let mut out = String::new();
    for chunk in text.as_ref().utf8_chunks() {
        let bytes = chunk.invalid().iter().map(|byte| format!("\\x{byte:02x}"));
        let characters = chunk.valid().chars().map(|c| match is_plain(c) {
            true => c.to_string(),
            false => c.escape_default().to_string(),
        });
        for piece in characters.chain(bytes) {
            if out.len() + piece.len() > longest {
                out.push('…');
                return out;
            }
            out.push_str(&piece);
        }
    }
    out
}

/// A value's debug form, quoted. No more of it is made than is shown.
pub(crate) fn quote_debug(value: &impl std::fmt::Debug) -> String {
    struct Bounded(String);
    impl Write for Bounded {
        fn write_str(&mut self, s: &str) -> std::fmt::Result {
            self.0.push_str(s);
            if self.0.len() > LONGEST_REASON {
                return Err(std::fmt::Error);
            }
            Ok(())
        }
    }
    let mut text = Bounded(String::new());
    // The error says that there is more than is shown.
    let _ = write!(text, "{value:?}");
    quote(text.0, LONGEST_REASON)
}

/// Whether the text is shown as it is.
pub(crate) fn is_fit(text: &str) -> bool {
    text.chars().all(is_plain)
}

fn is_plain(c: char) -> bool {
    let unseen = matches!(c,
        '\u{ad}' | '\u{34f}' | '\u{61c}' | '\u{115f}' | '\u{1160}' | '\u{17b4}' | '\u{17b5}' | '\u{180b}'..='\u{180f}'
        | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{3164}' | '\u{fe00}'..='\u{fe0f}'
        | '\u{feff}' | '\u{ffa0}' | '\u{fff0}'..='\u{fffb}' | '\u{e0000}'..='\u{e0fff}');
    !c.is_control() && !unseen
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_does_not_stand_for_itself_is_escaped() {
        let cases: [(&[u8], &str); 6] = [
            (
                "plain text, größer: \\d+ \"x\"".as_bytes(),
                "plain text, größer: \\d+ \"x\"",
            ),
            (b"two\nlines\r\tand \x1b[2J", "two\\nlines\\r\\tand \\u{1b}[2J"),
            (
                "C1 \u{9b}31m, DEL \u{7f}".as_bytes(),
                "C1 \\u{9b}31m, DEL \\u{7f}",
            ),
            (
                "turned \u{202e}txt\u{2066} and \u{200b}hidden".as_bytes(),
                "turned \\u{202e}txt\\u{2066} and \\u{200b}hidden",
            ),
            (b"no \xff\xfe UTF-8", "no \\xff\\xfe UTF-8"),
            (b"a\0b", "a\\u{0}b"),
        ];
        for (text, shown) in cases {
            assert_eq!(quote(text, 100), shown);
        }
        assert!(is_fit("rules/denied by host") && !is_fit("a\nb") && !is_fit("\u{202e}"));
    }

    #[test]
    fn no_text_is_longer_than_its_bound() {
        assert_eq!(quote("x".repeat(10), 10), "x".repeat(10));
        for text in ["x".repeat(11), "\n".repeat(100), "ü".repeat(50)] {
            let shown = quote(&text, 10);
            assert!(
                shown.len() <= 10 + '…'.len_utf8() && shown.ends_with('…'),
                "{shown}"
            );
        }
        let shown = quote_debug(&vec!["\u{202e}"; 100_000]);
        assert!(shown.len() <= LONGEST_REASON + '…'.len_utf8());
    }
}
