"""Controlled comparisons: variants of a recipe, trained and scored in the same way, in one table."""
