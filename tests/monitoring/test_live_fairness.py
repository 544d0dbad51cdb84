"""Live fairness by release and arm: known gaps and exposure, repeated runs, and no attribute of a user in any table."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import numpy as np
import pytest
from tests.servers.customers import CustomerServer
from tests.serving.models import make_movie_id, release_model, two_group_model
from tests.support.records import rows

from marquee.data.side_information import SideInformation
from marquee.db.pool import Database
from marquee.evaluation import exposure
from marquee.models.cohort_preferences import with_cohorts
from marquee.monitoring.fairness_measures import UserSums, measure_groups
from marquee.monitoring.live_fairness import LiveFairness
from marquee.monitoring.served_prediction import Predictor
from marquee.monitoring.user_demographics import UserDemographics
from marquee.registry.object_store.file_store import FileStore
from marquee.serving.customer_client import CustomerClient

pytestmark = pytest.mark.servers

NOON = datetime(2026, 3, 20, 12, tzinfo=UTC)
KNOWN, NEW = range(1000, 1030), range(1, 31)


@pytest.fixture
def database(each_database: Database) -> Database:
    return each_database


@pytest.fixture
def version(store: FileStore) -> str:
    """Return the version of a released model that knows thirty users; even movies are comedies."""
    movies = {make_movie_id(item): {"genres": "Comedy" if item % 2 == 0 else ""} for item in range(60)}
    model = with_cohorts(two_group_model(n_users=30), SideInformation({}, movies))
    return release_model(store, model, NOON - timedelta(days=5))


@pytest.fixture
def fairness(store: FileStore) -> LiveFairness:
    return LiveFairness(Predictor(store).load_engine)


def insert_predictions(database: Database, version: str, users: range, error: float, hours_ago: float = 2) -> None:
    """Insert two ratings of each user, whose predictions are off by ``error``."""
    with database.transaction() as cursor:
        cursor.execute(
            'INSERT INTO predictions (time, topic_key, partition, "offset", user_id, movie_id, rating, arm, '
            "model_version, release, source, predicted) "
            "SELECT %s, 1, n, u * 100 + %s, u::text, 'a+1', 3, 'control', %s, 1, 'computed', 3 + %s "
            "FROM generate_series(%s, %s) AS u, generate_series(1, 2) AS n",
            (NOON - timedelta(hours=hours_ago), round(hours_ago * 4), version, error, users[0], users[-1]),
        )


def insert_impressions(database: Database, version: str, users: range, items: list[int], hours_ago: float = 2) -> None:
    """Insert a list of ``items`` for each user."""
    movies = ", ".join(
        f'{{"movie_id": "{make_movie_id(i)}", "score": 1.0, "rating": 3.0, "propensity": 1.0}}' for i in items
    )
    with database.transaction() as cursor:
        cursor.execute(
            "INSERT INTO impressions (time, id, user_id, arm, model_version, release, tier, movies) "
            "SELECT %s, u::text || %s, u::text, 'control', %s, 1, 'popular', %s FROM generate_series(%s, %s) AS u",
            (NOON - timedelta(hours=hours_ago), f"-{hours_ago}", version, f"[{movies}]", users[0], users[-1]),
        )


VALUES = """
SELECT metric, kind, group_name, value, users, sample, low, high FROM live_fairness
WHERE time = %s AND arm = 'control' AND release = 1"""


def read_values(database: Database, end: datetime = NOON) -> dict[tuple[str, str, str], float]:
    """Return the values of the day that ends at ``end``."""
    return {(metric, kind, group): value for metric, kind, group, value, *_ in rows(database, VALUES, end)}


def test_update_known_errors_give_rmse_and_gap(database: Database, version: str, fairness: LiveFairness) -> None:
    """Users with a history are off by 1 and new ones by 2: RMSE 1 and 2, a gap of 1, and their total."""
    insert_predictions(database, version, KNOWN, 1.0)
    insert_predictions(database, version, NEW, 2.0)
    assert fairness.update(database, NOON) > 0
    assert read_values(database) == {
        ("rmse", "", ""): pytest.approx(2.5**0.5),
        ("rmse", "activity", "1-50 ratings"): 1.0,
        ("rmse", "activity", "no rating before"): 2.0,
        ("rmse_gap", "activity", ""): 1.0,
        ("unknown_share", "activity", ""): 0.0,
    }
    (gap,) = (row for row in rows(database, VALUES, NOON) if row[0] == "rmse_gap")
    assert (gap[4], gap[5], gap[6], gap[7]) == (60, 120, 1.0, 1.0)


def test_update_small_group_has_no_row(database: Database, version: str, fairness: LiveFairness) -> None:
    """Nineteen users are too few for a row of their own, and there is then no gap."""
    insert_predictions(database, version, KNOWN, 1.0)
    insert_predictions(database, version, NEW[:19], 2.0)
    fairness.update(database, NOON)
    assert set(read_values(database)) == {
        ("rmse", "", ""),
        ("rmse", "activity", "1-50 ratings"),
        ("unknown_share", "activity", ""),
    }


def test_update_exposure_matches_hand_calculation(database: Database, version: str, fairness: LiveFairness) -> None:
    """One list of two comedies and a movie without genre for all: shares by position, and the Gini of all 60 movies."""
    insert_impressions(database, version, KNOWN, [0, 1, 2])
    fairness.update(database, NOON)
    values = read_values(database)
    discounts = 1 / np.log2([2, 3, 4])
    expected = np.zeros(60)
    expected[:3] = discounts
    assert values["exposure_gini", "", ""] == pytest.approx(exposure.gini(expected))
    assert values["exposure_top", "", ""] == pytest.approx(expected.max() / expected.sum())
    comedies = (discounts[0] + discounts[2]) / discounts.sum()
    assert values["exposure_share", "genre", "comedy"] == pytest.approx(comedies)
    assert values["exposure_share", "genre", "unknown"] == pytest.approx(1 - comedies)
    popularity = [value for (_, kind, _), value in values.items() if kind == "popularity"]
    assert sum(popularity) == pytest.approx(1)
    assert values["exposure_share", "popularity", "head"] == pytest.approx(1)


def test_update_liked_movies_give_ndcg_and_gap(database: Database, version: str, fairness: LiveFairness) -> None:
    """Users with a history like the first movie of their list, and new ones the second and one that is not listed."""
    insert_impressions(database, version, range(1, 1031), [0, 1, 2])
    liked = [(1.0, user, 0, 4) for user in KNOWN] + [(1.0, user, item, 4) for user in NEW for item in (1, 9)]
    # Neither a low rating counts nor one of before the list.
    liked += [(hours_ago, user, 2, rating) for user in KNOWN for hours_ago, rating in ((1.0, 3), (3.0, 5))]
    with database.transaction() as cursor:
        cursor.executemany(
            'INSERT INTO ratings (time, topic_key, partition, "offset", user_id, movie_id, rating) '
            "VALUES (%s, 1, 0, %s, %s, %s, %s)",
            [
                (NOON - timedelta(hours=hours_ago), at, str(user), make_movie_id(item), rating)
                for at, (hours_ago, user, item, rating) in enumerate(liked)
            ],
        )
    fairness.update(database, NOON)
    discounts = 1 / np.log2([2, 3])
    new = discounts[1] / discounts.sum()
    values = read_values(database)
    assert values["ndcg", "activity", "1-50 ratings"] == 1.0
    assert values["ndcg", "activity", "no rating before"] == pytest.approx(new)
    assert values["ndcg_gap", "activity", ""] == pytest.approx(1 - new)
    assert values["ndcg", "", ""] == pytest.approx((1 + new) / 2)
    assert values["liked_share", "", ""] == pytest.approx(60 / 1030)
    (gap,) = (row for row in rows(database, VALUES, NOON) if row[0] == "ndcg_gap")
    assert (gap[4], gap[6] <= gap[3] <= gap[7]) == (60, True)
    assert fairness.update(database, NOON) == 0


def test_update_too_few_users_left_removes_every_exposure(
    database: Database, version: str, fairness: LiveFairness
) -> None:
    """After the lists of eleven of thirty users were deleted, no figure of their exposure is left."""
    insert_impressions(database, version, KNOWN, [0, 1, 2])
    fairness.update(database, NOON)
    with database.transaction() as cursor:
        cursor.execute("DELETE FROM impressions WHERE user_id::integer >= %s", (KNOWN[19],))
    fairness.update(database, NOON)
    assert [metric for metric, _, _ in read_values(database) if metric.startswith("exposure")] == []


def test_update_second_run_writes_nothing_and_late_data_change_their_days(
    database: Database, version: str, fairness: LiveFairness
) -> None:
    """Rows are a function of the data: a run without new data writes none, another process writes the same."""
    insert_predictions(database, version, KNOWN, 1.0)
    insert_impressions(database, version, KNOWN, [0, 1, 2])
    fairness.update(database, NOON)
    before = rows(database, "SELECT * FROM live_fairness ORDER BY time, metric, kind, group_name")
    assert fairness.update(database, NOON) == 0
    insert_predictions(database, version, NEW, 2.0, hours_ago=1.5)
    changed = fairness.update(database, NOON)
    assert changed > 0
    assert read_values(database)["rmse_gap", "activity", ""] == 1.0
    early = NOON - timedelta(hours=2)
    assert [row for row in rows(database, "SELECT * FROM live_fairness ORDER BY time, metric, kind, group_name")
            if row[0] <= early] == [row for row in before if row[0] <= early]  # fmt: skip
    with database.transaction() as cursor:
        cursor.execute("DELETE FROM live_fairness")
    assert fairness.update(database, NOON) > 0


def test_update_other_arm_and_release_have_rows_of_their_own(
    database: Database, version: str, fairness: LiveFairness
) -> None:
    """A canary's errors do not count for control."""
    insert_predictions(database, version, KNOWN, 1.0)
    insert_predictions(database, version, NEW, 2.0)
    with database.transaction() as cursor:
        cursor.execute("UPDATE predictions SET arm = 'canary', release = 2 WHERE user_id::int < 100")
    fairness.update(database, NOON)
    query = "SELECT release, arm, value FROM live_fairness WHERE kind = '' AND time = %s ORDER BY 1"
    found = rows(database, query, NOON)
    assert found == [(1, "control", 1.0), (2, "canary", 2.0)]


