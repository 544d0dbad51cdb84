"""The pipeline on a Spark cluster: users stay on the workers, and the driver holds the item side."""
