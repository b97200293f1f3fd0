//! Stateless packet filter: the first rule that matches decides.
//!
//! The rules come lowered from the compiler, and are evaluated by the code that the manager steers with.

pub mod model;

use nflib::{
    Burst, Counter, Nf, Packet, Params, ParamsError, Reconfigured, Setup, SetupError, Verdict,
    filter::{Expr, FlowRules, Rule},
    headers::{Fragment, Headers, protocol},
};
use serde::Deserialize;

use crate::common::counters::{Counters, Places};

/// The verdicts of rules, as the manifest lists them.
const VERDICTS: [&str; 2] = ["accept", "drop"];

#[derive(Debug)]
pub struct Firewall {
    policy: Policy,
    hits: Counters<Counted>,
    /// For each rule the place of its counter.
    places: Places,
    accepted: Counter,
    denied: Counter,
    malformed: Counter,
    default_hits: Counter,
}

/// What a rule's counter counts: with another verdict or filter it is another rule.
type Counted = (usize, Expr);

/// The parameters, read.
#[derive(Debug)]
struct Policy {
    rules: FlowRules,
    default: Action,
    on_deny: Verdict,
    malformed: Malformed,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Action {
    Accept,
    Deny,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
enum OnDeny {
    Drop,
    Output,
}

/// The treatment of packets whose headers contradict each other.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Malformed {
    Drop,
    ByRules,
}

impl Nf for Firewall {
    fn new(setup: &mut Setup) -> Result<Self, SetupError> {
        let policy = Policy::new(&setup.params)?;
        let counted = policy.counted();
        let hits = Counters::new(setup, "rule_others", &counted)?;
        Ok(Self {
            accepted: setup.counter("accepted")?,
            denied: setup.counter("denied")?,
            malformed: setup.counter("malformed")?,
            default_hits: setup.counter("default_hits")?,
            places: hits.places(&counted).unwrap_or_default(),
            hits,
            policy,
        })
    }

    fn process(&mut self, burst: &mut Burst<'_>) {
        let (mut accepted, mut denied, mut malformed) = (0, 0, 0);
        for mut packet in burst.packets() {
            if self.policy.malformed == Malformed::Drop && is_malformed(&Headers::parse(packet.data())) {
                malformed += 1;
                packet.drop();
            } else if self.decide(&packet) == Action::Accept {
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

    /// New rules take effect between bursts, all at once. The counter of a name goes on when the rule of that name is the
    /// same. A rule of a name that had none needs a counter that this instance does not have, and so a new instance.
    fn reconfigure(&mut self, params: &Params) -> Result<Reconfigured, SetupError> {
        let policy = Policy::new(params)?;
        let counted = policy.counted();
        let Some(places) = self.hits.places(&counted) else {
            return Ok(Reconfigured::Unsupported);
        };
        self.hits.now_count(&counted);
        self.places = places;
        self.policy = policy;
        Ok(Reconfigured::Done)
    }
}

impl Firewall {
    #[inline]
    fn decide(&mut self, packet: &Packet<'_>) -> Action {
        let Some(rule) = packet.first(&mut self.policy.rules) else {
            self.default_hits.add(1);
            return self.policy.default;
        };
        if let Some(place) = self.places.get(rule) {
            self.hits.hit(*place);
        }
        self.policy.action(rule)
    }
}

/// Reads the parameters as the NF does when it starts.
pub fn check(params: &Params) -> Result<(), SetupError> {
    Policy::new(params).map(drop)
}

impl Policy {
    fn new(params: &Params) -> Result<Self, SetupError> {
        Ok(Self {
            rules: params
                .optional_rules("rules", &VERDICTS)?
                .unwrap_or_default()
                .into(),
            default: default_action(params)?,
            on_deny: match params.optional("on_deny")?.unwrap_or(OnDeny::Drop) {
                OnDeny::Drop => Verdict::Drop,
                OnDeny::Output => params.output("denied")?.into(),
            },
            malformed: params.optional("malformed")?.unwrap_or(Malformed::Drop),
        })
    }

    fn action(&self, rule: usize) -> Action {
        match self.rules.rules().get(rule).map(|rule| rule.verdict) {
            Some(0) => Action::Accept,
            _ => Action::Deny,
        }
    }

    fn counted(&self) -> Vec<(String, Counted)> {
        let counted = |rule: &Rule| (rule.name.clone(), (rule.verdict, rule.filter.clone()));
        self.rules.rules().iter().map(counted).collect()
    }
}

fn default_action(params: &Params) -> Result<Action, ParamsError> {
    match params.optional::<String>("default")?.as_deref() {
        None | Some("drop") => Ok(Action::Deny),
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
