"""App in headless Chromium as on a phone: size of a first visit, and analytics under failures."""

from __future__ import annotations

import random
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from typing import NamedTuple

from playwright.sync_api import BrowserContext, Page, Route, sync_playwright

from benchmarks.app_parts import AppParts

_ARGUMENTS = (
    "--no-sandbox --headless --disable-gpu --disable-quic --no-first-run --disable-background-networking "
    "--disable-component-update --disable-sync"
)
_PHONE = {"viewport": {"width": 412, "height": 839}, "device_scale_factor": 2.625, "is_mobile": True, "has_touch": True}
_WAITING = "Object.keys(localStorage).filter((key) => key.startsWith('event:')).length"
_FLUSH = "import('/assets/events.js?v=' + document.body.dataset.version).then((events) => events.flush())"


class EventCounts(NamedTuple):
    """Numbers of events that the device numbered, of documents in MongoDB, and of distinct events among them."""

    numbered: int
    stored: int
    different: int


@contextmanager
def run_phone() -> Iterator[BrowserContext]:
    """Run Chromium with the screen and user agent of a phone."""
    executable = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=executable, args=_ARGUMENTS.split())
        context = browser.new_context(**_PHONE)  # type: ignore[arg-type]
        yield context
        browser.close()


def measure_first_visit(context: BrowserContext, url: str) -> int:
    """Return the bytes that a first visit of the home screen receives, headers included."""
    page = context.new_page()
    session = context.new_cdp_session(page)
    session.send("Network.enable")
    received: list[int] = []
    session.on("Network.loadingFinished", lambda event: received.append(int(event["encodedDataLength"])))
    page.goto(url)
    page.wait_for_load_state("load")
    page.wait_for_timeout(2_000)
    page.close()
    return sum(received)


def send_through_failures(context: BrowserContext, parts: AppParts, url: str, changes: int, kills: int) -> EventCounts:
    """Change pages with the network off at times, each batch sent twice, and MongoDB killed in between."""
    rng = random.Random(18)
    page = context.new_page()
    page.goto(f"{url}/")
    page.locator("button[name=analytics][value='1']").click()
    page.wait_for_load_state("load")
    page.wait_for_timeout(1_200)  # The service worker keeps the home screen.
    page.goto(f"{url}/")
    context.route("**/api/events", _send_twice)
    killed = set(rng.sample(range(changes), kills))
    for number in range(changes):
        if number % 10 == 3:
            context.set_offline(True)
        if number % 10 == 6:
            context.set_offline(False)
        if number in killed:
            parts.mongo.kill()
            parts.mongo.start()
        _change_page(page, url, rng)
    context.set_offline(False)
    _wait_until_sent(page, url)
    events = list(parts.documents.database["events"].find({}, {"session": 1, "seq": 1}))
    last: dict[str, int] = {}
    for event in events:
        last[event["session"]] = max(last.get(event["session"], 0), event["seq"])
    session = page.evaluate("JSON.parse(localStorage.getItem('session'))")
    last[session["id"]] = max(last.get(session["id"], 0), session["seq"])
    different = {(event["session"], event["seq"]) for event in events}
    return EventCounts(sum(last.values()), len(events), len(different))


def _send_twice(route: Route) -> None:
    try:
        route.fetch()
        route.fulfill(response=route.fetch())
    except Exception:
        try:
            route.abort()
        except Exception:
            pass


def _change_page(page: Page, url: str, rng: random.Random) -> None:
    try:
        cards = page.locator(".card")
        if rng.random() < 0.4 and cards.count():
            cards.nth(rng.randrange(cards.count())).click(timeout=2_000, no_wait_after=True)
        elif rng.random() < 0.3:
            page.reload(timeout=10_000, wait_until="commit")
        else:
            page.goto(f"{url}{rng.choice(('/', '/search?q=movie', '/you'))}", timeout=10_000, wait_until="commit")
    except Exception:
        pass
    page.wait_for_timeout(rng.choice((30, 100, 300)))


def _wait_until_sent(page: Page, url: str) -> None:
    page.goto(f"{url}/")
    for _ in range(240):  # Batches sent twice exhaust the rate limit, which delays the rest by up to a minute.
        page.evaluate(_FLUSH)
        if not page.evaluate(_WAITING):
            return
        page.wait_for_timeout(500)
