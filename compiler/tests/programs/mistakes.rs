//! All mistakes of all files are found in one run and reported in source order.

use std::path::Path;

use onvmc::{Inputs, check, host::MemoryHost, render};

/// One mistake a line, named at its end.
const MISTAKES: &str = r#"use "none.chain"                                              // C0106
use "lib.chain"
param uplink: strnig = "a"                                    // C0107
param wait: time = 5                                          // C0202
let a = $b                                                    // C0101
class web = tcp and dst port $a
class web = udp                                               // C0102
port wan = pci { addres = "0000:3b:00.0" }                    // C0206
port wan2 = pci { queues = 2 }                                // C0205
port lan = tap { name = lan0 }                                // C0201
port out = null { size = 1 MiB, size = 64 }                   // C0202 C0207
port x = nul {}                                               // C0107
nf fw = firewal                                               // C0107
nf scan = payload_scan { patterns = file("gone"), on_match = dorp } // C0208 C0204
nf mon = monitor { every = 1 ms, top = 2000 } with { replicas = 0 } // C0203 C0203 C0203
nf fwd = forward with { domain = "a b" }                      // C0203
chain open = mon                                              // C0401
chain deep = mon -> lan -> fwd                                // C0404
chain loop1 = mon -> loop2
chain loop2 = mon -> loop1                                    // C0406
chain seg(p: port) = mon -> p
steer wan {                                                   // C0501
    web -> open
    tcp -> scan { matched -> drop } -> lan                    // C0402
    udp -> seg(mon)                                           // C0103
    arp -> lna                                                // C0101
    tcp -> lan
}
steer lan { else -> drop  icmp -> drop }                      // C0502
steer lan { else -> drop }                                    // C0503
steer nowhere { else -> drop }                                // C0101
allow mon to steer lan                                        // C0601
manager { ring = 1000, idle = lazy }                          // C0203 C0204
assert wan: all passes nobody                                 // C0101
"#;

#[test]
fn every_mistake_in_source_order() {
    let host = MemoryHost::default().with("bad.chain", MISTAKES).with(
        "lib.chain",
        "nf late = forwrad\nchain late_chain = late -> nowhere\n",
    );
    let checked = check(&host, Path::new("bad.chain"), &Inputs::default()).unwrap();
    assert!(checked.program.is_none());
    let shown = render::short(&checked.sources, &checked.diagnostics);
    insta::assert_snapshot!(shown);

    let lines: Vec<&str> = shown.lines().filter(|l| l.starts_with("bad.chain:")).collect();
    let at = |line: &str| line.split(':').nth(1).unwrap().parse::<usize>().unwrap();
    assert!(lines.windows(2).all(|w| at(w[0]) <= at(w[1])), "in source order");
    let lib = shown.lines().position(|l| l.starts_with("lib.chain:")).unwrap();
    assert!(
        shown.lines().skip(lib).all(|l| l.starts_with("lib.chain:")),
        "files in the order of their imports"
    );
    for (n, line) in MISTAKES.lines().enumerate() {
        let Some((_, codes)) = line.split_once("// ") else {
            continue;
        };
        for code in codes.split(' ') {
            let wanted = codes.split(' ').filter(|c| *c == code).count();
            let found = lines
                .iter()
                .filter(|l| at(l) == n + 1 && l.contains(&format!("[{code}]")))
                .count();
            assert_eq!(found, wanted, "line {}: {code}\n{shown}", n + 1);
        }
    }
}

#[test]
fn a_syntax_error_hides_nothing_else() {
    let source =
        "port wan = null {}\nnf fw = = =\nnf mon = monitro\nsteer wan { else -> fw -> mon -> drop }\n";
    let host = MemoryHost::default().with("a.chain", source);
    let checked = check(&host, Path::new("a.chain"), &Inputs::default()).unwrap();
    let shown = render::short(&checked.sources, &checked.diagnostics);
    assert!(shown.contains("a.chain:2:"), "{shown}");
    assert!(shown.contains("[C0107]: unknown NF type `monitro`"), "{shown}");
    assert!(
        !shown.contains("`fw`"),
        "the use of a broken declaration is no other mistake: {shown}"
    );
}

#[test]
fn labels_of_two_files() {
    let host = MemoryHost::default()
        .with(
            "a.chain",
            "use \"lib.chain\"\nport wan = null {}\nsteer wan { else -> drop }\n",
        )
        .with("lib.chain", "// a library\nport wan = null {}\n");
    let checked = check(&host, Path::new("a.chain"), &Inputs::default()).unwrap();
    insta::assert_snapshot!(render::human(&checked.sources, &checked.diagnostics, false, 100));
    let json = render::json(&checked.sources, &checked.diagnostics);
    let json: serde_json::Value = serde_json::from_str(&json).unwrap();
    let labels = &json["diagnostics"][0]["labels"];
    assert_eq!(
        (labels[0]["file"].as_str(), labels[1]["file"].as_str()),
        (Some("lib.chain"), Some("a.chain"))
    );
}

