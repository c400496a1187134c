//! See `agq::fuzzing`.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| agq::fuzzing::fuzz_transfer(data));
