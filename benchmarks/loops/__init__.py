"""Long-run simulation of feedback loops, and the page docs/feedback-loops.md."""
