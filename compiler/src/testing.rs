//! Helpers of this crate's tests.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::path::Path;

use onvm_lang::{Fix, Severity};

use crate::{Checked, Inputs, check, diagnostics::Page, source::host::MemoryHost};

const GUARD: &str = r#"
name = "guard"
version = "1.0.0"
summary = "Sends what looks suspect elsewhere"
state = "flow"
[run]
binary = "guard"
[effects]
steers = true
[[outputs]]
name = "suspect"
doc = "Packets that look like an attack."
must_handle = true
"#;

const SCREEN: &str = r#"
name = "screen"
version = "1.0.0"
summary = "Sorts out what looks suspect"
[run]
binary = "screen"
[[outputs]]
name = "suspect"
doc = "Packets that look like an attack."
must_handle = true
"#;

const NAT: &str = r#"
name = "nat"
version = "1.0.0"
summary = "Replaces source addresses"
[run]
binary = "nat"
[effects]
reads = ["ip"]
writes = ["ip.src", "ip.checksum"]
"#;

const BALANCER: &str = r#"
name = "balancer"
version = "1.0.0"
summary = "Sends flows to servers by rewriting their destination"
state = "flow"
[run]
binary = "balancer"
[effects]
reads = ["ip.src", "ip.dst"]
writes = ["ip.dst"]
lookups = true
"#;

const SDN: &str = r#"
name = "sdn"
version = "1.0.0"
summary = "Decides on new flows"
[run]
binary = "sdn"
[effects]
reads = ["ip"]
programs = true
"#;

const MAKER: &str = r#"
name = "maker"
version = "1.0.0"
summary = "Makes packets"
[run]
binary = "many"
args = ["maker"]
fuses = true
[effects]
payload = "write"
generates = true
"#;

const STEERSMAN: &str = r#"
name = "steersman"
version = "1.0.0"
summary = "Decides on new flows"
[run]
binary = "many"
args = ["steersman"]
fuses = true
[effects]
programs = true
"#;

/// The files that examples may name: these, and those of `chains/`.
fn host(main: &str) -> MemoryHost {
    beside(&Path::new(env!("CARGO_MANIFEST_DIR")).join("../chains/edge.chain"))
        .with("test.chain", main)
        .with("again.chain", "use \"test.chain\"\n")
        .with("library.chain", "let inside = [10.0.0.0/8]\n")
        .with("guard.nf.toml", GUARD)
        .with("screen.nf.toml", SCREEN)
        .with("nat.nf.toml", NAT)
        .with("balancer.nf.toml", BALANCER)
        .with("sdn.nf.toml", SDN)
        .with("maker.nf.toml", MAKER)
        .with("steersman.nf.toml", STEERSMAN)
        .with("bad.nf.toml", "name = \"bad\"\n")
        .with("web.patterns", "attack\n")
        .with("wrong.patterns", "attack\n|0d 0a\nhost\\q\n")
        .with("no.patterns", "# none yet\n")
        .with(
            "three-mistakes.rules",
            "accept tcp dst port 22x\naccept bogus\ndrop udp and src net 10.0.0.1/8\n",
        )
        .with(
            "pasted.rules",
            "-A INPUT -s 10.0.0.0/8 -p tcp --dport 22 -j ACCEPT\n",
        )
        .with("trace.pcap", "")
}

/// The file and those in its directory, by their names.
pub(crate) fn beside(file: &Path) -> MemoryHost {
    let mut host = MemoryHost::default();
    for entry in std::fs::read_dir(file.parent().unwrap()).unwrap() {
        let entry = entry.unwrap();
        if entry.path().is_file() {
            host = host.with(entry.file_name(), std::fs::read(entry.path()).unwrap());
        }
    }
    host
}

/// `// built with: --set NAME=VALUE` at the end of an example; `// checked with: --overlaps` stands there likewise.
fn arguments(source: &str) -> Vec<(String, String)> {
    let args = source
        .lines()
        .filter_map(|l| l.strip_prefix("// built with: --set "));
    args.filter_map(|a| a.split_once('='))
        .map(|(n, v)| (n.to_owned(), v.to_owned()))
        .collect()
}

pub(crate) fn checked(source: &str) -> Checked {
    let set = arguments(source);
    check(
        &host(source),
        Path::new("test.chain"),
        &Inputs {
            set: &set,
            overlaps: source.lines().any(|l| l == "// checked with: --overlaps"),
            ..Inputs::default()
        },
    )
    .unwrap()
}

/// A source of one file after a fix.
pub(crate) fn applied(source: &str, fix: &Fix) -> String {
    let mut text = source.to_owned();
    text.replace_range(fix.span.range(), &fix.text);
    text
}

/// The wrong example gets this diagnostic and no other; the right one gets none; the text that the operator reads is
/// held beside the source that it is about.
pub(crate) fn check_page(page: &Page) {
    let wrong = checked(page.wrong);
    let shown = crate::render::human(&wrong.sources, &wrong.diagnostics, false, 100);
    for d in &wrong.diagnostics {
        // A mistake may leave a name unused; that is not another mistake.
        let own = d.code == page.code || d.code == "C0104";
        assert!(own, "the wrong example gets only its own diagnostic:\n{shown}");
        assert!(!d.message.ends_with('.'), "{}", d.message);
    }
    let own = wrong.diagnostics.iter().filter(|d| d.code == page.code);
    assert!(
        own.clone().count() > 0,
        "the wrong example of {} gets it:\n{shown}",
        page.code
    );
    assert!(own.clone().all(|d| d.severity == page.severity));
    let right = checked(page.right);
    let clean = crate::render::human(&right.sources, &right.diagnostics, false, 100);
    assert!(
        right.diagnostics.is_empty(),
        "the right example of {} is clean:\n{clean}",
        page.code
    );
    assert_eq!(wrong.program.is_some(), page.severity != Severity::Error);
    insta::with_settings!({ prepend_module_to_snapshot => false, omit_expression => true }, {
        insta::assert_snapshot!(page.code, format!("{}\n----\n{shown}", page.wrong));
    });
}
