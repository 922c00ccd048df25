"""The JSON Schema of manifests, for editors and other tools: generated from the nouns, their docstrings and rules.

In: `domain.manifest`. Out: one schema, a document of any kind by `oneOf`. It says what a document may hold; names
that lead nowhere and rules between fields are found by `lineclear validate` and `plan`.
"""

import ast
import dataclasses
import inspect
import re
import types
import typing
from collections.abc import Iterator, Mapping
from enum import Enum
from functools import cache
from typing import Any

import msgspec

from lineclear.config import component_rules, eval_rules, guardrail_rules, notice_rules, policy_rules, rollout_rules
from lineclear.config import manifest_rules as rules
from lineclear.config.manifest_fields import file_name
from lineclear.domain import manifest as nouns
from lineclear.domain.catalogue import Engine
from lineclear.domain.drills import DRILL_EVERY_S_MAX, DRILL_EVERY_S_MIN
from lineclear.domain.exchange import Dialect
from lineclear.domain.guardrails import DETECTOR_NAMES, GuardrailSide
from lineclear.domain.manifest import KIND_CLASSES, BudgetMode, CaptureMode, Noun
from lineclear.domain.notices import CHANNEL_KINDS
from lineclear.domain.policy_rules import WEEKDAYS, PolicyAction
from lineclear.domain.runtimes import ENGINE_SETTINGS

DRAFT = "https://json-schema.org/draft/2020-12/schema"

Schema = dict[str, Any]

_TYPES: Mapping[type, str] = {str: "string", bool: "boolean", int: "integer", float: "number"}
_NAME: Schema = {"pattern": f"^{rules.NAME.pattern}$"}
_ROUTE_NAME: Schema = {"pattern": f"^{rules.ROUTE_NAME.pattern}$", "maxLength": rules.ROUTE_NAME_CHARS_MAX}
_VERSION_NAME: Schema = {"pattern": f"^{rules.NAME.pattern}@{rules.VERSION.pattern}$"}
_MONEY: Schema = {"pattern": r"^[0-9]+(\.[0-9]{1,9})?$"}
_FROM_1: Schema = {"minimum": 1, "maximum": rules.LIMIT_MAX}
_DATE = r"^[0-9]{4}-[0-9]{2}-[0-9]{2}(T[0-9]{2}:[0-9]{2}:[0-9]{2}Z)?$"
_SETTING: Schema = {
    "type": ["string", "number", "boolean"],
    "maxLength": component_rules.SETTING_CHARS_MAX,
    "minimum": -component_rules.WHOLE_MAX,
    "maximum": component_rules.WHOLE_MAX,
}
_SECONDS: Schema = {"minimum": 0.001, "maximum": rules.TIMEOUT_S_MAX}

