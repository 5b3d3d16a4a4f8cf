"""The boot benchmark; the same as ``kilonova bench boot``."""

import argparse
import sys

from kilonova.cli import bench

if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=bench.__doc__)
    bench.add_arguments(parser)
    sys.exit(bench.run(parser.parse_args()))
