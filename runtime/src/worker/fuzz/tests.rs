use std::sync::atomic::Ordering;

use nflib::{Descriptor, Run, VERDICT_DROP, VERDICT_NEXT};
use onvm_api::Reason;

use super::{Bytes, FUSED, Nf, Tally, World, bench, run};

/// The same sequences every time; `cargo fuzz` finds others.
#[test]
fn whatever_nfs_do_each_buffer_has_one_owner_and_each_packet_is_counted() {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let mut random = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state
    };
    let mut all = Tally::default();
    for _ in 0..500 {
        let length = random() % 1000;
        let input: Vec<u8> = (0..length).map(|_| (random() >> 24) as u8).collect();
        let Tally {
            sent,
            dropped,
            refused,
            overruled,
            programmed,
            generated,
            crossings,
            faulty,
        } = run(&input);
        all.sent += sent;
        all.refused += refused;
        all.overruled += overruled;
        all.programmed += programmed;
        all.generated += generated;
        all.crossings += crossings;
        all.faulty.extend(
            faulty
                .into_iter()
                .map(|(why, n)| (why.chars().filter(|c| !c.is_ascii_digit()).collect(), n)),
        );
        all.dropped.iter_mut().zip(dropped).for_each(|(sum, n)| *sum += n);
    }
    // What is asserted after each step says nothing of what never happens.
    for reason in Reason::ALL {
        let never = reason == Reason::TooLong;
        assert_eq!(all.dropped[reason as usize] == 0, never, "{reason:?}: {all:?}");
    }
    let some = [
        all.sent,
        all.refused,
        all.overruled,
        all.programmed,
        all.generated,
        all.crossings,
    ];
    assert!(!some.contains(&0), "{all:?}");
    let said = |what: &str| all.faulty.keys().any(|reason| reason.contains(what));
    assert!(
        said("corrupt ring") && said("kept a packet") && said("old generation"),
        "{all:?}"
    );
}

/// Packets that are on their way to an instance beyond its share, and that it hands back in the same round by their guessed
/// numbers, were never counted as held by it.
#[test]
fn an_instance_that_guesses_what_it_is_not_given_gets_no_more_than_its_share() {
    let mut bench = bench::bench();
    // Slots 0 and 3; what comes from the live port goes to the first, and that steers it to the second.
    let mut world = World::new(&mut bench, 2 | 2 << 3, 0);
    let come = |world: &mut World<'_>| {
        world.inject(&mut Bytes(&[0, 29]));
        world.round();
        world.nf(&mut Bytes(&[0, 63, 3, 2, 0]), Nf::handle);
    };
    for _ in 0..5 {
        come(&mut world);
        world.round();
    }
    let full = world.held_by(3);
    come(&mut world);
    let seen = &world.nfs[0].as_ref().unwrap().seen;
    let last = seen[seen.len() - 10..].to_vec();
    world.nfs[3].as_mut().unwrap().push(&last);
    world.round();
    let taken_back = world.counters.instances[3].tx_packets.load(Ordering::Relaxed);
    assert_eq!(taken_back, 10, "it guessed right");
    let thought = world.worker.forward.links[3].as_ref().map(|l| l.held() as usize);
    assert_eq!(thought, Some(world.held_by(3)), "of {full}");
    world.check();
    world.end();
}