_BOUNDS: Mapping[str, Schema] = {
    **{
        f"{kind}.name": _NAME
        for kind in ("Team", "App", "Provider", "Model", "Prompt", "Policy", "Guardrail", "Eval", "Rollout")
    },
    "Team.notices": {"maxItems": notice_rules.CHANNELS_MAX},
    "NoticeChannel.name": _NAME,
    "NoticeChannel.webhook": {"pattern": "^https?://"},
    "NoticeChannel.secret": {"pattern": f"^{notice_rules.SECRET.pattern}$"},
    "NoticeChannel.slack": {"pattern": f"^{notice_rules.SECRET.pattern}$"},
    "NoticeChannel.email": {
        "items": {"type": "string", "pattern": f"^{notice_rules.ADDRESS.pattern}$"},
        "maxItems": notice_rules.ADDRESSES_MAX,
    },
    "NoticeChannel.on": {"items": {"enum": [item.value for item in CHANNEL_KINDS]}},
    "Environment.name": {"pattern": f"^{rules.ENVIRONMENT_NAME.pattern}$"},
    "Route.name": _ROUTE_NAME,
    "App.routes": {"items": {"type": "string", "anyOf": [{"const": "*"}, _ROUTE_NAME]}, "uniqueItems": True},
    "Provider.dialects": {"items": {"enum": [item.value for item in Dialect]}, "minItems": 1, "uniqueItems": True},
    "Provider.base_url": {"pattern": "^https?://"},
    "Model.versions": {"minItems": 1},
    "Model.approved_uses": {"items": {"type": "string", **_NAME}},
    "ModelVersion.version": {"pattern": f"^{rules.VERSION.pattern}$"},
    "ModelVersion.engine": {"enum": [*(item.value for item in Engine), None]},
    "ModelVersion.sha256": {"pattern": f"^{rules.SHA256.pattern}$"},
    "ModelVersion.replicas": {"minimum": 1},
    "ModelVersion.max_tokens": {"minimum": 1},
    "Model.prohibited_uses": {"items": {"type": "string", **_NAME}},
    "ModelVersion.context": {"minimum": 1},
    "ModelVersion.capabilities": {"uniqueItems": True},
    "CardLink.url": {"pattern": f"^{rules.LINK.pattern}$"},
    "VendorRecord.retention_days": {"minimum": 0},
    "VendorRecord.review_by": {"pattern": _DATE},
    **{f"Brownout.{name}": {"pattern": _DATE} for name in ("starts", "ends")},
    "Evidence.expires": {"pattern": _DATE},
    "ModelVersion.successor": {"pattern": "@"},
    **{f"ModelVersion.{name}": {"pattern": _DATE} for name in ("deprecated_at", "sunset", "end_of_life")},
    "Prompt.text": {"minLength": 1, "maxLength": rules.TEXT_CHARS_MAX},
    "Environment.approvals": {"minimum": 0, "maximum": rules.APPROVALS_MAX},
    "Environment.approver_roles": {"uniqueItems": True},
    "Environment.approver_teams": {"items": {"type": "string", **_NAME}, "uniqueItems": True},
    "Environment.allowed_statuses": {"uniqueItems": True},
    "Environment.drill_every_s": {"minimum": DRILL_EVERY_S_MIN, "maximum": DRILL_EVERY_S_MAX},
    "Environment.allowed_data_classes": {"uniqueItems": True},
    "FreezeWindow.from": {"format": "date-time"},
    "FreezeWindow.to": {"format": "date-time"},
    "Environment.guardrails": {"items": {"type": "string", **_NAME}, "uniqueItems": True},
    "RouteEnvironment.guardrails": {"items": {"type": "string", **_NAME}, "uniqueItems": True},
    "Guardrail.rules": {"minItems": 1, "maxItems": guardrail_rules.RULES_MAX},
    "GuardrailCheck.id": _NAME,
    "GuardrailCheck.on": {
        "items": {"enum": [item.value for item in GuardrailSide]},
        "minItems": 1,
        "uniqueItems": True,
    },
    "GuardrailCheck.detect": {"items": {"enum": list(DETECTOR_NAMES)}},
    "GuardrailCheck.deny": {
        "items": {"type": "string", "minLength": 1, "maxLength": guardrail_rules.PHRASE_CHARS_MAX},
        "maxItems": guardrail_rules.PHRASES_MAX,
    },
    "GuardrailCheck.max_bytes": {"minimum": 1},
    "Policy.rules": {"minItems": 1, "maxItems": policy_rules.RULES_MAX},
    "PolicyCheck.id": _NAME,
    "PolicyCheck.then": {"enum": [item.value for item in PolicyAction]},
    **{f"PolicyWhen.{name}": {"maxItems": policy_rules.VALUES_MAX, "uniqueItems": True} for name in policy_rules.LISTS},
    "PolicyTimes.days": {"items": {"enum": list(WEEKDAYS)}, "uniqueItems": True},
    "PolicyTimes.hours": {"pattern": f"^{policy_rules.HOURS.pattern}$"},
    "Target.model": _VERSION_NAME,
    "Target.weight": {"minimum": 0, "maximum": rules.WEIGHT_MAX},
    "Fallback.model": _VERSION_NAME,
    "Route.environments": {"minProperties": 1},
    "Route.tasks": {"items": {"type": "string", **_NAME}, "uniqueItems": True},
    "RouteEnvironment.targets": {"minItems": 1},
    "RouteEnvironment.strategy": {"enum": sorted(item.value for item in rules.BUILT_STRATEGIES)},
    "RouteEnvironment.max_tokens": {"minimum": 1},
    "RouteEnvironment.retrieval": {
        "propertyNames": {"pattern": f"^{component_rules.SETTING_NAME.pattern}$"},
        "maxProperties": component_rules.SETTINGS_MAX,
        "additionalProperties": {
            "anyOf": [
                _SETTING,
                {
                    "type": "object",
                    "propertyNames": {"pattern": f"^{component_rules.SETTING_NAME.pattern}$"},
                    "maxProperties": component_rules.SETTINGS_MAX,
                    "additionalProperties": _SETTING,
                },
            ]
        },
    },
    **{
        f"Parameters.{name}": {"minimum": low, "maximum": high}
        for name, (low, high) in component_rules.PARAMETER_RANGES.items()
    },
    "Parameters.max_tokens": {"minimum": 1, "maximum": component_rules.TOKENS_MAX},
    "Parameters.seed": {"minimum": -component_rules.WHOLE_MAX, "maximum": component_rules.WHOLE_MAX},
    "Parameters.stop": {
        "items": {"type": "string", "minLength": 1, "maxLength": component_rules.STOP_CHARS_MAX},
        "maxItems": component_rules.STOP_MAX,
    },
    "Parameters.reasoning_effort": {"pattern": f"^{component_rules.EFFORT.pattern}$"},
    "Tools.definitions": {"minItems": 1, "maxItems": component_rules.TOOLS_MAX},
    "Tool.name": {"pattern": f"^{component_rules.TOOL_NAME.pattern}$"},
    "Tool.description": {"maxLength": component_rules.TOOL_DESCRIPTION_CHARS_MAX},
    "RouteEnvironment.capture": {"enum": [CaptureMode.NONE.value]},
    "RouteEnvironment.rollout": _NAME,
    "Rollout.steps": {"minItems": 1, "maxItems": rollout_rules.STEPS_MAX},
    "RolloutStep.eval": _NAME,
    **{f"{name}.dataset": {"pattern": f"^{eval_rules.DATASET.pattern}$"} for name in ("Eval", "ReplayStep")},
    **{f"{name}.spend_usd": _MONEY for name in ("Eval", "ReplayStep")},
    "ReplayStep.max_changed": {"minimum": 0, "maximum": 1},
    "Eval.at_least": {"minimum": eval_rules.AT_LEAST_MIN, "maximum": 1},
    "Eval.checks": {"maxItems": eval_rules.CHECKS_MAX},
    "EvalCheck.id": _NAME,
    "EvalCheck.regex": {"maxLength": eval_rules.PATTERN_CHARS_MAX},
    "EvalCheck.python": {"pattern": f"^({eval_rules.ENTRY_POINT.pattern})?$"},
    "NumericCheck.tolerance": {"minimum": 0},
    "NumericCheck.relative": {"minimum": 0},
    "SimilarityCheck.at_least": {"minimum": -1, "maximum": 1},
    "SimilarityCheck.route": _ROUTE_NAME,
    "JudgeCheck.route": _ROUTE_NAME,
    "JudgeCheck.question": {"minLength": 1, "maxLength": eval_rules.QUESTION_CHARS_MAX},
    "JudgeCheck.repeats": {"minimum": 1, "maximum": eval_rules.REPEATS_MAX},
    "EvalVerdict.margin": {"minimum": eval_rules.MARGIN_MIN, "maximum": eval_rules.MARGIN_MAX},
    "EvalVerdict.ratio": {"minimum": 1, "maximum": rollout_rules.RATIO_MAX},
    "EvalVerdict.alpha": {"minimum": rollout_rules.ALPHA_MIN, "maximum": rollout_rules.ALPHA_MAX},
    "Rollout.alpha": {"minimum": rollout_rules.ALPHA_MIN, "maximum": rollout_rules.ALPHA_MAX},
    "Rollout.hold_at": {"minimum": rollout_rules.HOLD_AT_MIN},
    "Rollout.lease_s": {"minimum": rollout_rules.LEASE_S_MIN, "maximum": rollout_rules.LEASE_S_MAX},
    "WeightStep.percent": {"minimum": rollout_rules.PERCENT_MIN, "maximum": rollout_rules.PERCENT_MAX},
    "WeightStep.bake_s": {"minimum": 0, "maximum": rollout_rules.STEP_S_MAX},
    "WeightStep.min_requests": {"minimum": 0, "maximum": rollout_rules.REQUESTS_MAX},
    "WeightStep.max_wait_s": {"minimum": 1, "maximum": rollout_rules.STEP_S_MAX},
    "HoldbackStep.percent": {"minimum": rollout_rules.PERCENT_MIN, "maximum": rollout_rules.HOLDBACK_PERCENT_MAX},
    "HoldbackStep.duration_s": {"minimum": 0, "maximum": rollout_rules.STEP_S_MAX},
    "RolloutCostGuard.ratio": {"minimum": 1, "maximum": rollout_rules.RATIO_MAX},
    "ShadowStep.percent": {"minimum": rollout_rules.PERCENT_MIN, "maximum": 100},
    "ShadowStep.min_copies": {"minimum": 1},
    "ShadowStep.max_wait_s": {"minimum": 1, "maximum": rollout_rules.STEP_S_MAX},
    "ShadowStep.margin": {"minimum": rollout_rules.MARGIN_MIN, "maximum": rollout_rules.MARGIN_MAX},
    "ShadowStep.ratio": {"minimum": 1, "maximum": rollout_rules.RATIO_MAX},
    "ShadowStep.alpha": {"minimum": rollout_rules.ALPHA_MIN, "maximum": rollout_rules.ALPHA_MAX},
    "RolloutReviewGuard.ratio": {"minimum": 1, "maximum": rollout_rules.RATIO_MAX},
    "RolloutReviewGuard.floor": {"exclusiveMinimum": 0, "maximum": rollout_rules.FLOOR_MAX},
    "RolloutReviewGuard.min_reviews": {"minimum": 0},
    "RolloutGuard.ratio": {"minimum": 1, "maximum": rollout_rules.RATIO_MAX},
    "RolloutGuard.floor": {"exclusiveMinimum": 0, "maximum": rollout_rules.FLOOR_MAX},
    "Budget.usd_per_month": _MONEY,
    "Budget.mode": {"enum": [BudgetMode.STRICT.value]},
    **{f"PriceRow.{field.name}": _MONEY for field in dataclasses.fields(nouns.PriceRow)},
    **{f"Limits.{field.name}": _FROM_1 for field in dataclasses.fields(nouns.Limits)},
    **{f"RouteTimeouts.{field.name}": _SECONDS for field in dataclasses.fields(nouns.RouteTimeouts)},
}
"""What a field may hold beyond its type: the rules of `manifest_rules` that JSON Schema can say."""


