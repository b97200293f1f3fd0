//! Tokens of the filter language.

use std::borrow::Cow;
use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use crate::codes;
use crate::diagnostic::Diagnostic;
use crate::parse::{literal, name_error};
use crate::syntax::{Mac, Prefix, Span, Value};

/// A token with its place in the file.
#[derive(Debug, Clone)]
pub(super) struct Token<'s> {
    pub(super) tok: Tok<'s>,
    pub(super) span: Span,
}

#[derive(Debug, Clone, PartialEq)]
pub(super) enum Tok<'s> {
    /// A word in lower case; `tcp-syn` is one.
    Word(Cow<'s, str>),
    /// `\\tcp`: a word that is a value though it is a keyword.
    Escaped(Cow<'s, str>),
    Number(u32),
    /// `80-90`
    Range {
        low: u32,
        high: u32,
        /// Offset of the `-` in the token.
        minus: u32,
    },
    /// `-80`, what is left of a range that turned out to be a subtraction once its first number is read.
    Subtrahend(u32),
    Addr(IpAddr),
    Prefix(Prefix),
    /// `192.168`, `10.1/16`: an IPv4 network written short.
    Short(Prefix),
    Mac(Mac),
    /// `$name`
    Ref(Cow<'s, str>),
    Sym(Sym),
    /// What is not a token.
    Bad(Bad),
}

#[derive(Debug, Clone, PartialEq)]
pub(super) struct Bad {
    pub(super) code: &'static str,
    pub(super) message: String,
    pub(super) help: Option<String>,
    /// The probable intention.
    pub(super) meant: Option<&'static str>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Sym {
    LParen,
    RParen,
    LBracket,
    RBracket,
    Comma,
    Colon,
    AndAnd,
    OrOr,
    Bang,
    Eq,
    Ne,
    Lt,
    Le,
    Gt,
    Ge,
    Plus,
    Minus,
    Star,
    Slash,
    Percent,
    Amp,
    Pipe,
    Caret,
    Shl,
    Shr,
}

/// Longer spellings first.
const SYMS: [(&str, Sym); 26] = [
    ("&&", Sym::AndAnd),
    ("||", Sym::OrOr),
    ("==", Sym::Eq),
    ("!=", Sym::Ne),
    ("<=", Sym::Le),
    (">=", Sym::Ge),
    ("<<", Sym::Shl),
    (">>", Sym::Shr),
    ("(", Sym::LParen),
    (")", Sym::RParen),
    ("[", Sym::LBracket),
    ("]", Sym::RBracket),
    (",", Sym::Comma),
    (":", Sym::Colon),
    ("!", Sym::Bang),
    ("=", Sym::Eq),
    ("<", Sym::Lt),
    (">", Sym::Gt),
    ("+", Sym::Plus),
    ("-", Sym::Minus),
    ("*", Sym::Star),
    ("/", Sym::Slash),
    ("%", Sym::Percent),
    ("&", Sym::Amp),
    ("|", Sym::Pipe),
    ("^", Sym::Caret),
];

impl Tok<'_> {
    pub(super) fn is_word(&self, word: &str) -> bool {
        matches!(self, Tok::Word(w) if w == word)
    }
}

impl fmt::Display for Tok<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Tok::Word(w) => write!(f, "`{w}`"),
            Tok::Escaped(w) => write!(f, "`\\{w}`"),
            Tok::Number(n) => write!(f, "`{n}`"),
            Tok::Range { low, high, .. } => write!(f, "`{low}-{high}`"),
            Tok::Subtrahend(n) => write!(f, "`-{n}`"),
            Tok::Addr(a) => write!(f, "`{a}`"),
            Tok::Prefix(p) | Tok::Short(p) => write!(f, "`{p}`"),
            Tok::Mac(m) => write!(f, "`{m}`"),
            Tok::Ref(r) => write!(f, "`${r}`"),
            Tok::Sym(s) => {
                let text = SYMS.iter().find(|(_, sym)| sym == s).map_or("", |s| s.0);
                write!(f, "`{text}`")
            }
            Tok::Bad(b) => f.write_str(&b.message),
        }
    }
}

