"""Starts a real Skyvern server on loopback, runs a command against it, and stops it, whatever happens.

Standard library only. The server comes from PyPI, in one pinned version, in a virtual environment of its own that is
kept between runs. Everything else (database, key, log) is in a temporary folder that is removed.

The command's environment says where the server is:

  SKYCRON_LIVE_URL                http://127.0.0.1:PORT
  SKYCRON_LIVE_KEY_FILE           a file with a valid API key
  SKYCRON_LIVE_WORKFLOW           waits 3 s; parameter `url` with a default
  SKYCRON_LIVE_WORKFLOW_REQUIRED  waits 1 s; parameter `need` without a default
  SKYCRON_LIVE_WORKFLOW_MEDIUM    waits 20 s: a run that outlives a restart of the daemon
  SKYCRON_LIVE_WORKFLOW_LONG      waits 120 s: a run to be cancelled

Exit code: the command's; 2 when the server could not be had.
"""

import ctypes
import fcntl
import importlib.util
import json
import os
import pathlib
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request

SKYVERN_VERSION = "1.0.56"
HERE = pathlib.Path(__file__).resolve().parent
DEFAULT_COMMAND = ["cargo", "test", "--locked", "--test", "live", "--test", "contract", "--", "--include-ignored"]

INSTALL_SECONDS_MAX = 1800
READY_SECONDS_MAX = 180
STOP_SECONDS_MAX = 15
START_ATTEMPTS_MAX = 3
LOG_LINES_SHOWN_MAX = 30
LOG_LINE_CHARS_MAX = 300


class LiveError(Exception):
    """The server could not be had; the text says why and what to do."""


def say(text):
    print(f"live: {text}", file=sys.stderr, flush=True)


# --- the installation ------------------------------------------------------------------------------------------------


def cache_folder():
    own = os.environ.get("SKYCRON_LIVE_DIR")
    if own:
        return pathlib.Path(own)
    base = os.environ.get("XDG_CACHE_HOME") or pathlib.Path.home() / ".cache"
    return pathlib.Path(base) / "skycron-live"


def installed_version(python):
    """The version of Skyvern that this Python would import, or None. Reads metadata only: a tenth of a second."""
    if not python.exists():
        return None
    question = "import importlib.metadata as m; print(m.version('skyvern'))"
    answer = subprocess.run([python, "-c", question], capture_output=True, text=True)
    return answer.stdout.strip() if answer.returncode == 0 else None


def imports(python):
    """Whether the server's code loads; several seconds. In a folder of its own, since loading it may leave files."""
    with tempfile.TemporaryDirectory(prefix="skycron-live-") as folder:
        command = [python, "-c", "import uvicorn, aiosqlite, skyvern.forge.api_app"]
        return subprocess.run(command, cwd=folder, env=server_environment(folder, 1), capture_output=True).returncode == 0


