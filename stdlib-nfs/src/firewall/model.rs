//! Firewall rules as filters of a flow table. They describe the packets with at most one VLAN tag; where a rule names the tag,
//! those with that one.

use std::fmt::Display;

use nflib::{Params, SetupError};

use super::{
    Policy,
    rules::{Action, Family, Rule, Side, Span},
};
use crate::{Model, ModelRule};

pub fn model(params: &Params) -> Result<Model, SetupError> {
    let policy = Policy::new(params)?;
    let verdict = |action| match action {
        Action::Accept => nflib::Verdict::Next,
        Action::Drop => policy.on_deny,
    };
    let rules = policy.rules.iter().map(|rule| ModelRule {
        filter: filter(rule),
        said: format!("line {}: {}", rule.line, rule.text),
        verdict: verdict(rule.action),
    });
    Ok(Model::Rules {
        rules: rules.collect(),
        otherwise: verdict(policy.default),
        may_drop: true,
    })
}

pub(super) fn filter(rule: &Rule) -> String {
    let behind_tag = |tag: String| {
        all([Some(tag), network(rule, &Tests { at: "@1" })]
            .into_iter()
            .flatten())
    };
    match (rule.vlan, network(rule, &Tests { at: "" })) {
        (Some(id), _) => behind_tag(format!("(vlan {id})")),
        (None, None) => all([""; 0]),
        (None, Some(untagged)) => any([untagged, behind_tag("(vlan)".to_owned())]),
    }
}

/// None: the rule asks for nothing but, perhaps, a tag.
fn network(rule: &Rule, tests: &Tests) -> Option<String> {
    let by_version = |v4: bool, v6: bool| {
        let v4 = v4.then(|| tests.of_ip(rule, Ip::V4));
        let v6 = v6.then(|| tests.of_ip(rule, Ip::V6));
        any(v4.into_iter().chain(v6))
    };
    match rule.family {
        Family::Any => None,
        Family::Ip => Some(by_version(true, true)),
        Family::Ipv4 => Some(by_version(true, false)),
        Family::Ipv6 => Some(by_version(false, true)),
        Family::Ether(number) => Some(format!("(ether-proto{} {number})", tests.at)),
    }
}

#[derive(Debug, Clone, Copy)]
enum Ip {
    V4,
    V6,
}

struct Tests {
    at: &'static str,
}

impl Tests {
    fn of_ip(&self, rule: &Rule, version: Ip) -> String {
        let at = self.at;
        let (name, is_ipv6) = match version {
            Ip::V4 => ("ip", false),
            Ip::V6 => ("ip6", true),
        };
        let mut tests = vec![format!("({name}{at})")];
        tests.extend(rule.protocol.map(|p| format!("({name}-proto{at} {p})")));
        for (side, direction) in [(&rule.source, "src"), (&rule.destination, "dst")] {
            tests.extend(self.side(side, direction, is_ipv6));
        }
        let load = |byte: u8| match version {
            Ip::V4 => format!("(ip4-payload {byte} 1)"),
            Ip::V6 => format!("(ip6-payload {byte} 1)"),
        };
        let (looked_at, set) = rule.flags;
        if looked_at != 0 {
            tests.push(format!("(={at} (& {} {looked_at}) {set})", load(13)));
        }
        if !rule.icmp_types.is_empty() {
            let kind = load(0);
            tests.push(any(rule.icmp_types.iter().map(|Span(first, last)| {
                format!("(and (>={at} {kind} {first}) (<={at} {kind} {last}))")
            })));
        }
        match (version, rule.fragment) {
            (Ip::V4, true) => tests.push(format!("(not (first-fragment{at}))")),
            (Ip::V4, false) if names_transport(rule) => tests.push(format!("(first-fragment{at})")),
            (Ip::V6, true) => tests.push("(none)".to_owned()),
            _ => {}
        }
        all(tests)
    }

    fn side(&self, side: &Side, direction: &str, is_ipv6: bool) -> Vec<String> {
        let at = self.at;
        let mut tests = Vec::new();
        if !side.networks.is_empty() {
            let nets = side.networks.iter().filter(|n| n.is_ipv6() == is_ipv6);
            let nets: Vec<String> = nets.map(ToString::to_string).collect();
            tests.push(match nets.is_empty() {
                true => "(none)".to_owned(),
                false => format!("(net{at} {direction} {})", nets.join(" ")),
            });
        }
        if !side.ports.is_empty() {
            let ports: Vec<String> = side.ports.iter().map(|Span(a, b)| format!("{a}-{b}")).collect();
            tests.push(format!("(port{at} {direction} {})", ports.join(" ")));
        }
        tests
    }
}

fn names_transport(rule: &Rule) -> bool {
    let ports = !(rule.source.ports.is_empty() && rule.destination.ports.is_empty());
    ports || rule.flags.0 != 0 || !rule.icmp_types.is_empty()
}

fn all(tests: impl IntoIterator<Item = impl Display>) -> String {
    join("and", tests).unwrap_or_else(|| "(all)".to_owned())
}

fn any(tests: impl IntoIterator<Item = impl Display>) -> String {
    join("or", tests).unwrap_or_else(|| "(none)".to_owned())
}

fn join(word: &str, tests: impl IntoIterator<Item = impl Display>) -> Option<String> {
    let mut tests: Vec<String> = tests.into_iter().map(|t| t.to_string()).collect();
    match tests.len() {
        0 | 1 => tests.pop(),
        _ => Some(format!("({word} {})", tests.join(" "))),
    }
}
