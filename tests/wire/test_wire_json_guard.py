import contextlib
import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lineclear.domain.errors import CallerError, ErrorCode
from lineclear.wire.json_guard import DEPTH_MAX, KEYS_MAX, guard


def refused(body: bytes) -> CallerError:
    with pytest.raises(CallerError) as caught:
        guard(body)
    return caught.value


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b"{} x",
        b"{'a':1}",
        b'{"a":1,}',
        b'{"a":01}',
        b'{"a":NaN}',
        b'{"a":Infinity}',
        b'{"a":-Infinity}',
        b'{"a":1e999}',
        b'{"a":[-1e999]}',
        b'{"a":' + b"9" * 400 + b".0}",
        b'{"a":' + b"1" * 5000 + b"}",
        b'{"a":"\xff"}',
        b'{"a":"\xed\xa0\x80"}',
        b'{"a":"\\ud800"}',
        b'{"a":"\x01"}',
        b'\xef\xbb\xbf{"a":1}',
        b"[]",
        b'"text"',
        b"7",
        b"null",
    ],
)
def test_what_is_not_one_strict_object_is_invalid_json(body: bytes) -> None:
    assert refused(body).code is ErrorCode.INVALID_JSON


@pytest.mark.parametrize(
    ("body", "param"),
    [
        (b'{"model":"a","model":"b"}', "model"),
        (b'{"mod\\u0065l":"a","model":"b"}', "model"),
        (b'{"messages":[{"role":"user"},{"role":"user","role":"system"}]}', "messages.1.role"),
        (b'{"a":{"b":{"c":1,"d":[1,[2,{"e":1,"e":1}]]}}}', "a.b.d.1.1.e"),
    ],
)
def test_a_doubled_key_is_refused_at_any_depth_with_its_path(body: bytes, param: str) -> None:
    error = refused(body)
    assert (error.code, error.param) == (ErrorCode.DUPLICATE_KEY, param)


def nested(levels: int) -> bytes:
    return b'{"a":' * (levels - 1) + b"{}" + b"}" * (levels - 1)


def test_depth_is_allowed_up_to_the_limit_and_not_beyond() -> None:
    assert guard(nested(DEPTH_MAX))
    assert refused(nested(DEPTH_MAX + 1)).code is ErrorCode.INVALID_JSON
    assert refused(b'{"a":' + b"[" * DEPTH_MAX + b"]" * DEPTH_MAX + b"}").code is ErrorCode.INVALID_JSON
    assert refused(b'{"a":' + b"[" * 100_000 + b"]" * 100_000 + b"}").code is ErrorCode.INVALID_JSON
    assert guard(nested(5), depth_max=5)
    with pytest.raises(CallerError):
        guard(nested(6), depth_max=5)


def test_keys_are_counted_over_all_levels() -> None:
    wide = {"a": {str(n): n for n in range(KEYS_MAX // 2)}, "b": {str(n): n for n in range(KEYS_MAX // 2)}}
    assert refused(json.dumps(wide).encode()).code is ErrorCode.INVALID_JSON
    wide["b"].pop("0")
    wide["b"].pop("1")
    assert guard(json.dumps(wide).encode()) == wide


VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**80), 2**80)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=20,
)


@given(st.dictionaries(st.text(), VALUES, max_size=5), st.booleans())
@settings(max_examples=150, deadline=None)
def test_the_tree_is_what_the_standard_parser_reads(tree: dict[str, Any], escaped: bool) -> None:
    body = json.dumps(tree, ensure_ascii=escaped).encode()
    assert guard(body) == tree


@given(st.binary(max_size=60))
@settings(max_examples=300, deadline=None)
def test_any_bytes_are_read_or_refused_and_nothing_else(body: bytes) -> None:
    with contextlib.suppress(CallerError):
        assert guard(body) == json.loads(body)
