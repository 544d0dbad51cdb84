"""The playground in a real browser, with the running functions: lists, reasons, filters, comparison, accessibility."""

from __future__ import annotations

import re
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import closing

import msgspec
import pytest
from msgspec.structs import replace
from playwright.sync_api import Browser, Page, expect
from tests.page.conftest import no_alerts, serve_page
from tests.servers.function import Function
from tests.serving.models import make_movie_id, release_still_model
from tests.support.axe import find_violations

from marquee.db.migrate import migrate
from marquee.db.pool import Database
from marquee.local.embedded_postgres import EmbeddedPostgres
from marquee.local.process import free_port
from marquee.page.playground import Playground, PlaygroundSettings
from marquee.page.server import DashboardPage
from marquee.registry.object_store.file_store import FileStore
from marquee.registry.release import publish_release, read_current_release

pytestmark = pytest.mark.servers
WIDTHS = (1440, 390)


@pytest.fixture(scope="module")
def play_url(postgres: EmbeddedPostgres, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The page beside ``recommend`` and ``events``, on two releases: the second one hides the most popular movie."""
    directory = tmp_path_factory.mktemp("play")
    database_url = postgres.create_database("play")
    migrate(database_url)
    store = FileStore(directory / "objects")
    release_still_model(store)
    arm = read_current_release(store)[0].arms[0]
    hiding = replace(arm, policy=replace(arm.policy, unavailable=(make_movie_id(0),)))
    publish_release(store, lambda last: replace(last, arms=(hiding,)) if last else pytest.fail("no release"))
    env = {"MARQUEE_DATABASE_URL": database_url}
    recommend = {
        **env,
        "MARQUEE_OBJECTS_URL": f"file://{store.root}",
        "MARQUEE_CALLER_TIMEOUT_MS": "20000",
        "MARQUEE_LOOKUP_DEADLINE_MS": "5000",
    }
    with (
        Function("recommend", directory, recommend) as lists,
        Function("events", directory, env) as events,
        closing(Database(database_url, connections=4)) as database,
    ):
        addresses = PlaygroundSettings(
            f"http://127.0.0.1:{lists.port}", f"http://127.0.0.1:{events.port}", f"file://{store.root}"
        )
        with serve_page(DashboardPage(database, {}, no_alerts, playground=Playground(addresses, database))) as url:
            yield url
    postgres.drop_database("play")


@pytest.fixture
def play(browser: Browser, play_url: str) -> Iterator[Page]:
    """The playground of a new user, loaded; a message on the console or a foreign request fails the test."""
    context = browser.new_context(viewport={"width": 1440, "height": 900})
    page, problems = context.new_page(), list[str]()
    # Chromium reports each answer that is an error; the page shows its text.
    page.on("console", lambda message: None if "400 (Bad" in message.text else problems.append(message.text))
    page.on("pageerror", lambda error: problems.append(str(error)))
    page.on("request", lambda r: None if r.url.startswith((play_url, "data:")) else problems.append(r.url))
    page.goto(f"{play_url}/play")
    expect(page.locator("#status")).to_have_text(re.compile("List of user play-"), timeout=30_000)
    yield page
    context.close()
    assert problems == []


def title(item: int) -> str:
    """Return the title that the page makes of a movie's id."""
    return f"film {item}"


def rate(page: Page, item: int, stars: int) -> None:
    page.get_by_label("Find a movie").fill(title(item))
    group = page.locator("#shelf").get_by_role("group", name=f"Rate {title(item)}", exact=True)
    group.locator("label", has_text=f"{stars} of 5").click()
    expect(page.locator("#status")).to_have_text(f"{title(item)} rated {stars} of 5")


def test_rating_changes_the_list_and_its_reasons_at_once(play: Page) -> None:
    """Before it, popular movies; after it, the group of the rated movie, because of that movie, and a history."""
    expect(play.locator("#tier")).to_contain_text("popular")
    rate(play, 7, 5)
    expect(play.locator("#tier")).to_contain_text("folded-in")
    first = play.locator("#movies > li").first
    expect(first.locator("h3")).to_have_text(title(1))
    expect(first.locator(".reasons")).to_contain_text(f"Because of {title(7)} (you gave 5)")
    expect(first).to_contain_text("Predicted rating")
    expect(play.locator("#history")).to_contain_text("rated 5")
    play.reload()
    expect(play.locator("#tier")).to_contain_text("folded-in")
    assert play.locator("#movies").get_by_text(title(7), exact=True).count() == 0


def test_filters_change_the_list(play: Page) -> None:
    """A filter that no movie passes says so, and a reset brings the list back; an invalid one leaves no old list."""
    assert play.locator("#movies > li").count() == 12
    play.get_by_label("From year").fill("1995")
    expect(play.locator("#list-message")).to_be_visible()
    expect(play.locator("#movies > li")).to_have_count(0)
    play.get_by_role("button", name="Reset").click()
    expect(play.locator("#movies > li")).to_have_count(12)
    play.get_by_label("To year").fill("12")
    expect(play.locator("#status")).to_contain_text("year is")
    expect(play.locator("#list-message")).to_contain_text("year is")
    expect(play.locator("#movies > li")).to_have_count(0)


def test_similar_movies_are_in_a_dialog(play: Page) -> None:
    """It opens by the keyboard, has the movies of the same group, and Escape closes it."""
    button = play.locator("#movies").get_by_role("button", name="Similar to film 2", exact=True)
    button.focus()
    play.keyboard.press("Enter")
    dialog = play.get_by_role("dialog", name="Similar to film 2")
    expect(dialog.locator("h3").first).to_have_text(re.compile(r"film \d*[02468]$"))
    assert dialog.locator("li.card").count() == 8
    play.keyboard.press("Escape")
    expect(dialog).to_be_hidden()
    expect(button).to_be_focused()


def test_comparison_shows_what_differs(play: Page) -> None:
    """Release 2 hides the most popular movie: it is on one side only, and the others move up."""
    expect(play.get_by_label("Left")).to_have_value("2/control")
    expect(play.get_by_label("Right")).to_have_value("1/control")
    expect(play.locator("#right-list li").first).to_have_text(re.compile("film 0 only here"))
    expect(play.locator("#left-list li").first).to_have_text(re.compile("film 1 2 on the other side"))
    play.get_by_label("Right").select_option("2/control")
    expect(play.locator("#right-list li").first).to_have_text(re.compile("film 1 same place"))


def test_user_of_the_model_shows_tier_and_history(play: Page) -> None:
    """A user id shows that user's tier and source; an unknown one has no history, an invalid one says what is valid."""
    play.get_by_label("User id").fill("1001")
    play.get_by_role("button", name="Show", exact=True).click()
    expect(play.locator("#tier")).to_contain_text("personalised")
    expect(play.locator("#status")).to_have_text("List of user 1001")
    expect(play.locator("#history")).to_contain_text("The model knows this user")
    play.get_by_label("User id").fill("a,b")
    play.get_by_role("button", name="Show", exact=True).click()
    expect(play.locator("#status")).to_contain_text("The id is 'a,b': it must be 1 to 128 characters")
    play.get_by_role("button", name="New user").click()
    expect(play.locator("#history")).to_have_text("Nothing is known of this user.")


def test_user_id_that_is_none_leaves_nothing_of_the_user_before(play: Page) -> None:
    """The page says what an id is, and shows no list, tier or history."""
    rate(play, 7, 5)
    play.get_by_label("User id").fill("a,b")
    play.get_by_role("button", name="Show", exact=True).click()
    expect(play.locator("#status")).to_contain_text("The id is 'a,b': it must be 1 to 128 characters")
    for part in ("#tier", "#movies", "#history"):
        expect(play.locator(part)).to_be_empty()


def test_rating_by_the_keyboard_alone(play: Page) -> None:
    """Tab reaches the stars and an arrow key rates; the focus stays on the stars."""
    play.get_by_label("Find a movie").focus()
    play.keyboard.press("Tab")
    play.keyboard.press("Space")
    expect(play.locator("#status")).to_contain_text("rated 1 of 5")
    play.keyboard.press("ArrowRight")
    expect(play.locator("#status")).to_contain_text("rated 2 of 5")
    assert play.evaluate("document.activeElement.value") == "2"


def test_rating_by_arrow_keys_sends_the_last_one(play: Page) -> None:
    """The stars that the keys pass are no ratings, and the user's history has one."""
    sent: list[str | None] = []
    play.on("request", lambda request: sent.append(request.post_data) if request.method == "POST" else None)
    play.get_by_label("Find a movie").focus()
    play.keyboard.press("Tab")
    for _ in range(3):
        play.keyboard.press("ArrowRight")
    expect(play.locator("#status")).to_contain_text("rated 4 of 5")
    assert [msgspec.json.decode(body or "")["rating"] for body in sent] == [4]


@pytest.mark.parametrize("theme", ["light", "dark"])
@pytest.mark.parametrize("width", WIDTHS)
def test_page_is_accessible(play: Page, width: int, theme: str) -> None:
    """All controls have names and 24 pixels, text a contrast of 4.5, and headings an order; nothing overflows."""
    play.set_viewport_size({"width": width, "height": 900})
    play.evaluate(f"document.documentElement.dataset.theme = '{theme}'")
    rate(play, 3, 4)
    assert play.evaluate("document.documentElement.scrollWidth") == width
    assert play.locator("h1").count() == 1
    ids = play.evaluate("[...document.querySelectorAll('[id]')].map((node) => node.id)")
    assert len(ids) == len(set(ids))
    small = play.evaluate(
        "[...document.querySelectorAll('button, select, input:not([type=radio]), .stars label')]"
        ".filter((n) => n.checkVisibility() && (n.offsetWidth < 24 || n.offsetHeight < 24)).map((n) => n.outerHTML)"
    )
    assert small == []
    assert find_violations(play) == []


def test_events_of_other_pages_are_refused(play_url: str) -> None:
    """Another site, or a form without JSON, cannot rate in the user's name."""
    for headers in (
        {"Origin": "https://evil.test", "Content-Type": "application/json"},
        {"Content-Type": "text/plain"},
    ):
        request = urllib.request.Request(f"{play_url}/api/play/events", b"{}", headers)
        with pytest.raises(urllib.error.HTTPError, match="403"):
            urllib.request.urlopen(request)


@pytest.mark.parametrize("path", ["compare/99/control/7", "compare/1/none/7", "recommend/a,b", "recommend/7?n=0"])
def test_invalid_request_says_what_is_valid(play_url: str, path: str) -> None:
    """A release or arm that does not exist, an id that is none, and a parameter that `recommend` refuses."""
    with pytest.raises(urllib.error.HTTPError) as refused:
        urllib.request.urlopen(f"{play_url}/api/play/{path}")
    assert refused.value.code == 400
    assert msgspec.json.decode(refused.value.read())["error"]


@pytest.mark.parametrize("path", ["recommend/7", "similar/7"])
def test_function_that_is_away_is_named(path: str) -> None:
    """The page says which function does not answer."""
    away = f"http://127.0.0.1:{free_port()}"
    database = Database("postgresql://127.0.0.1:1/none")
    playground = Playground(PlaygroundSettings(away, away, "file:///nowhere"), database)
    with (
        closing(database),
        serve_page(DashboardPage(database, {}, no_alerts, playground=playground)) as url,
        pytest.raises(urllib.error.HTTPError) as refused,
    ):
        urllib.request.urlopen(f"{url}/api/play/{path}")
    assert refused.value.code == 503
    assert msgspec.json.decode(refused.value.read())["error"].startswith("recommend did not answer: ")
