"""The console command: ``fnnet NAME`` or ``python -m fnnet NAME`` runs a program by its name."""

import sys
from importlib import import_module
from typing import NoReturn

from fnnet.commands.program import run

PROGRAMS = {
    "train": "train a network on digits, CIFAR-10 or your own data; save it and a plot of the run",
    "doctor": "check data and settings before a long training, and say what to change",
    "test": "evaluate a trained network on the test set, once",
    "predict": "classify pictures, folders and .npz files with a trained network",
    "tune": "search for the settings with the best validation accuracy",
    "show": "show what a checkpoint holds",
    "download": "fetch CIFAR-10, or use a copy that you have",
    "gradcheck": "check gradients numerically: layers or classifier, of fnnet or of a --module",
    "stability": "check the softmax loss on extreme scores",
}


def start(name: str, *words: str) -> NoReturn:
    """Run a program with the flags of the command line, after `words`, and exit with its code."""
    sys.argv = [" ".join(["fnnet", name, *words]), *sys.argv[1:]]
    # NumPy and what else a program imports take a while: Ctrl-C must end that, too, in one line.
    run(lambda: import_module(f"fnnet.commands.{name}").main(*words))


def main() -> NoReturn:
    """Run the program that the first word of the command line names."""
    name = sys.argv.pop(1) if len(sys.argv) > 1 else "--help"
    if name in PROGRAMS:
        start(name)
    programs = "\n".join(f"  {program:<10} {text}" for program, text in PROGRAMS.items())
    usage = f"usage: fnnet PROGRAM …\n\n{programs}\n\nfnnet PROGRAM --help shows its flags"
    if name in ("--help", "-h"):
        print(usage)
        sys.exit(0)
    print(f"error: there is no program {name!r}\n{usage}", file=sys.stderr)
    sys.exit(2)


if __name__ == "__main__":
    main()
