"""Options that several commands share."""

import argparse
from typing import Any

__all__ = ["Commands", "add_command", "add_problem_options", "explicit_settings"]

# argparse does not export the type.
Commands = Any


def add_command(commands: Commands, name: str, summary: str, epilog: str) -> argparse.ArgumentParser:
    """A command's parser, with a description and examples below its options."""
    parser: argparse.ArgumentParser = commands.add_parser(
        name,
        help=summary,
        description=summary,
        epilog=epilog,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    return parser


def add_problem_options(parser: argparse.ArgumentParser) -> None:
    """What to train, and with what; absent options are None."""
    parser.add_argument(
        "workload",
        nargs="?",
        metavar="WORKLOAD",
        help="digits (default), diabetes, rosenbrock, beale or ellipse",
    )
    parser.add_argument(
        "--optimizer",
        metavar="NAME",
        help="adamw, adam, sgd, momentum, nesterov, rmsprop, adagrad or lion (default: the workload's)",
    )
    parser.add_argument(
        "--groups",
        metavar="SCHEME",
        help="role, layer, role_layer, tensor, bias, head, all, or feature for diabetes (default: the workload's)",
    )
    parser.add_argument(
        "--start-rate", type=float, metavar="RATE", help="where the search for rates starts (default: 1e-3)"
    )
    parser.add_argument("--seed", type=int, metavar="N", help="of weights and batches (default: 0)")
    parser.add_argument("--device", metavar="NAME", help="torch device (default: cpu)")


def explicit_settings(args: argparse.Namespace) -> dict[str, Any]:
    """The entries of a `RunConfig` that the user gave."""
    return {
        name: value
        for name in (
            "workload", "optimizer", "groups", "rate", "start_rate", "steps", "seed", "schedule", "warmup",
            "engine", "overhead", "device",
        )
        if (value := getattr(args, name, None)) is not None
    }  # fmt: skip
