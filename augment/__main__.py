"""`python -m augment` is `patn-augment`."""

from augment.cli import main

main()