@cache
def manifest_schema() -> Schema:
    """The schema of one document, with every noun under `$defs`."""
    words = _docstrings()
    found = {name: _noun_schema(noun, words) for name, noun in _nouns()}
    for kind, noun in KIND_CLASSES.items():
        document = found[noun.__name__]
        document["properties"] = {"kind": {"const": kind.value}, **document["properties"]}
        document["required"] = ["kind", *document["required"]]
    found["ModelVersion"]["allOf"] = [_engine_schema(engine) for engine in Engine]
    return {
        "$schema": DRAFT,
        "title": "Lineclear manifest",
        "description": "One document of a manifest file; `kind` says which fields it has.",
        "oneOf": [{"$ref": f"#/$defs/{noun.__name__}"} for noun in KIND_CLASSES.values()],
        "$defs": found,
    }


def _nouns() -> Iterator[tuple[str, type[Noun]]]:
    for name, value in vars(nouns).items():
        if isinstance(value, type) and issubclass(value, Noun) and value is not Noun:
            yield name, value


def _noun_schema(noun: type[Noun], words: Mapping[str, str]) -> Schema:
    hints = typing.get_type_hints(noun)
    properties: dict[str, Schema] = {}
    required: list[str] = []
    for field in dataclasses.fields(noun):  # type: ignore[arg-type]  # every noun but the base is a dataclass
        name, path = file_name(field.name), f"{noun.__name__}.{field.name.rstrip('_')}"
        schema = {**_type_schema(hints[field.name]), **_BOUNDS.get(path, {})}
        if path in words:
            schema["description"] = words[path]
        if field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING:
            required.append(name)
        elif isinstance(field.default, str | int | Enum) and field.default != "":
            schema["default"] = field.default.value if isinstance(field.default, Enum) else field.default
        properties[name] = schema
    return {
        "type": "object",
        "description": words.get(noun.__name__, ""),
        "properties": properties,
        "required": required,
        "additionalProperties": False,
    }


