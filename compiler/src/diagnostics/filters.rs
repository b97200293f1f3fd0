//! The diagnostics of filters, `C03xx`, and their pages.

use onvm_lang::{
    Diagnostic, Severity,
    syntax::{Prefix, Span},
};

use onvm_bundle::filter::Layer;

use super::Page;

/// The pages, in the order of the codes.
pub(crate) const PAGES: &[&Page] = &[
    &MIXED,
    &CLASS_CYCLE,
    &WRONG_VALUE,
    &OUT_OF_RANGE,
    &HOST_BITS,
    &QUALIFIER,
    &EMPTY_LIST,
    &ARITHMETIC,
    &TOO_LARGE,
    &ABSENT_TAG,
    &UNGUARDED,
    &MISPLACED,
];

/// A source with one class, that nothing uses.
macro_rules! source {
    ($($line:literal),+) => {
        concat!("port wan = null {}\n", $($line, "\n",)+ "steer wan { traffic -> drop else -> drop }\n")
    };
}

const MIXED: Page = Page {
    code: "C0301",
    title: "`and` and `or` mixed without parentheses",
    severity: Severity::Warning,
    text: "\
`and` and `or` have equal precedence and associate left, as in pcap-filter(7). Most languages bind
`and` tighter, so a filter that mixes them is easily misread. Parentheses say which reading is meant.",
    wrong: source!("class traffic = udp or tcp and port 53"),
    right: source!("class traffic = (udp or tcp) and port 53"),
};

const CLASS_CYCLE: Page = Page {
    code: "C0302",
    title: "class or value defined by itself",
    severity: Severity::Error,
    text: "\
A class stands for its filter and a `$name` for its value. One that leads back to itself stands for
nothing.",
    wrong: source!(
        "class web = traffic and port 80",
        "class traffic = web or port 443"
    ),
    right: source!("class web = tcp and port 80", "class traffic = web or port 443"),
};

const WRONG_VALUE: Page = Page {
    code: "C0303",
    title: "value does not suit the primitive",
    severity: Severity::Error,
    text: "\
Each primitive takes values of one kind: `port` a port or a range of ports, `host` an address, `net` a
prefix or an address, `ether host` an Ethernet address, the others a number. Every member of a list
must be of that kind; IPv4 and IPv6 may be mixed.",
    wrong: source!(
        "let servers = [02:00:00:00:00:01]",
        "class traffic = port $servers"
    ),
    right: source!(
        "let servers = [02:00:00:00:00:01]",
        "class traffic = ether host $servers"
    ),
};

const OUT_OF_RANGE: Page = Page {
    code: "C0304",
    title: "value out of range",
    severity: Severity::Error,
    text: "\
Ports and EtherTypes go to 65535, protocol numbers to 255, VLAN ids to 4095, code points to 63, and no
frame has a byte beyond offset 65535. A larger value could never match.",
    wrong: source!("let id = 5000", "class traffic = vlan $id"),
    right: source!("let id = 500", "class traffic = vlan $id"),
};

const HOST_BITS: Page = Page {
    code: "C0305",
    title: "prefix with host bits",
    severity: Severity::Error,
    text: "\
The bits of a prefix beyond its length must be 0, as in libpcap: `10.0.0.1/8` may mean the network
10.0.0.0/8 or the host 10.0.0.1.",
    wrong: source!("let inside = 10.0.0.1/8", "class traffic = src net $inside"),
    right: source!("let inside = 10.0.0.0/8", "class traffic = src net $inside"),
};

const QUALIFIER: Page = Page {
    code: "C0306",
    title: "qualifier does not fit",
    severity: Severity::Error,
    text: "\
A qualifier must fit what it stands before: `ip` and `arp` IPv4 addresses, `ip6` IPv6 addresses, and
only `tcp`, `udp` and `sctp` have ports. libpcap refuses the same.",
    wrong: source!("let server = 192.0.2.1", "class traffic = ip6 host $server"),
    right: source!("let server = 192.0.2.1", "class traffic = ip host $server"),
};

const EMPTY_LIST: Page = Page {
    code: "C0307",
    title: "empty list in a filter",
    severity: Severity::Error,
    text: "\
A list stands for any of its members. An empty one would match nothing, and under `not` everything,
which is rarely meant.",
    wrong: source!("let servers = []", "class traffic = host $servers"),
    right: source!("let servers = [192.0.2.1]", "class traffic = host $servers"),
};

