"""The page in a real Chromium: what must be there is there, in light and dark, on a desk and on a phone, in good times and
bad, and the browser has nothing to complain of.

    page.py BINARY CHROMIUM [FOLDER]

Screenshots are left in FOLDER, for a person to look at.
"""

import datetime
import pathlib
import sys
import tempfile

from browser import Browser
from world import UTC, World, add, wait_for

DESK, PHONE = 1200, 390
HOSTILE = "<script>document.title='owned'</script><img src=x onerror=\\\"document.title='owned'\\\"> \\u202Eabc"

FILE = """
[[schedule]]
id = "weekday-report"
workflow_id = "wpid_123456789"
cron_expression = "0 9 1 7 *"
timezone = "America/New_York"
name = "Weekday morning report"

[[schedule]]
id = "hourly-prices"
workflow_id = "wpid_223456789"
cron_expression = "5 10 1 7 *"
name = "Price watch"

[[schedule]]
id = "nightly-orders"
workflow_id = "wpid_323456789"
cron_expression = "15 2 1 7 *"
timezone = "Europe/Berlin"

[[schedule]]
id = "old-import"
workflow_id = "wpid_423456789"
cron_expression = "0 12 * * *"
enabled = false
"""
REASON = "Login to the portal failed: the password has expired"


def expect(condition, what):
    if not condition:
        raise AssertionError(what)
    print(f"  ok: {what}")


class Looks:
    """One browser, and where its pictures go."""

    def __init__(self, browser, folder):
        self.browser, self.folder = browser, folder

    def at(self, name, url, width=DESK, dark=False, complaints=()):
        """Loads a page, takes its picture, and checks what every page must be."""
        browser = self.browser.open(url, width, dark=dark)
        print(f"{name}: {url}")
        picture = browser.screenshot(self.folder / f"{name}.png")
        found = [text for text in browser.complaints() if not any(known in text for known in complaints)]
        expect(not found, f"the browser complains of nothing {found}")
        origin = url.split("/")[2]
        expect(all(asked.split("/")[2] == origin for asked in browser.requested()), "nothing comes from elsewhere")
        expect(browser.evaluate("document.title").endswith("· skycron"), "the title is ours")
        wide = browser.evaluate("document.documentElement.scrollWidth")
        expect(wide <= width, f"it fits: {wide} of {width} pixels")
        expect(browser.evaluate("document.querySelectorAll('main, header, footer').length >= 3"), "it has landmarks")
        expect(browser.evaluate("document.querySelectorAll('h1').length") == 1, "one heading above all")
        unnamed = "[...document.querySelectorAll('svg')].filter(s => !s.hasAttribute('aria-hidden') && !s.getAttribute('aria-label'))"
        expect(browser.evaluate(f"{unnamed}.length") == 0, "every drawing has its words")
        loose = "[...document.querySelectorAll('table')].filter(t => !t.querySelector('thead th[scope=col]'))"
        expect(browser.evaluate(f"{loose}.length") == 0, "every table has its headers")
        colours = picture.colours()
        expect(len(colours) > 4, "it is not blank")
        light = sum(picture.pixel(2, picture.height - 3)) / 3
        expect(light < 60 if dark else light > 200, f"its ground is {'dark' if dark else 'light'}: {light:.0f}")
        expect(self.contrast() >= 4.5, f"text stands out from its ground: {self.contrast():.1f}")
        return picture

    def text(self):
        return self.browser.evaluate("document.body.innerText")

    def contrast(self):
        """The least contrast of any text with the nearest ground behind it, by WCAG's formula."""
        return self.browser.evaluate("""(() => {
            const rgb = c => c.match(/[\\d.]+/g).map(Number);
            const part = v => { v /= 255; return v <= 0.03928 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4; };
            const light = c => 0.2126 * part(c[0]) + 0.7152 * part(c[1]) + 0.0722 * part(c[2]);
            let least = 21;
            for (const element of document.querySelectorAll('main *, header *, footer *')) {
                if (![...element.childNodes].some(n => n.nodeType === 3 && n.textContent.trim())) continue;
                if (element.closest('svg, .sr, .skip')) continue;
                let ground = element;
                while (ground && (rgb(getComputedStyle(ground).backgroundColor)[3] ?? 1) === 0) ground = ground.parentElement;
                const back = ground ? rgb(getComputedStyle(ground).backgroundColor) : [255, 255, 255];
                const [a, b] = [light(rgb(getComputedStyle(element).color)), light(back)];
                least = Math.min(least, (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05));
            }
            return least;
        })()""")

    def has_colour(self, picture, selector, attribute="backgroundColor"):
        """Whether the colour that an element is to have is really in the picture."""
        text = self.browser.evaluate(f"getComputedStyle(document.querySelector({selector!r}))[{attribute!r}]")
        colour = tuple(int(part) for part in text[text.index("(") + 1:-1].split(",")[:3])
        return any(max(abs(a - b) for a, b in zip(seen, colour)) <= 2 for seen in picture.colours(every=3))


