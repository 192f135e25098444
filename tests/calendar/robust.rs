//! The properties of the fuzz target, with the corpus and with bytes that proptest makes up.

use std::path::Path;

use proptest::prelude::*;

#[path = "../../fuzz/properties.rs"]
mod properties;

/// Pieces of expressions, so that most of what is made up gets past the parser.
const PIECES: &str =
    r"([ \t]|\*|\?|/|-|,|#|L|W|@|[0-9]{1,2}|\*/[0-9]{1,2}|SUN|fri|JAN|dec|TZ=|é| \* | 0 | \*/5 ){0,14}";

#[test]
fn corpus() {
    let zones = properties::zones();
    assert_eq!(zones.len(), 8);
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus/calendar");
    let mut cases = 0;
    for file in std::fs::read_dir(folder).unwrap() {
        let bytes = std::fs::read(file.unwrap().path()).unwrap();
        properties::check(&zones, &bytes);
        cases += 1;
    }
    assert!(cases > 30, "{cases} cases");
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2_000, ..ProptestConfig::default() })]

    #[test]
    fn any_text(head in any::<[u8; 6]>(), text in PIECES) {
        thread_local! { static ZONES: Vec<skycron::schedule::Zone> = properties::zones(); }
        let bytes = [&head[..], text.as_bytes()].concat();
        ZONES.with(|zones| properties::check(zones, &bytes));
    }

    #[test]
    fn any_five_fields(head in any::<[u8; 6]>(), expression in super::oracle::expression()) {
        thread_local! { static ZONES: Vec<skycron::schedule::Zone> = properties::zones(); }
        let bytes = [&head[..], expression.as_bytes()].concat();
        ZONES.with(|zones| properties::check(zones, &bytes));
    }

    #[test]
    fn any_bytes(bytes in proptest::collection::vec(any::<u8>(), 0..64)) {
        properties::check(&[skycron::schedule::Zone::utc()], &bytes);
    }
}
