//! Against every value of a few bytes.

#![allow(clippy::unwrap_used, clippy::panic)]

use std::cell::Cell;

use proptest::prelude::*;

use super::*;
use crate::sets::{brute::run, field::FieldId, values::Values};

/// Offset, size and mask of a field, and its values.
type Term = (u16, u8, u128, Vec<(u128, u128)>);

/// Terms over the bytes 0 and 1, of any width, offset and mask; the frame has two bytes.
fn terms() -> impl Strategy<Value = Vec<Term>> {
    let place = prop_oneof![Just((0, 1)), Just((1, 1)), Just((0, 2))];
    let mask = prop_oneof![
        Just(0xffff_u128),
        0..=0xffff_u128,
        (0..16_u32).prop_map(|bit| 1 << bit)
    ];
    let term = (
        place,
        mask,
        prop::collection::vec((0..=0xffff_u128, 0..=0xffff_u128), 1..4),
    );
    let term = term.prop_map(|((at, size), mask, ranges)| {
        let bytes = Bytes::masked(at, size, mask);
        let fold = |(a, b): (u128, u128)| {
            let (a, b) = (a % (bytes.max() + 1), b % (bytes.max() + 1));
            if b - a.min(b) < 300 { (a.min(b), b) } else { (a, a) }
        };
        (at, size, bytes.mask, ranges.into_iter().map(fold).collect())
    });
    prop::collection::vec(term, 2..6)
}

#[test]
fn fields_agree_if_and_only_if_some_frame_has_them_all() {
    let counts = Cell::new([0_u32; 2]);
    run(3000, 8, (terms(), any::<[u8; 2]>()), |(terms, present)| {
        let mut fields = Fields::default();
        let mut cube = Cube::default();
        for (at, size, mask, ranges) in &terms {
            let field = fields.id(Field::Bytes(Bytes {
                at: *at,
                size: *size,
                mask: *mask,
            }));
            match cube.clone().with(field, &Values::new(ranges.clone()).unwrap()) {
                Some(more) => cube = more,
                None => return Ok(()),
            }
        }
        let holds = |frame: &[u8]| {
            let mut terms = cube.terms().iter();
            terms.all(|(field, values)| values.contains(fields.get(*field).read(frame, 2)))
        };
        let there = (0..=u16::MAX).find(|n| holds(&n.to_be_bytes()));
        let mut count = counts.get();
        match agreement(&fields, &cube, &present, &mut u64::MAX.clone()) {
            Agreement::With(bits) => {
                prop_assert!(there.is_some(), "{cube:?}");
                // Bits of fields that share none are left as they are.
                let mut frame = there.unwrap_or_default().to_be_bytes();
                bits.write(&mut frame);
                prop_assert!(holds(&frame), "{cube:?} {frame:?}");
                count[0] += 1;
            }
            Agreement::Never => {
                prop_assert_eq!(there, None);
                count[1] += 1;
            }
            Agreement::Unknown => panic!("{cube:?}"),
        }
        counts.set(count);
        Ok(())
    });
    assert!(counts.get().iter().all(|n| *n > 300), "{:?}", counts.get());
}

fn cube(fields: &mut Fields, terms: &[(Field, u128)]) -> Cube {
    terms.iter().fold(Cube::default(), |cube, (field, value)| {
        let field = fields.id(field.clone());
        cube.with(field, &Values::one(*value)).unwrap()
    })
}

fn behind(at: u16, size: u8) -> Field {
    Field::BehindIp4 {
        l3: 14,
        bytes: Bytes::new(at, size),
    }
}

/// A port stands where the header's length says.
#[test]
fn a_field_behind_a_header_meets_one_at_a_fixed_place() {
    let port = behind(2, 2);
    let at_36 = Field::Bytes(Bytes::new(36, 2));
    let words = Field::Bytes(Bytes::masked(14, 1, 0x0f));
    let mut fields = Fields::default();
    let agree = |fields: &Fields, cube: &Cube| agreement(fields, cube, &[], &mut u64::MAX.clone());

    let other = cube(&mut fields, &[(port.clone(), 80), (at_36.clone(), 443)]);
    let Agreement::With(bits) = agree(&fields, &other) else {
        panic!("with options, they are apart");
    };
    assert_eq!(bits.header_words(14), Some(6));
    let other = cube(
        &mut fields,
        &[(port.clone(), 80), (at_36.clone(), 443), (words.clone(), 5)],
    );
    assert_eq!(agree(&fields, &other), Agreement::Never);
    let same = cube(&mut fields, &[(port, 80), (at_36, 80), (words, 5)]);
    assert!(matches!(agree(&fields, &same), Agreement::With(_)));
}

/// A frame of 20 bytes has no byte 20.
#[test]
fn what_is_not_captured_counts_as_0() {
    let mut fields = Fields::default();
    let byte = Field::Bytes(Bytes::new(20, 1));
    for (captured, value, wanted) in [(20, 1, false), (21, 1, true), (20, 0, true)] {
        let cube = cube(&mut fields, &[(byte.clone(), value), (Field::Captured, captured)]);
        let found = agreement(&fields, &cube, &[], &mut u64::MAX.clone());
        assert_eq!(found != Agreement::Never, wanted, "{captured} {value}");
    }
    assert_eq!(FieldId::CAPTURED, fields.id(Field::Captured));
}

/// Of a frame of 40 bytes there are 6 behind a header of 20.
#[test]
fn what_is_captured_behind_a_header_is_captured() {
    let mut fields = Fields::default();
    for (behind, words, wanted) in [
        (6, 5, true),
        (7, 5, false),
        (2, 6, true),
        (0, 15, true),
        (1, 15, false),
    ] {
        let terms = [
            (Field::Captured, 40),
            (Field::CapturedBehindIp4(14), behind),
            (Field::Bytes(Bytes::masked(14, 1, 0x0f)), words),
        ];
        let cube = cube(&mut fields, &terms);
        let found = agreement(&fields, &cube, &[], &mut u64::MAX.clone());
        assert_eq!(found != Agreement::Never, wanted, "{behind} {words}");
    }
}
