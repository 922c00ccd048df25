"""Guardrails on what a model answers: frames wait until their text can no longer turn out to be forbidden.

In: frames of a stream, or a whole answer, with its events. Out: the bytes that may go on. What a rule blocks is never
sent; frames without a finding go out as they came. Fails closed: what cannot be checked does not pass, and what stands
beside the events (`gateway.beside`) is blocked where a rule would take it out.
"""

import asyncio
from collections import deque
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from typing import Final

import msgspec

from lineclear.checks.finding import Finding
from lineclear.checks.window import TEXT_CHARS, Span, Window, masked, merge
from lineclear.domain.errors import CallerError
from lineclear.domain.exchange import (
    Dialect,
    Event,
    Frame,
    ReasoningDelta,
    RefusalDelta,
    TextDelta,
    ToolArgumentsDelta,
    ToolCallStarted,
)
from lineclear.domain.guardrails import GuardrailAction
from lineclear.gateway.beside import Beside, TooMuch, texts_beside
from lineclear.gateway.guardrails import Checks, blocked, is_block
from lineclear.gateway.unescape import Unescape
from lineclear.wire.leaves import SaidTwice
from lineclear.wire.masking import NotReplaced, replace_in_body, replace_in_frame

HELD_BYTES_MAX: Final = 1024 * 1024
"""A stream that is held back further, or a whole answer longer than this, cannot be checked and is blocked."""
EVENT_TEXTS_MAX: Final = 1_024
"""Pieces of text in one frame, which is checked without others in between; a frame with more is blocked."""
CHANNELS_MAX: Final = 1_024
"""Texts that grow in one answer: choices, blocks, tool calls. An answer with more is blocked."""
SLICE_CHARS: Final = 16 * 1024
"""Of a whole answer, checked at a stretch; the loop serves others in between."""
TRY_ANOTHER: Final = "ask for something else, or ask the route's team what its guardrails allow"


class _Part(msgspec.Struct, frozen=True, gc=False):
    """A piece of one channel's text, in one frame."""

    channel: "_Channel"
    start: int
    text: str

    @property
    def end(self) -> int:
        return self.start + len(self.text)


class _Held(msgspec.Struct, frozen=True, gc=False):
    raw: bytes
    parts: tuple[_Part, ...]


class _Channel:
    """One growing text of an answer: a block, a choice, a tool call's arguments."""

    __slots__ = (
        "_marks",
        "_said_chars",
        "_unescape",
        "fed_chars",
        "is_answer",
        "settled_chars",
        "spans",
        "text",
        "window",
    )

    def __init__(self, checks: Checks, event: Event) -> None:
        self.is_answer = isinstance(event, TextDelta)
        self._unescape = Unescape() if isinstance(event, ToolArgumentsDelta) else None
        """Arguments are JSON: what they say is read without its escapes, and has other places."""
        self._said_chars = 0
        self._marks: deque[tuple[int, int]] = deque()
        """Ends of pieces: how much must be settled of what is said, and of the text as it came, by then."""
        self.window = Window(checks.detectors) if checks.detectors else None
        self.text: list[str] | None = [] if checks.schemas and self.is_answer else None
        """Kept where a schema needs all of it."""
        self.fed_chars = 0
        self.settled_chars = 0
        self.spans: tuple[Span, ...] = ()

    def take(self, piece: str, *, is_last: bool) -> Sequence[Finding]:
        self.fed_chars += len(piece)
        if self.text is not None:
            self.text.append(piece)
        if self.window is None:
            self.settled_chars = self.fed_chars
            return ()
        if self._unescape is None:
            taken = self.window.take(piece, is_last=is_last)
            self.settled_chars = taken.settled_chars
            return taken.findings
        said = self._unescape.take(piece, is_last=is_last)
        self._said_chars += len(said)
        taken = self.window.take(said, is_last=is_last)
        self._marks.append((self._said_chars + bool(self._unescape.waiting), self.fed_chars))
        while self._marks and self._marks[0][0] <= taken.settled_chars:
            self.settled_chars = self._marks.popleft()[1]
        return taken.findings

    @property
    def is_arguments(self) -> bool:
        return self._unescape is not None


