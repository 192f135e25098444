-- Who fires a schedule: this daemon, or Skyvern's own scheduler.

ALTER TABLE schedule ADD COLUMN owner TEXT NOT NULL DEFAULT 'local'
    CHECK (owner IN ('local', 'handing_over', 'server', 'taking_back'));

-- handing_over: when that was decided. server, taking_back: occurrences from this instant on are the server's.
ALTER TABLE schedule ADD COLUMN owner_since TEXT;

-- The server's schedule, and the workflow that it runs; NULL with local.
ALTER TABLE schedule ADD COLUMN server_schedule TEXT;
ALTER TABLE schedule ADD COLUMN server_workflow TEXT;

-- One more kind of note. A CHECK cannot be changed, so the table is made anew.
CREATE TABLE note_new (
    id   INTEGER PRIMARY KEY,
    at   TEXT NOT NULL,
    kind TEXT NOT NULL CHECK (kind IN (
             'started', 'stopped', 'reloaded', 'reload_refused', 'clock_stepped', 'handover')),
    text TEXT NOT NULL
) STRICT;
INSERT INTO note_new (id, at, kind, text) SELECT id, at, kind, text FROM note;
DROP TABLE note;
ALTER TABLE note_new RENAME TO note;
CREATE INDEX note_at ON note (at);

-- The days again: the latest start counts those of the server's scheduler too.
DROP VIEW v_daily;
CREATE VIEW v_daily AS
SELECT substr(scheduled_for, 1, 10) AS day, schedule,
       sum(count) AS occurrences,
       sum(iif(status = 'completed', count, 0)) AS completed,
       sum(iif(status IN ('failed', 'terminated', 'timed_out', 'canceled'), count, 0)) AS failed,
       sum(iif(status = 'skipped', count, 0)) AS skipped,
       sum(iif(status IN ('missed', 'refused', 'unknown'), count, 0)) AS not_run,
       sum(iif(status IN ('pending', 'launching', 'running'), count, 0)) AS open,
       -- How late the latest start of the timetable's own was.
       round(max(iif(trigger IN ('schedule', 'catch_up', 'server'),
                     julianday(launched_at) - julianday(scheduled_for), NULL)) * 86400, 1) AS latest_start_seconds
  FROM occurrence
 GROUP BY day, schedule;
