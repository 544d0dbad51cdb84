"""Comparison of all models on MovieLens 100K: ``python -m benchmarks.models`` writes docs/models.md.

- ``algorithms``: the compared algorithms by name; ``fitted_algorithms``: their fitted form
- ``split_metrics``: one algorithm on one split; ``aggregate``: all splits of a protocol, with intervals
- ``backtest_windows``: the served models on a temporal backtest
- ``compare``: the comparison, with each step cached on disk by ``compare_cache``
- ``report_model``, ``report``, ``charts``: the results, the page and its charts
"""
