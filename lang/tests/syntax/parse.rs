//! What declarations are read as.

use onvm_lang::parse;
use onvm_lang::syntax::{
    Claim, Decl, DeclKind, Expect, Grant, Mac, Number, PacketProto, ParamKind, Prefix, Step, StepKind,
    StmtKind, Value,
};

/// The only declaration of a source without errors.
fn one(source: &str) -> Decl {
    let mut parsed = parse(source);
    assert_eq!(parsed.diagnostics, [], "in `{source}`");
    assert_eq!(parsed.file.decls.len(), 1, "in `{source}`");
    parsed.file.decls.remove(0)
}

fn value(text: &str) -> Value {
    match one(&format!("let a = {text}")).kind.node {
        DeclKind::Let(d) => d.value.node,
        other => panic!("{other:?}"),
    }
}

fn steps(steps: &[Step]) -> String {
    let step = |s: &Step| match &s.node {
        StepKind::Drop => "DROP".to_owned(),
        StepKind::Call { name, args } => {
            let args: Vec<_> = args.iter().map(|a| a.node.as_str()).collect();
            format!("{}({})", name.node, args.join(","))
        }
        StepKind::Node { name, arms } => {
            let arms = arms.iter();
            let arms: Vec<_> = arms
                .map(|a| format!("{}:{}", a.output.node, self::steps(&a.steps)))
                .collect();
            format!("{}{{{}}}", name.node, arms.join(";"))
        }
    };
    steps.iter().map(step).collect::<Vec<_>>().join(">")
}

fn chain(body: &str) -> String {
    match one(&format!("chain a = {body}")).kind.node {
        DeclKind::Chain(d) => steps(&d.steps),
        other => panic!("{other:?}"),
    }
}

#[test]
fn the_example_of_the_reference_parses_without_diagnostics() {
    let parsed = parse(include_str!("../corpus/edge.chain"));
    assert_eq!(parsed.diagnostics, []);
    assert_eq!(parsed.file.decls.len(), 18);
    let broken = |d: &&Decl| matches!(d.kind.node, DeclKind::Error(_));
    assert_eq!(parsed.file.decls.iter().filter(broken).count(), 0);
}

#[test]
fn values() {
    let prefix = |addr: &str, len| {
        Value::Prefix(Prefix {
            addr: addr.parse().unwrap(),
            len,
        })
    };
    for (text, expected) in [
        ("12", Value::Int(12)),
        ("-3", Value::Int(-3)),
        ("0x1F", Value::Int(31)),
        ("1_000", Value::Int(1000)),
        ("0.25", Value::Decimal(0.25)),
        ("true", Value::Bool(true)),
        ("drop", Value::Word("drop".to_owned())),
        ("\"a\\n\\x41\\u{e9}\\\\\\\"\"", Value::Str("a\nAé\\\"".to_owned())),
        ("10.0.0.1", Value::Ipv4("10.0.0.1".parse().unwrap())),
        ("2001:db8::1", Value::Ipv6("2001:db8::1".parse().unwrap())),
        ("10.0.0.1/8", prefix("10.0.0.1", 8)),
        ("2001:db8::/32", prefix("2001:db8::", 32)),
        ("02:00:00:00:00:ff", Value::Mac(Mac([2, 0, 0, 0, 0, 255]))),
        ("10.0.0.1:80", Value::AddrPort("10.0.0.1:80".parse().unwrap())),
        (
            "[2001:db8::1]:80",
            Value::AddrPort("[2001:db8::1]:80".parse().unwrap()),
        ),
        ("2..4", Value::Range(2, 4)),
    ] {
        assert_eq!(value(text), expected, "{text}");
    }
    let Value::List(items) = value("[[2001:db8::1], 1, [],]") else {
        panic!("no list");
    };
    assert_eq!(items.len(), 3);
    let Value::Record(record) = value("{ a = 1, b = { c = file(\"x\") }, }") else {
        panic!("no record");
    };
    assert_eq!(record.fields.len(), 2);
    assert_eq!(record.get("a").unwrap().value.node, Value::Int(1));
    assert!(matches!(value("secret(\"K\")"), Value::Secret(name) if name.node == "K"));
    assert!(matches!(value("$x"), Value::Ref(name) if name.node == "x" && name.span.start == 9));
}

