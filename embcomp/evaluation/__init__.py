"""How well students and probes do, which differences the scores support, and how small a target may be."""