def past(world, bad):
    """Some weeks, of which the last days went well or badly."""
    world.start().stop()
    now = datetime.datetime.now(UTC).replace(microsecond=0)
    failed = None
    with world.database() as database:
        for day in range(1, 28):
            at = (now - datetime.timedelta(days=day)).replace(hour=1, minute=15, second=0)
            add(database, "weekday-report", at)
            if bad and day <= 2:
                key = add(database, "nightly-orders", at, "failed", "run_failed: the run failed", REASON)
                failed = failed or key
            else:
                add(database, "nightly-orders", at)
        for hour in range(1, 24 * 14):
            at = (now - datetime.timedelta(hours=hour)).replace(minute=5, second=0)
            add(database, "hourly-prices", at, "skipped" if hour == 30 else "completed")
        if bad:
            at = now - datetime.timedelta(hours=1)
            add(database, "weekday-report", at, "unknown", "no_answer: look at Skyvern, then decide")
    database.close()
    return failed


def seeing(look, binary):
    """What must never be found is found where it is: put into a page by hand."""
    world = World(binary, FILE).start()
    try:
        browser = look.browser.open(world.url, PHONE)
        browser.evaluate("document.body.insertAdjacentHTML('beforeend', '<p style=\"color: red\">a</p><img src=//elsewhere.example/x>')")
        wait_for("two complaints", lambda: browser.evaluate("1") and len(browser.complaints()) >= 2)
        browser.evaluate("document.querySelector('footer').attributeStyleMap.set('width', CSS.px(500))")
        expect(browser.evaluate("document.documentElement.scrollWidth") > PHONE, "what does not fit would be seen")
        expect(look.contrast() > 4.5, "text stands out")
        browser.evaluate("document.querySelector('h1').attributeStyleMap.set('color', '#e5f4eb')")
        expect(look.contrast() < 1.5, "and where it did not, that would be seen")
    finally:
        world.close()


def good_times(look, binary):
    world = World(binary, FILE)
    try:
        past(world, bad=False)
        world.start()
        world.run("trigger", "hourly-prices")
        for name, width, dark in (("good", DESK, False), ("good-dark", DESK, True), ("good-phone", PHONE, False)):
            picture = look.at(name, world.url, width, dark)
            text = look.text()
            expect("All is well" in text and "need attention" not in text, "it says that all is well")
            expect("Weekday morning report" in text and "disabled" in text, "it has the schedules")
            expect("running" in text, "it shows what runs")
            expect(look.has_colour(picture, ".verdict.good"), "the verdict is green in the picture")
            expect(look.has_colour(picture, ".strip .good", "fill"), "and so are the days")
            bars = look.browser.evaluate("document.querySelectorAll('tbody tr:nth-child(2) .strip g').length")
            expect(bars > 50, f"a week of hours has {bars} bars")
        links = look.browser.evaluate("[...document.querySelectorAll('main a')].map(a => a.href)")
        for link in sorted(set(links)):
            status, _ = world.get(link.removeprefix(world.url).split("#")[0])
            expect(status == 200, f"a link leads somewhere: {link}")
        expect(look.at("refresh", f"{world.url}/?refresh=30") and
               look.browser.evaluate("document.querySelector('meta[http-equiv=refresh]').content") == "30", "it loads itself again if asked")
    finally:
        world.close()


