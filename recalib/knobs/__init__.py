"""The register families that a recalibration can turn."""
