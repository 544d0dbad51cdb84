"""App data of a user, as ``marquee privacy`` deletes and exports them."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from marquee.app.documents import Documents
from marquee.app.profiles import Profiles
from marquee.privacy.app_data import AppData

pytestmark = pytest.mark.servers
NOW = datetime(2026, 3, 1, tzinfo=UTC)


def test_app_data_erase_leaves_no_document_of_the_user(documents: Documents) -> None:
    """All collections are searched: nothing names the user, not even the note to the monitor; others keep theirs."""
    profiles = Profiles(documents)
    for user in ("42", "7"):
        profiles.set_consent(user, True, NOW)
        profiles.put_on_list(user, "up+2009", NOW)
        for name in ("devices", "events", "positions"):
            with documents.collection(name) as collection:
                collection.insert_one({"user_id": user, "time": NOW})
    app = AppData(documents)
    exported = app.export("42")
    assert exported["profile"]["list"] == ["up+2009"]
    assert {name: len(exported[name]) for name in ("devices", "events", "positions")} == {
        "devices": 1,
        "events": 1,
        "positions": 1,
    }
    assert app.erase("42") == {
        "app.events": 1,
        "app.profiles": 1,
        "app.positions": 1,
        "app.join_codes": 0,
        "app.devices": 1,
    }
    assert app.erase("42")["app.events"] == 0
    held = []
    for name in documents.database.list_collection_names():
        held += [(name, str(document)) for document in documents.database[name].find()]
    assert not [document for _, document in held if "'42'" in document]
    assert len([document for _, document in held if "'7'" in document]) == 4
