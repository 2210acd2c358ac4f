"""Everything that the paper compares, from one command: tables as data, trainings shared, figures kept one by one."""
