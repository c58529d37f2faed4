"""The computations behind the layers."""
