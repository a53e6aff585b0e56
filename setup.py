# SPDX-License-Identifier: MIT
"""The compiled part of shmq; everything else about the package stands in pyproject.toml."""

from glob import glob

import numpy
from Cython.Build import cythonize
from setuptools import Extension, setup

MODULES = ["_types", "_attachment", "_endpoint", "_sender", "_receiver", "_region", "_arrays", "_probe"]

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

setup(ext_modules=cythonize(extensions, language_level=3))
