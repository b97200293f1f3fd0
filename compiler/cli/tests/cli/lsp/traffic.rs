//! Hover: what traffic reaches a step, and what is left to a rule.

use std::{fmt::Write as _, time::Instant};

use super::{
    client::{Editor, cursor, repository},
    look_up::{hover, says},
};

const HEAD: &str = "port wan = null\nport lan = null\nnf a = forward\nnf b = forward\n";
const SCAN: &str = "nf scan = payload_scan { patterns = file(\"web.patterns\") }\n";

/// What is said of the steps of a source, line by line.
fn lines(marked: &str) -> Vec<String> {
    let found = hover(marked).unwrap_or_default();
    let lines = found
        .lines()
        .filter(|l| l.starts_with("- from") || l.starts_with("- what"));
    lines.map(str::to_owned).collect()
}

#[test]
fn a_step_says_what_traffic_reaches_it() {
    let chains = "chain tail = b -> lan\nchain main = a -> tail\nchain back = b -> wan\n";
    let steers =
        "steer wan { tcp  and\n port 80 -> main udp -> drop else -> tail }\nsteer lan { else -> back }\n";
    let step = "chain tail = $0b -> lan\n";
    let marked = format!(
        "{HEAD}{}{steers}",
        chains.replace("chain tail = b -> lan\n", step)
    );
    says(
        &marked,
        &["nf b = forward", "**forward**", "Traffic that reaches this step:"],
    );
    assert_eq!(
        lines(&marked),
        [
            "- from `wan`: `tcp and port 80`; for example `tcp { src = 198.51.100.7:80, dst = 203.0.113.9:80 }`",
            "- from `wan`: packets that no other rule takes (`else`); after earlier rules, for example \
             `tcp { src = 198.51.100.7:4000, dst = 203.0.113.9:81 }`",
        ],
        "`back` is another step"
    );
    says(
        &format!("{}{chains}{steers}", HEAD.replace("nf b", "nf $0b")),
        &[
            "Traffic that reaches this NF:",
            "from `wan`: `tcp and port 80`",
            "from `lan`",
        ],
    );
    says(
        &format!("{HEAD}chain lone = $0a -> lan\n"),
        &["No steering rule leads to this NF"],
    );
    let steered = "use \"guard.nf.toml\" as guard\nnf g = guard\nallow g to steer a\n";
    says(
        &format!("{}{steered}", HEAD.replace("nf a", "nf $0a")),
        &["packets that `g` steers here"],
    );
    says(
        &format!(
            "{}{chains}{steers}allow b to lookup\n",
            HEAD.replace("nf b", "nf $0b")
        ),
        &["packets that these rules take when `b` has them looked up again"],
    );
}

#[test]
fn what_nfs_may_program_leads_to_a_step() {
    let source = "use \"guard.nf.toml\" as guard\nnf g = guard\nchain known = a -> lan\n\
        chain odd = g { suspect -> b -> drop } -> lan\nsteer wan { else -> odd }\n\
        allow g to program wan {\n    tcp and\n    port 80 -> known, drop\n    udp -> odd, drop\n}\n";
    let marked = |from: &str, to: &str| format!("{HEAD}{}", source.replace(from, to));
    let known = "- from `wan`: those of `tcp and port 80` that `g` programs to go here";
    assert_eq!(lines(&marked("= a", "= $0a")), [known]);
    assert_eq!(lines(&marked("chain known", "chain kn$0own")), [known]);
    says(
        &marked("= a", "= $0a"),
        &["Traffic that reaches this step:", known],
    );
    assert_eq!(
        lines(&marked("-> b", "-> $0b"))[1..],
        [
            "- from `wan`: those of `udp` that `g` programs to go here; only packets that `g` puts out on `suspect`"
        ]
    );
}

#[test]
fn what_earlier_rules_take_is_not_left() {
    let rules = "steer wan {\n\
                 src net 10.0.0.0/9 -> drop\n\
                 src net 10.128.0.0/9 -> drop\n\
                 src net 10.0.0.0/8 -> a -> lan\n\
                 src net 10.0.0.0/7 -> a -> lan\n\
                 tcp and udp -> a -> lan\n\
                 else -> a -> lan\n}\nsteer lan { all -> drop else -> a -> lan }\n";
    let marked = format!("{}{rules}", HEAD.replace("nf a", "nf $0a"));
    assert_eq!(
        lines(&marked),
        [
            "- from `wan`: `src net 10.0.0.0/8`; nothing is left to it: the rules in lines 6 and 7 together take \
             every packet",
            "- from `wan`: `src net 10.0.0.0/7`; after earlier rules, for example \
             `tcp { src = 11.0.0.7:4000, dst = 203.0.113.9:80 }`",
            "- from `wan`: `tcp and udp`; no packet matches this filter",
            "- from `wan`: packets that no other rule takes (`else`); after earlier rules, for example \
             `tcp { src = 198.51.100.7:4000, dst = 203.0.113.9:80 }`",
            "- from `lan`: packets that no other rule takes (`else`); nothing is left to it: the rules before it take every \
             packet",
        ]
    );
}

