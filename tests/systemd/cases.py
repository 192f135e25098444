"""The unit as an operator uses it: installed by the README's commands on a booted systemd, against the sandbox; then each thing
is broken, and what systemctl, journalctl and skycron say about it is read. See `run`.
"""

import datetime
import json
import os
import re
import secrets
import socket
import subprocess
import sys
import time
import traceback
from contextlib import closing
from pathlib import Path

import machine
from machine import Failed

PROJECT = Path(__file__).resolve().parents[2]
KEY = f"key-{secrets.token_hex(16)}"
STATE = "/var/lib/skycron"
FILE = "/etc/skycron/schedules.toml"
DROP_IN = "/run/systemd/system/skycron.service.d"
CASES = []


def case(function):
    CASES.append(function)
    return function


def free_port():
    with closing(socket.socket()) as taken:
        taken.bind(("127.0.0.1", 0))
        return taken.getsockname()[1]


class NotHere(Exception):
    """This machine cannot show it."""


class Service:
    """skycron on a machine, with a sandbox beside it."""

    def __init__(self, booted):
        self.machine = booted
        self.run = booted.run
        self.port = free_port()

    def install(self):
        """What systemd/README.md says under Install, with the test's key and file."""
        self.run("install -d -m 0755 /etc/skycron")
        self.machine.write("/etc/skycron/skyvern-api-key", KEY + "\n", "0600")
        self.machine.write("/etc/systemd/system/skycron.service", (PROJECT / "systemd/skycron.service").read_text())

    def fresh(self, more=""):
        """As just installed, nothing running, no history; a sandbox whose runs take two seconds."""
        self.run("systemctl stop skycron sandbox; systemctl reset-failed skycron", check=False)
        self.run(f"rm -rf {DROP_IN} /var/lib/private/skycron {STATE}; systemctl daemon-reload")
        self.sandbox()
        self.write_file(more)
        # Not by a cursor: with another condition beside it, journalctl leaves out the first entry after it.
        self.since = self.run("date '+%F %T.%6N'")

    def sandbox(self, *options):
        self.run("systemctl stop sandbox", check=False)
        self.run(
            f"systemd-run --quiet --collect --unit=sandbox --description=sandbox /usr/local/bin/skycron sandbox"
            f" --listen 127.0.0.1:{self.port} --key {KEY} {' '.join(options) or '--run-time 2s'}"
        )
        self.wait("the sandbox", lambda: "listens" in self.run("journalctl -u sandbox -o cat", check=False))

    def write_file(self, more="", name="main"):
        api = f'base_url = "http://127.0.0.1:{self.port}"\napi_key = {{ credential = "skyvern-api-key" }}\n'
        quick = 'connect_timeout = "2s"\nrequest_timeout = "5s"\npoll_interval = "1s"\npoll_interval_max = "1s"\nsettle_grace = "5s"\n'
        later = f'[[schedule]]\nid = "{name}"\nworkflow_id = "wpid_1"\ncron_expression = "0 9 1 1 *"\noverlap = "allow"\n'
        self.machine.write(FILE, f"[api]\n{api}{quick}{later}{more}")

    def drop_in(self, **settings):
        """Other settings of the unit for a while; `Environment` with a crash point makes it hang on purpose."""
        lines = "".join(f"{name}={value}\n" for name, value in settings.items())
        self.machine.write(f"{DROP_IN}/test.conf", f"[Service]\n{lines}")
        self.run("systemctl daemon-reload")

    def start(self):
        self.run("systemctl start skycron")

    def show(self, name):
        return self.run(f"systemctl show skycron -P {name}")

    def pid(self):
        return int(self.show("MainPID"))

    def journal(self, *options):
        """What the journal has of the unit since the case began."""
        return self.run(f"journalctl -u skycron --since='{self.since}' {' '.join(options)}")

    def skycron(self, args, check=True):
        return self.run(f"skycron --config {FILE} --state-dir {STATE} {args}", check)

    def trigger(self, schedule="main"):
        said = self.skycron(f"trigger {schedule} --format json")
        return json.loads(said.splitlines()[0])["occurrence"]

    def triggering(self):
        """The same, not waited for; what it says is not looked at."""
        command = self.machine.inside(f"skycron --config {FILE} --state-dir {STATE} trigger main")
        return subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)

    def history(self):
        return [json.loads(line) for line in self.skycron("history --format json").splitlines()]

    def status_of(self, occurrence):
        return next((row["status"] for row in self.history() if row["occurrence"] == occurrence), None)

    def made(self):
        """The sandbox's own record of every run that it made."""
        ask = f'exec 3<>/dev/tcp/127.0.0.1/{self.port}; printf "GET /sandbox/runs HTTP/1.0\\r\\nx-api-key: {KEY}\\r\\n\\r\\n" >&3; cat <&3'
        return self.run(f"bash -c '{ask}'")

    def wait(self, what, look, seconds=30):
        try:
            return self.machine.wait(what, look, seconds)
        except Failed as failed:
            raise Failed(f"{failed}\n{self.run('systemctl status skycron --no-pager -l -n 60', check=False)}") from None

    def wait_completed(self, occurrence, seconds=40):
        self.wait(f"{occurrence} to be completed", lambda: self.status_of(occurrence) == "completed", seconds)

    def wait_restarted(self, restarts, seconds=30):
        up = lambda: int(self.show("NRestarts")) >= restarts and self.show("SubState") == "running"
        self.wait(f"restart {restarts}", up, seconds)

    def books_are_right(self, occurrences):
        """Every occurrence has its one run, and the audit finds nothing."""
        for occurrence in occurrences:
            self.wait_completed(occurrence)
        runs = [row["run_id"] for row in self.history() if row["run_id"]]
        expect(len(runs) == len(set(runs)) == len(occurrences), "one run for each", runs, occurrences)
        expect(set(re.findall(r"wr_\w+", self.made())) == set(runs), "the server made those and no other", self.made())
        self.skycron("audit")


