"""The process of one run of the ablation: a variant's model, then `vitrail train`."""

import sys

from vitrail.bench.ablation import prepare
from vitrail.cli.main import run

if __name__ == "__main__":
    prepare(sys.argv[1])
    sys.exit(run(sys.argv[2:]))