const ARITHMETIC: Page = Page {
    code: "C0308",
    title: "impossible arithmetic",
    severity: Severity::Error,
    text: "\
Division by zero and shifts by more than 31 bits have no value, and bytes are loaded by one, two or
four. libpcap refuses the same.",
    wrong: source!("class traffic = ip[0] / (2 - 2) == 1"),
    right: source!("class traffic = ip[0] / (2 + 2) == 17"),
};

/// The code of filters that are too large.
pub(crate) const OVERSIZED: &str = TOO_LARGE.code;

const TOO_LARGE: Page = Page {
    code: "C0309",
    title: "filter too large",
    severity: Severity::Error,
    text: "\
With its classes and lists spelled out a filter may have 200,000 tests, values and operators, 256
levels of nesting and 255 VLAN tags. `and` and `or` in turn without parentheses nest one level each.",
    wrong: source!(
        "class a = tcp or udp or sctp or icmp or icmp6 or arp or ip or ip6",
        "class b = a or a or a or a or a or a or a or a",
        "class c = b or b or b or b or b or b or b or b",
        "class d = c or c or c or c or c or c or c or c",
        "class e = d or d or d or d or d or d or d or d",
        "class traffic = e or e or e or e or e or e or e or e"
    ),
    right: source!(
        "class a = tcp or udp or sctp or icmp or icmp6 or arp or ip or ip6",
        "class traffic = a"
    ),
};

const ABSENT_TAG: Page = Page {
    code: "C0310",
    title: "test behind a tag or label that may be absent",
    severity: Severity::Warning,
    text: "\
As in libpcap, `vlan` shifts every primitive to its right by one tag, through `or`, `not`, parentheses
and classes, whether or not the packet has the tag. In `vlan 5 or vlan 6` the second `vlan` looks for
an inner tag, and in `vlan or ip` the `ip` reads the EtherType behind a tag that is not there. `mpls` and
`pppoes` shift in the same way.",
    wrong: source!("class traffic = vlan 5 or vlan 6"),
    right: source!("class traffic = vlan [5, 6]"),
};

const UNGUARDED: Page = Page {
    code: "C0311",
    title: "load without its protocol test",
    severity: Severity::Warning,
    text: "\
`tcp[13]` implies a test for TCP, but as in libpcap only the leftmost load of an arithmetic expression
does: `1 + tcp[13]` reads that byte of any packet, and computes with any value there.",
    wrong: source!("class traffic = 1 + tcp[12] > 100"),
    right: source!("class traffic = tcp[12] + 1 > 100"),
};

const MISPLACED: Page = Page {
    code: "C0312",
    title: "test without a meaning behind the headers before it",
    severity: Severity::Error,
    text: "\
Right of `mpls`, `pppoes`, `geneve` and `vxlan` a filter looks at what they carry. Behind an MPLS label
only IPv4 and IPv6 can be told apart, and a PPPoE session has no Ethernet addresses. The place of the payload
of `geneve` or `vxlan` is known only from the packet, so tests of it must be joined by `and`: in
`geneve or tcp` there is nothing to look into. libpcap refuses the former, and reads the latter at an
arbitrary place.",
    wrong: source!("class traffic = geneve 5 or tcp"),
    right: source!("class traffic = tcp or geneve 5"),
};

/// A value in a filter: where it stands, and what it is in words.
pub(crate) struct Described {
    /// What the operator wrote in the filter: the value, or the `$name` that leads to it.
    pub(crate) span: Span,
    /// The value itself, when a `$name` leads to it.
    pub(crate) origin: Option<Span>,
    /// As in "the number 80".
    pub(crate) what: String,
}

fn error(page: &Page, message: impl Into<String>, span: Span, label: impl Into<String>) -> Diagnostic {
    Diagnostic::error(page.code, message, span, label)
}

/// The label under the value, and under its definition when it has one elsewhere.
fn on_value(page: &Page, value: &Described, message: impl Into<String>, label: String) -> Diagnostic {
    match value.origin {
        Some(origin) => error(page, message, value.span, "through this name").label(origin, label),
        None => error(page, message, value.span, label),
    }
}

