"""A gateway in this process: real sockets, real spool, real snapshot directory, a scripted vendor."""

import asyncio
import errno
import hashlib
import hmac
import json
import os
import socket
import zlib
from collections import defaultdict
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import msgspec
import uvloop

from lineclear.accountant.server import Accountant
from lineclear.base.clock import SystemClock
from lineclear.base.ids import ExchangeIds
from lineclear.base.seal import Keys
from lineclear.domain.catalogue import CostTier, DataClass, EnvironmentClass, ModelStatus, RiskTier
from lineclear.domain.exchange import Dialect
from lineclear.domain.guardrails import GuardrailRule
from lineclear.domain.ledger import Record, Refusal, Settle
from lineclear.domain.money import Price
from lineclear.domain.policy_rules import PolicyEntry
from lineclear.domain.snapshot import (
    ACCESS_SHARDS,
    AccessShard,
    AccountLimits,
    AppEntry,
    AppsSection,
    CatalogueSection,
    CredentialEntry,
    CredentialsSection,
    EnvironmentEntry,
    EnvironmentsSection,
    KeyEntry,
    LimitsSection,
    ModelVersionEntry,
    PoliciesSection,
    PromptEntry,
    ProviderEntry,
    ProvidersSection,
    ReleaseEntry,
    RouteSection,
    RuntimesSection,
    TargetEntry,
    Timeouts,
    access_section_name,
    access_shard,
    route_section_name,
)
from lineclear.gateway.accounts import AccountantClient
from lineclear.gateway.current import Current
from lineclear.gateway.door import Door
from lineclear.gateway.forward import FORWARDS_MAX
from lineclear.gateway.inner import identify_inner
from lineclear.gateway.live import Live
from lineclear.gateway.parts import Parts
from lineclear.handover.overrides import JournalReader, journal_path
from lineclear.handover.snapshot_dir import SnapshotReader, SnapshotWriter
from lineclear.handover.spool import SpoolWriter, list_segments, read_segment
from lineclear.net.dns import Resolver
from lineclear.net.egress import EgressGuard
from lineclear.net.limits import PoolLimits, ServerLimits
from lineclear.net.server import HTTPServer
from lineclear.net.tls import client_context
from lineclear.net.upstream import Origin, Pool
from lineclear.testing.load import Call, CallResult, LoadConnection
from lineclear.testing.upstream import ScriptedUpstream

PEPPER = bytes(range(32))
MASTER_KEY = bytes(reversed(range(32)))
PRICE = Price(version="test", input_per_mtok=1_000_000_000, output_per_mtok=2_000_000_000)
"""1 and 2 USD per million tokens: 1,000 and 2,000 nano-USD a token."""


def make_key(key_id: str, environment: str = "live") -> str:
    body = f"lc_{environment}_{key_id}_{'s' * 43}"
    return body + f"{zlib.crc32(body.encode()):08x}"


def key_entry(key_id: str, app: str, environment: str, expires_at: int | None = None) -> KeyEntry:
    mac = hmac.digest(PEPPER, make_key(key_id, environment).encode(), hashlib.sha256).hex()
    return KeyEntry(id=key_id, mac=mac, app=app, environment=environment, expires_at=expires_at)


KEY = make_key("k1")
TEST_KEY = make_key("k2", "test")
LAB_KEY = make_key("k3", "lab")
"""Of an environment that takes data up to `internal`."""


def model(name: str, **facts: object) -> ModelVersionEntry:
    plain = ModelVersionEntry(
        id=f"{name}@1",
        model=name,
        version="1",
        provider="vendor",
        upstream_id=name,
        runtime=None,
        status=ModelStatus.APPROVED,
        approved_uses=(),
        data_classes=(),
        cost_tier=CostTier.LOW,
        risk_tier=RiskTier.LOW,
        price=PRICE,
        max_output_tokens=None,
        slow=False,
        successor=None,
    )
    return msgspec.structs.replace(plain, **facts)


PARTS = ("fallback", "strategy", "prompt", "guardrails", "parameters", "retrieval", "tools")


def route(name: str, *models: str, **facts: object) -> RouteSection:
    weights = facts.pop("weights", (1,) * len(models))
    assert isinstance(weights, tuple)
    release_facts = {key: facts.pop(key) for key in (*PARTS, "timeouts", "max_tokens") if key in facts}
    release = ReleaseEntry(
        id="rel_0123456789abcdef",
        digest=hashlib.sha256(name.encode()).hexdigest(),
        targets=tuple(TargetEntry(f"{target}@1", weight) for target, weight in zip(models, weights, strict=True)),
        fallback=(),
        strategy="weighted",
        prompt=None,
        timeouts=Timeouts(),
        max_tokens=None,
    )
    plain = RouteSection(
        route=name,
        environment="live",
        team="team",
        tasks=(),
        data_class=DataClass.INTERNAL,
        description="",
        generation=1,
        stable=msgspec.structs.replace(release, **release_facts),
    )
    return msgspec.structs.replace(plain, **facts)


