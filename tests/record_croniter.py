#!/usr/bin/env python3
"""Records what croniter, with which Skyvern's server evaluates schedules, answers in UTC, where it is right.

    python3 -m venv /tmp/croniter && /tmp/croniter/bin/pip install croniter==3.0.4
    /tmp/croniter/bin/python tests/record_croniter.py > tests/data/croniter.tsv

Each line: the expression, the start, the occurrence before it, a bar, the four after it; or `refused` with the kind of
error. The draw is seeded: the same version of croniter writes the same file. tests/calendar/croniter.rs reads it.
"""

import random
from datetime import datetime, timedelta, timezone

import croniter as package
from croniter import croniter

EXPRESSIONS = 3000
ANSWERS = 4
MONTHS = "JAN FEB MAR APR MAY JUN JUL AUG SEP OCT NOV DEC".split()
WEEKDAYS = "SUN MON TUE WED THU FRI SAT".split()
draw = random.Random(20260301)


def item(low, high, steps):
    a, b = sorted((draw.randint(low, high), draw.randint(low, high)))
    step = draw.choice(steps)
    return draw.choice([
        str(a), str(a), str(a), f"{a}-{b}", f"*/{step}", f"{a}-{b}/{max(1, min(step, b - a))}",
        f"{a}/{max(1, min(step, high - a))}",
    ])


def field(low, high, steps):
    if draw.random() < 0.35:
        return "*"
    return ",".join(item(low, high, steps) for _ in range(draw.choice([1, 1, 1, 2, 3])))


def month():
    kind = draw.random()
    if kind < 0.12:
        return draw.choice(MONTHS).lower()
    if kind < 0.2:
        a, b = sorted(draw.sample(range(12), 2))
        return f"{MONTHS[a]}-{MONTHS[b]}"
    return field(1, 12, [2, 3, 4, 6])


def day_of_month():
    kind = draw.random()
    if kind < 0.06:
        return "L"
    if kind < 0.1:
        return f"{draw.randint(1, 28)},L"
    if kind < 0.14:
        return "?"
    return field(1, 31, [2, 3, 5, 7, 10])


def day_of_week():
    kind = draw.random()
    if kind < 0.06:
        return f"{draw.randint(0, 7)}#{draw.randint(1, 5)}"
    if kind < 0.1:
        return f"L{draw.randint(0, 7)}"
    if kind < 0.14:
        return f"{draw.choice(WEEKDAYS[1:])}-SUN"
    if kind < 0.2:
        return ",".join(draw.sample(WEEKDAYS, draw.randint(1, 3))).lower()
    if kind < 0.24:
        a, b = sorted(draw.sample(range(1, 7), 2))
        return f"{WEEKDAYS[a]}-{WEEKDAYS[b]}"
    if kind < 0.27:
        return "?"
    if kind < 0.3:
        return f"{draw.randint(1, 6)}-7"
    return field(0, 7, [2, 3])


# Expressions that a writer may try, many of them wrong.
ODD = [
    "0 22-2 * * *", "0 0 * * FRI-MON", "60 * * * *", "0 24 * * *", "0 0 0 * *", "0 0 32 * *", "0 0 * 13 *",
    "0 0 * * 8", "*/0 * * * *", "0 0 30 2 *", "0 0 31 4,6 *", "0 0 * * 1#6", "0 0 * * 1#0", "0 0 15W * *",
    "0 0 LW * *", "0 0 L-3 * *", "0 0 * * 5L", "0 0 * * L", "@reboot", "@every 5m", "H * * * *", "0,,5 * * * *",
    "0, * * * *", ",0 * * * *", "+5 * * * *", "-5 * * * *", "5- * * * *", "0 9 * *", "0 9", "0 0 * * Monday",
    "0 0 * January *", "a * * * *", "@hourly", "@daily", "@midnight", "@weekly", "@monthly", "@yearly",
    "@annually", "@DAILY", "*/5/2 * * * *", "0x5 * * * *", "5. * * * *", "0 0 ?,5 * *", "? * * * *", "0 ? * * *",
    "0 0 * ? *", "00 09 * * *", "0 0 * * 1#5,2", "0 0 * * 1-5#1", "TZ=UTC 0 9 * * *", "0 0 * * MON#2,FRI#4",
    "0 0 * * SAT-SUN", "0 0 * * MON-5", "0 0 5 * *,5", "0 0 *,5 * 1", "0 0 * * SUN-SUN", "0 0 * * 7-7",
    "0 0 * * 0-7", "0 0 13 * 5#2", "0 0 L * L5", "0 0 29 2 1", "0 0 29 2 *", "*/60 * * * *", "0 */25 * * *",
    "0 0 */40 * *", "5-6/9 * * * *", "0 0 * * */7", "0 0 * * 0#3", "0 0 * * 7#3", "~ * * * *", "0 0 W * *",
    "0 0 1,31 * *", "0 0 L5,1 * *", "0 0 * * L5,1", "0 0 * * 1#1,1#3", "0 0 31 4 1", "0 0 */10 * 0-6",
]


def main():
    print(f"# croniter {package.__version__ if hasattr(package, '__version__') else '3.0.4'}, UTC; see record_croniter.py")
    seen = set()
    while len(seen) < EXPRESSIONS:
        if len(seen) < len(ODD):
            expression = ODD[len(seen)]
        else:
            minute, hour = field(0, 59, [2, 5, 7, 10, 15, 20]), field(0, 23, [2, 3, 4, 5, 8])
            expression = " ".join([minute, hour, day_of_month(), month(), day_of_week()])
        if expression in seen:
            continue
        seen.add(expression)
        start = datetime(1990, 1, 1, tzinfo=timezone.utc) + timedelta(minutes=draw.randint(0, 70 * 525_960))
        shown = start.strftime("%Y-%m-%dT%H:%M")
        try:
            before = croniter(expression, start).get_prev(datetime)
            forward = croniter(expression, start)
            after = [forward.get_next(datetime) for _ in range(ANSWERS)]
        except Exception as error:  # croniter's own, and what escapes from it
            print(expression, shown, f"refused {type(error).__name__}", sep="\t")
            continue
        times = [time.strftime("%Y-%m-%dT%H:%M") for time in [before, *after]]
        print(expression, shown, " ".join([times[0], "|", *times[1:]]), sep="\t")


main()
