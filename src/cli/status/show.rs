//! The screen of `status`, and its JSON.

use comfy_table::Cell;
use serde_json::{Value, json};

use super::look::{Daemon, LIST_MAX, Running, Seen};
use crate::{
    cli::{
        args::Format,
        error::CliError,
        history::{one_line, tone},
        next::distance,
        output::{Output, Tone, toned},
    },
    clock::{length, rfc3339},
};

/// Longer reasons are cut; `why` has them whole.
const WHY_CHARS_MAX: usize = 100;
/// A run that takes this many times as long as usual is worth a look.
const LONG_TIMES: i32 = 2;

/// Prints it.
///
/// # Errors
/// Standard output cannot be written.
pub(super) fn show(seen: &Seen, output: &mut Output) -> Result<(), CliError> {
    if output.format() == Format::Json {
        return output.object(&object(seen));
    }
    head(seen, output)?;
    running(seen, output)?;
    next(seen, output)?;
    failed(seen, output)?;
    paused(seen, output)
}

fn head(seen: &Seen, output: &mut Output) -> Result<(), CliError> {
    let process = |pid: &Option<u32>| pid.map_or_else(String::new, |pid| format!(", process {pid}"));
    let (mark, text, hint) = match &seen.daemon {
        Daemon::None => {
            (Tone::Bad, "none runs: nothing is started".to_owned(), Some("`skycron run`, or systemctl start skycron"))
        }
        Daemon::Silent { pid, message } => {
            (Tone::Warn, format!("{message}{}", process(pid)), Some("`skycron doctor` says more"))
        }
        Daemon::Up { pid, since, schedules, open, stalled } => {
            let since = since
                .map_or_else(|| "up".to_owned(), |at| format!("up since {} ({})", rfc3339(at), length(seen.now - at)));
            let text = format!("{since}{}, {schedules} schedules, {open} open", process(pid));
            match stalled {
                Some(stalled) => (
                    Tone::Bad,
                    format!("{text}; it cannot write the history, {}", one_line(stalled, 300)),
                    Some("its log says what to do; nothing is started meanwhile"),
                ),
                None => (Tone::Good, text, None),
            }
        }
    };
    line("daemon", mark, &text, hint, output)?;
    let file = &seen.file;
    let mark = if file.hint.is_some() { Tone::Warn } else { Tone::Good };
    let path = file.path.as_ref().map_or_else(String::new, |path| format!("{}: ", path.display()));
    line("file", mark, &format!("{path}{}", file.message), file.hint.as_deref(), output)?;
    if let Some(rules) = &seen.zone_rules {
        line("zones", Tone::Good, rules, None, output)?;
    }
    let mark = match seen.api.reachable {
        Some(true) => Tone::Good,
        Some(false) => Tone::Bad,
        None => Tone::Dim,
    };
    let url = seen.api.base_url.as_ref().map_or_else(String::new, |url| format!("{url}: "));
    line("api", mark, &format!("{url}{}", one_line(&seen.api.message, 300)), None, output)
}

/// One of the first lines: its label, in the colour of how it is meant, and what there is to say.
fn line(label: &str, mark: Tone, text: &str, hint: Option<&str>, output: &mut Output) -> Result<(), CliError> {
    let look = output.data_look();
    // Padded before it is painted: colours have no width.
    let label = look.paint(mark, format_args!("{label:7}"));
    output.line(format_args!("{label} {text}"))?;
    if let Some(hint) = hint {
        let word = look.paint(Tone::Strong, "hint");
        output.line(format_args!("        {word}: {hint}"))?;
    }
    Ok(())
}

fn heading(text: &str, output: &mut Output) -> Result<(), CliError> {
    output.line("")?;
    let text = output.data_look().paint(Tone::Strong, text);
    output.line(text)
}

fn running(seen: &Seen, output: &mut Output) -> Result<(), CliError> {
    if seen.running.is_empty() {
        let nothing = if seen.has_history { "nothing runs" } else { "nothing runs: there is no history yet" };
        return heading(nothing, output);
    }
    heading("running", output)?;
    let rows = seen.running.iter().map(|running| {
        let long = is_long(running);
        let since = running.since.map_or_else(String::new, length);
        let usual = running.usual.map_or_else(|| "not known".to_owned(), length);
        vec![
            toned(Tone::Strong, &running.row.schedule),
            toned(tone(running.row.status), running.row.status),
            if long { toned(Tone::Warn, since) } else { Cell::new(since) },
            toned(Tone::Dim, usual),
            Cell::new(running.row.run_id.as_ref().map_or("", |run| run.as_str())),
            Cell::new(one_line(running.row.reason.as_deref().unwrap_or_default(), WHY_CHARS_MAX)),
        ]
    });
    output.table(&["SCHEDULE", "STATUS", "FOR", "USUALLY", "RUN", "WHY"], rows)?;
    let open = if let Daemon::Up { open, .. } = seen.daemon { open } else { seen.running.len() };
    more(open.saturating_sub(seen.running.len()), output)
}

/// Whether it goes on much longer than such runs usually do.
fn is_long(running: &Running) -> bool {
    matches!((running.since, running.usual), (Some(since), Some(usual)) if since > usual * LONG_TIMES)
}

