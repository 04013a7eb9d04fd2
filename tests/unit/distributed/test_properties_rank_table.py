"""Rank tables of any form."""

from __future__ import annotations

import json
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as some

from tests.fuzz import rank_table_file

many = settings(max_examples=200)


@many
@given(
    some.recursive(
        some.none() | some.sampled_from(["0", "1", "00", "9" * 5000, "a", "", "\ud800"]) | some.integers(),
        lambda inner: (
            some.lists(inner, max_size=3)
            | some.dictionaries(
                some.sampled_from(
                    [
                        "server_list",
                        "device",
                        "devices",
                        "group_list",
                        "instance_list",
                        "server_id",
                        "device_id",
                        "rank_id",
                    ]
                ),
                inner,
            )
        ),
    )
)
def test_rank_tables_of_any_form(table: Any) -> None:
    rank_table_file.one_input(json.dumps(table).encode())