/// `op`: the first operator unlike the one before; `left`: everything left of it.
pub(crate) fn mixed(op: Span, left: Span, held: &str, other: &str) -> Diagnostic {
    Diagnostic::warning(MIXED.code, MIXED.title, op, "joins everything left of it")
        .label(left, "this is taken together first")
        .help(format!(
            "read as: {held}\nif you mean the other reading, write: {other}\nparentheses silence this"
        ))
}

/// With the fix that says in the source how it is read; `text` is what stands at `left`.
pub(crate) fn in_parentheses(mixed: Diagnostic, left: Span, text: &str) -> Diagnostic {
    let title = "put parentheses around what is taken together first";
    mixed.fix(title, left, format!("({text})"))
}

/// `cycle`: the classes from the first occurrence on, each with the span that names it; `span` names the first again.
/// A circle is reported in the same words wherever it is entered, so that it is reported once.
pub(crate) fn class_cycle(cycle: &[(String, Span)], name: &str, span: Span) -> Diagnostic {
    let mut mentions: Vec<(&str, Span)> = cycle.iter().skip(1).map(|(c, s)| (c.as_str(), *s)).collect();
    mentions.push((name, span));
    let first = (0..mentions.len()).min_by_key(|n| mentions[*n].1).unwrap_or(0);
    mentions.rotate_left(first);
    let (name, span) = mentions[0];
    let path: Vec<&str> = mentions.iter().map(|(class, _)| *class).chain([name]).collect();
    let message = format!("class `{name}` is defined by itself: {}", path.join(" -> "));
    let diagnostic = error(&CLASS_CYCLE, message, span, format!("`{name}` is needed here"));
    let diagnostic = match mentions.last() {
        Some((last, back)) if *back != span => {
            diagnostic.label(*back, format!("and needs `{last}`, which leads back"))
        }
        _ => diagnostic,
    };
    diagnostic.help("a class must be made of other primitives in the end")
}

pub(crate) fn value_cycle(span: Span, name: &str) -> Diagnostic {
    error(
        &CLASS_CYCLE,
        format!("`${name}` is defined by itself"),
        span,
        "leads back to itself",
    )
    .help("give one of the values on the way a literal")
}

pub(crate) fn wrong_value(value: &Described, primitive: &str, wanted: &str) -> Diagnostic {
    let found = &value.what;
    on_value(
        &WRONG_VALUE,
        value,
        format!("`{primitive}` takes {wanted}, not {found}"),
        format!("{found} here"),
    )
    .help(format!(
        "give `{primitive}` {wanted}, or use the primitive that this value suits"
    ))
}

pub(crate) fn prefix_as_host(value: &Described, prefix: Prefix) -> Diagnostic {
    let message = format!("`host` takes an address, not the prefix {prefix}");
    on_value(&WRONG_VALUE, value, message, "a prefix".to_owned()).help("write `net` in place of `host`")
}

pub(crate) fn out_of_range(value: &Described, primitive: &str, number: i64, max: u32) -> Diagnostic {
    let message = format!("`{primitive}` takes a number from 0 to {max}, not {number}");
    on_value(&OUT_OF_RANGE, value, message, "out of range".to_owned()).help(format!("the largest is {max}"))
}

pub(crate) fn far_offset(span: Span, bytes: u32) -> Diagnostic {
    error(
        &OUT_OF_RANGE,
        format!("no frame has a byte at offset {bytes}"),
        span,
        "beyond any frame",
    )
    .help("offsets count in bytes from the start of the header and go to 65535")
}

pub(crate) fn host_bits(value: &Described, prefix: Prefix) -> Diagnostic {
    let message = format!("the prefix {prefix} has bits set beyond its length");
    let written = value.origin.unwrap_or(value.span);
    on_value(
        &HOST_BITS,
        value,
        message,
        format!("{} bits of it count", prefix.len),
    )
    .help(format!(
        "write {} for the network, or {} for the host",
        prefix.network(),
        prefix.addr
    ))
    .write(written, prefix.network().to_string())
    .write(written, prefix.addr.to_string())
}

pub(crate) fn wrong_family(value: &Described, qualifier: &str, family: &str) -> Diagnostic {
    let message = format!("`{qualifier}` does not go with an {family} address");
    on_value(
        &QUALIFIER,
        value,
        message,
        format!("{}, which is {family}", &value.what),
    )
    .help(format!("leave `{qualifier}` out, or give an address of its kind"))
}