/// Splits a filter into tokens; comments and white space make none.
pub(super) fn lex<'s>(text: &'s str, start: u32, diagnostics: &mut Vec<Diagnostic>) -> Vec<Token<'s>> {
    let mut tokens = Vec::new();
    let mut at = 0;
    while let Some(rest) = text.get(at..).filter(|r| !r.is_empty()) {
        let skip = blank(rest);
        if skip > 0 {
            at += skip;
            continue;
        }
        let (mut tok, len) = token(rest);
        let span = Span::new(at, at + len).shift(start);
        if let Tok::Word(name) | Tok::Ref(name) = &mut tok
            && let Some(found) = name_error(name, span)
        {
            diagnostics.push(found);
            *name = Cow::Owned(name.to_lowercase());
        }
        tokens.push(Token { tok, span });
        at += len;
    }
    tokens
}

/// Length of the white space or the comment at the start.
fn blank(rest: &str) -> usize {
    if rest.starts_with("//") {
        return rest.find('\n').unwrap_or(rest.len());
    }
    rest.len() - rest.trim_start_matches([' ', '\t', '\r', '\n', '\u{feff}']).len()
}

fn token(rest: &str) -> (Tok<'_>, usize) {
    let head = rest.chars().next().unwrap_or(' ');
    if (head.is_ascii_hexdigit() || head == ':')
        && let Some(found) = colons(rest)
    {
        return found;
    }
    if head.is_ascii_hexdigit()
        && let Some((mac, len)) = foreign_mac(rest)
    {
        return (Tok::Mac(mac), len);
    }
    if head.is_ascii_digit() {
        return digits(rest);
    }
    if head.is_alphabetic() || head == '_' {
        let len = word_length(rest);
        return (word(rest, 0, len), len);
    }
    if matches!(head, '$' | '\\') {
        let len = 1 + word_length(rest.get(1..).unwrap_or(""));
        return match (head, len) {
            (_, 1) => (bad_char(head), 1),
            ('$', _) => {
                let name = rest.get(1..len).unwrap_or("");
                (Tok::Ref(Cow::Borrowed(name)), len)
            }
            _ => match word(rest, 1, len) {
                Tok::Word(name) => (Tok::Escaped(name), len),
                other => (other, len),
            },
        };
    }
    if rest.starts_with("->") {
        let message = "`->` stands after the filter, not in it".to_owned();
        return (bad(codes::FILTER, message, ""), 2);
    }
    if let Some(arrow) = ["=>", "→"].into_iter().find(|a| rest.starts_with(a)) {
        let message = format!("`{arrow}` has no meaning in a filter");
        let help = "the arrow is written `->`";
        return (meaning(bad(codes::FILTER, message, help), "->"), arrow.len());
    }
    match SYMS.iter().find(|(text, _)| rest.starts_with(text)) {
        Some((text, sym)) => (Tok::Sym(*sym), text.len()),
        None => (bad_char(head), head.len_utf8()),
    }
}

fn word(rest: &str, from: usize, to: usize) -> Tok<'_> {
    let text = rest.get(from..to).unwrap_or("");
    if text.is_ascii() {
        return Tok::Word(Cow::Borrowed(text));
    }
    let message = format!("`{text}` is not a name");
    bad(codes::NAME, message, "names are made of a-z, 0-9 and `_`")
}

fn bad(code: &'static str, message: String, help: &str) -> Tok<'static> {
    let help = (!help.is_empty()).then(|| help.to_owned());
    Tok::Bad(Bad {
        code,
        message,
        help,
        meant: None,
    })
}

fn meaning(tok: Tok<'static>, text: &'static str) -> Tok<'static> {
    match tok {
        Tok::Bad(bad) => Tok::Bad(Bad {
            meant: Some(text),
            ..bad
        }),
        other => other,
    }
}

