"""Pictures of what a network attends to, as PNG files and as web pages."""
