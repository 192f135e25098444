//! Whose zone rules are in force: the system's zone files or those that chrono-tz carries, whichever are newer.
//!
//! Reads files; what rules mean is `schedule::zone`'s. A [`ZoneSource`] remembers each zone that it read: for fresh rules
//! (at a reload, and once a day) another one is loaded. The environment is not looked at: `TZDIR` is handed in.

use std::{
    collections::{BTreeSet, HashMap},
    fmt,
    io::{self, Read as _},
    path::{Path, PathBuf},
    sync::{Mutex, PoisonError},
};

use chrono::{DateTime, TimeDelta, Utc};

use crate::{
    schedule::{Timetable, Zone},
    words::words,
};

#[cfg(test)]
mod tests;

words! {
    /// `zone_rules` of the file.
    #[derive(Default)]
    ZoneRulesChoice {
        /// Whichever are newer.
        #[default]
        Auto = "auto",
        /// The system's zone files.
        System = "system",
        /// Those that chrono-tz carries.
        Bundled = "bundled",
    }
}

/// Where systems keep their zone files; the first that is a folder counts.
const FOLDERS: [&str; 4] = ["/usr/share/zoneinfo", "/usr/lib/zoneinfo", "/usr/share/lib/zoneinfo", "/etc/zoneinfo"];
/// The largest zone file is some kilobytes.
const ZONE_FILE_BYTES_MAX: u64 = 1024 * 1024;
/// `tzdata.zi` has 110 kB.
const NAMES_FILE_BYTES_MAX: u64 = 4 * 1024 * 1024;
/// The longest IANA name has 32 bytes.
const NAME_BYTES_MAX: usize = 64;
/// The day after [`Zone::BUNDLED_RELEASE`] was released: rules that differ before it are not newer than it. A test fails
/// when the crate comes with another release.
const BUNDLED_RELEASED: i64 = 1_742_688_000;
/// How long before that two sources must agree for the one to be the other's successor: older times are told differently
/// by builds of one and the same release.
const AGREEMENT: TimeDelta = TimeDelta::days(5 * 365);
/// How far two sources are compared for a schedule.
const COMPARED: TimeDelta = TimeDelta::days(2 * 365 + 1);

/// Zones by name, by the rules that are in force.
#[derive(Debug)]
pub struct ZoneSource {
    choice: ZoneRulesChoice,
    system: Option<System>,
    /// The system's files come first.
    system_first: bool,
    /// Each zone that was asked for, by name and by source (`true`: the system's).
    known: Mutex<HashMap<(String, bool), Rules>>,
}

/// What a source has under a name: rules, nothing, or a file that cannot be used, with the reason.
type Rules = Result<Option<Zone>, String>;

/// The system's zone files.
#[derive(Debug)]
struct System {
    folder: PathBuf,
    release: Option<Release>,
}

/// A tzdata release, as `2026f`: a year and a letter.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Release {
    year: u16,
    /// After `z` comes `za`, which is longer.
    length: usize,
    letters: String,
}

/// Zone rules that were asked for and are not there.
#[derive(Debug, thiserror::Error)]
#[error("there are no zone files in {}", folders(.tried))]
pub struct NoZoneFiles {
    /// Where they were looked for.
    pub tried: Vec<PathBuf>,
}

/// A zone that has no rules.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum UnknownZone {
    /// Nobody knows the name.
    #[error("the time zone `{name}` is not known")]
    Name {
        /// What was asked for.
        name: String,
        /// The name that comes nearest.
        nearest: Option<String>,
    },
    /// There is a file, and it cannot be used.
    #[error("the rules of the time zone `{name}` cannot be read: {reason}")]
    Unreadable {
        /// What was asked for.
        name: String,
        /// The file and what is wrong with it.
        reason: String,
    },
}

