"""The model that labels must not vote: telling one model from another by what it loads."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from enum import Enum
from pathlib import Path
from typing import Any

from atomate2_alpot.label.engine import makers_within
from atomate2_alpot.schemas import PotentialSpec

DEFAULTS: dict[str, str] = {"chgnet": "0.3.0", "mace": "medium-mpa-0"}
"""Backend -> model it loads without a name."""

MODEL_OPTIONS: dict[str, dict[str, Any]] = {"mace": {"head": None}, "toy": {"seed": 0}}
"""Backend -> options (and defaults) that make another model; others are for speed and memory."""

FORCE_FIELDS: dict[str, str] = {
    "CHGNet": "chgnet",
    **dict.fromkeys(("MACE", "MACE_MP_0", "MACE_MP_0B3", "MACE_MPA_0"), "mace"),
}
"""atomate2's force field -> backend; its option ``model`` names the model."""

CALCULATORS: dict[str, str] = {
    "chgnet.model.dynamics:CHGNetCalculator": "chgnet",
    "chgnet.model:CHGNetCalculator": "chgnet",
    "mace.calculators:mace_mp": "mace",
    "mace.calculators.foundations_models:mace_mp": "mace",
}
"""Import path of an ASE calculator -> the same."""

OURS = "atomate2_alpot.label.surrogates:PotentialCalculator"


def check_voters(members: Sequence[PotentialSpec], labeller: Any) -> None:
    """Raise ``ValueError`` if a member of the committee is the model that labels.

    Parameters
    ----------
    members : sequence of PotentialSpec
    labeller : Labeller
        Its ``surrogate`` and, where it has one, its ``maker`` say which model that is.
    """
    surrogate = labeller.surrogate
    labelling = {model_of(spec) for spec in force_fields_of(getattr(labeller, "maker", None))}
    for member in members:
        if member.label == surrogate or model_of(member) in labelling:
            raise ValueError(
                f"committee: {member.label} is the model that labels as the surrogate"
                f"{f' {surrogate}' if surrogate else ''}, so it must not vote; take it out of the "
                f"committee {[m.label for m in members]}"
            )


def model_of(spec: PotentialSpec) -> tuple[str, ...]:
    """Return what tells the model of a recipe from others: backend, name, what changes it."""
    if spec.backend == "ase":
        return _model_of_calculator(str(spec.name), spec.kwargs)
    if spec.artifact is not None:
        source = spec.artifact.sha256
    else:
        source = spec.name or DEFAULTS.get(spec.backend, "")
        source = str(Path(source).expanduser().resolve()) if Path(source).is_file() else source
    telling = MODEL_OPTIONS.get(spec.backend, {})
    options = [f"{name}={spec.kwargs.get(name, default)}" for name, default in telling.items()]
    return (spec.backend, source, *options)


def force_fields_of(maker: Any) -> Iterator[PotentialSpec]:
    """Yield recipes of the force fields that a Maker, or a Maker in a field of it, runs."""
    for made in makers_within(maker):
        name = getattr(made, "calculator_meta", None) or getattr(made, "force_field_name", None)
        options = dict(getattr(made, "calculator_kwargs", None) or {})
        if isinstance(name, Mapping):
            name = f"{name.get('@module')}.{name.get('@callable') or name.get('@class')}"
        name = name.name if isinstance(name, Enum) else str(name or "")
        if "." in name.removeprefix("MLFF."):  # an import path, dotted
            name = ":".join(name.rsplit(".", 1))
        if name == OURS:
            yield PotentialSpec.model_validate(options)
        elif name:
            yield PotentialSpec(backend="ase", name=name, kwargs=options)


def _model_of_calculator(name: str, options: Mapping[str, Any]) -> tuple[str, ...]:
    if ":" in name:
        backend = CALCULATORS.get(name)
    else:
        name, options = _as_atomate2_makes_it(name, options)
        backend = FORCE_FIELDS.get(name)
    if backend is not None:
        return model_of(PotentialSpec(backend=backend, name=options.get("model")))
    return ("ase", name, *(f"{k}={v}" for k, v in sorted(options.items())))


def _as_atomate2_makes_it(name: str, options: Mapping[str, Any]) -> tuple[str, Mapping[str, Any]]:
    """Return the one name of a force field that has several, and its options with defaults."""
    from atomate2.forcefields.jobs import ForceFieldStaticMaker
    from atomate2.forcefields.utils import MLFF

    try:
        kind = MLFF(name)
    except ValueError:  # somebody else's
        return name, options
    maker = ForceFieldStaticMaker(force_field_name=kind, calculator_kwargs=dict(options))
    return kind.name, maker.calculator_kwargs
