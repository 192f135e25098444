//! The zones that the file names: each is looked up once, and a name that nobody knows is a problem with the nearest one.
//!
//! Whose rules are in force is decided by [`super::zones`].

use std::{collections::HashMap, ops::Range};

use super::{
    Environment,
    problem::{Code, Problem},
    reader::{At, Reading},
    zones::{ZoneRulesChoice, ZoneSource},
};
use crate::schedule::Zone;

/// Zones by name, as far as the file named them.
pub(super) struct ZoneCache {
    source: ZoneSource,
    zones: HashMap<String, Result<Zone, Problem>>,
}

impl ZoneCache {
    /// Opens the zone rules that the file asks for; `place` is where it asks.
    pub(super) fn open(
        choice: ZoneRulesChoice,
        place: &Range<usize>,
        environment: &Environment,
        reading: &mut Reading<'_>,
    ) -> Self {
        let folder = environment.path("TZDIR");
        let source = ZoneSource::load(choice, folder.as_deref()).unwrap_or_else(|error| {
            let problem = Problem::error(Code::BadValue, error.to_string());
            reading.add(place, problem.hint("install tzdata, or set zone_rules = \"bundled\""));
            ZoneSource::bundled()
        });
        Self { source, zones: HashMap::new() }
    }

    /// The zone of this name; `None` if it has no rules, which is then a problem at its place.
    pub(super) fn look_up(&mut self, at: &At<String>, reading: &mut Reading<'_>) -> Option<Zone> {
        if !self.zones.contains_key(&at.value) {
            self.zones.insert(at.value.clone(), find(&self.source, &at.value));
        }
        match self.zones.get(&at.value)? {
            Ok(zone) => Some(zone.clone()),
            Err(problem) => {
                reading.add(&at.span, problem.clone());
                None
            }
        }
    }

    /// The zone rules themselves.
    pub(super) fn into_source(self) -> ZoneSource {
        self.source
    }
}

/// A zone, or the problem of its name.
pub(super) fn find(source: &ZoneSource, name: &str) -> Result<Zone, Problem> {
    source.zone(name).map_err(|error| Problem::error(Code::UnknownZone, error.to_string()).hint(error.hint()))
}
