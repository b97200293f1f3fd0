//! Programs that others could have written: each gets a diagnostic, and none a panic, a hang or all the memory.

use std::fmt::Write as _;

use super::{check_within_limits, neighbours};

const HEAD: &str = "port wan = null\nport lan = null\nnf fw = firewall\n";
const TAIL: &str = "steer wan { else -> fw -> lan }\nsteer lan { else -> drop }\n";

/// A right program with this in its middle.
fn within(text: impl AsRef<str>) -> Vec<u8> {
    format!("{HEAD}{}\n{TAIL}", text.as_ref()).into_bytes()
}

#[rustfmt::skip]
fn slips() -> Vec<(&'static str, Vec<u8>)> {
    vec![
        ("misspelt keyword", within("chian fast = fw -> lan")),
        ("misspelt port", within("steer wna { else -> fw -> lan }")),
        ("misspelt NF type", within("nf mon = monitr")),
        (
            "misspelt parameter",
            within("nf f2 = firewall { defautl = drop }"),
        ),
        ("misspelt word", within("nf f2 = firewall { default = dorp }")),
        ("misspelt port kind", within("port p = taap")),
        (
            "misspelt output",
            within(
                "nf s = payload_scan { patterns = file(\"self.chain\") }\nchain c = s { mtach -> drop } -> lan",
            ),
        ),
        ("misspelt step", within("chain c = fw -> lna")),
        ("capital in a name", within("nf Fw2 = firewall")),
        ("hyphen in a name", within("nf fw-2 = firewall")),
        ("wrong unit", within("nf mon = monitor { every = 1 MiB }")),
        (
            "decimal megabytes",
            within("nf mon = monitor with { memory = 64 MB }"),
        ),
        ("missing unit", within("nf mon = monitor { every = 10 }")),
        (
            "unit in the wrong case",
            within("nf mon = monitor { every = 1 S }"),
        ),
        ("unclosed brace", within("nf f2 = firewall { default = drop")),
        ("unclosed list", within("let a = [1, 2")),
        ("unclosed parenthesis", within("class a = (tcp or udp")),
        ("unclosed string", within("port p = tap { name = \"lan0 }")),
        ("unclosed comment of another language", within("/* steer wan { }")),
        ("one brace too many", within("nf f2 = firewall { } }")),
        ("brackets that do not match", within("let a = [1, 2}")),
        (
            "arms in another order",
            within("steer fw { else -> drop  tcp -> lan }"),
        ),
        (
            "else before the rules",
            b"port wan = null\nsteer wan { else -> drop  tcp -> wan }\n".to_vec(),
        ),
        ("no else", b"port wan = null\nsteer wan { tcp -> wan }\n".to_vec()),
        ("arrow backwards", within("chain c = fw <- lan")),
        ("fat arrow", within("chain c = fw => lan")),
        ("equals for a colon", within("param a = int")),
        ("colon for equals", within("nf f2 = firewall { default: drop }")),
        ("semicolons", within("let a = 1;\nlet b = 2;")),
        (
            "quotes of a word processor",
            within("port p = tap { name = “lan0” }"),
        ),
        ("single quotes", within("port p = tap { name = 'lan0' }")),
        ("reserved word as a name", within("nf drop = firewall")),
        ("two names in one", within("nf my fw = firewall")),
        ("missing comma", within("let a = [1 2]")),
        ("two commas", within("let a = [1,, 2]")),
        ("an address that is none", within("class a = src host 10.0.0.256")),
        ("a prefix with host bits", within("class a = src net 10.0.0.1/8")),
        ("a port that is none", within("class a = dst port 65536")),
        ("a comparison that is none", within("class a = tcp[13] & 2 <> 0")),
        ("a shell's variable", within("let a = ${b}")),
        (
            "steps on lines with backslashes",
            within("chain c = fw \\\n -> lan"),
        ),
        (
            "a packet both TCP and UDP in words",
            within("class a = tcp plus udp"),
        ),
    ]
}

