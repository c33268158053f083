"""The tests, as a package: another distribution has a folder of this name too."""
