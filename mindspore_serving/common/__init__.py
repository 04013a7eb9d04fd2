"""Names that scripts of release 1.2 import from here."""