def ensure_installed():
    """The Python of a complete installation, made or mended where it is not there."""
    venv = cache_folder() / f"skyvern-{SKYVERN_VERSION}"
    python = venv / "bin" / "python"
    marker = venv / ".complete"
    venv.parent.mkdir(parents=True, exist_ok=True)
    with open(venv.parent / "lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # two test runs at once must not install into one folder
        if installed_version(python) == SKYVERN_VERSION and (marker.exists() or imports(python)):
            marker.touch()
            return python
        install(venv, python)
        marker.touch()
        return python


def install(venv, python):
    if importlib.util.find_spec("ensurepip") is None:
        raise LiveError("this Python cannot make virtual environments (Debian: apt-get install python3-venv)")
    started = time.monotonic()
    say(f"installing skyvern[server]=={SKYVERN_VERSION} into {venv} (some minutes, 1.6 GB, once)")
    if venv.exists():
        shutil.rmtree(venv)
    pip = [python, "-m", "pip", "--disable-pip-version-check", "--no-input", "install", "--quiet"]
    package = f"skyvern[server]=={SKYVERN_VERSION}"
    if sys.version_info[:2] == (3, 11):
        # The versions that were tested together. On another Python some of them have no wheel, so there pip decides.
        pip += ["--constraint", HERE / "constraints-3.11.txt"]
    for command in ([sys.executable, "-m", "venv", venv], [*pip, package]):
        try:
            subprocess.run(command, check=True, timeout=INSTALL_SECONDS_MAX, stdin=subprocess.DEVNULL, stdout=sys.stderr)
        except subprocess.CalledProcessError as error:
            raise LiveError(f"installing failed: exit {error.returncode} of {' '.join(map(str, command))}") from error
        except subprocess.TimeoutExpired as error:
            raise LiveError(f"installing took more than {INSTALL_SECONDS_MAX} s and was given up") from error
    if installed_version(python) != SKYVERN_VERSION or not imports(python):
        raise LiveError(f"the fresh installation in {venv} does not load; remove that folder and try again")
    say(f"installed in {time.monotonic() - started:.0f} s")


# --- the server ------------------------------------------------------------------------------------------------------


def server_environment(folder, port):
    """Nothing of the caller's but where programs are: no key, no model, no proxy, no home."""
    kept = {name: os.environ[name] for name in ("PATH", "LANG", "LC_ALL", "SSL_CERT_FILE") if name in os.environ}
    return kept | {
        "HOME": str(folder),
        "TZ": "UTC",
        "ENV": "local",
        "PORT": str(port),
        "DATABASE_STRING": f"sqlite+aiosqlite:///{folder}/skyvern.db",
        "SKYVERN_TELEMETRY": "false",
        "LITELLM_LOCAL_MODEL_COST_MAP": "True",
        # Its own scheduler looks every two seconds, and not every minute, and starts several runs at a time.
        "WORKFLOW_SCHEDULE_POLL_INTERVAL_SECONDS": "2",
        "WORKFLOW_SCHEDULE_MAX_CONCURRENT_RUNS": "8",
        # A model must be named. No workflow here needs one, but the server asks it for a title of each block: that goes to
        # a port of this machine where nobody listens, and not out into the world.
        "LLM_KEY": "OPENAI_GPT4O",
        "ENABLE_OPENAI": "true",
        "OPENAI_API_KEY": "none",
        "OPENAI_BASE_URL": "http://127.0.0.1:9",
        "OPENAI_API_BASE": "http://127.0.0.1:9",
    }


def die_with_parent():
    """Runs in the child: the server ends when this script is killed without a chance to stop it (Linux)."""
    pr_set_pdeathsig = 1
    ctypes.CDLL(None).prctl(pr_set_pdeathsig, signal.SIGKILL)


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


class Server:
    """One server process, in a folder that is its home and its working directory."""

    def __init__(self, python, folder):
        self.folder = folder
        self.log = folder / "server.log"
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        command = [python, "-m", "uvicorn", "skyvern.forge.api_app:create_api_app", "--factory"]
        command += ["--host", "127.0.0.1", "--port", str(self.port)]
        with open(self.log, "wb") as log:
            self.process = subprocess.Popen(
                command,
                cwd=folder,
                env=server_environment(folder, self.port),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,  # Ctrl-C reaches this script, which then stops the server
                preexec_fn=die_with_parent,
            )

    def wait_until_ready(self):
        """True once it answers; False when another program took the port in between."""
        deadline = time.monotonic() + READY_SECONDS_MAX
        while time.monotonic() < deadline:
            if self.process.poll() is not None:
                if "address already in use" in self.log_tail().lower():
                    return False
                raise LiveError(f"the server ended with {self.process.returncode} before it was ready:\n{self.log_tail()}")
            try:
                with urllib.request.urlopen(f"{self.url}/openapi.json", timeout=10):
                    return True
            except OSError:
                time.sleep(0.2)
        raise LiveError(f"the server was not ready after {READY_SECONDS_MAX} s:\n{self.log_tail()}")

    def stop(self):
        if self.process.poll() is not None:
            return
        self.process.terminate()
        try:
            self.process.wait(STOP_SECONDS_MAX)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()

    def log_tail(self):
        plain = re.sub(r"\x1b\[[0-9;]*m", "", self.log.read_text(errors="replace"))
        return "\n".join(line[:LOG_LINE_CHARS_MAX] for line in plain.splitlines()[-LOG_LINES_SHOWN_MAX:])

    def key(self):
        """The key that the first start wrote down."""
        for line in (self.folder / ".env").read_text().splitlines():
            name, _, value = line.partition("=")
            if name.strip() == "SKYVERN_API_KEY":
                return value.strip().strip("'\"")
        raise LiveError("the server wrote no SKYVERN_API_KEY to its .env")

    def post(self, path, body):
        request = urllib.request.Request(
            self.url + path,
            data=json.dumps(body).encode(),
            headers={"x-api-key": self.key(), "content-type": "application/json"},
        )
        try:
            with urllib.request.urlopen(request, timeout=60) as response:
                return json.load(response)
        except urllib.error.HTTPError as error:
            raise LiveError(f"POST {path}: {error.code} {error.read().decode(errors='replace')[:500]}") from error

    def create_workflow(self, title, wait_seconds, parameter, default=None):
        declared = {"parameter_type": "workflow", "key": parameter, "workflow_parameter_type": "string"}
        if default is not None:
            declared["default_value"] = default
        blocks = [{"block_type": "wait", "label": "w1", "wait_sec": wait_seconds}]
        definition = {"parameters": [declared], "blocks": blocks}
        body = {"json_definition": {"title": title, "workflow_definition": definition}}
        return self.post("/v1/workflows", body)["workflow_permanent_id"]


def start(python, folder):
    for number in range(START_ATTEMPTS_MAX):
        own = folder / f"server-{number}"
        own.mkdir()
        server = Server(python, own)
        try:
            if server.wait_until_ready():
                return server
        except BaseException:
            server.stop()
            raise
        say(f"port {server.port} was taken by another program; trying the next")
    raise LiveError(f"no free port in {START_ATTEMPTS_MAX} attempts")


# --- all together ----------------------------------------------------------------------------------------------------


def run(command):
    python = ensure_installed()
    with tempfile.TemporaryDirectory(prefix="skycron-live-") as folder:
        folder = pathlib.Path(folder)
        started = time.monotonic()
        server = start(python, folder)
        try:
            key_file = folder / "skyvern.key"
            key_file.touch(mode=0o600)
            key_file.write_text(server.key() + "\n")
            environment = os.environ | {
                "SKYCRON_LIVE_URL": server.url,
                "SKYCRON_LIVE_KEY_FILE": str(key_file),
                "SKYCRON_LIVE_WORKFLOW": server.create_workflow("skycron live: short", 3, "url", "https://example.com"),
                "SKYCRON_LIVE_WORKFLOW_REQUIRED": server.create_workflow("skycron live: required", 1, "need"),
                "SKYCRON_LIVE_WORKFLOW_MEDIUM": server.create_workflow("skycron live: medium", 20, "url", "x"),
                "SKYCRON_LIVE_WORKFLOW_LONG": server.create_workflow("skycron live: long", 120, "url", "x"),
            }
            environment.pop("SKYVERN_API_KEY", None)
            say(f"Skyvern {SKYVERN_VERSION} is ready at {server.url} after {time.monotonic() - started:.1f} s")
            code = subprocess.run(command, env=environment).returncode
            if code != 0:
                say(f"the command ended with {code}; the last lines of the server's log:\n{server.log_tail()}")
            return code if code >= 0 else 128 - code
        finally:
            server.stop()


def main():
    def leave(number, _frame):
        sys.exit(128 + number)

    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, leave)
    try:
        sys.exit(run(sys.argv[1:] or DEFAULT_COMMAND))
    except LiveError as error:
        say(str(error))
        sys.exit(2)


if __name__ == "__main__":
    main()