#[test]
fn quantities() {
    for (text, number, unit) in [
        ("64 MiB", Number::Int(64), "MiB"),
        ("64MiB", Number::Int(64), "MiB"),
        ("1.5 Gbps", Number::Decimal(1.5), "Gbps"),
        ("1\n// why not\ns", Number::Int(1), "s"),
    ] {
        let Value::Quantity { number: n, unit: u } = value(text) else {
            panic!("{text} is not a quantity");
        };
        assert_eq!((n, u.node.as_str()), (number, unit), "{text}");
    }
}

#[test]
fn chain_bodies() {
    assert_eq!(chain("fw -> drop"), "fw{}>DROP");
    assert_eq!(
        chain("ids { match -> scrub -> drop  other -> lan, last -> x { y -> drop } } -> lan"),
        "ids{match:scrub{}>DROP;other:lan{};last:x{y:DROP}}>lan{}"
    );
    assert_eq!(chain("seg(lan, fw) -> end() -> lan"), "seg(lan,fw)>end()>lan{}");
    let DeclKind::Chain(d) = one("chain s(p: port, n: nf, c: chain) = n -> c -> p").kind.node else {
        panic!("no chain");
    };
    let kinds: Vec<_> = d.params.unwrap().iter().map(|p| p.kind.node).collect();
    assert_eq!(kinds, [ParamKind::Port, ParamKind::Nf, ParamKind::Chain]);
}

#[test]
fn steer_rules_end_where_the_next_filter_begins() {
    let source = "steer wan { tcp -> a -> b  (udp or icmp) -> c { m -> d }
                  ip[0] = 1 -> seg(x) not arp -> drop, vlan -> lan else -> drop }";
    let DeclKind::Steer(d) = one(source).kind.node else {
        panic!("no steer");
    };
    let rules = d.rules.iter();
    let rules: Vec<_> = rules
        .map(|r| (r.matcher.span().text(source), steps(&r.target)))
        .collect();
    let expected = [
        ("tcp", "a{}>b{}"),
        ("(udp or icmp)", "c{m:d{}}"),
        ("ip[0] = 1", "seg(x)"),
        ("not arp", "DROP"),
        ("vlan", "lan{}"),
        ("else", "DROP"),
    ];
    assert_eq!(rules, expected.map(|(f, t)| (f, t.to_owned())));
}

#[test]
fn grants() {
    let grant = |source| match one(source).kind.node {
        DeclKind::Allow(d) => d.grant,
        other => panic!("{other:?}"),
    };
    let Grant::Steer { targets, max_hops } = grant("allow a to steer b, c max_hops 3") else {
        panic!("no steer");
    };
    assert_eq!(targets.len(), 2);
    assert_eq!(max_hops.unwrap().node, 3);
    assert_eq!(grant("allow a to lookup"), Grant::Lookup);
    let grant = grant("allow a to program wan { tcp or udp -> fast, drop arp -> slow, icmp -> slow }");
    let Grant::Program { port, arms, .. } = grant else {
        panic!("{grant:?}");
    };
    let targets = |n: usize| {
        arms[n]
            .targets
            .iter()
            .map(|t| t.node.as_str())
            .collect::<Vec<_>>()
    };
    assert_eq!((port.node.as_str(), arms.len()), ("wan", 3));
    assert_eq!(
        [targets(0), targets(1), targets(2)],
        [vec!["fast", "drop"], vec!["slow"], vec!["slow"]]
    );
}

#[test]
fn claims() {
    for (source, expected) in [
        ("passes a before b", "passes a b"),
        ("passes a", "passes a"),
        ("never passes a", "never passes a"),
        ("reaches a", "reaches a"),
        ("never reaches a", "never reaches a"),
        ("dropped", "dropped"),
    ] {
        let text = format!("assert wan: web and not src net $t {source}");
        let DeclKind::Assert(d) = one(&text).kind.node else {
            panic!("no assert");
        };
        let found = match &d.claim.node {
            Claim::Passes { nf, before: Some(b) } => format!("passes {} {}", nf.node, b.node),
            Claim::Passes { nf, before: None } => format!("passes {}", nf.node),
            Claim::NeverPasses { nf } => format!("never passes {}", nf.node),
            Claim::Reaches { node } => format!("reaches {}", node.node),
            Claim::NeverReaches { node } => format!("never reaches {}", node.node),
            Claim::Dropped => "dropped".to_owned(),
        };
        assert_eq!(found, expected);
        assert_eq!(d.claim.span.text(&text), source);
        assert_eq!(d.filter.span.text(&text), "web and not src net $t");
    }
}

