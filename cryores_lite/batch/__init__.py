"""Many maps in one run: the list, the runner, the records of finished maps and the table."""
