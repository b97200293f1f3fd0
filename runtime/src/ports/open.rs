//! Ports that are open: devices of DPDK's, the kernel's interfaces, and captures.

use std::sync::Arc;

use super::{CutOutput, Plan, UnreadInput};
use crate::{
    capture::{Chunk, Input, Output, Player, Recorder, Stock},
    dpdk::{self, Eal, PacketPool, PortStats},
    error::RunError,
    interface::{Interface, Link},
    worker::{Feed, Sink, Source, SourceKind},
};

/// A port and what it was made from.
#[derive(Debug)]
pub(crate) struct OpenPort {
    pub(crate) name: String,
    pub(crate) kind: &'static str,
    /// It reads a capture that ends.
    pub(crate) finite: bool,
    device: Device,
}

#[derive(Debug)]
enum Device {
    Dpdk(dpdk::Port),
    Interface(Interface),
    Captures(Captures),
}

/// The captures of a port. Player and recorder go to the worker.
#[derive(Debug)]
struct Captures {
    player: Option<Player>,
    recorder: Option<Recorder>,
    input: Option<Input>,
    output: Option<Output>,
    /// Its buffers are in use for as long as the port is open.
    _stock: Option<Arc<Stock>>,
    /// A failure of the input, and one of the output, has been logged.
    logged: [bool; 2],
}

impl OpenPort {
    /// Opens a port. `loaded` is what was read of its capture beforehand.
    pub(crate) fn open(
        eal: &Eal,
        plan: &Plan,
        loaded: Option<&Chunk>,
        pool: &Arc<PacketPool>,
    ) -> Result<Self, RunError> {
        let device = match (plan.captures(), plan.interface()) {
            (Some(captures), _) => Device::Captures(Captures::open(plan, captures, loaded, pool)?),
            (None, Some(config)) => {
                Device::Interface(Interface::open(config.clone()).map_err(|e| plan.refuse(&e))?)
            }
            (None, None) => {
                let mut port = plan.create(eal)?;
                port.configure(&plan.config, std::slice::from_ref(pool))
                    .map_err(|e| plan.refuse(&e))?;
                port.start().map_err(|e| plan.refuse(&e))?;
                Device::Dpdk(port)
            }
        };
        Ok(Self {
            name: plan.name.clone(),
            kind: plan.kind,
            finite: plan.source == Some(SourceKind::Finite),
            device,
        })
    }

    /// What the worker receives from and sends to; to be asked for once.
    pub(crate) fn ends(
        &mut self,
        plan: &Plan,
        pool: &Arc<PacketPool>,
    ) -> Result<(Option<Source>, Option<Sink>), RunError> {
        match &mut self.device {
            Device::Interface(interface) => {
                let feed = Feed::Interface(interface.receiver(pool));
                let source = plan.source.map(|kind| Source { feed, kind });
                Ok((source, Some(Sink::Interface(interface.sender()))))
            }
            Device::Dpdk(port) => {
                let source = match plan.source {
                    Some(kind) => {
                        let queues = (0..plan.config.rx_queues).map(|q| port.rx_queue(q));
                        let feed = Feed::Queues(queues.collect::<Result<_, _>>()?);
                        Some(Source { feed, kind })
                    }
                    None => None,
                };
                Ok((source, Some(Sink::Queue(port.tx_queue(0)?))))
            }
            Device::Captures(captures) => {
                let feed = captures.player.take().map(Feed::Capture);
                let source = feed.zip(plan.source).map(|(feed, kind)| Source { feed, kind });
                Ok((source, captures.recorder.take().map(Sink::Capture)))
            }
        }
    }

    pub(crate) fn stats(&self) -> PortStats {
        match &self.device {
            Device::Dpdk(port) => port.stats(),
            Device::Interface(interface) => PortStats {
                imissed: interface.lost(),
                ..PortStats::default()
            },
            Device::Captures(_) => PortStats::default(),
        }
    }

    /// What it is good for at present, where that can change.
    pub(crate) fn link(&self) -> Option<Link> {
        match &self.device {
            Device::Interface(interface) => Some(interface.link()),
            Device::Dpdk(_) | Device::Captures(_) => None,
        }
    }

