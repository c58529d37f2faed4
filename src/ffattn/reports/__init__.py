"""Many runs in one table, beside the paper's numbers, and as charts."""
