import json
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lineclear.wire.splice import elements, encoded, join, join_elements, top_level

ODD = (
    '{ "temperature" : 0.70 , "big":12345678901234567890123, "é\\u0301":"\\ud83d\\ude00 \\/", "e" : 1E+2, '
    '"list":[1 , {"b":  2 }]}'
)


def test_values_keep_every_byte_and_their_order() -> None:
    values = top_level(ODD.encode())
    assert [bytes(value) for value in values.values()] == [
        b"0.70",
        b"12345678901234567890123",
        b'"\\ud83d\\ude00 \\/"',
        b"1E+2",
        b'[1 , {"b":  2 }]',
    ]
    assert list(values) == ["temperature", "big", "é\u0301", "e", "list"]
    assert b'"temperature":0.70,' in join(values)


def test_a_changed_value_changes_nothing_else() -> None:
    values: dict[str, bytes | msgspec.Raw] = dict(top_level(b'{"a":1.0,"model":"route","z":[ 1 ]}'))
    values["model"] = encoded('vendor "x"')
    values["new"] = b'{"k": true }'
    assert join(values) == b'{"a":1.0,"model":"vendor \\"x\\"","z":[ 1 ],"new":{"k": true }}'


def test_elements_keep_every_byte() -> None:
    parts = elements(b'[ {"a": 1.0} , "x" ,3e0]')
    assert [bytes(part) for part in parts] == [b'{"a": 1.0}', b'"x"', b"3e0"]
    assert join_elements([b"{}", *parts]) == b'[{},{"a": 1.0},"x",3e0]'


def test_a_body_that_is_no_object_is_an_error() -> None:
    with pytest.raises(msgspec.DecodeError):
        top_level(b"[1]")


@given(st.dictionaries(st.text(), st.integers() | st.text() | st.lists(st.text()), max_size=6))
@settings(max_examples=100, deadline=None)
def test_taking_apart_and_joining_means_the_same(tree: dict[str, Any]) -> None:
    assert json.loads(join(top_level(json.dumps(tree).encode()))) == tree
