//! Stateless packet filter: the first rule that matches decides.
//!
//! Rules are parsed once into compact records and walked in order for each packet, so the cost grows with the number of
//! rules before the deciding one. A rules file is described in [`parse`] and in `docs/nfs/firewall.md`.

pub mod model;
pub mod parse;
pub mod rules;

use std::collections::BTreeMap;

use nflib::{
    Burst, Counter, Nf, Params, ParamsError, Reconfigured, Setup, SetupError, Verdict,
    headers::{Fragment, Headers, protocol},
};
use serde::Deserialize;

use self::rules::{Action, Facts, Rule};

/// Index in the manifest's outputs.
const DENIED: u16 = 0;
/// Rules with a hit counter of their own, at most; the instance's region holds 4096 counters in all.
const MAX_RULE_COUNTERS: usize = 1024;

#[derive(Debug)]
pub struct Firewall {
    policy: Policy,
    /// By index, as the rules name them.
    hits: Vec<RuleCounter>,
    /// The counter in `hits` of each line of the rules file that has one.
    by_line: BTreeMap<usize, usize>,
    /// Whether the first rules had more lines than there are counters.
    overflow: bool,
    accepted: Counter,
    denied: Counter,
    malformed: Counter,
    default_hits: Counter,
}

/// What parameters say.
#[derive(Debug)]
struct Policy {
    rules: Vec<Rule>,
    /// Index in [`Firewall::hits`] for each rule.
    counters: Vec<usize>,
    default: Action,
    on_deny: Verdict,
}

#[derive(Debug)]
struct RuleCounter {
    counter: Counter,
    /// The rule that it counts, as it was written; empty when there is none at present.
    text: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
enum OnDeny {
    Drop,
    Output,
}

impl Nf for Firewall {
    fn new(setup: &mut Setup) -> Result<Self, SetupError> {
        let policy = Policy::new(&setup.params)?;
        let mut firewall = Self {
            accepted: setup.counter("accepted")?,
            denied: setup.counter("denied")?,
            malformed: setup.counter("malformed")?,
            default_hits: setup.counter("default_hits")?,
            hits: vec![RuleCounter {
                counter: setup.counter("rule_others")?,
                text: String::new(),
            }],
            by_line: BTreeMap::new(),
            overflow: false,
            policy,
        };
        for rule in firewall.policy.rules.iter().take(MAX_RULE_COUNTERS) {
            match setup.counter(format!("rule_{}", rule.line)) {
                Ok(counter) => {
                    firewall.by_line.insert(rule.line, firewall.hits.len());
                    firewall.hits.push(RuleCounter {
                        counter,
                        text: rule.text.clone(),
                    });
                }
                // The region is full: the remaining rules share `rule_others`.
                Err(SetupError::Counters(_)) => break,
                Err(e) => return Err(e),
            }
        }
        firewall.overflow = firewall.by_line.len() < firewall.policy.rules.len();
        let counters = firewall.counters_for(&firewall.policy.rules);
        firewall.policy.counters = counters.into_iter().map(|c| c.unwrap_or(OTHERS)).collect();
        Ok(firewall)
    }

    fn process(&mut self, burst: &mut Burst<'_>) {
        let (mut accepted, mut denied, mut malformed) = (0, 0, 0);
        for mut packet in burst.packets() {
            let headers = Headers::parse(packet.data());
            if is_malformed(&headers) {
                malformed += 1;
                packet.set_verdict(self.policy.on_deny);
            } else if self.decide(&headers) == Action::Accept {
                accepted += 1;
            } else {
                denied += 1;
                packet.set_verdict(self.policy.on_deny);
            }
        }
        self.accepted.add(accepted);
        self.denied.add(denied);
        self.malformed.add(malformed);
    }

    /// New rules take effect between bursts, all at once. The counter of a line goes on when the line's rule is the
    /// same, and starts from zero when it is another. A rule on a line that had none needs a counter that this instance
    /// does not have, and so a new instance.
    fn reconfigure(&mut self, params: &Params) -> Result<Reconfigured, SetupError> {
        let mut policy = Policy::new(params)?;
        let counters = self.counters_for(&policy.rules);
        if counters.contains(&None) && !self.overflow {
            return Ok(Reconfigured::Unsupported);
        }
        policy.counters = counters.into_iter().map(|c| c.unwrap_or(OTHERS)).collect();
        let texts: BTreeMap<usize, &str> = policy.rules.iter().map(|r| (r.line, r.text.as_str())).collect();
        for (line, &index) in &self.by_line {
            let text = texts.get(line).copied().unwrap_or_default();
            if let Some(hits) = self.hits.get_mut(index)
                && hits.text != text
            {
                hits.counter.set(0);
                hits.text = text.to_owned();
            }
        }
        self.policy = policy;
        Ok(Reconfigured::Done)
    }
}

/// The shared counter's place in [`Firewall::hits`].
const OTHERS: usize = 0;

impl Firewall {
    #[inline]
    fn decide(&self, headers: &Headers) -> Action {
        let facts = Facts::of(headers);
        match self.policy.rules.iter().position(|rule| rule.matches(&facts)) {
            Some(i) => {
                if let Some(hits) = self.policy.counters.get(i).and_then(|&c| self.hits.get(c)) {
                    hits.counter.add(1);
                }
                self.policy.rules[i].action
            }
            None => {
                self.default_hits.add(1);
                self.policy.default
            }
        }
    }

    /// For each rule the counter of its line, if that has one.
    fn counters_for(&self, rules: &[Rule]) -> Vec<Option<usize>> {
        rules
            .iter()
            .map(|rule| self.by_line.get(&rule.line).copied())
            .collect()
    }
}

/// Reads the parameters as the NF does when it starts.
pub fn check(params: &Params) -> Result<(), SetupError> {
    Policy::new(params).map(drop)
}

impl Policy {
    fn new(params: &Params) -> Result<Self, SetupError> {
        let rules = match params.optional::<serde::de::IgnoredAny>("rules")? {
            None => Vec::new(),
            Some(_) => crate::files::parsed(params, "rules", parse::rules)?,
        };
        let on_deny = match params.optional("on_deny")?.unwrap_or(OnDeny::Drop) {
            OnDeny::Drop => Verdict::Drop,
            OnDeny::Output => Verdict::Output(DENIED),
        };
        let default = default_action(params)?;
        Ok(Self {
            rules,
            counters: Vec::new(),
            default,
            on_deny,
        })
    }
}

fn default_action(params: &Params) -> Result<Action, ParamsError> {
    match params.optional::<String>("default")?.as_deref() {
        None | Some("drop") => Ok(Action::Drop),
        Some("accept") => Ok(Action::Accept),
        Some(other) => Err(ParamsError::value(
            "default",
            format!("expected `accept` or `drop`, found `{other}`"),
        )),
    }
}

/// Besides what [`Headers::fault`] names: a later TCP fragment that begins inside the first 20 bytes, which honest
/// senders never make and which could overwrite ports and flags that a rule has judged (RFC 1858, RFC 3128).
fn is_malformed(headers: &Headers) -> bool {
    headers.fault.is_some()
        || matches!(headers.fragment, Fragment::Later(..20)) && headers.protocol == Some(protocol::TCP)
}

#[cfg(test)]
mod tests;
