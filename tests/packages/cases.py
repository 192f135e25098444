"""The handbook's commands on a booted Debian that has nothing of skycron: the blocks that name tests/packages/run are taken from
the pages and run as they stand, with the server's address, the key, the workflow and the time filled in. See `run`.
"""

import datetime
import json
import os
import subprocess
import sys
import tempfile
import zoneinfo
from pathlib import Path

PROJECT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(PROJECT / "tests/systemd"))

import machine  # noqa: E402
from machine import Failed  # noqa: E402

MARK = "<!-- run by tests/packages/run -->"
ETC = "/etc/skycron"
STATE = "/var/lib/skycron"
EXPORTS = f"export CREDENTIALS_DIRECTORY={ETC} SKYCRON_STATE_DIR={STATE};"
# A minute and some seconds until the schedule is due, and the run.
DUE_SECONDS_MAX = 180


def say(text):
    print(text, flush=True)


def expect(holds, what, found=""):
    if not holds:
        raise Failed(f"not so: {what}\n{found}")


def blocks(page):
    """The commands of a page that are this test's, in order."""
    found = []
    for part in (PROJECT / "docs/src" / page).read_text().split(MARK)[1:]:
        before, _, rest = part.partition("```sh\n")
        expect(not before.strip(), f"{page}: the mark stands right above its block", before)
        found.append(rest.partition("```")[0])
    return found


def newer(package, folder):
    """The same package with a higher version."""
    subprocess.run(["dpkg-deb", "-R", package, folder / "tree"], check=True)
    control = folder / "tree/DEBIAN/control"
    lines = control.read_text().splitlines()
    version = next(line for line in lines if line.startswith("Version: ")) + ".1"
    control.write_text("\n".join(version if line.startswith("Version: ") else line for line in lines) + "\n")
    path = folder / "skycron_newer_amd64.deb"
    subprocess.run(["dpkg-deb", "--root-owner-group", "-b", folder / "tree", path], check=True, stdout=subprocess.DEVNULL)
    return path, version.removeprefix("Version: ")


class Reader:
    """Somebody who does what is written."""

    def __init__(self, booted):
        self.machine = booted
        self.run = booted.run
        self.exports = ""

    def fill_in(self, text):
        """What the page cannot know: whose key, which server, which workflow, and a time that comes soon."""
        zone = zoneinfo.ZoneInfo("America/New_York")
        soon = datetime.datetime.now(zone) + datetime.timedelta(seconds=70)
        key = Path(os.environ["SKYCRON_LIVE_KEY_FILE"]).read_text().strip()
        for shown, own in {
            "YOUR KEY": key,
            "https://api.skyvern.com": os.environ["SKYCRON_LIVE_URL"],
            "wpid_123456789": os.environ["SKYCRON_LIVE_WORKFLOW"],
            "0 9 * * 1-5": f"{soon.minute} {soon.hour} * * *",
        }.items():
            text = text.replace(shown, own)
        return text

    def follow(self, block):
        """Types a block, as in one long session."""
        say("".join(f"# {line}\n" for line in block.splitlines()).rstrip())
        script = f"cd /srv\n{self.exports}\n{self.fill_in(block)}"
        self.machine.write("/srv/script", script)
        said = self.run("bash -euo pipefail /srv/script 2>&1 || { code=$?; echo; echo ended with $code; }", check=False)
        say(said)
        expect(not said.endswith(tuple(f"\nended with {code}" for code in range(1, 256))), "the block works", block)
        self.exports += "\n".join(line for line in block.splitlines() if line.startswith("export ")) + "\n"

    def history(self):
        said = self.run(f"{EXPORTS} skycron history --format json")
        return [json.loads(line) for line in said.splitlines()]

    def there(self, *paths):
        for path in paths:
            self.run(f"test -e {path} || {{ echo {path} is not there; exit 1; }}")

    def gone(self, *paths):
        for path in paths:
            self.run(f"test ! -e {path} || {{ echo {path} is still there; exit 1; }}")


def is_bare(it):
    """Nothing of skycron, and nothing but Debian's own minimum."""
    it.gone("/usr/bin/skycron", ETC, STATE)
    for tool in ["cargo", "cc", "sqlite3", "curl", "man"]:
        it.run(f"! command -v {tool}")


def first_hour(it):
    """The page as it stands, from nothing to a run on schedule."""
    *steps, upgrade = blocks("install.md")
    expect(len(steps) == 6, "the page has six steps", steps)
    for step in steps:
        it.follow(step)
    completed = lambda: [row for row in it.history() if row["trigger"] == "schedule" and row["status"] == "completed"]
    rows = it.machine.wait("a run on schedule", completed, seconds=DUE_SECONDS_MAX)
    expect(rows[0]["run_id"].startswith("wr_"), "it has its run", rows)
    say(it.run(f"{EXPORTS} skycron history"))
    it.machine.wait("the manual run", lambda: all(row["status"] == "completed" for row in it.history()))
    it.run(f"{EXPORTS} skycron audit")
    return upgrade


