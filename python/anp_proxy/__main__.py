"""`python -m anp_proxy`."""

import sys

from ._command import main

sys.exit(main())
