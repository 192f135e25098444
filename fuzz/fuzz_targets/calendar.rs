//! Fuzz target: the expression parser and the walk, by the properties in `../properties.rs`.
#![no_main]

#[path = "../properties.rs"]
mod properties;

use std::sync::LazyLock;

use skycron::schedule::Zone;

static ZONES: LazyLock<Vec<Zone>> = LazyLock::new(properties::zones);

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| properties::check(&ZONES, bytes));
