"""Tests of the users' attributes: none is a feature unless it is named."""

from __future__ import annotations

from pathlib import Path

import msgspec
import numpy as np
import pytest

from marquee.data.side_information import USER_ATTRIBUTES, SideInformation
from marquee.errors import SettingsError
from marquee.training.params import Params

USERS = {
    "ann": {"genres": "Drama|Horror", "age": "31", "gender": "F", "occupation": "writer", "zip": "90210"},
    "bob": {"genres": "Drama", "age": "52", "gender": "M", "occupation": "writer", "zip": "90001"},
}


def test_user_blocks_only_named_attributes_are_features() -> None:
    """Users who differ in age and sex alone are the same to a model that may not know these."""
    side_information = SideInformation(USERS)
    (block,) = side_information.user_blocks(["ann", "bob", "eve"], ["occupation", "zip"])
    np.testing.assert_array_equal(block, [[1, 1], [1, 1], [0, 0]])
    assert side_information.user_blocks(["ann", "bob"], []) == ()
    assert side_information.user_blocks(["ann"])[0].shape == (1, 6)


def test_user_blocks_declared_genres_come_first() -> None:
    """Each user's genres have length 1 together."""
    (block,) = SideInformation(USERS).user_blocks(["ann", "bob"], ["gender", "genres"])
    half = 0.5**0.5
    np.testing.assert_allclose(block, np.array([[half, half, 1.0, 0.0], [1.0, 0.0, 0.0, 1.0]]))


def test_params_age_and_sex_are_off_by_default() -> None:
    """The shipped parameters name declared genres alone."""
    assert Params.read(Path("params.yaml")).data.user_attributes == ["genres"]


def test_params_unknown_attribute_is_refused(tmp_path: Path) -> None:
    """The message has the wrong name and the valid ones."""
    values = msgspec.to_builtins(Params.read(Path("params.yaml")))
    values["data"]["user_attributes"] = ["genres", "shoe_size"]
    path = tmp_path / "params.yaml"
    path.write_bytes(msgspec.yaml.encode(values))
    with pytest.raises(SettingsError, match=f"shoe_size; use some of {', '.join(USER_ATTRIBUTES)}"):
        Params.read(path)
