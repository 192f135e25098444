//! The occurrence's key as a tag of its run: the server turns every pair of `run_metadata` into a tag that can be searched.
//!
//! The key's text is used as it is. On a server 1.0.56 `main/daily@2026-11-02T14:00:00Z#manual-1` was found again by
//! `?tags=skycron_occurrence:<percent-encoded key>`, and its neighbours were not. Only a comma in a value (the server splits
//! the filter at it), a colon in a tag's name, and spaces at the ends would break the search; a key has none of them.

use std::collections::BTreeMap;

use crate::ids::OccurrenceKey;

/// The name of the tag.
pub const TAG_KEY: &str = "skycron_occurrence";

/// The longest value that the server accepts, in characters.
const VALUE_CHARS_MAX: usize = 256;

// Two names, an instant in milliseconds, a suffix, and what stands between them.
const _: () = assert!(3 * crate::ids::NAME_BYTES_MAX + 24 + 3 <= VALUE_CHARS_MAX);

/// The value of the tag: the key's own text, from which `parse` makes the key again.
#[must_use]
pub fn tag_value(key: &OccurrenceKey) -> String {
    key.to_string()
}

/// The `run_metadata` that marks a run as this occurrence's.
#[must_use]
pub fn occurrence_metadata(key: &OccurrenceKey) -> BTreeMap<String, String> {
    BTreeMap::from([(TAG_KEY.to_owned(), tag_value(key))])
}

#[cfg(test)]
mod tests {
    use super::tag_value;
    use crate::ids::OccurrenceKey;

    #[test]
    fn the_longest_key_fits_and_holds_nothing_that_splits_the_filter() {
        let name = "x".repeat(64);
        let text = format!("{name}/{name}@2026-11-02T14:00:00.123Z#{name}");
        let key: OccurrenceKey = text.parse().unwrap();
        let value = tag_value(&key);
        assert!(value.len() <= super::VALUE_CHARS_MAX, "{}", value.len());
        assert!(!value.contains(',') && value.trim() == value);
        assert_eq!(value.parse::<OccurrenceKey>().unwrap(), key);
    }
}
