"""Imported by every interpreter that has this directory on its path: workers and clean servers, too."""

import faulty

faulty.install()
