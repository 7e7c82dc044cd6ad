"""Any ASE calculator: one of atomate2's force fields by name, or an import path."""

from __future__ import annotations

import inspect
import logging
from importlib import import_module
from pathlib import Path
from typing import Any

from atomate2_alpot.potentials.base import PotentialError
from atomate2_alpot.potentials.coverage import blank
from atomate2_alpot.potentials.device import current_dtype, default_dtype
from atomate2_alpot.potentials.download import impatient_hub
from atomate2_alpot.potentials.mace import find_model
from atomate2_alpot.potentials.options import check_options
from atomate2_alpot.potentials.trust import require_trust
from atomate2_alpot.schemas import Frames, PotentialSpec, Prediction
from atomate2_alpot.schemas.potential import TRUST

logger = logging.getLogger(__name__)


class ASEPredictor:
    """An ASE calculator, evaluated frame by frame.

    Parameters
    ----------
    calculator : ase.calculators.calculator.Calculator
    dtype : torch.dtype, optional
        Torch's default dtype that the calculator counts on.
    """

    elements: frozenset[int] | None = None

    def __init__(self, calculator: Any, dtype: Any = None) -> None:
        self.calculator = calculator
        self.dtype = dtype

    def predict(self, frames: Frames) -> Prediction:
        """Evaluate frames; NaN where the calculator refuses one (unknown element, no stress)."""
        out = blank(frames)
        refused: list[tuple[int, Exception]] = []
        with default_dtype(self.dtype):
            for s, atoms in enumerate(frames.iter_ase()):
                atoms.calc = self.calculator
                try:
                    # all three before any is stored: a frame counts whole or not at all
                    energy = atoms.get_potential_energy()
                    forces, stress = atoms.get_forces(), atoms.get_stress(voigt=False)
                except (ArithmeticError, LookupError, RuntimeError, ValueError) as reason:
                    refused.append((s, reason))
                    continue
                out.energy[s], out.stress[s] = energy, stress
                out.forces[frames.offsets[s] : frames.offsets[s + 1]] = forces
        if refused:
            first, why = refused[0]
            logger.warning(
                "%s refused %d of %d frames (frame %d: %s: %s)",
                type(self.calculator).__name__,
                *(len(refused), len(frames), first, type(why).__name__, why),
            )
        return out


def load(spec: PotentialSpec) -> ASEPredictor:
    """Load ``name``: an import path ``package.module:Class``, or a name atomate2 knows.

    The recipe's ``kwargs`` are the calculator's, but for ``trust``, which lets it load the files
    that they name. atomate2's names get the defaults that its
    force-field Makers give them (which make matgl's stress eV/Å³ rather than GPa).

    Raises
    ------
    PotentialError
        If the name leads to no calculator, the calculator refuses its arguments, or its model is
        neither on this machine nor to be had within seconds.
    """
    if not spec.name:
        raise PotentialError(
            "backend 'ase': give `name`, for example 'ase.calculators.emt:EMT' or 'SevenNet'"
        )
    make = _imported if ":" in spec.name else _force_field
    plain = _without_trust(spec)
    with default_dtype():
        try:
            return ASEPredictor(make(plain, spec.name), current_dtype())
        except PotentialError:
            raise
        except ImportError as error:
            raise PotentialError(
                f"potential {spec.label} could not be loaded: {error}; install the package that "
                "holds it"
            ) from error
        except Exception as error:  # whatever a foreign constructor raises
            raise PotentialError(
                f"potential {spec.label} could not be loaded: {error.__cause__ or error}. If its "
                "model is not on this machine, load it once where there is network, or give the "
                "calculator's own option for a file in `kwargs`"
            ) from error


def _without_trust(spec: PotentialSpec) -> PotentialSpec:
    """Return a recipe as calculators take it, once the files it names may be loaded."""
    options = {name: value for name, value in spec.kwargs.items() if name != TRUST}
    for value in options.values():
        if isinstance(value, str) and Path(value).expanduser().is_file():
            require_trust(spec, Path(value).expanduser())
    return spec.model_copy(update={"kwargs": options})


def _imported(spec: PotentialSpec, name: str) -> Any:
    module, _, attribute = name.partition(":")
    make = getattr(import_module(module), attribute, None)
    if make is None:
        raise PotentialError(f"potential {spec.label}: {module} has no {attribute!r}")
    known = _named_options(make)
    if known is not None:
        check_options(spec, known)
    return make(**spec.kwargs)


def _named_options(make: Any) -> set[str] | None:
    """Return the options a calculator reads; None where it does not list them.

    ASE's base class swallows any keyword, so a misspelt one would change nothing, silently.
    """
    parameters = inspect.signature(make).parameters.values()
    names = {p.name for p in parameters if p.kind not in (p.VAR_KEYWORD, p.VAR_POSITIONAL)}
    if len(names) == len(parameters):
        return names
    defaults = getattr(make, "default_parameters", None)
    # engines that write input files take whatever the engine knows
    external = hasattr(make, "command") or hasattr(make, "ase_parameters")
    return names | set(defaults) if defaults and not external else None


def _force_field(spec: PotentialSpec, name: str) -> Any:
    from atomate2.forcefields.jobs import ForceFieldStaticMaker
    from atomate2.forcefields.utils import MLFF, ase_calculator

    known = [m.value for m in MLFF]
    if name not in known:
        raise PotentialError(
            f"potential 'ase:{name}': not one of atomate2's force fields {known}; for another "
            "calculator give an import path such as 'ase.calculators.emt:EMT'"
        )
    maker = ForceFieldStaticMaker(force_field_name=MLFF(name), calculator_kwargs=spec.kwargs)
    kwargs = dict(maker.calculator_kwargs)
    if name.startswith("MACE") and not Path(str(kwargs["model"])).exists():
        # MACE's own download hangs without network; ours says so in seconds
        kwargs["model"] = str(find_model(PotentialSpec(backend="mace", name=kwargs["model"])))
    with impatient_hub():
        return ase_calculator(MLFF(name), **kwargs)
