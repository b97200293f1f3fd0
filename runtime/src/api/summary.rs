//! The final output of `onvm-run`: where every packet went.

use std::fmt;

use onvm_api as wire;
use onvm_api::Reason;
use serde::Serialize;

use crate::ports::{CutOutput, UnreadInput};

/// The final state; `Display` for people, `Serialize` for machines.
#[derive(Debug, Clone, Serialize)]
pub struct Summary {
    pub version: u32,
    pub generation: String,
    pub ports: Vec<wire::PortStatus>,
    pub chains: Vec<wire::ChainStatus>,
    /// With the last values of the NFs' own counters.
    pub services: Vec<wire::ServiceStatus>,
    pub drops: Vec<wire::Drop>,
    pub buffers: wire::BufferStatus,
    pub balance: wire::Balance,
    /// received + generated = delivered + dropped + in flight.
    pub balanced: bool,
    /// Captures that could not be read to their end.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub unread: Vec<UnreadInput>,
    /// Captures that do not hold all that was sent into them.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub cut: Vec<CutOutput>,
    /// Packets that the end of an NF lost; they are among the drops.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub lost: Option<LostWithNfs>,
}

/// Packets that were lost because an NF was, by reason and place.
#[derive(Debug, Clone, Serialize)]
pub struct LostWithNfs {
    pub packets: u64,
    pub drops: Vec<wire::Drop>,
}

impl LostWithNfs {
    fn of(drops: &[wire::Drop]) -> Option<Self> {
        let reasons = Reason::ALL.into_iter().filter(|r| r.is_lost_nf());
        let reasons: Vec<&str> = reasons.map(Reason::name).collect();
        let drops = drops.iter().filter(|d| reasons.contains(&d.reason.as_str()));
        let drops: Vec<wire::Drop> = drops.cloned().collect();
        let packets = drops.iter().map(|d| d.packets).sum();
        (packets > 0).then_some(Self { packets, drops })
    }
}

impl fmt::Display for LostWithNfs {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let drops = self.drops.iter();
        let drops: Vec<String> = drops
            .map(|d| format!("{} {} at {}", d.packets, d.reason, d.place))
            .collect();
        let (number, verb) = match self.packets {
            1 => ("1 packet".to_owned(), "was"),
            n => (format!("{n} packets"), "were"),
        };
        write!(
            f,
            "{number} {verb} lost because an NF ended: {}. The log says why it ended.",
            drops.join(", ")
        )
    }
}

impl Summary {
    /// From the last look at everything.
    pub(crate) fn new(status: wire::Status) -> Self {
        let wire::Status {
            version,
            generation,
            ports,
            chains,
            services,
            drops,
            buffers,
            balance,
            ..
        } = status;
        let wire::Balance {
            received,
            generated,
            delivered,
            dropped,
            in_flight,
        } = balance;
        let lost = LostWithNfs::of(&drops);
        let balanced = received + generated == delivered + dropped + in_flight;
        Self {
            version,
            generation,
            ports,
            chains,
            services,
            drops,
            buffers,
            balance,
            balanced,
            unread: Vec::new(),
            cut: Vec::new(),
            lost,
        }
    }
}

impl fmt::Display for Summary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let wire::Balance {
            received,
            generated,
            delivered,
            dropped,
            in_flight,
        } = self.balance;
        for port in &self.ports {
            writeln!(
                f,
                "port {:<12} received {:>10}  sent {:>10}",
                port.name, port.rx_packets, port.tx_packets
            )?;
        }
        for chain in &self.chains {
            let hops = chain.hops.iter().map(|h| format!("{} {}", h.at, h.packets));
            writeln!(
                f,
                "chain {:<11} {}",
                chain.name,
                hops.collect::<Vec<_>>().join(" | ")
            )?;
        }
        for drop in &self.drops {
            writeln!(
                f,
                "dropped {:>19}  {} at {}",
                drop.packets, drop.reason, drop.place
            )?;
        }
        let sign = if self.balanced { '=' } else { '≠' };
        let made = if generated > 0 {
            format!(" + {generated} generated")
        } else {
            String::new()
        };
        write!(
            f,
            "balance {received} received{made} {sign} {delivered} delivered + {dropped} dropped + {in_flight} in flight"
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_lost_with_an_nf_is_no_verdict() {
        let drop = |reason: Reason, packets| wire::Drop {
            reason: reason.name().to_owned(),
            place: "inspect/0 fw".to_owned(),
            packets,
        };
        let all: Vec<_> = Reason::ALL.into_iter().map(|r| drop(r, 2)).collect();
        let lost = LostWithNfs::of(&all).unwrap();
        assert_eq!(
            lost.to_string(),
            "4 packets were lost because an NF ended: 2 no_instance at inspect/0 fw, 2 nf_lost at inspect/0 fw. The log says why \
             it ended."
        );
        let one = LostWithNfs::of(&[drop(Reason::NfLost, 1)]).unwrap();
        assert!(one.to_string().starts_with("1 packet was lost"));
        assert!(LostWithNfs::of(&[drop(Reason::NfVerdict, 9), drop(Reason::RingFull, 1)]).is_none());
    }
}
