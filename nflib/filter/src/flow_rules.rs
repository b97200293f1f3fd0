//! Rules that remember the decision on each flow.

use crate::{
    Rules,
    flow::{self, flow_of},
    flow_cache::FlowCache,
};

/// Flows that are remembered at once: 2 MiB.
const PLACES: usize = 1 << 15;
/// Fewer rules are asked faster than the cache.
const FEW: usize = 4;
/// Bytes of a packet that are copied before it is classified, at most.
const HEAD: usize = 192;
/// Stands for "no rule" in the cache.
const NO_RULE: u32 = FlowCache::MOST;

/// Rules, and a cache of the rule that each flow meets, of fixed size.
///
/// It answers as [`Rules::first`] does. What is remembered is remembered by the whole flow key, and only where all rules depend on
/// nothing else ([`Fields::flow_key_only`](crate::Fields::flow_key_only)). Other packets and other rules are classified one by one.
#[derive(Debug)]
pub struct FlowRules {
    rules: Rules,
    cache: Option<FlowCache>,
    /// Bytes from a packet's first on that the rules and the key depend on.
    reach: usize,
}

impl FlowRules {
    /// With an empty cache.
    #[must_use]
    pub fn new(rules: Rules) -> Self {
        let reach = rules.reach().max(usize::from(flow::REACH));
        let worth = rules.len() >= FEW && rules.uses().flow_key_only() && reach <= HEAD;
        let cache = worth.then(|| {
            let mut cache = FlowCache::default();
            cache.reserve(PLACES);
            cache
        });
        Self { rules, cache, reach }
    }

    /// The rules.
    pub fn rules(&self) -> &Rules {
        &self.rules
    }

    /// Whether flows are remembered: there are several rules, and none depends on more than the flow key.
    pub fn remembers(&self) -> bool {
        self.cache.is_some()
    }

    /// As [`Rules::first`].
    #[inline]
    pub fn first(&mut self, packet: &[u8], wire_len: u32) -> Option<usize> {
        let Some(cache) = &mut self.cache else {
            return self.rules.first(packet, wire_len);
        };
        // Others may write to the packet meanwhile: key and rule are those of one copy.
        let mut copy = [0; HEAD];
        let length = packet.len().min(self.reach).min(HEAD);
        let (Some(head), Some(from)) = (copy.get_mut(..length), packet.get(..length)) else {
            return self.rules.first(packet, wire_len);
        };
        head.copy_from_slice(from);
        let decide = || self.rules.first(head, wire_len);
        let Some(key) = flow_of(head).key else {
            return decide();
        };
        let rule = cache.get(&key, || decide().map_or(NO_RULE, |rule| rule as u32));
        (rule != NO_RULE).then_some(rule as usize)
    }
}

impl From<Rules> for FlowRules {
    fn from(rules: Rules) -> Self {
        Self::new(rules)
    }
}