def expect(holds, what, *found):
    if not holds:
        raise Failed(f"not so: {what}\n" + "\n".join(str(one) for one in found))


def has(text, part, what="it"):
    expect(part in text, f"{what} has {part!r}", text)


def has_not(text, part, what="it"):
    expect(part not in text, f"{what} does not have {part!r}", text)


# --- the cases -------------------------------------------------------------------------------------------------------


@case
def start_is_ready_and_fires(it):
    soon = datetime.datetime.now(datetime.timezone.utc) + datetime.timedelta(seconds=6)
    at = soon.strftime("%Y-%m-%dT%H:%M:%SZ")
    it.fresh(f'[[schedule]]\nid = "once"\nworkflow_id = "wpid_2"\nrun_at = {at}\n')
    it.start()
    expect(it.show("SubState") == "running", "start returns when it runs", it.show("SubState"))
    has(it.journal("-o cat"), "started: with 2 schedules", "the journal")
    it.wait("the status", lambda: it.show("StatusText") == f"next: once at {at}; 2 schedules, 0 open")
    it.wait("the end of the run", lambda: any(row["status"] == "completed" for row in it.history()))
    row = it.history()[0]
    expect(row["scheduled_for"] == at and row["trigger"] == "schedule", "it was fired by the timetable", row)
    january = lambda: re.fullmatch(r"next: main at \d+-01-01T09:00:00Z; 2 schedules, 0 open", it.show("StatusText"))
    it.wait("the status after it", january)
    it.skycron("audit")


@case
def good_reload(it):
    it.fresh()
    it.start()
    it.write_file(name="other")
    it.run("systemctl reload skycron")
    it.wait("the new schedule", lambda: it.show("StatusText").startswith("next: other at "))
    it.wait("the state after the reload", lambda: it.show("SubState") == "running")
    has(it.journal("-o cat"), "reloaded: other is new; main is gone", "the journal")
    expect(it.show("NRestarts") == "0", "nothing was started again")


@case
def bad_reload(it):
    it.fresh()
    it.start()
    before = it.show("MainPID")
    it.write_file('[[schedule]]\nid = "broken"\nworkflow_id = "wpid_1"\ncron_expression = "61 * * * *"\n')
    said = it.run("systemctl reload skycron", check=False)
    has(said, "failed", "what systemctl says")
    refused = f"{FILE} is refused (1 error), and the one before it goes on: "
    it.wait("the status", lambda: it.show("StatusText").startswith(refused))
    has(it.show("StatusText"), "next: main at ", "the status")
    it.wait("the state after the reload", lambda: it.show("SubState") == "running")
    journal = it.journal("-o cat")
    has(journal, f"reload_refused: {refused}", "the journal")
    has(journal, "61", "the journal")
    expect(it.show("MainPID") == before and it.show("NRestarts") == "0", "the old one goes on")
    it.run("systemctl kill -s USR1 skycron")
    it.wait("the state", lambda: re.search(r"state .*main at .*\n.*is refused", it.journal("-o cat")))
    it.write_file()
    it.run("systemctl reload skycron")
    it.wait("a status without it", lambda: it.show("StatusText").startswith("next: main at "))
    return journal


