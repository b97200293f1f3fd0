//! The pages of the syntax diagnostics, `C00xx`. `onvm-lang` finds them and words them; what there is to explain is
//! said here, beside the other pages.

use onvm_lang::Severity;

use super::Page;

/// What stands around an example filter.
/// A source with one rule of a firewall.
macro_rules! rules {
    ($rule:literal) => {
        concat!(
            "port wan = null {}\nnf fw = firewall {\n    rules = {\n        ",
            $rule,
            "\n    },\n}\nsteer wan { else -> fw -> wan }\n"
        )
    };
}

macro_rules! filter {
    ($filter:literal) => {
        concat!(
            "port wan = null {}\nsteer wan {\n    ",
            $filter,
            " -> drop\n    else -> wan\n}\n"
        )
    };
}

const fn error(
    code: &'static str,
    title: &'static str,
    text: &'static str,
    wrong: &'static str,
    right: &'static str,
) -> Page {
    Page {
        code,
        title,
        severity: Severity::Error,
        text,
        wrong,
        right,
    }
}

const TAIL: &str = "port wan = null {}\nsteer wan { else -> drop }\n";

/// In the order of the codes.
pub(crate) const PAGES: &[&Page] = &[
    &error(
        "C0001",
        "unexpected text",
        "The text does not follow the grammar here. One declaration is skipped; those after it are read as if it were\n\
         right.",
        "port wan null {}\nport lan = null {}\nsteer lan { else -> drop }\n",
        "port lan = null {}\nsteer lan { else -> drop }\n",
    ),
    &error(
        "C0002",
        "malformed name",
        "Names begin with a lower-case letter and go on with lower-case letters, digits and `_`, so that a name reads\n\
         the same in a source, a file name and a metric.",
        "port WAN = null {}\n",
        TAIL,
    ),
    &error(
        "C0003",
        "bracket without its partner",
        "Each `{`, `[` and `(` needs its `}`, `]` or `)`. A bracket that is never closed swallows what follows, so the\n\
         place where it was opened is shown.",
        "port wan = null {\n",
        TAIL,
    ),
    &error(
        "C0004",
        "malformed string",
        "A string ends on the line on which it begins. The escapes are `\\\"`, `\\\\`, `\\n`, `\\r`, `\\t`, `\\0`,\n\
         `\\xNN` and `\\u{N}`.",
        "port wan = tap { name = \"wan0 }\nsteer wan { else -> drop }\n",
        "port wan = tap { name = \"wan0\" }\nsteer wan { else -> drop }\n",
    ),
    &error(
        "C0005",
        "nested too deeply",
        "Parentheses, lists, records and arms nest at most 64 deep.",
        "",
        "",
    ),
    &error(
        "C0006",
        "unknown unit",
        "Quantities carry one of the units of the language: time `ns us ms s min h`, size `B KiB MiB GiB`, bit rate\n\
         `bps kbps Mbps Gbps`, packet rate `pps kpps Mpps`. Sizes are powers of 1024, rates powers of 1000.",
        "let a = 64 MB\nport wan = null {}\nsteer wan { else -> drop }\n",
        TAIL,
    ),
    &error(
        "C0007",
        "malformed number, address, prefix or range",
        "The value looks like a number or an address but is not: a part is missing or too large.",
        "let a = 10.0.0.256\nport wan = null {}\nsteer wan { else -> drop }\n",
        TAIL,
    ),
    &error(
        "C0008",
        "unknown declaration",
        "A declaration begins with one of the words\n\
         `use param let class port nf chain steer allow assert test manager`.",
        "prot wan = null {}\n",
        TAIL,
    ),
    &error(
        "C0009",
        "reserved word as a name",
        "Words that mean something in a chain or a filter cannot name anything.",
        "port drop = null {}\n",
        TAIL,
    ),
    &Page {
        code: "C0010",
        title: "doc comment without a declaration",
        severity: Severity::Warning,
        text: "A `///` comment documents the declaration below it. One that has none is lost; `//` is for other comments.",
        wrong: "port wan = null {}\nsteer wan { else -> drop }\n/// for nothing\n",
        right: TAIL,
    },
    &error(
        "C0011",
        "file too large",
        "A source file is limited in size, so that every offset in it fits.",
        "",
        "",
    ),
    &error(
        "C0012",
        "text that is displayed differently from its meaning",
        "Characters such as U+202E make an editor show a line in another order than the compiler reads it, so that a\n\
         rule can look like another. They may not stand in comments and strings; elsewhere nothing invisible may. A\n\
         carriage return without a line feed may not stand in a comment: editors show a new line behind it, and the\n\
         comment goes on.",
        "port wan = null {} // not for \u{202e}eluR eht\nsteer wan { else -> drop }\n",
        TAIL,
    ),
    &error(
        "C0013",
        "formatting would change the meaning",
        "`onvmc fmt` reads what it has written once more, and does not write a file that would then mean something\n\
         else. Such a change would be a bug in the formatter; please report it with the declaration.",
        "",
        "",
    ),
    &error(
        "C0020",
        "malformed filter",
        "The filter does not follow pcap-filter(7), the language of tcpdump.",
        filter!("tcp and and udp"),
        filter!("tcp or udp"),
    ),
    &error(
        "C0021",
        "value does not suit its primitive",
        "A port is a number up to 65535, a host an address, a net a prefix without host bits.",
        filter!("port 70000"),
        filter!("port 7000"),
    ),
    &error(
        "C0022",
        "value without a qualifier",
        "A bare number may be a port, a protocol or a length; the word before it says which.",
        filter!("80"),
        filter!("port 80"),
    ),
    &error(
        "C0023",
        "unknown service, protocol or constant",
        "The word is not a service such as `https`, a protocol or a constant such as `tcp-syn`, and no class of this\n\
         name is declared.",
        filter!("port htttps"),
        filter!("port https"),
    ),
    &error(
        "C0024",
        "primitive not supported",
        "The primitive belongs to pcap-filter(7), and this language leaves it out: it needs a name server, a routing\n\
         table, or a link layer that is not Ethernet.",
        filter!("gateway snup"),
        filter!("ether host 02:00:00:00:00:01"),
    ),
    &Page {
        code: "C0025",
        title: "surprising grouping",
        severity: Severity::Warning,
        text: "In libpcap's grammar `^` and `%` have no precedence: they take in all that follows, so `a % b + c` is\n\
               `a % (b + c)`. Parentheses say which reading is meant.",
        wrong: filter!("ip[0] % 2 + 1 = 1"),
        right: filter!("ip[0] % (2 + 1) = 1"),
    },
    &error(
        "C0026",
        "line of another firewall",
        "A line of iptables, nftables or a Cisco access list stands among rules. Where a rule can say the same, the\n\
         help shows it; matches on connections, interfaces or users have no counterpart in a stateless filter.",
        rules!("-A INPUT -p tcp --dport 22 -j ACCEPT"),
        rules!("accept tcp and dst port 22"),
    ),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_syntax_code_has_its_page() {
        let pages: Vec<_> = PAGES.iter().map(|p| (p.code, p.title)).collect();
        assert_eq!(pages, onvm_lang::CODES);
    }

    #[test]
    fn the_examples_are_as_they_say() {
        for page in PAGES.iter().filter(|p| !p.wrong.is_empty()) {
            let wrong = crate::testing::checked(page.wrong);
            let found: Vec<_> = wrong.diagnostics.iter().map(|d| (d.code, d.severity)).collect();
            assert!(
                found.contains(&(page.code, page.severity)),
                "{}: {found:?}",
                page.code
            );
            let right = crate::testing::checked(page.right);
            assert!(
                right.diagnostics.is_empty(),
                "{}: {:?}",
                page.code,
                right.diagnostics
            );
        }
    }
}
