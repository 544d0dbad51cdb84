"""The app in a real browser: installation, consent, the player, offline use, and pages without JavaScript."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from playwright.sync_api import Browser, BrowserContext, Page, expect
from tests.app.visit import App, movie_path
from tests.page.conftest import browser
from tests.servers.movie_service import MOVIES
from tests.support.waiting import wait_until

__all__ = ["browser"]
pytestmark = pytest.mark.servers
WAITING = "Object.keys(localStorage).filter((key) => key.startsWith('event:')).length"
PHONE: dict[str, Any] = {"viewport": {"width": 412, "height": 839}, "is_mobile": True, "has_touch": True}
SKIPPED = "Transition was skipped"
"""Message of Chromium's rejection when a navigation begins before the animation of the previous one."""
MINIMUM = 48
"""Smallest side of a touch target in CSS pixels."""

LAYOUT_SHIFT = """new Promise((done) => {
    new PerformanceObserver((list) => done(list.getEntries())).observe({type: "layout-shift", buffered: true});
    setTimeout(done, 300, []);
}).then((entries) => entries.reduce((sum, entry) => sum + entry.value, 0))"""


@pytest.fixture
def phone(browser: Browser) -> Iterator[BrowserContext]:
    context = browser.new_context(**PHONE)
    yield context
    context.close()


@pytest.fixture
def page(phone: BrowserContext) -> Iterator[Page]:
    """Open a page; afterwards its console must be clean."""
    opened, errors = phone.new_page(), []
    opened.on("console", lambda message: errors.append(message.text) if message.type in ("error", "warning") else None)
    # app.js ignores the rejection of a skipped view transition; nothing can while a page has not yet loaded app.js.
    opened.on("pageerror", lambda error: None if error.message == SKIPPED else errors.append(str(error)))
    yield opened
    # Without a network the browser itself reports each request that fails.
    assert [text for text in errors if "ERR_INTERNET_DISCONNECTED" not in text] == []


def allow(app: App, page: Page) -> str:
    """Consent to analytics; return the user id."""
    page.goto(f"{app.url}/you")
    page.get_by_role("button", name="Allow").click()
    expect(page.get_by_role("button", name="Stop, and delete the records")).to_be_visible()
    return str(page.locator("[data-user]").get_attribute("data-user"))


def test_app_can_be_installed(app: App, phone: BrowserContext, page: Page) -> None:
    """Chromium finds nothing missing but that the test's profile is private, and no error in the manifest."""
    page.goto(f"{app.url}/")
    page.wait_for_function("navigator.serviceWorker.ready.then(() => true)")
    session = phone.new_cdp_session(page)
    errors = session.send("Page.getInstallabilityErrors")["installabilityErrors"]
    assert [error["errorId"] for error in errors if error["errorId"] != "in-incognito"] == []
    assert session.send("Page.getAppManifest")["errors"] == []


def test_first_visit_stays_within_its_budget(app: App, phone: BrowserContext, page: Page) -> None:
    """At most 60 kB in 30 requests to the app alone, and nothing moves while the page loads (Lighthouse's limit)."""
    session, received = phone.new_cdp_session(page), list[int]()
    requests: list[str] = []
    session.send("Network.enable")
    session.on("Network.loadingFinished", lambda event: received.append(int(event["encodedDataLength"])))
    page.on("request", lambda request: requests.append(request.url))
    page.goto(f"{app.url}/")
    page.wait_for_load_state("networkidle")
    assert len(received) >= 5
    assert sum(received) <= 60_000
    assert len(requests) <= 30
    assert all(url.startswith(app.url) for url in requests)
    assert page.evaluate(LAYOUT_SHIFT) < 0.1