@case
def reload_by_the_drop_in(it):
    version = int(re.search(r"systemd (\d+)", it.run("systemctl --version")).group(1))
    if version < 253:
        raise NotHere(f"systemd {version} does not know Type=notify-reload; SKYCRON_DEBIAN_RELEASE=trixie has one that does")
    it.fresh()
    it.machine.write(f"{DROP_IN}/notify-reload.conf", (PROJECT / "systemd/notify-reload.conf").read_text())
    it.run("systemctl daemon-reload")
    expect(it.show("Type") == "notify-reload", "the drop-in is read")
    it.start()
    it.write_file(name="other")
    it.run("systemctl reload skycron")
    has(it.journal("-o cat"), "reloaded: other is new; main is gone", "the journal, once reload returns,")
    it.write_file("[[schedule]]\n")
    it.run("systemctl reload skycron")
    has(it.journal("-o cat"), "reload_refused: ", "the journal, once reload returns,")
    it.wait("the status", lambda: "is refused" in it.show("StatusText"))
    expect(it.show("SubState") == "running" and it.show("NRestarts") == "0", "it goes on")


@case
def bad_file_at_the_start(it):
    it.fresh('[[schedule]]\nid = "broken"\n')
    it.run("systemctl start skycron", check=False)
    expect(it.show("Result") == "exit-code" and it.show("ExecMainStatus") == "2", "it ends with 2", it.show("Result"))
    expect(it.show("NRestarts") == "0", "and is not started again: the file does not mend itself")
    has(it.journal("-o cat"), "broken", "the journal")


@case
def api_away(it):
    it.fresh()
    it.start()
    it.run("systemctl stop sandbox")
    it.skycron("trigger main", check=False)
    it.wait("the status", lambda: it.show("StatusText").startswith("the latest start was not_started: "))
    it.wait("the warning", lambda: "the start was not_started" in it.journal("-o cat -p warning"))
    it.sandbox()
    it.wait_completed(it.trigger())
    it.wait("a status without it", lambda: it.show("StatusText").startswith("next: main at "))


@case
def journal_knows_the_fields(it):
    it.fresh('[[schedule]]\nid = "other"\nworkflow_id = "wpid_2"\ncron_expression = "0 9 1 1 *"\n')
    it.start()
    mine, other = it.trigger(), it.trigger("other")
    it.wait_completed(mine)
    it.wait_completed(other)
    run = next(row["run_id"] for row in it.history() if row["occurrence"] == mine)
    asked = lambda field: it.run(f"journalctl --since='{it.since}' -o cat '{field}'", check=False)
    for field in ["SKYCRON_SCHEDULE=main", f"SKYCRON_OCCURRENCE={mine}"]:
        lines = asked(field).splitlines()
        expect([line.split()[0] for line in lines] == ["due", "started", "completed"], field, *lines)
        expect(all(f"occurrence={mine}" in line for line in lines), field, *lines)
    has(asked(f"SKYCRON_RUN_ID={run}"), f"started occurrence={mine}", "what is asked for by its run")
    expect(asked("SKYCRON_SCHEDULE=none") == "", "another schedule")
    it.run("systemctl kill -s STOP sandbox; systemctl kill -s KILL sandbox; systemctl stop sandbox", check=False)
    it.skycron("trigger main", check=False)
    errors = it.journal("-o json -p err").splitlines()
    expect(len(errors) == 1, "one error", *errors)
    error = json.loads(errors[0])
    expect(error["PRIORITY"] == "3" and error["SKYCRON_SCHEDULE"] == "main", "its fields", error)
    has(error["SKYCRON_REASON"], "not_started: no connection to the server", "its reason")
    has(error["MESSAGE"], "missed occurrence=main/main@", "its text")
    quiet = it.run("date '+%F %T.%6N'")
    time.sleep(3)  # That nothing is written while nothing happens is what is looked at.
    expect(it.run(f"journalctl -u skycron --since='{quiet}' -o cat") == "", "it is quiet")


