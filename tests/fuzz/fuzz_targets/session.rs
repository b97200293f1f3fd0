#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| {
    let _ = onvm_run::fleet::fuzz::run(input);
});