#[test]
fn test_statements() {
    let source = "test \"t\" {
        send wan tcp { dst = 10.0.0.1:80 } times 3
        replay wan file(\"a.pcap\")
        expect a -> drop
        expect passes a
        expect drop
        expect drop at a
        expect lan 5 packets
        expect lan same as file(\"b.pcap\")
        expect a counter n == 7
    }";
    let DeclKind::Test(test) = one(source).kind.node else {
        panic!("no test");
    };
    assert_eq!(test.stmts.len(), 9);
    let StmtKind::Send {
        proto, times, fields, ..
    } = &test.stmts[0].node
    else {
        panic!("no send");
    };
    assert_eq!(proto.node, PacketProto::Tcp);
    assert_eq!(times.as_ref().unwrap().node, 3);
    assert_eq!(fields.as_ref().unwrap().fields.len(), 1);
    let expects: Vec<_> = test.stmts[2..]
        .iter()
        .map(|s| match &s.node {
            StmtKind::Expect(Expect::Path(p)) => format!("path {}", p.len()),
            StmtKind::Expect(Expect::Passes(n)) => format!("passes {}", n.node),
            StmtKind::Expect(Expect::Drop { at }) => format!("drop {}", at.is_some()),
            StmtKind::Expect(Expect::Packets { count, .. }) => format!("packets {}", count.node),
            StmtKind::Expect(Expect::SameAs { file, .. }) => format!("same {}", file.node),
            StmtKind::Expect(Expect::Counter { counter, value, .. }) => {
                format!("counter {} {:?}", counter.node, value.node)
            }
            other => panic!("{other:?}"),
        })
        .collect();
    assert_eq!(
        expects,
        [
            "path 2",
            "passes a",
            "drop false",
            "drop true",
            "packets 5",
            "same b.pcap",
            "counter n Int(7)"
        ]
    );
}

#[test]
fn doc_comments_belong_to_the_next_declaration() {
    let parsed = parse("/// one\n///two \n// not\nlet a = 1 /// not\n//// not\nlet b = 2");
    assert_eq!(parsed.diagnostics, []);
    let docs = parsed.file.decls.iter();
    let docs: Vec<Vec<_>> = docs
        .map(|d| d.doc.iter().map(|l| l.node.as_str()).collect())
        .collect();
    assert_eq!(docs, [vec!["one", "two"], vec![]]);
}

#[test]
fn spans_leave_out_what_follows() {
    let source = "chain a = fw   // c\n\nlet b = 1  // d\n";
    let parsed = parse(source);
    let texts: Vec<_> = parsed.file.decls.iter().map(|d| d.span().text(source)).collect();
    assert_eq!(texts, ["chain a = fw", "let b = 1"]);
    let DeclKind::Chain(chain) = &parsed.file.decls[0].kind.node else {
        panic!("no chain");
    };
    assert_eq!(chain.steps[0].span.text(source), "fw");
}

#[test]
fn capitals_are_reported_and_read_as_lower_case() {
    let parsed = parse("nf Fw = firewall\nchain c = FW -> drop");
    let codes: Vec<_> = parsed.diagnostics.iter().map(|d| d.code).collect();
    assert_eq!(codes, ["C0002", "C0002"]);
    assert_eq!(parsed.file.decls[0].name().unwrap().node, "fw");
    assert!(matches!(parsed.file.decls[1].kind.node, DeclKind::Chain(_)));
}

#[test]
fn every_code_is_listed_once() {
    let codes: Vec<_> = onvm_lang::CODES.iter().map(|c| c.0).collect();
    let mut sorted = codes.clone();
    sorted.sort_unstable();
    sorted.dedup();
    assert_eq!(codes, sorted);
}
