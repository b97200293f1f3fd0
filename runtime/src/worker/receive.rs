//! What comes in: bursts from a port, classified and put onto their chains.

use std::sync::atomic::Ordering;

use nflib::memory::{PacketFile, PrivateCopy};
use onvm_api::Reason;

use super::{
    BURST, SourceKind, Worker,
    flows::{Foreseen, Hits, View},
    forward::{Forward, NOWHERE},
    ingress::{Ingress, Receiver},
    ledger::Tag,
    packets::Packets,
    route::arrived,
};
use crate::{
    dpdk::RxDesc,
    generation::{Generation, HopIndex, add},
};

impl Worker {
    /// Takes one burst from a port's queue onto its chains.
    pub(super) fn receive(&mut self, port: usize) -> usize {
        let slot = self.packets.generations.current;
        let Some(receiver) = &mut self.ingress.ports[port] else {
            return 0;
        };
        if self.packets.generations.live[slot].is_none() {
            return 0;
        }
        let (before, bytes) = (receiver.burst.gone(), receiver.burst.bytes);
        let Receiver {
            source, burst, turn, ..
        } = receiver;
        let n = source.take_burst(turn, burst, &mut self.forward.stamps);
        // The first NF in turn has had the time for what it was given last, and this is there before its turn comes.
        self.forward.ask_for_burst(0);
        let counters = &self.counters.ports[port];
        let gone = counters.count_gone(before, receiver.burst.gone());
        let read_to_its_end = receiver.source.has_ended();
        if n == 0 && gone == 0 && !read_to_its_end {
            return 0;
        }
        if read_to_its_end {
            receiver.source.kind = SourceKind::Ended;
        }
        let bytes = receiver.burst.bytes.wrapping_sub(bytes);
        add(&counters.rx_packets, n as u64);
        add(&counters.rx_bytes, bytes);
        self.admit(port, slot, bytes);
        if read_to_its_end {
            // What is under way to a port has left its generation, and is not counted as sent yet.
            self.forward.flush(&mut self.packets);
            // In this order: who sees that the source is done sees its last packets in flight, too.
            self.counters
                .in_flight
                .store(self.packets.generations.in_flight, Ordering::Release);
            self.counters.ports[port].done.store(true, Ordering::Release);
        }
        n
    }

    /// Puts the packets of the burst just received, which have so many bytes, onto their chains.
    fn admit(&mut self, port: usize, slot: usize, bytes: u64) {
        let Self {
            ingress,
            forward,
            packets,
            ..
        } = self;
        let Ingress {
            file,
            copy,
            ports,
            flows,
            foreseen,
            tables,
            ..
        } = ingress;
        let (Some(tables), Some(receiver)) = (&*tables, &mut ports[port]) else {
            return;
        };
        let burst = receiver.burst.packets_mut();
        // Others wait where they come from.
        let heeds_pressure = receiver.source.kind == SourceKind::Live;
        let mut flows = flows.of(port, tables);
        // Where all packets go the same way and no NF sees them, nobody looks into them.
        let looked_at = flows.look() || !tables.reach[port].is_empty();
        if looked_at {
            for packet in &*burst {
                file.prefetch(packet.index, packet.off);
            }
        }
        let tag = |hop| Tag::new(hop, slot as u8, tables.max_hops, port as u8);
        packets.generations.enter(tag(NOWHERE), burst.len() as u32);
        let mut head = Head { file, copy };
        let hits = &tables.counters[forward.worker].hits[port];
        if !flows.look() {
            if looked_at {
                for packet in burst.iter_mut().filter(|packet| !packet.hash_valid()) {
                    packet.hash = flows.hash(|most| head.of(packet, most));
                }
            }
            let all = Hits {
                packets: burst.len() as u64,
                bytes,
                ..Hits::default()
            };
            flows.count(forward.worker, all, hits);
            return forward.admit(packets, tables, tag(flows.hop(0)), heeds_pressure, burst);
        }
        let mut hops = [NOWHERE; BURST];
        let mut counted = Hits::default();
        let mut count = |flows: &View<'_>, decision, length| {
            if decision != counted.decision {
                flows.count(forward.worker, counted.next(decision), hits);
            }
            counted.packets += 1;
            counted.bytes += u64::from(length);
        };
        classify(&mut flows, foreseen, &mut head, burst, &mut hops, &mut count);
        flows.count(forward.worker, counted, hits);
        let mut done = 0;
        for together in hops[..burst.len()].chunk_by(|one, next| one == next) {
            let part = &burst[done..done + together.len()];
            forward.admit(packets, tables, tag(together[0]), heeds_pressure, part);
            done += together.len();
        }
    }
}

/// What decides about each packet of a burst, with the hop where its chain begins; packets have their flow's hash afterwards.
#[inline(always)]
fn classify(
    flows: &mut View<'_>,
    foreseen: &mut [Foreseen; BURST],
    head: &mut Head<'_>,
    burst: &mut [RxDesc],
    hops: &mut [HopIndex; BURST],
    count: &mut impl FnMut(&View<'_>, u32, u16),
) {
    let keeps = flows.keeps();
    if keeps {
        for (foreseen, packet) in foreseen.iter_mut().zip(&*burst) {
            *foreseen = flows.foresee(|most| head.of(packet, most));
        }
    }
    for ((packet, foreseen), hop) in burst.iter_mut().zip(&*foreseen).zip(hops) {
        let given_hash = packet.hash_valid().then_some(packet.hash);
        let known = match keeps {
            true => flows.known(foreseen, given_hash),
            false => None,
        };
        let (hash, decision) =
            known.unwrap_or_else(|| flows.classify(packet.len, given_hash, |most| head.of(packet, most)));
        packet.hash = hash;
        *hop = flows.hop(decision);
        count(flows, decision, packet.len);
    }
}

/// The first bytes of packets, which nobody else can write.
struct Head<'a> {
    file: &'a PacketFile,
    copy: &'a mut PrivateCopy,
}

impl Head<'_> {
    #[inline(always)]
    fn of(&mut self, packet: &RxDesc, most: u16) -> &[u8] {
        self.copy
            .take(self.file, packet.index, packet.off, packet.len.min(most))
    }
}

impl Forward {
    /// Puts packets that came in at the hop that `tag` names, or turns them away.
    #[inline(always)]
    fn admit(
        &mut self,
        packets: &mut Packets,
        tables: &Generation,
        tag: Tag,
        heeds_pressure: bool,
        burst: &[RxDesc],
    ) {
        let reason = match tag.hop() {
            NOWHERE => Reason::Chain,
            hop if heeds_pressure && self.pressure.any() => {
                let ahead = tables.ahead.get(usize::from(hop)).map_or(&[][..], Vec::as_slice);
                match self.pressure.at(ahead) {
                    true => Reason::Backpressure,
                    false => return self.start(packets, tag, burst),
                }
            }
            _ => return self.start(packets, tag, burst),
        };
        packets.generations.leave(tag, burst.len() as u32);
        for packet in burst {
            *packets.ledger.entry(packet.index) = arrived(packet, tag);
            self.refuse(packets, tag.port().into(), packet.index, reason);
        }
    }
}
