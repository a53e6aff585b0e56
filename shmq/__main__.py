# SPDX-License-Identifier: MIT
"""`python -m shmq`."""

import sys

from .cli import main

sys.exit(main())
