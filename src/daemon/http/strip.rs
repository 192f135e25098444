//! A schedule's last days as a row of bars: what a person sees from across the room. Geometry and words only; the template
//! draws it.

use std::collections::BTreeMap;

use serde::Serialize;

use crate::{
    engine::Status,
    history::{Pieces, StripCell},
    ids::ScheduleId,
};

/// Heights in the units of the drawing, whose bars stand on its floor. Trouble stands taller than calm.
const HEIGHT: u32 = 26;
const CALM: u32 = 15;
const TROUBLE: u32 = 26;
const QUIET: u32 = 7;
/// The least height of a part that is there at all.
const PART_MIN: u32 = 6;
/// From the left edge of a bar to that of the next, and its width.
const STEP: u32 = 10;
const WIDTH: u32 = 8;

/// How something is, at a glance.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Tone {
    /// As it should be.
    Good,
    /// Under way.
    Open,
    /// Deliberately nothing.
    Quiet,
    /// Worth a look.
    Warn,
    /// Not as it should be.
    Bad,
}

/// The tone of a status.
pub(super) fn tone(status: Status) -> Tone {
    match status {
        Status::Completed => Tone::Good,
        Status::Pending | Status::Launching | Status::Running => Tone::Open,
        Status::Skipped => Tone::Quiet,
        Status::Canceled => Tone::Warn,
        Status::Failed | Status::Terminated | Status::TimedOut | Status::Missed | Status::Refused | Status::Unknown => {
            Tone::Bad
        }
    }
}

/// One drawing.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(super) struct Strip {
    pub(super) width: u32,
    pub(super) height: u32,
    /// Where days begin.
    pub(super) days: Vec<u32>,
    pub(super) bars: Vec<Bar>,
    /// All of it in words.
    pub(super) summary: String,
    /// Of what ended, the share that completed, in percent; nothing where nothing ended.
    pub(super) success_percent: Option<u64>,
}

/// One piece of time in which something was due.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(super) struct Bar {
    pub(super) x: u32,
    pub(super) width: u32,
    pub(super) title: String,
    pub(super) parts: Vec<Part>,
}

/// A part of a bar, from the floor up.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(super) struct Part {
    pub(super) tone: Tone,
    pub(super) y: u32,
    pub(super) height: u32,
}

/// The strip of one schedule.
pub(super) fn strip(schedule: &ScheduleId, cells: &[StripCell], pieces: &Pieces) -> Strip {
    let mut by_piece: BTreeMap<usize, BTreeMap<Status, u64>> = BTreeMap::new();
    let mut totals: BTreeMap<Status, u64> = BTreeMap::new();
    for cell in cells.iter().filter(|cell| cell.schedule == *schedule) {
        *by_piece.entry(cell.piece).or_default().entry(cell.status).or_default() += cell.count;
        *totals.entry(cell.status).or_default() += cell.count;
    }
    let bars = by_piece.iter().filter_map(|(piece, counts)| {
        let piece = u32::try_from(*piece).ok().filter(|piece| *piece < pieces.count)?;
        let (from, to) = (pieces.begin(piece), pieces.begin(piece + 1));
        let title = format!("{}–{} UTC: {}", from.format("%a %-d %b %H:%M"), to.format("%H:%M"), words(counts));
        Some(Bar { x: piece * STEP, width: WIDTH, title, parts: parts(counts) })
    });
    let midnight = |piece: &u32| pieces.begin(*piece).timestamp() % 86_400 == 0;
    let of = |tone_of: &[Tone]| -> u64 {
        totals.iter().filter(|(status, _)| tone_of.contains(&tone(**status))).map(|(_, count)| count).sum()
    };
    let (good, ended) = (of(&[Tone::Good]), of(&[Tone::Good, Tone::Warn, Tone::Bad]));
    Strip {
        width: pieces.count * STEP - (STEP - WIDTH),
        height: HEIGHT,
        days: (1..pieces.count).filter(midnight).map(|piece| piece * STEP).collect(),
        bars: bars.collect(),
        summary: if totals.is_empty() { "nothing was due".to_owned() } else { words(&totals) },
        // Never 100 where something failed.
        success_percent: (ended > 0).then(|| good * 100 / ended),
    }
}

