//! The region as both sides map it: header checks, rings, counters, and what the kernel refuses.

use std::{os::fd::AsFd, sync::atomic::Ordering};

use nflib::{
    Descriptor, Region, RegionError,
    layout::{AT_ABI, AT_SECTIONS, AT_TABLE, Layout},
    memory::{Mapping, create_file, reopen_read_only},
};
use proptest::prelude::*;

fn descriptor(n: u32) -> Descriptor {
    Descriptor {
        buffer: n,
        offset: 128,
        length: 64,
        hash: n,
        ..Descriptor::default()
    }
}

#[test]
fn both_sides_see_the_same_rings_and_counters() {
    let (fd, manager) = Region::create("region-test", Layout::new(2, 64, 16)).unwrap();
    let nf = Region::open(&fd).unwrap();
    assert_eq!(nf.workers(), 2);
    for w in 0..2 {
        let mut to = manager.to_nf_producer(w);
        let mut at_nf = nf.to_nf_consumer(w);
        let mut back = nf.from_nf_producer(w);
        let mut home = manager.from_nf_consumer(w);
        let burst: Vec<_> = (0..100).map(|n| descriptor(n + 1000 * w)).collect();
        assert_eq!(to.push(&burst), Ok(64), "the ring holds 64");
        let mut got = [Descriptor::default(); 100];
        assert_eq!(at_nf.pop(&mut got), Ok(64));
        assert_eq!(back.push(&got[..64]), Ok(64));
        let mut home_got = [Descriptor::default(); 64];
        assert_eq!(home.pop(&mut home_got), Ok(64));
        assert_eq!(home_got[..], burst[..64]);
    }
    let counter = nf.counters().get(3).unwrap();
    counter.add(5);
    assert_eq!(manager.counters().value(3), 5);
    assert!(nf.counters().get(16).is_none());
}

/// A ring of their own for each worker, where the layout has them.
#[test]
fn blanks_come_by_rings_of_their_own() {
    let (_fd, manager) = Region::create("region-test", Layout::new(2, 64, 8)).unwrap();
    assert!(manager.blanks_producer(0).is_none());
    let layout = Layout::new(2, 64, 8).with_blanks(128);
    let (fd, manager) = Region::create("region-test", layout).unwrap();
    let nf = Region::open(&fd).unwrap();
    assert_eq!(nf.workers(), 2);
    for w in 0..2 {
        let blanks: Vec<_> = (0..200).map(|n| descriptor(n + 1000 * w)).collect();
        assert_eq!(manager.blanks_producer(w).unwrap().push(&blanks), Ok(128));
        let mut got = [Descriptor::default(); 200];
        assert_eq!(nf.blanks_consumer(w).unwrap().pop(&mut got), Ok(128));
        assert_eq!(got[..128], blanks[..128]);
        assert_eq!(nf.to_nf_consumer(w).pop(&mut got), Ok(0));
    }
    assert!(nf.blanks_consumer(2).is_none());
    nf.counters().get(7).unwrap().add(5);
    assert_eq!(manager.counters().value(7), 5);
}

#[test]
fn a_ring_can_be_taken_up_where_its_last_holder_left_it() {
    let (fd, manager) = Region::create("region-test", Layout::new(1, 64, 0)).unwrap();
    manager
        .to_nf_producer(0)
        .push(&[descriptor(1), descriptor(2)])
        .unwrap();
    let nf = Region::open(&fd).unwrap();
    let mut one = [Descriptor::default(); 1];
    nf.to_nf_consumer(0).pop(&mut one).unwrap();
    nf.to_nf_consumer(0).pop(&mut one).unwrap();
    assert_eq!(one, [descriptor(2)]);
    assert_eq!(manager.to_nf_producer(0).used(), Ok(0));
}

#[test]
fn another_abi_is_refused_by_number() {
    let (fd, _region) = Region::create("region-test", Layout::new(1, 64, 0)).unwrap();
    Mapping::new(&fd, true)
        .unwrap()
        .u32_at(AT_ABI)
        .unwrap()
        .store(77, Ordering::Relaxed);
    assert!(matches!(Region::open(&fd), Err(RegionError::Abi { found: 77 })));
}

#[test]
fn the_file_can_neither_shrink_nor_be_mapped_writable_through_a_read_only_descriptor() {
    let fd = create_file("seal-test", 8192, false).unwrap();
    assert!(rustix::fs::ftruncate(&fd, 4096).is_err());
    assert!(rustix::fs::ftruncate(&fd, 16384).is_err());
    let reader = reopen_read_only(fd.as_fd()).unwrap();
    assert!(Mapping::new(&reader, true).is_err());
    let mapping = Mapping::new(&reader, false).unwrap();
    assert!(
        mapping.u32_at(0).is_none(),
        "words of a read-only mapping are not handed out"
    );
}

proptest! {
    /// Whatever stands in the header, opening a region returns a region that is safe to use or an error.
    #[test]
    fn no_header_is_believed_unchecked(words in prop::collection::vec((0usize..40, any::<u32>()), 1..12)) {
        let layout = Layout::new(1, 64, 8).with_blanks(64);
        let (fd, _region) = Region::create("region-test", layout).unwrap();
        let mapping = Mapping::new(&fd, true).unwrap();
        for (i, word) in words {
            let at = if i == 0 { AT_SECTIONS } else { AT_TABLE + 4 * i };
            mapping.u32_at(at).unwrap().store(word, Ordering::Relaxed);
        }
        if let Ok(region) = Region::open(&fd) {
            for w in 0..region.workers() {
                let mut got = [Descriptor::default(); 8];
                let _ = region.to_nf_consumer(w).pop(&mut got);
                let _ = region.from_nf_producer(w).push(&got);
                if let Some(mut blanks) = region.blanks_consumer(w) {
                    let _ = blanks.pop(&mut got);
                }
                region.worker_bell(w).ring();
            }
            region.nf_bell().ring();
            region.counters().value(0);
        }
    }
}
