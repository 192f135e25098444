//! The zones that the file names: each is looked up once, and a name that nobody knows is a problem with the nearest one.

use std::collections::HashMap;

use super::{
    Environment,
    problem::{Code, Problem},
    reader::{At, Reading},
    settings::ZoneRules,
};
use crate::schedule::Zone;

/// Zones by name, as far as the file named them.
pub(super) struct ZoneCache {
    zones: HashMap<String, Option<Zone>>,
}

impl ZoneCache {
    /// Opens the zone rules that the file asks for.
    pub(super) fn open(_rules: ZoneRules, _environment: &Environment) -> Self {
        Self { zones: HashMap::new() }
    }

    /// The zone of this name; `None` if nobody knows it, which is then a problem at its place.
    pub(super) fn look_up(&mut self, at: &At<String>, reading: &mut Reading<'_>) -> Option<Zone> {
        if !self.zones.contains_key(&at.value) {
            self.zones.insert(at.value.clone(), Zone::bundled(&at.value));
        }
        let zone = self.zones.get(&at.value).cloned().flatten();
        if zone.is_none() {
            let problem = Problem::error(Code::UnknownZone, format!("{:?} is not a time zone", at.value));
            reading.add(&at.span, problem.hint("write an IANA name, as in \"America/New_York\""));
        }
        zone
    }
}