impl UnknownZone {
    /// What to do about it.
    #[must_use]
    pub fn hint(&self) -> String {
        match self {
            Self::Name { nearest: Some(nearest), .. } => format!("did you mean `{nearest}`?"),
            Self::Name { nearest: None, .. } => "zones have IANA names, as `America/New_York` or `UTC`".to_owned(),
            Self::Unreadable { .. } => "repair the file (reinstall tzdata), or set zone_rules = \"bundled\"".to_owned(),
        }
    }
}

/// What the two sources say about a timetable.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Difference {
    /// The first occurrence that only one of them has.
    pub at: DateTime<Utc>,
    /// The occurrence there by the rules in force.
    pub in_force: Option<DateTime<Utc>>,
    /// The occurrence there by the other source.
    pub other: Option<DateTime<Utc>>,
}

impl ZoneSource {
    /// Looks for the system's zone files, in `tzdir` or else where systems keep them, and decides whose rules are used.
    ///
    /// # Errors
    ///
    /// `system` was chosen, and there are none.
    pub fn load(choice: ZoneRulesChoice, tzdir: Option<&Path>) -> Result<Self, NoZoneFiles> {
        let tried: Vec<PathBuf> = match tzdir {
            Some(folder) => vec![folder.to_owned()],
            None => FOLDERS.iter().map(PathBuf::from).collect(),
        };
        let system = tried
            .iter()
            .find(|folder| folder.is_dir())
            .map(|folder| System { folder: folder.clone(), release: release_in(folder) });
        let system_first = match (choice, &system) {
            (ZoneRulesChoice::Bundled, _) | (ZoneRulesChoice::Auto, None) => false,
            (ZoneRulesChoice::System, Some(_)) => true,
            (ZoneRulesChoice::System, None) => return Err(NoZoneFiles { tried }),
            (ZoneRulesChoice::Auto, Some(system)) => system.is_newer(),
        };
        Ok(Self { choice, system, system_first, known: Mutex::default() })
    }

    /// [`ZoneSource::load`] with `auto`, which finds rules always.
    #[must_use]
    pub fn newer(tzdir: Option<&Path>) -> Self {
        Self::load(ZoneRulesChoice::Auto, tzdir).unwrap_or_else(|_| Self::bundled())
    }

    /// The rules that chrono-tz carries, and nothing of the machine's.
    #[must_use]
    pub fn bundled() -> Self {
        Self { choice: ZoneRulesChoice::Bundled, system: None, system_first: false, known: Mutex::default() }
    }

    /// A zone by the rules in force; one that only the other source knows, by that one's.
    ///
    /// # Errors
    ///
    /// Neither knows it, or its file cannot be used.
    pub fn zone(&self, name: &str) -> Result<Zone, UnknownZone> {
        for system in [self.system_first, !self.system_first] {
            match self.zone_of(name, system) {
                Ok(Some(zone)) => return Ok(zone),
                Ok(None) => {}
                Err(reason) => return Err(UnknownZone::Unreadable { name: name.to_owned(), reason }),
            }
        }
        Err(UnknownZone::Name { name: name.to_owned(), nearest: self.nearest(name) })
    }

    /// A zone by one source's rules, read once.
    fn zone_of(&self, name: &str, system: bool) -> Rules {
        let key = (name.to_owned(), system);
        if let Some(known) = self.known.lock().unwrap_or_else(PoisonError::into_inner).get(&key) {
            return known.clone();
        }
        let zone = match &self.system {
            Some(files) if system => files.zone(name),
            None if system => Ok(None),
            _ => Ok(Zone::bundled(name)),
        };
        self.known.lock().unwrap_or_else(PoisonError::into_inner).insert(key, zone.clone());
        zone
    }

