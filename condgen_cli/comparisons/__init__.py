"""Controlled comparisons as data: variants of a recipe, each trained and scored alike, as one table."""