#[rustfmt::skip]
fn malice() -> Vec<(&'static str, Vec<u8>)> {
    let deep =
        |open: &str, close: &str, mid: &str| format!("{}{mid}{}", open.repeat(10_000), close.repeat(10_000));
    let chain = |names: &dyn Fn(usize) -> String| (0..10_000).map(names).collect::<String>();
    vec![
        ("empty", Vec::new()),
        ("white space alone", b" \t\r\n\r\n".to_vec()),
        ("a comment alone", b"// nothing\n".to_vec()),
        (
            "a byte order mark and a mistake",
            b"\xef\xbb\xbfport wan = nul\nsteer wan { else -> drop }\n".to_vec(),
        ),
        (
            "CRLF and a mistake",
            b"port wan = null\r\nsteer wan {\r\n\ttcp -> lna\r\n\telse -> drop\r\n}\r\n".to_vec(),
        ),
        (
            "carriage returns alone",
            b"port wan = nul\rsteer wan { else -> drop }\r".to_vec(),
        ),
        ("not UTF-8", b"// caf\xe9\nport wan = null\n".to_vec()),
        (
            "UTF-16",
            "port wan = null\n"
                .encode_utf16()
                .flat_map(u16::to_le_bytes)
                .collect(),
        ),
        (
            "NUL bytes",
            b"port wan = null\0\nsteer wan { else -> drop }\n".to_vec(),
        ),
        ("NUL bytes alone", vec![0; 4096]),
        ("an ELF header", b"\x7fELF\x02\x01\x01\0\0\0\0".to_vec()),
        (
            "a line of 1 MB",
            within(format!("let a = [{}", "1, ".repeat(350_000))),
        ),
        (
            "a name of 1 MB",
            within(format!("chain {} = nobody", "x".repeat(1 << 20))),
        ),
        (
            "a string of 1 MB that does not end",
            within(format!("let a = \"{}", "x".repeat(1 << 20))),
        ),
        (
            "parentheses",
            within(format!("class a = {}", deep("(", ")", "tcp"))),
        ),
        ("brackets", within(format!("let a = {}", deep("[", "]", "1")))),
        (
            "braces",
            within(format!("nf f2 = firewall {}", deep("{ a = ", " }", "1"))),
        ),
        (
            "arms",
            within(format!("chain c = {}", deep("fw { denied -> ", " }", "lan"))),
        ),
        (
            "opened and never closed",
            within(format!("class a = {}", "(".repeat(100_000))),
        ),
        ("closed and never opened", within("}".repeat(100_000))),
        (
            "not not not",
            within(format!("class a = {}tcp", "not ".repeat(100_000))),
        ),
        (
            "a huge integer",
            within("let a = 999999999999999999999999999999\nnf m = monitor { top = $a }"),
        ),
        (
            "an integer at the edge",
            within("nf m = monitor { top = 9223372036854775807 }"),
        ),
        (
            "a huge quantity",
            within("nf m = monitor { every = 9223372036854775807 h }"),
        ),
        (
            "a huge range",
            within("manager { cores = [0..9223372036854775807] }"),
        ),
        (
            "a huge count",
            within("nf m = monitor with { replicas = 4294967296 }"),
        ),
        (
            "a huge exponent",
            within("let a = 1e999999999\nnf m = monitor { top = $a }"),
        ),
        (
            "a list of 200,000",
            within(format!(
                "let a = [{}]\nnf m = monitor {{ top = $a }}",
                "80, ".repeat(200_000)
            )),
        ),
        (
            "a filter of 100,000 terms",
            within(format!("class a = b{}", " or b".repeat(100_000))),
        ),
        (
            "lists that double",
            within(format!(
                "{}nf m = monitor {{ top = $l40 }}\nlet l0 = [1, 1]",
                (1..=40).fold(String::new(), |mut s, n| {
                    let _ = writeln!(s, "let l{n} = [$l{0}, $l{0}]", n - 1);
                    s
                })
            )),
        ),
        (
            "classes that double",
            within(format!(
                "{}class k0 = src host 10.0.0.1 and nonsense\nclass top = k40",
                (1..=40).fold(String::new(), |mut s, n| {
                    let _ = writeln!(s, "class k{n} = (k{0} and not k{0}) or k{0}", n - 1);
                    s
                })
            )),
        ),
        (
            "chains that double",
            within(format!(
                "{}chain c0 = fw\nport out = null\nsteer out {{ else -> c40 -> lan }}",
                (1..=40).fold(String::new(), |mut s, n| {
                    let _ = writeln!(s, "chain c{n} = c{0} -> c{0}", n - 1);
                    s
                })
            )),
        ),
        (
            "a value of itself",
            within("let a = $a\nnf m = monitor { top = $a }"),
        ),
        (
            "values in a circle",
            within("let a = $b\nlet b = [$a]\nnf m = monitor { top = $a }"),
        ),
        ("a class of itself", within("class a = not a")),
        (
            "classes in a circle",
            within("class a = b\nclass b = c or tcp\nclass c = a"),
        ),
        ("a chain of itself", within("chain c = fw -> c")),
        (
            "chains in a circle",
            within("chain c = fw -> d\nchain d = fw { denied -> e }\nchain e = c"),
        ),
        (
            "a segment of itself",
            within("chain s(c: chain) = s(c)\nport out = null\nsteer out { else -> s(fw) }"),
        ),
        (
            "a segment given to itself",
            within("chain s(c: chain) = c -> lan\nport out = null\nsteer out { else -> s(s) }"),
        ),
        (
            "a long way through values",
            within(format!(
                "{}let v10000 = 1\nnf m = monitor {{ top = $v0 }}",
                chain(&|n| format!("let v{n} = $v{}\n", n + 1))
            )),
        ),
        (
            "a long way through classes",
            within(format!(
                "{}class k10000 = nonsense",
                chain(&|n| format!("class k{n} = k{}\n", n + 1))
            )),
        ),
        (
            "a long way through chains",
            within(format!(
                "{}chain c10000 = fw\nport out = null\nsteer out {{ else -> c0 }}",
                chain(&|n| format!("chain c{n} = c{}\n", n + 1))
            )),
        ),
        ("imports itself", within("use \"self.chain\"")),
        ("imports in a circle", within("use \"one.chain\"")),
        ("imports a hundred deep", within("use \"deep0.chain\"")),
        ("imports what is not there", within("use \"none.chain\"")),
        ("imports a directory", within("use \"folder.chain\"")),
        ("imports what is not UTF-8", within("use \"latin1.chain\"")),
        ("imports a device", within("use \"/dev/zero.chain\"")),
        (
            "a damaged manifest",
            within("use \"damaged.nf.toml\" as d\nnf x = d"),
        ),
        ("a manifest without a name", within("use \"damaged.nf.toml\"")),
        ("a letter that looks the same", within("nf f2 = firewаll")),
        ("a name in another alphabet", within("nf фв = firewall")),
        (
            "a text direction override in a comment",
            within("let a = 1 // \u{202e} } drop\nnf m = monitr"),
        ),
        ("a text direction override in code", within("let a = \u{202e}1")),
        ("an invisible space in a name", within("nf f\u{200b}2 = firewall")),
        ("a no-break space", within("nf f2\u{a0}= firewall")),
        ("emoji", within("chain 🔥 = fw -> lan")),
        ("a name that is a path", within("use \"../../../../etc/passwd\"")),
        ("ten thousand mistakes", within("nf = firewall\n".repeat(10_000))),
        (
            "ten thousand names alike",
            within("let same = 1\n".repeat(10_000)),
        ),
        (
            "ten thousand unknown names",
            within(format!("chain c = {} lan", "nobody -> ".repeat(10_000))),
        ),
    ]
}