def test_update_demographics_are_asked_and_never_stored(database: Database, version: str, store: FileStore) -> None:
    """With a customer service there are groups by gender and age; no table has a user's sex, age or id beside them."""
    with CustomerServer(max_id=60) as server:
        demographics = UserDemographics(lambda: CustomerClient(server.url, timeout_s=5))
        fairness = LiveFairness(Predictor(store).load_engine, demographics)
        insert_predictions(database, version, range(1, 61), 1.0)
        fairness.update(database, NOON)
        values = read_values(database)
        assert {kind for metric, kind, _ in values if metric == "unknown_share"} == {"activity", "gender", "age"}
        assert values["unknown_share", "gender", ""] < 1
        assert fairness.update(database, NOON) == 0
    columns = rows(
        database,
        "SELECT table_name FROM information_schema.columns WHERE table_schema = 'public' "
        "AND column_name IN ('sex', 'gender', 'age', 'occupation')",
    )
    assert columns == []
    ids = rows(database, "SELECT count(*) FROM live_fairness WHERE group_name ~ '^[0-9]+$'")
    assert ids == [(0,)]


def test_update_customer_service_down_leaves_demographics_to_a_later_run(
    database: Database, version: str, store: FileStore
) -> None:
    """The other rows are written, and a run after the service is back writes the rest."""
    insert_predictions(database, version, range(1, 61), 1.0)
    with CustomerServer(max_id=60) as server:
        urls = ["http://127.0.0.1:1", server.url]
        demographics = UserDemographics(lambda: CustomerClient(urls.pop(0), timeout_s=5))
        fairness = LiveFairness(Predictor(store).load_engine, demographics)
        fairness.update(database, NOON)
        assert {kind for _, kind, _ in read_values(database)} == {"", "activity"}
        fairness.update(database, NOON)
    assert {"gender", "age"} <= {kind for _, kind, _ in read_values(database)}


