"""Jobs that are trained as one: their module, the members, and their stacked parameters."""
