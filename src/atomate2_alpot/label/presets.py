"""Ready-made labellers, by name: ``presets.PRESETS[name](...)`` → `LabelMaker`."""

from __future__ import annotations

from collections.abc import Callable

from atomate2_alpot.label.makers import LabelMaker
from atomate2_alpot.schemas import PotentialSpec

CHGNET_FUNCTIONALS: dict[str, str] = {"r2scan": "r2SCAN", "0.3.0": "PBE", "0.2.0": "PBE"}
"""Models in chgnet's wheel and the functional each was trained on (0.x: PBE/PBE+U of MPtrj)."""


def surrogate(spec: PotentialSpec) -> LabelMaker:
    """Label with a potential that stands in for DFT: for demos, benchmarks and tests.

    The labels go through atomate2's ``ForceFieldStaticMaker`` and its task documents, as any
    other; the name of the model is stored with them as ``surrogate``.

    Parameters
    ----------
    spec : PotentialSpec
        A potential by backend and name; its ``functional`` is stored with the labels.

    Raises
    ------
    ValueError
        If the recipe holds an artifact: label jobs take a name, their arguments no weights.
    """
    from atomate2.forcefields.jobs import ForceFieldStaticMaker

    if spec.artifact is not None:
        raise ValueError(f"surrogate {spec.label}: give it by `name`, not by artifact")
    maker = ForceFieldStaticMaker(
        name="surrogate static",
        # an import path, since atomate2's own "CHGNet" loads 0.3.0 whatever model is asked for
        force_field_name={
            "@module": "atomate2_alpot.label.surrogates",
            "@callable": "PotentialCalculator",
        },
        calculator_kwargs={"backend": spec.backend, "name": spec.name, "kwargs": spec.kwargs},
    )
    return LabelMaker(
        maker=maker,
        functional=spec.functional or f"surrogate {spec.label}",
        surrogate=spec.label,
    )


def chgnet_surrogate(model: str = "r2scan") -> LabelMaker:
    """Label with a pretrained CHGNet of chgnet's wheel, a surrogate for r2SCAN or PBE.

    Parameters
    ----------
    model : str
        r2scan, 0.3.0 or 0.2.0.

    Raises
    ------
    ValueError
        If the wheel has no such model.
    """
    if model not in CHGNET_FUNCTIONALS:
        raise ValueError(f"chgnet surrogate {model!r}: choose from {sorted(CHGNET_FUNCTIONALS)}")
    return surrogate(
        PotentialSpec(backend="chgnet", name=model, functional=CHGNET_FUNCTIONALS[model])
    )


def toy_surrogate(seed: int = 0) -> LabelMaker:
    """Label with the toy pair potential of `atomate2_alpot.testing`: for tests, not for physics.

    Parameters
    ----------
    seed : int
        Seed of its parameters.
    """
    return surrogate(PotentialSpec(backend="toy", kwargs={"seed": seed}, functional="toy"))


PRESETS: dict[str, Callable[..., LabelMaker]] = {
    "chgnet-surrogate": chgnet_surrogate,
    "toy-surrogate": toy_surrogate,
}
"""Name in a config file -> function that makes the labeller."""
