"""LightningModules: the base, and variants that divide, capture or split the work of an update."""
