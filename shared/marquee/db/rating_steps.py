"""Step of the rating scale, of which the tables hold multiples: 3.5 stars on a scale of half stars are 7.

So the columns ``rating`` are whole numbers on every scale. Queries multiply by the SQL function ``rating_step()``, a
constant of the database.
"""

from __future__ import annotations

from contextlib import closing

from marquee.db.pool import Database
from marquee.errors import MigrationError

_SET = """
DROP FUNCTION rating_step();
CREATE FUNCTION rating_step() RETURNS {type} LANGUAGE sql IMMUTABLE PARALLEL SAFE AS 'SELECT {step:g}::{type}'"""


def set_rating_step(url: str, step: float) -> bool:
    """Set the step of the database at ``url``; return whether it was another one.

    Raises :class:`MigrationError` if there are ratings, which have the other step.
    """
    with closing(Database(url, statement_timeout_ms=0)) as database, database.transaction() as cursor:
        # No rating is written until the step is set.
        cursor.execute("LOCK TABLE ratings IN SHARE MODE")
        cursor.execute("SELECT rating_step()::float8, EXISTS (SELECT FROM ratings)")
        ((stored, rated),) = cursor.fetchall()
        if stored == step:
            return False
        if rated:
            raise MigrationError(
                f"the ratings of the database are multiples of {stored:g}, MARQUEE_RATING_SCALE has steps of {step:g}: "
                "restore the setting, or use an empty database"
            )
        cursor.execute(_SET.format(type="integer" if step == 1 else "double precision", step=step))
    return True
