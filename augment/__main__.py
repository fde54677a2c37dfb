"""`python -m augment` is `patn-augment`."""

from augment.commands.main import main

main()
