"""A daemon with something to show: the real binary against the sandbox, with a past written into its history.

The past is what a few weeks would have left there; it is written while no daemon runs, with the columns that the daemon writes.
"""

import datetime
import json
import os
import pathlib
import re
import shutil
import signal
import socket
import sqlite3
import subprocess
import tempfile
import time
import urllib.error
import urllib.request

LOOKS_MAX = 1500
UTC = datetime.timezone.utc


def wait_for(what, condition):
    for _ in range(LOOKS_MAX):
        found = condition()
        if found:
            return found
        time.sleep(0.02)
    raise AssertionError(f"waited in vain for {what}")


class World:
    """A folder, a sandbox and a daemon; all gone with `close`."""

    def __init__(self, binary, file, sandbox=True):
        self.binary = str(binary)
        self.folder = pathlib.Path(tempfile.mkdtemp(prefix="skycron-world-"))
        self.processes = []
        self.daemon = None
        self.base_url = "http://127.0.0.1:9/"
        if sandbox:
            arguments = [self.binary, "sandbox", "--listen", "127.0.0.1:0", "--format", "json", "--run-time", "1h"]
            process = subprocess.Popen(arguments, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, env=self.environment())
            self.processes.append(process)
            self.base_url = json.loads(process.stdout.readline())["base_url"] + "/"
        self.write(file)

    def environment(self):
        return {"HOME": str(self.folder), "SKYVERN_API_KEY": "sandbox-key", "TZDIR": "/nowhere", "LANG": "C.UTF-8"}

    def write(self, file):
        head = f'[api]\nbase_url = "{self.base_url}"\n\n[http]\nlisten = "127.0.0.1:0"\n\n'
        (self.folder / "schedules.toml").write_text(head + file)

    def start(self):
        log = open(self.folder / "log", "w")
        arguments = [self.binary, "run", "--state-dir", "state", "--config", "schedules.toml", "--log", "info"]
        self.daemon = subprocess.Popen(
            arguments, cwd=self.folder, env=self.environment(), stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=log
        )
        log.close()

        def address():
            assert self.daemon.poll() is None, self.log()
            return re.search(r"http: listening.*address=\"?([0-9.:]+)", self.log())

        self.url = f"http://{wait_for('the address', address).group(1)}"
        return self

    def stop(self):
        self.daemon.send_signal(signal.SIGTERM)
        assert self.daemon.wait() == 0, self.log()
        self.daemon = None

    def log(self):
        # Colours are for terminals.
        return re.sub(r"\x1b\[[0-9;]*m", "", (self.folder / "log").read_text())

    def get(self, path):
        try:
            with urllib.request.urlopen(self.url + path, timeout=30) as answer:
                return answer.status, answer.read().decode()
        except urllib.error.HTTPError as error:
            return error.code, error.read().decode()

    def database(self):
        return sqlite3.connect(self.folder / "state" / "history.db")

    def run(self, *arguments):
        arguments = [self.binary, *arguments, "--state-dir", "state", "--config", "schedules.toml"]
        return subprocess.run(arguments, cwd=self.folder, env=self.environment(), capture_output=True, text=True)

    def close(self):
        if self.daemon:
            self.daemon.terminate()
            self.daemon.wait()
        for process in self.processes:
            process.terminate()
            process.wait()
        shutil.rmtree(self.folder, ignore_errors=True)


def text(at, millis=False):
    form = "%Y-%m-%dT%H:%M:%S"
    return at.strftime(form) + (f".{at.microsecond // 1000:03d}Z" if millis else "Z")


def add(database, schedule, at, status="completed", reason=None, failure=None, seconds=94, **more):
    """One occurrence of the past with its run."""
    number = database.execute("SELECT count(*) FROM occurrence").fetchone()[0]
    ran = status in ("completed", "failed", "terminated", "timed_out", "canceled")
    launched = at + datetime.timedelta(milliseconds=4) if ran or status == "unknown" else None
    finished = launched + datetime.timedelta(seconds=seconds) if ran else None
    row = {
        "instance": "main", "schedule": schedule, "scheduled_for": text(at), "suffix": more.get("suffix", ""),
        "workflow_id": "wpid_123456789", "trigger": more.get("trigger", "schedule"), "status": status, "reason": reason,
        "decided_at": text(at, True), "count": more.get("count", 1),
        "through": text(more["through"]) if "through" in more else None, "attempts": 1 if launched else 0,
        "launched_at": text(launched, True) if launched else None, "finished_at": text(finished, True) if finished else None,
        "run_id": f"wr_{500000 + number}" if ran else None,
    }
    marks = ", ".join("?" * len(row))
    cursor = database.execute(f"INSERT INTO occurrence ({', '.join(row)}) VALUES ({marks})", list(row.values()))
    if launched:
        outcome = "started" if ran else "unknown"
        message = None if ran else "the server did not answer in time"
        database.execute(
            "INSERT INTO attempt (occurrence, number, begun_at, ended_at, outcome, message, run_id) VALUES (?, 1, ?, ?, ?, ?, ?)",
            [cursor.lastrowid, text(launched, True), text(launched + datetime.timedelta(milliseconds=212), True), outcome, message, row["run_id"]],
        )
    if ran:
        database.execute(
            """INSERT INTO run (occurrence, status, retry_pending, created_at, started_at, finished_at, reported_at, truncated,
                                app_url, recording_url, screenshot_urls, failure_reason, output)
               VALUES (?, ?, 0, ?, ?, ?, ?, 0, ?, ?, ?, ?, ?)""",
            [
                cursor.lastrowid, status, text(launched, True), text(launched, True), text(finished, True), text(finished, True),
                more.get("app_url", f"https://app.skyvern.com/runs/{row['run_id']}"), more.get("recording_url"),
                json.dumps(more.get("screenshots", [])), failure, more.get("output", '{"rows": 42, "file": "report.csv"}'),
            ],
        )
    return f"main/{schedule}@{text(at)}"