fn bad_char(c: char) -> Tok<'static> {
    if let Some((meant, help)) = crate::parse::look_alike(c) {
        let message = format!("the character U+{:04X} has no meaning in a filter", u32::from(c));
        return meaning(bad(codes::FILTER, message, help), meant);
    }
    let (message, help) = match c {
        '"' | '\'' | '‘' | '’' | '“' | '”' => (
            format!("`{c}`: a filter has no strings"),
            "write the filter without quotes",
        ),
        ';' => (
            format!("`{c}` has no meaning in a filter"),
            "no `;` is needed; remove it",
        ),
        '#' => (
            format!("`{c}` has no meaning in a filter"),
            "comments begin with `//`",
        ),
        '.' => (
            format!("`{c}` has no meaning in a filter"),
            "filters are those of tcpdump: `tcp port 80`, `src host 10.0.0.1`, `tcp[13] & 2 != 0`",
        ),
        c if c.is_ascii_graphic() => (format!("`{c}` has no meaning in a filter"), ""),
        c => (
            format!("the character U+{:04X} has no meaning in a filter", u32::from(c)),
            "",
        ),
    };
    bad(codes::FILTER, message, help)
}

/// Letters, digits and `_`, with single hyphens between: `tcp-syn`.
fn word_length(rest: &str) -> usize {
    let mut chars = rest.char_indices().peekable();
    while let Some((at, c)) = chars.next() {
        let next = chars.peek().map(|(_, c)| *c);
        let hyphen = c == '-' && at > 0 && next.is_some_and(char::is_alphanumeric);
        if !(c.is_alphanumeric() || c == '_' || hyphen) {
            return at;
        }
    }
    rest.len()
}

/// An IPv6 address, its prefix, or a MAC: at least two colons.
fn colons(rest: &str) -> Option<(Tok<'_>, usize)> {
    // The longest of them, an IPv6 address with an IPv4 tail, has 45 characters.
    let is_part = |b: u8| b.is_ascii_hexdigit() || b == b':' || b == b'.';
    let len = rest.bytes().take(64).take_while(|b| is_part(*b)).count();
    let text = rest.get(..len)?;
    if text.bytes().filter(|b| *b == b':').count() < 2 {
        return None;
    }
    let tail = rest.get(len..)?;
    if let Some(mac) = literal::mac(text) {
        return Some((Tok::Mac(mac), len));
    }
    let bits = slash_length(tail);
    if bits > 0 {
        let whole = rest.get(..len + bits)?;
        return Some((prefix(whole), len + bits));
    }
    Some(match text.parse::<Ipv6Addr>() {
        Ok(a) => (Tok::Addr(IpAddr::V6(a)), len),
        Err(_) => {
            let message = format!("`{text}` is neither an IPv6 address nor a MAC");
            (bad(codes::LITERAL, message, ""), len)
        }
    })
}

/// A MAC as Windows (`00-11-22-33-44-55`) or Cisco (`0011.2233.4455`) prints it.
fn foreign_mac(rest: &str) -> Option<(Mac, usize)> {
    let is_part = |c: char| c.is_alphanumeric() || matches!(c, '-' | '.' | '_');
    let len = rest.find(|c| !is_part(c)).unwrap_or(rest.len());
    let text = rest.get(..len)?;
    literal::foreign_mac(text).map(|mac| (mac, len))
}

/// Length of the `/24` at the start, or 0.
fn slash_length(tail: &str) -> usize {
    let Some(rest) = tail.strip_prefix('/') else {
        return 0;
    };
    match rest.bytes().take_while(u8::is_ascii_digit).count() {
        0 => 0,
        digits => 1 + digits,
    }
}

