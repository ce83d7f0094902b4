"""Nothing → a throwaway Python with the pinned packages, and Fwumious Wabbit built from its pinned commit."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).parent
FWUMIOUS_URL = "https://github.com/outbrain/fwumious_wabbit"
FWUMIOUS_COMMIT = "b3435aa00a92be8e8e603830c1556b2f66c2ff9c"


class Environment:
    """Where the peers live. Everything is under `folder`; deleting it uninstalls them."""

    def __init__(self, folder, python=None):
        self.folder = Path(folder)
        self.given_python = Path(python).absolute() if python else None

    def python(self, *packages):
        """An interpreter with `packages` at the versions of requirements.txt; a given one must have them already."""
        if self.given_python:
            return self.given_python
        python = self.folder / "python" / "bin" / "python"
        if not python.exists():
            say(f"making {python.parent.parent}")
            subprocess.run([sys.executable, "-m", "venv", python.parent.parent], check=True)
        pinned = HERE / "requirements.txt"
        subprocess.run([python, "-m", "pip", "install", "--quiet", "--constraint", pinned, *packages], check=True)
        return python

    def fwumious(self, source=None):
        """The `fw` binary, built from `source` or from a clone of its repository."""
        binary = self.folder / "fwumious" / "target" / "release" / "fw"
        if binary.exists():
            return binary
        clone = self.folder / "fwumious"
        say(f"building Fwumious Wabbit {FWUMIOUS_COMMIT[:7]} in {clone}")
        shutil.rmtree(clone, ignore_errors=True)
        subprocess.run(["git", "clone", "--quiet", source or FWUMIOUS_URL, clone], check=True)
        subprocess.run(["git", "-C", clone, "checkout", "--quiet", FWUMIOUS_COMMIT], check=True)
        without_intel_library(clone)
        # Its zlib wants cmake, which PyPI has too.
        tools = self.python("cmake").parent
        flags = f"{os.environ.get('RUSTFLAGS', '')} -l dylib={blas_library()}".strip()
        variables = dict(os.environ, RUSTFLAGS=flags, PATH=f"{tools}:{os.environ['PATH']}")
        variables.pop("CARGO_TARGET_DIR", None)
        subprocess.run(["cargo", "build", "--quiet", "--release", "--bin", "fw"], cwd=clone, env=variables, check=True)
        return binary


def without_intel_library(clone):
    """Drops a download of Intel's math library: the linear model multiplies no matrices."""
    for path in [clone / "Cargo.toml", *(clone / "src").glob("*.rs")]:
        lines = path.read_text(encoding="utf-8").splitlines(keepends=True)
        kept = [line for line in lines if not line.startswith(("intel-mkl-src", "extern crate intel_mkl_src"))]
        path.write_text("".join(kept), encoding="utf-8")


def blas_library():
    """Any library with `sgemv_`, which the linker asks for even where nothing calls it."""
    known = subprocess.run(["ldconfig", "-p"], capture_output=True, text=True, check=False).stdout
    for name in ("openblas", "blas"):
        if f"lib{name}.so " in known:
            return name
    raise SystemExit("Fwumious Wabbit needs a BLAS to link: install libopenblas-dev, or leave out ftrl and text")


def say(text):
    print(text, file=sys.stderr, flush=True)
