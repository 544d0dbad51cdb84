"""App data of a user, as ``marquee privacy`` deletes and exports them."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from marquee.app.devices import Devices
from marquee.app.documents import Documents
from marquee.app.positions import Positions
from marquee.app.profiles import Profiles
from marquee.app.user_documents import erase_user, export_user

pytestmark = pytest.mark.servers
NOW = datetime(2026, 3, 1, tzinfo=UTC)


def test_app_data_erase_leaves_no_document_of_the_user(documents: Documents) -> None:
    """All collections are searched: nothing names the user, not even the note to the monitor; others keep theirs."""
    for user in ("42", "7"):
        Devices(documents).add(user, NOW)
        Positions(documents).write(user, "up+2009", 3, NOW)
        Profiles(documents).set_consent(user, True, NOW)
        Profiles(documents).put_on_list(user, "up+2009", NOW)
    exported = export_user(documents, "42")
    assert exported["profile"]["list"] == ["up+2009"]
    assert [exported["positions"][0]["minute"], len(exported["devices"])] == [3, 1]
    erased = {"app.events": 0, "app.profiles": 1, "app.positions": 1, "app.join_codes": 0, "app.devices": 1}
    assert erase_user(documents, "42") == erased
    assert erase_user(documents, "42") == dict.fromkeys(erased, 0)
    held = []
    for name in documents.database.list_collection_names():
        held += [(name, str(document)) for document in documents.database[name].find()]
    assert not [document for _, document in held if "'42'" in document]
    assert len([document for _, document in held if "'7'" in document]) == 3