class Withheld:
    """One answer on its way through the output rules."""

    __slots__ = (
        "_beside",
        "_channels",
        "_checks",
        "_dialect",
        "_has_tools",
        "_held",
        "_held_bytes",
        "_output_bytes",
        "blocked",
        "flags",
    )

    def __init__(self, checks: Checks, dialect: Dialect) -> None:
        self._checks = checks
        self._dialect = dialect
        self._beside = Beside(checks) if checks.detectors else None
        self._channels: dict[tuple[type, int], _Channel] = {}
        self._held: deque[_Held] = deque()
        self._held_bytes = 0
        self._output_bytes = 0
        self._has_tools = False
        self.blocked: CallerError | None = None
        """Set once a rule has blocked the answer; nothing goes on from then."""
        self.flags: dict[str, None] = {}
        """Rules that flagged or redacted, in order."""

    def pass_on(self, frames: Iterable[Frame], *, is_over: bool) -> bytes:
        """Take frames in; returns those that may go on now. With `is_over` no text follows."""
        for frame in frames:
            self._take(frame)
        if is_over and self.blocked is None:
            self._settle()
        if self._held_bytes > HELD_BYTES_MAX and self.blocked is None:
            self._block(self._checks.ids, "the answer cannot be checked within 1 MiB")
        return b"" if self.blocked is not None else self._released(is_over=is_over)

    def look_at_end(self, frame: Frame) -> None:
        """Check a frame that goes out last of all, once the settle is on record: nothing of it is edited or held."""
        if self._beside is not None and self.blocked is None and not self._is_too_large(frame):
            self._judge_beside(self._beside.frame(frame.raw, ()))

    async def whole(self, body: bytes, events: Iterable[Event]) -> bytes:
        """Check a whole answer; returns it, without what was redacted. Empty if it is blocked."""
        parts: list[_Part] = []
        for event in events:
            text = self._text(event)
            for at in range(0, len(text), SLICE_CHARS):
                self._feed(event, text[at : at + SLICE_CHARS])
                if len(text) > SLICE_CHARS:
                    await asyncio.sleep(0)
            if self.blocked is not None:
                return b""
            if text:
                channel = self._channels[type(event), _block_of(event)]
                parts.append(_Part(channel, channel.fed_chars - len(text), text))
        self._settle()
        if self.blocked is None and self._checks.detectors:
            await self._look_beside(body, {part.text for part in parts})
        return b"" if self.blocked is not None else self._edited(body, tuple(parts), replace_in_body)

    def block_unread(self) -> None:
        """The answer is longer than can be held and checked."""
        self._block(self._checks.ids, "the answer is too long to be checked")

    def _is_too_large(self, frame: Frame) -> bool:
        """Whether it is blocked unread: checking it would hold up every other call of this worker."""
        if len(frame.raw) > HELD_BYTES_MAX:
            self._block(self._checks.ids, "the answer cannot be checked within 1 MiB")
        elif len(frame.events) > EVENT_TEXTS_MAX:
            words = f"the answer cannot be checked: one event of it has more than {EVENT_TEXTS_MAX} pieces"
            self._block(self._checks.ids, words)
        return self.blocked is not None

    def _take(self, frame: Frame) -> None:
        if self.blocked is not None or self._is_too_large(frame):
            return
        parts: list[_Part] = []
        for event in frame.events:
            text = self._text(event)
            if text:
                self._feed(event, text)
                if self.blocked is not None:
                    return
                channel = self._channels[type(event), _block_of(event)]
                parts.append(_Part(channel, channel.fed_chars - len(text), text))
        if self._beside is not None:
            self._judge_beside(self._beside.frame(frame.raw, {part.text for part in parts}))
        self._held.append(_Held(frame.raw, tuple(parts)))
        self._held_bytes += len(frame.raw)

    async def _look_beside(self, body: bytes, texts: Collection[str]) -> None:
        since_chars = 0
        try:
            for text, detectors in texts_beside(self._checks, body, texts):
                window = Window(detectors)
                since_chars += TEXT_CHARS
                for at in range(0, len(text), SLICE_CHARS):
                    piece = text[at : at + SLICE_CHARS]
                    self._judge_beside(window.take(piece, is_last=at + SLICE_CHARS >= len(text)).findings)
                    since_chars += len(piece)
                    if since_chars >= SLICE_CHARS:
                        since_chars = 0
                        await asyncio.sleep(0)
                if self.blocked is not None:
                    return
        except SaidTwice as error:
            self._block(self._checks.ids, f"the answer cannot be checked: {error}")

    def _judge_beside(self, findings: Iterable[Finding]) -> None:
        """Block for what a rule blocks or would take out: nothing but the text of an event is edited."""
        try:
            for finding in findings:
                rules = self._checks.rules[finding.detector]
                stop = [rule.id for rule in rules if rule.action is not GuardrailAction.FLAG]
                if stop:
                    self._block(stop, f"the answer holds something of kind {finding.detector!r} beside its text")
                    return
                self.flags.update(dict.fromkeys(rule.id for rule in rules))
        except (SaidTwice, TooMuch) as error:
            self._block(self._checks.ids, f"the answer cannot be checked: {error}")

    def _text(self, event: Event) -> str:
        match event:
            case TextDelta() | ReasoningDelta() | RefusalDelta():
                return event.text
            case ToolArgumentsDelta():
                self._has_tools = True
                return event.fragment
            case ToolCallStarted():
                self._has_tools = True
                return ""
            case _:
                return ""

    def _feed(self, event: Event, piece: str) -> None:
        if self.blocked is not None:
            return
        key = type(event), _block_of(event)
        channel = self._channels.get(key)
        if channel is None:
            if len(self._channels) >= CHANNELS_MAX:
                self._block(self._checks.ids, f"the answer cannot be checked: it has more than {CHANNELS_MAX} parts")
                return
            channel = self._channels[key] = _Channel(self._checks, event)
        self._output_bytes += len(piece) if piece.isascii() else len(piece.encode())
        for rule in self._checks.caps:
            if rule.max_bytes is not None and self._output_bytes > rule.max_bytes:
                if is_block(rule):
                    self._block([rule.id], f"the answer has more than {rule.max_bytes} bytes")
                    return
                self.flags[rule.id] = None
        self._judge(channel, channel.take(piece, is_last=False))

    def _judge(self, channel: _Channel, findings: Sequence[Finding]) -> None:
        redacted: list[Finding] = []
        for finding in findings:
            rules = self._checks.rules[finding.detector]
            # Taking something out of a tool call's arguments would make another call of it.
            stop = [
                rule.id
                for rule in rules
                if is_block(rule) or (channel.is_arguments and rule.action is GuardrailAction.REDACT)
            ]
            if stop:
                self._block(stop, f"the answer holds something of kind {finding.detector!r}")
                return
            self.flags.update(dict.fromkeys(rule.id for rule in rules))
            if any(rule.action is GuardrailAction.REDACT for rule in rules):
                redacted.append(finding)
        if redacted:
            channel.spans = merge(channel.spans, redacted)

    def _settle(self) -> None:
        """No text follows: what waited for more of it is decided, and schemas are asked."""
        for channel in self._channels.values():
            self._judge(channel, channel.take("", is_last=True))
        for rule, schema in self._checks.schemas:
            for text in self._answers():
                mistake = schema.mistake(text)
                if mistake and is_block(rule):
                    self._block([rule.id], f"the answer does not meet the schema: {mistake}")
                    return
                if mistake:
                    self.flags[rule.id] = None

    def _answers(self) -> list[str]:
        """The texts that a schema is about: each choice of OpenAI's, all blocks of Anthropic's together."""
        texts = ["".join(channel.text) for channel in self._channels.values() if channel.text is not None]
        if not texts:
            return [] if self._has_tools else [""]
        return texts if self._dialect is Dialect.OPENAI else ["".join(texts)]

    def _released(self, *, is_over: bool) -> bytes:
        if self._checks.schemas and not is_over:
            return b""
        passed: list[bytes] = []
        while self._held and all(part.end <= part.channel.settled_chars for part in self._held[0].parts):
            held = self._held.popleft()
            self._held_bytes -= len(held.raw)
            passed.append(self._edited(held.raw, held.parts, replace_in_frame))
            if self.blocked is not None:
                return b""
        return b"".join(passed)

    def _edited(
        self, raw: bytes, parts: tuple[_Part, ...], replace: Callable[[bytes, Mapping[str, str]], bytes]
    ) -> bytes:
        texts: dict[str, str] = {}
        for part in parts:
            if part.channel.spans:
                said = masked(part.text, part.start, part.channel.spans)
                if said != part.text:
                    texts[part.text] = said
        if not texts:
            return raw
        try:
            return replace(raw, texts)
        except NotReplaced:
            self._block(self._checks.ids, "the answer cannot be edited")
            return b""

    def _block(self, rules: Iterable[str], what: str) -> None:
        self.blocked = self.blocked or blocked(rules, what, TRY_ANOTHER)
        self._held.clear()
        self._held_bytes = 0


def _block_of(event: Event) -> int:
    match event:
        case TextDelta() | ReasoningDelta() | RefusalDelta() | ToolArgumentsDelta():
            return event.block
        case _:
            return -1