#[test]
fn outputs_on_the_way_are_named() {
    let of = |chains: &str, rule: &str| {
        let marked = format!(
            "{HEAD}{SCAN}nf deep = payload_scan {{ patterns = file(\"web.patterns\") }}\n{chains}steer wan {{ {rule} else -> drop }}\n"
        );
        let found = lines(&marked);
        assert_eq!(found.len(), 1, "{found:?}");
        found[0]
            .split_once(" }`")
            .map(|(_, rest)| rest.to_owned())
            .unwrap()
    };
    let direct = of("", "tcp -> scan { match -> $0a -> drop } -> lan");
    assert_eq!(direct, "; only packets that `scan` puts out on `match`");
    let spliced = of(
        "chain bad = deep { match -> $0a -> drop } -> drop\n",
        "tcp -> scan { match -> bad } -> lan",
    );
    assert_eq!(
        spliced,
        "; only packets that `scan` puts out on `match` and `deep` puts out on `match`"
    );
    let either = of(
        "chain bad = $0a -> drop\n",
        "tcp -> scan { match -> bad } -> deep { match -> bad } -> lan",
    );
    assert_eq!(
        either,
        "; only packets that `deep` puts out on `match`, or that `scan` puts out on `match`"
    );
    let also_main = of("chain bad = $0a -> drop\n", "tcp -> scan { match -> bad } -> bad");
    assert_eq!(also_main, "");
}

#[test]
fn arguments_stand_where_the_parameter_does() {
    let call = "chain seg(n: nf, p: port) = scan { match -> n -> drop } -> p\nsteer wan { tcp -> seg($0a, lan) else -> drop }\n";
    let found = lines(&format!("{HEAD}{SCAN}{call}"));
    assert!(
        found[0].ends_with("only packets that `scan` puts out on `match`"),
        "{found:?}"
    );
    let found = lines(&format!("{HEAD}{SCAN}{}", call.replace("$0a, lan", "a, la$0n")));
    assert!(found[0].ends_with(" }`"), "{found:?}");
}

#[test]
fn nothing_is_claimed_behind_an_error() {
    let rules = "steer wan { udp -> a -> lan\n tcp -> nowhere\n arp -> a -> lan\n else -> a -> lan }\n";
    let found = lines(&format!("{}{rules}", HEAD.replace("nf a", "nf $0a")));
    assert!(found[0].contains("for example `udp {"), "{found:?}");
    for line in &found[1..] {
        assert!(
            line.ends_with("are not known while it, or a rule before it, has errors"),
            "{line}"
        );
    }
    assert_eq!(found.len(), 3);
    let circle = "chain c = $0a -> d\nchain d = c\nsteer wan { else -> d }\n";
    assert_eq!(
        lines(&format!("{HEAD}{circle}")).len(),
        1,
        "a circle of chains ends"
    );
}

#[test]
fn classes_and_rules() {
    says(
        "class we$0b = tcp and dst port 80\n",
        &["One packet of this class: `tcp { src = 198.51.100.7:4000, dst = 203.0.113.9:80 }`"],
    );
    says("class odd$0 = tcp and udp\n", &["No packet is in this class."]);
    let rules =
        "class web = tcp and dst port 80\nsteer wan { tcp -> lan we$0b -> drop udp -> drop else -> lan }\n";
    says(
        &format!("{HEAD}{rules}"),
        &[
            "One packet of this class",
            "What this rule takes: nothing is left to it: the rule in line 6 takes",
        ],
    );
    let rules = rules.replace("$0", "");
    says(
        &format!("{HEAD}{}", rules.replace("udp", "u$0dp")),
        &["What this rule takes: after earlier rules, for example `udp {"],
    );
    says(
        &format!("{HEAD}{}", rules.replace("else", "el$0se")),
        &["What this rule takes: after earlier rules, for example `"],
    );
}

#[test]
fn the_page_shows_what_is_said() {
    let page = repository("docs/editors.md");
    let (_, rest) = page.split_once("```chain warning=C0505\n").unwrap();
    let (source, rest) = rest.split_once("```\n").unwrap();
    let found = lines(&source.replacen("nf scrub", "nf $0scrub", 1));
    let shown = rest.replace("\n  ", " ");
    assert_eq!(found.len(), 2);
    for line in found {
        assert!(shown.contains(&line), "{line}\n{shown}");
    }
}

/// 2,000 lines: prefixes of many lengths, ports, and a chain that all rules share.
#[test]
fn a_large_block_is_answered_at_once() {
    let mut text = format!(
        "{}chain shared = a -> lan\nsteer wan {{\n",
        HEAD.replace("nf a", "nf $0a")
    );
    for n in 0..1990_u32 {
        let (low, high, port) = (n % 251, n / 251, 1000 + n);
        let _ = writeln!(
            text,
            "    src net 10.{high}.{low}.0/24 and tcp dst port {port} -> shared"
        );
    }
    text.push_str("    else -> shared\n}\n");
    let (text, position) = cursor(&text);
    let mut editor = Editor::with(&[]);
    editor.open("a.chain", &text);
    editor.published("a.chain");
    let start = Instant::now();
    let found = editor.ask("textDocument/hover", "a.chain", position).unwrap();
    let took = start.elapsed();
    assert!(
        found["contents"]["value"]
            .as_str()
            .unwrap()
            .contains("and by 1983 more rules"),
        "{found}"
    );
    println!("hover over 2,000 lines: {took:?}");
    // What an operator notices is a tenth of this; a loaded machine is not a fault of ours.
    assert!(took.as_millis() < 500, "{took:?}");
}
