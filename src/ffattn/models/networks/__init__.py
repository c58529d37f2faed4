"""The networks that models build."""