def _type_schema(kind: Any) -> Schema:
    arms = [arm for arm in typing.get_args(kind) if arm is not type(None)] if isinstance(kind, types.UnionType) else []
    if arms:
        # A field that may be left out may also hold nothing: `prompt:` is the same as no prompt.
        nothing = [{"type": "null"}] if type(None) in typing.get_args(kind) else []
        schemas = [*(_type_schema(arm) for arm in arms), *nothing]
        named = all(set(schema) == {"type"} for schema in schemas)
        return {"type": [schema["type"] for schema in schemas]} if named else {"anyOf": schemas}
    origin, inner = typing.get_origin(kind), typing.get_args(kind)
    if origin is tuple:
        return {"type": "array", "items": _type_schema(inner[0])}
    if origin is dict:
        return {"type": "object", "additionalProperties": _type_schema(inner[1])}
    if isinstance(kind, type) and issubclass(kind, Noun):
        return {"$ref": f"#/$defs/{kind.__name__}"}
    if isinstance(kind, type) and issubclass(kind, Enum):
        return {"type": "string", "enum": [item.value for item in kind]}
    return {} if kind is Any else {"type": _TYPES[kind]}


def _engine_schema(engine: Engine) -> Schema:
    """The settings of a hosted version, by its engine."""
    settings = {name: _setting_schema(msgspec.structs.asdict(item)) for name, item in ENGINE_SETTINGS[engine].items()}
    return {
        "if": {"properties": {"engine": {"const": engine.value}}, "required": ["engine"]},
        "then": {"properties": {"settings": {"properties": settings, "additionalProperties": False}}},
    }


