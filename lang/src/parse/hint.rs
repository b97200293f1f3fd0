//! The probable meaning of text that the grammar refuses.

use super::Rule;
use super::error::nearest;
use crate::{Diagnostic, syntax::Span};

/// Help with text that the grammar refuses.
pub(super) struct Hint {
    pub(super) help: String,
    /// What to do, over how many bytes, and what stands there then.
    pub(super) fix: Option<(String, usize, String)>,
}

impl Hint {
    fn new(help: impl Into<String>) -> Self {
        Self {
            help: help.into(),
            fix: None,
        }
    }

    /// With the fix that writes `text` in place of the next `len` bytes.
    fn write(mut self, len: usize, text: &str) -> Self {
        let title = match text {
            "" => "remove it".to_owned(),
            " " => "write a space".to_owned(),
            text => format!("write `{}`", text.trim()),
        };
        self.fix = Some((title, len, text.to_owned()));
        self
    }

    /// The diagnostic with this help, for text at `at`.
    pub(super) fn put_on(self, diagnostic: Diagnostic, at: usize) -> Diagnostic {
        let diagnostic = diagnostic.help(self.help);
        match self.fix {
            Some((title, len, text)) => diagnostic.fix(title, Span::new(at, at + len), text),
            None => diagnostic,
        }
    }

    fn remove(mut self, text: &str) -> Self {
        self.fix = Some((format!("remove `{text}`"), text.len(), String::new()));
        self
    }
}

/// The ASCII text that a character looks like, and what to do about it.
pub(crate) fn look_alike(c: char) -> Option<(&'static str, &'static str)> {
    Some(match c {
        '\u{2010}'..='\u{2015}' | '\u{2212}' | '\u{fe58}' | '\u{fe63}' | '\u{ff0d}' => {
            ("-", "this only looks like `-`: write `-`")
        }
        '\u{a0}' | '\u{1680}' | '\u{2000}'..='\u{200a}' | '\u{202f}' | '\u{205f}' | '\u{3000}' => {
            (" ", "this only looks like a space: write a space")
        }
        '\u{200b}'..='\u{200d}' | '\u{2060}' | '\u{feff}' | '\u{ad}' => {
            ("", "this character is invisible: remove it")
        }
        _ => return None,
    })
}

