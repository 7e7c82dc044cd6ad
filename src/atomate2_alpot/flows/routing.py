"""Where jobs run: worker and resources per kind of job, for FireWorks and jobflow-remote.

Both engines read ``job.config.manager_config``: FireWorks puts all of it into the Firework's spec
(``jobflow.managers.fireworks.job_to_firework``), jobflow-remote takes ``worker``, ``exec_config``,
``resources`` and ``priority`` (``jobflow_remote.jobs.data.get_initial_job_doc_dict``), which its
``set_run_config`` writes. Here jobflow's own ``update_config`` writes the same keys, dynamically:
jobs that a flow grows later get theirs from the rules of the job that made them.
"""

from __future__ import annotations

from typing import Any, Literal

from jobflow import Flow
from pydantic import Field, model_validator

from atomate2_alpot.schemas import Settings

Engine = Literal["fireworks", "jobflow-remote"]

KEYS: dict[Engine, dict[str, str]] = {
    "jobflow-remote": {
        "worker": "worker",
        "exec_config": "exec_config",
        "resources": "resources",
        "priority": "priority",
    },
    "fireworks": {
        "category": "_category",
        "fworker": "_fworker",
        "queueadapter": "_queueadapter",
        "priority": "_priority",
    },
}
"""Engine -> field of a route -> the key that the engine reads."""

NAMES: dict[str, tuple[tuple[str, ...], tuple[str, ...]]] = {
    "screen": (
        ("screen", "select", "prepare committee", "assess"),
        ("gather_screens", "check selection"),
    ),
    "label": (("label ",), ("label batch",)),
    "train": (("train",), ()),
}
"""Kind -> what names of its jobs contain, and names that contain it but are not its jobs'."""


class JobRoute(Settings):
    """Where one kind of job runs; what is left out is the engine's own default."""

    worker: str | None = Field(None, description="jobflow-remote: name of the worker.")
    exec_config: str | dict[str, Any] | None = Field(
        None, description="jobflow-remote: name or content of an execution config."
    )
    resources: dict[str, Any] | None = Field(
        None, description="jobflow-remote: resources asked of the queue."
    )
    priority: int | None = Field(None, description="Both engines: the higher the sooner.")
    category: str | None = Field(None, description="FireWorks: category of the worker.")
    fworker: str | None = Field(None, description="FireWorks: name of the worker.")
    queueadapter: dict[str, Any] | None = Field(
        None, description="FireWorks: settings of the queue adapter, over the worker's own."
    )

    def given(self) -> list[str]:
        """Return the fields that are set."""
        return [name for name in type(self).model_fields if getattr(self, name) is not None]

    def manager_config(self, engine: Engine) -> dict[str, Any]:
        """Return what an engine reads of this route, under its own keys."""
        return {key: getattr(self, n) for n, key in KEYS[engine].items() if n in self.given()}


class Routing(Settings):
    """Where the jobs of a campaign run, by kind.

    A route stands for itself: it takes nothing from ``default``.
    """

    engine: Engine | None = Field(
        None, description="fireworks or jobflow-remote; told by the routes if left out."
    )
    screen: JobRoute | None = Field(
        None,
        description="Jobs that evaluate a committee: screening, selection, its references, its "
        "errors. A route has worker, exec_config, resources (jobflow-remote), category, fworker, "
        "queueadapter (FireWorks), priority (both).",
    )
    label: JobRoute | None = Field(None, description="Jobs that label frames.")
    train: JobRoute | None = Field(None, description="Jobs that train a member.")
    default: JobRoute | None = Field(None, description="All others: small and quick ones.")

    def routes(self) -> dict[str, JobRoute]:
        """Return the routes that are given, by kind."""
        kinds = ("default", *NAMES)
        return {k: getattr(self, k) for k in kinds if getattr(self, k) is not None}

    def told_engine(self) -> Engine | None:
        """Return the engine that is named, or the only one whose fields are; None if neither."""
        if self.engine is not None:
            return self.engine
        given = {name for route in self.routes().values() for name in route.given()}
        named: list[Engine] = [e for e, keys in KEYS.items() if given & (set(keys) - {"priority"})]
        return named[0] if len(named) == 1 else None

    @model_validator(mode="after")
    def _one_engine(self) -> Routing:
        given = {f"{k}.{name}" for k, route in self.routes().items() for name in route.given()}
        if given and self.told_engine() is None:
            raise ValueError(
                f"{sorted(given)} do not say for which engine; give `engine`: fireworks or "
                "jobflow-remote (the other one's fields are then left alone)"
            )
        return self


def apply_routing(flow: Flow, routing: Routing) -> None:
    """Give the jobs of a flow, and those it grows into, their engine's settings.

    Parameters
    ----------
    flow : Flow
        Changed in place. No job of it passes its own settings on.
    routing : Routing
    """
    routes, engine = routing.routes(), routing.told_engine()
    if engine is None:
        return
    default = routes.get("default", JobRoute()).manager_config(engine)
    if "default" in routes:
        _send(flow, default, None)
    for kind, (names, others) in NAMES.items():
        if kind in routes:
            for name in names:
                _send(flow, routes[kind].manager_config(engine), name)
            for name in others:
                _send(flow, default, name)


def _send(flow: Flow, manager_config: dict[str, Any], name: str | None) -> None:
    # jobflow would else give new jobs the settings of the job that made them, over their own
    config = {"manager_config": manager_config, "pass_manager_config": False}
    flow.update_config(config, name_filter=name, dynamic=True)  # type: ignore[arg-type]
