"""A Debian with systemd as PID 1, in namespaces of its own, on a tree that is thrown away afterwards.

The tree comes from debootstrap, once, and is never written to: each machine has a memory file system over it. The network is
the host's. Nothing here knows skycron.
"""

import fcntl
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

PACKAGES = "systemd,systemd-sysv,dbus,ca-certificates,tzdata"
MIRROR = os.environ.get("SKYCRON_DEBIAN_MIRROR", "http://deb.debian.org/debian")
BOOT_SECONDS_MAX = 60
COMMAND_SECONDS_MAX = 120
# Not run: the machine lacks something. As automake and systemd's own tests have it.
SKIPPED = 77

# Runs as the first process of its pid namespace, in a mount namespace of its own, and ends as systemd.
INIT = r"""
set -euo pipefail
tree=$1 scratch=$2 root=$2/root
mount -t tmpfs -o mode=0755 tmpfs "$scratch"
mkdir "$scratch/upper" "$scratch/work" "$root"
mount -t overlay -o "lowerdir=$tree,upperdir=$scratch/upper,workdir=$scratch/work" overlay "$root"
shift 2
# FROM and TO of what is bound into it, read-only.
while [ $# -gt 0 ]; do
    mkdir -p "$root${2%/*}"
    touch "$root$2"
    mount --bind "$1" "$root$2"
    mount -o remount,bind,ro "$root$2"
    shift 2
done
mount -t proc -o nosuid,nodev,noexec proc "$root/proc"
# Without this, systemd-sysctl sets the settings of the whole machine.
mount --bind "$root/proc/sys" "$root/proc/sys"
mount -o remount,bind,ro "$root/proc/sys"
mount -t sysfs -o ro,nosuid,nodev,noexec sysfs "$root/sys"
mount -t cgroup2 -o nosuid,nodev,noexec cgroup2 "$root/sys/fs/cgroup"
mount -t tmpfs -o mode=0755,nosuid,nodev tmpfs "$root/run"
mount -t tmpfs -o mode=1777,nosuid,nodev tmpfs "$root/tmp"
mount -t tmpfs -o mode=0755,nosuid tmpfs "$root/dev"
mkdir "$root/dev/pts" "$root/dev/shm"
mount -t devpts -o newinstance,ptmxmode=0666,mode=0620 devpts "$root/dev/pts"
mount -t tmpfs -o mode=1777,nosuid,nodev tmpfs "$root/dev/shm"
ln -s pts/ptmx "$root/dev/ptmx"
for node in null:3 zero:5 full:7 random:8 urandom:9; do mknod -m 0666 "$root/dev/${node%:*}" c 1 "${node#*:}"; done
mknod -m 0666 "$root/dev/tty" c 5 0
for link in fd: stdin:/0 stdout:/1 stderr:/2; do ln -s "/proc/self/fd${link#*:}" "$root/dev/${link%%:*}"; done
mkdir "$root/.host"
cd "$root"
pivot_root . .host
umount -l /.host
rmdir /.host
# As a real boot has it: systemd puts credentials into a service's view by a mount that has to reach its own.
mount --make-rshared /
exec env -i container=skycron-test /lib/systemd/systemd --system systemd.unit=multi-user.target
"""


class Failed(Exception):
    """A command inside the machine failed, or a condition did not come."""


def skip(reason):
    print(f"systemd: NOT RUN: {reason}", file=sys.stderr)
    sys.exit(SKIPPED)


def what_is_missing():
    if os.geteuid() != 0:
        return "this needs root (namespaces, mounts, a cgroup)"
    for tool, package in [("debootstrap", "debootstrap"), ("unshare", "util-linux"), ("nsenter", "util-linux")]:
        if shutil.which(tool) is None:
            return f"{tool} is missing; Debian: apt-get install {package}"
    if cgroup_folder() is None:
        return "there is no cgroup v2 to write to"
    tried = subprocess.run(
        ["unshare", "--pid", "--fork", "--mount", "--uts", "--ipc", "--cgroup", "mount", "-t", "tmpfs", "tmpfs", "/mnt"],
        capture_output=True,
        text=True,
    )
    return f"no namespaces here: {tried.stderr.strip()}" if tried.returncode else None


def cgroup_folder():
    for line in Path("/proc/self/mountinfo").read_text().splitlines():
        words, _, kind = line.partition(" - ")
        if kind.split()[0] == "cgroup2":
            folder = Path(words.split()[4])
            return folder if os.access(folder, os.W_OK) else None
    return None


