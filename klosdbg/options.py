"""The command line of ``klosdbg``: verbs and options."""

import argparse
import math
from typing import NoReturn

from klosdbg.errors import UsageError

_DESCRIPTION = "The debugger for operating systems that live by x86 segmentation."
_EPILOG = """\
examples:
  klosdbg run                              boot KLOS, stopped at its entry point
  klosdbg run -c 'until klos_ready' -c gdt -c klos
  klosdbg run --image none -- -drive file=disk.img,format=raw
  klosdbg attach unix:/run/gdb.sock --qmp unix:/run/qmp.sock
  klosdbg serve unix:/run/gdb.sock --listen 127.0.0.1:1234
  klosdbg decode descriptor 0x00cffb000000ffff
  klosdbg capture -o bug.klos -c 'until klos_ready' -c 'capture mark ready'
  klosdbg open bug.klos -c snaps -c gdt

exit code: 0 all went well; 1 a command or check failed; 2 wrong usage or
unreadable input; 3 target lost or not startable; 130 Ctrl-C
"""


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        raise UsageError(f"{message} (see: {self.prog} --help)")


class _Version(argparse.Action):
    def __call__(self, parser: argparse.ArgumentParser, *_: object) -> NoReturn:
        from importlib.metadata import version

        print(f"klosdbg {version('klosdbg')}")
        parser.exit()


def _seconds(string: str) -> float:
    try:
        value = float(string)
    except ValueError:
        value = math.nan
    if not 0 <= value < math.inf:
        raise argparse.ArgumentTypeError(f"{string!r} is no time in seconds (30, 0.5; 0: none)")
    return value


def build_parser() -> argparse.ArgumentParser:
    """Build the parser of the verbs that open a target; decode and doctor parse their own."""
    parser = _Parser(
        prog="klosdbg",
        description=_DESCRIPTION,
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", nargs=0, action=_Version, help="show the version and exit")
    verbs = parser.add_subparsers(dest="verb", required=True, metavar="VERB")
    common = _common()
    run = verbs.add_parser("run", help="start QEMU with a guest", parents=[common])
    _add_run(run)
    attach = verbs.add_parser("attach", help="attach to a gdbstub", parents=[common])
    attach.add_argument("target", metavar="TARGET", help="host:port or unix:PATH")
    attach.add_argument("--qmp", metavar="unix:PATH", help="QEMU's QMP socket: reads while it runs")
    capture = verbs.add_parser("capture", help="run, and record for a bug report", parents=[common])
    capture.add_argument(
        "-o", dest="output", required=True, metavar="FILE.klos", help="where to record"
    )
    capture.add_argument("--redact", action="store_true", help="keep structures, drop other memory")
    _add_run(capture)
    opened = verbs.add_parser("open", help="look at a capture or a core", parents=[common])
    opened.add_argument("file", metavar="FILE", help="a .klos capture, or dump-guest-memory's core")
    _add_serve(verbs.add_parser("serve", help="let many gdbs at one guest", parents=[common]))
    replay = verbs.add_parser(
        "replay", help="boot a capture of --deterministic again", parents=[common]
    )
    replay.add_argument("file", metavar="FILE.klos", help="the capture; it runs code: trust it")
    replay.add_argument("--headless", action="store_true", help="no window")
    for verb in (run, attach, opened, replay):
        _add_listen(verb, required=False)
    verbs.add_parser("decode", help="decode a hardware structure, offline", add_help=False)
    verbs.add_parser("doctor", help="what is installed, and what the accelerator enforces")
    verbs.add_parser("gdb-init", help="print the line that loads klosdbg into gdb")
    verbs.add_parser("bench", help="measure klosdbg's own speed")
    return parser


def _common() -> _Parser:
    common = _Parser(add_help=False)
    common.add_argument(
        "-c", dest="commands", action="append", default=[], metavar="CMD", help="run a command"
    )
    common.add_argument(
        "-x", dest="script", metavar="FILE", help="run a file's commands, one a line"
    )
    common.add_argument(
        "-i", dest="interactive", action="store_true", help="stay in the shell after"
    )
    common.add_argument("--json", action="store_true", help="print JSON, one document a line")
    common.add_argument(
        "--timeout",
        type=_seconds,
        metavar="S",
        help="bound each command that resumes the guest (60 in batch; 0: none)",
    )
    common.add_argument(
        "--symbols",
        action="append",
        default=[],
        metavar="ELF[@BASE]",
        help="symbols; BASE is added to each address",
    )
    common.add_argument(
        "--profile", metavar="YAML", help="facts about a KLOS image that has no klos_info"
    )
    return common


def _add_serve(serve: argparse.ArgumentParser) -> None:
    serve.add_argument(
        "target", metavar="TARGET|FILE", help="host:port, unix:PATH, a capture or a core"
    )
    serve.add_argument("--qmp", metavar="unix:PATH", help="QEMU's QMP socket: reads while it runs")
    _add_listen(serve, required=True)


def _add_listen(verb: argparse.ArgumentParser, *, required: bool) -> None:
    verb.add_argument(
        "--listen",
        metavar="ADDRESS",
        required=required,
        help="serve gdb at unix:PATH or 127.0.0.1:PORT",
    )
    verb.add_argument("--expose", action="store_true", help="listen even where others can reach it")


def _add_run(run: argparse.ArgumentParser) -> None:
    run.add_argument("--image", metavar="ELF|none", help="the image to boot (default: KLOS)")
    run.add_argument("--append", metavar="LINE", help="the guest's command line: 'seed=7'")
    run.add_argument("--accel", choices=("auto", "tcg", "kvm"), default="auto", help="(auto)")
    run.add_argument(
        "--deterministic", action="store_true", help="count instructions as time; fix the seed"
    )
    run.add_argument("--headless", action="store_true", help="no window")
    run.add_argument("--qemu", metavar="BINARY", default="qemu-system-i386", help="which QEMU")
    run.epilog = "what follows -- goes to QEMU"
