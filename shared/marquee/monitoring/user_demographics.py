"""Sex and age band of users from the customer service, in memory only."""

from __future__ import annotations

import logging
from collections import OrderedDict
from collections.abc import Callable, Sequence
from contextlib import closing

from marquee.errors import CustomersUnavailable
from marquee.evaluation import user_groups
from marquee.serving.customer_client import BULK, CustomerClient

MAX_CACHED = 50_000
_log = logging.getLogger(__name__)


class UserDemographics:
    """Groups of users by sex and age. Nothing is stored: the cache ends with the process. Not thread-safe."""

    def __init__(self, connect: Callable[[], CustomerClient]) -> None:
        self._connect = connect
        self._cache: OrderedDict[str, tuple[str, str]] = OrderedDict()

    def label(self, user_ids: Sequence[str]) -> dict[str, list[str]] | None:
        """Return the groups of the users by kind, in order; None if the service did not answer for all of them."""
        missing = [user_id for user_id in user_ids if user_id not in self._cache]
        if missing and not self._look_up(missing):
            return None
        found = [self._cache[user_id] for user_id in user_ids]
        while len(self._cache) > MAX_CACHED:
            self._cache.popitem(last=False)
        return {
            user_groups.GENDER: [gender for gender, _ in found],
            user_groups.AGE: [age for _, age in found],
        }

    def _look_up(self, user_ids: Sequence[str]) -> bool:
        """Look up the users, and return True if the service answered all calls."""
        with closing(self._connect()) as client:
            for start in range(0, len(user_ids), BULK):
                part = user_ids[start : start + BULK]
                try:
                    customers = client.users(part)
                except CustomersUnavailable as error:
                    _log.warning("Groups by sex and age are left to a later run: %s", error)
                    return False
                for user_id in part:
                    customer = customers.get(user_id)
                    gender = customer.gender if customer and customer.gender else user_groups.UNKNOWN
                    age = str(customer.age) if customer and customer.age is not None else ""
                    self._cache[user_id] = (gender, user_groups.age_band(age))
        return True
