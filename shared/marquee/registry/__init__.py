"""Model registry: artifacts, releases, and the object stores that hold them."""