#[test]
fn json_carries_fixes() {
    let source = "port wan = null {}\nnf fw = firewal\nsteer wan { else -> fw -> wan }\n";
    let host = MemoryHost::default().with("a.chain", source);
    let checked = check(&host, Path::new("a.chain"), &Inputs::default()).unwrap();
    let json = render::json(&checked.sources, &checked.diagnostics);
    let json: serde_json::Value = serde_json::from_str(&json).unwrap();
    let fix = &json["diagnostics"][0]["fixes"][0];
    assert_eq!(fix["title"], "write `firewall`");
    assert_eq!(fix["text"], "firewall");
    let at = ["file", "line", "column", "end_line", "end_column"].map(|key| fix[key].to_string());
    assert_eq!(at, ["\"a.chain\"", "2", "9", "2", "16"]);
}

#[test]
fn hostile_sources_end() {
    let deep: String = (1..5000)
        .map(|n| format!("chain c{n} = c{} -> wan\n", n - 1))
        .collect();
    let lets: String = (1..5000)
        .rev()
        .map(|n| format!("let v{n} = $v{}\n", n - 1))
        .collect();
    let many = |line: &str| {
        (0..5000)
            .map(|n| line.replace("{}", &n.to_string()))
            .collect::<String>()
    };
    let sources = [
        format!("port wan = null {{}}\nchain c0 = wan\n{deep}steer wan {{ else -> c4999 }}\n"),
        format!("port wan = null {{ size = $v4999 }}\nlet v0 = 64\n{lets}steer wan {{ else -> drop }}\n"),
        format!(
            "port wan = null {{}}\nsteer wan {{ else -> {} drop }}\n",
            "wan -> ".repeat(50_000)
        ),
        format!(
            "port wan = null {{}}\n{}steer wan {{\n{}    else -> wan\n}}\n",
            many("chain c{} = wan\n"),
            many("    tcp -> d{}\n")
        ),
        "let a = [$a, $a]\nclass c = c or c\nport wan = null {}\nsteer wan { c -> drop else -> wan }\n"
            .to_owned(),
    ];
    for source in sources {
        let host = MemoryHost::default().with("a.chain", source.as_str());
        let checked = check(&host, Path::new("a.chain"), &Inputs::default()).unwrap();
        assert!(checked.program.is_none(), "{}", &source[..60]);
    }
}

/// The short form of what is said of a main file that imports `lib.chain`.
fn told(main: &str, lib: &str) -> String {
    let host = MemoryHost::default().with("a.chain", main).with("lib.chain", lib);
    let checked = check(&host, Path::new("a.chain"), &Inputs::default()).unwrap();
    render::short(&checked.sources, &checked.diagnostics)
}

#[test]
fn parameters_hide_the_names_of_other_files() {
    let main = "use \"lib.chain\"\nport wan = null\nnf fw = forward\nparam n: int = 64\nport p = null { size = $n }\n\
                steer wan { else -> out_by(wan, fw) }\nsteer p { else -> drop }\n";
    let lib = "chain out_by(p: port, n: nf) = n -> p\n";
    assert_eq!(told(main, lib), "");
    assert!(
        told(&format!("{main}{lib}"), "").contains("a.chain:8:14: error[C0102]: `p` is declared twice"),
        "within one file it would confuse"
    );
    let twice = told(main, "chain out_by(p: port, p: nf) = p\n");
    assert!(twice.contains("lib.chain:1:23: error[C0102]"), "{twice}");
}

#[test]
fn a_parameter_is_not_what_it_hides() {
    let ends = "port wan = null\nnf fw = forward\nsteer wan { else -> c }\n";
    let circle = format!("use \"lib.chain\"\n{ends}chain c = seg(d)\nchain d = fw -> wan\n");
    assert_eq!(told(&circle, "chain seg(c: chain) = c\n"), "", "no circle");
    let call = format!("use \"lib.chain\"\n{ends}chain c = seg(fw) -> wan\nchain n(p: port) = fw -> p\n");
    let found = told(&call, "chain seg(n: nf) = n(wan)\n");
    assert!(
        found.contains("lib.chain:1:20: error[C0103]: `n` is an NF"),
        "{found}"
    );
    let unused = format!("use \"lib.chain\"\n{ends}chain c = seg(fw) -> wan\nparam n: int = 64\n");
    let found = told(&unused, "chain seg(n: nf) = n\n");
    assert!(found.contains("warning[C0104]: `n` is never used"), "{found}");
}
