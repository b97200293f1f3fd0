//! What `onvm-run` prints when it ends: where every packet went.

use std::fmt;

use onvm_bundle::api as wire;
use serde::Serialize;

use super::{CutOutput, Manager, UnreadInput};

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
}

impl Manager {
    pub(super) fn summary(&self) -> Summary {
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
        } = self.status();
        let wire::Balance {
            received,
            generated,
            delivered,
            dropped,
            in_flight,
        } = balance;
        let balanced = received + generated == delivered + dropped + in_flight;
        Summary {
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
