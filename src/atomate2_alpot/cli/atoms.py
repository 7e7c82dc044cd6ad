"""Isolated atoms that some campaign has labelled before: E0s are computed once a store."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from maggma.core import Store

from atomate2_alpot.label import LabelMaker
from atomate2_alpot.label.isolated import isolated_atoms
from atomate2_alpot.schemas import CalculationTable, LabelBatchDoc, Labels


def known_atoms(
    labels: Store, labeller: LabelMaker, elements: Sequence[str], campaign_id: str
) -> LabelBatchDoc | None:
    """Return the isolated atoms in a store, as labels of a new campaign.

    Parameters
    ----------
    labels : Store
        Connected label documents, of any campaign.
    labeller : LabelMaker
        Documents of its functional, and of its surrogate if it has one, count.
    elements : sequence of str
    campaign_id : str
        Of the new campaign.

    Returns
    -------
    LabelBatchDoc or None
        None if there are none.
    """
    atoms = isolated_atoms(elements)
    wanted = {
        "frame_id": {"$in": atoms.frame_id},
        "state": "successful",
        "functional": labeller.functional,
        "surrogate": labeller.surrogate,
    }
    found = {d["frame_id"]: d for d in labels.query(wanted, sort={"last_updated": 1})}
    rows = [row for row, frame_id in enumerate(atoms.frame_id) if frame_id in found]
    if not rows:
        return None
    documents = [found[atoms.frame_id[row]] for row in rows]
    nothing = np.full((3, 3), np.nan)
    stress = [nothing if d["stress"] is None else d["stress"] for d in documents]
    energy, forces = [d["energy"] for d in documents], [d["forces"][0] for d in documents]
    frames = atoms.take(rows).with_labels(Labels(energy, forces, stress))
    frames = frames.with_origin(
        **{
            name: [d[name] for d in documents]
            for name in ("functional", "prototype", "step", "task_uuid", "iteration")
        }
    )
    computed = [d["calculation"] for d in documents if d["calculation"]]
    return LabelBatchDoc(
        n_requested=len(rows),
        n_labelled=len(rows),
        functional=labeller.functional,
        surrogate=labeller.surrogate,
        iteration=0,
        campaign_id=campaign_id,
        frames=frames,
        failures=[],
        calculations=CalculationTable.from_columns(
            **{name: [row[name] for row in computed] for name in CalculationTable.SCHEMA.names}
        ),
    )
