//! What an edit does to the ways that NFs may program.

#![allow(clippy::unwrap_used, clippy::panic)]

use super::*;
use crate::{Program, interpret::Interpreter, testing::checked};

fn source(arms: &str, known: &str, rules: &str) -> Program {
    let source = format!(
        "use \"sdn.nf.toml\" as sdn\n\
         class web = tcp dst port [80, 443]\n\
         port wan = null\nport lan = null\n\
         nf ctl = sdn\nnf fw = firewall {{ default = accept, rules = {{ {rules} }} }}\nnf mon = monitor\n\
         chain new = ctl -> fw -> mon -> lan\nchain known = {known}\n\
         steer wan {{ else -> new }}\n\
         allow ctl to program wan {{\n{arms}\n}}\n"
    );
    let checked = checked(&source);
    let shown = crate::render::human(&checked.sources, &checked.diagnostics, false, 100);
    checked.program.unwrap_or_else(|| panic!("{shown}"))
}

/// A line for each change.
fn changed(old: &Program, new: &Program) -> (Vec<String>, Certainty) {
    let models = [old, new].map(|p| Models::new(p.contents(), &p.files).unwrap());
    let [mut before, mut after] = [old, new].map(|p| Interpreter::new(p.contents(), &p.files).unwrap());
    let found = changes(
        (old.contents(), &models[0], &mut before),
        (new.contents(), &models[1], &mut after),
    );
    let programs = found.programs.iter().map(|change| {
        let (nf, may, path) = (&change.nf, change.may, &change.way.path);
        let rule = change.way.rule.as_ref().unwrap();
        format!("{}: {nf} {may:?} {path} by {rule}", change.packet)
    });
    let paths = found.paths.iter().map(|change| {
        let (was, now) = (&change.was, &change.now);
        let rule = now.rule.as_ref().unwrap();
        format!("{}: {} => {} by {rule}", change.packet, was.path, now.path)
    });
    (programs.chain(paths).collect(), found.certainty)
}

const ARMS: &str = "    tcp dst port 443 -> known\n    udp -> known, drop";

#[test]
fn an_arm_that_takes_more_or_less_is_shown_by_a_packet() {
    let [old, wide] = [ARMS, "    web -> known\n    udp -> known, drop"].map(|arms| source(arms, "lan", ""));
    let packet = "tcp { src = 198.51.100.7:4000, dst = 203.0.113.9:80 }";
    assert_eq!(
        changed(&old, &wide),
        (
            vec![format!("{packet}: ctl Now lan by web -> known")],
            Certainty::Proved
        )
    );
    assert_eq!(
        changed(&wide, &old),
        (
            vec![format!("{packet}: ctl NoLonger lan by web -> known")],
            Certainty::Proved
        )
    );
    let fewer = source("    tcp dst port 443 -> known\n    udp -> known", "lan", "");
    assert_eq!(
        changed(&old, &fewer).0,
        ["udp { src = 198.51.100.7:4000, dst = 203.0.113.9:80 }: ctl NoLonger drop by udp -> drop"]
    );
}

#[test]
fn what_means_the_same_is_no_change() {
    let arms = "    udp -> drop, known\n    udp src port 7 -> known\n    tcp dst port 443 and tcp -> known";
    let [old, other] = [ARMS, arms].map(|arms| source(arms, "lan", ""));
    assert_eq!(changed(&old, &other), (vec![], Certainty::Proved));
    assert_eq!(changed(&other, &old), (vec![], Certainty::Proved));
}

#[test]
fn a_chain_that_entries_lead_to_is_looked_at() {
    let [old, new] = ["lan", "mon -> lan"].map(|known| source(ARMS, known, ""));
    assert_eq!(
        changed(&old, &new).0,
        [
            "tcp { src = 198.51.100.7:4000, dst = 203.0.113.9:443 }: lan => mon -> lan \
             by flow entries of ctl: tcp dst port 443 -> known"
        ]
    );
    // By the rules of a firewall on it, and only for packets of the arms.
    let fw = |rules: &str| source("    udp -> known", "fw -> lan", rules);
    let (lines, certainty) = changed(&fw(""), &fw("drop tcp dst port 23\n drop udp dst port 9\n"));
    let by_entry: Vec<_> = lines.iter().filter(|l| l.contains("flow entries")).collect();
    assert_eq!(
        by_entry,
        [
            "udp { src = 198.51.100.7:4000, dst = 203.0.113.9:9 }: fw -> lan => fw -(drops)-> drop \
             by flow entries of ctl: udp -> known"
        ],
        "{lines:#?}"
    );
    assert_eq!(certainty, Certainty::Modelled);
}
