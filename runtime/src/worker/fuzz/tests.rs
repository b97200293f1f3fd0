use std::sync::atomic::Ordering;

use onvm_api::Reason;

use super::{Bytes, Nf, Tally, World, bench, run};

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
            faulty,
        } = run(&input);
        all.sent += sent;
        all.refused += refused;
        all.overruled += overruled;
        all.programmed += programmed;
        all.faulty.extend(
            faulty
                .into_iter()
                .map(|(why, n)| (why.chars().filter(|c| !c.is_ascii_digit()).collect(), n)),
        );
        all.dropped.iter_mut().zip(dropped).for_each(|(sum, n)| *sum += n);
    }
    // What is asserted after each step says nothing of what never happens.
    for reason in Reason::ALL {
        let never = matches!(reason, Reason::TooLong | Reason::BufferExhausted);
        assert_eq!(all.dropped[reason as usize] == 0, never, "{reason:?}: {all:?}");
    }
    let some = [all.sent, all.refused, all.overruled, all.programmed];
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
    let mut world = World::new(&mut bench, 2 | 2 << 3);
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