def test_nothing_is_recorded_before_consent(app: App, page: Page) -> None:
    """Without an answer, and after a no, no event is on the device or on its way."""
    sent: list[str] = []
    page.on("request", lambda request: sent.append(request.url) if "/api/events" in request.url else None)
    page.goto(f"{app.url}/")
    page.locator(".card").first.click()
    page.wait_for_url("**/movie/**")
    page.goto(f"{app.url}/")
    page.get_by_role("button", name="No").click()
    page.wait_for_load_state("load")
    page.wait_for_timeout(1_200)
    assert page.evaluate(WAITING) == 0
    assert sent == []


def test_walk_records_each_step_with_its_recommendation(app: App, page: Page) -> None:
    """Seen, opened, rated, played: each event once, without a gap, with the list it belongs to."""
    user_id = allow(app, page)
    page.goto(f"{app.url}/")
    page.wait_for_timeout(1_300)
    first = page.locator(".card[data-recommendation]").first
    recommendation = first.get_attribute("data-recommendation")
    first.click()
    page.wait_for_url("**/movie/**")
    page.get_by_role("button", name="4 stars").click()
    page.wait_for_url("**rated=4")
    page.get_by_role("link", name="Play").click()
    page.wait_for_url("**/watch/**")
    page.goto(f"{page.url}?pace=30")
    page.get_by_role("button", name="Play").click()
    wait_until(lambda: int(page.locator("output").inner_text().split()[0]) >= 3)
    page.get_by_role("button", name="Pause").click()
    events = app.documents.database["events"]
    wait_until(lambda: page.evaluate(WAITING) == 0)
    rows = list(events.find({"user_id": user_id}).sort("seq", 1))
    assert [row["seq"] for row in rows] == list(range(1, len(rows) + 1))
    of_list = {row["name"] for row in rows if row.get("recommendation") == recommendation}
    assert {"movies_seen", "movie_opened", "movie_rated", "play_started"} <= of_list
    minutes = [record for record in app.movies.records_of(user_id) if "/data/m/" in record]
    assert minutes == [f"GET /data/m/{MOVIES[0]}/{minute}.mpg" for minute in range(len(minutes))]


def test_failed_runs_of_the_package_are_reported_with_consent_only(app: App, page: Page) -> None:
    """The Android package hands them to any page; before consent they are dropped, afterwards stored as events."""
    hand_over = "trackExits([{reason: 'crash', exited: 1700000000000}])"
    page.goto(f"{app.url}/you")
    page.wait_for_function("globalThis.trackExits !== undefined")
    assert page.evaluate(hand_over) is False
    assert page.evaluate(WAITING) == 0
    page.get_by_role("button", name="Allow").click()
    expect(page.get_by_role("button", name="Stop, and delete the records")).to_be_visible()
    user_id = page.locator("[data-user]").get_attribute("data-user")
    page.wait_for_function("globalThis.trackExits !== undefined")
    assert page.evaluate(hand_over) is True
    wait_until(lambda: page.evaluate(WAITING) == 0)
    (row,) = app.documents.database["events"].find({"user_id": user_id, "name": "app_exited"})
    assert row["props"] == {"reason": "crash", "exited": 1_700_000_000_000}


def test_skipped_view_transition_is_no_error_of_the_session(app: App, page: Page) -> None:
    """A session with fast navigation is not a failed one; any other unhandled rejection still is reported."""
    user_id = allow(app, page)
    page.wait_for_function("globalThis.trackExits !== undefined")
    page.evaluate(f"void Promise.reject(new DOMException('{SKIPPED}', 'AbortError'))")
    page.evaluate(
        "dispatchEvent(new PromiseRejectionEvent('unhandledrejection', {promise: Promise.resolve(), reason: 'x'}))"
    )
    wait_until(lambda: page.evaluate(WAITING) == 0)
    rows = app.documents.database["events"].find({"user_id": user_id, "name": "error"})
    assert [row["props"] for row in rows] == [{"kind": "promise", "text": "x"}]


