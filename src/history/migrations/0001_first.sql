-- The first shape of the history.
--
-- Rules that hold for every table:
-- * Instants are RFC 3339 text in UTC, so that people can read and sort them. What the timetable says is written to the
--   second (2026-11-02T14:00:00Z); what happened is written to the millisecond (2026-11-02T14:00:00.004Z).
-- * Closed lists are CHECKed: a word that skycron does not know cannot get in, by hand either.
-- * skycron is the only writer. Reading is free at any time: sqlite3 -readonly history.db

-- "skyc": a file that is a database, but not ours, is told apart by it.
PRAGMA application_id = 0x736B7963;

-- One row for each schedule that was ever seen, also when it is gone from the file.
CREATE TABLE schedule (
    id                TEXT NOT NULL PRIMARY KEY,
    -- The latest row of `definition`: the one in force.
    definition        INTEGER NOT NULL REFERENCES definition (id),
    -- Every instant up to and including this one at which it was due has its row in `occurrence`.
    accounted_through TEXT NOT NULL,
    -- The pause in force; all three NULL: none.
    paused_since      TEXT,
    paused_until      TEXT,
    pause_note        TEXT,
    CHECK (paused_since IS NOT NULL OR (paused_until IS NULL AND pause_note IS NULL))
) STRICT, WITHOUT ROWID;

-- What decided when a schedule was due, and from when on. Rows are added, never changed: an audit computes from them
-- what was due in the past.
CREATE TABLE definition (
    id          INTEGER PRIMARY KEY,
    -- Deferred, because a schedule and its first definition point at each other.
    schedule    TEXT NOT NULL REFERENCES schedule (id) DEFERRABLE INITIALLY DEFERRED,
    at          TEXT NOT NULL,
    -- JSON; NULL: from then on the schedule was gone from the file.
    definition  TEXT CHECK (definition IS NULL OR json_valid(definition)),
    -- The workflow that was run; it decides nothing about when.
    workflow_id TEXT,
    CHECK ((definition IS NULL) = (workflow_id IS NULL))
) STRICT;

-- The definitions of one schedule in their order (audit, and the foreign key).
CREATE INDEX definition_schedule ON definition (schedule, id);

-- One row for each instant at which a schedule was due, or for each stretch of them that shared one fate, and one for
-- each start by hand.
CREATE TABLE occurrence (
    id            INTEGER PRIMARY KEY,
    instance      TEXT NOT NULL,
    schedule      TEXT NOT NULL REFERENCES schedule (id),
    scheduled_for TEXT NOT NULL,
    -- '' for the schedule's own; 'manual-…', 'backfill-…', 'retry-2' for other starts.
    suffix        TEXT NOT NULL,
    workflow_id   TEXT NOT NULL,
    trigger       TEXT NOT NULL CHECK (trigger IN ('schedule', 'catch_up', 'manual', 'backfill', 'retry', 'server')),
    status        TEXT NOT NULL CHECK (status IN (
                      'pending', 'launching', 'running',
                      'completed', 'failed', 'terminated', 'timed_out', 'canceled',
                      'skipped', 'missed', 'refused', 'unknown')),
    -- 'code: detail'.
    reason        TEXT,
    decided_at    TEXT NOT NULL,
    -- More than 1: the row stands for a stretch that begins at scheduled_for and ends at `through`.
    count         INTEGER NOT NULL DEFAULT 1 CHECK (count >= 1),
    through       TEXT,
    -- The number of the latest attempt to start it; 0: none was made.
    attempts      INTEGER NOT NULL DEFAULT 0 CHECK (attempts >= 0),
    -- When the latest attempt left; where skycron did not start the run itself, when the server made it.
    launched_at   TEXT,
    -- When its run ended: the server's word, else when skycron learned of it.
    finished_at   TEXT,
    run_id        TEXT,
    -- What a start by hand changed in the parameters: a JSON object.
    parameters    TEXT CHECK (parameters IS NULL OR json_valid(parameters)),
    -- The name of the occurrence. Computed, so that it takes no room: the index below finds it by its parts.
    key           TEXT NOT NULL GENERATED ALWAYS AS (
                      instance || '/' || schedule || '@' || scheduled_for || iif(suffix = '', '', '#' || suffix)) VIRTUAL
) STRICT;

-- An occurrence is in the history once. It also serves the look-up by key, the history and the last run of one schedule.
CREATE UNIQUE INDEX occurrence_once ON occurrence (schedule, scheduled_for, suffix, instance);

-- The latest of all schedules, and every "since" and "until". Rows come in the order of time, so it grows at its end.
CREATE INDEX occurrence_scheduled_for ON occurrence (scheduled_for);

-- What is open when the daemon starts, and the filter by status: the few failed ones among millions that are completed.
CREATE INDEX occurrence_status ON occurrence (status, scheduled_for);

-- The few rows that stand for a stretch: one that begins before a "since" and ends after it belongs to the answer.
CREATE INDEX occurrence_through ON occurrence (through) WHERE through IS NOT NULL;

-- From a run back to its occurrence. Not unique: a server that hands out an id twice must not stop the bookkeeping.
CREATE INDEX occurrence_run_id ON occurrence (run_id) WHERE run_id IS NOT NULL;

