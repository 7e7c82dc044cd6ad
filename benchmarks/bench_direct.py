"""DIRECT on 50 000 × 128 features: seconds, clusters, peak memory of the process."""

from __future__ import annotations

import resource
import time

import numpy as np

from atomate2_alpot.select import direct_sample


def main() -> None:
    rng = np.random.default_rng(0)
    features = rng.normal(size=(50_000, 128)) @ np.diag(np.linspace(3, 0.1, 128))
    features = features @ rng.normal(size=(128, 128))
    print(f"{'':24}{'chosen':>8}{'clusters':>10}{'seconds':>9}{'peak GB':>9}")
    for options in ({"budget": 12_500}, {"budget": 1000}, {"k_per_cluster": 5}):
        start = time.perf_counter()
        result = direct_sample(features, **options)
        seconds = time.perf_counter() - start
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6
        name = ", ".join(f"{k}={v}" for k, v in options.items())
        print(f"{name:24}{len(result.indices):8}{result.n_clusters:10}{seconds:9.1f}{peak:9.2f}")


if __name__ == "__main__":
    main()
