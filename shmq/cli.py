# SPDX-License-Identifier: MIT
"""The command line: `python -m shmq` or `shmq`."""

import argparse
from collections.abc import Sequence


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command.

    Args:
        arguments: What stands behind the program's name; `sys.argv` unless given.

    Returns:
        The exit status: 0, or 1 where the command found something wrong.
    """
    parser = argparse.ArgumentParser(prog="shmq", description="Messages between processes of one machine, in place.")
    commands = parser.add_subparsers(dest="command", required=True)
    demo = commands.add_parser(
        "demo",
        help="hand the standard library's files from process to process, and compare",
        description="One process reads every file of Python's standard library into shared memory, two others hash "
        "them in place; then round trips from 8 B to 16 MiB; both beside multiprocessing's Pipe and Queue.",
    )
    demo.add_argument("--rounds", type=_positive, default=3, help="how often each way takes its turn (default: 3)")
    demo.add_argument("--quick", action="store_true", help="one round and few sizes: a look, not a measurement")
    options = parser.parse_args(arguments)

    from .demo import run

    try:
        return run(rounds=1 if options.quick else options.rounds, quick=options.quick)
    except KeyboardInterrupt:
        return 130


def _positive(text: str) -> int:
    if not (text.isdecimal() and int(text)):
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number from 1 up")
    return int(text)
