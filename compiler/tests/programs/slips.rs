//! Reports to operators who write as in another language, or make two mistakes at once: source and text together.

use std::{fmt::Write as _, path::Path};

use onvmc::{Inputs, check, host::MemoryHost, render};

const HEAD: &str = "port wan = null\nport lan = null\nnf fw = firewall { default = accept }\n";
const TAIL: &str = "steer wan { else -> fw -> lan }\nsteer lan { else -> drop }\n";

fn told(source: &str) -> String {
    let host = MemoryHost::default().with("a.chain", source);
    let checked = check(&host, Path::new("a.chain"), &Inputs::default()).unwrap();
    render::human(&checked.sources, &checked.diagnostics, false, 100)
}

/// The programs, each with all that is said of it.
fn report<'a>(programs: impl IntoIterator<Item = &'a str>) -> String {
    let mut report = String::new();
    for program in programs {
        let _ = writeln!(report, "{program}\n{}----", told(program));
    }
    report
}

fn within<'a>(parts: &'a [&'a str]) -> impl Iterator<Item = String> + 'a {
    parts.iter().map(|part| format!("{HEAD}{part}\n{TAIL}"))
}

#[track_caller]
fn within_report(parts: &[&str]) -> String {
    let programs: Vec<String> = within(parts).collect();
    report(programs.iter().map(String::as_str))
}

#[test]
fn a_rule_that_is_wrong_hides_no_other() {
    let steer = |rules: &str| format!("{HEAD}steer wan {{{rules}}}\nsteer lan {{ else -> drop }}\n");
    let programs = [
        steer(" tcp fw -> lan else -> drop "),
        steer(
            "\n    tcp lan\n    udp and and port 53 -> fw -> lan\n    arp -> nobody\n    else -> fw -> lan\n",
        ),
        steer("\n    tcp: lan\n    else: fw\n"),
        steer(" tcp -> fw -> lan; udp -> drop; else -> lan; "),
        steer("\n    tcp -> fw -> lan\n    default -> drop\n"),
        steer("\n    tcp -> fw -> lan\n    * -> drop\n"),
        steer("\n    tcp -> fw -> lan\n    els -> drop\n"),
        steer("\n    tcp --dport 80,443 => lan\n    udp dport 53 and port htp -> lan\n    else -> drop\n"),
        steer("\n    tcp -> fw -> lan\n    else drop\n"),
        steer("\n    tcp fw -> lan\n    udp -> lan\n"),
        format!(
            "{HEAD}chain s(p: port) = fw -> p\nsteer wan {{ else -> s (lan) }}\nsteer lan {{ else -> drop }}\n"
        ),
    ];
    insta::assert_snapshot!(report(programs.iter().map(String::as_str)));
}

#[test]
fn claims() {
    insta::assert_snapshot!(within_report(&[
        "assert wan: tcp pass fw",
        "assert wan: tcp not passes fw",
        "assert wan: passes fw",
        "assert wan: tcp reaches drop",
    ]));
}

#[test]
fn filters_of_other_languages() {
    insta::assert_snapshot!(within_report(&[
        "class a = tcp dport 80",
        "class a = ipv4 and icmpv6",
        "class a = tpc and dst ports 80",
        "class a = tcp.port == 80",
        "class a = tcp & port 80",
        "class a = tcp port 80, 443",
        "class a = portrange 80:90",
        "class a = dst port = 80",
        "class a = less 64 B",
        "class a = ip broadcast",
        "class a = tcp saddr 10.0.0.1 and port 80-90 and vlan 5 or 6",
        "class a = geneve or tcp",
        "class a = mpls and arp",
        "let many = [1, 2]\nclass a = ip[8] > $many",
        "class a = ip port 80",
        "let nets = [10.0.0.0/8]\nclass a = src net nets",
        "class web = tcp port 80\nclass a = $web and tcp",
    ]));
}

#[test]
fn declarations_of_other_languages() {
    insta::assert_snapshot!(within_report(&[
        "import \"lib.chain\"",
        "# a comment\nnf m = monitr",
        "<<<<<<< HEAD\nlet a = 1\n=======\nlet b = 2\n>>>>>>> branch",
        "hello world",
        "let a: int = 5",
        "nf m = monitor(every = 1 s)",
        "nf m = monitor with { replicas = 2 } { every = 1 s }",
        "chain c = fw, lan",
        "chain c = fw - > lan",
        "port p = pci { adress = \"0000:3b:00.0\" }",
        "test \"a\" { replay wan \"a.pcap\" }",
    ]));
}

#[test]
fn values_that_were_meant_otherwise() {
    insta::assert_snapshot!(within_report(&[
        "let t = 1 s\nnf m = monitor { every = t }",
        "nf m = monitor { every = -1 s }",
        "nf m = monitr { x = file(\"gone\"), y = $nothing } with { replicas = 0, memry = 1 MiB }",
        // What could not be read is not a second mistake where it is used.
        "let a = [10.0.0.0/8\nclass c = net $a",
    ]));
}

#[test]
fn the_name_of_a_secret_is_no_path() {
    let manifest = "name = \"vpn\"\nversion = \"1\"\nsummary = \"a tunnel\"\n[run]\nbinary = \"vpn\"\n\
                    [[params]]\nname = \"key\"\ntype = \"secret\"\ndoc = \"its key\"\n";
    for (name, right) in [
        ("VPN_KEY", true),
        ("vpn-key.pem", true),
        ("", false),
        ("..", false),
        ("../../etc/shadow", false),
        ("a b", false),
    ] {
        let source = format!(
            "use \"vpn.nf.toml\" as vpn\nport wan = null\nnf x = vpn {{ key = secret(\"{name}\") }}\n\
             steer wan {{ else -> x -> wan }}\n"
        );
        let host = MemoryHost::default()
            .with("a.chain", source)
            .with("vpn.nf.toml", manifest);
        let checked = check(&host, Path::new("a.chain"), &Inputs::default()).unwrap();
        let codes: Vec<_> = checked.diagnostics.iter().map(|d| d.code).collect();
        assert_eq!(codes, if right { vec![] } else { vec!["C0203"] }, "{name}");
    }
}

#[test]
fn a_line_that_only_seems_to_end_is_told() {
    let hidden = "port wan = null // in\rsteer wan { tcp -> drop else -> wan }\nport lan = null\nsteer lan { else -> wan }\n";
    insta::assert_snapshot!(told(hidden));
    let crlf = "port wan = null // in\r\nsteer wan { else -> wan }\r\n";
    assert_eq!(told(crlf), "");
}

#[test]
fn what_a_source_says_does_nothing_to_a_terminal() {
    let source = "port wan = nul // \u{1b}[2J \u{9b}1m \u{7} \u{202e}\r\nsteer wan { else -> wan }\n";
    let shown = told(source);
    let obeyed = |c: char| c.is_control() && c != '\n' && c != '\r' || c == '\u{202e}';
    assert!(!shown.contains(obeyed), "{shown:?}");
    assert!(shown.contains("?[2J \u{bf}1m ? \u{fffd}"), "{shown}");
}

#[test]
fn a_test_that_expects_nothing() {
    insta::assert_snapshot!(within_report(&[
        "test \"sends\" { send wan tcp }",
        "test \"empty\" { }",
        "test \"more\" { send wan tcp expect fw -> lan send wan udp }",
        "test \"right\" { send wan tcp expect fw -> lan }",
    ]));
}
