//! libFuzzer over every target of `adit::fuzzing`: the one that FUZZ_TARGET names. See `fuzz/run`.
#![no_main]

use std::sync::LazyLock;

use adit::fuzzing::TARGETS;

static TARGET: LazyLock<fn(&[u8])> = LazyLock::new(|| {
    let name = std::env::var("FUZZ_TARGET").unwrap_or_default();
    let found = TARGETS.iter().find(|(known, _)| *known == name);
    found
        .unwrap_or_else(|| panic!("there is no target {name:?}"))
        .1
});

libfuzzer_sys::fuzz_target!(|input: &[u8]| TARGET(input));
