"""Privacy: what is held of a user is exported, erased from every place, and proved to be erased."""
