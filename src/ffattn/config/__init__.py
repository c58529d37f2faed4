"""From YAML files and overrides to checked settings."""
