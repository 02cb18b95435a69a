"""`python -m autocomp.cli`."""

from __future__ import annotations

import sys

from autocomp.cli import main

sys.exit(main())
