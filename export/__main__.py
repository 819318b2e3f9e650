"""`python -m export`: see `export.export`."""

from export.export import main

main()
