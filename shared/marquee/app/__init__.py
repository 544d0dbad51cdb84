"""The app: pages of a movie service for phones, its documents in MongoDB, and its analytics."""
