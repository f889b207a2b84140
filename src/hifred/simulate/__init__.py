"""Simulated observations: gas in three dimensions, its spectra, and what two instruments count of it."""

from hifred.simulate import catalogue as _catalogue  # noqa: F401 (importing it registers the scenes)
from hifred.simulate.cluster import ClusterModel, cluster
from hifred.simulate.files import truth_cube, write_scene
from hifred.simulate.maps import weighted_maps
from hifred.simulate.observation import Camera, draw_counts, expected_counts
from hifred.simulate.plasma import ELEMENTS, Plasma
from hifred.simulate.projection import Gas, project
from hifred.simulate.remnant import RemnantModel, remnant
from hifred.simulate.scenes import Plan, Scene, Truth, register, scene, scene_descriptions, scene_names

__all__ = [
    "ELEMENTS",
    "Camera",
    "ClusterModel",
    "Gas",
    "Plan",
    "Plasma",
    "RemnantModel",
    "Scene",
    "Truth",
    "cluster",
    "draw_counts",
    "expected_counts",
    "project",
    "register",
    "remnant",
    "scene",
    "scene_descriptions",
    "scene_names",
    "truth_cube",
    "weighted_maps",
    "write_scene",
]