def test_update_time_is_over_leaves_other_days_to_the_next_run(
    database: Database, version: str, fairness: LiveFairness
) -> None:
    """Each run computes the newest day that is left."""
    insert_predictions(database, version, KNOWN, 1.0, hours_ago=5)
    assert fairness.update(database, NOON, budget_s=0) > 0
    assert rows(database, "SELECT DISTINCT time FROM live_fairness") == [(NOON,)]
    fairness.update(database, NOON)
    assert rows(database, "SELECT count(DISTINCT time) FROM live_fairness") == [(5,)]


def test_measure_groups_interval_covers_the_value() -> None:
    """The interval of a gap contains it, and unknown users count for the share only."""
    rng = np.random.default_rng(0)
    users = [f"u{n}" for n in range(300)]
    errors = UserSums(users, rng.gamma(2.0, 1.0, 300), np.full(300, 2.0))
    labels = ["unknown" if n < 30 else "ab"[n % 2] for n in range(300)]
    found = {(value.metric, value.group): value for value in measure_groups(errors, "gender", labels)}
    gap = found["rmse_gap", ""]
    assert gap.users == 270
    assert gap.low is not None
    assert gap.high is not None
    assert gap.low <= gap.value <= gap.high
    assert found["unknown_share", ""].value == pytest.approx(0.1)
    assert ("rmse", "unknown") not in found