    /// The name that comes nearest: a slip, another case, or the city alone.
    fn nearest(&self, name: &str) -> Option<String> {
        let simple = |name: &str| name.to_lowercase().replace([' ', '-'], "_");
        let last = |name: &str| name.rsplit('/').next().unwrap_or_default().to_owned();
        let wanted = simple(name);
        let mut names: BTreeSet<String> = chrono_tz::TZ_VARIANTS.iter().map(|zone| zone.name().to_owned()).collect();
        names.extend(self.system.iter().flat_map(System::names));
        // Of a short name nothing is left after a slip: `PST` is not `EST`.
        let slips = if wanted.len() > 4 { 1 + wanted.len() / 5 } else { 0 };
        let city = last(&wanted);
        let score = |known: &str| {
            let candidate = simple(known);
            let whole = strsim::damerau_levenshtein(&wanted, &candidate);
            let of_city = strsim::damerau_levenshtein(&city, &last(&candidate));
            // A whole name that is as near as another one's city is better.
            let whole = (whole <= slips).then_some(2 * whole);
            whole.into_iter().chain((of_city <= city.len() / 5).then_some(2 * of_city + 1)).min()
        };
        let scored = names.into_iter().filter_map(|known| Some((score(&known)?, known)));
        scored.min_by_key(|(score, known)| (*score, known.len())).map(|(_, known)| known)
    }

    /// Whether the system's rules are in force.
    #[must_use]
    pub fn is_system(&self) -> bool {
        self.system_first
    }

    /// Which release is in force and why, for people.
    #[must_use]
    pub fn release(&self) -> String {
        let bundled = Zone::BUNDLED_RELEASE;
        let files = |system: &System| match &system.release {
            Some(release) => format!("tzdata {release} from {}", system.folder.display()),
            None => format!("tzdata of unknown release from {}", system.folder.display()),
        };
        match (&self.system, self.choice) {
            (Some(system), ZoneRulesChoice::System) => format!("{} (chosen)", files(system)),
            (Some(system), ZoneRulesChoice::Auto) if self.system_first => {
                format!("{} (newer than the {bundled} that is built in)", files(system))
            }
            (Some(system), ZoneRulesChoice::Auto) => {
                format!("tzdata {bundled}, built in ({} is not newer)", files(system))
            }
            (_, ZoneRulesChoice::Bundled) => format!("tzdata {bundled}, built in (chosen)"),
            (None, _) => format!("tzdata {bundled}, built in (no zone files were found)"),
        }
    }

    /// The first occurrence in the two years from an instant that only one of the two sources has; `None`: they agree, or
    /// there is no second one.
    #[must_use]
    pub fn difference(&self, timetable: &Timetable, from: DateTime<Utc>) -> Option<Difference> {
        timetable.cron_expression()?;
        let until = from + COMPARED;
        let zone = timetable.zone();
        let other = self.other(zone)?;
        // Most zones agree, and comparing their changes costs next to nothing.
        let differs = zone.first_difference(&other, from - TimeDelta::days(2), until)?;
        // An occurrence may be shifted to the other side of the change that only one of them has.
        let start = from.max(differs - TimeDelta::days(2));
        let mut here = timetable.between(start, until);
        let mut there = timetable.clone().with_zone(other).between(start, until);
        loop {
            let (in_force, other) = (here.next(), there.next());
            if in_force != other {
                let at = in_force.into_iter().chain(other).min()?;
                return Some(Difference { at, in_force, other });
            }
            in_force?;
        }
    }

    /// The same zone by the source that is not in force.
    fn other(&self, zone: &Zone) -> Option<Zone> {
        let files = self.system.as_ref()?;
        if self.system_first {
            return self.zone_of(zone.name(), false).ok().flatten();
        }
        files.zone(zone.name()).ok().flatten()
    }
}

impl System {
    /// Whether these rules are newer than those that chrono-tz carries.
    fn is_newer(&self) -> bool {
        match (&self.release, Release::parse(Zone::BUNDLED_RELEASE)) {
            (Some(system), Some(bundled)) => *system > bundled,
            _ => self.succeeds(),
        }
    }

    /// For a folder that does not say its release: all zones agree up to the day of the crate's release, and one differs
    /// after it.
    fn succeeds(&self) -> bool {
        let released = DateTime::from_timestamp(BUNDLED_RELEASED, 0).unwrap_or_default();
        let mut differs = false;
        for zone in chrono_tz::TZ_VARIANTS {
            let (Ok(Some(files)), Some(bundled)) = (self.zone(zone.name()), Zone::bundled(zone.name())) else {
                continue;
            };
            if files.first_difference(&bundled, released - AGREEMENT, released).is_some() {
                return false;
            }
            differs |= files.first_difference(&bundled, released, released + AGREEMENT * 4).is_some();
        }
        differs
    }

