//! Ports that are open: devices of DPDK's, the kernel's interfaces, and captures.

use std::sync::Arc;

use super::{CutOutput, Plan, UnreadInput};
use crate::{
    capture::{Chunk, Input, Output, Player, Recorder, Stock},
    dpdk::{self, Eal, PacketPool, PortStats, Rss},
    error::RunError,
    interface::{Interface, Link},
    receiver::{Taker, handoff},
    worker::{End, Ends, Feed, Handed, Sink, Source, SourceKind, Workers},
};

/// A port and what it was made from.
#[derive(Debug)]
pub(crate) struct OpenPort {
    pub(crate) name: String,
    pub(crate) kind: &'static str,
    /// It reads a capture that ends.
    pub(crate) finite: bool,
    device: Device,
    /// Of a card, as it was seen last.
    carrier: Link,
}

#[derive(Debug)]
enum Device {
    Dpdk(dpdk::Port),
    Interface(Interface),
    Captures(Captures),
}

/// The captures of a port. Player and recorders go to the workers.
#[derive(Debug)]
struct Captures {
    player: Option<Player>,
    /// One for each worker.
    recorders: Vec<Recorder>,
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
            carrier: Link::Up,
        })
    }

    /// What each worker and receiver polls and sends to; to be asked for once. `id` is the port's in the bundle.
    pub(crate) fn ends(
        &mut self,
        id: usize,
        plan: &Plan,
        pool: &Arc<PacketPool>,
        workers: &Workers,
    ) -> Result<Ends, RunError> {
        let (count, receivers) = (workers.count(), workers.receivers());
        let pollers = if receivers > 0 { receivers } else { count };
        let mut feeds = self.feeds(id, plan, pool, pollers)?;
        let source = |feed| plan.source.map(|kind| Source { feed, kind });
        let mut ends = Ends::default();
        for sink in self.sinks(count)? {
            ends.workers.push(End { source: None, sink });
        }
        if receivers == 0 {
            for (end, feed) in ends.workers.iter_mut().zip(feeds) {
                end.source = feed.and_then(source);
            }
            return Ok(ends);
        }
        let mut rings: Vec<Vec<Taker>> = (0..count).map(|_| Vec::new()).collect();
        for (receiver, feed) in feeds.iter_mut().enumerate() {
            let Some(source) = feed.take().and_then(source) else {
                continue;
            };
            let mut givers = Vec::new();
            for rings in &mut rings {
                let (giver, taker) = handoff();
                givers.push(giver);
                rings.push(taker);
            }
            ends.receivers.push((receiver, source, givers));
        }
        let stamped = matches!(self.device, Device::Captures(_));
        for (end, rings) in ends.workers.iter_mut().zip(rings) {
            if !rings.is_empty() {
                end.source = source(Feed::Handed(Handed { rings, stamped }));
            }
        }
        Ok(ends)
    }

    /// What each of so many pollers receives from.
    fn feeds(
        &mut self,
        id: usize,
        plan: &Plan,
        pool: &Arc<PacketPool>,
        pollers: usize,
    ) -> Result<Vec<Option<Feed>>, RunError> {
        let mut feeds: Vec<Option<Feed>> = (0..pollers).map(|_| None).collect();
        // One queue is one poller's: the ports are dealt out.
        let own = id % pollers;
        match &mut self.device {
            _ if plan.source.is_none() => {}
            Device::Interface(interface) => feeds[own] = Some(Feed::Interface(interface.receiver(pool))),
            Device::Captures(captures) => feeds[own] = captures.player.take().map(Feed::Capture),
            Device::Dpdk(port) => {
                for (feed, queues) in feeds.iter_mut().zip(deal(plan.config.rx_queues, own, pollers)) {
                    let queues = queues.into_iter().map(|q| port.rx_queue(q));
                    let queues: Vec<_> = queues.collect::<Result<_, _>>()?;
                    *feed = (!queues.is_empty()).then_some(Feed::Queues(queues));
                }
            }
        }
        Ok(feeds)
    }

    /// What each worker sends to.
    fn sinks(&mut self, workers: usize) -> Result<Vec<Option<Sink>>, RunError> {
        let sinks: Vec<Sink> = match &mut self.device {
            Device::Interface(interface) => (0..workers)
                .map(|_| Sink::Interface(interface.sender()))
                .collect(),
            Device::Dpdk(port) => send_queues(port, workers)?,
            Device::Captures(captures) => captures.recorders.drain(..).map(Sink::Capture).collect(),
        };
        let mut sinks = sinks.into_iter();
        Ok((0..workers).map(|_| sinks.next()).collect())
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

    /// Its card, which spreads flows over several queues.
    pub(super) fn spreading(&mut self) -> Option<&mut dpdk::Port> {
        match &mut self.device {
            Device::Dpdk(port) if self.kind == "pci" && port.rx_queues() > 1 => Some(port),
            _ => None,
        }
    }

    /// How its card spreads flows over several queues, by the card's own words.
    pub(crate) fn rss(&self) -> Option<Rss> {
        match &self.device {
            Device::Dpdk(port) if self.kind == "pci" => port.rss(),
            _ => None,
        }
    }

    /// What it is good for at present, where that can change.
    pub(crate) fn link(&self) -> Option<Link> {
        match &self.device {
            Device::Interface(interface) => Some(interface.link()),
            Device::Dpdk(port) if self.kind == "pci" => Some(carrier(port)),
            Device::Dpdk(_) | Device::Captures(_) => None,
        }
    }

    /// Looks for a change of its link, and logs it.
    pub(crate) fn look_at_link(&mut self) {
        let changed = match &mut self.device {
            Device::Interface(interface) => interface.look(),
            Device::Dpdk(port) if self.kind == "pci" => {
                let now = carrier(port);
                (std::mem::replace(&mut self.carrier, now) != now).then_some(now)
            }
            Device::Dpdk(_) | Device::Captures(_) => return,
        };
        match changed {
            None => {}
            Some(Link::Up) => tracing::info!(port = self.name, "its link is up"),
            Some(Link::Down) => {
                tracing::warn!(port = self.name, "its link is down: packets to it are refused");
            }
            Some(Link::Gone) => tracing::warn!(
                port = self.name,
                "its interface is gone: packets to it are refused until an interface of its name exists again"
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

fn carrier(card: &dpdk::Port) -> Link {
    if card.link_up() { Link::Up } else { Link::Down }
}

/// The receive queues of each poller. With as many queues as pollers, or more, a queue of a number is the same one's on each
/// port: cards that spread flows by one symmetric hash then give both directions of a flow to one poller.
fn deal(queues: u16, own: usize, pollers: usize) -> Vec<Vec<u16>> {
    let mut dealt = vec![Vec::new(); pollers];
    let first = if usize::from(queues) < pollers { own } else { 0 };
    for queue in 0..queues {
        dealt[(first + usize::from(queue)) % pollers].push(queue);
    }
    dealt
}

/// A way of sending for each worker: a queue of its own, or one that it shares.
fn send_queues(port: &mut dpdk::Port, workers: usize) -> Result<Vec<Sink>, RunError> {
    let queues = usize::from(port.tx_queues());
    let mut ways: Vec<Vec<Sink>> = Vec::new();
    for queue in 0..queues.min(workers) {
        let sharing = (queue..workers).step_by(queues).count();
        ways.push(Sink::queue(port.tx_queue(queue as u16)?, sharing));
    }
    Ok((0..workers)
        .filter_map(|worker| ways[worker % queues].pop())
        .collect())
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
            recorders: Vec::new(),
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
        let (longest, workers) = (captures.longest, usize::from(plan.config.tx_queues));
        made.recorders = match &captures.write {
            None => (0..workers).map(|_| Recorder::nowhere(longest)).collect(),
            Some(path) => {
                let opened = Recorder::to(path.clone(), longest, workers);
                let (recorders, output) = opened.map_err(|e| {
                    plan.refuse(&format!(
                        "{}: cannot be written: {e}. Name a file that you may write to.",
                        path.display()
                    ))
                })?;
                made.output = Some(output);
                recorders
            }
        };
        Ok(made)
    }
}
