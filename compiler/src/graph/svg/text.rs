//! How wide text is, where it breaks, and how it is written into XML.

/// Width of a character of a monospaced font in thousandths of its size: that of DejaVu, Menlo and Liberation.
const MONOSPACED: usize = 602;
/// The same for what such fonts do not have and another one draws: up to a full square.
const OTHER: usize = 1000;

/// Pixels that a text takes, rounded up.
pub(super) fn width(text: &str, size: usize) -> usize {
    let units = |c: char| {
        if c.is_ascii() || ('\u{a0}'..='\u{24f}').contains(&c) || "…×".contains(c) {
            MONOSPACED
        } else {
            OTHER
        }
    };
    (text.chars().map(units).sum::<usize>() * size).div_ceil(1000)
}

/// Breaks a text at spaces into at most `lines` lines of at most `columns` characters; what does not fit ends in `…`.
pub(super) fn wrapped(text: &str, columns: usize, lines: usize) -> Vec<String> {
    let mut out: Vec<String> = Vec::new();
    for word in text.split_whitespace() {
        let length = word.chars().count();
        match out.last_mut() {
            Some(line) if line.chars().count() + 1 + length <= columns => {
                line.push(' ');
                line.push_str(word);
            }
            _ => out.push(word.to_owned()),
        }
    }
    let cut = out.len() > lines;
    out.truncate(lines);
    if let Some(last) = out.last_mut().filter(|_| cut) {
        last.push_str(" …");
    }
    for line in &mut out {
        if line.chars().count() > columns {
            *line = crate::graph::view::shortened(line, columns);
        }
    }
    out
}

/// Text for the content of an element or an attribute in double quotes. What XML 1.0 has no way to write is replaced.
pub(super) fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&#39;"),
            '\n' | '\t' => out.push(c),
            c if c.is_control() || matches!(c, '\u{fffe}' | '\u{ffff}') => out.push('\u{fffd}'),
            c => out.push(c),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_texts_break_at_spaces_and_end_in_an_ellipsis() {
        assert_eq!(wrapped("tcp and dst port 80", 40, 2), ["tcp and dst port 80"]);
        assert_eq!(wrapped("tcp and dst port 80", 12, 2), ["tcp and dst", "port 80"]);
        assert_eq!(
            wrapped("tcp and dst port 80 or 443", 12, 2),
            ["tcp and dst", "port 80 or …"]
        );
        assert_eq!(wrapped("abcdefghijklmnop", 8, 2), ["abcdefg…"]);
    }

    #[test]
    fn nothing_is_left_of_markup() {
        assert_eq!(
            escaped("<a href=\"x\">'&\u{1}"),
            "&lt;a href=&quot;x&quot;&gt;&#39;&amp;\u{fffd}"
        );
    }
}