pub(crate) fn qualifier(span: Span, word: &str, primitive: &str, fix: &str) -> Diagnostic {
    error(
        &QUALIFIER,
        format!("`{word}` does not qualify `{primitive}`"),
        span,
        format!("`{word}` is not allowed here"),
    )
    .help(format!("write `{fix} ...`"))
}

pub(crate) fn empty_list(span: Span) -> Diagnostic {
    error(&EMPTY_LIST, EMPTY_LIST.title, span, "has no members")
        .help("give it a member, or leave the primitive out")
}

pub(crate) fn division_by_zero(span: Span) -> Diagnostic {
    error(&ARITHMETIC, "division by zero", span, "is 0").help("divide by another number")
}

pub(crate) fn wide_shift(span: Span, bits: u32) -> Diagnostic {
    error(&ARITHMETIC, format!("shift by {bits} bits"), span, "more than 31").help("values have 32 bits")
}

pub(crate) fn load_size(span: Span, size: u8) -> Diagnostic {
    error(
        &ARITHMETIC,
        format!("a load of {size} bytes"),
        span,
        "not 1, 2 or 4",
    )
    .help("load 1, 2 or 4 bytes")
}

pub(crate) fn too_deep(span: Span) -> Diagnostic {
    error(
        &TOO_LARGE,
        "filter nested deeper than 256 levels",
        span,
        "nested too deeply",
    )
    .help("`and` and `or` in turn nest one level each: group what belongs together in parentheses or classes")
}

pub(crate) fn too_large(span: Span, most: usize) -> Diagnostic {
    let message = format!("filter with more than {most} tests, values and operators");
    error(&TOO_LARGE, message, span, "too large")
        .help("classes are spelled out where they are named: split the filter over several rules")
}

pub(crate) fn too_many_layers(span: Span) -> Diagnostic {
    error(
        &TOO_LARGE,
        "filter with more than 255 `vlan`, `mpls` and the like",
        span,
        "the first too many",
    )
    .help("each `vlan` looks for one more tag; for several ids write `vlan [5, 6]`")
}

pub(crate) fn behind_absent(span: Span, by: Span, layer: Layer) -> Diagnostic {
    let (what, word) = (layer_name(layer), layer.word());
    let message = format!("this looks behind {what} that the packet may not have");
    Diagnostic::warning(ABSENT_TAG.code, message, span, "is read as if it were there")
        .label(by, format!("`{word}` shifts everything to its right, matched or not"))
        .help(format!(
            "put the case without it first, as in `ip or ({word} and ip)`; for several numbers write `{word} [5, 6]`"
        ))
}

fn layer_name(layer: Layer) -> &'static str {
    match layer {
        Layer::Vlan => "a VLAN tag",
        Layer::Mpls => "an MPLS label",
        Layer::Pppoes => "a PPPoE session",
        Layer::Geneve => "a Geneve header",
        Layer::Vxlan => "a VXLAN header",
    }
}

pub(crate) fn outside_tunnel(span: Span, by: Span, word: &str) -> Diagnostic {
    let message = format!("this looks inside `{word}` of packets that may not have it");
    error(&MISPLACED, message, span, "looks at the carried packet")
        .label(by, format!("everything right of `{word}` looks at the carried packet"))
        .help(format!(
            "put tests of other packets first, as in `tcp or ({word} and tcp)`; for several networks write `{word} [5, 6]`"
        ))
}

pub(crate) fn misplaced(span: Span, by: Span, reason: &str) -> Diagnostic {
    error(
        &MISPLACED,
        "this test has no meaning here",
        span,
        "looks behind the headers before it",
    )
    .label(by, "everything to the right of this looks at the carried packet")
    .help(reason)
}

pub(crate) fn list_in_arithmetic(span: Span, name: &str, members: usize) -> Diagnostic {
    let message = format!("`${name}` has {members} values; arithmetic takes one number");
    error(&WRONG_VALUE, message, span, "expected a single number")
}

pub(crate) fn unguarded_load(span: Span, whole: Span) -> Diagnostic {
    let message = "this is read of packets of any protocol";
    Diagnostic::warning(
        UNGUARDED.code,
        message,
        span,
        "implies no test for its protocol, as in libpcap",
    )
    .label(whole, "only the leftmost load of this implies one")
    .help("put this load first, or write the test before the relation: `tcp and ...`")
}

#[cfg(test)]
mod tests {
    #[test]
    fn pages() {
        for page in super::PAGES {
            crate::testing::check_page(page);
        }
    }
}
