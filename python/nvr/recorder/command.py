"""``nvr recorder``, to be registered by the command line."""

from nvr.node.logs import log_plainly
from nvr.node.options import ConfigOption, JsonOption, LogLevelOption, ReadyFileOption
from nvr.recorder.config import load_settings
from nvr.recorder.opening import Opening

__all__ = ["recorder"]


def recorder(
    config: ConfigOption,
    as_json: JsonOption = False,
    ready_file: ReadyFileOption = None,
    log_level: LogLevelOption = "info",
) -> None:
    """Record cameras and serve their footage until SIGTERM or Ctrl-C."""
    log_plainly(log_level)
    settings = load_settings(config)
    with Opening(settings) as opening:
        # Loaded while the store is being put right: either takes about as long.
        from nvr.node.process import run_node
        from nvr.recorder.node import RecorderNode

        node = RecorderNode(settings, opening)
        run_node(node, "records", as_json=as_json, ready_file=ready_file, log_level=log_level)