/// `36 completed, 1 failed`.
fn words(counts: &BTreeMap<Status, u64>) -> String {
    let some = |(status, count): (&Status, &u64)| match count {
        0 => format!("{status} as before"),
        count => format!("{count} {}", status.word().replace('_', " ")),
    };
    counts.iter().map(some).collect::<Vec<_>>().join(", ")
}

/// The parts of a bar, trouble on top, in proportion to their numbers.
fn parts(counts: &BTreeMap<Status, u64>) -> Vec<Part> {
    let mut tones: BTreeMap<Tone, u64> = BTreeMap::new();
    for (status, count) in counts {
        // What goes on from before has no number of its own, and is there.
        *tones.entry(tone(*status)).or_default() += (*count).max(1);
    }
    let height = match tones.keys().next_back() {
        Some(Tone::Bad | Tone::Warn) => TROUBLE,
        Some(Tone::Quiet) if tones.len() == 1 => QUIET,
        _ => CALM,
    };
    let total: u64 = tones.values().sum();
    let mut floor = HEIGHT;
    let mut left = height;
    let mut parts = Vec::new();
    let rest = u32::try_from(tones.len()).unwrap_or(1);
    for (index, (tone, count)) in (1..).zip(&tones) {
        let room = left.saturating_sub((rest - index) * PART_MIN);
        let share = u32::try_from(u64::from(height) * count / total.max(1)).unwrap_or(height);
        let part = if index == rest { left } else { share.clamp(PART_MIN.min(room), room) };
        floor -= part;
        left -= part;
        parts.push(Part { tone: *tone, y: floor, height: part });
    }
    parts
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::parse_rfc3339;

    fn check(counts: &[(Status, u64)], expected: &[(Tone, u32)]) {
        let parts = parts(&counts.iter().copied().collect());
        let drawn: Vec<_> = parts.iter().map(|part| (part.tone, part.height)).collect();
        assert_eq!(drawn, expected, "{counts:?}");
        assert_eq!(parts.first().map(|part| part.y + part.height), Some(HEIGHT), "they stand on the floor");
        assert!(parts.windows(2).all(|pair| pair[1].y + pair[1].height == pair[0].y), "one on the other");
    }

    #[test]
    fn trouble_stands_out_of_many_successes() {
        check(&[(Status::Completed, 1)], &[(Tone::Good, CALM)]);
        check(&[(Status::Completed, 35)], &[(Tone::Good, CALM)]);
        check(&[(Status::Completed, 35), (Status::Failed, 1)], &[(Tone::Good, 20), (Tone::Bad, 6)]);
        check(&[(Status::Completed, 1), (Status::Failed, 35)], &[(Tone::Good, 6), (Tone::Bad, 20)]);
        check(&[(Status::Skipped, 3)], &[(Tone::Quiet, QUIET)]);
        check(&[(Status::Missed, 0)], &[(Tone::Bad, TROUBLE)]);
        check(
            &[(Status::Completed, 90), (Status::Running, 1), (Status::Skipped, 1), (Status::Failed, 1)],
            &[(Tone::Good, 8), (Tone::Open, 6), (Tone::Quiet, 6), (Tone::Bad, 6)],
        );
    }

    #[test]
    fn a_strip_says_what_it_shows() {
        let daily = ScheduleId::new("daily").unwrap();
        let cell = |piece, status, count| StripCell { schedule: daily.clone(), piece, status, count };
        let pieces = Pieces { since: parse_rfc3339("2026-11-02T21:00:00Z").unwrap(), seconds: 10_800, count: 3 };
        let cells = [cell(0, Status::Completed, 199), cell(2, Status::TimedOut, 1), cell(7, Status::Failed, 1)];
        let drawn = strip(&daily, &cells, &pieces);
        assert_eq!(drawn.summary, "199 completed, 1 failed, 1 timed out");
        assert_eq!(drawn.success_percent, Some(99));
        assert_eq!(drawn.days, [STEP]);
        let titles: Vec<_> = drawn.bars.iter().map(|bar| bar.title.as_str()).collect();
        assert_eq!(titles, ["Mon 2 Nov 21:00–00:00 UTC: 199 completed", "Tue 3 Nov 03:00–06:00 UTC: 1 timed out"]);
        let other = strip(&ScheduleId::new("other").unwrap(), &cells, &pieces);
        assert_eq!((other.summary.as_str(), other.success_percent), ("nothing was due", None));
    }
}
