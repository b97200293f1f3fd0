use super::run;

/// The same sequences every time; `cargo fuzz` finds others.
#[test]
fn random_sequences() {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let mut random = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state
    };
    for _ in 0..500 {
        let length = random() % 1000;
        let input: Vec<u8> = (0..length).map(|_| random() as u8).collect();
        run(&input);
    }
}
