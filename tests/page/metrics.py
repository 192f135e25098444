"""The metrics of a daemon with a past, given to Prometheus' own promtool: it parses them and has nothing to criticise.

    metrics.py BINARY PROMTOOL
"""

import datetime
import subprocess
import sys

from world import UTC, World, add, wait_for

FILE = '[[schedule]]\nid = "a"\nworkflow_id = "wpid_1"\ncron_expression = "0 9 1 7 *"\n'


def main():
    binary, promtool = sys.argv[1:3]
    world = World(binary, FILE)
    try:
        world.start().stop()
        with world.database() as database:
            add(database, "a", datetime.datetime.now(UTC).replace(microsecond=0) - datetime.timedelta(hours=3), "unknown")
        database.close()
        world.start()
        world.run("trigger", "a")
        wait_for("the start", lambda: 'attempts_total{outcome="started"} 1\n' in world.get("/metrics")[1])
        status, text = world.get("/metrics?fresh")
        assert status == 200, text
        checked = subprocess.run([promtool, "check", "metrics"], input=text, capture_output=True, text=True)
        assert checked.returncode == 0 and not checked.stderr, f"{checked.stdout}{checked.stderr}\n{text}"
        for line in ("skycron_occurrences_unknown 1", "skycron_schedules_failing 1", 'skycron_occurrences_open{stage="running"} 1'):
            assert f"\n{line}\n" in text, f"{line} is not in\n{text}"
        broken = subprocess.run([promtool, "check", "metrics"], input=text + "\nno metric{\n", capture_output=True, text=True)
        assert broken.returncode != 0, "promtool would have said so"
        print(f"promtool has nothing to criticise in {len(text.splitlines())} lines")
    finally:
        world.close()


if __name__ == "__main__":
    main()
