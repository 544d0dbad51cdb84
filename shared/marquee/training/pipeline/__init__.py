"""The steps of a retraining, a module each, so that a change of one makes only that one and what follows stale."""
