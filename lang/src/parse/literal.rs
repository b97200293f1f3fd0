//! Numbers, addresses, ranges and words, distinguished by their text.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use crate::syntax::{Mac, Prefix, Value};

/// What is wrong with a literal.
#[derive(Debug)]
pub(crate) struct Problem {
    pub(crate) message: String,
    pub(crate) help: Option<String>,
}

fn problem<T>(message: String, help: &str) -> Result<T, Problem> {
    Err(Problem {
        message,
        help: (!help.is_empty()).then(|| help.to_owned()),
    })
}

/// Reads an atom: everything but strings, lists, records and `$name`.
pub(crate) fn literal(text: &str) -> Result<Value, Problem> {
    if let Some(addr) = text.strip_prefix('[') {
        return match text.parse::<SocketAddr>() {
            Ok(a) => Ok(Value::AddrPort(a)),
            Err(_) => problem(
                format!("`[{addr}` is not an address and a port"),
                "write it like `[2001:db8::1]:80`",
            ),
        };
    }
    if text.contains('/') {
        return prefix(text).map(Value::Prefix);
    }
    if let Some((low, high)) = text.split_once("..") {
        return range(text, low, high);
    }
    if let Some(mac) = mac(text) {
        return Ok(Value::Mac(mac));
    }
    if text.contains(':') {
        return colons(text);
    }
    match text.as_bytes().first() {
        Some(b'0'..=b'9' | b'.' | b'-') => number(text),
        _ if text.contains('-') => problem(
            format!("`{text}` is not a name"),
            &format!("write `{}`", text.replace('-', "_")),
        ),
        _ if text.contains('.') => problem(
            format!("`{text}` is not a value"),
            "write text in double quotes: \"...\"",
        ),
        _ => Ok(match text {
            "true" => Value::Bool(true),
            "false" => Value::Bool(false),
            _ => Value::Word(text.to_owned()),
        }),
    }
}

/// Where the unit begins in `64MiB`.
pub(crate) fn glued_unit(text: &str) -> Option<usize> {
    let at = text.find(|c: char| !(c.is_ascii_digit() || c == '.'))?;
    let unit = text.get(at..)?;
    let digits = text.get(..at)?;
    let number = digits.ends_with(|c: char| c.is_ascii_digit());
    let hex = digits == "0" && unit.starts_with(['x', 'X']);
    let word = unit.chars().all(|c| c.is_ascii_alphabetic());
    (number && word && !hex).then_some(at)
}

fn colons(text: &str) -> Result<Value, Problem> {
    if let Ok(a) = text.parse::<Ipv6Addr>() {
        return Ok(Value::Ipv6(a));
    }
    if let Ok(a) = text.parse::<SocketAddr>() {
        return Ok(Value::AddrPort(a));
    }
    if text.matches(':').count() == 1 {
        return problem(
            format!("`{text}` is not an IPv4 address and a port"),
            "write it like `198.51.100.7:4000`; a port is at most 65535",
        );
    }
    problem(
        format!("`{text}` is neither an IPv6 address nor a MAC"),
        "write an address like `2001:db8::1`, a MAC like `02:00:00:00:00:01`, or text in double \
         quotes like \"0000:3b:00.0\"",
    )
}

/// Reads `02:00:00:00:00:01`: six groups of one or two hexadecimal digits.
pub(crate) fn mac(text: &str) -> Option<Mac> {
    let mut bytes = [0; 6];
    let mut groups = text.split(':');
    for byte in &mut bytes {
        let group = groups.next()?;
        let hex = group.bytes().all(|b| b.is_ascii_hexdigit());
        if group.is_empty() || group.len() > 2 || !hex {
            return None;
        }
        *byte = u8::from_str_radix(group, 16).ok()?;
    }
    groups.next().is_none().then_some(Mac(bytes))
}

/// Reads `00-11-22-33-44-55` and `0011.2233.4455`, groups of two or four hexadecimal digits.
pub(crate) fn foreign_mac(text: &str) -> Option<Mac> {
    let (by, digits) = match (text.len(), text.contains('-')) {
        (17, true) => ('-', 2),
        (14, false) => ('.', 4),
        _ => return None,
    };
    let hex = |group: &str| group.len() == digits && group.bytes().all(|b| b.is_ascii_hexdigit());
    if !text.split(by).all(hex) {
        return None;
    }
    let digits: String = text.split(by).collect();
    let mut bytes = [0; 6];
    for (n, byte) in bytes.iter_mut().enumerate() {
        *byte = u8::from_str_radix(digits.get(2 * n..2 * n + 2)?, 16).ok()?;
    }
    (digits.len() == 12).then_some(Mac(bytes))
}