def tree():
    """The system's files, fetched where they are not there yet. Of this machine's own release: its programs run there."""
    kept = Path(os.environ.get("SKYCRON_LIVE_DIR") or Path.home() / ".cache/skycron-live")
    kept.mkdir(parents=True, exist_ok=True)
    release = dict(line.split("=", 1) for line in Path("/etc/os-release").read_text().splitlines() if "=" in line)
    name = release.get("VERSION_CODENAME", "bookworm").strip('"') if "debian" in release.get("ID", "") else "bookworm"
    name = os.environ.get("SKYCRON_DEBIAN_RELEASE", name)
    place = kept / f"systemd-{name}"
    with open(kept / "systemd.lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not place.exists():
            print(f"systemd: fetching {name} into {place} (once)", file=sys.stderr, flush=True)
            half = kept / f"systemd-{name}.half"
            shutil.rmtree(half, ignore_errors=True)
            command = ["debootstrap", "--variant=minbase", f"--include={PACKAGES}", name, str(half), MIRROR]
            fetched = subprocess.run(command, capture_output=True, text=True)
            if fetched.returncode:
                skip(f"debootstrap failed:\n{fetched.stdout[-2000:]}{fetched.stderr[-2000:]}")
            half.rename(place)
    return place


class Machine:
    """One booted system. Used in a `with` block, which ends it."""

    def __init__(self, binds):
        """`binds`: pairs of a file here and its absolute path there."""
        self.binds = [str(part) for pair in binds for part in pair]
        self.init = None

    def __enter__(self):
        files = tree()
        self.cgroup = cgroup_folder() / f"skycron-test-{os.getpid()}"
        self.cgroup.mkdir()
        self.scratch = Path(f"/run/skycron-test-{os.getpid()}")
        self.scratch.mkdir()
        flags = "--pid --fork --mount --uts --ipc --cgroup --kill-child=KILL --propagation private".split()
        enter = f'echo $$ >{self.cgroup}/cgroup.procs; exec unshare {" ".join(flags)} bash -c "$0" init "$@"'
        self.outer = subprocess.Popen(
            ["bash", "-euc", enter, INIT, str(files), str(self.scratch), *self.binds],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
        )
        try:
            self.init = self.wait("a first process", self.first_process, seconds=BOOT_SECONDS_MAX)
            self.wait("the end of the boot", self.is_up, seconds=BOOT_SECONDS_MAX)
        except BaseException:
            self.__exit__()
            raise
        return self

    def first_process(self):
        if self.outer.poll() is not None:
            raise Failed(f"it ended while it booted: {self.outer.stderr.read()}")
        children = Path(f"/proc/{self.outer.pid}/task/{self.outer.pid}/children").read_text().split()
        if not children or Path(f"/proc/{children[0]}/comm").read_text() != "systemd\n":
            return None
        return int(children[0])

    def is_up(self):
        state = self.run("systemctl is-system-running", check=False)
        return state if state in ("running", "degraded") else None

    def __exit__(self, *_):
        if self.init is not None:
            os.kill(self.init, signal.SIGKILL)
        elif self.outer.poll() is None:
            self.outer.kill()
        self.outer.wait()
        for _ in range(100):
            try:
                for folder, _, _ in os.walk(self.cgroup, topdown=False):
                    os.rmdir(folder)
                break
            except OSError:
                time.sleep(0.05)
        # Its mounts went with its namespace.
        self.scratch.rmdir()

    def inside(self, command):
        """The words that run a shell command inside."""
        clean = ["env", "-i", "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "HOME=/root", "TZ=UTC"]
        return ["nsenter", "-t", str(self.init), "-a", "--", *clean, "sh", "-c", command]

    def run(self, command, check=True, stdin=""):
        """What a command printed inside, without the last line break."""
        ended = subprocess.run(
            self.inside(command), input=stdin, capture_output=True, text=True, errors="replace", timeout=COMMAND_SECONDS_MAX
        )
        if check and ended.returncode:
            raise Failed(f"{command!r} ended with {ended.returncode}:\n{ended.stdout}{ended.stderr}")
        return (ended.stdout if check else ended.stdout + ended.stderr).rstrip("\n")

    def write(self, path, text, mode="0644"):
        self.run(f"install -D -m {mode} /dev/stdin {path}", stdin=text)

    def wait(self, what, look, seconds=30):
        """What `look` answers once it answers something."""
        end = time.monotonic() + seconds
        while True:
            found = look()
            if found:
                return found
            if time.monotonic() > end:
                raise Failed(f"waited {seconds} s for {what}")
            time.sleep(0.05)