@case
def hung_event_loop(it):
    it.fresh()
    it.drop_in(WatchdogSec="3s", RestartSec="1s", Environment="SKYCRON_CRASH_AT=in-state:1:hang")
    it.start()
    first = it.trigger()
    it.run("systemctl kill -s USR1 skycron")
    # From now on it hangs; what was due meanwhile is seen by the one that comes after it.
    it.drop_in(RestartSec="1s")
    it.wait_restarted(1)
    journal = it.journal("-o cat")
    has(journal, "the event loop does not answer", "the journal")
    has(journal, "Watchdog timeout", "the journal")
    has(journal, "Failed with result 'watchdog'", "the journal")
    it.books_are_right([first, it.trigger()])
    return journal


@case
def hung_history_writer(it):
    it.fresh()
    # The boot is the first commit; the second one is on the disk, and nobody is told.
    it.drop_in(WatchdogSec="3s", RestartSec="1s", Environment="SKYCRON_CRASH_AT=written:2:hang")
    it.start()
    waiting = it.triggering()
    it.wait("the row", it.history)
    it.drop_in(RestartSec="1s")
    it.wait_restarted(1)
    waiting.wait()
    journal = it.journal("-o cat")
    has(journal, "the thread that writes the history does not answer", "the journal")
    has(journal, "Failed with result 'watchdog'", "the journal")
    # Its start was written and not sent: nobody was told that it started, and it does, once.
    it.books_are_right([row["occurrence"] for row in it.history()])
    return journal


@case
def stopped_process(it):
    it.fresh()
    it.drop_in(WatchdogSec="3s", RestartSec="1s")
    it.start()
    first = it.trigger()
    it.run("systemctl kill -s STOP skycron")
    it.wait_restarted(1)
    has(it.journal("-o cat"), "Watchdog timeout", "the journal")
    it.books_are_right([first, it.trigger()])


@case
def idle_is_not_a_hang(it):
    it.fresh()
    it.drop_in(WatchdogSec="3s")
    it.start()
    time.sleep(10)  # Nothing is waited for: that nothing happens for three periods is what is looked at.
    expect(it.show("NRestarts") == "0" and it.show("SubState") == "running", "it is fed", it.journal())
    has_not(it.journal("-o cat"), "does not answer", "the journal")


@case
def stop_while_runs_go_on(it):
    it.fresh()
    it.sandbox("--run-time", "12s")
    it.start()
    occurrences = [it.trigger() for _ in range(3)]
    begun = time.monotonic()
    it.run("systemctl stop skycron")
    took = time.monotonic() - begun
    expect(took < 10 and it.show("Result") == "success", "it ends in order, without waiting for runs", took)
    has(it.journal("-o cat"), "stopped in order", "the journal")
    expect({row["status"] for row in it.history()} == {"running"}, "they go on", it.history())
    it.start()
    it.books_are_right(occurrences)


@case
def stop_while_a_start_is_out(it):
    it.fresh()
    it.sandbox("--run-time", "1s", "--faults", "'start:1=delay:4s'")
    # The watchdog goes on while it stops: a stop that takes longer than its period is no hang.
    it.drop_in(WatchdogSec="3s")
    it.start()
    waiting = it.triggering()
    it.wait("the row", it.history)
    it.run("systemctl stop skycron")
    waiting.wait()
    expect(it.show("Result") == "success", "it waits for the answer and ends in order", it.journal())
    expect([row["status"] for row in it.history()] == ["running"], "the answer is in the history", it.history())
    it.start()
    it.books_are_right([row["occurrence"] for row in it.history()])


@case
def second_term_ends_at_once(it):
    it.fresh()
    it.sandbox("--run-time", "1s", "--faults", "'start:1=delay:4s'")
    it.drop_in(RestartSec="1s")
    it.start()
    waiting = it.triggering()
    it.wait("the row", it.history)
    it.run("systemctl kill -s TERM skycron")
    it.wait("the stop to begin", lambda: it.show("SubState") == "stop-sigterm" or "stopp" in it.show("StatusText"))
    it.run("systemctl kill -s TERM skycron")
    waiting.wait()
    it.wait_restarted(1)
    has_not(it.journal("-o cat"), "stopped in order", "the journal")
    has(it.journal("-o cat"), "status=1/FAILURE", "the journal")
    it.books_are_right([row["occurrence"] for row in it.history()])


