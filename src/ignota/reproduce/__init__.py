"""Everything that the paper compares, by one command: tables as data, shared trainings, cached figures."""