    /// Looks for a change of its link, and logs it.
    pub(crate) fn look_at_link(&mut self) {
        let Device::Interface(interface) = &mut self.device else {
            return;
        };
        match interface.look() {
            None => {}
            Some(Link::Up) => tracing::info!(port = self.name, "its link is up"),
            Some(Link::Down) => {
                tracing::warn!(port = self.name, "its link is down: packets to it are refused");
            }
            Some(Link::Gone) => tracing::warn!(
                port = self.name,
                "its interface is gone: packets to it are refused until there is one of its name again"
            ),
        }
    }

    /// Logs failures of its captures that are new.
    pub(crate) fn log_failures(&mut self) {
        let Device::Captures(captures) = &mut self.device else {
            return;
        };
        let input = captures
            .input
            .as_ref()
            .and_then(|i| i.failure().map(str::to_owned));
        let output = captures.output.as_ref().and_then(|output| {
            let failure = output.failure()?;
            Some(format!("{}: {failure}", output.path.display()))
        });
        for (failure, logged) in [input, output].into_iter().zip(&mut captures.logged) {
            if let Some(failure) = failure.filter(|_| !*logged) {
                tracing::error!(port = self.name, "{failure}");
                *logged = true;
            }
        }
    }

    /// How far its output is, as long as that gets on.
    pub(crate) fn output_progress(&self) -> Option<u64> {
        match &self.device {
            Device::Captures(captures) => captures.output.as_ref()?.progress(),
            Device::Dpdk(_) | Device::Interface(_) => None,
        }
    }

    /// Its input, if that was not read to its end.
    pub(crate) fn unread(&self) -> Option<UnreadInput> {
        let Device::Captures(captures) = &self.device else {
            return None;
        };
        let input = captures.input.as_ref()?;
        Some(UnreadInput {
            port: self.name.clone(),
            file: input.path.clone(),
            reason: input.failure()?.to_owned(),
        })
    }

    /// Its output, if that does not hold all that was sent into it.
    pub(crate) fn cut(&self) -> Option<CutOutput> {
        let Device::Captures(captures) = &self.device else {
            return None;
        };
        let output = captures.output.as_ref()?;
        let lost = output.lost()?;
        Some(CutOutput {
            port: self.name.clone(),
            file: output.path.clone(),
            bytes: lost.bytes,
            expected: lost.expected,
            packets: lost.packets,
            reason: lost.reason,
        })
    }

    pub(crate) fn close(self) -> Result<(), RunError> {
        match self.device {
            Device::Dpdk(port) => Ok(port.close()?),
            Device::Interface(_) | Device::Captures(_) => Ok(()),
        }
    }
}

impl Captures {
    fn open(
        plan: &Plan,
        captures: &super::Captures,
        loaded: Option<&Chunk>,
        pool: &Arc<PacketPool>,
    ) -> Result<Self, RunError> {
        let mut made = Self {
            player: None,
            recorder: None,
            input: None,
            output: None,
            _stock: None,
            logged: [false; 2],
        };
        if let Some(chunk) = loaded {
            let stock =
                Stock::new(pool, chunk).ok_or_else(|| plan.refuse(&"there are too few packet buffers"))?;
            made.player = Some(Player::again(pool, stock.clone()));
            made._stock = Some(stock);
        } else if let Some(reading) = &captures.read {
            let (player, input) = Player::once(pool, reading.path.clone()).map_err(|e| plan.refuse(&e))?;
            made.player = Some(player);
            made.input = Some(input);
        }
        let longest = captures.longest;
        made.recorder = Some(match &captures.write {
            None => Recorder::nowhere(longest),
            Some(path) => {
                let opened = Recorder::to(path.clone(), longest);
                let (recorder, output) = opened.map_err(|e| {
                    plan.refuse(&format!(
                        "{}: cannot be written: {e}. Name a file that you may write to.",
                        path.display()
                    ))
                })?;
                made.output = Some(output);
                recorder
            }
        });
        Ok(made)
    }
}
