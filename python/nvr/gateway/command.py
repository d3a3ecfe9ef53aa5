"""``nvr gateway``, to be registered by the command line."""

from nvr.gateway.config import load_settings
from nvr.gateway.node import GatewayNode
from nvr.node.options import ConfigOption, JsonOption, LogLevelOption, ReadyFileOption
from nvr.node.process import run_node

__all__ = ["gateway"]


def gateway(
    config: ConfigOption,
    as_json: JsonOption = False,
    ready_file: ReadyFileOption = None,
    log_level: LogLevelOption = "info",
) -> None:
    """Answer for the nodes below until SIGTERM or Ctrl-C."""
    node = GatewayNode(load_settings(config))
    run_node(node, "answers for the nodes below", as_json=as_json, ready_file=ready_file, log_level=log_level)
