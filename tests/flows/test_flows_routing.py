"""Where every job of every stage goes, on both engines, in every iteration."""

from __future__ import annotations

import json

import pytest
from fakes import small_loop
from jobflow import Flow, Job, JobStore, Response, job
from maggma.stores import MemoryStore
from monty.json import MontyDecoder, MontyEncoder
from pydantic import ValidationError

from atomate2_alpot.campaign import run_embedded
from atomate2_alpot.flows import JobRoute, Routing
from atomate2_alpot.flows.routing import KEYS, apply_routing
from atomate2_alpot.train import CommitteeTrainer

BOTH = Routing(
    engine="fireworks",
    screen=JobRoute(worker="gpu", resources={"gpus_per_job": 1}, category="gpu-node"),
    label=JobRoute(
        worker="cluster",
        exec_config="vasp",
        resources={"nodes": 2, "processes_per_node": 64},
        priority=5,
        category="vasp-node",
        queueadapter={"walltime": "24:00:00"},
    ),
    train=JobRoute(worker="gpu-large", fworker="trainer"),
    default=JobRoute(worker="login", category="small"),
)

RESOURCES = {"nodes", "processes_per_node", "gpus_per_job"}
SCREEN = {"screen", "select", "hold out: screen", "hold out: select", "prepare committee", "assess"}
SMALL = {
    "build space",
    "carry",
    "check labels",
    "check selection",
    "collect committee",
    "decide",
    "expand labels",
    "gather labels",
    "label batch",
    "record iteration",
    "split",
    "start loop",
    "store_inputs",
    "train committee",
}


def kind_of(name: str) -> str:
    """What the test says of a name; the code goes by substrings."""
    if name in SCREEN:
        return "screen"
    if name.startswith("label ") and name != "label batch":
        return "label"
    if name == "train member":
        return "train"
    assert name in SMALL, name
    return "default"


@pytest.fixture(scope="module")
def grown(tmp_path_factory):
    """Return a function: engine -> the first flow of a campaign and all it asked for."""
    done = {}

    def grow(engine: str) -> list[Flow]:
        if engine not in done:
            folder = tmp_path_factory.mktemp(engine)
            maker = small_loop()
            maker.routing = BOTH.model_copy(update={"engine": engine})
            store = JobStore(MemoryStore(), additional_stores={"data": MemoryStore()})
            assert run_embedded(maker.make, folder, store).completed
            journal = [
                json.loads(path.read_text(), cls=MontyDecoder)
                for path in (folder / "journal").glob("*.json")
            ]
            first = [entry for entry in journal if isinstance(entry, Flow)]
            assert len(first) == 1
            done[engine] = first + [
                e["replace"] for e in journal if e not in first and e["replace"]
            ]
        return done[engine]

    return grow


def jobs_of(flows: list[Flow]) -> list[tuple[Job, list[str]]]:
    return [pair for flow in flows for pair in flow.iterflow()]


def test_fireworks_specs_send_every_job_where_its_kind_runs(grown):
    from jobflow.managers.fireworks import flow_to_workflow

    engine_keys = set(KEYS["fireworks"].values())
    where, iterations = {}, {}
    for flow in grown("fireworks"):
        for firework in flow_to_workflow(flow).fws:
            kind = kind_of(firework.name)
            sent = {k: v for k, v in firework.spec.items() if k in engine_keys}
            assert where.setdefault(kind, sent) == sent, firework.name
            assert not set(KEYS["jobflow-remote"].values()) & set(firework.spec), firework.name
            iterations.setdefault(kind, set()).add(firework.spec.get("iteration"))
    assert where == {
        "screen": {"_category": "gpu-node"},
        "label": {
            "_category": "vasp-node",
            "_queueadapter": {"walltime": "24:00:00"},
            "_priority": 5,
        },
        "default": {"_category": "small"},
    }
    assert all({0, 1, 2} <= seen for seen in iterations.values())


