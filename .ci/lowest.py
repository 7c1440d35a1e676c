"""The lowest versions that pyproject.toml declares, as constraints for pip.

torch is left out: its oldest release that is declared is published with CUDA alone, some gigabytes.
"""

import re
import tomllib
from pathlib import Path

project = tomllib.loads((Path(__file__).parents[1] / "pyproject.toml").read_text())["project"]
extras = project["optional-dependencies"]
for requirement in [*project["dependencies"], *extras["export"], *extras["test"]]:
    if requirement.startswith("condgen["):
        continue
    name, lowest = re.match(r"([\w.-]+)>=([\w.]+)", requirement).groups()
    if name != "torch":
        print(f"{name}=={lowest}")
