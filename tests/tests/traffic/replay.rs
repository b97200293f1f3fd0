//! `onvmc test` on a replay: the real manager and real NF processes, on captures in place of the declared ports.

use onvm_tests::{Scratch, capture, programs};
use std::{fs, path::Path, process::Output};

const CHAIN: &str = r#"port wan = tap { name = "wan0" }
port lan = af_packet { interface = "no_such_if" }
nf fw = firewall { rules = file("a.rules"), default = accept } with { replicas = 2 }
nf mon = monitor
steer wan {
    udp -> fw -> mon -> lan
    else -> drop
}
"#;

fn test(dir: &Path, tests: &str) -> Output {
    test_of(dir, CHAIN, tests)
}

fn test_of(dir: &Path, chain: &str, tests: &str) -> Output {
    fs::write(dir.join("a.chain"), format!("{chain}{tests}")).unwrap();
    let mut command = programs::command("onvmc");
    command
        .args(["test", "a.chain"])
        .current_dir(dir)
        .output()
        .unwrap()
}

#[test]
fn captures_are_counted_and_compared() {
    let scratch = Scratch::new();
    let dir = &scratch.path("");
    fs::write(dir.join("a.rules"), "drop udp and src host 198.51.0.3\n").unwrap();
    let sent: Vec<Vec<u8>> = (0..300)
        .map(|n| match n % 3 {
            0 => capture::tcp(n as u16 % 7, 80, n, 40),
            _ => capture::udp(n as u16 % 7, n, 40),
        })
        .collect();
    let passes = |p: &&Vec<u8>| p[23] == 17 && capture::flow_and_number(p).0 != 3;
    let left: Vec<Vec<u8>> = sent.iter().filter(passes).cloned().collect();
    let denied = sent.iter().filter(|p| p[23] == 17).count() - left.len();
    assert!(denied > 0 && !left.is_empty());
    capture::write(&dir.join("in.pcap"), &sent);
    capture::write(&dir.join("out.pcap"), &left);
    let all = left.len();
    let good = format!(
        "test \"good\" {{\n    replay wan file(\"in.pcap\")\n    expect lan {all} packets\n    expect wan 0 packets\n    \
         expect lan same as file(\"out.pcap\")\n    expect fw counter denied == {denied}\n    \
         expect mon counter udp == {all}\n}}\n"
    );
    let done = test(dir, &good);
    let said = String::from_utf8_lossy(&done.stdout).into_owned() + &String::from_utf8_lossy(&done.stderr);
    assert_eq!(done.status.code(), Some(0), "{said}");
    assert!(said.contains("test good ... ok"), "{said}");

    let mut other = left;
    other[5][60] ^= 1;
    capture::write(&dir.join("out.pcap"), &other);
    let bad = good.replace(&format!("lan {all} packets"), "lan 7 packets");
    let done = test(dir, &bad);
    let said = String::from_utf8_lossy(&done.stdout);
    assert_eq!(done.status.code(), Some(1), "{said}");
    assert!(said.contains(&format!("`lan` is {all}, not 7")), "{said}");
    assert!(
        said.contains("packets of it that do not leave: 1, number 6 is the first"),
        "{said}"
    );
    assert!(said.contains("0 passed; 1 failed"), "{said}");
}

#[test]
fn a_run_that_cannot_begin_says_why() {
    let scratch = Scratch::new();
    let dir = &scratch.path("");
    fs::write(dir.join("a.rules"), "").unwrap();
    // The program wants a parameter that this manifest does not have.
    scratch.manifest("attacker", "");
    let chain = CHAIN.replace(
        "nf mon = monitor",
        "use \"attacker.nf.toml\" as attacker\nnf mon = attacker",
    );
    capture::write(&dir.join("in.pcap"), &[capture::udp(1, 1, 40)]);
    let done = test_of(
        dir,
        &chain,
        "test \"t\" {\n    replay wan file(\"in.pcap\")\n    expect lan 1 packet\n}\n",
    );
    let said = String::from_utf8_lossy(&done.stderr);
    assert_eq!(done.status.code(), Some(1), "{said}");
    assert!(
        said.contains("onvm-run") && said.contains("parameter `how` is missing"),
        "{said}"
    );
}
