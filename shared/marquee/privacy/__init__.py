"""Privacy: export of a user's data, erasure from every place that holds them, and signed proof of the erasure."""
