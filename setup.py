"""Builds mlclassify._core. Everything else about the package stands in pyproject.toml."""

import os
from glob import glob

import numpy
from setuptools import Extension, setup

STOREYS = ("base", "isa", "metrics", "nn", "image", "python")  # kernels are included by isa

setup(
    ext_modules=[
        Extension(
            "mlclassify._core",
            sources=[file for storey in STOREYS for file in sorted(glob(f"csrc/{storey}/*.c"))],
            depends=glob("csrc/**/*", recursive=True),
            include_dirs=[numpy.get_include()],
            extra_compile_args=[
                "-O3",
                "-g0",  # Python's own flags often ask for symbols: nine tenths of the file
                "-std=gnu11",
                "-ffp-contract=off",  # the only fused products are the ones written as v_fma
                "-fvisibility=hidden",
                "-pthread",
                "-Wall",
                "-Wextra",
                # tests/sanitize.sh has the last word
                *os.environ.get("MLCLASSIFY_CFLAGS", "").split(),
            ],
            extra_link_args=["-pthread", "-lm"],
        )
    ]
)
