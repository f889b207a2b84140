"""How a problem is solved."""

from hifred.solvers.checkpoint import Checkpoint
from hifred.solvers.course import Course, Record
from hifred.solvers.denoised import DenoisedEM, DenoisedProblem, DenoisedState, FixedPoint
from hifred.solvers.driver import Solution, Status, Stopping, minimise, solution_cube
from hifred.solvers.em import EM, CubeProblem
from hifred.solvers.factor_term import FactorTerm
from hifred.solvers.factors import FactorEM, FactorProblem, Factors, FactorState
from hifred.solvers.newton import Newton, SubspaceProblem
from hifred.solvers.primal_dual import PenalizedProblem, PrimalDual
from hifred.solvers.solver import Problem, Progress, Solver, State

__all__ = [
    "EM",
    "Checkpoint",
    "Course",
    "CubeProblem",
    "DenoisedEM",
    "DenoisedProblem",
    "DenoisedState",
    "FactorEM",
    "FactorProblem",
    "FactorState",
    "FactorTerm",
    "Factors",
    "FixedPoint",
    "Newton",
    "PenalizedProblem",
    "PrimalDual",
    "Problem",
    "Progress",
    "Record",
    "Solution",
    "Solver",
    "State",
    "Status",
    "Stopping",
    "SubspaceProblem",
    "minimise",
    "solution_cube",
]
