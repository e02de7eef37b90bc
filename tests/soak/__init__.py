"""A real Parley under churn and under a flood of strangers: what must be flat is watched until it is."""
