use super::{Tally, run};
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
        all.faulty.extend(faulty);
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
