#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    parley::fuzzing::run(env!("CARGO_BIN_NAME"), data);
});
