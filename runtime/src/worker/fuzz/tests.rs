use super::{Bytes, Nf, Tally, World, bench, run};
use crate::reason::Reason;

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
            faulty,
        } = run(&input);
        all.sent += sent;
        all.refused += refused;
        all.overruled += overruled;
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
    assert!(all.sent > 0 && all.refused > 0 && all.overruled > 0, "{all:?}");
    let said = |what: &str| all.faulty.keys().any(|reason| reason.contains(what));
    assert!(
        said("the ring's index") && said("kept a packet") && said("old generation"),
        "{all:?}"
    );
}

/// Packets that are on their way to an instance beyond its share, and that it hands back in the same round by their guessed
/// numbers, were never counted as held by it.
#[test]
fn an_instance_that_guesses_what_it_is_not_given_gets_no_more_than_its_share() {
    let mut bench = bench::bench();
    // Slots 0 and 3, and all of a live port's packets go to the first.
    let mut world = World::new(&mut bench, 2 | 2 << 3);
    for _ in 0..20 {
        world.inject(&mut Bytes(&[0, 31]));
        world.round();
        // The second one names all buffers; the first one steers what it has to it.
        for first in [0, 30, 60, 90, 120, 150, 180, 210, 240] {
            world.nf(&mut Bytes(&[3, 29, first, 0, 60, 0, 0]), Nf::forge);
        }
        world.nf(&mut Bytes(&[0, 63, 3, 2, 0]), Nf::handle);
        for _ in 0..9 {
            world.round();
            world.check();
        }
    }
    world.end();
}