-- One row for each request to start. It is committed before the request leaves: no row, no request.
CREATE TABLE attempt (
    occurrence  INTEGER NOT NULL REFERENCES occurrence (id) ON DELETE CASCADE,
    number      INTEGER NOT NULL CHECK (number >= 1),
    begun_at    TEXT NOT NULL,
    -- NULL with outcome: under way, or the process ended before the answer was known.
    ended_at    TEXT,
    outcome     TEXT CHECK (outcome IN ('started', 'refused', 'not_started', 'unknown')),
    http_status INTEGER,
    message     TEXT,
    run_id      TEXT,
    PRIMARY KEY (occurrence, number)
) STRICT, WITHOUT ROWID;

-- The API's latest word on the run of an occurrence; its id is occurrence.run_id. The long columns come last, so that the
-- short ones are read without them.
CREATE TABLE run (
    occurrence         INTEGER PRIMARY KEY REFERENCES occurrence (id) ON DELETE CASCADE,
    -- The API's word; an open list, since servers add to it.
    status             TEXT NOT NULL,
    run_type           TEXT,
    retry_pending      INTEGER NOT NULL CHECK (retry_pending IN (0, 1)),
    attempt            INTEGER,
    next_attempt_at    TEXT,
    created_at         TEXT,
    modified_at        TEXT,
    queued_at          TEXT,
    started_at         TEXT,
    finished_at        TEXT,
    browser_session_id TEXT,
    -- When skycron read this.
    reported_at        TEXT NOT NULL,
    -- 1: something below was longer than the limit and is kept in part, or not at all.
    truncated          INTEGER NOT NULL CHECK (truncated IN (0, 1)),
    app_url            TEXT,
    recording_url      TEXT,
    failure_reason     TEXT,
    -- A JSON array of texts.
    screenshot_urls    TEXT,
    -- JSON as the server sent it, unless truncated.
    errors             TEXT,
    downloaded_files   TEXT,
    output             TEXT
) STRICT;

-- What happened to the daemon itself.
CREATE TABLE note (
    id   INTEGER PRIMARY KEY,
    at   TEXT NOT NULL,
    kind TEXT NOT NULL CHECK (kind IN ('started', 'stopped', 'reloaded', 'reload_refused', 'clock_stepped')),
    text TEXT NOT NULL
) STRICT;

-- The notes around an occurrence.
CREATE INDEX note_at ON note (at);

-- Single facts. latest_instant: the latest instant at which anything was written. pruned_through: retention removed rows
-- of occurrences up to and including this instant, so an audit begins after it.
CREATE TABLE meta (
    name  TEXT NOT NULL PRIMARY KEY CHECK (name IN ('latest_instant', 'pruned_through')),
    value TEXT NOT NULL
) STRICT, WITHOUT ROWID;

-- For people: what happened, one line for each occurrence, the columns of `skycron history`.
CREATE VIEW v_history AS
SELECT o.key AS occurrence, o.schedule, o.scheduled_for, o.trigger, o.status, o.reason, o.count, o.through, o.attempts,
       o.run_id, o.launched_at, o.finished_at, r.failure_reason, o.workflow_id, r.app_url
  FROM occurrence AS o LEFT JOIN run AS r ON r.occurrence = o.id;

-- For people: the last occurrence of each schedule that was started, or that should have been and was not: everything
-- but what was skipped on purpose or is still waiting.
CREATE VIEW v_last_run AS
SELECT s.id AS schedule, o.key AS occurrence, o.scheduled_for, o.status, o.reason, o.run_id, o.launched_at, o.finished_at,
       round((julianday(o.finished_at) - julianday(o.launched_at)) * 86400, 1) AS seconds, r.failure_reason
  FROM schedule AS s
  JOIN occurrence AS o ON o.id = (
       SELECT l.id FROM occurrence AS l
        WHERE l.schedule = s.id AND l.status NOT IN ('skipped', 'pending')
        ORDER BY l.scheduled_for DESC, l.id DESC LIMIT 1)
  LEFT JOIN run AS r ON r.occurrence = o.id;

-- For people: each schedule's days (UTC), with how many occurrences came to what end. A stretch counts as many as it has,
-- on the day on which it begins.
CREATE VIEW v_daily AS
SELECT substr(scheduled_for, 1, 10) AS day, schedule,
       sum(count) AS occurrences,
       sum(iif(status = 'completed', count, 0)) AS completed,
       sum(iif(status IN ('failed', 'terminated', 'timed_out', 'canceled'), count, 0)) AS failed,
       sum(iif(status = 'skipped', count, 0)) AS skipped,
       sum(iif(status IN ('missed', 'refused', 'unknown'), count, 0)) AS not_run,
       sum(iif(status IN ('pending', 'launching', 'running'), count, 0)) AS open,
       -- How late the latest start of the timetable's own was.
       round(max(iif(trigger IN ('schedule', 'catch_up'), julianday(launched_at) - julianday(scheduled_for), NULL)) * 86400, 1)
           AS latest_start_seconds
  FROM occurrence
 GROUP BY day, schedule;