@case
def killed(it):
    it.fresh()
    it.drop_in(RestartSec="1s")
    it.start()
    occurrences = []
    for round in range(1, 4):
        occurrences.append(it.trigger())
        it.run("systemctl kill -s KILL skycron")
        it.wait_restarted(round)
    occurrences.append(it.trigger())
    it.books_are_right(occurrences)


@case
def key_is_nowhere(it):
    it.fresh()
    it.drop_in(Environment="SKYCRON_LOG=trace")
    it.start()
    it.wait_completed(it.trigger())
    it.run("systemctl kill -s USR1 skycron")
    it.run("systemctl reload skycron")
    pid = it.pid()
    places = {
        "systemctl show": "systemctl show skycron; systemctl status skycron; systemctl cat skycron",
        "the journal": f"journalctl -u skycron --since='{it.since}' -o export",
        "an environment": f"cat /proc/{pid}/environ; cat /proc/[0-9]*/environ 2>/dev/null | tr '\\0' '\\n'",
        "the arguments": f"cat /proc/{pid}/cmdline",
        "the history": f"cat {STATE}/*",
        "the commands": f"skycron --config {FILE} --state-dir {STATE} check; "
        f"skycron --config {FILE} --state-dir {STATE} history --format json; skycron run --help",
    }
    for what, command in places.items():
        has_not(it.run(f"{command} | tr -d '\\0'", check=False), KEY, what)
    limits = it.run(f"cat /proc/{pid}/limits")
    expect(re.search(r"Max core file size\s+0\s+0", limits), "no core dumps", limits)
    # A process that is not dumpable belongs to root in /proc, whoever runs it.
    owner = it.run(f"stat -c %U /proc/{pid}/environ")
    expect(owner == "root", "it is not dumpable", owner)


@case
def folder_is_closed_and_nothing_is_written_elsewhere(it):
    it.fresh()
    it.run("touch /run/marker")
    it.start()
    it.wait_completed(it.trigger())
    it.run("systemctl reload skycron")
    it.run("systemctl restart skycron")
    modes = it.run("stat -c '%a %n' /var/lib/private/skycron /var/lib/private/skycron/*")
    expect(modes.startswith("700 ") and not re.search(r"^\d[^0]|^\d\d[^0]", modes.partition("\n")[2], re.M), "modes", modes)
    # All file systems but the kernel's; systemd's own runtime folders are not the service's.
    newer = it.run(
        "find / /run /tmp /dev/shm -xdev -newer /run/marker ! -type d ! -path '/run/systemd/*' ! -path '/run/log/*'"
        " ! -path '/var/log/*' ! -path '/run/dbus/*' ! -path '/run/marker'"
    ).split()
    # The link is systemd's.
    elsewhere = [path for path in newer if not path.startswith("/var/lib/private/skycron/") and path != STATE]
    expect(newer and not elsewhere, "only its state folder was written to", newer)
    uid = it.run("stat -c %u /var/lib/private/skycron")
    expect(uid != "0", "by a user of its own", uid)


# --- all together ----------------------------------------------------------------------------------------------------


def main(names):
    missing = machine.what_is_missing()
    if missing:
        machine.skip(missing)
    known = {function.__name__: function for function in CASES}
    if names != ["--shell"] and set(names) - set(known):
        sys.exit(f"systemd: there is no {', '.join(set(names) - set(known))}; there are {', '.join(known)}")
    show = os.environ.get("SKYCRON_SYSTEMD_SHOW")
    failed = []
    with machine.Machine([(os.environ["SKYCRON_BINARY"], "/usr/local/bin/skycron")]) as booted:
        it = Service(booted)
        it.install()
        print(f"systemd: {booted.run('systemctl --version').splitlines()[0]} is up", flush=True)
        if names == ["--shell"]:
            it.fresh()
            return subprocess.call(booted.inside("exec bash"))
        for name in names or known:
            begun = time.monotonic()
            try:
                said = known[name](it)
                print(f"systemd: {name} ok ({time.monotonic() - begun:.1f} s)", flush=True)
                if said and show:
                    print(said, flush=True)
            except NotHere as reason:
                print(f"systemd: {name} NOT RUN: {reason}", flush=True)
            except Exception as error:
                failed.append(name)
                print(f"systemd: {name} FAILED", flush=True)
                if not isinstance(error, Failed):
                    traceback.print_exc(file=sys.stdout)
                print(error, flush=True)
                print(it.journal("-n 40 -o short-precise"), flush=True)
    if failed:
        sys.exit(f"systemd: {len(failed)} failed: {', '.join(failed)}")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