#[test]
fn each_gets_a_diagnostic() {
    let dir = tempfile::tempdir().unwrap();
    neighbours(dir.path());
    let programs: Vec<_> = slips().into_iter().chain(malice()).collect();
    assert!(programs.len() > 100, "{}", programs.len());
    let mut report = String::new();
    let mut faults = Vec::new();
    for (name, source) in &programs {
        std::fs::write(dir.path().join("p.chain"), source).unwrap();
        let output = check_within_limits(dir.path(), "p.chain");
        let said = String::from_utf8_lossy(&output.stderr);
        let shown: Vec<String> = said
            .lines()
            .filter(|l| !l.contains("[C0104]"))
            .map(shorten)
            .collect();
        if output.status.code() != Some(1) || shown.is_empty() || said.contains("panicked") {
            faults.push(format!("{name}: {}: {said:.400}", output.status));
        }
        let _ = writeln!(report, "{name}");
        for line in shown.iter().take(3) {
            let _ = writeln!(report, "    {line}");
        }
        if shown.len() > 3 {
            let _ = writeln!(report, "    ... {} in all", shown.len());
        }
    }
    insta::assert_snapshot!(report);
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}

/// A line of a report, without the middle of what is long.
fn shorten(line: &str) -> String {
    let chars: Vec<char> = line.chars().collect();
    if chars.len() <= 160 {
        return line.to_owned();
    }
    let (head, tail): (String, String) = (
        chars[..100].iter().collect(),
        chars[chars.len() - 40..].iter().collect(),
    );
    format!("{head} ... {tail}")
}
