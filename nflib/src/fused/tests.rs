#![allow(clippy::unwrap_used, unsafe_code)]

use std::{collections::BTreeMap, sync::Arc};

use proptest::{collection::vec, prelude::*};

use super::*;
use crate::{
    CounterSet, Params, Verdict,
    memory::{Geometry, Mapping, create_file},
    params::MemberParams,
};

const START: Time = Time::from_nanos(0);

/// Counts packets, writes its place behind those of the NFs before it, and decides by the packet's first byte.
struct Decides {
    place: u8,
    packets: crate::Counter,
}

/// The verdict of the NF at a place on a packet with this first byte.
fn verdict(place: u8, first: u8) -> Verdict {
    match first.wrapping_mul(31).wrapping_add(place.wrapping_mul(57)) % 7 {
        0 => Verdict::Drop,
        1 => Verdict::Output(u16::from(place)),
        2 => Verdict::Steer(300),
        _ => Verdict::Next,
    }
}

impl Nf for Decides {
    fn new(setup: &mut Setup) -> Result<Self, SetupError> {
        setup.tick_every(Duration::from_secs(1 + setup.params.get::<u64>("place")?));
        Ok(Self {
            place: setup.params.get::<u64>("place")? as u8,
            packets: setup.counter("packets")?,
        })
    }

    fn process(&mut self, burst: &mut Burst<'_>) {
        self.packets.add(burst.len() as u64);
        for mut packet in burst.packets() {
            let data = packet.data_mut().unwrap();
            let met = usize::from(data[1]);
            (data[2 + met], data[1]) = (self.place, data[1] + 1);
            let verdict = verdict(self.place, data[0]);
            packet.set_verdict(verdict);
        }
    }

    fn tick(&mut self, _: Time) {
        self.packets.add(1000);
    }
}

fn member(program: &str, place: u8) -> MemberParams {
    MemberParams {
        name: format!("nf{place}-0"),
        program: program.to_owned(),
        params: Params::new(
            BTreeMap::from([("place".to_owned(), place.into())]),
            BTreeMap::new(),
        ),
    }
}

fn counters() -> CounterSet {
    let memory = Mapping::new(create_file("counters", 4096, false).unwrap(), true).unwrap();
    CounterSet::new(Arc::new(memory), 0, 64)
}

fn fused(members: u8, counters: CounterSet) -> Result<(Fused, Setup), SetupError> {
    let members = (0..members).map(|place| member("decides", place)).collect();
    let params = Params::default().with_members(members);
    let mut setup = Setup::new("edge-0", params, counters, Clock::Standing(START));
    let fused = Fused::new(&mut setup, |name| {
        (name == "decides").then_some(Program::of::<Decides>("decides"))
    })?;
    Ok((fused, setup))
}

proptest! {
    /// Each packet meets the NFs of its run, as far as they send it on, and nothing of others; packets keep their order.
    #[test]
    fn packets_meet_their_runs(packets in vec((any::<u8>(), 0..4_usize), 1..=BURST), runs in vec(vec(0..5_u8, 1..=6), 4)) {
        let counters = counters();
        let (mut fused, setup) = fused(5, counters.clone()).unwrap();
        let geometry = Geometry { first: 0, buffers: BURST as u32, stride: 2048, headroom: 128 };
        let fd = create_file("packets", geometry.bytes(), false).unwrap();
        let file = PacketFile::new(Mapping::new(&fd, true).unwrap(), geometry).unwrap();
        let mut descriptors = Vec::new();
        for (n, (first, run)) in packets.iter().enumerate() {
            let words = [n as u64 | 128 << 32 | 64 << 48, Run::new(&runs[*run]).word()];
            // SAFETY: no other reference to the file's bytes lives here.
            let data = unsafe { file.bytes_mut(n as u32, 128, 64) }.unwrap();
            (data[0], data[1]) = (*first, 0);
            descriptors.push(Descriptor::from_words(words));
        }
        Nf::process(&mut fused, &mut Burst::new(&mut descriptors, &file, Clock::Standing(START)));
        let mut met = [0_u64; 5];
        for (n, (descriptor, (first, run))) in descriptors.iter().zip(&packets).enumerate() {
            let run = &runs[*run];
            let last = run.iter().position(|place| verdict(*place, *first) != Verdict::Next).unwrap_or(run.len() - 1);
            let data = file.bytes(n as u32, 128, 64);
            prop_assert_eq!(descriptor.buffer, n as u32);
            prop_assert_eq!(usize::from(descriptor.flags), last);
            prop_assert_eq!(&data[2..2 + usize::from(data[1])], &run[..=last]);
            let said = Verdict::decode(descriptor.verdict, descriptor.destination);
            prop_assert_eq!(said, Some(verdict(run[last], *first)));
            run[..=last].iter().for_each(|place| met[usize::from(*place)] += 1);
        }
        for (place, met) in met.iter().enumerate() {
            prop_assert_eq!(counters.value(place), *met);
        }
        let names: Vec<String> = (0..5).map(|place| format!("nf{place}.packets")).collect();
        prop_assert_eq!(setup.counter_names(), names.as_slice());
    }
}

#[test]
fn each_gets_its_own_ticks() {
    let counters = counters();
    let (mut fused, setup) = fused(2, counters.clone()).unwrap();
    assert_eq!(setup.tick_period(), Some(Duration::from_secs(1)));
    for second in 1..=6 {
        Nf::tick(&mut fused, START + Duration::from_secs(second));
    }
    assert_eq!((counters.value(0), counters.value(1)), (6000, 3000));
}

#[test]
fn what_cannot_be_run_together_is_named() {
    let refused = |members: u8| fused(members, counters()).map(|_| ()).unwrap_err().to_string();
    assert_eq!(refused(0), "expected 1 to 15 NFs to run together, got 0");
    assert_eq!(refused(16), "expected 1 to 15 NFs to run together, got 16");
    let build = |member| {
        let params = Params::default().with_members(vec![member]);
        let mut setup = Setup::new("edge-0", params, counters(), Clock::Standing(START));
        let found = Fused::new(&mut setup, |name| {
            (name == "decides").then_some(Program::of::<Decides>("decides"))
        });
        found.map(|_| ()).unwrap_err().to_string()
    };
    assert_eq!(build(member("other", 0)), "nf0-0: this program has no NF `other`");
    let without = MemberParams {
        params: Params::default(),
        ..member("decides", 0)
    };
    assert_eq!(build(without), "nf0-0: parameter `place` is missing");
}
