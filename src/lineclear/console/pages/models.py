"""Models and runtimes: what runs on this machine, in which state and why, and how busy it is."""

from typing import Any

from lineclear.console.page import Page, Visit

COUNTS = ("running", "queued", "answered", "failed", "refused", "cancelled")


def load(visit: Visit) -> dict[str, Any]:
    """Hosted model versions with their replicas, and every process."""
    status = visit.get("/status")
    processes = status["processes"]
    parts = processes.get("parts", []) if isinstance(processes, dict) else []
    runtimes = [part for part in parts if part["role"] == "runtime"]
    hosted = []
    for item in visit.get("/models")["items"]:
        for version in item["manifest"]["versions"]:
            if version["engine"]:
                model = f"{item['name']}@{version['version']}"
                mine = [part for part in runtimes if part["facts"].get("model") == model]
                hosted.append(
                    {
                        "model": model,
                        "name": item["name"],
                        "engine": version["engine"],
                        "status": version["status"],
                        "replicas": version["replicas"],
                        "ready": sum(part["state"] == "ready" for part in mine),
                        "settings": version["settings"],
                        "artifact": version["artifact"],
                        "sha256": version["sha256"],
                        "processes": [
                            {
                                "name": part["name"],
                                "state": part["state"],
                                "reason": part["reason"],
                                "pid": part["pid"],
                                "failures": part["failures"],
                                **{name: part["facts"].get(name) for name in COUNTS},
                            }
                            for part in mine
                        ],
                    }
                )
    return {
        "hosted": hosted,
        "revision": status["revision"],
        "silent": status["gateways"]["silent"],
        "processes": [
            {
                "name": part["name"],
                "role": part["role"],
                "state": part["state"],
                "reason": part["reason"],
                "pid": part["pid"],
                "failures": part["failures"],
                "revision": part["facts"].get("revision"),
            }
            for part in parts
        ],
    }


MODELS = Page("/models", "models.html", load, rows="processes")