fn prefix(text: &str) -> Tok<'_> {
    match literal::prefix(text) {
        Ok(p) => Tok::Prefix(p),
        Err(p) => bad(codes::LITERAL, p.message, p.help.as_deref().unwrap_or("")),
    }
}

fn digits(rest: &str) -> (Tok<'_>, usize) {
    let is_part = |c: char| c.is_alphanumeric() || c == '.' || c == '_';
    let len = rest.find(|c| !is_part(c)).unwrap_or(rest.len());
    let text = rest.get(..len).unwrap_or("");
    let tail = rest.get(len..).unwrap_or("");
    if text.contains("..") {
        let message = format!("`{text}` is not a range of ports");
        return (bad(codes::LITERAL, message, "write it like `80-90`"), len);
    }
    let dots = text.bytes().filter(|b| *b == b'.').count();
    if dots > 0 {
        return dotted(rest, text, tail, dots);
    }
    let low = match number(text) {
        Ok(n) => n,
        Err(found) => return (found, len),
    };
    let after = tail.strip_prefix('-').unwrap_or("");
    let more = after.bytes().take_while(u8::is_ascii_digit).count();
    let high = after.get(..more).and_then(|s| s.parse().ok());
    match high {
        Some(high) if more > 0 => {
            let minus = Span::new(0, len).end;
            (Tok::Range { low, high, minus }, len + 1 + more)
        }
        _ => (Tok::Number(low), len),
    }
}

/// `10.0.0.1`, `10.0.0.0/8`, and the short `192.168` and `10.1/16`.
fn dotted<'s>(rest: &'s str, text: &str, tail: &str, dots: usize) -> (Tok<'s>, usize) {
    let len = text.len();
    let bits = slash_length(tail);
    if dots == 3 {
        if bits > 0 {
            let whole = rest.get(..len + bits).unwrap_or("");
            return (prefix(whole), len + bits);
        }
        return match text.parse::<Ipv4Addr>() {
            Ok(a) => (Tok::Addr(IpAddr::V4(a)), len),
            Err(_) => {
                let message = format!("`{text}` is not an IPv4 address");
                let help = "each of its four parts is 0 to 255, without leading zeros";
                (bad(codes::LITERAL, message, help), len)
            }
        };
    }
    let whole = format!("{text}{}", ".0".repeat(3_usize.saturating_sub(dots)));
    let written = tail.get(1..bits).and_then(|s| s.parse::<u8>().ok());
    let known = u8::try_from((dots + 1) * 8).unwrap_or(32);
    match (whole.parse::<Ipv4Addr>(), written) {
        (Ok(a), bound) if bits == 0 || bound.is_some_and(|b| b <= 32) => {
            let len_bits = bound.unwrap_or(known);
            let addr = IpAddr::V4(a);
            (Tok::Short(Prefix { addr, len: len_bits }), len + bits)
        }
        _ => {
            let message = format!("`{text}` is not an address or a network");
            let help = "write it like `10.0.0.1` or `10.0.0.0/8`";
            (bad(codes::LITERAL, message, help), len + bits)
        }
    }
}

fn number(text: &str) -> Result<u32, Tok<'static>> {
    let wrong = |message| bad(codes::LITERAL, message, "");
    if text.len() > 1 && text.starts_with('0') && text.bytes().all(|b| b.is_ascii_digit()) {
        return u32::from_str_radix(text, 8).map_err(|_| {
            let message =
                format!("`{text}` begins with a zero, which makes it octal, and is not an octal number");
            let help = "write it in decimal without the zero, or in hexadecimal with `0x`";
            bad(codes::LITERAL, message, help)
        });
    }
    match literal::literal(text) {
        Ok(Value::Int(n)) => {
            u32::try_from(n).map_err(|_| wrong(format!("`{text}` is too large: filters count with 32 bits")))
        }
        Err(p) => Err(bad(codes::LITERAL, p.message, p.help.as_deref().unwrap_or(""))),
        Ok(_) => Err(wrong(format!("`{text}` is not a number"))),
    }
}
