"""From a config to Makers and stores."""

from __future__ import annotations

import dataclasses
from importlib import import_module
from pathlib import Path

from jobflow import Maker

from atomate2_alpot.cli.config import LabelSection, RunConfig
from atomate2_alpot.cli.loading import ConfigError
from atomate2_alpot.dataset.stores import Stores, embedded_stores, mongo_stores
from atomate2_alpot.flows import ActiveLearningMaker
from atomate2_alpot.label import LabelMaker
from atomate2_alpot.label.presets import PRESETS
from atomate2_alpot.select.makers import CommitteeSelector
from atomate2_alpot.structures.makers import PrototypeProposer
from atomate2_alpot.train.makers import CommitteeTrainer
from atomate2_alpot.validate import TestSetAssessor


def build_maker(config: RunConfig) -> ActiveLearningMaker:
    """Make the loop that a config describes.

    Raises
    ------
    ConfigError
        If a preset or Maker cannot be found or refuses its options.
    """
    labeller = build_labeller(config.label)
    propose = config.propose
    return ActiveLearningMaker(
        proposer=PrototypeProposer(
            elements=list(config.elements),
            seed=config.seed,
            **{name: getattr(propose, name) for name in type(propose).model_fields},
        ),
        selector=CommitteeSelector(
            criterion=config.select.criterion,
            sampler=config.select.sampler,
            chunk_size=config.select.chunk_size,
            seed=config.seed,
        ),
        labeller=labeller,
        trainer=CommitteeTrainer(
            settings=config.train.settings,
            n_members=config.train.n_members,
            fractions=config.train.fractions,
            calibration=config.train.calibration,
            seed=config.seed,
            e0s=config.train.e0s,
            start_from=config.train.start_from,
            functional=labeller.functional,
        ),
        assessor=TestSetAssessor(),
        committee=list(config.committee),
        loop=config.loop,
        routing=config.routing,
        campaign_id=config.campaign_id,
    )


def build_labeller(section: LabelSection) -> LabelMaker:
    """Make the labeller of a config."""
    labeller = _preset(section) if section.preset else _by_import_path(section)
    given = {k: getattr(section, k) for k in ("which", "result", "remove")}
    return dataclasses.replace(
        labeller,
        **{k: v for k, v in given.items() if v is not None},
        limits=section.limits,
        min_label_fraction=section.min_label_fraction,
        retries=section.retries,
        batch_size=section.batch_size,
        gather_size=section.gather_size,
    )


def build_stores(config: RunConfig, run_dir: Path) -> Stores:
    """Make the stores of a config.

    Raises
    ------
    ConfigError
        If kind mongo has no URI.
    """
    if config.store.kind == "embedded":
        return embedded_stores(run_dir)
    return mongo_stores(mongo_uri(config), config.store.database, config.store.blobs)


def mongo_uri(config: RunConfig) -> str:
    """Return the URI of a store of kind mongo.

    Raises
    ------
    ConfigError
        If there is none.
    """
    uri = config.store.resolved_uri
    if not uri:
        raise ConfigError(
            "store.uri is not set: kind mongo needs a URI, in the config or in ALPOT_MONGO_URI"
        )
    return uri


def _preset(section: LabelSection) -> LabelMaker:
    name = str(section.preset)
    if name not in PRESETS:
        raise ConfigError(f"label.preset: {name!r} is unknown; choose from {sorted(PRESETS)}")
    try:
        return PRESETS[name](**section.options)
    except (TypeError, ValueError) as error:
        raise ConfigError(f"label.options of preset {name!r}: {error}") from error


def _by_import_path(section: LabelSection) -> LabelMaker:
    module, _, attribute = str(section.maker).partition(":")
    try:
        kind = getattr(import_module(module), attribute)
        if not (isinstance(kind, type) and issubclass(kind, Maker)):
            raise ConfigError(
                f"label.maker: {section.maker!r} is no Maker class of jobflow; give one such as "
                "atomate2.vasp.jobs.core:StaticMaker"
            )
        maker = kind(**section.options)
    except ConfigError:
        raise
    except (ImportError, AttributeError, TypeError, ValueError) as error:
        raise ConfigError(f"label.maker: {section.maker!r} cannot be made: {error}") from error
    return LabelMaker(maker=maker, functional=str(section.functional))
