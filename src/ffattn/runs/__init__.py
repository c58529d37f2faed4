"""A run from settings to result, and the jobs of a sweep."""
