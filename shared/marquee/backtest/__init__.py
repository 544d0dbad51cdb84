"""Backtest through the serving code: past events are replayed in time order.

The pipeline trains a model at each cut. Until the next cut the serving engine predicts each rating before it learns
from it, and makes each list before the movie is rated or watched.

- ``backtest_plan``: options and cuts; ``event_stream``: the events in order
- ``engine_replay``: the served model from one cut on; ``running_models``: baselines that learn from each event
- ``backtest_jobs``: all parts of a backtest, in processes, each stored so that a killed run resumes
- ``live_metrics``: metrics with intervals over users and cuts; ``backtest_summary``: the report
- ``backtest_tables``, ``backtest_charts``: the report as text and as charts
"""