/// Its blanks, its packets and the packets in whose names it makes others are checked each, and nothing else is taken.
#[test]
fn an_instance_makes_packets_of_its_blanks_in_the_names_of_what_it_holds() {
    let mut bench = bench::bench();
    // Slots 0 and 3, which may write and make packets; what comes from the live port goes to the second.
    let mut world = World::new(&mut bench, 2 | 2 << 3 | 0x40, 0);
    world.worker.upkeep();
    world.inject(&mut Bytes(&[0, 9]));
    world.round();
    let blanks: Vec<u32> = [3, 0]
        .into_iter()
        .flat_map(|slot: usize| {
            let nf = world.nfs[slot].as_mut().unwrap();
            nf.take_blanks();
            nf.blank[..8].to_vec()
        })
        .collect();
    world.nf(&mut Bytes(&[3, 9, 0, 0, 3]), Nf::handle);
    let held: Vec<u32> = world.nfs[3]
        .as_ref()
        .unwrap()
        .seen
        .iter()
        .map(|words| words[0] as u32)
        .collect();
    let made = |buffer, parent, length| {
        let descriptor = Descriptor {
            buffer,
            offset: 128,
            length,
            hash: parent,
            verdict: VERDICT_DROP,
            ..Descriptor::default()
        };
        descriptor.to_words()
    };
    let [mine, others, parent] = [blanks[0], blanks[8], held[0]];
    let refused = [
        made(mine, mine, 64),
        made(mine, blanks[1], 64),
        made(mine, u32::MAX, 64),
        made(others, parent, 64),
        made(mine, parent, 500),
    ];
    let nf = world.nfs[3].as_mut().unwrap();
    nf.push(&refused);
    // One is good; the second time it is not a blank any more.
    nf.push(&[
        made(mine, parent, 64),
        made(mine, parent, 64),
        made(blanks[1], parent, 0),
    ]);
    world.round();
    world.check();
    let counters = &world.counters.instances[3];
    let count = |counter: &std::sync::atomic::AtomicU64| counter.load(Ordering::Relaxed);
    assert_eq!((count(&counters.generated), count(&counters.refused)), (2, 6));
    assert_eq!((count(&counters.dropped), count(&counters.tx_packets)), (2, 0));
    assert_eq!(
        world.held_by(3),
        held.len(),
        "those in whose names they were are still its"
    );
    world.detach(3);
    world.check();
    let Tally {
        generated, dropped, ..
    } = world.end();
    assert_eq!(generated, 2);
    assert_eq!(dropped[Reason::NfVerdict as usize], 2);
    assert_eq!(dropped[Reason::NfLost as usize], held.len() as u64);
}

/// The manager moves a packet along by the steps that the process took, and no further than the run goes.
#[test]
fn packets_of_fused_nfs_are_where_their_last_step_was() {
    let mut bench = bench::bench();
    let mut world = World::new(&mut bench, 2, 0);
    world.publish(FUSED);
    world.inject(&mut Bytes(&[0, 9]));
    world.round();
    let nf = world.nfs[0].as_mut().unwrap();
    let back = |words: &[u64; 2], verdict, step| {
        let mut descriptor = Descriptor::from_words(*words);
        (descriptor.verdict, descriptor.destination, descriptor.flags) = (verdict, 0, step);
        descriptor.to_words()
    };
    let given = nf.pop();
    assert_eq!(given.len(), 10);
    for words in &given {
        assert_eq!(
            words[1] & !0xffff_ffff,
            Run::new(&[0, 1]).word(),
            "both NFs are asked"
        );
    }
    let said = [
        (4, VERDICT_NEXT, 1),
        (2, VERDICT_NEXT, 0),
        (2, VERDICT_DROP, 1),
        (2, VERDICT_DROP, 2),
    ];
    let said = said
        .iter()
        .flat_map(|(n, verdict, step)| std::iter::repeat_n((*verdict, *step), *n));
    let handed: Vec<_> = given
        .iter()
        .zip(said)
        .map(|(words, (verdict, step))| back(words, verdict, step))
        .collect();
    nf.push(&handed);
    world.round();
    world.check();
    let again = world.nfs[0].as_mut().unwrap().pop();
    let runs: Vec<u64> = again.iter().map(|words| words[1] & !0xffff_ffff).collect();
    assert_eq!(runs, [Run::new(&[1]).word(); 2], "the second NF alone");
    let generation = world.generations.last().unwrap().clone();
    let counters = &generation.counters[0];
    let count = |counter: &std::sync::atomic::AtomicU64| counter.load(Ordering::Relaxed);
    let arrived: Vec<u64> = counters.arrived.iter().map(count).collect();
    assert_eq!(arrived, [10, 8, 0, 4, 0, 0]);
    let dropped = |hop: usize| count(&counters.dropped[hop][Reason::NfVerdict as usize]);
    assert_eq!((dropped(0), dropped(1)), (2, 2));
    assert_eq!(
        count(&world.counters.instances[0].overruled),
        2,
        "the run has no third step"
    );
    // A run of one NF has one step, whatever is said of it.
    let handed: Vec<_> = again.iter().map(|words| back(words, VERDICT_NEXT, 1)).collect();
    world.nfs[0].as_mut().unwrap().push(&handed);
    world.round();
    world.check();
    assert_eq!((count(&counters.arrived[1]), count(&counters.arrived[3])), (8, 6));
    world.end();
}