/// A help for the text at `at`, where one of `expected` should stand, in a declaration that begins at `start`.
pub(super) fn hint(source: &str, start: usize, at: usize, expected: &[Rule]) -> Option<Hint> {
    let head = source.get(start..at).unwrap_or("");
    let before = source.get(..at).unwrap_or("").chars().next_back();
    let rest = source.get(at..).unwrap_or("");
    let in_name = before.is_some_and(|c| c.is_alphanumeric() || c == '_');
    let mut chars = rest.chars();
    let arrow = |len| Hint::new("the arrow is written `->`").write(len, "->");
    Some(match (chars.next()?, chars.next()) {
        ('-', Some(c)) if in_name && c.is_alphanumeric() => {
            Hint::new("names are made of a-z, 0-9 and `_`: write `_` for `-`").write(1, "_")
        }
        ('-', Some(' ')) if rest.get(1..).is_some_and(|r| r.trim_start().starts_with('>')) => {
            Hint::new("the arrow is written `->`, without a space in it").write(rest.find('>')? + 1, "->")
        }
        ('=', Some('>')) => arrow(2),
        ('→', _) => arrow('→'.len_utf8()),
        ('\'' | '‘' | '’' | '“' | '”', _) => {
            Hint::new("strings are written in double quotes: \"...\"")
        }
        ('#', _) => Hint::new("comments begin with `//`").write(1, "//"),
        ('/', Some('*')) => Hint::new("comments begin with `//` and end with the line"),
        (';', _) => Hint::new("no `;` is needed; remove it").remove(";"),
        ('$', Some('{')) => Hint::new("a constant is written `$name`, without braces"),
        ('<', _) => Hint::new("steps are joined by `->`, in the order in which packets pass them"),
        ('\\', _) => Hint::new("text goes on in the next line by itself; remove the `\\`").remove("\\"),
        ('=', _) if expected.contains(&Rule::colon) => {
            Hint::new("a type stands behind `:`, as in `param uplink: string = \"wan0\"`")
        }
        (':', _) if expected == [Rule::equals] && !head.contains('{') => {
            Hint::new("a constant has the type of its value; only a `param` is declared with a type")
        }
        (':', _) if expected.contains(&Rule::equals) => {
            Hint::new("settings are written `key = value`").write(1, " =")
        }
        ('(', _)
            if expected
                .iter()
                .any(|r| matches!(r, Rule::params | Rule::record | Rule::lbrace)) =>
        {
            Hint::new("settings stand in braces: `{ KEY = VALUE }`")
        }
        ('{', _) if expected == [Rule::EOI] && head.contains("with") => {
            Hint::new("`with { ... }` stands last, behind the parameters")
        }
        (',' | '|', _) if expected.contains(&Rule::arrow) => {
            Hint::new("steps are joined by `->`, in the order in which packets pass them")
        }
        (':', _) if expected == [Rule::arrow] => {
            Hint::new("a rule is written `FILTER -> CHAIN`, an arm `OUTPUT -> STEP`")
        }
        ('"', _) if expected.iter().any(|r| matches!(r, Rule::file | Rule::kw_file)) => {
            Hint::new("a file is named with `file(\"...\")`")
        }
        (c, _) if c.is_ascii_digit() && expected.contains(&Rule::name) => {
            Hint::new("a name begins with a letter")
        }
        (c, _) if c.is_alphabetic() && !c.is_ascii() => {
            Hint::new("names are made of a-z, 0-9 and `_`; some letters of other alphabets look like these")
        }
        (c, _) if look_alike(c).is_some() => {
            let (meant, help) = look_alike(c)?;
            Hint::new(help).write(c.len_utf8(), meant)
        }
        (c, _) if !c.is_ascii() => Hint::new("this character has no meaning outside strings and comments"),
        (c, _) if c.is_ascii_alphabetic() => word_hint(rest, expected)?,
        _ => return None,
    })
}

/// The possible meaning of a misplaced word.
fn word_hint(rest: &str, expected: &[Rule]) -> Option<Hint> {
    let len = rest.find(|c: char| !(c.is_ascii_alphanumeric() || c == '_'));
    let (word, behind) = rest.split_at(len.unwrap_or(rest.len()));
    if expected.contains(&Rule::assert_filter) && words_of(Rule::claim).contains(&word) {
        return Some(Hint::new(
            "say of which packets: `all` is the filter that every packet matches",
        ));
    }
    let known = expected.iter().flat_map(|rule| words_of(*rule)).copied();
    if let Some(meant) = nearest(known, word).filter(|w| *w != word) {
        return Some(Hint::new(format!("did you mean `{meant}`?")).write(word.len(), meant));
    }
    let behind = behind.trim_start();
    (expected == [Rule::equals] && behind.starts_with('='))
        .then(|| Hint::new("a name is one word: join its parts with `_`"))
}

/// The words of the language that a rule stands for.
fn words_of(rule: Rule) -> &'static [&'static str] {
    match rule {
        Rule::with | Rule::kw_with => &["with"],
        Rule::kw_as => &["as"],
        Rule::kw_to => &["to"],
        Rule::kw_else | Rule::steer_rule => &["else"],
        Rule::program | Rule::kw_program => &["program"],
        Rule::lookup => &["lookup"],
        Rule::steer_to | Rule::kw_steer => &["steer"],
        Rule::kw_max_hops => &["max_hops"],
        Rule::claim => &["passes", "never", "reaches", "dropped"],
        Rule::kw_passes => &["passes"],
        Rule::kw_reaches => &["reaches"],
        Rule::kw_before => &["before"],
        Rule::kw_times => &["times"],
        Rule::kw_at => &["at"],
        Rule::kw_packets => &["packets"],
        Rule::kw_counter => &["counter"],
        Rule::kw_same => &["same"],
        Rule::statement | Rule::send | Rule::replay | Rule::expect => &["send", "replay", "expect"],
        Rule::packet_proto => &["ether", "arp", "ip", "ip6", "icmp", "tcp", "udp"],
        Rule::formal_kind => &["port", "nf", "chain"],
        _ => &[],
    }
}
