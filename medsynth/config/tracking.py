"""Where runs are logged."""

from __future__ import annotations

from pydantic import field_validator

from medsynth.config import addresses
from medsynth.config.section import Strict


class Tracking(Strict):
    """Where runs are logged in MLflow."""

    uri: str = "sqlite:///mlflow.db"
    """MLflow's database or server. A relative file counts from the working directory; a password is written as
    `${NAME}` and read from the environment.
    """
    experiment: str = "medsynth"
    """MLflow's experiment."""
    register_models: bool = True
    """Copy the weights of released models to MLflow and register them as `<dataset>-<model>`."""

    @field_validator("uri")
    @classmethod
    def _names_its_secrets(cls, uri: str) -> str:
        if addresses.holds_secret(uri):
            raise ValueError(
                "a password or token stands in it, which reports and records would show; "
                "write ${NAME} in its place and set NAME in the environment"
            )
        return uri

    def check_environment(self) -> None:
        """Check that the environment variables in `uri` are set, before any work is done.

        Raises:
            InputError: one is not set.
        """
        addresses.resolve(self.uri, "tracking.uri")
