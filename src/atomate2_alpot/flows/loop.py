"""`ActiveLearningMaker`: the loop, with every step a Maker in a field."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass, field
from typing import Any
from uuid import uuid4

from jobflow import Flow, Job, Maker, OutputReference

from atomate2_alpot.dataset.labels import GATHER
from atomate2_alpot.flows.contracts import Assessor, Labeller, Proposer, Selector, Trainer
from atomate2_alpot.flows.jobs import (
    TEST_SET,
    carry,
    check_labels,
    check_selection,
    decide,
    hand_on,
    record_iteration,
    start_loop,
)
from atomate2_alpot.flows.routing import Routing, apply_routing
from atomate2_alpot.flows.state import LoopState, Pointer
from atomate2_alpot.flows.stopping import LoopSettings
from atomate2_alpot.flows.tags import tag, tag_chain
from atomate2_alpot.flows.voters import check_voters
from atomate2_alpot.label import LabelFractionError, LabelMaker, check_label_fraction
from atomate2_alpot.schemas import CommitteeDoc, Frames, LabelBatchDoc, PotentialSpec
from atomate2_alpot.select.jobs import prepare_committee

CRYSTALS, ATOMS, KNOWN_ATOMS = "crystals", "isolated atoms", "isolated atoms known before"
"""What is labelled before the loop."""


@dataclass
class ActiveLearningMaker(Maker):
    """Propose, select, label, train, assess, decide; each iteration extends the flow.

    Code-agnostic: any Maker that honours the contracts in `atomate2_alpot.flows.contracts` can
    stand in a field.

    Parameters
    ----------
    name : str
        Name of the flow.
    proposer, selector, labeller, trainer, assessor : Maker
        The steps.
    committee : list of PotentialSpec, or CommitteeDoc
        Potentials that screen in iteration 1; later ones use the trained committee. The model
        that labels as a surrogate must not be among them.
    loop : LoopSettings
        Budget, targets, iterations.
    campaign_id : str or None
        Shared by every document of the campaign; made up when left out.
    routing : Routing
        Where jobs run on FireWorks or jobflow-remote, by kind.
    known_atoms : LabelBatchDoc or None
        Isolated atoms labelled earlier with the labeller's method; with ``loop.label_atoms`` only
        elements that are not among them are computed.
    """

    name: str = "active learning"
    proposer: Proposer | None = None
    selector: Selector | None = None
    labeller: Labeller | None = None
    trainer: Trainer | None = None
    assessor: Assessor | None = None
    committee: list[PotentialSpec] | CommitteeDoc | None = None
    loop: LoopSettings = field(default_factory=LoopSettings)
    campaign_id: str | None = None
    routing: Routing = field(default_factory=Routing)
    known_atoms: LabelBatchDoc | None = None

    def make(self) -> Flow:
        """Make the flow: pool, committee, test set, crystals, and the first iteration to come.

        Returns
        -------
        Flow
            Its output says how the campaign ended; the iteration documents are the outputs of
            the jobs named "record iteration".

        Raises
        ------
        ValueError
            If a step is missing, or the labelling surrogate is a member of the committee.
        """
        self.check()
        campaign_id = self.campaign_id or f"al-{uuid4().hex[:8]}"
        pool, prepare, test = self.proposal()
        test_labels = self.labeller.make(test.output.frames, iteration=0)  # type: ignore[union-attr]
        others = self._anchors(prepare.output.crystals)
        jobs: list[Job | Flow] = [pool, prepare, test, test_labels, *others.values()]
        state = LoopState(
            campaign_id=campaign_id,
            iteration=1,
            pool=Pointer.of(pool.output),
            committee=Pointer.of(prepare.output.committee),
            committee_names=self.committee_names,
            test=Pointer.of(test_labels.output.frames),
            dataset=[Pointer.of(made.output.frames) for made in others.values()],
        )
        lean = self.lean(campaign_id)
        sets = {TEST_SET: test_labels, **others}
        start = start_loop(lean, state, {what: _counts(made) for what, made in sets.items()})
        start.name = "start loop"
        tag(jobs, campaign_id, 0, "prepare")
        tag([test, test_labels], campaign_id, 0, "test")
        flow = Flow([*jobs, start], output=start.output, name=self.name)
        tag_chain(start, campaign_id, 0)
        apply_routing(flow, self.routing)  # what the flow grows into inherits it
        return flow

    def proposal(self) -> tuple[Job, Job, Flow]:
        """Make what comes first: the pool, the committee made ready, the candidates held out."""
        pool = self.proposer.make()  # type: ignore[union-attr]
        prepare = prepare_committee(self._committee_doc(), list(self.proposer.elements))  # type: ignore[union-attr]
        prepare.name = "prepare committee"
        shard = self.proposer.test_shard(pool.output)  # type: ignore[union-attr]
        test = self.selector.hold_out(shard, prepare.output.committee)  # type: ignore[union-attr]
        for item in test.jobs:
            item.name = f"hold out: {item.name}"
        return pool, prepare, test

    def lean(self, campaign_id: str) -> ActiveLearningMaker:
        """Return what later jobs need of this Maker, small enough to be their argument."""
        return dataclasses.replace(self, committee=None, known_atoms=None, campaign_id=campaign_id)

    # --- what each expanding job asks for ------------------------------------------------

    def iteration_flow(self, state: LoopState) -> Flow:
        """Build screening and selection of one iteration."""
        inputs = _carry(pool=state.pool, committee=state.committee)
        known = _carry(training=list(state.dataset), test=state.test)
        select = self.selector.make(  # type: ignore[union-attr]
            self.proposer.shards(inputs.output["pool"], state.iteration),  # type: ignore[union-attr]
            inputs.output["committee"],
            [known.output["training"][i] for i in range(len(state.dataset))],
            [known.output["test"]],
            state.iteration,
            self.loop.budget(state.n_labels),
        )
        check = check_selection(self, state, Pointer.of(select.output), select.output.n_selected)
        check.name = "check selection"
        return self._chain([inputs, known, select], check, state, "select")

    def nothing_selected_flow(self, state: LoopState, selection: Pointer) -> Flow:
        """Build the end of a campaign whose committee agrees on everything it saw."""
        found = _carry(selection=selection)
        record = record_iteration(self, state, found.output["selection"])
        record.name = "record iteration"
        end = decide(self, state, record.output.status, [])
        end.name = "decide"
        return self._chain([found, record], end, state, "assess")

    def label_flow(self, state: LoopState, selection: Pointer) -> Flow:
        """Build the labelling of what was selected."""
        found = _carry(frames=Pointer(uuid=selection.uuid, path=[*selection.path, "frames"]))
        labels = self.labeller.make(found.output["frames"], iteration=state.iteration)  # type: ignore[union-attr]
        check = check_labels(self, state, selection, Pointer.of(labels.output), _counts(labels))
        check.name = "check labels"
        return self._chain([found, labels], check, state, "label")

    def train_flow(self, state: LoopState, selection: Pointer, labels: Pointer) -> Flow:
        """Build training, assessment, the iteration document and the decision."""
        jobs, record, after = self.training(state, selection, labels)
        end = decide(self, after, record.output.status, record.output.trained)
        end.name = "decide"
        return self._chain(jobs, end, state, "train")

    def training(
        self, state: LoopState, selection: Pointer, labels: Pointer
    ) -> tuple[list[Job | Flow], Job, LoopState]:
        """Make the jobs of training up to the iteration document, and the state after them.

        Returns
        -------
        list
            All jobs, the last one the next item.
        Job
            Its output is the ``IterationDoc``.
        LoopState
            With the labels and the committee of this iteration.
        """
        dataset = [*state.dataset, Pointer(uuid=labels.uuid, path=[*labels.path, "frames"])]
        data = _carry(frames=dataset, training=state.training)
        seen = _carry(selection=selection, labels=labels)
        test = _carry(frames=state.test)
        train = self.trainer.make(  # type: ignore[union-attr]
            [data.output["frames"][i] for i in range(len(dataset))],
            state.iteration,
            previous=data.output["training"] if state.training is not None else None,
        )
        assess = self.assessor.make(  # type: ignore[union-attr]
            train.output.committee, test.output["frames"], state.iteration
        )
        found = seen.output["selection"], seen.output["labels"], train.output, assess.output
        record = record_iteration(self, state, *found)
        record.name = "record iteration"
        after = state.advanced(
            dataset=dataset,
            training=Pointer.of(train.output),
            committee=Pointer.of(train.output.committee),
        )
        return [data, seen, test, train, assess, record], record, after

    def check_label_policy(self, counts: dict[str, Any], what: str = "") -> None:
        """Raise ``LabelFractionError`` if too few labels succeeded, of the set that is named."""
        reasons: dict[str, int] = {}
        for failure in counts["failures"]:
            reason = failure["reason"] if isinstance(failure, dict) else failure.reason
            reasons[reason] = reasons.get(reason, 0) + 1
        minimum = self.labeller.min_label_fraction  # type: ignore[union-attr]
        try:
            check_label_fraction(counts["n_labelled"], counts["n_requested"], minimum, reasons)
        except LabelFractionError as error:
            raise LabelFractionError(f"{what}: {error}" if what else str(error)) from None

    # --- internals -----------------------------------------------------------------------

    def check(self) -> None:
        """Raise ``ValueError`` if a step is missing, or the committee cannot vote."""
        for step in ("proposer", "selector", "labeller", "trainer", "assessor", "committee"):
            if getattr(self, step) is None:
                raise ValueError(f"{type(self).__name__}.{step} is not set: give a {step}")
        check_voters(self._committee_doc().members, self.labeller)
        if len(self.committee_names) < 2:
            raise ValueError(
                f"committee: {self.committee_names} cannot disagree; give at least two members"
            )
        with_training = self.loop.label_crystals or self.loop.label_atoms
        self.selector.check(self._committee_doc(), with_training)  # type: ignore[union-attr]
        if self.loop.max_iterations > 1 and getattr(self.trainer, "calibration", "unsaid") is None:
            trained = CommitteeDoc(members=self._committee_doc().members)
            try:
                self.selector.check(trained, True)  # type: ignore[union-attr]
            except ValueError as error:
                raise ValueError(f"train.calibration: null, and from iteration 2 {error}") from None

    def _anchors(self, crystals: OutputReference) -> dict[str, Job | Flow]:
        """Make what is labelled before the loop and joins the training set."""
        made: dict[str, Job | Flow] = {}
        if self.loop.label_crystals:
            made[CRYSTALS] = self.labeller.make(crystals, iteration=0)  # type: ignore[union-attr]
        if not self.loop.label_atoms:
            return made
        labeller, missing = self.atoms_to_label()
        if self.known_atoms is not None and len(self.known_atoms.frames):
            made[KNOWN_ATOMS] = hand_on(self.known_atoms)
            made[KNOWN_ATOMS].name = GATHER
        if len(missing):
            made[ATOMS] = labeller.make(missing, iteration=0)
        return made

    def atoms_to_label(self) -> tuple[LabelMaker, Frames]:
        """Return the labeller of isolated atoms, and those that are not known yet."""
        if not isinstance(self.labeller, LabelMaker):
            raise ValueError(
                f"loop.label_atoms: {type(self.labeller).__name__} cannot label isolated atoms; "
                "use a LabelMaker, or give the trainer e0s"
            )
        from atomate2_alpot.label.isolated import atom_labeller, isolated_atoms

        have = self.known_atoms.frames.elements if self.known_atoms is not None else []
        missing = [e for e in self.proposer.elements if e not in have]  # type: ignore[union-attr]
        return atom_labeller(self.labeller), isolated_atoms(missing)

    @property
    def committee_names(self) -> list[str]:
        """Members of the committee of iteration 1."""
        return [m.label for m in self._committee_doc().members]

    def _committee_doc(self) -> CommitteeDoc:
        if isinstance(self.committee, CommitteeDoc):
            return self.committee
        return CommitteeDoc(members=self.committee or [])

    def _chain(self, jobs: list[Job | Flow], last: Job, state: LoopState, stage: str) -> Flow:
        """Join the jobs of a stage with the job that extends the flow after them."""
        tag(jobs, state.campaign_id, state.iteration, stage)
        tag_chain(last, state.campaign_id, state.iteration)
        name = f"{self.name}: {stage} {state.iteration}"
        return Flow([*jobs, last], output=last.output, name=name)


def _counts(made: Job | Flow) -> dict[str, Any]:
    """Return what the label policy asks of a ``LabelBatchDoc``."""
    return {name: getattr(made.output, name) for name in ("n_labelled", "n_requested", "failures")}


def _carry(**pointers: Pointer | list[Pointer] | None) -> Job:
    return carry(pointers)