def bad_times(look, binary):
    world = World(binary, FILE)
    try:
        key = past(world, bad=True)
        world.start()
        for name, width, dark in (("bad", DESK, False), ("bad-dark", DESK, True), ("bad-phone", PHONE, True)):
            picture = look.at(name, world.url, width, dark)
            text = look.text()
            expect("2 schedules need attention" in text and "All is well" not in text, "it says that something is wrong")
            expect(REASON in text and "2 in a row" in text, "it says what, and how often")
            expect(look.has_colour(picture, ".verdict.bad"), "the verdict is red in the picture")
            top = look.browser.evaluate("document.querySelector('.verdict').getBoundingClientRect().top")
            expect(top < 120, f"the verdict is at the top: {top}")
        for name, width, dark in (("schedule", DESK, False), ("schedule-phone", PHONE, True)):
            look.at(name, f"{world.url}/schedule/nightly-orders", width, dark)
            expect(REASON in look.text() and "Europe/Berlin" in look.text(), "the history has the reason")
        look.at("schedule-paged", f"{world.url}/schedule/hourly-prices")
        first = look.browser.evaluate("[...document.querySelectorAll('tbody td:first-child')].map(t => t.innerText)")
        older = look.browser.evaluate("document.querySelector('a[rel=next]').href")
        look.at("schedule-older", older.split("#")[0])
        second = look.browser.evaluate("[...document.querySelectorAll('tbody td:first-child')].map(t => t.innerText)")
        expect(len(first) == 50 and second and not set(first) & set(second), "the second page goes on where the first ended")
        for name, width, dark in (("occurrence", DESK, False), ("occurrence-phone", PHONE, True)):
            look.at(name, f"{world.url}/occurrence/{key}", width, dark)
            text = look.text()
            expect(REASON in text and "report.csv" in text and "started" in text, "it has reason, output and attempts")
            run = look.browser.evaluate("document.querySelector('a.button').href")
            expect(run.startswith("https://app.skyvern.com/runs/wr_"), f"it links to the run: {run}")
        look.at("nowhere", f"{world.url}/nowhere/at/all", complaints=("404",))
        expect("This cannot be shown" in look.text(), "what is not there is said")
        world.write("[[schedule]]\n")
        world.daemon.send_signal(1)
        wait_for("the refusal", lambda: "reload_refused" in world.log())
        look.at("refused", f"{world.url}/?x=1")
        expect("is refused" in look.text(), "and the page says so")
    finally:
        world.close()


def hostile_times(look, binary):
    schedules = FILE.replace("Weekday morning report", HOSTILE).replace("Price watch", "x" * 500)
    world = World(binary, schedules)
    try:
        world.start().stop()
        with world.database() as database:
            at = datetime.datetime.now(UTC).replace(microsecond=0) - datetime.timedelta(hours=3)
            key = add(
                database, "weekday-report", at, "failed", "run_failed: <script>document.title='owned'</script>",
                "<b>bold</b>\u202e" + "y" * 10_000, app_url="javascript:document.title='owned'",
                output='{"html": "</pre><script>document.title=\'owned\'</script>"}',
                screenshots=["data:text/html,x", "https://shots.example/1.png"], recording_url="file:///etc/passwd",
            )
        database.close()
        world.start()
        for path in ("/", "/schedule/weekday-report", f"/occurrence/{key}", "/?q=%3Cscript%3E"):
            for width in (DESK, PHONE):
                look.at(f"hostile-{path.strip('/').split('/')[0] or 'overview'}-{width}".replace("?", ""), world.url + path, width)
                expect(look.browser.evaluate("document.scripts.length") == 0, "no script came in")
                bad = "[...document.querySelectorAll('a')].filter(a => !/^https?:$/.test(a.protocol)).length"
                expect(look.browser.evaluate(bad) == 0, "no link does anything but lead somewhere")
                expect("<script>" in look.text(), "what was written is shown as it was written")
    finally:
        world.close()


def no_times(look, binary):
    world = World(binary, "", sandbox=False).start()
    try:
        look.at("nothing", world.url)
        expect("Skyvern cannot be used" in look.text(), "without a server it says so")
        expect("The file has no schedules" in look.text(), "without schedules too")
    finally:
        world.close()
    many = "".join(
        f'[[schedule]]\nid = "s{number}"\nworkflow_id = "wpid_1"\ncron_expression = "0 9 1 7 *"\n' for number in range(10_000)
    )
    world = World(binary, many).start()
    try:
        look.at("many", world.url, PHONE)
        expect("1 to 40 of 10,000" in look.text(), "of ten thousand it shows the first, and says how many there are")
        look.at("many-found", f"{world.url}/?q=s99&from=80")
        expect("81 to 111 of 111" in look.text(), "it finds")
        status, text = world.get("/metrics")
        series = text.count("skycron_schedule_last_success_timestamp_seconds{")
        expect(status == 200 and series == 1000, "ten thousand schedules are not ten thousand series")
        expect("skycron_schedules_without_series 9000\n" in text, "and it says how many have none")
    finally:
        world.close()


def main():
    binary, chromium = sys.argv[1:3]
    folder = pathlib.Path(sys.argv[3] if len(sys.argv) > 3 else tempfile.mkdtemp(prefix="skycron-page-"))
    folder.mkdir(parents=True, exist_ok=True)
    browser = Browser(chromium)
    try:
        look = Looks(browser, folder)
        seeing(look, binary)
        good_times(look, binary)
        bad_times(look, binary)
        hostile_times(look, binary)
        no_times(look, binary)
    finally:
        browser.close()
    print(f"the screenshots are in {folder}")


if __name__ == "__main__":
    main()
