"""The ids that training takes are those that serving takes."""

from hypothesis import example, given
from hypothesis import strategies as st

from marquee.config.opaque_ids import is_valid_id
from marquee.errors import InvalidUserId
from marquee.serving.user_id import check_user_id


@given(st.text(st.characters(), max_size=140))
@example("a,b")
@example("a/b")
@example("")
@example("a\x7f")
@example("\ud800")
@example("\ufffd")
@example("\u2028")
@example("u" * 128)
@example("u" * 129)
@example("u-42")
def test_is_valid_id_agrees_with_serving(text: str) -> None:
    """A user whom a model was trained on is never refused, and the reverse."""
    try:
        served = check_user_id(text) == text
    except InvalidUserId:
        served = False
    assert is_valid_id(text) == served