/// Packets come in in the second domain, go to an instance of the first, and have nowhere to go while that has no free buffer.
#[test]
fn packets_that_find_no_buffer_in_the_other_domain_are_dropped_and_counted() {
    let mut bench = bench::bench();
    // Slot 0, and what comes from the port that waits goes there.
    let mut world = World::new(&mut bench, 2, 0);
    let mut taken = [0; 256];
    let got = world.bench.pools[0].alloc_burst(&mut taken);
    // All but five.
    world.bench.pools[0].free_burst(&taken[..5]);
    world.inject(&mut Bytes(&[1, 19]));
    world.round();
    assert_eq!(world.held_by(0), 5);
    let generation = world.generations.last().unwrap().clone();
    let counters = &generation.counters[0];
    let count = |counter: &std::sync::atomic::AtomicU64| counter.load(Ordering::Relaxed);
    let exhausted = |hop: usize| count(&counters.dropped[hop][Reason::BufferExhausted as usize]);
    assert_eq!((count(&counters.arrived[0]), exhausted(0)), (20, 15));
    assert_eq!(count(&counters.crossings[0]), 5);
    world.bench.pools[0].free_burst(&taken[5..got]);
    world.check();
    world.end();
}

/// In the other direction, on from an instance: the bytes of the packet go, and nothing else of the buffer.
#[test]
fn a_crossing_copies_the_packet_and_nothing_around_it() {
    let mut bench = bench::bench();
    // Slots 0 and 2, of services that follow each other, in domains of their own.
    let mut world = World::new(&mut bench, 2 | 2 << 2 | 0x40, 1 << 4);
    world.publish(0);
    for domain in 0..2 {
        let first = world.bench.pools[domain].first();
        for buffer in first..first + 256 {
            (0..128).for_each(|word| world.bench.write(buffer, word * 4, 0xd0 + domain as u32));
        }
    }
    world.inject(&mut Bytes(&[0, 2, 50, 7]));
    world.round();
    let given = world.nfs[0].as_mut().unwrap().pop();
    let longer = |words: &[u64; 2], offset, length| {
        let descriptor = Descriptor {
            offset,
            length,
            verdict: VERDICT_NEXT,
            ..Descriptor::from_words(*words)
        };
        descriptor.to_words()
    };
    // As it came, moved to the front, and as long as a buffer.
    let handed = [
        longer(&given[0], 128, 64),
        longer(&given[1], 4, 64),
        longer(&given[2], 0, 512),
    ];
    world.nfs[0].as_mut().unwrap().push(&handed);
    world.round();
    world.check();
    let crossed = world.nfs[2].as_mut().unwrap().pop();
    let places: Vec<_> = crossed
        .iter()
        .map(|words| Descriptor::from_words(*words))
        .map(|d| (world.bench.pools[0].number_of(d.buffer), d.offset, d.length))
        .collect();
    assert_eq!(places, [(1, 128, 64), (1, 128, 64), (1, 0, 512)]);
    let bytes = |words: &[u64; 2], offset, length| {
        let buffer = Descriptor::from_words(*words).buffer;
        world.bench.packets.bytes(buffer, offset, length).to_vec()
    };
    assert_eq!(bytes(&crossed[0], 128, 64), bench::frame(7));
    assert_eq!(bytes(&crossed[1], 128, 64), bytes(&given[1], 4, 64));
    assert_eq!(bytes(&crossed[2], 0, 512), bytes(&given[2], 0, 512));
    let around: Vec<u8> = [bytes(&crossed[0], 0, 128), bytes(&crossed[0], 192, 320)].concat();
    assert!(around.chunks(4).all(|word| word == 0xd1_u32.to_ne_bytes()));
    world.end();
}

/// One that names buffers of another domain does not hold them.
#[test]
fn buffers_of_other_domains_are_refused() {
    let mut bench = bench::bench();
    let mut world = World::new(&mut bench, 2 | 2 << 2 | 0x40, 1 << 4);
    world.publish(0);
    // Ten packets are with slot 2, in domain 1.
    world.inject(&mut Bytes(&[0, 9]));
    world.round();
    let given = world.nfs[0].as_mut().unwrap().pop();
    world.nfs[0].as_mut().unwrap().push(&given);
    world.round();
    let theirs = world.nfs[2].as_mut().unwrap().pop();
    assert_eq!((theirs.len(), world.held_by(2)), (10, 10));
    world.nfs[0].as_mut().unwrap().push(&theirs);
    world.round();
    world.check();
    let refused = world.counters.instances[0].refused.load(Ordering::Relaxed);
    assert_eq!((refused, world.held_by(2)), (10, 10));
    world.end();
}
