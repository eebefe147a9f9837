"""`python -m vitrail`, and so `torchrun -m vitrail train ...`."""

from vitrail.cli.main import main

if __name__ == "__main__":
    main()
