//! Where in a good file the keys of a schedule are: for what is only found out after the file was read, by asking the server.
//!
//! The text is read a second time, when somebody asks: a checked schedule does not carry the places of its keys around.

use toml::de::{DeTable, DeValue};

use super::{
    Config,
    problem::{LineIndex, Place},
};

/// The places in one file.
pub struct Places<'a> {
    tree: DeTable<'a>,
    index: LineIndex<'a>,
}

impl<'a> Places<'a> {
    /// Those of this file.
    #[must_use]
    pub fn of(config: &'a Config) -> Self {
        let (tree, _) = DeTable::parse_recoverable(&config.text);
        Self { tree: tree.into_inner(), index: LineIndex::new(&config.text) }
    }

    /// Where the value of a key is, by its path inside the schedule of this number (from 0, in the order of the file); where
    /// the path ends before that, the last key that there is, or the schedule itself.
    #[must_use]
    pub fn value(&self, schedule: usize, path: &[&str]) -> Option<Place> {
        self.find(schedule, path, false)
    }

    /// Where the key itself is.
    #[must_use]
    pub fn key(&self, schedule: usize, path: &[&str]) -> Option<Place> {
        self.find(schedule, path, true)
    }

    fn find(&self, schedule: usize, path: &[&str], want_key: bool) -> Option<Place> {
        let DeValue::Array(array) = self.tree.get("schedule")?.get_ref() else { return None };
        let item = array.get(schedule)?;
        let mut span = item.span();
        let mut value = item.get_ref();
        for (depth, part) in path.iter().enumerate() {
            let DeValue::Table(table) = value else { break };
            let Some((key, inner)) = table.iter().find(|(key, _)| key.get_ref() == part) else { break };
            let is_last = depth + 1 == path.len();
            span = if is_last && want_key { key.span() } else { inner.span() };
            value = inner.get_ref();
        }
        Some(self.index.place(&span))
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::Places;
    use crate::config::{Config, Environment};

    const FILE: &str = r#"
[[schedule]]
id = "one"
workflow_id = "wpid_1"
cron_expression = "0 9 * * *"
parameters = { url = "a", deep = { er = 1 } }

[[schedule]]
id = "two"
workflow_id = "wpid_2"
cron_expression = "0 9 * * *"

[schedule.parameters]
url = "b"
"#;

    #[test]
    fn keys_and_values_are_found() {
        let config = Config::parse(Path::new("f"), FILE, &Environment::default()).unwrap();
        let places = Places::of(&config);
        let at = |place: Option<super::Place>| place.map(|place| &FILE[place.span]);
        assert_eq!(at(places.value(0, &["workflow_id"])), Some("\"wpid_1\""));
        assert_eq!(at(places.key(0, &["parameters", "url"])), Some("url"));
        assert_eq!(at(places.value(0, &["parameters", "deep", "er"])), Some("1"));
        assert_eq!(at(places.value(1, &["parameters", "url"])), Some("\"b\""));
        assert_eq!(at(places.value(1, &["parameters", "absent"])), Some("[schedule.parameters]"));
        assert_eq!(at(places.value(1, &["absent"])), Some("[[schedule]]"));
        assert_eq!(places.value(2, &["id"]), None);
    }
}