def everything_is_installed(it):
    it.there(
        "/usr/lib/systemd/system/skycron.service",
        "/usr/lib/sysusers.d/skycron.conf",
        "/usr/share/man/man1/skycron.1.gz",
        "/usr/share/man/man1/skycron-next.1.gz",
        "/usr/share/zsh/vendor-completions/_skycron",
        "/usr/share/fish/vendor_completions.d/skycron.fish",
        "/usr/share/skycron/schedules.schema.json",
    )
    # Where dpkg leaves documentation out (a container's setting), it is in the package all the same.
    listed = it.run("dpkg -L skycron")
    for path in ["examples/schedules.example.toml", "README.md", "CHANGELOG.md"]:
        expect(path in listed, f"the package has {path}", listed)
    words = 'source /usr/share/bash-completion/completions/skycron; COMP_WORDS=(skycron hist); COMP_CWORD=1; _skycron skycron hist skycron; echo "${COMPREPLY[*]}"'
    said = it.run(f"bash -c '{words}'")
    expect(said == "history", "bash completes", said)
    said = it.run("systemd-analyze verify skycron.service 2>&1", check=False)
    expect("skycron" not in said, "systemd has nothing to say of the unit", said)
    expect("/usr/bin/skycron" in it.run("systemctl show skycron -P ExecStart"), "the unit starts the package's program")
    expect(it.run("getent passwd skycron"), "there is the user")
    owners = it.run(f"stat -L -c '%U %a' {STATE}/. {ETC}/skyvern-api-key")
    expect(owners == "skycron 700\nroot 600", "the history is the service's, the key is root's", owners)


def backup_and_restore(it):
    backup, restore = blocks("running.md")
    it.run("apt-get -q update && apt-get -q -y --no-install-recommends install sqlite3")
    it.follow(backup)
    before = it.history()
    it.run("systemctl stop skycron")
    it.run(f"sqlite3 {STATE}/history.db 'DELETE FROM run; DELETE FROM attempt; DELETE FROM occurrence'")
    expect(it.history() == [], "the history is lost", it.history())
    it.follow(restore)
    expect(it.history() == before, "it is back", it.history())
    it.machine.wait("the service", lambda: it.run("systemctl is-active skycron", check=False) == "active")
    it.run(f"{EXPORTS} skycron audit")


def upgrade(it, step, package, version):
    it.run(f"echo '# mine' >>{ETC}/schedules.toml")
    mine, rows = it.run(f"cat {ETC}/schedules.toml"), it.history()
    pid = it.run("systemctl show skycron -P MainPID")
    it.run("rm /srv/skycron_*.deb")
    it.run(f"cp {package} /srv/skycron_newer_amd64.deb")
    it.follow(step)
    found = it.run("dpkg-query -W -f '${Version}' skycron")
    expect(found == version, f"{version} is installed", found)
    expect(it.run(f"cat {ETC}/schedules.toml") == mine, "the operator's file is as it was")
    expect(it.history() == rows, "the history is as it was", it.history())
    expect(it.run("systemctl is-active skycron") == "active", "it runs")
    expect(it.run("systemctl show skycron -P MainPID") != pid, "and it is the new program")
    it.run(f"{EXPORTS} skycron audit")


def remove_and_purge(it):
    size = it.run(f"stat -L -c %s {STATE}/history.db")
    it.run("apt-get -q -y remove skycron")
    it.gone("/usr/bin/skycron", "/usr/lib/systemd/system/skycron.service")
    expect(it.run("systemctl is-active skycron", check=False) in ("inactive", "unknown"), "it has stopped")
    it.there(f"{ETC}/schedules.toml", f"{ETC}/skyvern-api-key", f"{STATE}/history.db")
    expect(int(it.run(f"stat -L -c %s {STATE}/history.db")) >= int(size), "the history is whole")
    # Again, and it goes on where it was.
    it.run("cd /srv && apt-get -q -y install ./skycron_*.deb && systemctl enable --now skycron")
    it.run(f"{EXPORTS} skycron audit")
    expect(it.history(), "the history is the old one")
    it.run("apt-get -q -y purge skycron")
    it.gone("/usr/bin/skycron", ETC, STATE, "/var/lib/private/skycron")
    left = it.run("systemctl list-unit-files --no-legend skycron.service; systemctl --failed --no-legend")
    expect(left == "", "nothing is left behind", left)


def main():
    missing = machine.what_is_missing()
    if missing:
        machine.skip(missing)
    package = Path(os.environ["SKYCRON_PACKAGE"]).resolve()
    with tempfile.TemporaryDirectory() as folder:
        second, version = newer(package, Path(folder))
        with machine.Machine([(package, f"/mnt/{package.name}"), (second, "/mnt/newer.deb")]) as booted:
            it = Reader(booted)
            try:
                is_bare(it)
                it.run(f"cp /mnt/{package.name} /srv/")
                step = first_hour(it)
                everything_is_installed(it)
                backup_and_restore(it)
                upgrade(it, step, "/mnt/newer.deb", version)
                remove_and_purge(it)
            except Failed as failed:
                say(it.run("journalctl -u skycron -n 40 -o short-precise --no-pager", check=False))
                sys.exit(f"packages: {failed}")
    say("packages: installed, on schedule, backed up, upgraded, removed, purged: all as written")


if __name__ == "__main__":
    main()