    /// A zone's rules; `None`: there is no such file.
    fn zone(&self, name: &str) -> Rules {
        if !is_name(name) {
            return Ok(None);
        }
        let path = self.folder.join(name);
        let bytes = match read(&path, ZONE_FILE_BYTES_MAX) {
            Ok(bytes) => bytes,
            Err(error)
                if matches!(
                    error.kind(),
                    io::ErrorKind::NotFound | io::ErrorKind::NotADirectory | io::ErrorKind::IsADirectory
                ) =>
            {
                return Ok(None);
            }
            Err(error) => return Err(format!("{}: {error}", path.display())),
        };
        Zone::from_tzif(name, &bytes).map(Some).map_err(|error| format!("{}: {error}", path.display()))
    }

    /// The names that `tzdata.zi` lists.
    fn names(&self) -> Vec<String> {
        let text = read(&self.folder.join("tzdata.zi"), NAMES_FILE_BYTES_MAX).unwrap_or_default();
        String::from_utf8_lossy(&text)
            .lines()
            .filter_map(|line| {
                let mut words = line.split(' ');
                match words.next()? {
                    "Z" => words.next(),
                    "L" => words.nth(1),
                    _ => None,
                }
            })
            .map(str::to_owned)
            .collect()
    }
}

/// Whether a text can be the name of a zone: no way out of the folder, no file that is something else, none of the copies
/// in `posix/`, and none of those in `right/`, which count leap seconds.
fn is_name(name: &str) -> bool {
    let part = |part: &str| {
        part.starts_with(|first: char| first.is_ascii_alphabetic())
            && part.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"_+-".contains(&byte))
    };
    name.len() <= NAME_BYTES_MAX
        && name.split('/').all(part)
        && name.starts_with(|first: char| first.is_ascii_uppercase())
}

/// Reads a file up to a limit; a folder is an error of that kind.
fn read(path: &Path, bytes_max: u64) -> io::Result<Vec<u8>> {
    let file = std::fs::File::open(path)?;
    let metadata = file.metadata()?;
    if metadata.is_dir() {
        return Err(io::ErrorKind::IsADirectory.into());
    }
    if !metadata.is_file() {
        return Err(io::Error::other("not a file"));
    }
    let mut bytes = Vec::new();
    file.take(bytes_max + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > bytes_max {
        return Err(io::Error::other(format!("larger than {bytes_max} bytes")));
    }
    Ok(bytes)
}

/// The release of a folder of zone files: the first line of `tzdata.zi`, or `+VERSION`.
fn release_in(folder: &Path) -> Option<Release> {
    let first_line = |name: &str| {
        let bytes = read(&folder.join(name), NAMES_FILE_BYTES_MAX).ok()?;
        let line = bytes.split(|byte| *byte == b'\n').next()?;
        Some(String::from_utf8_lossy(line).into_owned())
    };
    let zi = first_line("tzdata.zi").and_then(|line| Release::parse(line.strip_prefix("# version ")?));
    zi.or_else(|| Release::parse(&first_line("+VERSION")?))
}

impl Release {
    /// Reads `2026f`, and what builds put behind it is left out (`2026f-dirty`).
    fn parse(text: &str) -> Option<Self> {
        let text = text.trim();
        let year = text.get(..4)?.parse().ok()?;
        let letters: String = text[4..].chars().take_while(char::is_ascii_lowercase).collect();
        (!letters.is_empty()).then_some(Self { year, length: letters.len(), letters })
    }
}

impl fmt::Display for Release {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{}", self.year, self.letters)
    }
}

fn folders(tried: &[PathBuf]) -> String {
    tried.iter().map(|folder| folder.display().to_string()).collect::<Vec<_>>().join(", ")
}