@dataclass
class Plan:
    """What a test's snapshot holds beside the defaults."""

    models: Sequence[ModelVersionEntry] = ()
    routes: Sequence[RouteSection] = ()
    limits: dict[str, AccountLimits] = field(default_factory=dict)
    keys: Sequence[KeyEntry] = ()
    apps: Sequence[AppEntry] = ()
    providers: Sequence[ProviderEntry] = ()
    credentials: dict[str, tuple[CredentialEntry, ...]] = field(default_factory=dict)
    mandatory: tuple[GuardrailRule, ...] = ()
    """Guardrails of environment `live`."""
    policies: tuple[PolicyEntry, ...] = ()


class House:
    """One gateway with its vendor; calls go over loopback."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.vendor = ScriptedUpstream()
        self.revision = 0
        self.url = ""
        self.parts: Parts
        self.live: Live
        self.server: HTTPServer
        self.inner: HTTPServer
        self.inner_url = ""
        self.spool: SpoolWriter
        self.vendor_port = 0
        self._accountant: Accountant | None = None
        self._is_disk_full = False

    async def open(self, plan: Plan | None) -> None:
        """Start everything; None = no snapshot was ever published."""
        clock = SystemClock()
        keys = Keys(MASTER_KEY)
        self.vendor_port = await self.vendor.start()
        self._writer = SnapshotWriter(self.directory / "snapshot", keys)
        limits = plan.limits if plan is not None else {}
        if plan is not None:
            self.publish(plan)
        if limits:
            self._accountant = Accountant(self.directory / "spool", self.directory / "checkpoint", clock)
            self._accountant.books.apply_limits(LimitsSection(limits))
            await self._accountant.serve(self.directory / "accountant.sock")
        self.spool = SpoolWriter(self.directory / "spool", "local-test-0-0", clock, write=self._write)
        self.live = live = Live(clock)
        journal = JournalReader(journal_path(self.directory))
        current = Current(SnapshotReader(self.directory / "snapshot", keys), journal, self.directory, live)
        self.parts = Parts(
            clock=clock,
            ids=ExchangeIds(clock),
            current=current,
            ledger=self.spool,
            accountant=AccountantClient(
                self.directory / "accountant.sock",
                clock,
                limits.get,
                1,
                source="local-test-0-0",
            ),
            pool=Pool(
                clock=clock, resolver=Resolver(clock), guard=EgressGuard(), limits=PoolLimits(), tls=client_context()
            ),
            control=Origin("unix", "control", 0, str(self.directory / "control.sock"), True),
            forwards=asyncio.Semaphore(FORWARDS_MAX),
            large_bodies=asyncio.Lock(),
            long_checks=asyncio.Lock(),
            counters=defaultdict(int),
        )
        if limits:
            self.parts.accountant.start()
        self.refresh()
        door = Door(self.parts)
        self.server = HTTPServer(door, clock=clock, limits=ServerLimits(drain_grace_s=0.0), refuse=door.refuse)
        listener = socket.socket()
        listener.bind(("127.0.0.1", 0))
        listener.listen(64)
        listener.setblocking(False)
        self.url = f"http://127.0.0.1:{listener.getsockname()[1]}"
        self.server.serve(listener)
        inner = Door(msgspec.structs.replace(self.parts, identify=identify_inner(keys)))
        self.inner = HTTPServer(inner, clock=clock, limits=ServerLimits(drain_grace_s=0.0), refuse=inner.refuse)
        # Loopback here, a Unix socket in a gateway process: what is tested is who may say what.
        inside = socket.socket()
        inside.bind(("127.0.0.1", 0))
        inside.listen(64)
        self.inner_url = f"http://127.0.0.1:{inside.getsockname()[1]}"
        self.inner.serve(inside)

    def refresh(self) -> None:
        self.parts.current.refresh()

    async def close(self) -> None:
        await self.server.drain(0.0)
        await self.inner.drain(0.0)
        self.parts.pool.close()
        await self.parts.accountant.close()
        if self._accountant is not None:
            await self._accountant.close()
        await self.vendor.close()
        self.spool.close()

    def fill_disk(self) -> None:
        """From now on nothing can be written to the spool."""
        self._is_disk_full = True

    def free_disk(self) -> None:
        self._is_disk_full = False

    def _write(self, descriptor: int, data: memoryview) -> int:
        if self._is_disk_full:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return os.write(descriptor, data)

    async def stop_accountant(self) -> None:
        """Take the accountant away for good."""
        assert self._accountant is not None
        await self._accountant.close()
        self._accountant = None

    def publish(self, plan: Plan, overrides_folded: int = 0) -> None:
        """Write the next revision."""
        self.revision += 1
        base = f"http://127.0.0.1:{self.vendor_port}"
        provider = ProviderEntry("vendor", (Dialect.OPENAI, Dialect.ANTHROPIC), base + "/v1", private_network=True)
        entries = [model("good"), *plan.models]
        routes = [route("good", "good"), *plan.routes]
        shards: list[dict[str, KeyEntry]] = [{} for _ in range(ACCESS_SHARDS)]
        for entry in (
            key_entry("k1", "app", "live"),
            key_entry("k2", "app", "test"),
            key_entry("k3", "app", "lab"),
            *plan.keys,
        ):
            shards[access_shard(entry.id)][entry.id] = entry
        apps = [AppEntry("app", "team", ("*",)), *plan.apps]
        values: dict[str, object] = {
            "environments": EnvironmentsSection(
                {
                    "live": EnvironmentEntry("live", EnvironmentClass.LIVE, plan.mandatory),
                    "test": EnvironmentEntry("test", EnvironmentClass.TEST),
                    "lab": EnvironmentEntry(
                        "lab", EnvironmentClass.TEST, data_classes=(DataClass.PUBLIC, DataClass.INTERNAL)
                    ),
                }
            ),
            "apps": AppsSection({app.name: app for app in apps}),
            "catalogue": CatalogueSection({entry.id: entry for entry in entries}),
            "providers": ProvidersSection(
                {
                    "vendor": provider,
                    "openai-only": msgspec.structs.replace(provider, name="openai-only", dialects=(Dialect.OPENAI,)),
                    "anthropic-only": msgspec.structs.replace(
                        provider, name="anthropic-only", dialects=(Dialect.ANTHROPIC,)
                    ),
                    "dead": msgspec.structs.replace(provider, name="dead", base_url="http://127.0.0.1:9/v1"),
                    **{entry.name: entry for entry in plan.providers},
                }
            ),
            "limits": LimitsSection(plan.limits),
            "runtimes": RuntimesSection(()),
            "policies": PoliciesSection(plan.policies),
        }
        for shard, shard_keys in enumerate(shards):
            values[access_section_name(shard)] = AccessShard(shard_keys)
        for section in routes:
            values[route_section_name(section.environment, section.route)] = section
        sealed = CredentialsSection(PEPPER.hex(), plan.credentials)
        self._writer.publish(
            {name: msgspec.json.encode(value) for name, value in values.items()},
            {"sealed/credentials": msgspec.json.encode(sealed)},
            self.revision,
            1,
            overrides_folded,
        )

    async def call_inside(self, call: Call) -> CallResult:
        """Through the inner door."""
        return await self.call(call, self.inner_url)

    async def call(self, call: Call, url: str = "") -> CallResult:
        connection = LoadConnection(url or self.url)
        try:
            return await connection.call(call)
        finally:
            await connection.close()

    async def get(self, path: str, **fields: str) -> tuple[int, Any]:
        """Status and JSON body; header fields with `_` for `-`."""
        head, body = await self.ask(path, **fields)
        return int(head.split(" ")[1]), json.loads(body)

    async def ask(self, path: str, **fields: str) -> tuple[str, bytes]:
        """Head and body."""
        reader, writer = await asyncio.open_connection("127.0.0.1", int(self.url.rsplit(":", 1)[1]))
        lines = "".join(f"{name.replace('_', '-')}: {value}\r\n" for name, value in fields.items())
        writer.write(f"GET {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n{lines}\r\n".encode())
        answer = await reader.read()
        writer.close()
        await writer.wait_closed()
        head, _, body = answer.partition(b"\r\n\r\n")
        return head.decode("latin-1"), body

    def records(self) -> list[Record]:
        """Everything in the spool so far."""
        self.spool.flush_now()
        found: list[Record] = []
        for name in list_segments(self.directory / "spool"):
            found += read_segment(name.path).records
        return found

    def settle_of(self, answer: CallResult) -> Settle:
        settles = [record for record in self.records() if isinstance(record, Settle) and record.id == answer.request_id]
        assert len(settles) == 1, settles
        return settles[0]

    def refusal_of(self, answer: CallResult) -> Refusal:
        found = [record for record in self.records() if isinstance(record, Refusal) and record.id == answer.request_id]
        assert len(found) == 1, found
        return found[0]


def in_house(directory: Path, plan: Plan, play: Callable[[House], Awaitable[None]]) -> None:
    """Run a coroutine against an open house, on uvloop."""

    async def main() -> None:
        house = House(directory)
        await house.open(plan)
        try:
            await play(house)
        finally:
            await house.close()

    uvloop.run(main())


PROMPT = PromptEntry(name="voice", digest="0" * 64, mode="prepend", segments=("You serve ", "shop", "."))