/// Reads `10.0.0.0/8`; host bits are kept.
pub(crate) fn prefix(text: &str) -> Result<Prefix, Problem> {
    let (addr, len) = text.split_once('/').unwrap_or((text, ""));
    let Ok(addr) = addr.parse::<IpAddr>() else {
        return problem(
            format!("`{text}` is not a prefix: `{addr}` is not an address"),
            "write it like `10.0.0.0/8` or `2001:db8::/32`; write text in double quotes",
        );
    };
    let most = if addr.is_ipv4() { 32 } else { 128 };
    let digits = !len.is_empty() && len.bytes().all(|b| b.is_ascii_digit());
    match len.parse::<u8>() {
        Ok(len) if digits && len <= most => Ok(Prefix { addr, len }),
        _ => problem(format!("`{text}` is not a prefix: the length is 0 to {most}"), ""),
    }
}

fn range(text: &str, low: &str, high: &str) -> Result<Value, Problem> {
    let number = |s: &str| match number(s) {
        Ok(Value::Int(n)) => Some(n),
        _ => None,
    };
    match (number(low), number(high)) {
        (Some(low), Some(high)) if low <= high => Ok(Value::Range(low, high)),
        (Some(low), Some(high)) => problem(
            format!("the range `{text}` is empty: it starts above its end"),
            &format!("write `{high}..{low}`"),
        ),
        _ => problem(
            format!("`{text}` is not a range"),
            "write whole numbers, both included: `2..4`",
        ),
    }
}

fn number(text: &str) -> Result<Value, Problem> {
    let (negative, digits) = match text.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, text),
    };
    if digits.matches('.').count() == 3 {
        return match text.parse::<Ipv4Addr>() {
            Ok(a) => Ok(Value::Ipv4(a)),
            Err(_) => problem(
                format!("`{text}` is not an IPv4 address"),
                "each of its four parts is 0 to 255, without leading zeros",
            ),
        };
    }
    let plain: String = digits.chars().filter(|c| *c != '_').collect();
    let hex = plain.strip_prefix("0x").or(plain.strip_prefix("0X"));
    let shape = |s: &str, hex: bool| {
        !s.is_empty()
            && s.bytes()
                .all(|b| b.is_ascii_digit() || hex && b.is_ascii_hexdigit())
    };
    let whole = match hex {
        Some(hex) if shape(hex, true) => i128::from_str_radix(hex, 16).ok(),
        None if shape(&plain, false) => plain.parse().ok(),
        _ => return decimal(text, &plain, negative),
    };
    let signed = whole.map(|n: i128| if negative { -n } else { n });
    match signed.and_then(|n| i64::try_from(n).ok()) {
        Some(n) => Ok(Value::Int(n)),
        None => problem(
            format!("`{text}` is too large"),
            &format!("the largest number is {}", i64::MAX),
        ),
    }
}

fn decimal(text: &str, plain: &str, negative: bool) -> Result<Value, Problem> {
    let shape = plain.split_once('.').is_some_and(|(whole, part)| {
        let digits = |s: &str| !s.is_empty() && s.bytes().all(|b| b.is_ascii_digit());
        digits(whole) && digits(part)
    });
    match plain.parse::<f64>() {
        Ok(n) if shape && n.is_finite() => Ok(Value::Decimal(if negative { -n } else { n })),
        _ => problem(
            format!("`{text}` is not a number"),
            "numbers are written like `12`, `0.5` or `0x1f`; write text in double quotes",
        ),
    }
}

/// Reads the escape at the start of `text`: the character and the escape's length.
pub(crate) fn escape(text: &str) -> Option<(char, usize)> {
    let simple = |c| Some((c, 2));
    match text.as_bytes().get(1)? {
        b'n' => simple('\n'),
        b'r' => simple('\r'),
        b't' => simple('\t'),
        b'0' => simple('\0'),
        b'"' => simple('"'),
        b'\\' => simple('\\'),
        b'x' => {
            let hex = text.get(2..4)?;
            let byte = u8::from_str_radix(hexadecimal(hex)?, 16).ok()?;
            Some((char::from(byte), 4))
        }
        b'u' => {
            let rest = text.get(2..)?.strip_prefix('{')?;
            let end = rest.bytes().take(7).position(|b| b == b'}')?;
            let code = u32::from_str_radix(hexadecimal(rest.get(..end)?)?, 16).ok()?;
            Some((char::from_u32(code)?, end + 4))
        }
        _ => None,
    }
}

/// The text if all of it is hexadecimal digits; `from_str_radix` would take a sign.
fn hexadecimal(text: &str) -> Option<&str> {
    text.bytes().all(|b| b.is_ascii_hexdigit()).then_some(text)
}