fn next(seen: &Seen, output: &mut Output) -> Result<(), CliError> {
    if seen.next.is_empty() {
        return heading("nothing is due", output);
    }
    heading("next", output)?;
    let rows = seen.next.iter().map(|next| {
        vec![
            toned(Tone::Strong, &next.schedule),
            Cell::new(next.local.replace('T', " ")),
            toned(Tone::Dim, distance(seen.now, next.at)),
            toned(Tone::Dim, &next.cadence),
            Cell::new(next.words.as_deref().unwrap_or_default()),
        ]
    });
    output.table(&["SCHEDULE", "LOCAL TIME", "IN", "CADENCE", "DUE"], rows)
}

fn failed(seen: &Seen, output: &mut Output) -> Result<(), CliError> {
    if seen.failed.is_empty() {
        return Ok(());
    }
    heading("failed and not recovered", output)?;
    let rows = seen.failed.iter().take(LIST_MAX).map(|row| {
        let why = row.failure_reason.as_deref().or(row.reason.as_deref()).unwrap_or_default();
        vec![
            toned(Tone::Strong, &row.schedule),
            toned(tone(row.status), row.status),
            Cell::new(rfc3339(row.scheduled_for)),
            toned(Tone::Dim, distance(seen.now, row.scheduled_for)),
            Cell::new(one_line(why, WHY_CHARS_MAX)),
        ]
    });
    output.table(&["SCHEDULE", "STATUS", "DUE", "WHEN", "WHY"], rows)?;
    more(seen.failed.len().saturating_sub(LIST_MAX), output)?;
    let label = output.data_look().paint(Tone::Strong, "hint");
    output.line(format_args!("{label}: `skycron why SCHEDULE` says more, and what to do"))
}

fn paused(seen: &Seen, output: &mut Output) -> Result<(), CliError> {
    if seen.paused.is_empty() {
        return Ok(());
    }
    heading("paused", output)?;
    for schedule in seen.paused.iter().take(LIST_MAX) {
        let Some(pause) = &schedule.pause else { continue };
        let until = pause.until.map_or_else(String::new, |until| format!(" until {}", rfc3339(until)));
        let note = pause.note.as_ref().map_or_else(String::new, |note| format!(": {}", one_line(note, WHY_CHARS_MAX)));
        output.line(format_args!("{} since {}{until}{note}", schedule.id, rfc3339(pause.since)))?;
    }
    more(seen.paused.len().saturating_sub(LIST_MAX), output)
}

fn more(count: usize, output: &mut Output) -> Result<(), CliError> {
    if count == 0 { Ok(()) } else { output.line(format_args!("and {count} more")) }
}

fn object(seen: &Seen) -> Value {
    let daemon = match &seen.daemon {
        Daemon::None => json!({ "running": false }),
        Daemon::Silent { pid, message } => json!({ "running": null, "pid": pid, "message": message }),
        Daemon::Up { pid, since, schedules, open, stalled } => json!({
            "running": true, "pid": pid, "since": since.map(rfc3339), "schedules": schedules, "open": open, "stalled": stalled,
        }),
    };
    let running = |running: &Running| {
        json!({
            "occurrence": running.row.occurrence.to_string(),
            "schedule": running.row.schedule.as_str(),
            "status": running.row.status.word(),
            "reason": running.row.reason,
            "run_id": running.row.run_id.as_ref().map(crate::ids::RunId::as_str),
            "seconds": running.since.map(|since| since.num_seconds()),
            "usual_seconds": running.usual.map(|usual| usual.num_seconds()),
        })
    };
    json!({
        "at": rfc3339(seen.now),
        "daemon": daemon,
        "file": {
            "path": seen.file.path.as_ref().map(|path| path.display().to_string()),
            "current": seen.file.current, "message": seen.file.message, "hint": seen.file.hint,
        },
        "zone_rules": seen.zone_rules,
        "api": { "base_url": seen.api.base_url, "reachable": seen.api.reachable, "message": seen.api.message },
        "running": seen.running.iter().map(running).collect::<Vec<_>>(),
        "next": seen.next.iter().map(|next| json!({
            "schedule": next.schedule, "scheduled_for": rfc3339(next.at), "local": next.local, "words": next.words,
        })).collect::<Vec<_>>(),
        "failed": seen.failed.iter().map(|row| json!({
            "schedule": row.schedule.as_str(), "occurrence": row.occurrence.to_string(),
            "scheduled_for": rfc3339(row.scheduled_for), "status": row.status.word(), "reason": row.reason,
            "failure_reason": row.failure_reason,
        })).collect::<Vec<_>>(),
        "paused": seen.paused.iter().map(|schedule| json!({
            "schedule": schedule.id.as_str(),
            "since": schedule.pause.as_ref().map(|pause| rfc3339(pause.since)),
            "until": schedule.pause.as_ref().and_then(|pause| pause.until).map(rfc3339),
            "note": schedule.pause.as_ref().and_then(|pause| pause.note.clone()),
        })).collect::<Vec<_>>(),
    })
}
