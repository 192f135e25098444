//! One line in the log for each thing that happened, with the occurrence as a field.
//!
//! Lines follow from changes of the history, so that the two cannot tell different stories. Where the lines go, and in which
//! form, is set up by `cli`. Each bad end has its line, however many there are; tries that will be repeated may be folded.

use chrono::{DateTime, Utc};

use crate::{
    clock::{rfc3339, rfc3339_millis},
    engine::{
        Change, Reason, Snapshot, Status, Trigger,
        change::{AttemptOutcome, NoteKind},
    },
    words::EACH,
};

/// Writes the line of one change, if it is worth one.
pub fn change(change: &Change) {
    match change {
        Change::Occurred(new) => {
            let (occurrence, trigger, reason) = (&new.key, new.trigger, text(new.reason.as_ref()));
            let count = new.count;
            match new.status {
                Status::Missed | Status::Refused | Status::Unknown => {
                    let through = new.through.map(rfc3339);
                    tracing::error!(target: EACH, %occurrence, count, through, reason, "{}", new.status);
                }
                Status::Skipped => tracing::warn!(target: EACH, %occurrence, count, reason, "skipped"),
                // What is on time has its line when it starts.
                _ if reason.is_none() && new.trigger == Trigger::Schedule => tracing::debug!(%occurrence, "due"),
                _ => tracing::info!(%occurrence, %trigger, reason, "due"),
            }
        }
        Change::StatusChanged { key, status, reason, .. } => {
            let reason = text(reason.as_ref());
            match status {
                Status::Completed if reason.is_none() => tracing::info!(occurrence = %key, "completed"),
                Status::Completed => tracing::warn!(target: EACH, occurrence = %key, reason, "completed"),
                Status::Failed
                | Status::Terminated
                | Status::TimedOut
                | Status::Missed
                | Status::Refused
                | Status::Unknown => {
                    tracing::error!(target: EACH, occurrence = %key, reason, "{status}");
                }
                Status::Canceled | Status::Skipped => {
                    tracing::warn!(target: EACH, occurrence = %key, reason, "{status}");
                }
                // The attempt has a line of its own; a reason here tells why it is not as it should be.
                _ if reason.is_some() => tracing::warn!(occurrence = %key, reason, "{status}"),
                _ => {}
            }
        }
        Change::AttemptEnded { key, number, outcome, message, http_status, run_id, .. } => {
            let run_id = run_id.as_ref().map(ToString::to_string);
            match outcome {
                AttemptOutcome::Started => tracing::info!(occurrence = %key, attempt = number, run_id, "started"),
                outcome => {
                    tracing::warn!(occurrence = %key, attempt = number, http_status, answer = message, "the start was {outcome}");
                }
            }
        }
        Change::RunReported { key, report, .. } if !report.is_over() => {
            tracing::debug!(occurrence = %key, run_id = %report.run_id, status = %report.status, "the run goes on");
        }
        Change::Paused { schedule, pause: Some(pause), .. } => {
            tracing::info!(%schedule, until = pause.until.map(rfc3339), note = pause.note, "paused");
        }
        Change::Paused { schedule, pause: None, .. } => tracing::info!(%schedule, "resumed"),
        Change::Noted { kind, text, .. } => match kind {
            NoteKind::ClockStepped | NoteKind::ReloadRefused => tracing::warn!(target: EACH, "{kind}: {text}"),
            _ => tracing::info!("{kind}: {text}"),
        },
        Change::Reopened { schedule, after, .. } => {
            tracing::warn!(target: EACH, %schedule, after = %rfc3339(*after), "the clock was ahead: what comes after is decided again");
        }
        Change::Defined { schedule, definition: None, .. } => tracing::info!(%schedule, "gone from the file"),
        // The mirror tells what it does itself.
        Change::Mirrored { .. } | Change::Unmirrored { .. } => {}
        Change::Defined { .. }
        // Its note says more.
        | Change::OwnerChanged { .. }
        | Change::Withdrawn { .. }
        | Change::AccountedThrough { .. }
        | Change::AttemptBegun { .. }
        | Change::AlarmRaised(_)
        | Change::AlarmsRemembered { .. }
        | Change::AlarmTried { .. }
        | Change::AlarmsFolded { .. }
        | Change::RunReported { .. } => {}
    }
}

/// Writes the engine's state: what is due next, what is going, what waits; and why the file on the disk is not in force, if it
/// was `refused`.
pub fn state(snapshot: &Snapshot, now: DateTime<Utc>, refused: Option<&str>) {
    let next = snapshot.next.as_ref().map(|(id, at)| format!("{id} at {}", rfc3339(*at)));
    tracing::info!(now = %rfc3339_millis(now), schedules = snapshot.schedules, open = snapshot.open.len(), next, "state");
    if let Some(refused) = refused {
        tracing::warn!(target: EACH, "state: {refused}");
    }
    for open in &snapshot.open {
        let run_id = open.run_id.as_ref().map(ToString::to_string);
        tracing::info!(occurrence = %open.key, stage = open.stage, run_id, "state: open");
    }
}

fn text(reason: Option<&Reason>) -> Option<String> {
    reason.map(ToString::to_string)
}
