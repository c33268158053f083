"""Names of the top level that are imported when first used.

They need heavy libraries, or have dozens of classes, each of which takes a millisecond to make.
"""

REPORT = ("plot", "save", "load", "to_xarray", "ZarrSink", "open_zarr", "load_trace")
FOLDERS = ("cases", "channels", "degrade", "interfaces", "meanfield", "testing", "theory")
OBSERVE = (
    "AlongTraining",
    "CoefficientGrid",
    "Evidence",
    "FixedCoefficient",
    "FixedSettings",
    "LocalLearningCoefficient",
    "LogProbability",
    "PartCoefficients",
    "Phase",
    "Phases",
    "ResponseComponents",
    "ResponseMatrix",
    "SignChanges",
    "TwoSample",
    "Verdict",
    "along_training",
    "classical_influence",
    "coefficient_curve",
    "coefficient_grid",
    "effective_dimension",
    "effective_parameters",
    "energy_distance",
    "entropy",
    "free_energy",
    "heat_capacity",
    "influence",
    "kernel_distance",
    "learning_coefficient",
    "linear_datamodeling_score",
    "local_coefficient_at",
    "local_learning_coefficient",
    "log_probability",
    "part_coefficients",
    "phases",
    "response_matrix",
    "retrained",
    "sign_changes",
    "sliced_wasserstein",
    "spectrum",
    "susceptibility",
    "wbic",
)
LAZY = {
    **dict.fromkeys(REPORT, "report"),
    **dict.fromkeys(OBSERVE, "observe"),
    **{folder: folder for folder in FOLDERS},
}
"""Each of these names, and the folder that it is or lies in."""

NAMESPACES = (
    "cases",
    "channels",
    "degrade",
    "interfaces",
    "meanfield",
    "models",
    "temperature",
    "theory",
)
"""Public folders and modules of the top level."""
