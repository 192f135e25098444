-- Alarms: what is to be told to whom, and what is remembered to know when to tell it.

-- One row for each alarm and channel, written in the transaction of the change that caused it: a crash loses both or neither.
CREATE TABLE alarm (
    -- Never given twice, also after the last one was removed: the sender asks for what came after the last it saw.
    id          INTEGER PRIMARY KEY AUTOINCREMENT,
    -- What the receiver is given to know a repetition by.
    name        TEXT NOT NULL,
    channel     TEXT NOT NULL,
    event       TEXT NOT NULL CHECK (event IN (
                    'started', 'completed', 'failed', 'missed', 'refused', 'unknown', 'late', 'failures_in_a_row',
                    'no_success', 'recovered', 'file_refused', 'key_refused', 'history_stalled', 'summary', 'test')),
    schedule    TEXT,
    raised_at   TEXT NOT NULL,
    -- What is told: a JSON object.
    facts       TEXT NOT NULL CHECK (json_valid(facts)),
    state       TEXT NOT NULL DEFAULT 'waiting' CHECK (state IN ('waiting', 'sent', 'dropped', 'folded')),
    tries       INTEGER NOT NULL DEFAULT 0,
    -- Why the latest try failed, or why it was given up.
    error       TEXT,
    ended_at    TEXT,
    -- The summary that stands for it.
    folded_into INTEGER REFERENCES alarm (id) ON DELETE SET NULL,
    CHECK ((state = 'waiting') = (ended_at IS NULL))
) STRICT;

-- The same thing is told once.
CREATE UNIQUE INDEX alarm_once ON alarm (channel, name);

-- What waits to be sent, in its order.
CREATE INDEX alarm_waiting ON alarm (id) WHERE state = 'waiting';

-- What was given up lately (doctor), and what is old enough to be removed.
CREATE INDEX alarm_ended ON alarm (ended_at, state) WHERE ended_at IS NOT NULL;

-- For the foreign key: removing a summary looks for what it stands for.
CREATE INDEX alarm_folded_into ON alarm (folded_into) WHERE folded_into IS NOT NULL;

-- What must be remembered to decide about alarms: bad ends in a row, what was told and not taken back.
CREATE TABLE alarm_memory (
    -- A schedule's id; '' for the daemon.
    subject TEXT NOT NULL PRIMARY KEY,
    memory  TEXT NOT NULL CHECK (json_valid(memory))
) STRICT, WITHOUT ROWID;
