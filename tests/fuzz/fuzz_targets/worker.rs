#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| {
    let _ = onvm_run::worker::fuzz::run(input);
});
