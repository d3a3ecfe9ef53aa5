"""``nvr recorder``, to be registered by the command line."""

from nvr.node.process import ConfigOption, JsonOption, LogLevelOption, ReadyFileOption, run_node
from nvr.recorder.config import load_settings
from nvr.recorder.node import RecorderNode

__all__ = ["recorder"]


def recorder(
    config: ConfigOption,
    as_json: JsonOption = False,
    ready_file: ReadyFileOption = None,
    log_level: LogLevelOption = "info",
) -> None:
    """Record cameras and serve their footage until SIGTERM or Ctrl-C."""
    node = RecorderNode(load_settings(config))
    run_node(node, "records", as_json=as_json, ready_file=ready_file, log_level=log_level)