def test_offline_pages_and_events_wait_for_the_network(app: App, phone: BrowserContext, page: Page) -> None:
    """Home and posters are there without a network, an unknown page says why, and no event is lost."""
    user_id = allow(app, page)
    page.goto(f"{app.url}/")
    page.wait_for_function("navigator.serviceWorker.controller !== null")
    page.goto(f"{app.url}/")
    page.wait_for_timeout(500)
    wait_until(lambda: page.evaluate(WAITING) == 0)
    phone.set_offline(True)
    page.goto(f"{app.url}/")
    assert page.locator(".card").count() >= 20
    assert page.evaluate("[...document.images].filter((image) => image.complete && image.naturalWidth).length") > 0
    page.goto(f"{app.url}/search?q=never")
    expect(page.get_by_role("status")).to_contain_text("You are offline")
    assert page.evaluate(WAITING) >= 2
    phone.set_offline(False)
    page.goto(f"{app.url}/")
    wait_until(lambda: page.evaluate(WAITING) == 0)
    numbers = sorted(row["seq"] for row in app.documents.database["events"].find({"user_id": user_id}))
    assert numbers == list(range(1, len(numbers) + 1))


def test_forget_clears_the_browser(app: App, phone: BrowserContext, page: Page) -> None:
    """No cookie and no storage remain."""
    user_id = allow(app, page)
    page.get_by_role("button", name="Delete everything").click()
    page.wait_for_url("**/you/gone")
    assert phone.cookies() == []
    assert page.evaluate("Object.keys(localStorage)") == []
    assert app.count("devices", user_id=user_id) == 0


def test_screens_fit_a_phone_and_have_names(app: App, page: Page) -> None:
    """Nothing overflows, targets are large enough to touch, and each control and picture has a name."""
    unnamed = """[...document.querySelectorAll("button, a, input:not([type=hidden]), img")].filter((element) =>
        !(element.getAttribute("aria-label") || element.textContent.trim() || element.labels?.length
          || element.hasAttribute("alt") || element.querySelector("img[alt]:not([alt=''])"))).length"""
    small = f"""[...document.querySelectorAll("button, nav a, .card, .button, .play, input:not([type=hidden])")].filter(
        (element) => element.checkVisibility() && Math.min(element.offsetWidth, element.offsetHeight) < {MINIMUM}
    ).map((element) => element.outerHTML)"""
    for path in ("/", movie_path(MOVIES[2]), f"/watch/{MOVIES[2]}", "/search?q=a", "/you", "/offline"):
        page.goto(f"{app.url}{path}")
        assert page.evaluate("document.documentElement.scrollWidth") == 412, path
        assert (page.locator("h1").count(), page.locator("main").count()) == (1, 1), path
        assert page.evaluate(small) == [], path
        assert page.evaluate(unnamed) == 0, path


def test_app_without_javascript_does_the_same(app: App, browser: Browser) -> None:
    """Consent, search, list, rating and playing are forms."""
    context = browser.new_context(**PHONE, java_script_enabled=False)
    page = context.new_page()
    page.goto(f"{app.url}/")
    page.get_by_role("button", name="No").click()
    page.goto(f"{app.url}/you")
    user_id = str(page.locator("[data-user]").get_attribute("data-user"))
    page.goto(f"{app.url}/search?q={MOVIES[5].split('+')[0]}")
    page.locator(f".card[data-movie='{MOVIES[5]}']").click()
    page.get_by_role("button", name="Add to your list").click()
    page.get_by_role("button", name="5 stars").click()
    page.get_by_role("link", name="Play").click()
    page.get_by_role("button", name="Watch the next minute").click()
    expect(page.locator("output")).to_have_text("1")
    assert app.movies.records_of(user_id)[1:] == [f"GET /rate/{MOVIES[5]}=5", f"GET /data/m/{MOVIES[5]}/0.mpg"]
    page.goto(f"{app.url}/")
    expect(page.get_by_role("heading", name="Your list")).to_be_visible()
    context.close()
