"""Where problems come from: one task family a file."""

from apportion.tasks.base import Planted, Split, Task
from apportion.tasks.registry import TASKS, load_environment, load_task, validate_task

__all__ = ["TASKS", "Planted", "Split", "Task", "load_environment", "load_task", "validate_task"]
