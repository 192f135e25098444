-- What is ours at the server: one row for each of its schedules that the mirror made or adopted. A schedule of the file may
-- have several for a while (it moved to another workflow); one that is gone from the file may still have one.
CREATE TABLE mirror (
    -- The server's id, wfs_….
    server_schedule_id TEXT NOT NULL PRIMARY KEY,
    -- The name of the installation when the row was written.
    instance           TEXT NOT NULL,
    -- The file's id. Not a foreign key: the mirror may be applied before a daemon has seen the schedule.
    schedule           TEXT NOT NULL,
    workflow_id        TEXT NOT NULL,
    -- What it was like at the server when the mirror last saw it as it should be: what differs from it was changed there.
    applied            TEXT NOT NULL CHECK (json_valid(applied)),
    applied_at         TEXT NOT NULL
) STRICT, WITHOUT ROWID;
