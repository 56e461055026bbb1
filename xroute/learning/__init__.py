"""Learning: parameters of rivers from what gauges saw, by reach, by group, or from what reaches are like."""
