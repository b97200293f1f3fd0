#![no_main]

libfuzzer_sys::fuzz_target!(|source: &str| properties::format(source));
