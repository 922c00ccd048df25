"""One manifest document of each kind in which every field says something, for tests that walk all of them.

In: nothing. Out: documents as plain trees. They may be applied as they are, with values for KEY_A and KEY_B
and a secret `hook`.
"""

import copy
from collections.abc import Mapping
from dataclasses import fields
from typing import Any

from lineclear.domain.manifest import PriceRow

SHA = "a" * 64
PRICES = tuple(field.name for field in fields(PriceRow))
LIMITS = {"requests_per_minute": 1, "tokens_per_minute": 2, "concurrency": 3}

DOCUMENTS: Mapping[str, dict[str, Any]] = {
    "Team": {
        "kind": "Team", "name": "payers", "description": "a", "time_zone": "UTC",
        "limits": LIMITS, "budget": {"usd_per_month": "1", "mode": "strict"},
        "notices": [{"name": "mail", "email": ["a@a.example"], "on": ["release"]}],
    },
    "Team hooked": {
        "kind": "Team", "name": "hooked",
        "notices": [{"name": "hook", "webhook": "https://hooks.example/a", "secret": "secret:hook"}],
    },
    "Team in Slack": {"kind": "Team", "name": "slackers", "notices": [{"name": "slack", "slack": "secret:hook"}]},
    "App": {
        "kind": "App", "name": "caller", "team": "payers", "purpose": "a", "description": "a", "routes": ["*"],
        "limits": LIMITS, "budget": {"usd_per_month": "1", "mode": "strict"},
    },
    "Provider": {
        "kind": "Provider", "name": "vendor", "dialects": ["openai"], "base_url": "https://a.example",
        "description": "a", "credential": "${KEY_A}", "private_network": False,
        "egress_proxy": "http://proxy.example:3128", "egress_proxy_credential": "${KEY_A}", "region": "eu",
        "vendor_record": {
            "agreements": ["a"], "retention_days": 30, "training_use": "opt-out", "sub_processors": ["a"],
            "evidence": [{"name": "a", "expires": "2027-01-01"}], "exit_plan": "a", "review_by": "2027-01-01",
            "incident_contact": "a",
        },
    },
    "Model": {
        "kind": "Model", "name": "small", "owner": "payers", "purpose": "a", "approved_uses": ["x"],
        "prohibited_uses": ["z"], "limitations": "a", "risks": "a", "licence": "a",
        "data_classes": ["public"], "cost_tier": "low", "risk_tier": "low",
        "links": [{"name": "licence", "url": "https://a.example/licence"}],
        "versions": [{
            "version": "1", "provider": "vendor", "upstream_id": "a", "status": "approved", "max_tokens": 1,
            "context": 2, "slow": False, "operations": ["completions", "messages"], "successor": "small@0",
            "capabilities": ["tools"],
            "price": dict.fromkeys(PRICES, "1"),
        }],
    },
    "Model hosted": {
        "kind": "Model", "name": "own", "owner": "payers",
        "versions": [{
            "version": "1", "engine": "gguf", "artifact": "/a.gguf", "sha256": SHA, "replicas": 1,
            "settings": {"threads": 1}, "status": "approved",
        }],
    },
    "Model leaving": {
        "kind": "Model", "name": "old", "owner": "payers",
        "versions": [{
            "version": "1", "provider": "vendor", "upstream_id": "old", "status": "deprecated", "successor": "small@1",
            "deprecated_at": "2026-01-01", "sunset": "2026-06-01", "end_of_life": "2026-07-01",
            "brownouts": [{"starts": "2026-05-01T08:00:00Z", "ends": "2026-05-01T09:00:00Z"}],
        }],
    },
    "Prompt": {"kind": "Prompt", "name": "voice", "text": "a", "mode": "prepend", "description": "a"},
    "Guardrail": {
        "kind": "Guardrail", "name": "house", "description": "a",
        "rules": [{"id": "secrets", "on": ["output"], "action": "flag", "detect": ["jwt"]}],
    },
    "Guardrail words": {
        "kind": "Guardrail", "name": "words",
        "rules": [{"id": "words", "on": ["input"], "whole_words": False, "deny": ["a b"]}],
    },
    "Guardrail size": {
        "kind": "Guardrail", "name": "size", "rules": [{"id": "size", "on": ["input"], "max_bytes": 9}],
    },
    "Guardrail shape": {
        "kind": "Guardrail", "name": "shape",
        "rules": [{"id": "shape", "on": ["output"], "json_schema": {"type": "array"}}],
    },
    "Policy": {
        "kind": "Policy", "name": "careful", "description": "a",
        "rules": [{
            "id": "elsewhere", "then": "require_route", "route": "chat", "description": "a",
            "when": {
                "team": ["payers"], "app": ["caller"], "task": ["x"], "environment": ["stage"],
                "data_class": ["public"], "tag": ["a"], "model": ["small"], "cost_tier": ["low"], "risk_tier": ["low"],
                "provider_region": ["eu"], "vendor_record": ["valid"],
                "time": {"zone": "UTC", "days": ["mon"], "hours": "08:00-18:00"},
            },
        }],
    },
    "Policy plain": {"kind": "Policy", "name": "plain", "rules": [{"id": "none", "when": {}, "then": "deny"}]},
    "Eval": {
        "kind": "Eval", "name": "answers", "team": "payers", "dataset": "letters", "app": "caller", "description": "a",
        "at_least": 0.5,
        "spend_usd": "1", "verdict": {"margin": 0.1, "ratio": 1.5, "alpha": 0.1},
        "checks": [{"id": "right", "exact": {"ignore_case": True}}],
    },
    "Eval pattern": {
        "kind": "Eval", "name": "pattern", "team": "payers", "dataset": "letters", "app": "caller",
        "checks": [{"id": "a", "regex": "a"}],
    },
    "Eval shape": {
        "kind": "Eval", "name": "shape", "team": "payers", "dataset": "letters", "app": "caller",
        "checks": [{"id": "a", "json_schema": {"type": "array"}}],
    },
    "Eval number": {
        "kind": "Eval", "name": "number", "team": "payers", "dataset": "letters", "app": "caller",
        "checks": [{"id": "a", "numeric": {"tolerance": 0.5, "relative": 0.01}}],
    },
    "Eval near": {
        "kind": "Eval", "name": "near", "team": "payers", "dataset": "letters", "app": "caller",
        "checks": [{"id": "a", "similarity": {"route": "chat", "at_least": 0.5}}],
    },
    "Eval judged": {
        "kind": "Eval", "name": "judged", "team": "payers", "dataset": "letters", "app": "caller",
        "checks": [{"id": "a", "judge": {"route": "chat", "question": "a", "repeats": 2}}],
    },
    "Eval code": {
        "kind": "Eval", "name": "code", "team": "payers", "dataset": "letters", "app": "caller",
        "checks": [{"id": "a", "python": "lineclear.words"}],
    },
    "Rollout": {
        "kind": "Rollout", "name": "slowly", "description": "a", "alpha": 0.01, "hold_at": 20.0, "lease_s": 300,
        "steps": [
            {"weight": {"percent": 5, "bake_s": 5, "min_requests": 5, "max_wait_s": 5}, "approval": False},
            {"weight": {"percent": 50}},
        ],
        "guards": {
            **{guard: {"ratio": 1.5, "floor": 0.01} for guard in ("error", "slow", "contract")}, "cost": {"ratio": 1.5},
            "review": {"ratio": 1.5, "floor": 0.01, "min_reviews": 5},
        },
    },
    "Rollout shadow": {
        "kind": "Rollout", "name": "shaded", "steps": [
            {"shadow": {
                "percent": 5, "min_copies": 5, "max_wait_s": 5, "spend_usd": "5",
                "margin": 0.05, "ratio": 2, "alpha": 0.1,
            }},
            {"weight": {"percent": 50}},
        ],
    },
    "Rollout last": {
        "kind": "Rollout", "name": "last", "steps": [{"holdback": {"percent": 5, "duration_s": 5}}],
    },
    "Rollout quick": {"kind": "Rollout", "name": "quick", "steps": [{"weight": {"percent": 50}}]},
    "Rollout gated": {
        "kind": "Rollout", "name": "gated",
        "steps": [
            *({"eval": name} for name in ("answers", "pattern", "shape", "number", "near", "judged", "code")),
            {"weight": {"percent": 50}},
        ],
    },
    "Rollout replayed": {
        "kind": "Rollout", "name": "replayed",
        "steps": [
            {"replay": {
                "dataset": "letters", "app": "caller", "max_changed": 0.5, "spend_usd": "1",
                "verdict": {"margin": 0.1, "ratio": 1.5, "alpha": 0.1},
            }},
            {"weight": {"percent": 50}},
        ],
    },
    "Environment": {"kind": "Environment", "name": "stage", "class": "test", "approvals": 1, "description": "a",
        "approver_roles": ["approver"], "approver_teams": ["payers"],
        "guardrails": ["size"], "allowed_statuses": ["approved"], "allowed_data_classes": ["public", "internal"],
        "freeze": [{"from": "2026-12-20T00:00:00Z", "to": "2026-12-27T00:00:00Z", "reason": "a"}],
        "drill_every_s": 604800,
    },
    "Route": {
        "kind": "Route", "name": "chat", "team": "payers", "tasks": ["x"], "data_class": "public", "description": "a",
        "environments": {"stage": {
            "targets": [{"model": "small@1", "weight": 1}, {"model": "own@1"}], "strategy": "weighted",
            "fallback": [{"model": "own@1"}], "prompt": "voice", "max_tokens": 5, "limits": LIMITS,
            "budget": {"usd_per_month": "1", "mode": "strict"},
            "timeouts": {"connect_s": 1.0, "first_event_s": 1.0, "between_events_s": 1.0, "total_s": 1.0},
            "capture": "none", "rollout": "slowly", "guardrails": ["house", "words", "shape"],
            "parameters": {
                "temperature": 0.5, "top_p": 0.5, "max_tokens": 5, "stop": ["a"], "seed": 1,
                "frequency_penalty": 0.5, "presence_penalty": 0.5, "reasoning_effort": "low",
            },
            "retrieval": {"index": "manuals", "top_k": 4, "rerank": {"enabled": True, "floor": 0.25}},
            "tools": {
                "definitions": [{"name": "look_up", "description": "a", "parameters": {"type": "object"}}],
                "mode": "default",
            },
        }},
    },
}  # fmt: skip
"""One document of each kind in which every field says something; a hosted model and one that goes are two more."""

OTHERS: tuple[dict[str, Any], ...] = (
    {"kind": "Team", "name": "default"},
    {"kind": "Provider", "name": "second", "dialects": ["openai"], "base_url": "https://c.example"},
    {"kind": "Prompt", "name": "quiet", "text": "c"},
)
ZERO = {"version": "0", "provider": "vendor", "upstream_id": "z", "status": "approved"}


def every_field() -> dict[str, dict[str, Any]]:
    """The documents by kind, and `Model hosted`; the vendor's model also has a version `0` that others name."""
    made = copy.deepcopy(dict(DOCUMENTS))
    made["Model"]["versions"].append(dict(ZERO))
    return made