def test_jobflow_remote_documents_send_every_job_where_its_kind_runs(grown):
    remote = pytest.importorskip("jobflow_remote.jobs.data")
    where, iterations = {}, {}
    for item, parents in jobs_of(grown("jobflow-remote")):
        document = remote.get_initial_job_doc_dict(item, parents, "1", "first", None, None, 0)
        kind = kind_of(item.name)
        sent = [document[key] for key in ("worker", "exec_config", "resources", "priority")]
        if isinstance(sent[2], dict):  # jobflow-remote makes QResources of what it can
            sent[2] = {k: v for k, v in sent[2].items() if v and k in RESOURCES}
        assert where.setdefault(kind, sent) == sent, item.name
        known = set(KEYS["jobflow-remote"].values())
        assert set(document["job"]["config"]["manager_config"]) <= known, item.name
        iterations.setdefault(kind, set()).add(item.metadata.get("iteration"))
    assert where == {
        "screen": ["gpu", None, {"gpus_per_job": 1}, 0],
        "label": ["cluster", "vasp", {"nodes": 2, "processes_per_node": 64}, 5],
        "default": ["login", None, None, 0],
    }
    assert all({0, 1, 2} <= seen for seen in iterations.values())


def test_training_jobs_of_the_real_trainer_have_their_own_route():
    flow = CommitteeTrainer(n_members=3).make([], 1)
    apply_routing(flow, BOTH)
    sent = [(j.name, j.config.manager_config) for j, _ in flow.iterflow()]
    assert [config for name, config in sent if name == "train member"] == [
        {"_fworker": "trainer"}
    ] * 3
    assert {name for name, config in sent if config == {"_category": "small"}} == {
        "split",
        "collect committee",
    }


def test_rules_do_not_pile_up_over_the_iterations(grown):
    rules = {len(item.config_updates) for item, _ in jobs_of(grown("fireworks"))}
    assert len(rules) == 1


def test_nothing_is_written_without_routes():
    flow = small_loop().make()
    for item, _ in flow.iterflow():
        assert item.config.manager_config == {}
        assert item.config_updates == []


def test_keys_are_those_that_set_run_config_writes():
    config = pytest.importorskip("jobflow_remote.config.jobconfig")
    route = JobRoute(worker="w", exec_config="e", resources={"nodes": 1}, priority=3)
    theirs, ours = (small_loop().proposer.make() for _ in range(2))
    config.set_run_config(theirs, **route.model_dump(include=set(route.given())))
    apply_routing(Flow([ours]), Routing(default=route))
    assert ours.config.manager_config == theirs.config.manager_config


@job
def expanding(depth: int) -> Response | int:
    """A job of somebody's own that does not mind where its children run."""
    if not depth:
        return 0
    inner = expanding(depth - 1)
    inner.name = "label Al" if depth == 1 else "train own"
    return Response(replace=Flow([inner], output=inner.output))


@pytest.mark.parametrize("engine", ["fireworks", "jobflow-remote"])
def test_a_foreign_expanding_job_does_not_pass_its_worker_on(engine):
    first = expanding(2)
    first.name = "screen and grow"
    flow = Flow([first], output=first.output)
    apply_routing(flow, BOTH.model_copy(update={"engine": engine}))
    seen, waiting = {}, [first]
    store = JobStore(MemoryStore())
    store.connect()
    while waiting:
        item = waiting.pop()
        # as it travels to the machine that runs it
        item = json.loads(json.dumps(item, cls=MontyEncoder), cls=MontyDecoder)
        seen.setdefault(item.name, item.config.manager_config)
        if item.name != "store_inputs" and (response := item.run(store)).replace:
            waiting += [j for j, _ in response.replace.iterflow()]
    key = {"fireworks": "_category", "jobflow-remote": "worker"}[engine]
    expected = {
        "screen and grow": BOTH.screen,
        "train own": BOTH.train,
        "label Al": BOTH.label,
        "store_inputs": BOTH.default,
    }
    assert seen == {name: route.manager_config(engine) for name, route in expected.items()}
    assert len({config.get(key) for config in seen.values()}) == 4


def test_what_says_no_engine_is_refused_and_one_engine_is_told():
    assert Routing().told_engine() is None
    assert Routing(label=JobRoute(worker="w")).told_engine() == "jobflow-remote"
    assert Routing(label=JobRoute(category="c", priority=1)).told_engine() == "fireworks"
    mixed = {"label": {"worker": "w"}, "train": {"category": "c"}}
    with pytest.raises(ValidationError, match=r"'label.worker', 'train.category'.*give `engine`"):
        Routing.model_validate(mixed)
    with pytest.raises(ValidationError, match="give `engine`"):
        Routing(default=JobRoute(priority=1))
    assert Routing.model_validate({**mixed, "engine": "fireworks"}).told_engine() == "fireworks"
    with pytest.raises(ValidationError, match="catgory"):
        Routing.model_validate({"label": {"catgory": "c"}})
