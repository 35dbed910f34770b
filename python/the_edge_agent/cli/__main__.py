"""`python -m the_edge_agent.cli`."""

import sys

from . import main

sys.exit(main())
