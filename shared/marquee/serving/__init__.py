"""Answers: from a user id to a list of movies."""