def _setting_schema(setting: Mapping[str, Any]) -> Schema:
    schema: Schema = {"type": "integer" if "low" in setting else "string", "default": setting["default"]}
    names = {"low": "minimum", "high": "maximum", "chars_max": "maxLength", "choices": "enum"}
    found = {ours: setting[theirs] for theirs, ours in names.items() if theirs in setting}
    return schema | {ours: list(value) if ours == "enum" else value for ours, value in found.items()}


def _docstrings() -> dict[str, str]:
    """What stands beneath each class and field, by `Class` and `Class.field`."""
    found: dict[str, str] = {}
    for node in ast.parse(inspect.getsource(nouns)).body:
        if isinstance(node, ast.ClassDef):
            found[node.name] = _one_line(ast.get_docstring(node) or "")
            for field, below in zip(node.body, node.body[1:], strict=False):
                if isinstance(field, ast.AnnAssign) and isinstance(field.target, ast.Name):
                    text = below.value.value if isinstance(below, ast.Expr) and _is_text(below.value) else ""
                    if text:
                        found[f"{node.name}.{field.target.id.rstrip('_')}"] = _one_line(text)
    return found


def _is_text(node: ast.expr) -> typing.TypeGuard[ast.Constant]:
    return isinstance(node, ast.Constant) and isinstance(node.value, str)


def _one_line(text: object) -> str:
    return re.sub(r"\s+", " ", str(text)).strip()
