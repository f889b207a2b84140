"""Simulated observations: gas in three dimensions, its spectra, and what two instruments count of it."""

from hifred.simulate import catalogue as _catalogue  # noqa: F401 (importing it registers the scenes)
from hifred.simulate import challenge as _challenge  # noqa: F401 (likewise)
from hifred.simulate.cluster import ClusterModel, cluster
from hifred.simulate.files import truth_cube, write_scene, write_visit
from hifred.simulate.maps import weighted_maps
from hifred.simulate.observation import Camera, draw_counts, expected_counts
from hifred.simulate.photons import Photons, observe
from hifred.simulate.plasma import ELEMENTS, Plasma
from hifred.simulate.point import PointSource
from hifred.simulate.projection import Gas, project
from hifred.simulate.remnant import RemnantModel, remnant
from hifred.simulate.scenes import Plan, plan_scene, register, scene, scene_descriptions, scene_names
from hifred.simulate.telescope import Telescope
from hifred.simulate.truth import Scene, Truth
from hifred.simulate.visit import Visit, write_observations

__all__ = [
    "ELEMENTS",
    "Camera",
    "ClusterModel",
    "Gas",
    "Photons",
    "Plan",
    "Plasma",
    "PointSource",
    "RemnantModel",
    "Scene",
    "Telescope",
    "Truth",
    "Visit",
    "cluster",
    "draw_counts",
    "expected_counts",
    "observe",
    "plan_scene",
    "project",
    "register",
    "remnant",
    "scene",
    "scene_descriptions",
    "scene_names",
    "truth_cube",
    "weighted_maps",
    "write_observations",
    "write_scene",
    "write_visit",
]
