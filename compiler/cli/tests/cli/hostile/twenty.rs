//! Twenty mistakes in one file, syntax and meaning mixed: each is reported in its own words, in source order, and
//! none hides another.

use std::{collections::HashSet, path::Path};

use onvmc::{Inputs, check, host::MemoryHost, render};

/// A mistake a declaration; the code that it gets stands at its end.
const TWENTY: &str = r#"port wan =                                     // C0001
port lan = taap                                // C0107
prot dmz = null                                // C0008
nf Fw = firewall                               // C0002
nf scan = payload_scan { patterns = "a" }      // C0201
nf mon = monitor { every = 10 sec }            // C0006
nf mon2 = monitor { every = 10 MiB }           // C0202
nf guard = firewall { default = deny }         // C0204
nf late = firewall { rules = file("no.rules") } // C0208
let net = 10.0.0.300                           // C0007
let name = "unfinished                         // C0004
class web = tcp and and port 80                // C0020
class odd = dst port 70000                     // C0021
class what = udp and port htttp                // C0023
chain one = mon2 => lan                        // C0001
chain two = mon2 -> nobody                     // C0101
chain three = mon2 { alarm -> drop } -> lan    // C0402
steer lan { tcp -> three }                     // C0501
allow guard to steer                           // C0001
manager { buffers = [1, 2                      // C0003
assert lan: tcp passes                         // C0001
test "t" { send lan tcpp { } }                 // C0001
"#;

#[test]
fn each_in_its_own_words() {
    let host = MemoryHost::default().with("twenty.chain", TWENTY);
    let checked = check(&host, Path::new("twenty.chain"), &Inputs::default()).unwrap();
    let shown = render::short(&checked.sources, &checked.diagnostics);
    for (n, line) in TWENTY.lines().enumerate() {
        let (_, code) = line.rsplit_once("// ").unwrap();
        let own =
            |l: &&str| l.starts_with(&format!("twenty.chain:{}:", n + 1)) && l.contains(&format!("[{code}]"));
        assert_eq!(
            shown.lines().filter(own).count(),
            1,
            "line {}: {code}\n{shown}",
            n + 1
        );
    }
    let errors: Vec<&str> = shown.lines().filter(|l| l.contains(": error[")).collect();
    assert_eq!(errors.len(), TWENTY.lines().count(), "{shown}");
    let words: HashSet<&str> = errors
        .iter()
        .filter_map(|l| l.split_once("]: ").map(|(_, words)| words))
        .collect();
    assert_eq!(words.len(), errors.len(), "no two say the same:\n{shown}");
    insta::assert_snapshot!(render::human(&checked.sources, &checked.diagnostics, false, 100));
}
