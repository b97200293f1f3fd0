//! The judgement of libpcap, compiled with and without its optimiser.

use onvm_filter::Expr;
use pcap::{BpfProgram, Capture, Linktype};

/// A filter as libpcap compiles it for Ethernet.
pub(crate) struct Oracle {
    plain: BpfProgram,
    /// None where the optimiser found that the filter takes no packet, and refused it.
    optimised: Option<BpfProgram>,
    /// The optimiser is asked too.
    asks_optimiser: bool,
}

/// How many frames libpcap was asked about.
#[derive(Debug, Default, Clone, Copy)]
pub(crate) struct Tally {
    pub(crate) frames: usize,
    pub(crate) taken: usize,
    pub(crate) rejected_by_load: usize,
    /// Frames that a load rejects, and that pass once the optimiser has dropped the load.
    pub(crate) optimiser_differs: usize,
}

impl Oracle {
    pub(crate) fn new(text: &str) -> Result<Self, String> {
        let compile = |optimise| {
            Capture::dead(Linktype::ETHERNET)
                .and_then(|capture| capture.compile(text, optimise))
                .map_err(|error| error.to_string())
        };
        Ok(Self {
            asks_optimiser: true,
            plain: compile(false)?,
            optimised: match compile(true) {
                Ok(program) => Some(program),
                Err(error) if error.contains("expression rejects all packets") => None,
                Err(error) => return Err(format!("only when optimising: {error}")),
            },
        })
    }

    /// Without the optimiser, which is wrong for many filters that look behind tags, labels and tunnels.
    #[allow(dead_code, reason = "not every suite has such filters")]
    pub(crate) fn plain(text: &str) -> Result<Self, String> {
        let plain = Capture::dead(Linktype::ETHERNET).and_then(|capture| capture.compile(text, false));
        Ok(Self {
            asks_optimiser: false,
            plain: plain.map_err(|error| error.to_string())?,
            optimised: None,
        })
    }

    /// Whether the filter takes the frame.
    #[allow(dead_code, reason = "not every suite asks for it")]
    pub(crate) fn takes(&self, frame: &[u8]) -> bool {
        self.plain.filter(frame)
    }

    /// Compares `expr` with libpcap on every frame; the error shows the first difference, on the
    /// shortest start of the frame that has one.
    pub(crate) fn compare(&self, expr: &Expr, frames: &[Vec<u8>], tally: &mut Tally) -> Result<(), String> {
        for frame in frames {
            let ours = expr.decide(frame, frame.len() as u32);
            if let Some(why) = self.difference(expr, frame) {
                let shortest = (0..frame.len())
                    .map(|n| &frame[..n])
                    .find(|start| self.difference(expr, start).is_some())
                    .unwrap_or(frame);
                return Err(format!(
                    "{why}\nexpr:  {expr}\nframe ({} bytes): {shortest:02x?}",
                    shortest.len()
                ));
            }
            tally.frames += 1;
            tally.taken += usize::from(ours == Some(true));
            tally.rejected_by_load += usize::from(ours.is_none());
            tally.optimiser_differs +=
                usize::from(self.asks_optimiser && ours.is_none() && self.optimised(frame));
        }
        Ok(())
    }

    /// The optimiser may only differ on packets that a load rejects.
    fn difference(&self, expr: &Expr, frame: &[u8]) -> Option<String> {
        let ours = expr.decide(frame, frame.len() as u32);
        let plain = self.plain.filter(frame);
        if plain != (ours == Some(true)) {
            return Some(format!("decided {ours:?}, libpcap {plain}"));
        }
        if !self.asks_optimiser {
            return None;
        }
        let optimised = self.optimised(frame);
        (ours.is_some() && optimised != plain)
            .then(|| format!("decided {ours:?}, optimised libpcap {optimised}"))
    }

    fn optimised(&self, frame: &[u8]) -> bool {
        self.optimised
            .as_ref()
            .is_some_and(|program| program.filter(frame))
    }
}
