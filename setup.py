# SPDX-License-Identifier: MIT
"""The compiled part of shmq; everything else about the package stands in pyproject.toml."""

import sys
from glob import glob

import numpy
from Cython.Build import cythonize
from setuptools import Extension, setup

MODULES = ["_types", "_attachment", "_endpoint", "_loan", "_sender", "_publisher", "_receiver", "_region"]
MODULES += ["_arrays", "_probe"]

extensions = [
    Extension(
        f"shmq.{name}",
        [f"shmq/{name}.pyx"],
        include_dirs=["include", numpy.get_include()],
        depends=[*glob("include/shmq/*.h"), *glob("shmq/*.h"), *glob("shmq/*.pxd")],
        define_macros=[("NPY_NO_DEPRECATED_API", "NPY_1_22_API_VERSION")],
        extra_compile_args=["-std=gnu11", "-O3", "-Wall", "-Wextra"],
    )
    for name in MODULES
]

DIRECTIVES = {
    "language_level": 3,
    "binding": False,  # plain method descriptors: the interpreter calls them without a function object between
    "embedsignature": True,
    "embedsignature.format": "clinic",  # what inspect.signature reads
}

# The C that Cython makes of numpy's declarations fits one numpy: interpreters that share a checkout share none of it.
GENERATED = f"build/{sys.implementation.cache_tag}-numpy-{numpy.__version__}"

setup(ext_modules=cythonize(extensions, build_dir=GENERATED, compiler_directives=DIRECTIVES))
